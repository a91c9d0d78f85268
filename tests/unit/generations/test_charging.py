"""What orders cost, where credits are on and where they are off."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.errors import BackendError
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

PRICED: list[dict[str, Any]] = [
    {
        "model_name": "priced",
        "params": {"model": "fake/fake-1"},
        "prices": [
            {"usd": 0.01},
            {"usd": 0.02, "quality": "high"},
            {"usd": "0.04", "size": "512x512"},
            {"usd": 0.08, "size": "512x512", "quality": "high"},
        ],
    }
]


async def billed(make_front: MakeFront, micros: int, backend: FakeBackend | None = None) -> Front:
    front = await make_front(backend, billing="credits", model_list=PRICED, default_model="priced")
    if micros:
        now = front.house.services.now()
        await front.house.database.write(
            lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, micros, reference="cash", now=now)
        )
    return front


async def credits_left(front: Front) -> tuple[int, int]:
    assert await front.house.database.read(check) == []
    return await front.house.database.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT))


async def test_pictures_are_paid_for(make_front: MakeFront) -> None:
    front = await billed(make_front, 100_000)
    answer = await front.generate(n=3, usage={"include": True})
    assert answer.json()["usage"]["cost"] == 0.03
    assert await credits_left(front) == (70_000, 0)


@pytest.mark.parametrize(
    ("order", "micros"),
    [
        ({}, 10_000),
        ({"quality": "high"}, 20_000),
        ({"size": "512x512"}, 40_000),
        ({"size": "512x512", "quality": "high"}, 80_000),
    ],
)
async def test_the_most_precise_price_counts(make_front: MakeFront, order: dict[str, Any], micros: int) -> None:
    front = await billed(make_front, 100_000)
    estimate = await front.generate(dry_run=True, **order)
    assert estimate.json()["cost_details"]["cost_micros"] == micros
    assert await credits_left(front) == (100_000, 0)
    await front.generate(**order)
    assert await credits_left(front) == (100_000 - micros, 0)


async def test_who_cannot_pay_is_refused_before_painting(make_front: MakeFront) -> None:
    front = await billed(make_front, 9_999)
    answer = await front.generate()
    assert (answer.status_code, answer.json()["error"]["type"]) == (402, "insufficient_credits")
    assert answer.headers["x-should-retry"] == "false"
    assert front.backend.orders == []
    assert await credits_left(front) == (9_999, 0)


async def test_of_many_orders_at_once_as_many_are_painted_as_are_paid_for(make_front: MakeFront) -> None:
    front = await billed(make_front, 70_000)
    answers = await asyncio.gather(*(front.generate(num_inference_steps=1) for _ in range(40)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [402] * 33
    assert await credits_left(front) == (0, 0)


async def test_a_failed_order_costs_nothing(make_front: MakeFront) -> None:
    front = await billed(make_front, 50_000, FakeBackend(failure=lambda _: BackendError("broken")))
    assert (await front.generate()).status_code == 502
    assert await credits_left(front) == (50_000, 0)


async def test_money_is_held_while_an_order_is_painted(make_front: MakeFront) -> None:
    gate = asyncio.Event()
    front = await billed(make_front, 50_000, FakeBackend(gates={1: gate}))
    accepted = await front.generate(n=2, **{"async": True})
    assert accepted.status_code == 202
    assert await credits_left(front) == (50_000, 20_000)
    gate.set()
    headers = {**front.authorization, "Accept": "text/event-stream"}
    await front.client.get(f"/v1/generations/{accepted.json()['id']}", headers=headers)
    assert await credits_left(front) == (30_000, 0)


async def test_where_nobody_is_billed_use_is_counted(make_front: MakeFront) -> None:
    front = await make_front(model_list=PRICED, default_model="priced")
    await front.generate(n=2)
    query = text("SELECT balance_micros FROM ledger_accounts WHERE kind = 'unbilled'")
    assert await front.house.database.read(lambda connection: connection.execute(query).scalar_one()) == -20_000
    assert await front.house.database.read(check) == []


@pytest.mark.parametrize("usd", [-1, "much", 0.0000001, float("nan"), True, 1001])
async def test_an_odd_price_is_refused_with_its_place(make_front: MakeFront, usd: object) -> None:
    from pinxit.errors import ConfigurationError

    odd = [{**PRICED[0], "prices": [{"usd": usd}]}]
    with pytest.raises(ConfigurationError, match=r"prices"):
        await make_front(model_list=odd, default_model="priced")
