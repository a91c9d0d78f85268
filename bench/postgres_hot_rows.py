"""What the hot rows of the ledger cost on PostgreSQL, where every commit is made to take as long as a slow disk's.

Orders are opened and settled by eight writers: all of one account, of many accounts, and of one account but free. Who
waits for a row waits for the commit of whoever has it, so the rates are the same on every machine.

    python bench/postgres_hot_rows.py
    python bench/postgres_hot_rows.py --commit-milliseconds 20 --orders 200

Needs PostgreSQL's programs (Debian: the package postgresql); it makes a cluster of its own.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from pinxit import logs
from pinxit.database import postgres
from pinxit.database.interface import Database
from pinxit.database.tables import accounts
from pinxit.generations import repository
from pinxit.generations.generation import Generation, Status
from pinxit.generations.leases import LEASE
from pinxit.generations.repeat import Repeat
from pinxit.generations.repository import Attempt, Charge, Lease
from pinxit.ledger.invariants import check

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from postgres import Cluster

NOW = datetime.now(UTC)
OWNER = "server_bench"
AT_ONCE = 64
CASES = (("one account", 1, 10), ("64 accounts", 64, 10), ("one account, free", 1, 0))


def order(number: int, account_count: int) -> Generation:
    return Generation(
        id=f"gen_{number}",
        account_id=f"acct_{number % account_count}",
        api_key_id=None,
        request_id="req",
        status=Status.QUEUED,
        model="m",
        requested_model="m",
        prompt="p",
        parameters={},
        storage_keys=(),
        created_at=NOW,
    )


def opening(generation: Generation, micros: int) -> Callable[[Connection], object]:
    return partial(
        repository.open_,
        generation=generation,
        attempt=Attempt(1, "bench", (0,)),
        charge=Charge(micros, False, {}),
        repeat=Repeat(),
        lease=Lease(OWNER, NOW + LEASE),
    )


def settling(generation: Generation, micros: int) -> Callable[[Connection], object]:
    ended = replace(generation, status=Status.COMPLETED, cost_micros=micros, finished_at=NOW)
    return partial(repository.settle, generation=ended, record=lambda *_: None, lease_owner=OWNER)


async def rate(database: Database, units: list[Callable[[Connection], object]]) -> float:
    """Units a second, so many at once."""
    waiting = iter(units)

    async def work() -> None:
        for unit in waiting:
            await database.write(unit)

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return len(units) / (time.monotonic() - began)


async def measure(url: str, orders: int, account_count: int, micros: int) -> tuple[float, float]:
    """Orders opened, and settled, a second."""
    database = postgres.open_database(url)
    rows = [{"id": f"acct_{number}", "name": "", "created_at": NOW} for number in range(account_count)]

    def fill(connection: Connection) -> None:
        connection.execute(accounts.insert(), rows)

    await database.write(fill)
    planned = [order(number, account_count) for number in range(orders)]
    opened = await rate(database, [opening(each, micros) for each in planned])
    settled = await rate(database, [settling(each, micros) for each in planned])
    assert await database.read(check) == []
    await database.close()
    return opened, settled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit-milliseconds", type=int, default=100)
    parser.add_argument("--orders", type=int, default=128)
    chosen = parser.parse_args()
    logs.configure("critical", "json")
    delay = {"commit_delay": str(chosen.commit_milliseconds * 1000), "commit_siblings": "0"}
    print(f"{chosen.orders} orders, {postgres.WRITERS} writers, {chosen.commit_milliseconds} ms a commit: a second")
    with Cluster(settings=delay) as cluster:
        for name, account_count, micros in CASES:
            url = cluster.new_database("bench")
            opened, settled = asyncio.run(measure(url, chosen.orders, account_count, micros))
            print(f"{name:18} {opened:6.1f} opened {settled:6.1f} settled", flush=True)
            cluster.drop_database("bench")


if __name__ == "__main__":
    main()
