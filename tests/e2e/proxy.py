"""A bad network on loopback: a TCP proxy that resets, swallows and cuts where the client asks for it.

A request says what shall happen to it in the header `x-fault`; of a request that counts itself as a retry nothing is
asked. What the faults do is told by `Fault`.
"""

import asyncio
import random
import re
import socket
import struct
from collections import Counter
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self

_FAULT = re.compile(rb"\r\nx-fault: ([a-z-]+)\r\n", re.IGNORECASE)
_RETRY = re.compile(rb"\r\nx-stainless-retry-count: [1-9]", re.IGNORECASE)


class Fault(StrEnum):
    """What can happen to a call."""

    REFUSED = "refused"
    """A reset before the server has a byte of it."""
    RESET = "reset"
    """A reset of both sides some time after the server has it, and before it answers."""
    CUT_ANSWER = "cut-answer"
    """A reset after half of the answer: the server has sent all of it."""
    SILENCE = "silence"
    """The answer never comes, and nobody hangs up."""


class FaultProxy:
    """Listens on `port` of loopback and passes everything on to `target_port`."""

    def __init__(self, target_port: int, *, seed: int, reset_within_seconds: float = 0.3) -> None:
        self.port = 0
        self.done: Counter[Fault] = Counter()
        """How often each fault was done."""
        self._target_port = target_port
        self._chance = random.Random(seed)
        self._reset_within_seconds = reset_within_seconds
        self._connections: dict[_Connection, asyncio.Task[None]] = {}
        self._is_closed = False

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Hang up on everybody."""
        self._server.close()
        self._is_closed = True
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*self._connections.values(), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = _Connection(self, reader, writer)
        if self._is_closed:
            connection.abort()
            return
        task = asyncio.create_task(connection.carry(self._target_port))
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection))

    def delay_seconds(self) -> float:
        return self._chance.uniform(0, self._reset_within_seconds)


class _Connection:
    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._reader = reader
        self._writer = writer
        self._fault: Fault | None = None

    def abort(self) -> None:
        self._writer.transport.abort()

    async def carry(self, target_port: int) -> None:
        """Pass on until one side hangs up."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", target_port)
        except OSError:
            _reset(self._writer)
            return
        ways = [asyncio.create_task(self._up(writer)), asyncio.create_task(self._down(reader, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        how_up_ended, _ = await asyncio.gather(*ways, return_exceptions=True)
        if isinstance(how_up_ended, ConnectionError):  # the client hung up on an answer: a network would pass that on
            _reset(writer)
        for each in (writer, self._writer):
            each.close()
            with suppress(OSError):
                await each.wait_closed()

    async def _up(self, writer: asyncio.StreamWriter) -> None:
        while data := await self._reader.read(65536):
            found = _FAULT.search(data)
            if found and not _RETRY.search(data):
                self._fault = Fault(found[1].decode())
                self._proxy.done[self._fault] += 1
            if self._fault is Fault.REFUSED:
                return self._reset(writer)
            writer.write(data)
            await writer.drain()
            if self._fault is Fault.RESET:
                with suppress(TimeoutError):  # the body comes after the head
                    async with asyncio.timeout(self._proxy.delay_seconds()):
                        while data := await self._reader.read(65536):
                            writer.write(data)
                return self._reset(writer)
        return None

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self._fault is Fault.CUT_ANSWER:
                self._writer.write(data[: len(data) // 2])
                return self._reset(writer)
            if self._fault is not Fault.SILENCE:
                self._writer.write(data)
                await self._writer.drain()
        return None

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        _reset(self._writer)
        _reset(writer)


def _reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN: what is not read yet is lost on both sides."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
