"""The table of faults: what a customer, the books and the upstream see of each way in which an upstream can fail."""

import asyncio
from dataclasses import dataclass

import pytest
from failing import CREDITS_MICROS, PRICE_MICROS, SIZE, UPSTREAM_MICROS, Failing, failing, open_files
from fault_proxy import Fault

from front import MakeFront
from pinxit.database.tables import generations
from pinxit.routing import router
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
PASSING = {Fault.NONE, Fault.FLAPPING, Fault.BUSY_FOR_A_MOMENT}
"""After which a repeat has its picture."""


def test_the_table_has_every_fault():
    assert set(TABLE) | PASSING == set(Fault)


@pytest.fixture
def no_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are not sent to the same backend again, so that the table takes no two seconds a row."""
    monkeypatch.setattr(router, "_RETRY_RESERVE", 0.0)


@pytest.mark.usefixtures("no_repeats")
@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name.lower())
async def test_of_a_fault_the_customer_is_told_and_nobody_pays(make_front: MakeFront, fault: Fault):
    row = TABLE[fault]
    async with failing(make_front) as there:
        await there.proxy.become(fault)
        key = {"Idempotency-Key": "the order"}
        answer = await there.front.generate(key, model="far", size=SIZE, response_format="b64_json")
        error = answer.json()["error"]
        assert (answer.status_code, error["type"]) == (row.status, row.type), error
        assert ("retry-after" in answer.headers) is (row.status == 503)
        assert there.faulty.painted == row.painted
        assert there.healthy.calls == []
        assert await there.credits() == (CREDITS_MICROS, 0)
        assert await there.pictures() == 0
        assert await there.attempts() == [("faulty", "failed", row.loss_micros)]
        [order] = await there.front.rows(generations)
        assert (order.status, order.cost_micros) == (row.ended, 0)

        await there.proxy.become(Fault.NONE)
        again = await there.front.generate(key, model="far", size=SIZE, response_format="b64_json")
        if fault is Fault.BUSY:
            assert (again.status_code, again.headers["retry-after"]) == (503, "7")
        elif row.is_key_free:
            assert (again.status_code, there.faulty.painted) == (200, row.painted + 1), again.text
            assert await there.credits() == (CREDITS_MICROS - PRICE_MICROS, 0)
        else:
            assert (again.status_code, again.json()["error"]["type"]) == (row.status, row.type)
            assert there.faulty.painted == row.painted
        await there.assert_nothing_leaks()


@pytest.mark.usefixtures("no_repeats")
@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: fault.name.lower())
async def test_what_fails_again_and_again_is_left_alone_and_nothing_leaks(make_front: MakeFront, fault: Fault):
    async with failing(make_front) as there:
        assert (await there.front.generate(model="far", size=SIZE)).status_code == 200
        await there.assert_nothing_leaks()
        tasks = len(asyncio.all_tasks())
        await there.proxy.become(fault)
        files = open_files()
        for _ in range(FAILURES_IN_A_ROW):
            assert (await there.front.generate(model="far", size=SIZE)).status_code >= 500
        requests = there.proxy.requests
        assert there.breaker_state() is (BreakerState.OPEN if TABLE[fault].trips else BreakerState.CLOSED)
        left_alone = await there.front.generate(model="far", size=SIZE)
        assert left_alone.status_code == 503
        assert int(left_alone.headers["retry-after"]) >= 1
        assert there.proxy.requests == requests
        await there.proxy.become(fault)  # hangs up on those that wait
        await there.assert_nothing_leaks()
        assert len(asyncio.all_tasks()) <= tasks
        assert open_files() <= files
        sent = there.proxy.sent_bytes
        assert sent < 16 * 1024 * 1024, "an answer is not read beyond its cap"
