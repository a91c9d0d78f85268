"""kill -9, again and again, under real clients: what was acknowledged is kept, nothing is charged twice.

`PINXIT_TEST_LONG=1` makes it 1 000 kills. `PINXIT_TEST_SEED` names the seed of everything that is random.
"""

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from customers import Customers
from running import find_painter
from shop import Shop, assert_kept, assert_sound, open_shop

SEED = int(os.environ.get("PINXIT_TEST_SEED", "1"))
KILLS = 1000 if os.environ.get("PINXIT_TEST_LONG") == "1" else 36
PATIENCE_SECONDS = 600.0
"""On a busy machine many servers in a row are killed before they can answer anything."""
POSTGRES_KILLS = 200 if os.environ.get("PINXIT_TEST_LONG") == "1" else 10
OTTER_KILLS = 100 if os.environ.get("PINXIT_TEST_LONG") == "1" else 4


def kill_painter(server: int, seconds: float) -> bool:
    """Kill it as soon as there is one; whether it came in that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if painter := find_painter(server):
            with suppress(ProcessLookupError):
                os.kill(painter, signal.SIGKILL)
                return True
        time.sleep(0.01)
    return False


def kill_in_turns(shop: Shop, customers: Customers, kills: int, chance: random.Random) -> int:
    """That many lives of a server, each ended by kill -9; every fourth has a painter process, which may go first.

    Returns how many painters were killed alone.
    """
    painters = 0
    for number in range(kills):
        has_painter = number % 4 == 3
        child = shop.nursery.serve(PINXIT_TEST_PAINTER="process" if has_painter else "")
        seconds = chance.uniform(0.05, 1.5)
        if has_painter and chance.random() < 0.5:
            began = time.monotonic()
            painters += kill_painter(child.pid, seconds)
            seconds = max(seconds - (time.monotonic() - began), 0.05)
        assert not child.has_ended(seconds), shop.nursery.log[-3000:]
        promised = customers.acknowledged
        child.kill()
        assert_sound(shop, promised)
    return painters


@pytest.mark.timeout(7200)
def test_killed_again_and_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = survive(tmp_path, KILLS)
    with capsys.disabled():
        print(f"\nSQLite: {found}")


@pytest.mark.system("postgres")
@pytest.mark.timeout(7200)
def test_killed_again_and_again_over_postgresql(
    tmp_path: Path, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = survive(tmp_path, POSTGRES_KILLS, PINXIT_DATABASE_URL=postgres_url)
    with capsys.disabled():
        print(f"\nPostgreSQL: {found}")


def survive(folder: Path, kills: int, **environ: str) -> str:
    """That many kills, and the proof that nothing was lost. Returns what was found."""
    chance = random.Random(SEED)
    with open_shop(folder, PINXIT_TEST_SECONDS="0.05", **environ) as shop:
        customers = Customers(shop.nursery.url, shop.key, seed=SEED, patience_seconds=PATIENCE_SECONDS)
        customers.start()
        try:
            painters = kill_in_turns(shop, customers, kills, chance)
            with shop.serving():
                customers.stop()
                found = assert_kept(shop, customers)
        finally:
            customers.stop()
        assert set(customers.answers) <= {
            "200", "202", "409 idempotency_error", "503 upstream_unavailable", "503 storage_unavailable",
        }  # fmt: skip
        assert found["acknowledged"] > kills
        assert found["calls without an answer"] > kills / 2
        assert "Traceback" not in shop.nursery.log
    return f"{kills} kills, seed {SEED}, {painters} of painters alone: {found}, answers {dict(customers.answers)}"


@pytest.mark.timeout(3600)
def test_killed_with_the_model_in_the_box(tmp_path: Path) -> None:
    """Its painter takes seconds to load, so most of these servers die with orders that wait for it."""
    chance = random.Random(SEED)
    with open_shop(tmp_path, model="otter/otter-1") as shop:
        customers = Customers(shop.nursery.url, shop.key, seed=SEED, patience_seconds=PATIENCE_SECONDS)
        customers.start()
        try:
            for _ in range(OTTER_KILLS):
                child = shop.nursery.serve()
                assert not child.has_ended(chance.uniform(0.5, 4)), shop.nursery.log[-3000:]
                promised = customers.acknowledged
                child.kill()
                assert_sound(shop, promised)
            with shop.serving():
                customers.stop()
                assert assert_kept(shop, customers)["acknowledged"] >= OTTER_KILLS
        finally:
            customers.stop()
