"""T12: however many orders come at once, no more are painted than can be paid."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.keys.model import Budgets
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check

pytestmark = pytest.mark.both_databases

REPEATS = 20 if os.environ.get("PINXIT_TEST_LONG") == "1" else 2
RESERVES = Path(__file__).parents[2] / "bench" / "reserves.py"
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


COUNTS = [1_000, pytest.param(1_000_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]


@pytest.mark.parametrize("count", COUNTS)
def test_reserves_never_go_below_zero(count: int, database_url: str | None, tmp_path: Path) -> None:
    """At the edge of the credits, on PostgreSQL from four processes at once."""
    where = ["--folder", str(tmp_path)] if database_url is None else ["--url", database_url, "--processes", "4"]
    done = subprocess.run(
        [sys.executable, str(RESERVES), "--count", str(count), *where], capture_output=True, text=True, timeout=3600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "never below zero; the books are right" in done.stdout
