"""Many orders at once against credits for a few: nobody ever reserves what is not there.

    python bench/reserves.py --count 1000000                           # SQLite, one process
    python bench/reserves.py --count 1000000 --url postgresql://… --processes 4

Each reserve is a transaction of its own with an order's row and its hold, as a real order begins; what was granted is
posted or given back at random, so that the balance stays at its edge. In the end the books are proven with the SQL that
`pinxit fsck` uses. Exit status 1: something was overspent. The database is a new one in a temporary folder, or the
empty one that is named.
"""

import argparse
import asyncio
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from pinxit import accounts
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.database.interface import Database
from pinxit.database.opening import open_database
from pinxit.database.tables import generations
from pinxit.errors import InsufficientCredits
from pinxit.ids import new_id
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.settings import Settings, load_settings

PRICE = 10_000
AT_ONCE = 128
"""How many ask at the same time, in each process."""
EDGE = 7
"""For how many orders there are credits at the beginning."""
POSTED = 1 / 16
"""Which part of what was granted is posted; as much is paid in again, so that the edge stays where it is."""
TOP_UP = "edge"


def main() -> None:
    arguments = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            environ={},
            overrides={
                "data_dir": folder if arguments.folder is None else arguments.folder,
                "database_url": arguments.url,
            },
        )
        asyncio.run(_with_database(settings, _prepare))
        started = time.monotonic()
        outcomes = _reserve_everywhere(settings, arguments.count, arguments.processes)
        seconds = time.monotonic() - started
        problems = asyncio.run(_with_database(settings, _prove))
    total = sum(outcomes.values())
    kind = "SQLite" if arguments.url is None else "PostgreSQL"
    print(f"{kind}, {arguments.processes} process(es), {AT_ONCE} at once in each: {total} reserves in {seconds:.0f} s")
    print(
        f"{total / seconds:.0f} a second; " + ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    )
    print("\n".join(problems) or "never below zero; the books are right")
    sys.exit(1 if problems or total != arguments.count else 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="reserves in all")
    parser.add_argument("--processes", type=int, default=1, help="SQLite: 1")
    parser.add_argument("--url", help="of an empty PostgreSQL database; SQLite without it")
    parser.add_argument("--folder", type=Path, help="where SQLite keeps its file")
    return parser.parse_args()


async def _with_database(settings: Settings, work: Callable[[Database], object]) -> list[str]:
    database = open_database(settings)
    try:
        result = await work(database)  # type: ignore[misc]
    finally:
        await database.close()
    return list(result or [])


async def _prepare(database: Database) -> None:
    now = datetime.now(UTC)
    await database.write(lambda connection: accounts.ensure_default(connection, now))
    await database.write(
        lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, EDGE * PRICE, reference="first", now=now)
    )


async def _prove(database: Database) -> list[str]:
    problems = await database.read(check)
    balance, held = await database.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT))
    if held or balance != EDGE * PRICE:
        problems.append(f"in the end {balance} micro-dollars are left and {held} held, not {EDGE * PRICE} and 0")
    return problems


def _reserve_everywhere(settings: Settings, count: int, processes: int) -> Counter[str]:
    shares = [count // processes + (number < count % processes) for number in range(processes)]
    if processes == 1:
        return asyncio.run(_reserve(settings, count, seed=0))
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        found = pool.starmap(_reserve_in_process, [(settings, share, seed) for seed, share in enumerate(shares)])
    return sum(found, Counter())


def _reserve_in_process(settings: Settings, count: int, seed: int) -> Counter[str]:
    return asyncio.run(_reserve(settings, count, seed))


async def _reserve(settings: Settings, count: int, seed: int) -> Counter[str]:
    database, outcomes, left = open_database(settings), Counter[str](), iter(range(count))
    chance = random.Random(seed)

    async def ask_until_done() -> None:
        for _ in left:
            outcomes[await _one(database, chance)] += 1

    try:
        await asyncio.gather(*(ask_until_done() for _ in range(AT_ONCE)))
    finally:
        await database.close()
    return outcomes


async def _one(database: Database, chance: random.Random) -> str:
    order = new_id("gen")
    try:
        await database.write(partial(_hold, order=order))
    except InsufficientCredits:
        return "refused"
    if chance.random() < POSTED:
        await database.write(partial(_post, order=order))
        return "posted"
    await database.write(partial(_void, order=order))
    return "given back"


def _hold(connection: Connection, order: str) -> None:
    now = datetime.now(UTC)
    row = {
        "id": order,
        "account_id": DEFAULT_ACCOUNT,
        "request_id": "req",
        "status": "queued",
        "model": "m",
        "requested_model": "m",
        "prompt": "",
        "parameters": {},
        "storage_keys": [],
        "cost_micros": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "created_at": now,
    }
    connection.execute(generations.insert().values(row))
    ledger.hold(connection, order, DEFAULT_ACCOUNT, PRICE, billed=True, now=now)


def _post(connection: Connection, order: str) -> None:
    """Charge it, and pay the same in."""
    now = datetime.now(UTC)
    _end(connection, order, "completed", PRICE)
    ledger.post(connection, order, PRICE, now=now)
    ledger.top_up(connection, DEFAULT_ACCOUNT, PRICE, reference=f"{TOP_UP} {order}", now=now)


def _void(connection: Connection, order: str) -> None:
    _end(connection, order, "failed", 0)
    ledger.void(connection, order, now=datetime.now(UTC))


def _end(connection: Connection, order: str, status: str, micros: int) -> None:
    connection.execute(generations.update().where(generations.c.id == order).values(status=status, cost_micros=micros))


if __name__ == "__main__":
    main()
