"""T14: what gives money counts once, however often and however fast it is asked for."""

import asyncio
from typing import Any

import pytest

from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.errors import Conflict
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

TIMES = 10
MICROS = 10_000
PRICED: list[dict[str, Any]] = [
    {"model_name": "priced", "params": {"model": "fake/fake-1"}, "prices": [{"usd": MICROS / 1_000_000}]}
]


async def top_up(front: Front, reference: str, micros: int = 5 * MICROS) -> None:
    now = front.house.services.now()
    await front.house.database.write(
        lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, micros, reference=reference, now=now)
    )


async def left(front: Front) -> tuple[int, int]:
    assert await front.house.database.read(check) == []
    return await front.house.database.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT))


async def accept_and_wait_for_painting(front: Front) -> str:
    """The path of an order that is being painted."""
    accepted = await front.generate(n=2, **{"async": True})
    assert accepted.status_code == 202
    path = f"/v1/generations/{accepted.json()['id']}"
    async with asyncio.timeout(10):
        while not front.backend.active:
            await asyncio.sleep(0)
    return path


async def test_a_payment_counts_once(make_front: MakeFront) -> None:
    front = await make_front(billing="credits")
    outcomes = await asyncio.gather(*(top_up(front, "payment 1") for _ in range(TIMES)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [Conflict] * (TIMES - 1)
    assert await left(front) == (5 * MICROS, 0)


async def test_another_amount_under_the_same_reference_is_not_paid_in(make_front: MakeFront) -> None:
    front = await make_front(billing="credits")
    await top_up(front, "payment 1")
    with pytest.raises(Conflict):
        await top_up(front, "payment 1", 500 * MICROS)
    assert await left(front) == (5 * MICROS, 0)


async def test_a_cancelled_order_is_given_back_once(make_front: MakeFront) -> None:
    """Ten times DELETE at once, and once more when it is over."""
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}), billing="credits", model_list=PRICED, default_model="priced")
    await top_up(front, "payment 1")
    path = await accept_and_wait_for_painting(front)
    assert await left(front) == (5 * MICROS, 2 * MICROS)
    answers = await asyncio.gather(*(front.client.delete(path, headers=front.authorization) for _ in range(TIMES)))
    answers.append(await front.client.delete(path, headers=front.authorization))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["status"] for answer in answers} == {"cancelled"}
    assert await left(front) == (5 * MICROS, 0)


async def test_a_hold_is_given_back_once(make_front: MakeFront) -> None:
    """Of ten that void the hold of an order at once, one does; posting it then charges nothing."""
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}), billing="credits", model_list=PRICED, default_model="priced")
    await top_up(front, "payment 1")
    path = await accept_and_wait_for_painting(front)
    order, now = path.rpartition("/")[2], front.house.services.now()
    assert (await front.client.delete(path, headers=front.authorization)).status_code == 200
    database = front.house.database
    outcomes = await asyncio.gather(
        *(database.write(lambda connection: ledger.void(connection, order, now=now)) for _ in range(TIMES)),
        *(database.write(lambda connection: ledger.post(connection, order, MICROS, now=now)) for _ in range(TIMES)),
    )
    assert outcomes == [False] * 2 * TIMES
    assert await left(front) == (5 * MICROS, 0)
