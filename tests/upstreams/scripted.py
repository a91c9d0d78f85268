"""An upstream that answers every request with the pieces of a script, over raw TCP."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END, CUT, HANG, DRIP, ENDLESS = b"<end>", b"<cut>", b"<hang>", b"<drip>", b"<endless>"
"""The end of the answer; RST; silence; a byte a second for ever; comments for ever."""


@dataclass
class Scripted:
    """`requests`: how many came. A piece is bytes of the body, or one of the words above, which ends the script."""

    script: Sequence[bytes] = ()
    head: bytes = HEAD
    requests: int = 0
    sent_bytes: int = 0
    open_connections: int = 0
    url: str = ""
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Scripted"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.open_connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    await self._read(reader)
                    self.requests += 1
                    await self._answer(reader, writer)
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                await reader.readexactly(int(line.partition(b":")[2]))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(self.head)
        for piece in self.script:
            match piece:
                case b"<end>":
                    writer.write(b"0\r\n\r\n")
                    return
                case b"<cut>":
                    await writer.drain()
                    found = writer.get_extra_info("socket")
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                    raise ConnectionResetError
                case b"<hang>":
                    await reader.readexactly(1)  # until the other side hangs up
                case b"<drip>":
                    while True:
                        await self._send(writer, b"d")
                        await asyncio.sleep(1)
                case b"<endless>":
                    while True:
                        await self._send(writer, b": " + b"x" * 65_000 + b"\n\n")
                case _:
                    await self._send(writer, piece)

    async def _send(self, writer: asyncio.StreamWriter, piece: bytes) -> None:
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.sent_bytes += len(piece)
        await writer.drain()
