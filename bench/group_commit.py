"""What group commit is worth: orders begun and settled a second, many units a commit against one, in turns.

The rows are those of a real order under credits: order, attempt, hold, budgets' counters; then the end, picture,
post. The database is SQLite as the server opens it, with synchronous=FULL.

    python bench/group_commit.py
    python bench/group_commit.py --sync-milliseconds 4

The second is for a machine whose disk answers faster than yours: each sync waits that much longer, in a library that
is put before the C library's (needs cc).
"""

import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from pinxit import accounts, logs
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.database import sqlite
from pinxit.generations import repository
from pinxit.generations.generation import Generation, Status
from pinxit.generations.repeat import Repeat
from pinxit.generations.repository import Attempt, Charge, Lease
from pinxit.ids import new_id, new_image_name
from pinxit.images.request import Encoding
from pinxit.images.size import Size
from pinxit.keys.model import KeyOptions
from pinxit.keys.service import KeyService, local_caller
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.library.image import Image

MANY = sqlite.MAX_UNITS_PER_COMMIT
PRICE_MICROS = 10_000
OWNER = "server_bench"
SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static void pause_(void) { struct timespec t = {0, MICROSECONDS * 1000L}; nanosleep(&t, 0); }
int fdatasync(int fd) { int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync"); pause_(); return real(fd); }
int fsync(int fd) { int (*real)(int) = dlsym(RTLD_NEXT, "fsync"); pause_(); return real(fd); }
"""


def now() -> datetime:
    return datetime.now(UTC)


def planned(api_key_id: str) -> Generation:
    return Generation(
        id=new_id("gen"),
        account_id=DEFAULT_ACCOUNT,
        api_key_id=api_key_id,
        request_id=new_id("req"),
        status=Status.QUEUED,
        model="bench",
        requested_model="bench",
        prompt="A cute baby sea otter",
        parameters={"n": 1, "size": "256x256", "seeds": [1]},
        storage_keys=(new_image_name("png"),),
        created_at=now(),
    )


def painted(order: Generation) -> Generation:
    picture = Image(
        id=new_id("img"),
        generation_id=order.id,
        account_id=order.account_id,
        position=0,
        storage_key=order.storage_keys[0],
        encoding=Encoding.PNG,
        size=Size(256, 256),
        size_bytes=1000,
        sha256="0" * 64,
        seed=1,
        seconds=0.1,
        created_at=now(),
    )
    return replace(
        order, status=Status.COMPLETED, images=(picture,), cost_micros=PRICE_MICROS, started_at=now(), finished_at=now()
    )


def tell_nobody(connection: Connection, ended: Generation) -> None:
    """No webhooks here."""


async def one_order(database: sqlite.SqliteDatabase, api_key_id: str) -> None:
    order = planned(api_key_id)
    await database.write(
        partial(
            repository.open_,
            generation=order,
            attempt=Attempt(1, "bench", (0,)),
            charge=Charge(PRICE_MICROS, True, {}),
            repeat=Repeat(),
            lease=Lease(OWNER, order.created_at + timedelta(seconds=45)),
        )
    )
    await database.write(partial(repository.settle, generation=painted(order), record=tell_nobody, lease_owner=OWNER))


async def orders_per_second(folder: Path, units: int, orders: int, clients: int) -> tuple[float, float]:
    """In a new database: orders a second, and orders a commit."""
    sqlite.MAX_UNITS_PER_COMMIT = units
    database = sqlite.open_database(folder / "pinxit.db")
    try:
        await database.write(lambda connection: accounts.ensure_default(connection, now()))
        await database.write(
            lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, 10**12, reference="bench", now=now())
        )
        key, _ = await KeyService(database, now=now).create(local_caller(DEFAULT_ACCOUNT), KeyOptions(name="bench"))
        waiting = iter(range(orders))

        async def client() -> None:
            for _ in waiting:
                await one_order(database, key.id)

        commits, began = database.commits, time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        seconds = time.perf_counter() - began
        assert await database.read(check) == []
        return orders / seconds, orders / (database.commits - commits)
    finally:
        await database.close()


def measure(folder: Path, orders: int, clients: int, rounds: int) -> None:
    found: dict[int, list[tuple[float, float]]] = {MANY: [], 1: []}
    for number in range(rounds):
        for units in (MANY, 1) if number % 2 else (1, MANY):
            home = Path(tempfile.mkdtemp(dir=folder))
            found[units].append(asyncio.run(orders_per_second(home, units, orders, clients)))
            shutil.rmtree(home)
    rate = {units: statistics.median(each for each, _ in runs) for units, runs in found.items()}
    for units, runs in found.items():
        per_commit = statistics.median(each for _, each in runs)
        spread = f"{min(each for each, _ in runs):.0f} to {max(each for each, _ in runs):.0f}"
        shown = f"{rate[units]:7.1f} orders/s ({spread}), {per_commit:.2f} orders a commit"
        print(f"at most {units:3} units a commit: {shown}")
    print(f"ratio {rate[MANY] / rate[1]:.2f}; {clients} clients, {orders} orders, medians of {rounds} runs")


def sync_milliseconds(folder: Path) -> float:
    """How long this disk takes to sync a page at the end of a file."""
    file = os.open(folder / "probe", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    seconds = []
    for _ in range(50):
        os.write(file, b"x" * 4096)
        began = time.perf_counter()
        os.fdatasync(file)
        seconds.append(time.perf_counter() - began)
    os.close(file)
    (folder / "probe").unlink()
    return statistics.median(seconds) * 1000


def again_with_slower_syncs(milliseconds: float) -> int:
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder) / "slow.c", Path(folder) / "slow.so"
        source.write_text(SHIM.replace("MICROSECONDS", str(int(milliseconds * 1000))))
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
        return subprocess.run(
            [sys.executable, *sys.argv], env=os.environ | {"LD_PRELOAD": str(library)}, check=False
        ).returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path.cwd(), help="where the databases are made, on a real disk")
    parser.add_argument("--sync-milliseconds", type=float, default=0, help="let each sync wait that much longer")
    given = parser.parse_args()
    if given.sync_milliseconds and "LD_PRELOAD" not in os.environ:
        sys.exit(again_with_slower_syncs(given.sync_milliseconds))
    logs.configure("critical", "console")
    print(f"one sync here: {sync_milliseconds(given.folder):.2f} ms")
    measure(given.folder, given.orders, given.clients, given.rounds)


if __name__ == "__main__":
    main()
