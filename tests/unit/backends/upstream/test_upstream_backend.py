"""What the backend over any provider does with time, places and several requests at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from time import monotonic

import pytest
from aiohttp import web
from reaching import files, order_of, paint
from simulated_openai_compatible import SimulatedOpenaiCompatible
from simulated_replicate import SimulatedReplicate

from pinxit.backends.interface import PaintedFile, PaintEvent
from pinxit.backends.upstream import load_kind
from pinxit.backends.upstream._base import Limits, UpstreamBackend
from pinxit.backends.upstream._provider import Access, UpstreamModel
from pinxit.errors import BackendBusy, BackendError, BackendUnavailable, OutcomeUnknown

MODEL = "flux.1-dev"


class Gated(SimulatedOpenaiCompatible):
    """Answers each request once `open_gates` has let it go; those named in `failing` (from 1) with 503."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Semaphore(0)
        self.begun = asyncio.Semaphore(0)
        self.at_once = 0
        self.most_at_once = 0
        self.failing: set[int] = set()
        self.broken: set[int] = set()

    def open_gates(self, count: int = 1) -> None:
        for _ in range(count):
            self.gate.release()

    async def generate(self, request: web.Request) -> web.Response:
        number = len(self.calls)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.release()
        try:
            await self.gate.acquire()
        finally:
            self.at_once -= 1
        if number in self.failing:
            return self.error(503, "loading", "ServiceUnavailableError")
        if number in self.broken:
            return web.json_response({"data": []})
        return await super().generate(request)


@asynccontextmanager
async def gated(per_call: int = 1, **limits: float) -> AsyncIterator[tuple[Gated, UpstreamBackend]]:
    server = Gated()
    async with server.serving():
        provider = load_kind("openai_compatible")(Access(f"{server.url}/v1"))
        spec = server.configured_models()[1].spec
        provider.offer([UpstreamModel(spec, per_call=per_call)])
        backend = UpstreamBackend("gated", provider, limits=Limits(**{"timeout_seconds": 20, **limits}))
        await backend.open()
        try:
            yield server, backend
        finally:
            server.open_gates(1000)
            await backend.close()
            assert backend._slots._value == backend._limits.max_concurrency
            assert backend._waiting == 0


async def test_the_pictures_of_an_order_are_painted_at_the_same_time():
    async with gated() as (server, backend):
        painting = asyncio.create_task(paint(backend, order_of(backend, MODEL, seeds=(1, 2, 3))))
        for _ in range(3):
            await server.begun.acquire()
        assert server.most_at_once == 3
        server.open_gates(3)
        assert sorted(file.index for file in files(await painting)) == [0, 1, 2]


async def test_each_picture_comes_when_it_is_done():
    async with (
        gated() as (server, backend),
        aclosing(backend.generate(order_of(backend, MODEL, seeds=(1, 2)))) as events,
    ):
        seen: list[PaintEvent] = []
        server.open_gates()
        async for event in events:
            seen.append(event)
            if isinstance(event, PaintedFile):
                break
        assert server.painted == 1
        server.open_gates()
        rest = [event async for event in events]
        assert {event.index for event in [*seen, *rest] if isinstance(event, PaintedFile)} == {0, 1}


async def test_of_several_requests_the_good_pictures_come_before_the_error_of_the_others():
    async with gated() as (server, backend):
        server.failing, server.broken = {1}, {2}
        server.open_gates(4)
        seen = []

        async def look() -> None:
            async with aclosing(backend.generate(order_of(backend, MODEL, seeds=(1, 2, 3, 4)))) as events:
                async for event in events:
                    seen.append(event)

        with pytest.raises(BackendError):  # it says more about work that was done than the 503 does
            await look()
        assert len([event for event in seen if isinstance(event, PaintedFile)]) == 2


async def test_an_order_is_split_by_how_many_a_request_may_ask_for():
    async with gated(per_call=2) as (server, backend):
        server.open_gates(2)
        with pytest.raises(BackendError, match="left out 1 of 3"):  # this server paints one, whatever `n` says
            await paint(backend, order_of(backend, MODEL, seeds=(1, 2, 3)))
        assert sorted(call.json.get("n", 1) for call in server.calls) == [1, 2]


async def test_no_more_than_its_places_are_sent_and_who_waits_behind_too_many_is_turned_away():
    async with gated(max_concurrency=1, max_waiting=1) as (server, backend):
        first = asyncio.create_task(paint(backend, order_of(backend, MODEL)))
        await server.begun.acquire()
        second = asyncio.create_task(paint(backend, order_of(backend, MODEL)))
        while not backend._waiting:
            await asyncio.sleep(0)
        with pytest.raises(BackendBusy):
            await paint(backend, order_of(backend, MODEL))
        server.open_gates(2)
        assert len(files(await first)) == len(files(await second)) == 1
        assert (server.most_at_once, server.painted) == (1, 2)


async def test_who_waits_too_long_for_a_place_is_turned_away_and_was_not_sent():
    async with gated(max_concurrency=1, timeout_seconds=0.3) as (server, backend):
        began = monotonic()
        both = await asyncio.gather(
            *(paint(backend, order_of(backend, MODEL)) for _ in range(3)), return_exceptions=True
        )
        assert monotonic() - began < 10
        assert sorted(type(error).__name__ for error in both if isinstance(error, BaseException))[0] == "BackendBusy"
        assert {type(error) for error in both} <= {BackendBusy, OutcomeUnknown}
        assert len(server.calls) < 3


async def test_no_answer_in_time_is_in_doubt_or_for_free_work_as_good_as_not_begun():
    async with gated(timeout_seconds=0.2) as (_, backend):
        with pytest.raises(OutcomeUnknown):
            await paint(backend, order_of(backend, MODEL))
        backend.is_repeatable = True  # type: ignore[misc]
        with pytest.raises(BackendUnavailable):
            await paint(backend, order_of(backend, MODEL))


async def test_who_stops_waiting_gives_the_place_and_the_connection_back():
    async with gated(max_concurrency=1) as (server, backend):
        painting = asyncio.create_task(paint(backend, order_of(backend, MODEL)))
        await server.begun.acquire()
        painting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await painting
        server.open_gates(2)
        assert files(await paint(backend, order_of(backend, MODEL)))


async def test_a_job_that_takes_too_long_is_in_doubt_and_is_cancelled_there():
    server = SimulatedReplicate()
    server.wait_is_enough = False
    server.polls_needed = 10**9
    async with server.serving():
        kind = load_kind("replicate")
        provider = kind(Access(server.url + server.base_path("/v1"), server.credential))
        limits = Limits(timeout_seconds=0.3, poll_seconds=0.01)
        backend = UpstreamBackend("replicate", provider, limits=limits)
        await backend.open()
        try:
            with pytest.raises(OutcomeUnknown):
                await paint(backend, order_of(backend, "black-forest-labs/flux-dev"))
        finally:
            await backend.close()
    assert server.calls[-1].path.endswith("/cancel")
