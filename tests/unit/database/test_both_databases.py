"""What every database promises to the rooms above, over SQLite and over PostgreSQL."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.exc import IntegrityError

from databases import open_engine
from held import Held
from pinxit.database.interface import Database
from pinxit.database.prepared import Prepared
from pinxit.database.tables import accounts, api_keys
from pinxit.errors import StorageUnavailable
from pinxit.settings import Settings

pytestmark = pytest.mark.both_databases
MOMENT = datetime(2026, 11, 23, 1, 2, 3, 456789, UTC)


def add(name: str) -> Callable[[Connection], str]:
    """A unit of work: a new account, which is returned."""

    def unit(connection: Connection) -> str:
        connection.execute(accounts.insert().values(id=name, name=name, created_at=datetime.now(UTC)))
        return name

    return unit


async def names(database: Database) -> set[str]:
    return set(await database.read(lambda connection: connection.execute(select(accounts.c.id)).scalars().all()))


async def test_a_unit_s_result_comes_back(database: Database) -> None:
    assert await database.write(add("a")) == "a"
    assert await names(database) == {"a"}


async def test_nothing_is_seen_before_its_commit(database: Database, database_settings: Settings) -> None:
    held = Held(add("a"))
    writing = asyncio.create_task(database.write(held))
    await held.wait()
    assert await names(database) == set()
    held.go_on.set()
    await writing
    engine = open_engine(database_settings)
    with engine.connect() as another:
        assert another.execute(select(accounts.c.id)).scalars().all() == ["a"]
    engine.dispose()


async def test_what_a_unit_raises_undoes_it_and_no_other(database: Database) -> None:
    def broken(connection: Connection) -> None:
        add("broken")(connection)
        raise ZeroDivisionError

    results = await asyncio.gather(
        *(database.write(unit) for unit in (add("a"), broken, add("b"))), return_exceptions=True
    )
    assert [results[0], results[2]] == ["a", "b"]
    assert isinstance(results[1], ZeroDivisionError)
    assert await names(database) == {"a", "b"}


_ADD = Prepared(accounts.insert(), sets=("id", "name", "created_at"))
_RENAME = Prepared(accounts.update().where(accounts.c.id == bindparam("of")), sets=("name",))


def add_prepared(name: str) -> Callable[[Connection], None]:
    def unit(connection: Connection) -> None:
        _ADD.run(connection, {"id": name, "name": f"{name}'s", "created_at": MOMENT})

    return unit


async def test_a_prepared_statement_does_what_it_does_as_usual(database: Database) -> None:
    def rename(connection: Connection) -> list[int]:
        return [_RENAME.run(connection, {"of": name, "name": "new"}).rowcount for name in ("a", "nobody")]

    await database.write(add_prepared("a"))
    assert await database.write(rename) == [1, 0]
    rows = await database.read(lambda connection: connection.execute(select(accounts)).all())
    assert [(row.id, row.name, row.created_at) for row in rows] == [("a", "new", MOMENT)]


async def test_what_goes_wrong_with_a_prepared_statement_is_raised_as_usual(database: Database) -> None:
    await database.write(add_prepared("a"))
    with pytest.raises(IntegrityError) as found:
        await database.write(add_prepared("a"))
    assert "a's" not in str(found.value)
    with pytest.raises(KeyError, match="name"):
        await database.write(lambda connection: _RENAME.run(connection, {"of": "a"}))
    assert await names(database) == {"a"}


async def test_a_row_that_is_there_already_is_the_caller_s_error(database: Database) -> None:
    await database.write(add("a"))
    with pytest.raises(IntegrityError):
        await database.write(add("a"))
    assert await database.write(add("b")) == "b"


async def test_a_unit_whose_caller_gave_up_is_done_all_the_same(make_database: Callable[[], Database]) -> None:
    """As many as there are threads, and more: what waits its turn is done too, and no thread is lost."""
    database = make_database()
    holds = [Held(add(f"a{number}")) for number in range(12)]
    writing = [asyncio.create_task(database.write(held)) for held in holds]
    await holds[0].wait()
    for task in writing:
        task.cancel()
    await asyncio.gather(*writing, return_exceptions=True)
    for held in holds:
        held.go_on.set()
    assert await database.write(add("b")) == "b"
    await database.close()
    assert await names(make_database()) == {"b", *(f"a{number}" for number in range(12))}


async def test_foreign_keys_are_kept(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await database.write(
            lambda connection: (
                connection.execute(text("INSERT INTO ledger_accounts VALUES ('x', 'nobody', 'credits', 0, 0)")).rowcount
            )
        )


async def test_a_read_sees_one_snapshot(database: Database) -> None:
    first_look, second_look = threading.Event(), threading.Event()

    def look_twice(connection: Connection) -> list[int]:
        query = text("SELECT count(*) FROM accounts")
        counts = [connection.execute(query).scalar_one()]
        first_look.set()
        assert second_look.wait(10)
        return [*counts, connection.execute(query).scalar_one()]

    reading = asyncio.create_task(database.read(look_twice))
    await asyncio.to_thread(first_look.wait, 10)
    await database.write(add("a"))
    second_look.set()
    assert await reading == [0, 0]
    assert await names(database) == {"a"}


async def test_a_read_cannot_write(database: Database) -> None:
    with pytest.raises(StorageUnavailable):
        await database.read(add("a"))
    assert await names(database) == set()


async def test_a_failing_read_hurts_nobody(database: Database) -> None:
    for unit, error in ((lambda _: 1 / 0, ZeroDivisionError), (lambda c: c.execute(text("nonsense")), Exception)):
        with pytest.raises(error):
            await database.read(unit)
    assert await names(database) == set()


async def test_a_unit_that_closes_its_connection_harms_no_later_one(database: Database) -> None:
    def close(connection: Connection) -> None:
        add("a")(connection)
        connection.close()

    with pytest.raises(StorageUnavailable):
        async with asyncio.timeout(10):
            await database.write(close)
    assert await database.write(add("b")) == "b"
    assert await names(database) == {"b"}


async def test_the_event_loop_is_never_held_up(database: Database) -> None:
    held = Held()
    writing, beats = asyncio.create_task(database.write(held)), 0
    await held.wait()
    while beats < 100:
        await asyncio.sleep(0)
        beats += 1
    assert not writing.done()
    held.go_on.set()
    await writing


async def test_closing_finishes_what_was_handed_in(make_database: Callable[[], Database]) -> None:
    database, held = make_database(), Held()
    writing = asyncio.create_task(database.write(held))
    await held.wait()
    waiting = [asyncio.create_task(database.write(add(f"a{number}"))) for number in range(30)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(database.close())
    await asyncio.sleep(0)
    held.go_on.set()
    await asyncio.gather(writing, *waiting, closing)
    assert len(await names(make_database())) == 30


async def test_a_closed_database_says_so(database: Database) -> None:
    await database.close()
    await database.close()
    for call in (database.write(add("b")), database.read(lambda _: None)):
        with pytest.raises(StorageUnavailable, match="closed"):
            await call


async def test_no_thread_is_left_behind(make_database: Callable[[], Database]) -> None:
    before = set(threading.enumerate())
    database = make_database()
    await database.write(add("a"))
    await names(database)
    assert any(thread.name.startswith("database") for thread in set(threading.enumerate()) - before)
    await database.close()
    assert not any(thread.name.startswith("database") for thread in set(threading.enumerate()) - before)


def test_an_answer_to_a_loop_that_is_closed_is_dropped(make_opened: Callable[[], Database]) -> None:
    async def begin() -> None:
        asyncio.create_task(database.write(held))  # noqa: RUF006 - given up on purpose
        await held.wait()

    async def go_on() -> str:
        try:
            return await database.write(add("a"))
        finally:
            await database.close()

    database, held = make_opened(), Held()
    asyncio.run(begin())
    held.go_on.set()
    assert asyncio.run(go_on()) == "a"


@pytest.fixture
def make_opened(database_settings: Settings) -> Callable[[], Database]:
    """For tests with event loops of their own."""
    from pinxit.database.opening import open_database

    return lambda: open_database(database_settings)


async def test_two_processes_see_what_each_other_wrote(make_database: Callable[[], Database]) -> None:
    one, two = make_database(), make_database()
    await one.write(add("a"))
    assert await names(two) == {"a"}
    await two.write(add("b"))
    assert await names(one) == {"a", "b"}


async def test_a_moment_and_a_structure_come_back_as_they_were(database: Database) -> None:
    moment = datetime(2026, 11, 22, 12, 0, 0, 1, UTC)

    def unit(connection: Connection) -> None:
        add("a")(connection)
        connection.execute(
            api_keys.insert().values(
                id="key",
                account_id="a",
                name="é🦦\u2028",
                prefix="",
                last4="",
                secret_sha256="",
                scopes=["b", {"a": [1, 2.5, None, True, "\u2028"]}],
                strict=True,
                created_at=moment,
            )
        )

    await database.write(unit)
    (row,) = await database.read(lambda connection: connection.execute(select(api_keys)).all())
    assert (row.created_at, row.strict, row.name, row.limits, row.models) == (moment, True, "é🦦\u2028", {}, None)
    assert row.scopes == ["b", {"a": [1, 2.5, None, True, "\u2028"]}]
