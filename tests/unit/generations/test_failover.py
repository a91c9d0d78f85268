"""Orders that go from backend to backend: who may be asked next, who is paid, and what the record says."""

import asyncio
from typing import Any

import pytest
from failing import CREDITS_MICROS, PRICE_MICROS, SIZE, UPSTREAM_MICROS, Failing, failing
from fault_proxy import Fault
from simulated import Outcome

from front import MakeFront
from pinxit.backends.interface import Familiarity
from pinxit.database.tables import generations, holds
from pinxit.errors import BackendUnavailable
from pinxit.generations.ending import Endings


async def generate(there: Failing, **body: Any) -> Any:
    return await there.front.generate(**{"model": "far", "size": SIZE, **body})


async def parameters(there: Failing) -> dict[str, Any]:
    return (await there.front.rows(generations))[-1].parameters


async def test_a_refusal_is_not_shown_to_another(make_front: MakeFront):
    async with failing(make_front, both=True, timeout_seconds=20) as there:
        there.faulty.outcome = Outcome.REFUSE
        answer = await generate(there)
        assert (answer.status_code, answer.json()["error"]["type"]) == (422, "content_policy_violation")
        assert there.healthy.calls == []
        answer = await generate(there, provider={"after_refusal": True})
        assert (answer.status_code, answer.headers["x-pinxit-backend"]) == (200, "healthy/flux.1-dev")
        assert (await parameters(there))["route"] == [
            {"backend": "faulty/flux.1-dev", "result": "refused"},
            {"backend": "healthy/flux.1-dev", "result": "painted"},
        ]


@pytest.mark.parametrize(
    ("outcome", "result"),
    [
        (Outcome.BAD_REQUEST, "not_possible"),
        (Outcome.NO_CREDIT, "unavailable"),
        (Outcome.OUTAGE, "unavailable"),
        (Outcome.RATE_LIMIT, "busy"),
    ],
)
async def test_what_surely_was_not_painted_moves_on(make_front: MakeFront, outcome: Outcome, result: str):
    async with failing(make_front, both=True, timeout_seconds=20) as there:
        there.faulty.outcome = outcome
        assert (await generate(there)).status_code == 200
        assert [step["result"] for step in (await parameters(there))["route"]] == [result, "painted"]
        assert await there.attempts() == [("faulty", "failed", 0), ("healthy", "succeeded", UPSTREAM_MICROS)]
        refused = await generate(there, provider={"allow_fallbacks": False, "order": ["faulty"]})
        assert refused.status_code == (422 if outcome is Outcome.BAD_REQUEST else 503)


async def test_an_order_that_nobody_had_to_hand_on_has_no_route(make_front: MakeFront):
    async with failing(make_front, both=True, timeout_seconds=20) as there:
        assert (await generate(there)).status_code == 200
        assert "route" not in await parameters(there)


async def test_only_who_painted_is_paid_and_the_dearest_is_held(make_front: MakeFront):
    dear = 3 * UPSTREAM_MICROS
    async with failing(make_front, credits=dear, healthy_micros=dear, timeout_seconds=20) as there:
        assert (await generate(there, model="at-cost")).status_code == 200  # the first one, the cheaper
        [hold] = await there.front.rows(holds)
        assert (hold.amount_micros, hold.posted_micros) == (dear, UPSTREAM_MICROS)
        assert await there.credits() == (dear - UPSTREAM_MICROS, 0)
        answer = await generate(there, model="at-cost")
        assert answer.status_code == 402, "what is left would not pay the dearer one"


async def test_the_next_one_has_its_own_price(make_front: MakeFront):
    dear = 3 * UPSTREAM_MICROS
    async with failing(make_front, healthy_micros=dear, timeout_seconds=20) as there:
        await there.proxy.become(Fault.REFUSED)
        answer = await generate(there, model="at-cost", usage={"include": True})
        assert answer.json()["usage"]["cost"] == dear / 1e6
        assert await there.credits() == (CREDITS_MICROS - dear, 0)


async def test_pictures_that_are_there_are_paid_and_those_in_doubt_are_our_loss(make_front: MakeFront):
    async with failing(make_front, timeout_seconds=20) as there:
        await there.proxy.become(Fault.LAST_RESET)
        answer = await generate(there, n=3)
        assert answer.status_code == 200
        assert len(answer.json()["data"]) == 2
        assert await there.credits() == (CREDITS_MICROS - 2 * PRICE_MICROS, 0)
        assert await there.attempts() == [("faulty", "succeeded", 3 * UPSTREAM_MICROS)]


async def test_only_what_is_missing_is_asked_of_the_next(make_front: MakeFront):
    async with failing(make_front, both=True, timeout_seconds=20) as there:
        await there.proxy.become(Fault.FLAPPING)
        answer = await generate(there, n=4)
        assert len(answer.json()["data"]) == 4
        assert (there.faulty.painted, there.healthy.painted) == (2, 2)
        assert await there.credits() == (CREDITS_MICROS - 4 * PRICE_MICROS, 0)


async def stop(there: Failing) -> None:
    await there.front.house.services.generations.close(0)


async def status(there: Failing) -> str:
    return (await there.front.rows(generations))[-1].status


async def test_an_order_that_is_far_away_when_the_server_stops_is_in_doubt(make_front: MakeFront):
    async with failing(make_front, timeout_seconds=60) as there:
        await there.proxy.become(Fault.SILENCE)
        asked = asyncio.create_task(generate(there))
        while not there.proxy.requests:
            await asyncio.sleep(0.005)
        await stop(there)
        assert (await asked).status_code == 504
        assert await status(there) == "unknown"
        assert await there.credits() == (CREDITS_MICROS, 0)


async def test_an_order_that_waits_to_be_sent_again_when_the_server_stops_is_not(make_front: MakeFront):
    async with failing(make_front, timeout_seconds=60) as there:
        await there.proxy.become(Fault.ERROR)
        asked = asyncio.create_task(generate(there))
        while not there.router.standings() or not there.router.standings()[0].failures:
            await asyncio.sleep(0.005)
        await stop(there)
        assert (await asked).status_code == 503
        assert await status(there) == "failed"


async def test_an_order_that_was_painted_far_away_is_never_left_to_be_painted_again(
    make_front: MakeFront, monkeypatch: pytest.MonkeyPatch
):
    """Stopped between the picture and the books."""
    reached = asyncio.Event()

    async def wait(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    async with failing(make_front, timeout_seconds=60) as there:
        monkeypatch.setattr(Endings, "settle", wait)
        accepted = await generate(there, **{"async": True})
        assert accepted.status_code == 202
        await reached.wait()
        await stop(there)
        assert there.faulty.painted == 1
        assert await status(there) == "unknown"
        assert there.front.files() == []
        assert await there.credits() == (CREDITS_MICROS, 0)


async def test_only_who_painted_says_how_near_the_prompt_is(make_front: MakeFront):
    async with failing(make_front, both=True, timeout_seconds=20) as there:
        there.front.backend.familiarity = lambda _: Familiarity("otter", 0.4, known=False)
        there.front.backend.failure = lambda _: BackendUnavailable()
        answer = await generate(there, model="fake-1", fallback_models=["far"], size="auto")
        assert (answer.status_code, answer.headers["x-pinxit-model"]) == (200, "far")
        assert [step["result"] for step in (await parameters(there))["route"]] == ["unavailable", "painted"]
        assert "familiarity" not in await parameters(there)
        assert "x-pinxit-familiarity" not in answer.headers
