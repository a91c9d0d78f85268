import asyncio

import pytest

from pinxit.backends.interface import PaintedImage, PaintEvent, Progress, Queued
from pinxit.errors import BackendError
from pinxit.images.pixels import Pixels
from pinxit.runners.inbox import Inbox

PIXELS = Pixels(1, 1, "RGB", b"abc")


async def taken(inbox: Inbox) -> list[PaintEvent]:
    events = []
    while (event := await inbox.take()) is not None:
        events.append(event)
    return events


async def test_a_slow_reader_sees_the_last_step_of_each_picture_and_every_preview_and_picture() -> None:
    inbox = Inbox()
    for position in (2, 1):
        inbox.put(Queued(position))
    for index in (0, 1):
        for step in range(1, 5):
            inbox.put(Progress(index, step, 4, PIXELS if step < 3 else None))
        inbox.put(PaintedImage(index, 9, PIXELS))
    inbox.finish()

    assert await taken(inbox) == [
        Queued(1),
        Progress(0, 1, 4, PIXELS),
        Progress(0, 2, 4, PIXELS),
        Progress(0, 4, 4),
        PaintedImage(0, 9, PIXELS),
        Progress(1, 1, 4, PIXELS),
        Progress(1, 2, 4, PIXELS),
        Progress(1, 4, 4),
        PaintedImage(1, 9, PIXELS),
    ]


async def test_an_error_comes_after_what_was_received() -> None:
    inbox = Inbox()
    inbox.put(Queued(0))
    inbox.finish(BackendError("Black."))
    inbox.finish()

    assert await inbox.take() == Queued(0)
    with pytest.raises(BackendError, match="Black"):
        await inbox.take()


async def test_a_reader_waits_for_news() -> None:
    inbox = Inbox()
    reader = asyncio.create_task(taken(inbox))
    await asyncio.sleep(0)
    inbox.put(Queued(0))
    await asyncio.sleep(0)
    inbox.finish()

    assert await reader == [Queued(0)]
