from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace

import pytest

from pinxit.backends.interface import PaintedImage, PaintEvent, PaintOrder, Progress
from pinxit.errors import BackendError, BackendUnavailable
from pinxit.images.size import Size
from pinxit.runners.checked import paint_checked
from pinxit.testing.fake_backend import FakeBackend, paint

ORDER = PaintOrder("fake-1", "a red fox", Size(2, 2), (7, 8), 1)
FIRST, SECOND = (PaintedImage(index, seed, paint(ORDER, seed)) for index, seed in enumerate(ORDER.seeds))


class Scripted(FakeBackend):
    """Yields what it was given."""

    def __init__(self, events: Iterable[PaintEvent]) -> None:
        super().__init__()
        self.events = events

    async def generate(self, order: PaintOrder) -> AsyncGenerator[PaintEvent, None]:
        for event in self.events:
            yield event


async def test_pictures_may_come_in_any_order() -> None:
    assert [event async for event in paint_checked(Scripted([SECOND, FIRST]), ORDER)] == [SECOND, FIRST]


@pytest.mark.parametrize(
    "events",
    [
        [FIRST],
        [FIRST, FIRST, SECOND],
        [FIRST, SECOND, replace(SECOND, index=2)],
        [FIRST, replace(SECOND, seed=9)],
        [FIRST, replace(SECOND, pixels=paint(replace(ORDER, size=Size(1, 2)), 8))],
        [Progress(-1, 1, 1), FIRST, SECOND],
        [Progress(2, 1, 1), FIRST, SECOND],
    ],
    ids=["missing", "twice", "too many", "seed", "size", "step before", "step behind"],
)
async def test_a_backend_that_breaks_the_interface_is_found_out(events: list[PaintEvent]) -> None:
    with pytest.raises(BackendError):
        _ = [event async for event in paint_checked(Scripted(events), ORDER)]


async def test_a_bug_of_the_backend_is_the_cause_and_its_words_stay_there() -> None:
    backend = FakeBackend(failure=lambda order: ValueError(order.prompt))
    await backend.open()

    with pytest.raises(BackendError) as raised:
        _ = [event async for event in paint_checked(backend, ORDER)]

    assert isinstance(raised.value.__cause__, ValueError)
    assert raised.value.message == "The painter failed (ValueError)."


async def test_what_the_interface_names_passes() -> None:
    with pytest.raises(BackendUnavailable):
        _ = [event async for event in paint_checked(FakeBackend(), ORDER)]
