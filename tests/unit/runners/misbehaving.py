"""Backends that do in a painter process what no backend should."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from pinxit.backends.interface import PaintEvent, PaintOrder
from pinxit.testing.fake_backend import FakeBackend


def channel() -> int:
    [argument] = [word for word in sys.argv if word.startswith("--channel=")]
    return int(argument.removeprefix("--channel="))


class Garbage(FakeBackend):
    """Writes into the runner's socket when it is asked for a red fox."""

    async def do_step(self, order: PaintOrder, step: int) -> None:
        if "red" in order.prompt:
            os.write(channel(), b"\xff" * 100)
        await super().do_step(order, step)


class GarbageBeforeReady(FakeBackend):
    """Writes into the runner's socket before it is ready."""

    async def open(self) -> None:
        os.write(channel(), b"Loading: 100 %\n")


class Chatty(FakeBackend):
    """Prints as libraries do, on every way out, without a line end, with bytes that are no text."""

    async def do_step(self, order: PaintOrder, step: int) -> None:
        print("from print")
        os.write(1, b"from C\n" + b"x" * 100_000 + b"\n")
        os.write(2, b"\xff\xfe no text\n")
        print("no line end", end="", file=sys.stderr)
        await super().do_step(order, step)


class Parental(FakeBackend):
    """Starts a process that outlives it and keeps its standard output."""

    async def open(self) -> None:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3)"])
        await super().open()


class DiesInOpen(FakeBackend):
    async def open(self) -> None:
        os._exit(3)


class KilledInOpen(FakeBackend):
    """Is killed as often as the file that PINXIT_TEST_KILLS names says."""

    async def open(self) -> None:
        kills = Path(os.environ["PINXIT_TEST_KILLS"])
        left = int(kills.read_text())
        if left:
            kills.write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        await super().open()


class BuggyInOpen(FakeBackend):
    async def open(self) -> None:
        raise ZeroDivisionError("by zero")


class NeverOpens(FakeBackend):
    async def open(self) -> None:
        import asyncio

        await asyncio.Event().wait()


class YieldsJunk(FakeBackend):
    async def generate(self, order: PaintOrder) -> AsyncGenerator[PaintEvent, None]:
        junk: Any = object()
        yield junk


class TellsItsEnvironment(FakeBackend):
    async def open(self) -> None:
        from pinxit.errors import StartupError

        raise StartupError(" ".join(sorted(os.environ)))


NotABackend = dict
