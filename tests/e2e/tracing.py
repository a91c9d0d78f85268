"""The system calls of a running server, watched and tampered with by strace."""

import re
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from running import eventually, is_running


@contextmanager
def strace(pid, trace, *arguments):
    """Watch all threads of a running process; yields the file with what was seen."""
    with _attached(pid, "-f", "-y", "-s", "80", "-o", str(trace), *arguments):
        eventually(lambda: is_traced(pid), "strace to hold every thread")
        yield trace


@contextmanager
def _attached(pid: int, *arguments: str) -> "Iterator[subprocess.Popen[bytes]]":
    tracer = subprocess.Popen(
        ["strace", "-qq", "-p", str(pid), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield tracer
    finally:
        tracer.send_signal(signal.SIGINT)
        try:
            tracer.communicate(timeout=5 if is_running(pid) else 0.2)
        except subprocess.TimeoutExpired:  # it may wait for ever for the end of a thread that was killed
            tracer.kill()
            tracer.communicate()


@dataclass(frozen=True)
class Point:
    """The nth time that a thread of the server makes a system call, from the moment that strace holds it."""

    thread: int
    """The how manieth of the server's threads, by their ids."""
    call: str
    nth: int
    path: str
    """What it is done to."""
    is_of_one_thread: bool = True
    """Whether no other thread makes this call at all: then it does not matter which of a pool makes it next time."""


def threads_of(pid: int) -> list[int]:
    return sorted(int(task.name) for task in Path(f"/proc/{pid}/task").iterdir())


def points_in(trace: Path, threads: list[int]) -> list[Point]:
    """Every call in a trace, as points at which to interfere with the next run of the same."""
    seen: Counter[tuple[int, str]] = Counter()
    points = []
    for line in trace.read_text().splitlines():
        thread, _, call = line.partition(" ")
        found = re.match(r"(\w+)\((?:\d+<([^>]*)>|\"([^\"]*)\")?", call.strip())
        if found is None or int(thread) not in threads:
            continue
        place = threads.index(int(thread))
        seen[place, found[1]] += 1
        points.append(Point(place, found[1], seen[place, found[1]], found[2] or found[3] or ""))
    makers = Counter(call for _, call in seen)
    return [replace(point, is_of_one_thread=makers[point.call] == 1) for point in points]


@contextmanager
def tampering(pid: int, point: Point, what: str, trace: Path) -> Iterator[None]:
    """Do `what` (`signal=KILL`, `error=EIO`) at this point; `find_injected(trace)` tells whether it was reached."""
    trace.unlink(missing_ok=True)
    inject = f"inject={point.call}:{what}:when={point.nth}"
    options = ("-y", "-o", str(trace), "-e", f"trace={point.call}", "-e", inject)
    if point.is_of_one_thread:
        with _attached(pid, "-f", *options):
            eventually(lambda: is_traced(pid), "strace to hold every thread")
            yield
        return
    threads = threads_of(pid)
    if point.thread >= len(threads):
        trace.touch()  # a pool has started fewer threads this time: the point is not reached
        yield
        return
    thread = threads[point.thread]
    with _attached(thread, *options):
        eventually(lambda: "TracerPid:\t0\n" not in _status(thread), "strace to hold the thread")
        yield


def find_injected(trace: Path) -> str:
    """The call that failed, as strace shows it; empty if the point was not reached."""
    found = [line for line in trace.read_text().splitlines() if "(INJECTED)" in line]
    return found[0] if found else ""


def _status(thread: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{thread}/status").read_text()
    return "it has ended"


def is_traced(pid) -> bool:
    states = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0\n" not in state for state in states)


def finished_calls(trace):
    """Each system call in the order of its end; what two threads did meanwhile is put together again."""
    begun = {}
    for line in trace.read_text().splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if call.endswith("<unfinished ...>"):
            begun[thread] = call.removesuffix("<unfinished ...>").rstrip()
        elif call.startswith("<... "):
            yield begun.pop(thread, "") + re.sub(r"<\.\.\. \w+ resumed>", "", call)
        else:
            yield call
