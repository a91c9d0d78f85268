"""What every runner keeps, whatever it runs in."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from pinxit.backends.interface import PaintedImage, PaintOrder, PaintUsage, Progress, Queued
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation
from pinxit.images.size import Size
from pinxit.runners.inline import InlineRunner
from pinxit.runners.interface import PainterDied, Runner, Status
from pinxit.runners.process import ProcessRunner
from pinxit.testing.fake_backend import FakeProcessBackend, paint
from sharing import Sharing

MakeRunner = Callable[..., Awaitable[Runner]]


def inline() -> Runner:
    return InlineRunner(FakeProcessBackend())


def process() -> Runner:
    return ProcessRunner("fake", factory="pinxit.testing.fake_backend:FakeProcessBackend")


@pytest.fixture(params=[inline, process, Sharing])
async def make_runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeRunner]:
    """Makes and starts a runner of a FakeProcessBackend; keywords are its environment variables."""
    runners: list[Runner] = []

    async def make(**settings: str) -> Runner:
        for name, value in settings.items():
            monkeypatch.setenv(f"PINXIT_TEST_FAKE_{name.upper()}", value)
        runners.append(request.param())
        await runners[-1].start()
        return runners[-1]

    yield make
    for runner in runners:
        await runner.close()
    gc.collect()


def make_order(n: int = 1, *, previews: int = 0) -> PaintOrder:
    return PaintOrder(
        "fake-1", "a red fox 🦊", Size(256, 256), tuple(range(40, 40 + n)), 4, 3.5, "blur", "vivid", True, previews
    )


async def test_it_tells_when_it_is_ready(make_runner: MakeRunner) -> None:
    runner = await make_runner()

    await runner.wait_ready()

    assert (runner.state.status, runner.state.reason) == (Status.READY, "")
    assert runner.queue_depth == 0


async def test_an_order_waits_for_the_start_and_is_painted_whole(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    order = make_order(3, previews=1)

    events = [event async for event in runner.paint(order)]

    assert [event for event in events if isinstance(event, PaintedImage)] == [
        PaintedImage(index, seed, paint(order, seed)) for index, seed in enumerate(order.seeds)
    ]
    assert events[-1] == PaintUsage(4, 12)
    for index in range(3):
        last = [event.step for event in events if isinstance(event, Progress) and event.index == index][-1]
        assert last == 4


async def test_previews_arrive(make_runner: MakeRunner) -> None:
    runner = await make_runner()

    events = [event async for event in runner.paint(make_order(previews=1))]

    [progress] = [event for event in events if isinstance(event, Progress) and event.preview]
    assert progress.preview is not None
    assert (progress.step, progress.preview.width, progress.preview.mode) == (2, 64, "RGB")


async def test_orders_are_painted_side_by_side(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    order = make_order(2)

    async def images() -> list[PaintedImage]:
        return [event async for event in runner.paint(order) if isinstance(event, PaintedImage)]

    first, *others = await asyncio.gather(*(images() for _ in range(8)))

    assert len(first) == 2
    assert all(other == first for other in others)


async def test_orders_are_counted_until_their_generator_ends(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    closed, cancelled = runner.paint(make_order()), runner.paint(make_order())
    assert isinstance(await anext(closed), Queued)
    await anext(cancelled)
    assert runner.queue_depth == 2

    await closed.aclose()
    assert runner.queue_depth == 1
    with pytest.raises(asyncio.CancelledError):
        await cancelled.athrow(asyncio.CancelledError)

    assert runner.queue_depth == 0


async def test_a_refusal_passes_with_its_facts(make_runner: MakeRunner) -> None:
    runner = await make_runner(failure="refused")

    with pytest.raises(ContentPolicyViolation, match=r"Not this\.") as raised:
        _ = [event async for event in runner.paint(make_order())]

    assert (raised.value.stage, raised.value.categories) == ("model", ("violence",))


async def test_unavailable_passes_with_its_facts(make_runner: MakeRunner) -> None:
    runner = await make_runner(failure="unavailable")

    with pytest.raises(BackendUnavailable, match=r"Not now\.") as raised:
        _ = [event async for event in runner.paint(make_order())]

    assert raised.value.retry_after_seconds == 7.0
    assert not isinstance(raised.value, PainterDied)


@pytest.mark.parametrize(("failure", "message"), [("unusable", "all black"), ("bug", r"failed \(ZeroDivisionError\)")])
async def test_what_the_backend_gets_wrong_is_a_backend_error(
    make_runner: MakeRunner, failure: str, message: str
) -> None:
    runner = await make_runner(failure=failure)

    with pytest.raises(BackendError, match=message):
        _ = [event async for event in runner.paint(make_order())]

    assert runner.state.status is Status.READY


async def test_why_it_cannot_open_is_told_at_once_and_it_tries_again(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = await make_runner(open_error="The weights are missing: install them.")

    with pytest.raises(BackendUnavailable, match="The weights are missing: install them"):
        await runner.wait_ready()
    assert runner.state.status is Status.FAILED
    assert runner.state.reason == "The weights are missing: install them."
    with pytest.raises(BackendUnavailable, match="The weights are missing"):
        await anext(runner.paint(make_order()))
    assert runner.queue_depth == 0


async def test_an_order_does_not_wait_for_ever(make_runner: MakeRunner) -> None:
    runner = await make_runner()

    with pytest.raises(BackendUnavailable, match="still starting"):
        await anext(runner.paint(make_order(), ready_timeout_seconds=0))

    assert runner.queue_depth == 0


async def test_after_closing_nothing_is_painted(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    await runner.wait_ready()

    await runner.close()
    await runner.close()

    assert (runner.state.status, runner.state.reason) == (Status.FAILED, "Pinxit is stopping.")
    with pytest.raises(BackendUnavailable, match="stopping"):
        await anext(runner.paint(make_order()))


@pytest.mark.parametrize("make", [inline, process, Sharing])
async def test_closing_one_that_never_started_is_fine(make: Callable[[], Runner]) -> None:
    await make().close()


async def test_orders_under_way_fail_when_it_closes(make_runner: MakeRunner) -> None:
    runner = await make_runner()
    events = runner.paint(make_order(10))
    await anext(events)

    await runner.close()

    with pytest.raises(BackendUnavailable):
        _ = [event async for event in events]
