"""The painter process: opens one backend and paints what `pinxit.runners.process` sends over a socket.

    python -m pinxit.runners.painter --backend otter --channel 7

Standard output and error are for people; frames have the socket of their own, so that what a library prints cannot
corrupt them. The process lives no longer than its parent: when the socket ends, it exits at once, even in the middle of
a step.
"""

import argparse
import asyncio
import logging
import pkgutil
import signal
import socket
import sys
import traceback
from contextlib import suppress
from pathlib import Path

from pinxit.backends import registry
from pinxit.backends.interface import Backend
from pinxit.errors import PinxitError, StartupError
from pinxit.runners.channel import Channel
from pinxit.runners.checked import paint_checked
from pinxit.runners.frames import Frame
from pinxit.runners.lifeline import exit_with_parent
from pinxit.runners.messages import read_order
from pinxit.runners.server import PaintServer

OOM_SCORE_ADJUSTMENT = 500
"""0 is usual, 1000 is killed first: https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html"""


async def run(load: str, is_factory: bool, connected: socket.socket) -> int:
    """Open the backend, say so, paint until told to close. Returns the exit status."""
    channel = await Channel.open(connected)
    try:
        backend = _make(load) if is_factory else registry.load(load)
        await backend.open()
    except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the runner is told why it cannot paint
        if not isinstance(error, StartupError):
            traceback.print_exc()
        channel.send(Frame({"type": "failed", "reason": _reason(load, error)}))
        return 1
    channel.send(Frame({"type": "ready"}))
    painter = PaintServer(channel, lambda frame: paint_checked(backend, read_order(frame)), report=_print_cause)
    await painter.serve()
    await painter.end_orders()
    await backend.close()
    return 0


def main() -> None:
    """The process, from its arguments to its end."""
    parser = argparse.ArgumentParser(prog="pinxit.runners.painter")
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--backend", help="name of an entry point in pinxit.backends")
    wanted.add_argument("--factory", help=argparse.SUPPRESS)
    parser.add_argument("--channel", type=int, required=True, help="file descriptor of the socket to the runner")
    arguments = parser.parse_args()

    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches the whole group; the parent drains before we go
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _be_killed_first()
    connected = socket.socket(fileno=arguments.channel)
    connected.set_inheritable(False)
    exit_with_parent(arguments.channel, 0)
    status = asyncio.run(run(arguments.factory or arguments.backend, arguments.factory is not None, connected))
    sys.exit(status)


def _be_killed_first() -> None:
    """When memory runs out, the kernel should end the painter, which is restarted, and not the API."""
    with suppress(OSError):  # no /proc, or forbidden: then the kernel chooses as it likes
        Path("/proc/self/oom_score_adj").write_text(str(OOM_SCORE_ADJUSTMENT), "ascii")
    with suppress(OSError):
        Path("/proc/self/comm").write_text("pinxit-painter", "ascii")


def _make(factory: str) -> Backend:
    backend = pkgutil.resolve_name(factory)()
    if not isinstance(backend, Backend):
        raise StartupError(f"{factory} does not make a backend.")
    return backend


def _reason(name: str, error: Exception) -> str:
    if isinstance(error, StartupError):
        return error.message
    return f"The backend {name!r} cannot be opened ({type(error).__name__}: {error})."


def _print_cause(error: PinxitError) -> None:
    """Where a backend's bug is. Its message stays here: it may quote the prompt."""
    if error.__cause__ is not None:
        stack = "".join(traceback.format_tb(error.__cause__.__traceback__))
        print(f"{type(error.__cause__).__name__} in the backend:\n{stack}", file=sys.stderr)  # noqa: T201 - the log


if __name__ == "__main__":
    main()
