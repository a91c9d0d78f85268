"""An upstream that fails in every way that we know of: raw TCP on loopback before a simulated provider.

The proxy itself reads a request and passes it on, so that the simulated provider counts what would be on the bill; then
it spoils the answer. Each `Fault` says how. What has a size is sent as fast as it is taken; `sent_bytes` counts it.
"""

import asyncio
import base64
import json
import socket
import struct
import zlib
from contextlib import suppress
from enum import StrEnum
from functools import cache
from types import TracebackType
from typing import Self

GIB = 1024**3
_CHUNK = 256 * 1024


class Fault(StrEnum):
    """What happens to requests from now on."""

    NONE = "none"
    REFUSED = "refused"
    """Nobody listens."""
    BLACK_HOLE = "black hole"
    """Nobody answers the SYN: the queue of a listening socket is full."""
    SILENCE = "silence"
    """The request is taken, and nothing comes back, ever."""
    SLOW = "slow"
    """The answer comes, a byte a second."""
    RESET_BEFORE_ANSWER = "reset before the answer"
    """RST once the whole request has been read."""
    RESET_IN_BODY = "reset in the body"
    """RST after half of the answer."""
    LAST_RESET = "last reset"
    """RST in the body of every third answer."""
    CUT_JSON = "cut JSON"
    """Half of the document, as a whole HTTP answer."""
    HTML = "HTML"
    """A page of a login, with status 200."""
    BUSY = "busy"
    """429, and `Retry-After: 7`."""
    BUSY_FOR_A_MOMENT = "busy for a moment"
    """Every other request is answered with 429 and `retry-after-ms: 30`."""
    ERROR = "error"
    """500."""
    FLAPPING = "flapping"
    """Every other request is answered with 500."""
    ENDLESS = "endless"
    """2 GiB of a base64 text in chunks."""
    ANNOUNCED = "announced"
    """As much, with a Content-Length that says so."""
    BOMB = "bomb"
    """256 MiB of JSON in 260 kB of gzip."""
    WRONG_BASE64 = "wrong base64"
    NO_PICTURE = "no picture"
    """The base64 of something else."""
    CUT_PICTURE = "cut picture"
    """The base64 of the first half of one."""
    PIXEL_BOMB = "pixel bomb"
    """A small PNG of 20000 by 20000 pixels."""
    EMPTY_DATA = "empty data"
    INSIDE_ADDRESS = "inside address"
    """The picture is at the address of a cloud's metadata."""
    OTHER_PORT = "other port"
    """The picture is at another port of this machine, `other_url`."""
    REDIRECT = "redirect"
    """307 to `other_url`."""
    PICTURE_REDIRECT = "picture redirect"
    """The picture is at the upstream's own host, which redirects to `other_url`."""


class FaultProxy:
    """Listens on a port of its own and passes on to `target_port`, both on loopback."""

    def __init__(self, target_port: int, *, other_url: str = "http://127.0.0.1:1/") -> None:
        self.port = 0
        self.fault = Fault.NONE
        self.requests = 0
        """How many were read."""
        self.sent_bytes = 0
        self.other_url = other_url
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._hole: list[socket.socket] = []
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def become(self, fault: Fault) -> None:
        """Fail like this from now on; `Fault.NONE`: be well. Connections that are open are reset."""
        await self._stop()
        self.fault = fault
        if fault is Fault.BLACK_HOLE:
            self._hole = _full_socket(self.port)
        elif fault is not Fault.REFUSED:
            await self._listen()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for each in self._hole:
            each.close()
        self._hole = []
        tasks = list(self._connections)
        for task, writer in list(self._connections.items()):
            _reset(writer)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(ConnectionError):
                while (request := await _read_message(reader)) is not None:
                    self.requests += 1
                    if not await self._answer(request, writer):
                        break
                    await writer.drain()
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answer as the fault says. Returns whether the connection goes on."""
        match self.fault:
            case Fault.SILENCE:
                await asyncio.Event().wait()
            case Fault.RESET_BEFORE_ANSWER:
                _reset(writer)
                return False
            case Fault.HTML:
                writer.write(_message(b"<!doctype html><title>Sign in</title>", kind="text/html"))
            case Fault.BUSY:
                writer.write(
                    _message(b'{"error": {"message": "slow down"}}', "429 Too Many Requests", "Retry-After: 7")
                )
            case Fault.BUSY_FOR_A_MOMENT if self.requests % 2:
                writer.write(_message(b"{}", "429 Too Many Requests", "retry-after-ms: 30"))
            case Fault.ERROR:
                writer.write(_message(b"oh", "500 Internal Server Error", kind="text/plain"))
            case Fault.FLAPPING if self.requests % 2:
                writer.write(_message(b"{}", "500 Internal Server Error"))
            case Fault.BOMB:
                await self._send(writer, _message(_bomb(), more="Content-Encoding: gzip"))
            case Fault.EMPTY_DATA:
                writer.write(_message(b'{"created": 1, "data": []}'))
            case Fault.INSIDE_ADDRESS:
                writer.write(_message(_named("http://169.254.169.254/latest/meta-data/")))
            case Fault.OTHER_PORT:
                writer.write(_message(_named(self.other_url)))
            case Fault.REDIRECT:
                writer.write(_message(b"", "307 Temporary Redirect", f"Location: {self.other_url}"))
            case Fault.PICTURE_REDIRECT if not request.startswith(b"GET "):
                writer.write(_message(_named(f"{self.url}/moved.png")))
            case Fault.PICTURE_REDIRECT:
                writer.write(_message(b"", "302 Found", f"Location: {self.other_url}"))
            case Fault.NO_PICTURE:
                writer.write(_message(_with_base64(b"QUJD" * 1000)))
            case Fault.PIXEL_BOMB:
                writer.write(_message(_with_base64(base64.b64encode(_wide_png(20_000)))))
            case _:
                number = self.requests
                return await self._spoil(await self._pass_on(request), number, writer)
        return True

    async def _spoil(self, answer: bytes, number: int, writer: asyncio.StreamWriter) -> bool:
        """Send the true answer to request `number`, of work that was done, as the fault says."""
        head, _, body = answer.partition(b"\r\n\r\n")
        match self.fault:
            case Fault.SLOW:
                for place in range(len(answer)):
                    await self._send(writer, answer[place : place + 1])
                    await asyncio.sleep(1)
            case Fault.LAST_RESET if number % 3:
                await self._send(writer, answer)
            case Fault.RESET_IN_BODY | Fault.LAST_RESET:
                await self._send(writer, head + b"\r\n\r\n" + body[: len(body) // 2])
                _reset(writer)
                return False
            case Fault.CUT_JSON:
                await self._send(writer, _message(body[: len(body) // 2]))
            case Fault.WRONG_BASE64:
                await self._send(writer, _message(_with_base64(b"%%" + _found_base64(body)[2:])))
            case Fault.CUT_PICTURE:
                text = _found_base64(body)
                await self._send(writer, _message(_with_base64(text[: len(text) // 8 * 4])))
            case Fault.ENDLESS | Fault.ANNOUNCED:
                await self._flood(writer)
                return False
            case _:
                await self._send(writer, answer)
        return True

    async def _flood(self, writer: asyncio.StreamWriter) -> None:
        start = b'{"data": [{"b64_json": "'
        is_chunked = self.fault is Fault.ENDLESS
        size = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {2 * GIB}"
        await self._send(writer, f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{size}\r\n\r\n".encode())
        for _ in range(2 * GIB // _CHUNK):
            piece = start + b"A" * (_CHUNK - len(start))
            start = b""
            await self._send(writer, b"%x\r\n%b\r\n" % (_CHUNK, piece) if is_chunked else piece)

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        self.sent_bytes += len(data)
        await writer.drain()

    async def _pass_on(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target_port, limit=64 * 1024 * 1024)
        try:
            writer.write(request)
            answer = await _read_message(reader)
            assert answer is not None
            return answer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def _read_message(reader: asyncio.StreamReader) -> bytes | None:
    """A whole request or answer with a Content-Length; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return head + await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return None


def _message(body: bytes, status: str = "200 OK", more: str = "", *, kind: str = "application/json") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *([more] if more else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _with_base64(text: bytes) -> bytes:
    return b'{"created": 1, "data": [{"b64_json": "' + text + b'"}]}'


def _found_base64(body: bytes) -> bytes:
    return json.loads(body)["data"][0]["b64_json"].encode()


def _named(url: str) -> bytes:
    return json.dumps({"created": 1, "data": [{"url": url}]}).encode()


@cache
def _bomb() -> bytes:
    """256 MiB of spaces within a JSON document, packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    piece = b" " * (4 * 1024 * 1024)
    packed = [packer.compress(b'{"data": [')]
    packed += [packer.compress(piece) for _ in range(GIB // 4 // len(piece))]
    return b"".join([*packed, packer.compress(b"]}"), packer.flush()])


@cache
def _wide_png(side: int) -> bytes:
    """A black PNG of one bit a pixel; 50 kB for a side of 20000."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = zlib.compress(bytes(side * (1 + (side + 7) // 8)), 9)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _full_socket(port: int) -> list[socket.socket]:
    """A listening socket whose queue is full, so that Linux drops every further SYN (`man 2 listen`)."""
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(0)
    held = [listening]
    for _ in range(4):
        waiting = socket.socket()
        waiting.setblocking(False)
        with suppress(BlockingIOError):
            waiting.connect(("127.0.0.1", port))
        held.append(waiting)
    return held


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    found = writer.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
