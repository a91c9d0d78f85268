"""The painter process: opens one backend and paints what `pinxit.runners.process` sends over a socket.

    python -m pinxit.runners.painter --backend otter --channel 7

Standard output and error are for people; frames have the socket of their own, so that what a library prints cannot
corrupt them. The process lives no longer than its parent: when the socket ends, it exits at once, even in the middle of
a step.
"""

import argparse
import asyncio
import logging
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import aclosing, suppress
from pathlib import Path

from pinxit.backends import registry
from pinxit.backends.interface import Backend, PaintedImage, PaintOrder
from pinxit.errors import BackendError, PinxitError, StartupError
from pinxit.runners.channel import Channel
from pinxit.runners.checked import paint_checked
from pinxit.runners.frames import Frame, FrameError
from pinxit.runners.messages import error_frame, event_frame, read_order

PICTURES_AHEAD = 2
"""Pictures of one order that may be on their way to a reader who has not taken them."""
OOM_SCORE_ADJUSTMENT = 500
"""0 is usual, 1000 is killed first: https://man7.org/linux/man-pages/man5/proc_pid_oom_score_adj.5.html"""


class Painter:
    """Paints the orders that come over the channel, all at once: the backend decides how it shares its device."""

    def __init__(self, backend: Backend, channel: Channel) -> None:
        self._backend = backend
        self._channel = channel
        self._orders: dict[int, asyncio.Task[None]] = {}
        self._ahead: dict[int, asyncio.Semaphore] = {}

    async def serve(self) -> None:
        """Returns when it is told to close. Raises FrameError."""
        while (frame := await self._channel.receive()) is not None and frame.type != "close":
            match frame.type:
                case "paint":
                    self._accept(frame.order_id, read_order(frame))
                case "taken" if frame.order_id in self._ahead:
                    self._ahead[frame.order_id].release()
                case "cancel" if frame.order_id in self._orders:
                    self._orders[frame.order_id].cancel()
                case "taken" | "cancel":
                    pass  # the order ended while the frame was on its way
                case "ping":
                    await self._send(Frame({"type": "pong", "orders": len(self._orders)}))
                case unknown:
                    raise FrameError(f"a frame of the unknown type {unknown!r}")

    async def close(self) -> None:
        """Cancel what is under way and close the backend."""
        orders = list(self._orders.values())
        for task in orders:
            task.cancel()
        await asyncio.gather(*orders, return_exceptions=True)
        await self._backend.close()

    def _accept(self, order_id: int, order: PaintOrder) -> None:
        if order_id in self._orders:
            raise FrameError("an order with the id of another one")
        self._ahead[order_id] = asyncio.Semaphore(PICTURES_AHEAD)
        self._orders[order_id] = task = asyncio.create_task(self._paint(order_id, order))
        # Not in the task's own `finally`: a task that is cancelled before its first step never gets there.
        task.add_done_callback(lambda _: self._forget(order_id))

    def _forget(self, order_id: int) -> None:
        del self._orders[order_id], self._ahead[order_id]

    async def _paint(self, order_id: int, order: PaintOrder) -> None:
        try:
            async with aclosing(paint_checked(self._backend, order)) as events:
                async for event in events:
                    if isinstance(event, PaintedImage):
                        await self._ahead[order_id].acquire()
                    await self._send(event_frame(order_id, event))
            await self._send(Frame({"type": "done", "id": order_id}))
        except PinxitError as error:
            _print_cause(error)
            await self._send(error_frame(order_id, error))
        except Exception as error:  # noqa: BLE001 - an event that is no frame: its order ends, the others go on
            await self._send(error_frame(order_id, BackendError(f"The painter failed ({type(error).__name__}).")))

    async def _send(self, frame: Frame) -> None:
        self._channel.send(frame)
        await self._channel.drain()


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
    painter = Painter(backend, channel)
    await painter.serve()
    await painter.close()
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
    threading.Thread(target=_exit_with_parent, args=(arguments.channel,), daemon=True).start()
    status = asyncio.run(run(arguments.factory or arguments.backend, arguments.factory is not None, connected))
    sys.exit(status)


def _exit_with_parent(channel: int) -> None:
    """A thread of its own, because a step may keep the event loop busy."""
    poller = select.poll()
    poller.register(channel, select.POLLRDHUP)
    poller.poll()
    os._exit(0)


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
