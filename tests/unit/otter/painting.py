"""Small helpers of these tests."""

from collections.abc import AsyncIterator, Callable

from pinxit.backends.interface import PaintedImage, PaintEvent, PaintOrder
from pinxit_otter.backend import OtterBackend

MakeOrder = Callable[..., PaintOrder]


async def all_events(events: AsyncIterator[PaintEvent]) -> list[PaintEvent]:
    return [event async for event in events]


async def paint(backend: OtterBackend, order: PaintOrder) -> list[bytes]:
    """The pictures' pixels, in the order of the seeds."""
    events = await all_events(backend.generate(order))
    painted = [event for event in events if isinstance(event, PaintedImage)]
    return [event.pixels.data for event in sorted(painted, key=lambda event: event.index)]
