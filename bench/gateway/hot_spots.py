"""Where Pinxit's time goes under one cell: py-spy's samples by function, of all threads that are running.

python bench/gateway/hot_spots.py [--cell large:16] [--seconds 6] [--ask '{"store": false}'] [--py-spy PATH]
"""

import argparse
import json
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path

import payloads
from compare import WORK, Way, load
from servers import Pinxit, Upstream


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", default="large:16")
    parser.add_argument("--seconds", type=int, default=6)
    parser.add_argument("--ask", type=json.loads, default={"response_format": "b64_json"})
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--py-spy", default="py-spy")
    parser.add_argument("--gil", action="store_true", help="only threads that hold the interpreter")
    parser.add_argument("--top", type=int, default=40)
    arguments = parser.parse_args()
    payloads.write(arguments.work / "payloads")
    upstream, pinxit = Upstream(arguments.work), Pinxit(arguments.work)
    try:
        upstream.start()
        pinxit.start()
        pinxit.look_at_memory()
        way = Way("pinxit", pinxit, arguments.ask)
        load(way, "small:16", 2)
        loading = threading.Thread(target=load, args=(way, arguments.cell, arguments.seconds + 2))
        loading.start()
        time.sleep(1)
        samples = arguments.work / "samples"
        command = [arguments.py_spy, "record", "--rate", "500", "--format", "raw", "--threads"]
        command += ["--gil"] if arguments.gil else []
        command += ["--duration", str(arguments.seconds), "--pid", str(pinxit.pid), "--output", str(samples)]
        subprocess.run(command, check=True, capture_output=True)
        loading.join()
        _show(samples.read_text(), arguments.top)
    finally:
        pinxit.stop()
        upstream.stop()


def _show(samples: str, top: int) -> None:
    """By leaf, and by function of Pinxit or a library wherever it stands in the stack."""
    leaves: Counter[str] = Counter()
    anywhere: Counter[str] = Counter()
    threads: Counter[str] = Counter()
    total = 0
    for line in samples.splitlines():
        stack, _, count_text = line.rpartition(" ")
        thread, *frames = stack.split(";")
        count = int(count_text)
        total += count
        threads[thread.partition(" ")[2][:40]] += count
        python = next((frame for frame in reversed(frames) if ".py:" in frame), "")
        leaves[frames[-1] if frames[-1] == python else f"{frames[-1]}  <-  {python}"] += count
        for frame in {frame for frame in frames if ".py:" in frame}:
            anywhere[frame] += count
    for title, counts in (("threads", threads), ("leaves", leaves), ("anywhere", anywhere)):
        print(f"\n-- {title}, share of {total} samples")
        for name, count in counts.most_common(top):
            print(f"{count / total:6.1%}  {name}")


if __name__ == "__main__":
    main()
