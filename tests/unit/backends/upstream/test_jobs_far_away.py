"""Jobs that are asked for until they are done: what becomes of them when a poll is not answered as it should be."""

import json

import pytest
from aiohttp import web
from reaching import order_of, paint, reaching
from simulated_black_forest_labs import SimulatedBlackForestLabs

from pinxit.backends.interface import PaintedFile, PaintUsage
from pinxit.backends.upstream._provider import price_by_megapixel, seed_within
from pinxit.errors import BackendError, OutcomeUnknown
from pinxit.images.request import Encoding
from pinxit.images.size import Size

MODEL = "flux-2-pro"


class Strange(SimulatedBlackForestLabs):
    """Takes jobs, and answers each poll with `said`."""

    said: tuple[int, object] = (200, {})

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/v1/get_result", self._say), *super().routes()]

    async def _say(self, _request: web.Request) -> web.Response:
        status, document = self.said
        return web.json_response(document, status=status)


@pytest.mark.parametrize("status", [401, 402, 403, 404, 500, 503])
async def test_a_poll_that_is_turned_away_leaves_the_outcome_open(status: int):
    server = Strange()
    server.said = status, {"detail": "no"}
    async with reaching(server) as backend:
        with pytest.raises(OutcomeUnknown):
            await paint(backend, order_of(backend, MODEL))


NOT_READABLE = (
    {},
    {"status": "Lunch"},
    {"status": "Ready", "result": None},
    {"status": "Ready", "result": {"sample": 5}},
    {"status": "Ready", "result": {"sample": ["https://example.com"]}},
    {"polling_url": 5, "id": "a"},
    {"polling_url": "https://elsewhere.example/job", "id": "a"},
    [],
    None,
)


@pytest.mark.parametrize("document", NOT_READABLE)
async def test_a_poll_that_cannot_be_read_ends_the_job(document: object):
    server = Strange()
    server.said = 200, document
    async with reaching(server) as backend:
        with pytest.raises(BackendError):
            await paint(backend, order_of(backend, MODEL))


async def test_what_the_job_costs_is_remembered_from_its_first_answer():
    async with reaching(SimulatedBlackForestLabs()) as backend:
        events = await paint(backend, order_of(backend, MODEL))
    assert [event.cost_micros for event in events if isinstance(event, PaintUsage)] == [30_000]
    assert [event.seed for event in events if isinstance(event, PaintedFile)] == [7]


def test_a_price_counts_each_megapixel_begun():
    prices = price_by_megapixel("0.03", "0.015")
    found = [prices.micros(Size(*sides), "auto") for sides in ((1024, 1024), (1024, 1040), (2048, 2048), (64, 64))]
    assert found == [30_000, 45_000, 75_000, 30_000]


async def test_a_size_between_those_with_names_is_painted():
    async with reaching(SimulatedBlackForestLabs()) as backend:
        can = next(spec for spec in backend.models() if spec.id == MODEL).capabilities
        size = Size(1040, 1600)
        assert size not in can.sizes
        assert can.size_range is not None
        assert can.size_range.has(size)
        events = await paint(backend, order_of(backend, MODEL, size=size))
    assert [event.size for event in events if isinstance(event, PaintedFile)] == [size]


def test_a_seed_out_of_bounds_always_becomes_the_same_one_within():
    assert [seed_within(seed, 1, 10) for seed in (1, 10)] == [1, 10]
    assert all(1 <= seed_within(seed, 1, 10) <= 10 for seed in (0, 11, 2**32 - 1))


class Dear(SimulatedBlackForestLabs):
    """Says `cost` of each job."""

    cost: object = 0

    async def _order(self, request: web.Request) -> web.Response:
        answer = await super()._order(request)
        said = json.loads(answer.body)  # type: ignore[arg-type]
        return web.Response(text=json.dumps({**said, "cost": self.cost}), content_type="application/json")


@pytest.mark.parametrize("cost", [-1, 10**40, float("inf"), float("nan"), "three", [3], {}])
async def test_a_cost_that_makes_no_sense_is_not_believed(cost: object):
    server = Dear()
    server.cost = cost
    async with reaching(server) as backend:
        events = await paint(backend, order_of(backend, MODEL))
    assert [event.cost_micros for event in events if isinstance(event, PaintUsage)] == [None]
    assert sum(isinstance(event, PaintedFile) for event in events) == 1


async def test_an_encoding_that_the_provider_has_not_is_made_of_one_that_it_has():
    server = SimulatedBlackForestLabs()
    async with reaching(server) as backend:
        own = next(spec for spec in backend.models() if spec.id == MODEL).capabilities.encodings
        events = await paint(backend, order_of(backend, MODEL, encoding=Encoding.WEBP, compression=50))
    assert own == (Encoding.JPEG, Encoding.PNG, Encoding.WEBP)
    assert server.calls[0].json["output_format"] == "png"
    assert [event.encoding for event in events if isinstance(event, PaintedFile)] == [Encoding.PNG]


class Slow(SimulatedBlackForestLabs):
    """Does not know a job at first."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown = 3

    async def _result(self, request: web.Request) -> web.Response:
        self.unknown -= 1
        if self.unknown >= 0:
            return web.json_response({"status": "Task not found"}, status=404)
        return await super()._result(request)


async def test_a_job_that_is_not_known_at_first_is_not_given_up():
    async with reaching(Slow()) as backend:
        events = await paint(backend, order_of(backend, MODEL))
    assert sum(isinstance(event, PaintedFile) for event in events) == 1
