"""Several workers at one painter. What every runner does is in tests/contracts, over the hub too."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from pinxit.backends.interface import PaintedImage, PaintOrder, Progress, Queued
from pinxit.errors import BackendUnavailable
from pinxit.images.size import Size
from pinxit.limits.gate import Gate
from pinxit.runners.hub import Hub
from pinxit.runners.interface import PainterDied, Status
from pinxit.runners.process import ProcessRunner
from pinxit.runners.remote import RemoteRunner
from pinxit.testing.fake_backend import paint
from sharing import FAKE

MakeWorker = Callable[..., Awaitable[RemoteRunner]]


def make_order(n: int = 1, *, steps: int = 3, size: str = "256x256", prompt: str = "a red fox") -> PaintOrder:
    return PaintOrder("fake-1", prompt, Size.parse(size), tuple(range(n)), steps)


def expected(order: PaintOrder) -> list[PaintedImage]:
    return [PaintedImage(index, seed, paint(order, seed)) for index, seed in enumerate(order.seeds)]


async def images(runner: RemoteRunner, order: PaintOrder) -> list[PaintedImage]:
    async with aclosing(runner.paint(order)) as events:
        return [event async for event in events if isinstance(event, PaintedImage)]


@pytest.fixture
def hold(tmp_path: Path) -> Path:
    """While this file is there, the painter's second steps wait."""
    (tmp_path / "hold").touch()
    return tmp_path / "hold"


@pytest.fixture
async def painter(tmp_path: Path) -> AsyncIterator[ProcessRunner]:
    painter = ProcessRunner("fake", factory=FAKE, environment={"PINXIT_TEST_FAKE_HOLD": str(tmp_path / "hold")})
    yield painter
    await painter.close()
    gc.collect()


@pytest.fixture
async def make_worker(painter: ProcessRunner) -> AsyncIterator[MakeWorker]:
    """Makes one more worker at the painter's hub; the first one starts it."""
    workers: list[RemoteRunner] = []
    serving: list[asyncio.Task[None]] = []
    hubs: list[Hub] = []

    async def make(*, max_painting: int = 16) -> RemoteRunner:
        if not hubs:
            await painter.start()
            hubs.append(Hub(painter, Gate(1000, max_painting)))
        ours, theirs = socket.socketpair()
        workers.append(RemoteRunner("fake", theirs))
        serving.append(asyncio.create_task(hubs[0].serve(ours, str(len(workers)))))
        await workers[-1].start()
        await workers[-1].wait_ready()
        return workers[-1]

    yield make
    for worker in workers:
        await worker.close()
    async with asyncio.timeout(10):
        await asyncio.gather(*serving)


async def idle(painter: ProcessRunner) -> None:
    async with asyncio.timeout(10):
        while await painter.ping():
            await asyncio.sleep(0)


async def begun(painter: ProcessRunner, orders: int) -> None:
    async with asyncio.timeout(10):
        while await painter.ping() < orders:
            await asyncio.sleep(0)


async def test_workers_share_one_painter(make_worker: MakeWorker, painter: ProcessRunner) -> None:
    first, second = await make_worker(), await make_worker()
    pid = painter.pid

    one, two = make_order(3, prompt="one"), make_order(3, prompt="two")
    painted = await asyncio.gather(images(first, one), images(second, two))

    assert painted == [expected(one), expected(two)]
    assert painter.pid == pid


async def test_a_worker_that_dies_leaves_no_order_behind(
    make_worker: MakeWorker, painter: ProcessRunner, hold: Path
) -> None:
    dying, other = await make_worker(), await make_worker()
    lost = dying.paint(make_order())
    await anext(lost)
    kept = asyncio.create_task(images(other, make_order()))
    await begun(painter, 2)

    assert dying._channel is not None
    dying._channel.abort()

    async with asyncio.timeout(10):
        while await painter.ping() > 1:
            await asyncio.sleep(0)
    with pytest.raises(PainterDied):
        _ = [event async for event in lost]
    hold.unlink()
    assert await kept == expected(make_order())


async def test_a_dead_painter_is_told_to_all_workers_and_replaced_for_all(
    make_worker: MakeWorker, painter: ProcessRunner, hold: Path
) -> None:
    workers = [await make_worker(), await make_worker()]
    orders = [worker.paint(make_order()) for worker in workers]
    for order in orders:
        await anext(order)
    assert painter.pid is not None

    os.kill(painter.pid, signal.SIGKILL)

    for order in orders:
        with pytest.raises(PainterDied, match="died while it was painting"):
            _ = [event async for event in order]
    hold.unlink()
    assert [await images(worker, make_order()) for worker in workers] == [expected(make_order())] * 2


async def test_workers_see_the_painters_state(make_worker: MakeWorker, painter: ProcessRunner) -> None:
    workers = [await make_worker(), await make_worker()]
    assert [worker.state.status for worker in workers] == [Status.READY] * 2

    await painter.close()

    async with asyncio.timeout(10):
        for worker in workers:
            while worker.state != painter.state:
                await asyncio.sleep(0)
    with pytest.raises(BackendUnavailable, match=r"Pinxit is stopping\."):
        await images(workers[0], make_order())


async def test_closing_the_generator_cancels_in_the_painter(
    make_worker: MakeWorker, painter: ProcessRunner, hold: Path
) -> None:
    worker = await make_worker()
    events = worker.paint(make_order())
    await anext(events)
    await begun(painter, 1)

    await events.aclose()

    await idle(painter)
    assert hold.exists()
    assert await worker.ping() == 0


async def test_a_slow_reader_holds_its_own_order_up_and_no_other(make_worker: MakeWorker) -> None:
    slow_worker, other = await make_worker(), await make_worker()
    slow_order = make_order(10, size="1024x1024", prompt="slow")
    slow = slow_worker.paint(slow_order)
    await anext(slow)

    for worker in (slow_worker, other):
        assert await images(worker, make_order(4)) == expected(make_order(4))

    assert await slow_worker.ping() == 1  # some pictures are sent ahead and wait
    assert slow_worker._client is not None
    [inbox] = slow_worker._client._inboxes.values()
    assert sum(isinstance(event, PaintedImage) for event in inbox._events) == 2
    assert [event async for event in slow if isinstance(event, PaintedImage)] == expected(slow_order)


async def test_workers_take_turns_and_orders_know_their_place(
    make_worker: MakeWorker, painter: ProcessRunner, hold: Path
) -> None:
    crowd, other = await make_worker(max_painting=1), await make_worker(max_painting=1)
    ended: list[str] = []
    places: list[int] = []

    async def run(worker: RemoteRunner, prompt: str) -> None:
        async with aclosing(worker.paint(make_order(prompt=prompt))) as events:
            async for event in events:
                if isinstance(event, Queued) and prompt == "other":
                    places.append(event.position)
        ended.append(prompt)

    tasks = [asyncio.create_task(run(crowd, f"crowd {number}")) for number in range(4)]
    await begun(painter, 1)
    while await crowd.ping() < 4:
        await asyncio.sleep(0)
    tasks.append(asyncio.create_task(run(other, "other")))
    async with asyncio.timeout(10):
        while places != [1]:
            await asyncio.sleep(0)
    hold.unlink()
    await asyncio.gather(*tasks)

    assert ended == ["crowd 0", "other", "crowd 1", "crowd 2", "crowd 3"]


async def test_nonsense_of_one_worker_harms_no_other(make_worker: MakeWorker) -> None:
    bad, good = await make_worker(), await make_worker()
    assert bad._channel is not None

    bad._channel._transport.write(b"\xff" * 100)

    async with asyncio.timeout(10):
        await bad._channel.wait_closed()
    assert await images(good, make_order()) == expected(make_order())
    with pytest.raises(BackendUnavailable, match="is gone"):
        await images(bad, make_order())


async def test_progress_arrives(make_worker: MakeWorker) -> None:
    worker = await make_worker()
    steps = [event.step async for event in worker.paint(make_order(steps=5)) if isinstance(event, Progress)]
    assert steps[-1] == 5
