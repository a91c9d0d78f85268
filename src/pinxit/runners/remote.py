"""Runs a backend in a painter that all workers of this server share: the worker's end of `pinxit.runners.hub`."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

import structlog

from pinxit.backends.interface import PaintEvent, PaintOrder
from pinxit.errors import BackendUnavailable
from pinxit.runners.channel import Channel
from pinxit.runners.client import PaintClient
from pinxit.runners.frames import FrameError
from pinxit.runners.interface import Runner, RunnerState
from pinxit.runners.messages import read_state
from pinxit.runners.readiness import Readiness, failed

log = structlog.get_logger(__name__)


class RemoteRunner(Runner):
    """Hands orders to the hub, and shows the state of the hub's runner as its own."""

    def __init__(self, name: str, connected: socket.socket, *, when_lost: Callable[[], object] = lambda: None) -> None:
        """`connected`: the worker's end of a socketpair with the hub of the backend `name`; owned from now on.
        `when_lost` is called when the hub hangs up, before anybody hears of it.
        """
        self._name = name
        self._connected = connected
        self._when_lost = when_lost
        self._readiness = Readiness()
        self._started = asyncio.Event()
        self._client: PaintClient | None = None
        self._channel: Channel | None = None
        self._reading: asyncio.Task[None] | None = None
        self._queue_depth = 0

    async def start(self) -> None:
        self._channel = await Channel.open(self._connected)
        self._client = PaintClient(self._channel)
        self._reading = asyncio.create_task(self._read(self._channel, self._client), name=f"hub of {self._name}")
        self._started.set()

    @property
    def state(self) -> RunnerState:
        return self._readiness.state

    @property
    def queue_depth(self) -> int:
        """Of this worker's orders only."""
        return self._queue_depth

    async def wait_ready(self) -> None:
        await self._readiness.wait()

    async def ping(self) -> int:
        """How many of this worker's orders the hub has under way. Raises BackendUnavailable, PainterDied."""
        return await self._open_client().ping()

    async def paint(
        self, order: PaintOrder, *, ready_timeout_seconds: float | None = None
    ) -> AsyncGenerator[PaintEvent, None]:
        """It is the hub's runner that waits for its painter, so that nothing depends on how old our state is."""
        self._queue_depth += 1
        try:
            await self._started.wait()
            painting = self._open_client().paint(order, ready_timeout_seconds=ready_timeout_seconds)
            async with aclosing(painting) as events:
                async for event in events:
                    yield event
        finally:
            self._queue_depth -= 1

    async def close(self) -> None:
        """The hub cancels our orders when we hang up; its painter is not ours to close."""
        self._end("Pinxit is stopping.")
        self._started.set()
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
        if self._channel is None:
            self._connected.close()
        else:
            self._channel.abort()
            await self._channel.wait_closed()

    def _open_client(self) -> PaintClient:
        if self._client is None:
            raise BackendUnavailable(self.state.reason or None)
        return self._client

    async def _read(self, channel: Channel, client: PaintClient) -> None:
        try:
            while (frame := await channel.receive()) is not None:
                if frame.type == "state":
                    self._readiness.state = read_state(frame)
                else:
                    client.receive(frame)
        except FrameError as error:
            log.error("hub_sent_nonsense", backend=self._name, error=str(error))
        self._when_lost()
        self._end("The painter of this server is gone.")
        channel.abort()

    def _end(self, reason: str) -> None:
        self._readiness.state = failed(reason)
        client, self._client = self._client, None
        if client is not None:
            client.give_up()
