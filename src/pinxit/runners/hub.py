"""Lets the workers of one server share a painter: every worker has a socket to the hub, and the hub has the runner.

The worker's end is `pinxit.runners.remote`. A worker that dies hangs up, and its orders are cancelled at once.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Protocol

import structlog

from pinxit.backends.interface import PaintEvent, PaintOrder, Queued
from pinxit.runners.channel import Channel
from pinxit.runners.frames import Frame, FrameError
from pinxit.runners.messages import event_frame, read_order, read_ready_timeout, state_frame
from pinxit.runners.process import ProcessRunner
from pinxit.runners.server import PaintServer

log = structlog.get_logger(__name__)


class Turns(Protocol):
    """A bounded number of orders is painted at a time; those who wait take turns."""

    async def take_turn(self, key: str, tell: Callable[[int], None]) -> None:
        """Wait for the turn of `key`. `tell` hears how many are before it."""
        ...

    def end_turn(self) -> None:
        """The order is painted no longer."""
        ...


class Hub:
    """Hands the orders of several workers to one runner. The workers take turns, whatever each of them sends."""

    def __init__(self, runner: ProcessRunner, turns: Turns) -> None:
        self._runner = runner
        self._turns = turns

    async def serve(self, connected: socket.socket, worker: str) -> None:
        """Serve one worker until it hangs up; it is told of the runner's state first, and whenever that changes."""
        channel = await Channel.open(connected)
        server = PaintServer(channel, partial(self._paint, channel, worker))
        telling = asyncio.create_task(self._tell_states(channel))
        try:
            await server.serve()
        except FrameError as error:
            log.error("worker_sent_nonsense", slot=worker, error=str(error))
        finally:
            telling.cancel()
            with suppress(asyncio.CancelledError):
                await telling
            channel.abort()
            await server.end_orders()
            await channel.wait_closed()

    async def _tell_states(self, channel: Channel) -> None:
        state = self._runner.state
        while True:
            channel.send(state_frame(state))
            state = await self._runner.wait_change(state)

    def _paint(self, channel: Channel, worker: str, frame: Frame) -> AsyncGenerator[PaintEvent, None]:
        """Raises FrameError at once, not at the first event."""
        order, timeout = read_order(frame), read_ready_timeout(frame)

        def tell(place: int) -> None:
            channel.send(event_frame(frame.order_id, Queued(place)))

        return self._paint_in_turn(worker, order, timeout, tell)

    async def _paint_in_turn(
        self, worker: str, order: PaintOrder, ready_timeout_seconds: float | None, tell: Callable[[int], None]
    ) -> AsyncGenerator[PaintEvent, None]:
        await self._turns.take_turn(worker, tell)
        try:
            painting = self._runner.paint(order, ready_timeout_seconds=ready_timeout_seconds)
            async with aclosing(painting) as events:
                async for event in events:
                    yield event
        finally:
            self._turns.end_turn()
