"""T12: however many orders come at once, no more are painted than can be paid."""

import asyncio
import os
from typing import Any

import pytest

from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.keys.model import Budgets
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check

pytestmark = pytest.mark.both_databases

REPEATS = 20 if os.environ.get("PINXIT_TEST_LONG") == "1" else 2
ORDERS, PAID = 200, 7
MICROS = 10_000
PRICED: list[dict[str, Any]] = [
    {"model_name": "priced", "params": {"model": "fake/fake-1"}, "prices": [{"usd": MICROS / 1_000_000}]}
]


async def billed(make_front: MakeFront, micros: int) -> Front:
    settings = {"max_queued_generations": ORDERS, "billing": "credits", "model_list": PRICED}
    front = await make_front(None, default_model="priced", **settings)
    now = front.house.services.now()
    await front.house.database.write(
        lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, micros, reference="cash", now=now)
    )
    return front


async def statuses(front: Front) -> list[int]:
    answers = await asyncio.gather(*(front.generate(num_inference_steps=1) for _ in range(ORDERS)))
    return sorted(answer.status_code for answer in answers)


async def left(front: Front) -> tuple[int, int]:
    assert await front.house.database.read(check) == []
    return await front.house.database.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT))


@pytest.mark.parametrize("time", range(REPEATS))
async def test_credits_for_seven_of_two_hundred(make_front: MakeFront, time: int) -> None:
    front = await billed(make_front, PAID * MICROS + MICROS - 1)
    assert await statuses(front) == [200] * PAID + [402] * (ORDERS - PAID)
    assert await left(front) == (MICROS - 1, 0)
    assert len(front.backend.orders) == PAID


@pytest.mark.parametrize("time", range(REPEATS))
async def test_a_budget_for_seven_of_two_hundred(make_front: MakeFront, time: int) -> None:
    front = await billed(make_front, 1000 * MICROS)
    front.key = await front.make_key(budgets=Budgets(per_day_micros=PAID * MICROS))
    assert await statuses(front) == [200] * PAID + [402] * (ORDERS - PAID)
    assert await left(front) == ((1000 - PAID) * MICROS, 0)
    assert len(front.backend.orders) == PAID
