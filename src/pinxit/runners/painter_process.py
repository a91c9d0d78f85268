"""One painter process, from its start to its end, as the runner sees it."""

import asyncio
import io
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import Self

import structlog

from pinxit.backends.interface import PaintOrder
from pinxit.errors import StartupError
from pinxit.runners.channel import Channel
from pinxit.runners.frames import Frame, FrameError
from pinxit.runners.inbox import Inbox
from pinxit.runners.interface import PainterDied
from pinxit.runners.messages import order_frame, read_error, read_event

MAX_LINE_BYTES = 2000
MISSED_HEARTBEATS = 3

logger = structlog.get_logger(__name__)


class PainterProcess:
    """Speaks with one process over a socket of its own; what the process prints goes to the log."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        channel: Channel,
        output: tuple[asyncio.StreamReader, asyncio.ReadTransport],
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._channel = channel
        self._output_transport = output[1]
        self._output_log = asyncio.create_task(_log_lines(output[0], process.pid))
        self._inboxes: dict[int, Inbox] = {}
        self._orders_seen = 0
        self._heard = False
        self._pongs: list[asyncio.Future[int]] = []

    @classmethod
    async def spawn(cls, command: Sequence[str], environment: Mapping[str, str]) -> Self:
        """Start `command --channel FD`. Raises OSError."""
        ours, theirs = socket.socketpair()
        our_output, their_output = _pipe()
        with ExitStack() as undo, theirs, their_output:
            undo.enter_context(our_output)
            channel = await Channel.open(ours)
            undo.callback(channel.abort)
            output = await _read_pipe(our_output)
            undo.callback(output[1].close)
            process = await asyncio.create_subprocess_exec(
                *command,
                f"--channel={theirs.fileno()}",
                stdin=asyncio.subprocess.DEVNULL,
                stdout=their_output,
                stderr=their_output,
                pass_fds=[theirs.fileno()],
                env=environment,
            )
            undo.pop_all()
        return cls(process, channel, output)

    async def opened(self) -> None:
        """Return when the backend is open. Raises StartupError with the reason why it cannot be; FrameError."""
        frame = await self._channel.receive()
        if frame is None:
            raise StartupError(f"The painter {await self._ending()} while it was starting.")
        if frame.type == "failed":
            raise StartupError(str(frame.header.get("reason")))
        if frame.type != "ready":
            raise FrameError(f"a frame {frame.type!r} before the painter was ready")

    async def serve(self, heartbeat_timeout_seconds: float) -> str:
        """Hand out what the painter sends until it ends; kill it when it hangs. Returns how it ended.

        Raises FrameError.
        """
        watchdog = asyncio.create_task(self._kill_when_it_hangs(heartbeat_timeout_seconds / MISSED_HEARTBEATS))
        try:
            while (frame := await self._channel.receive()) is not None:
                self._heard = True
                self._receive(frame)
        finally:
            watchdog.cancel()
        return await self._ending()

    def accept(self, order: PaintOrder) -> tuple[int, Inbox]:
        """Send the order; its events come to the inbox. Follow with `forget`."""
        order_id = self._orders_seen = self._orders_seen + 1
        self._send(order_frame(order_id, order))
        self._inboxes[order_id] = inbox = Inbox()
        return order_id, inbox

    def taken(self, order_id: int) -> None:
        """The reader has taken a picture: the painter may send one more."""
        self._send(Frame({"type": "taken", "id": order_id}))

    def forget(self, order_id: int) -> None:
        """Cancel the order unless it has ended."""
        if not self._inboxes.pop(order_id).finished:
            self._send(Frame({"type": "cancel", "id": order_id}))

    async def ping(self) -> int:
        """How many orders the painter itself has under way. Raises PainterDied."""
        pong = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._send(Frame({"type": "ping"}))
        orders: int = await pong
        return orders

    async def end(self, grace_seconds: float = 0.0) -> None:
        """The process is gone when this returns: asked to close if there is a grace, killed after it.

        May be called again when it was cancelled.
        """
        if grace_seconds:
            self._send(Frame({"type": "close"}))
            await self._wait_exit(grace_seconds)
        self._kill()
        await self._process.wait()
        for inbox in self._inboxes.values():
            inbox.finish(PainterDied())
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(PainterDied())
        self._channel.abort()
        await self._channel.wait_closed()
        # A process that the painter started may keep the other end of the pipe open for long.
        await asyncio.wait({self._output_log}, timeout=0.5)
        self._output_log.cancel()
        self._output_transport.close()

    def _receive(self, frame: Frame) -> None:
        match frame.type:
            case "pong":
                for pong in self._pongs:
                    if not pong.done():
                        pong.set_result(int(frame.header.get("orders", 0)))
                self._pongs.clear()
            case "event" | "done" | "error":
                inbox = self._inboxes.get(frame.order_id)
                if inbox is not None:  # None: it was cancelled while the frame was on its way
                    _put(inbox, frame)
            case unknown:
                raise FrameError(f"a frame of the unknown type {unknown!r}")

    async def _kill_when_it_hangs(self, interval_seconds: float) -> None:
        """Counts silent intervals, not time, lest a pause of this process be taken for one of the painter."""
        silent = 0
        while silent < MISSED_HEARTBEATS:
            self._heard = False
            self._send(Frame({"type": "ping"}))
            await asyncio.sleep(interval_seconds)
            silent = 0 if self._heard else silent + 1
        logger.error("painter_hangs", pid=self.pid, silent_seconds=round(interval_seconds * silent, 1))
        self._kill()

    def _send(self, frame: Frame) -> None:
        # Without drain(): these frames are small, and there are no more orders than the API admits.
        self._channel.send(frame)

    def _kill(self) -> None:
        with suppress(ProcessLookupError):  # it has ended already
            self._process.kill()

    async def _wait_exit(self, seconds: float) -> None:
        # Not wait_for(): before Python 3.12 it may swallow a cancellation, https://github.com/python/cpython/issues/86296
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()

    async def _ending(self) -> str:
        """How the process ended, once it has hung up."""
        await self._wait_exit(1.0)
        self._kill()
        status = await self._process.wait()
        if status < 0:
            return f"was killed by signal {-status} ({signal.strsignal(-status)})"
        return f"ended with exit status {status}"


def _put(inbox: Inbox, frame: Frame) -> None:
    match frame.type:
        case "event":
            inbox.put(read_event(frame))
        case "done":
            inbox.finish()
        case "error":
            inbox.finish(read_error(frame))


def _pipe() -> tuple[io.FileIO, io.FileIO]:
    reading, writing = os.pipe()
    return io.FileIO(reading, "rb"), io.FileIO(writing, "wb")


async def _read_pipe(pipe: io.FileIO) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    return reader, transport


async def _log_lines(reader: asyncio.StreamReader, pid: int) -> None:
    """Every line of the painter becomes a line of the log, cut after MAX_LINE_BYTES."""
    rest = b""
    while chunk := await reader.read(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            _log_line(line, pid)
        rest = rest[:MAX_LINE_BYTES]
    if rest:
        _log_line(rest, pid)


def _log_line(line: bytes, pid: int) -> None:
    logger.info("painter_output", pid=pid, line=line[:MAX_LINE_BYTES].decode("utf-8", "replace").rstrip())
