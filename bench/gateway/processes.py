"""Processor time and memory of a process and all below it, from /proc. Linux only."""

import os
import time
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE_SHARE = 0.05


def tree(pid: int) -> list[int]:
    """`pid` and the living processes below it."""
    found, to_look_at = [], [pid]
    while to_look_at:
        process = to_look_at.pop()
        found.append(process)
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            to_look_at += [int(child) for child in _text(children).split()]
    return found


def processor_seconds(pid: int) -> float:
    """User and system time of the tree."""
    total = 0
    for process in tree(pid):
        fields = _text(Path(f"/proc/{process}/stat")).rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12]) if fields else 0
    return total / _TICKS


def resident_mebibytes(*pids: int) -> float:
    return sum(_status(pid, "VmRSS") for pid in pids) / 1024


def peak_mebibytes(*pids: int) -> float:
    """Of resident memory, since `forget_peaks`."""
    return sum(_status(pid, "VmHWM") for pid in pids) / 1024


def forget_peaks(pid: int) -> None:
    """https://docs.kernel.org/filesystems/proc.html, clear_refs: 5 resets the peak."""
    for process in tree(pid):
        Path(f"/proc/{process}/clear_refs").write_text("5")


def wait_until_idle(pid: int, limit_seconds: float = 6.0) -> None:
    """Until the tree takes less than a twentieth of a core."""
    end = time.monotonic() + limit_seconds
    while time.monotonic() < end:
        before = processor_seconds(pid)
        time.sleep(0.25)
        if processor_seconds(pid) - before <= 0.25 * _IDLE_SHARE:
            return


def busy_seconds() -> float:
    """Of all cores of this machine: user, nice, system, interrupts."""
    fields = [int(field) for field in Path("/proc/stat").read_text().partition("\n")[0].split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[5] + fields[6]) / _TICKS


def _status(pid: int, name: str) -> int:
    for line in _text(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    return 0


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it has just ended
        return ""
