"""The table of faults: what a customer, the books and the upstream see of each way in which an upstream can fail."""

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

import pytest
from failing import CREDITS_MICROS, MIB, PRICE_MICROS, SIZE, UPSTREAM_MICROS, Failing, failing, open_sockets
from fault_proxy import Fault

from front import MakeFront
from pinxit.database.tables import attempts, generations
from pinxit.routing import breaker, router
from pinxit.routing.breaker import FAILURES_IN_A_ROW, BreakerState


@dataclass(frozen=True)
class Row:
    """What one fault comes to. `painted`: pictures that the upstream would have on its bill for one order."""

    status: int
    type: str
    ended: str = "failed"
    painted: int = 0
    loss_micros: int = 0
    """What the books say that it costs us."""
    is_key_free: bool = False
    trips: bool = True
    """Whether the breaker takes it for a failure."""


UNAVAILABLE = Row(503, "upstream_unavailable", is_key_free=True)
LOST = Row(504, "upstream_timeout", "unknown", loss_micros=UPSTREAM_MICROS)
PAINTED_AND_LOST = Row(504, "upstream_timeout", "unknown", painted=1, loss_micros=UPSTREAM_MICROS)
NONSENSE = Row(502, "upstream_error", loss_micros=UPSTREAM_MICROS)
PAINTED_NONSENSE = Row(502, "upstream_error", painted=1, loss_micros=UPSTREAM_MICROS)

TABLE = {
    Fault.REFUSED: UNAVAILABLE,
    Fault.BLACK_HOLE: UNAVAILABLE,
    Fault.ERROR: UNAVAILABLE,
    Fault.BUSY: Row(503, "upstream_unavailable", is_key_free=True, trips=False),
    Fault.SILENCE: LOST,
    Fault.RESET_BEFORE_ANSWER: LOST,
    Fault.SLOW: PAINTED_AND_LOST,
    Fault.RESET_IN_BODY: PAINTED_AND_LOST,
    Fault.ENDLESS: PAINTED_AND_LOST,
    Fault.ANNOUNCED: PAINTED_AND_LOST,
    Fault.BOMB: LOST,
    Fault.HTML: NONSENSE,
    Fault.EMPTY_DATA: NONSENSE,
    Fault.INSIDE_ADDRESS: NONSENSE,
    Fault.OTHER_PORT: NONSENSE,
    Fault.REDIRECT: NONSENSE,
    Fault.PICTURE_REDIRECT: NONSENSE,
    Fault.NO_PICTURE: NONSENSE,
    Fault.PIXEL_BOMB: NONSENSE,
    Fault.CUT_JSON: PAINTED_NONSENSE,
    Fault.WRONG_BASE64: PAINTED_NONSENSE,
    Fault.CUT_PICTURE: PAINTED_NONSENSE,
}
PASSING = {Fault.NONE, Fault.LAST_RESET, Fault.FLAPPING, Fault.BUSY_FOR_A_MOMENT}
"""After which a repeat has its picture."""


def test_the_table_has_every_fault():
    assert set(TABLE) | PASSING == set(Fault)


@pytest.fixture
def no_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are not sent to the same backend again, so that the table takes no two seconds a row."""
    monkeypatch.setattr(router, "_RETRY_RESERVE", 0.0)


@pytest.mark.usefixtures("no_repeats")
@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name.lower())
async def test_a_fault_is_told_costs_nobody_anything_and_leaks_nothing(make_front: MakeFront, fault: Fault):
    row = TABLE[fault]
    timeout_seconds = 0.5 if fault in (Fault.SILENCE, Fault.SLOW) else 20
    async with failing(make_front, timeout_seconds=timeout_seconds) as there:
        assert (await there.front.generate(model="other", size=SIZE)).status_code == 200
        tasks = len(asyncio.all_tasks())
        await there.proxy.become(fault)
        sockets = open_sockets()
        paid = PRICE_MICROS
        order = {"model": "far", "size": SIZE, "response_format": "b64_json"}

        key = {"Idempotency-Key": "the order"}
        answer = await there.front.generate(key, **order)
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (row.status, row.type), error
        assert ("retry-after" in answer.headers) is (row.status == 503)
        assert there.faulty.painted == row.painted
        assert len(there.healthy.calls) == 1
        assert await there.credits() == (CREDITS_MICROS - paid, 0)
        assert await there.pictures() == 1
        assert (await there.attempts())[1:] == [("faulty", "failed", row.loss_micros)]
        ended = (await there.front.rows(generations))[1]
        assert (ended.status, ended.cost_micros) == (row.ended, 0)

        await there.proxy.become(Fault.NONE)
        again = await there.front.generate(key, **order)
        if fault is Fault.BUSY:  # it said when to come back
            assert (again.status_code, again.headers["retry-after"]) == (503, "7")
        elif row.is_key_free:
            assert (again.status_code, there.faulty.painted) == (200, row.painted + 1), again.text
            paid += PRICE_MICROS
        else:  # the outcome of the first is told again, and nothing is painted
            assert (again.status_code, again.json()["error"]["type"]) == (row.status, row.type)
            assert there.faulty.painted == row.painted

        await there.proxy.become(fault)
        for _ in range(FAILURES_IN_A_ROW):
            assert (await there.front.generate(**order)).status_code in (row.status, 503)
        requests = there.proxy.requests
        assert there.breaker_state() is (BreakerState.OPEN if row.trips else BreakerState.CLOSED)
        left_alone = await there.front.generate(**order)
        assert left_alone.status_code == 503
        assert int(left_alone.headers["retry-after"]) >= 1
        assert there.proxy.requests == requests

        await there.proxy.become(fault)  # hangs up on those that wait
        await there.assert_nothing_leaks()
        assert len(asyncio.all_tasks()) <= tasks
        assert open_sockets() <= sockets
        assert there.proxy.sent_bytes < 16 * MIB, "an answer is read beyond its cap"
        assert await there.credits() == (CREDITS_MICROS - paid, 0)


@pytest.mark.parametrize("fault", [Fault.FLAPPING, Fault.BUSY_FOR_A_MOMENT])
async def test_what_surely_was_not_painted_is_sent_once_more(make_front: MakeFront, fault: Fault):
    async with failing(make_front, timeout_seconds=20) as there:
        await there.proxy.become(fault)
        answer = await there.front.generate(model="far", size=SIZE)
        assert answer.status_code == 200, answer.text
        assert there.faulty.painted == 1
        assert await there.attempts() == [("faulty", "failed", 0), ("faulty", "succeeded", UPSTREAM_MICROS)]
        assert await there.credits() == (CREDITS_MICROS - PRICE_MICROS, 0)


NO_WORK = [Fault.REFUSED, Fault.BLACK_HOLE, Fault.ERROR, Fault.BUSY, Fault.FLAPPING, Fault.BUSY_FOR_A_MOMENT]
IN_DOUBT = [Fault.SILENCE, Fault.RESET_BEFORE_ANSWER, Fault.RESET_IN_BODY, Fault.HTML, Fault.WRONG_BASE64]
IS_LONG = os.environ.get("PINXIT_TEST_LONG") == "1"
ORDERS = 1000 if IS_LONG else 60
AT_ONCE = 8


@dataclass
class Crowd:
    """What came of many orders."""

    statuses: Counter[int] = field(default_factory=Counter)


async def send_orders(there: Failing, count: int, *, model: str = "far") -> Crowd:
    """`count` orders, AT_ONCE of them at a time."""
    crowd, places = Crowd(), asyncio.Semaphore(AT_ONCE)

    async def send() -> None:
        async with places:
            answer = await there.front.generate(model=model, size=SIZE)
            crowd.statuses[answer.status_code] += 1

    await asyncio.gather(*(send() for _ in range(count)))
    return crowd


async def assert_each_is_painted_once(there: Failing, succeeded: int) -> None:
    """No order has two pictures on our bill, and only those are paid that are there."""
    assert await there.credits() == (CREDITS_MICROS - succeeded * PRICE_MICROS, 0)
    assert await there.pictures() == succeeded
    orders = Counter(call.json["prompt"] for call in [*there.faulty.calls, *there.healthy.calls])
    assert orders.total() >= there.faulty.painted + there.healthy.painted
    by_order: dict[str, set[str]] = {}
    for row in await there.front.rows(attempts):
        if row.cost_micros:
            by_order.setdefault(row.generation_id, set()).add(row.backend)
    assert all(len(backends) == 1 for backends in by_order.values())


@pytest.mark.parametrize("fault", NO_WORK, ids=lambda fault: fault.name.lower())
async def test_where_a_healthy_backend_exists_every_order_has_its_picture(make_front: MakeFront, fault: Fault):
    async with failing(make_front, both=True, timeout_seconds=20, house_max_queued_generations=1000) as there:
        await there.proxy.become(fault)
        crowd = await send_orders(there, ORDERS)
        assert crowd.statuses == {200: ORDERS}
        assert there.faulty.painted + there.healthy.painted == ORDERS
        await assert_each_is_painted_once(there, ORDERS)
        await there.assert_nothing_leaks()


@pytest.mark.parametrize("fault", IN_DOUBT, ids=lambda fault: fault.name.lower())
async def test_in_doubt_only_those_under_way_are_lost_until_the_breaker_opens(make_front: MakeFront, fault: Fault):
    async with failing(make_front, both=True, timeout_seconds=2, house_max_queued_generations=1000) as there:
        await there.proxy.become(fault)
        crowd = await send_orders(there, ORDERS)
        lost = crowd.statuses[504] + crowd.statuses[502]
        assert crowd.statuses[200] + lost == ORDERS
        assert FAILURES_IN_A_ROW <= lost <= AT_ONCE + FAILURES_IN_A_ROW - 1
        assert not IS_LONG or crowd.statuses[200] >= 0.99 * ORDERS
        assert there.healthy.painted == ORDERS - lost
        assert there.breaker_state() is BreakerState.OPEN
        after = await send_orders(there, AT_ONCE)
        assert after.statuses == {200: AT_ONCE}
        await assert_each_is_painted_once(there, ORDERS - lost + AT_ONCE)
        await there.assert_nothing_leaks()


async def test_work_that_is_free_is_done_elsewhere_even_in_doubt(make_front: MakeFront):
    async with failing(make_front, both=True, timeout_seconds=20, repeatable=True) as there:
        await there.proxy.become(Fault.RESET_IN_BODY)
        crowd = await send_orders(there, AT_ONCE)
        assert crowd.statuses == {200: AT_ONCE}


async def test_a_backend_that_is_well_again_is_used_again(make_front: MakeFront, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(breaker, "FIRST_REST_SECONDS", 0.05)
    async with failing(make_front, both=True, timeout_seconds=20) as there:
        await there.proxy.become(Fault.REFUSED)
        began = monotonic()
        await send_orders(there, FAILURES_IN_A_ROW)
        assert there.breaker_state() is not BreakerState.CLOSED
        assert monotonic() - began < 5
        await there.proxy.become(Fault.NONE)
        for _ in range(100):
            assert (await there.front.generate(model="far", size=SIZE)).status_code == 200
            if there.faulty.painted:
                break
            await asyncio.sleep(0.02)
        assert there.faulty.painted == 1
        assert there.breaker_state() is BreakerState.CLOSED


async def test_a_stuck_upstream_holds_no_place_of_another_model(make_front: MakeFront):
    async with failing(make_front, timeout_seconds=60, house_max_painting_generations=2) as there:
        await there.proxy.become(Fault.SILENCE)
        stuck = [asyncio.create_task(there.front.generate(model="far", size=SIZE)) for _ in range(4)]
        while there.proxy.requests < 2:
            await asyncio.sleep(0.005)
        async with asyncio.timeout(20):
            crowd = await send_orders(there, 2 * AT_ONCE, model="other")
        assert crowd.statuses == {200: 2 * AT_ONCE}
        assert (await there.front.generate(model="fake-1")).status_code == 200
        await there.proxy.become(Fault.REFUSED)
        await asyncio.gather(*stuck)
        await there.assert_nothing_leaks()
