"""Jobs that are asked for until they are done: what becomes of them when a poll is not answered as it should be."""

import json
from contextlib import aclosing
from dataclasses import replace

import pytest
from aiohttp import web
from reaching import files, order_of, paint, reaching
from simulated_black_forest_labs import SimulatedBlackForestLabs
from simulated_fal import SimulatedFal

from pinxit.backends.interface import Job, JobBegun, PaintedFile, PaintUsage
from pinxit.backends.upstream import _base
from pinxit.backends.upstream._jobs import MAX_STATE_CHARACTERS, read_job, write_job
from pinxit.backends.upstream._provider import Again, Call, Part, price_by_megapixel, seed_within
from pinxit.errors import BackendError, OutcomeUnknown
from pinxit.images.request import Encoding
from pinxit.images.size import Size
from pinxit.runners.checked import paint_checked

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
    async with reaching(server, timeout_seconds=0.3 if status >= 500 else 20) as backend:
        with pytest.raises(OutcomeUnknown):
            await paint(backend, order_of(backend, MODEL))


class Absent(SimulatedBlackForestLabs):
    """Hangs up on polls, or answers 503, several times in a row before it is there again."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self._left = times

    async def _result(self, request: web.Request) -> web.Response:
        self._left -= 1
        if self._left < 0:
            return await super()._result(request)
        if self._left % 2:
            return web.Response(status=503)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


async def test_a_provider_that_is_away_for_a_while_is_asked_until_it_is_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_base, "LONGEST_POLL_PAUSE", 0.01)
    server = Absent(3 * _base.MAX_TURNED_AWAY)
    async with reaching(server) as backend:
        assert len(files(await paint(backend, order_of(backend, MODEL)))) == 1
        assert server.painted == 1


async def test_the_pause_between_two_polls_grows_to_its_bound_and_never_falls_below_the_providers():
    async with reaching(SimulatedBlackForestLabs()) as backend:
        step = Again(Call("GET", "/"), "a", seconds=0.5)
        assert [backend._pause(step, silences) for silences in (0, 1, 5, 10_000)] == [0, 0.1, 1.6, 10]


CAN_BE_WRITTEN = Again(
    Call("GET", "/status?id=1", headers={"accept": "text/plain"}),
    "job 1",
    0.5,
    Call("PUT", "/end", json={"a": [1]}),
    0.0,
    7,
)
CANNOT = (
    Again(Call("GET", f"/status?key={'k' * 20}"), "a"),
    Again(Call("GET", "/status", headers={"authorization": f"Bearer {'k' * 20}"}), "a"),
    Again(Call("GET", "/status"), "a", cancel=Call("POST", "/end", content=b"{}")),
    Again(Call("GET", "/status"), "a", cancel=Call("POST", "/end", form=(Part("a", "b"),))),
    Again(Call("GET", "/status"), "a", cancel=Call("POST", "/end", json={1, 2})),
    Again(Call("GET", "/" + "x" * MAX_STATE_CHARACTERS), "a"),
)


def test_a_job_is_read_as_it_was_written():
    state = write_job(CAN_BE_WRITTEN, "k" * 20)
    assert state is not None
    assert read_job("job 1", json.loads(json.dumps(state))) == CAN_BE_WRITTEN


@pytest.mark.parametrize("step", CANNOT)
def test_neither_a_credential_nor_what_is_no_json_is_written_down(step: Again):
    assert write_job(step, "k" * 20) is None


async def test_who_keeps_a_job_can_leave_it_and_ask_for_it_later():
    server = SimulatedFal()
    server.polls_needed = 10**9
    async with reaching(server) as backend:
        order = order_of(backend, "fal-ai/flux/schnell", seeds=(7, 8))
        jobs: list[Job] = []
        async with aclosing(paint_checked(backend, order)) as events:
            async for event in events:
                if isinstance(event, JobBegun):
                    assert not any(call.path.endswith(f"{event.job.upstream_id}/status") for call in server.calls)
                    jobs.append(event.job)
                    event.is_kept = True
                if len(jobs) == 2:
                    break
        assert not any(call.path.endswith("/cancel") for call in server.calls)
        server.polls_needed = 0
        found = files(await paint(backend, replace(order, jobs=tuple(jobs))))
        assert sorted((file.index, file.seed) for file in found) == [(0, 7), (1, 8)]
        assert sum(call.method == "POST" for call in server.calls) == 2
        await backend.give_up([jobs[0], Job((1,), "x", {}), replace(jobs[1], state={**jobs[1].state, "cancel": None})])
        assert sum(call.path.endswith("/cancel") for call in server.calls) == 1


async def test_a_job_that_nobody_keeps_is_given_up_by_who_leaves():
    server = SimulatedFal()
    server.polls_needed = 10**9
    async with (
        reaching(server) as backend,
        aclosing(paint_checked(backend, order_of(backend, "fal-ai/flux/schnell"))) as events,
    ):
        async for event in events:
            if isinstance(event, JobBegun):
                break
        await events.aclose()
        assert server.calls[-1].path.endswith("/cancel")


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
