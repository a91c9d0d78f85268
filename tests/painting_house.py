"""Runners that misbehave, and a look at what an order left behind."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from front import Front
from pinxit.backends.interface import PaintedImage, PaintEvent, PaintOrder
from pinxit.database.tables import attempts, generations, images
from pinxit.runners.interface import PainterDied, Runner, RunnerState


@dataclass
class DyingRunner(Runner):
    """Another runner whose painter dies: `lives` says after how many pictures of each order (-1: never)."""

    inner: Runner
    lives: list[int]
    orders: list[PaintOrder] = field(default_factory=list)

    async def start(self) -> None:
        await self.inner.start()

    @property
    def state(self) -> RunnerState:
        return self.inner.state

    @property
    def queue_depth(self) -> int:
        return self.inner.queue_depth

    async def wait_ready(self) -> None:
        await self.inner.wait_ready()

    async def paint(
        self, order: PaintOrder, *, ready_timeout_seconds: float | None = None
    ) -> AsyncGenerator[PaintEvent, None]:
        self.orders.append(order)
        left = self.lives.pop(0)
        async with aclosing(self.inner.paint(order, ready_timeout_seconds=ready_timeout_seconds)) as events:
            async for event in events:
                if left == 0 and not isinstance(event, PaintedImage):
                    raise PainterDied
                yield event
                left -= isinstance(event, PaintedImage)

    async def close(self) -> None:
        await self.inner.close()


MakeDying = Callable[..., DyingRunner]


async def assert_whole(front: Front) -> None:
    """Every order has ended; files, rows and attempts agree (docs/reliability.md, I5 and I6)."""
    orders = await front.rows(generations)
    assert not [order.id for order in orders if order.status in ("queued", "in_progress")]
    assert not [order.id for order in orders if order.lease_owner or order.lease_until]
    assert not [attempt for attempt in await front.rows(attempts) if attempt.status == "started"]
    kept = await front.rows(images)
    completed = {order.id for order in orders if order.status == "completed"}
    assert {image.generation_id for image in kept} <= completed
    expected = {image.storage_key.rpartition("/")[2]: image.size_bytes for image in kept if not image.deleted_at}
    assert {path.name: path.stat().st_size for path in front.files()} == expected


async def until(condition: Callable[[], Any]) -> None:
    """Wait, ten seconds at most."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.002)
