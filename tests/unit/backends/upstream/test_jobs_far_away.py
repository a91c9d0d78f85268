"""Jobs that are asked for until they are done: what becomes of them when a poll is not answered as it should be."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network

import pytest
from aiohttp import web
from simulated_black_forest_labs import SimulatedBlackForestLabs

from pinxit.backends.interface import Asked, PaintedFile, PaintEvent, PaintOrder, PaintUsage
from pinxit.backends.upstream._base import Limits, UpstreamBackend
from pinxit.backends.upstream._provider import Access, price_by_megapixel, seed_within
from pinxit.backends.upstream.black_forest_labs import BlackForestLabs
from pinxit.errors import BackendError, OutcomeUnknown
from pinxit.images.request import Encoding
from pinxit.images.size import Size
from pinxit.runners.checked import paint_checked

ORDER = PaintOrder("flux-2-pro", "a fox", Size(1024, 1024), (7,), 1, asked=Asked(encoding=Encoding.JPEG))


class Strange(SimulatedBlackForestLabs):
    """Takes jobs, and answers each poll with `said`."""

    said: tuple[int, object] = (200, {})

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/get_result", self._say), *super().routes()]

    async def _say(self, _request: web.Request) -> web.Response:
        status, document = self.said
        return web.json_response(document, status=status)


@asynccontextmanager
async def painting(server: SimulatedBlackForestLabs) -> AsyncIterator[UpstreamBackend]:
    async with server.serving():
        provider = BlackForestLabs(Access(f"{server.url}/v1", server.credential))
        networks = (ip_network("127.0.0.0/8"),)
        backend = UpstreamBackend("bfl", provider, limits=Limits(poll_seconds=0), allowed_networks=networks)
        await backend.open()
        try:
            yield backend
        finally:
            await backend.close()


async def paint(backend: UpstreamBackend) -> list[PaintEvent]:
    return [event async for event in paint_checked(backend, ORDER)]


@pytest.mark.parametrize("status", [401, 402, 403, 404, 500, 503])
async def test_a_poll_that_is_turned_away_leaves_the_outcome_open(status: int):
    server = Strange()
    server.said = status, {"detail": "no"}
    async with painting(server) as backend:
        with pytest.raises(OutcomeUnknown):
            await paint(backend)


@pytest.mark.parametrize("document", [{}, {"status": "Lunch"}, {"status": "Ready", "result": None}, [], None])
async def test_a_poll_that_cannot_be_read_ends_the_job(document: object):
    server = Strange()
    server.said = 200, document
    async with painting(server) as backend:
        with pytest.raises(BackendError):
            await paint(backend)


async def test_what_the_job_costs_is_remembered_from_its_first_answer():
    async with painting(SimulatedBlackForestLabs()) as backend:
        events = await paint(backend)
    assert [event.cost_micros for event in events if isinstance(event, PaintUsage)] == [30_000]
    assert [event.seed for event in events if isinstance(event, PaintedFile)] == [7]


def test_a_price_counts_each_megapixel_begun():
    prices = price_by_megapixel([Size(1024, 1024), Size(1024, 1040), Size(2048, 2048), Size(64, 64)], "0.03", "0.015")
    found = [prices.micros(Size(*sides), "auto") for sides in ((1024, 1024), (1024, 1040), (2048, 2048), (64, 64))]
    assert found == [30_000, 45_000, 75_000, 30_000]


def test_a_seed_out_of_bounds_always_becomes_the_same_one_within():
    assert [seed_within(seed, 1, 10) for seed in (1, 10)] == [1, 10]
    assert all(1 <= seed_within(seed, 1, 10) <= 10 for seed in (0, 11, 2**32 - 1))
