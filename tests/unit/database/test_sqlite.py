"""SqliteDatabase over real files: groups of units, what fails, and what can be relied on afterwards."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import IntegrityError

from pinxit.database.interface import CommitUnknown
from pinxit.database.sqlite import MAX_UNITS_PER_COMMIT, SqliteDatabase, open_database, use_write_ahead_log
from pinxit.database.tables import accounts
from pinxit.errors import StartupError, StorageUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pinxit.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[SqliteDatabase]:
    database = open_database(path)
    yield database
    await database.close()


def add(name: str):
    """A unit of work: a new account, which is returned."""

    def unit(connection: Connection) -> str:
        connection.execute(accounts.insert().values(id=name, name=name, created_at=datetime.now(UTC)))
        return name

    return unit


async def names(database: SqliteDatabase) -> set[str]:
    return set(await database.read(lambda connection: connection.execute(select(accounts.c.id)).scalars().all()))


class Hold:
    """A unit that keeps the writer busy until it is let go."""

    def __init__(self) -> None:
        self.began, self.go_on = threading.Event(), threading.Event()

    def __call__(self, connection: Connection) -> None:
        self.began.set()
        assert self.go_on.wait(10)


async def behind_a_busy_writer(database: SqliteDatabase, *units) -> list[object]:
    """The outcomes of units that were handed in while the writer was busy, so that they share a commit."""
    hold = Hold()
    held = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(hold.began.wait, 10)
    waiting = [asyncio.create_task(database.write(unit)) for unit in units]
    await asyncio.sleep(0)
    hold.go_on.set()
    await held
    return await asyncio.gather(*waiting, return_exceptions=True)


# --- groups ---------------------------------------------------------------------------------------------------------


async def test_a_unit_s_result_comes_back(database: SqliteDatabase):
    assert await database.write(add("a")) == "a"
    assert await names(database) == {"a"}


async def test_units_that_wait_share_one_commit(database: SqliteDatabase):
    results = await behind_a_busy_writer(database, *[add(f"a{number}") for number in range(50)])
    assert results == [f"a{number}" for number in range(50)]
    assert database.commits == 2


async def test_a_group_has_a_largest_size(database: SqliteDatabase):
    await behind_a_busy_writer(database, *[add(f"a{number}") for number in range(MAX_UNITS_PER_COMMIT + 1)])
    assert database.commits == 3


async def test_units_run_in_the_order_they_were_handed_in(database: SqliteDatabase):
    seen: list[int] = []
    await behind_a_busy_writer(database, *[lambda _, number=number: seen.append(number) for number in range(20)])
    assert seen == list(range(20))


async def test_a_failing_unit_undoes_itself_only(database: SqliteDatabase):
    def half(connection: Connection) -> None:
        add("half")(connection)
        raise ZeroDivisionError("a bug")

    first, bug, twice, last = await behind_a_busy_writer(database, add("a"), half, add("a"), add("b"))

    assert (first, last) == ("a", "b")
    assert isinstance(bug, ZeroDivisionError)
    assert isinstance(twice, IntegrityError)
    assert await names(database) == {"a", "b"}


async def test_a_unit_whose_caller_gave_up_is_done_all_the_same(database: SqliteDatabase):
    hold = Hold()
    held = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(hold.began.wait, 10)
    impatient = asyncio.create_task(database.write(add("a")))
    await asyncio.sleep(0)
    impatient.cancel()
    hold.go_on.set()
    await held
    await database.write(add("b"))
    assert impatient.cancelled()
    assert await names(database) == {"a", "b"}


async def test_nobody_hears_of_success_before_the_commit(database: SqliteDatabase, path: Path):
    """While the group is open, its first unit has run and its caller still waits; another reader sees nothing."""
    hold = Hold()
    blocker = Hold()
    held = asyncio.create_task(database.write(blocker))
    await asyncio.to_thread(blocker.began.wait, 10)
    first = asyncio.create_task(database.write(add("a")))
    second = asyncio.create_task(database.write(hold))
    await asyncio.sleep(0)
    blocker.go_on.set()
    await asyncio.to_thread(hold.began.wait, 10)

    assert not first.done()
    assert await names(database) == set()

    hold.go_on.set()
    assert await first == "a"
    assert committed(path) == {"a"}
    await asyncio.gather(held, second)


def committed(path: Path) -> set[str]:
    """What a process of its own finds in the file."""
    connection = sqlite3.connect(path)
    try:
        return {row[0] for row in connection.execute("SELECT id FROM accounts")}
    finally:
        connection.close()


async def test_foreign_keys_are_kept(database: SqliteDatabase):
    statement = text(
        "INSERT INTO attempts VALUES ('gen_x', 1, 'acct_x', 'b', '[]', 'started', NULL, NULL, NULL, 0, NULL)"
    )
    with pytest.raises(IntegrityError):
        await database.write(lambda connection: connection.execute(statement))


@pytest.mark.parametrize(("pragma", "value"), [("synchronous", 2), ("journal_mode", "wal"), ("foreign_keys", 1)])
async def test_the_writer_is_durable(database: SqliteDatabase, pragma: str, value: object):
    """2 is FULL: https://www.sqlite.org/pragma.html#pragma_synchronous."""
    found = await database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA {pragma}").scalar())
    assert found == value


# --- reading --------------------------------------------------------------------------------------------------------


async def test_a_read_sees_one_snapshot(database: SqliteDatabase):
    await database.write(add("a"))
    looked, written = threading.Event(), threading.Event()

    def twice(connection: Connection) -> list[int]:
        count = text("SELECT count(*) FROM accounts")
        before = connection.execute(count).scalar_one()
        looked.set()
        assert written.wait(10)
        return [before, connection.execute(count).scalar_one()]

    reading = asyncio.create_task(database.read(twice))
    await asyncio.to_thread(looked.wait, 10)
    await database.write(add("b"))
    written.set()
    assert await reading == [1, 1]


async def test_a_read_cannot_write(database: SqliteDatabase):
    with pytest.raises(StorageUnavailable):
        await database.read(add("a"))
    assert await names(database) == set()


async def test_a_failing_read_hurts_nobody(database: SqliteDatabase):
    with pytest.raises(ZeroDivisionError):
        await database.read(lambda _: 1 / 0)
    with pytest.raises(StorageUnavailable):
        await database.read(lambda connection: connection.execute(text("SELECT * FROM nothing")))
    assert await names(database) == set()


async def test_a_read_sees_what_was_written_before_it(database: SqliteDatabase):
    for number in range(20):
        await database.write(add(f"a{number}"))
        assert f"a{number}" in await names(database)


# --- what can go wrong ----------------------------------------------------------------------------------------------


def grow(connection: Connection) -> None:
    """A unit that needs room: 4 MB."""
    connection.execute(accounts.insert().values(id="big", name="x" * 4_000_000, created_at=datetime.now(UTC)))


async def limit_size(database: SqliteDatabase, pages: int) -> None:
    """The real SQLITE_FULL, without filling a disk: https://www.sqlite.org/pragma.html#pragma_max_page_count."""
    await database.write(lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}"))


async def test_a_full_disk_fails_the_group_and_passes(database: SqliteDatabase):
    await limit_size(database, 1)  # SQLite takes the present size instead
    outcomes = await behind_a_busy_writer(database, add("a"), grow, add("b"))
    assert all(isinstance(outcome, StorageUnavailable) for outcome in outcomes)
    assert not any(isinstance(outcome, CommitUnknown) for outcome in outcomes)
    assert await names(database) == set()

    # The writer takes a new connection, whose limit is the default again: there is room now.
    assert await database.write(add("c")) == "c"
    await database.write(grow)
    assert await names(database) == {"c", "big"}


def fail_at_commit(connection: Connection) -> None:
    """A unit after which COMMIT fails: a constraint that is looked at then."""
    connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
    statement = "INSERT INTO attempts VALUES ('gen_x', 1, 'acct_x', 'b', '[]', 'started', NULL, NULL, NULL, 0, NULL)"
    connection.exec_driver_sql(statement)


async def test_a_commit_that_fails_is_in_doubt_for_all_of_its_group(database: SqliteDatabase):
    first, bug, doubtful = await behind_a_busy_writer(database, add("a"), lambda _: 1 / 0, fail_at_commit)
    assert isinstance(first, CommitUnknown)
    assert isinstance(doubtful, CommitUnknown)
    assert isinstance(bug, ZeroDivisionError)
    assert isinstance(first.__cause__, IntegrityError)
    assert await names(database) == set()
    assert await database.write(add("a")) == "a"


async def test_a_database_that_others_have_locked_is_unavailable_and_comes_back(database: SqliteDatabase, path: Path):
    await database.write(lambda connection: connection.exec_driver_sql("PRAGMA busy_timeout=50"))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageUnavailable):
        await database.write(add("a"))
    other.execute("ROLLBACK")
    other.close()
    assert await database.write(add("a")) == "a"


def test_a_new_file_s_journal_is_tried_again_when_sqlite_does_not_wait(path: Path):
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("CREATE TABLE things (name TEXT)")
    other.execute("BEGIN")
    other.execute("SELECT * FROM things").fetchall()  # whoever reads is in the way of the change
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    tried = threading.Semaphore(0)
    connection.set_trace_callback(lambda _: tried.release())
    with ThreadPoolExecutor(1) as thread:
        changed = thread.submit(use_write_ahead_log, connection)
        assert tried.acquire(timeout=5)
        assert tried.acquire(timeout=5)
        other.execute("ROLLBACK")
        changed.result(5)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    for each in (other, connection):
        each.close()


async def test_a_unit_that_closes_its_connection_harms_no_later_one(database: SqliteDatabase):
    with pytest.raises(StorageUnavailable):
        async with asyncio.timeout(10):
            await database.write(lambda connection: connection.close())
    async with asyncio.timeout(10):
        assert await database.write(add("a")) == "a"


async def test_a_closed_database_says_so(path: Path):
    database = open_database(path)
    await database.close()
    for call in (database.write(add("b")), database.read(lambda _: None)):
        with pytest.raises(StorageUnavailable, match="closed"):
            await call


# --- the end --------------------------------------------------------------------------------------------------------


async def test_closing_finishes_what_was_handed_in(path: Path):
    database = open_database(path)
    hold = Hold()
    held = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(hold.began.wait, 10)
    waiting = [asyncio.create_task(database.write(add(f"a{number}"))) for number in range(5)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    hold.go_on.set()
    await asyncio.gather(held, *waiting, closing)
    assert committed(path) == {f"a{number}" for number in range(5)}


async def test_closing_twice_is_no_error(path: Path):
    database = open_database(path)
    await database.close()
    await database.close()


async def test_no_thread_is_left_behind(path: Path):
    before = set(threading.enumerate())
    database = open_database(path)
    await database.write(add("a"))
    await names(database)
    assert any(thread.name.startswith("database") for thread in set(threading.enumerate()) - before)
    await database.close()
    assert not any(thread.name.startswith("database") for thread in set(threading.enumerate()) - before)


def test_an_answer_to_a_loop_that_is_closed_is_dropped(path: Path):
    async def begin(database: SqliteDatabase, hold: Hold) -> None:
        asyncio.create_task(database.write(hold))  # noqa: RUF006 - given up on purpose
        await asyncio.to_thread(hold.began.wait, 10)

    async def go_on(database: SqliteDatabase) -> str:
        try:
            return await database.write(add("a"))
        finally:
            await database.close()

    database, hold = open_database(path), Hold()
    asyncio.run(begin(database, hold))
    hold.go_on.set()
    assert asyncio.run(go_on(database)) == "a"


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_a_startup_error(path: Path, content: bytes):
    path.write_bytes(content)
    with pytest.raises(StartupError, match="cannot be opened"):
        open_database(path)


def test_a_folder_in_its_place_is_a_startup_error(path: Path):
    path.mkdir()
    with pytest.raises(StartupError, match="cannot be opened"):
        open_database(path)
