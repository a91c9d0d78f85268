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

from pinxit.errors import StartupError
from pinxit.runners.channel import Channel
from pinxit.runners.client import PaintClient
from pinxit.runners.frames import Frame, FrameError

MAX_LINE_BYTES = 2000
MISSED_HEARTBEATS = 3

logger = structlog.get_logger(__name__)


class KilledWhileStarting(StartupError):
    """A signal ended the painter before it was ready: somebody's, or the kernel's when memory ran out."""


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
        self._heard = False
        self.client = PaintClient(channel)
        """Paints, once the backend is open."""

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
            ending = await self._ending()
            is_killed = self._process.returncode is not None and self._process.returncode < 0
            raise (KilledWhileStarting if is_killed else StartupError)(f"The painter {ending} while it was starting.")
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
                self.client.receive(frame)
        finally:
            watchdog.cancel()
        return await self._ending()

    async def end(self, grace_seconds: float = 0.0) -> None:
        """The process is gone when this returns: asked to close if there is a grace, killed after it.

        May be called again when it was cancelled.
        """
        if grace_seconds:
            self._channel.send(Frame({"type": "close"}))
            await self._wait_exit(grace_seconds)
        self._kill()
        await self._process.wait()
        self.client.give_up()
        self._channel.abort()
        await self._channel.wait_closed()
        # A process that the painter started may keep the other end of the pipe open for long.
        await asyncio.wait({self._output_log}, timeout=0.5)
        self._output_log.cancel()
        self._output_transport.close()

    async def _kill_when_it_hangs(self, interval_seconds: float) -> None:
        """Counts silent intervals, not time, lest a pause of this process be taken for one of the painter."""
        silent = 0
        while silent < MISSED_HEARTBEATS:
            self._heard = False
            self._channel.send(Frame({"type": "ping"}))
            await asyncio.sleep(interval_seconds)
            silent = 0 if self._heard else silent + 1
        logger.error("painter_hangs", pid=self.pid, silent_seconds=round(interval_seconds * silent, 1))
        self._kill()

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
