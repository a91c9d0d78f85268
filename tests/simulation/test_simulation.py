"""The order core, run on a virtual clock with seeded faults: many short lives of one or two servers.

`PINXIT_SIMULATION_SEED=17 pytest tests/simulation -k replay -s` plays one run again and shows all of it.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pinxit.generations import record, repository
from pinxit.ledger import ledger
from pinxit.library.library import Library
from simulation import run

BATCHES, SEEDS_IN_BATCH = 30, 10
LONG_SEEDS, LONG_BATCHES = 10_000, 100
HERE = Path(__file__).parent


def assert_all_right(seeds: range) -> None:
    broken = [outcome for outcome in map(run, seeds) if outcome.problems]
    assert not broken, "\n\n".join(str(outcome) for outcome in broken[:2]) + f"\n\n{[one.seed for one in broken]}"


@pytest.mark.parametrize("batch", range(BATCHES))
def test_orders_keep_their_promises(batch: int) -> None:
    assert_all_right(range(batch * SEEDS_IN_BATCH, (batch + 1) * SEEDS_IN_BATCH))


@pytest.mark.long
@pytest.mark.parametrize("batch", range(LONG_BATCHES))
def test_orders_keep_their_promises_for_long(batch: int) -> None:
    count = LONG_SEEDS // LONG_BATCHES
    first = BATCHES * SEEDS_IN_BATCH + batch * count
    assert_all_right(range(first, first + count))


def test_a_seed_is_the_same_run_every_time() -> None:
    """To the last bit: also in another process, where texts have other hashes."""
    seeds = range(10)
    here = [run(seed).digest for seed in seeds]
    assert [run(seed).digest for seed in seeds] == here
    script = f"from simulation import run; print([run(seed).digest for seed in range({len(seeds)})])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path]), "PYTHONHASHSEED": "1234"}
    there = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert there.stdout.strip() == str(here)


def test_another_seed_is_another_run() -> None:
    assert len({run(seed).digest for seed in range(10)}) == 10


def test_runs_are_long_enough_to_mean_something() -> None:
    outcomes = [run(seed) for seed in range(20)]
    assert sum(outcome.steps for outcome in outcomes) / len(outcomes) >= 500
    assert sum(outcome.orders for outcome in outcomes) >= 100


async def _keep_nothing(self: Library, storage_key: str, data: bytes, *, is_read_soon: bool = True) -> None:
    """As if the disk had taken it."""


@pytest.mark.parametrize(
    ("place", "name", "broken", "what"),
    [
        (ledger, "void", lambda *_, **__: True, "money is held"),
        (Library, "keep", _keep_nothing, "has a row and no durable file"),
        (record, "jobs_of", lambda *_: (), "jobs were ordered for"),
        (repository, "has_ended_as", lambda *_: False, "was taken over from a process that is well"),
    ],
)
def test_it_notices(monkeypatch: pytest.MonkeyPatch, place: object, name: str, broken: object, what: str) -> None:
    """The negative control: what is broken here is found."""
    monkeypatch.setattr(place, name, broken)
    found = (any(what in problem for problem in run(seed).problems) for seed in range(60))
    assert any(found)


@pytest.mark.skipif("PINXIT_SIMULATION_SEED" not in os.environ, reason="only to replay the run of one seed")
def test_replay() -> None:
    outcome = run(int(os.environ["PINXIT_SIMULATION_SEED"]), keep_everything=True)
    print("\n".join(outcome.last))
    assert not outcome.problems, str(outcome)
