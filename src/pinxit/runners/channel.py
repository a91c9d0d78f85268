"""The socket between a runner and its painter, as a stream of frames in both directions."""

import asyncio
import socket
from collections import deque
from typing import Self, cast

from pinxit.runners.frames import LENGTHS_BYTES, Frame, FrameError, pack, unpack, unpack_lengths

MAX_FRAMES_WAITING = 8


class Channel(asyncio.BufferedProtocol):
    """Sends and receives frames.

    It receives a picture straight into a buffer of its size: far less CPU time than an asyncio.StreamReader takes.
    """

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._error: FrameError | None = None
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._closed = asyncio.Event()
        self._is_paused = False
        self._expect(LENGTHS_BYTES)

    @classmethod
    async def open(cls, connected: socket.socket) -> Self:
        """A channel over one end of a socketpair, which it owns from now on."""
        _, channel = await asyncio.get_running_loop().create_unix_connection(cls, sock=connected)
        return channel

    def send(self, frame: Frame) -> None:
        """Put the whole frame into the buffer; follow with `drain` if it is large. Does nothing once the other side has
        gone. Raises FrameError, and sends nothing, if it is too large.
        """
        start = pack(frame)
        if not self._transport.is_closing():
            self._transport.write(start)
            self._transport.write(frame.payload)

    async def drain(self) -> None:
        """Return when the buffer has room again, or the other side has gone."""
        await self._writable.wait()

    async def receive(self) -> Frame | None:
        """The next frame, or None when the other side has gone, be it in the middle of one. Raises FrameError."""
        while not self._frames:
            if self._error is not None:
                raise self._error
            if self._closed.is_set():
                return None
            self._news.clear()
            await self._news.wait()
        frame = self._frames.popleft()
        if self._is_paused and not self._transport.is_closing():
            self._is_paused = False
            self._transport.resume_reading()
        return frame

    def abort(self) -> None:
        """Close without sending what is still in the buffer."""
        self._transport.abort()

    async def wait_closed(self) -> None:
        """Return when the socket is closed."""
        await self._closed.wait()

    # What the transport calls:

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._writable.set()

    def connection_lost(self, error: Exception | None) -> None:
        self._closed.set()
        self._news.set()
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, count: int) -> None:
        self._filled += count
        if self._filled < len(self._buffer):
            return
        try:
            if self._header_bytes:
                self._end_frame()
            else:
                self._begin_frame()
        except FrameError as error:
            self._error = error
            self._news.set()
            self._expect(LENGTHS_BYTES)
            self.abort()

    def _expect(self, size: int, header_bytes: int = 0) -> None:
        """Fill a buffer of this size next: a frame with a header of `header_bytes`, or the lengths if that is 0."""
        self._buffer = bytearray(size)
        self._filled = 0
        self._header_bytes = header_bytes

    def _begin_frame(self) -> None:
        header_bytes, payload_bytes = unpack_lengths(self._buffer)
        self._expect(header_bytes + payload_bytes, header_bytes)

    def _end_frame(self) -> None:
        data = memoryview(self._buffer)
        self._frames.append(unpack(bytes(data[: self._header_bytes]), bytes(data[self._header_bytes :])))
        self._news.set()
        self._expect(LENGTHS_BYTES)
        if len(self._frames) >= MAX_FRAMES_WAITING and not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()
