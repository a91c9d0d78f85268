"""Measure Pinxit beside LiteLLM, nginx and the bare upstream: in turns, medians, ratios.

    python bench/gateway/compare.py [--rounds 3] [--seconds 3] [--ways pinxit,nginx] [--cells large:16,small:64]

A cell is PAYLOAD:CONNECTIONS; a way is a server and what is asked of it. Each round visits every way at every cell, in
an order that turns from round to round. Every server shows one right answer before anything is measured.
"""

import argparse
import base64
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import payloads
import processes
import targets
from servers import LiteLLM, Nginx, Pinxit, PinxitWorkers, Server, Upstream, ask, request_body, served

HERE = Path(__file__).parent
WORK = HERE.parents[1] / "build" / "bench"
MEMORY_CELL = "large:64"
CELLS = ("small:1", "large:1", "small:64", "large:16", "small-d50:16", MEMORY_CELL)
WARM_UP_SECONDS = 2
LEAST_TURNS = 3
"""A slow server is measured until each connection has had so many answers, or for MAX_SECONDS."""
MAX_SECONDS = 12

Row = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """One server, and what is asked of it. `cells`: only these, or all."""

    name: str
    server: Server
    asks: Mapping[str, Any] = field(default_factory=dict)
    cells: tuple[str, ...] = CELLS

    def body(self, payload: str) -> bytes:
        return request_body(payload, **self.asks)

    def check(self, payload: str, picture: bytes) -> None:
        """Raises RuntimeError unless the answer holds the upstream's picture."""
        status, answer = ask(self.server.url(payload), self.body(payload), self.server.key)
        if status != 200:
            raise RuntimeError(f"{self.name} answered {payload} with {status}: {answer[:300]!r}")
        datum = json.loads(answer)["data"][0]
        found = base64.b64decode(datum["b64_json"]) if datum.get("b64_json") else ask(datum["url"])[1]
        if hashlib.sha256(found).digest() != hashlib.sha256(picture).digest():
            raise RuntimeError(f"{self.name} answered {payload} with another picture")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of one measurement")
    parser.add_argument("--ways", help="only these, by comma")
    parser.add_argument("--cells", help="only these, by comma")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for data and results (large files)")
    parser.add_argument("--litellm", type=Path, help="LiteLLM's program; build/bench/litellm/bin/litellm unless set")
    arguments = parser.parse_args()
    cells = arguments.cells.split(",") if arguments.cells else list(CELLS)
    ways = _ways(arguments.work, arguments.litellm or WORK / "litellm" / "bin" / "litellm")
    if arguments.ways:
        ways.append(Way("pinxit-2w", PinxitWorkers(arguments.work), {"response_format": "b64_json"}))
        ways = [way for way in ways if way.name in arguments.ways.split(",")]
    run(ways, cells, arguments.work, rounds=arguments.rounds, seconds=arguments.seconds)


def _ways(work: Path, litellm: Path) -> list[Way]:
    pinxit = Pinxit(work)
    return [
        Way("direct", Upstream(work)),
        Way("nginx", Nginx(work)),
        Way("litellm-2w", LiteLLM(work, litellm)),
        Way("pinxit", pinxit, {"response_format": "b64_json"}),
        Way("pinxit-url", pinxit, {"response_format": "url"}, ("large:16",)),
        Way("pinxit-no-store", pinxit, {"response_format": "b64_json", "store": False}, ("large:16",)),
    ]


def run(ways: Sequence[Way], cells: Sequence[str], work: Path, *, rounds: int, seconds: int) -> None:
    pictures = payloads.write(work / "payloads")
    upstream = next((way.server for way in ways if isinstance(way.server, Upstream)), None) or Upstream(work)
    started: list[Server] = []
    rows: list[Row] = []
    try:
        for server in [upstream, *(way.server for way in ways)]:
            if server not in started and not _start(server, started):
                ways = [way for way in ways if way.server is not server]
        for way in ways:
            for payload in sorted({cell.partition(":")[0].partition("-")[0] for cell in cells}):
                way.check(payload, pictures[payload])
                load(way, f"{payload}:16", WARM_UP_SECONDS)
        disk = [_disk(work, pictures["large"])]
        for number in range(rounds):
            for cell in cells:
                turned = [*ways[number % len(ways) :], *ways[: number % len(ways)]]
                for way in turned:
                    if cell in way.cells:
                        rows.append(_measure(way, cell, seconds, upstream, rows) | {"round": number})
                        _show(rows[-1])
            disk.append(_disk(work, pictures["large"]))
    finally:
        for server in reversed(started):
            server.stop()
    results = work / "results.json"
    servers = {
        server.name: {"start_seconds": server.start_seconds, "idle_mebibytes": server.idle_mebibytes}
        for server in started
    }
    results.write_text(json.dumps({"disk": disk, "servers": servers, "rows": rows}, indent=1))
    print(targets.report(rows, servers, disk))
    print(f"\nEvery single measurement is in {results}.", file=sys.stderr)


def _start(server: Server, started: list[Server]) -> bool:
    """False if its program is not installed."""
    try:
        server.start()
    except FileNotFoundError as error:
        print(f"{server.name} is left out, for there is no {error}", file=sys.stderr)
        return False
    started.append(server)
    server.look_at_memory()
    print(f"{server.name} answered after {server.start_seconds:.2f} s, {server.idle_mebibytes}", file=sys.stderr)
    return True


def _measure(way: Way, cell: str, seconds: int, upstream: Server, before: Iterable[Row]) -> Row:
    """One run, the tree's processor time over the orders that reached the upstream, until the server is idle again."""
    server, connections = way.server, int(cell.partition(":")[2])
    rates = [row["rate"] for row in before if (row["way"], row["cell"]) == (way.name, cell) and row["rate"]]
    if rates:
        seconds = min(MAX_SECONDS, max(seconds, round(LEAST_TURNS * connections / rates[-1])))
    server.tidy()
    processes.wait_until_idle(server.pid)
    processes.forget_peaks(server.pid)
    orders, cpu, others = served(), processes.processor_seconds(server.pid), _others(server, upstream)
    began = time.monotonic()
    found = load(way, cell, seconds)
    taken = time.monotonic() - began
    foreign = (_others(server, upstream) - others) / taken
    first, *rest = processes.tree(server.pid)
    peaks = processes.peak_mebibytes(first), processes.peak_mebibytes(first, *rest)
    processes.wait_until_idle(server.pid)
    orders = served() - orders
    return {
        "way": way.name,
        "cell": cell,
        "rate": (found["requests"] - found["refused"]) / found["seconds"],
        "p50": found["p50"],
        "p99": found["p99"],
        "failed": found["errors"] + found["refused"],
        "cpu_ms": 1000 * (processes.processor_seconds(server.pid) - cpu) / orders if orders else None,
        "peak_mebibytes": peaks[0] if isinstance(server, Pinxit) else peaks[1],
        "foreign_cores": max(0.0, foreign),
    }


def _others(server: Server, upstream: Server) -> float:
    """Processor seconds of this machine that were not ours."""
    load = resource.getrusage(resource.RUSAGE_CHILDREN)
    ours = processes.processor_seconds(upstream.pid) + load.ru_utime + load.ru_stime
    if server is not upstream:
        ours += processes.processor_seconds(server.pid)
    return processes.busy_seconds() - ours


def load(way: Way, cell: str, seconds: int) -> dict[str, float]:
    """wrk's report: a closed loop on one thread."""
    payload, _, connections = cell.partition(":")
    environment = os.environ | {"REQUEST_BODY": way.body(payload).decode(), "REQUEST_KEY": way.server.key}
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=60s", "-s", str(HERE / "report.lua")]
    done = subprocess.run([*command, way.server.url(payload)], env=environment, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("RESULT "):
            found: dict[str, float] = json.loads(line.removeprefix("RESULT "))
            return found
    raise RuntimeError(f"wrk said: {done.stdout}{done.stderr}")


def _disk(folder: Path, data: bytes) -> dict[str, float]:
    """What durability costs here, in milliseconds: a sync of one small write, and of one large picture."""
    path, times = folder / "sync", {"sync_ms": [], "picture_ms": []}  # type: dict[str, list[float]]
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        for name, content in (("sync_ms", b"x" * 4096), ("picture_ms", data)):
            for _ in range(9):
                began = time.perf_counter()
                os.pwrite(descriptor, content, 0)
                os.fsync(descriptor)
                times[name].append(1000 * (time.perf_counter() - began))
    finally:
        os.close(descriptor)
        path.unlink()
    return {name: statistics.median(values) for name, values in times.items()}


def _show(row: Row) -> None:
    cpu = "-" if row["cpu_ms"] is None else f"{row['cpu_ms']:.2f}"
    print(
        f"{row['round']} {row['cell']:13} {row['way']:16} {row['rate']:9.1f} req/s  p50 {row['p50']:8.2f} ms  "
        f"cpu {cpu:>6} ms  peak {row['peak_mebibytes']:6.0f} MiB  failed {row['failed']:.0f}  "
        f"foreign {row['foreign_cores']:.2f} cores",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    main()
