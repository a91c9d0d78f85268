"""Budgets of keys, through the front door."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from front import Front, MakeFront
from pinxit.errors import BackendError
from pinxit.keys.model import Budgets
from pinxit.ledger.invariants import check
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

PRICED: list[dict[str, Any]] = [{"model_name": "priced", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.01}]}]


async def priced(make_front: MakeFront, backend: FakeBackend | None = None, **settings: Any) -> Front:
    return await make_front(backend, model_list=PRICED, default_model="priced", **settings)


async def key_with(front: Front, **budgets: int) -> dict[str, str]:
    return {"Authorization": f"Bearer {await front.make_key(budgets=Budgets(**budgets))}"}


async def spent(front: Front) -> list[tuple[str, int, int]]:
    assert await front.house.database.read(check) == []
    query = text("SELECT period, spent_micros, held_micros FROM key_spend ORDER BY period")
    return await front.house.database.read(lambda connection: [tuple(row) for row in connection.execute(query)])


async def test_over_budget_is_402_and_says_which_and_until_when(make_front: MakeFront) -> None:
    front = await priced(make_front)
    key = await key_with(front, per_day_micros=25_000, total_micros=1_000_000)
    assert (await front.generate(key, n=2)).status_code == 200
    answer = await front.generate(key)
    error = answer.json()["error"]
    assert (answer.status_code, error["type"]) == (402, "insufficient_credits")
    assert "per_day_usd" in error["message"]
    assert "T00:00:00Z" in error["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert len(front.backend.orders) == 1
    assert await spent(front) == [("day", 20_000, 0), ("month", 20_000, 0), ("total", 20_000, 0)]


async def test_of_200_orders_at_once_exactly_those_are_painted_that_the_budget_covers(make_front: MakeFront) -> None:
    front = await priced(make_front, max_queued_generations=1000)
    key = await key_with(front, total_micros=70_000)
    answers = await asyncio.gather(*(front.generate(key, num_inference_steps=1) for _ in range(200)))
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [402] * 193
    assert len(front.backend.orders) == 7
    assert (await spent(front))[2] == ("total", 70_000, 0)


async def test_a_repeated_order_is_paid_from_the_budget_once(make_front: MakeFront) -> None:
    front = await priced(make_front)
    key = {**await key_with(front, total_micros=10_000), "Idempotency-Key": "one"}
    assert [(await front.generate(key)).status_code for _ in range(3)] == [200, 200, 200]
    assert (await spent(front))[2] == ("total", 10_000, 0)


async def test_a_failed_order_leaves_the_budget_as_it_was(make_front: MakeFront) -> None:
    front = await priced(make_front, FakeBackend(failure=lambda _: BackendError("broken")))
    key = await key_with(front, total_micros=10_000)
    assert [(await front.generate(key)).status_code for _ in range(3)] == [502, 502, 502]
    assert (await spent(front))[2] == ("total", 0, 0)


async def test_a_refused_order_leaves_no_trace(make_front: MakeFront) -> None:
    front = await priced(make_front)
    key = {**await key_with(front, total_micros=9_999), "Idempotency-Key": "one"}
    assert (await front.generate(key)).status_code == 402
    assert await spent(front) == []
    query = text("SELECT (SELECT count(*) FROM generations) + (SELECT count(*) FROM idempotency_keys)")
    assert await front.house.database.read(lambda connection: connection.execute(query).scalar_one()) == 0
