"""What the programs of Python clients share: where the server is, and a line of JSON for each thing that was exercised.

The whole of it is small so that a client's program stays one that its own documentation could show."""

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path

SERVER = os.environ["PINXIT_SERVER"]
KEY = os.environ["PINXIT_KEY"]
ROBOT = Path("robot.png")
"""A picture of 256 by 256 in the folder in which a program runs."""
MASK = Path("mask.png")
"""One whose left half is transparent."""

_EXERCISES: dict[str, Callable[[], None]] = {}


def exercise(what: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Names what a function exercises: it passes when it returns."""

    def remember(function: Callable[[], None]) -> Callable[[], None]:
        _EXERCISES[what] = function
        return function

    return remember


def run() -> None:
    """All of them, in order, also behind one that fails. Exits with 1 if any has."""
    failed = False
    for what, function in _EXERCISES.items():
        try:
            function()
            passed = True
        except Exception:  # noqa: BLE001 - it is told, and the others follow
            traceback.print_exc()
            passed, failed = False, True
        print("\n" + json.dumps({"exercised": what, "passed": passed}), flush=True)
    raise SystemExit(failed)


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height of what must be a whole PNG."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n"), data[:40]
    assert data.endswith(b"IEND\xaeB`\x82"), data[-40:]
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
