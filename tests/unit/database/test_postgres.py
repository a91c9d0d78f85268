"""PostgresDatabase when things go wrong: deadlocks, lost connections, a server that is away, a COMMIT in doubt."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import structlog
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from held import SECONDS, Held
from pinxit.database import postgres
from pinxit.database.interface import CommitUnknown
from pinxit.database.postgres import PostgresDatabase
from pinxit.database.tables import accounts
from pinxit.errors import StorageUnavailable
from postgres import Cluster

pytestmark = pytest.mark.system("postgres")


def add(name: str) -> Callable[[Connection], str]:
    def unit(connection: Connection) -> str:
        connection.execute(accounts.insert().values(id=name, name=name, created_at=datetime.now(UTC)))
        return name

    return unit


def run(statement: str) -> Callable[[Connection], None]:
    def unit(connection: Connection) -> None:
        connection.execute(text(statement))

    return unit


async def names(database: PostgresDatabase) -> set[str]:
    return set(await database.read(lambda connection: connection.execute(select(accounts.c.id)).scalars().all()))


@pytest.fixture(scope="module")
def own_cluster() -> Iterator[Cluster]:
    """One that these tests may stop."""
    with Cluster(settings={"deadlock_timeout": "20ms"}) as cluster:
        asyncio.run(postgres.open_database(cluster.new_database("blank")).close())
        yield cluster


@pytest.fixture
def url(own_cluster: Cluster) -> Iterator[str]:
    own_cluster.new_database("mine", template="blank")
    yield own_cluster.url("mine", by_tcp=True)
    own_cluster.drop_database("mine")


@pytest.fixture
async def database(url: str) -> AsyncIterator[PostgresDatabase]:
    database = postgres.open_database(url)
    yield database
    await database.close()


class Tries:
    """A unit that goes wrong so many times, after it has added `a`."""

    def __init__(self, go_wrong: Callable[[Connection], None], times: int = 1) -> None:
        self.go_wrong = go_wrong
        self.times = times
        self.count = 0

    def __call__(self, connection: Connection) -> str:
        self.count += 1
        add("a")(connection)
        if self.count <= self.times:
            self.go_wrong(connection)
        return "a"


class Counted:
    """A unit, and how often it was run."""

    def __init__(self, unit: Callable[[Connection], object]) -> None:
        self.unit = unit
        self.count = 0

    def __call__(self, connection: Connection) -> object:
        self.count += 1
        return self.unit(connection)


# --- what a session is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("synchronous_commit", "on"),
        ("transaction_isolation", "read committed"),
        ("transaction_read_only", "off"),
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "1min"),
        ("application_name", "pinxit"),
    ],
)
async def test_how_units_write(database: PostgresDatabase, setting: str, value: str) -> None:
    assert await database.write(lambda connection: connection.execute(text(f"SHOW {setting}")).scalar_one()) == value


@pytest.mark.parametrize(
    ("setting", "value"), [("transaction_isolation", "repeatable read"), ("transaction_read_only", "on")]
)
async def test_how_units_read(database: PostgresDatabase, setting: str, value: str) -> None:
    assert await database.read(lambda connection: connection.execute(text(f"SHOW {setting}")).scalar_one()) == value


async def test_nobody_switches_durability_off_below_us(database: PostgresDatabase, own_cluster: Cluster) -> None:
    own_cluster.execute("ALTER DATABASE mine SET synchronous_commit = off")
    another = PostgresDatabase(own_cluster.url("mine"))
    show = text("SHOW synchronous_commit")
    assert await another.write(lambda connection: connection.execute(show).scalar_one()) == "on"
    await another.close()


async def test_there_are_never_more_connections_than_promised(database: PostgresDatabase, own_cluster: Cluster) -> None:
    await asyncio.gather(
        *(database.write(add(f"a{number}")) for number in range(100)), *(names(database) for _ in range(100))
    )
    (found,) = own_cluster.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pinxit'")
    assert 2 <= found[0] <= postgres.WRITERS + postgres.READERS


# --- run again ------------------------------------------------------------------------------------------------------


async def test_of_two_units_that_wait_for_each_other_one_is_run_again(database: PostgresDatabase) -> None:
    await database.write(add("a"))
    await database.write(add("b"))
    both = threading.Barrier(2)
    tries: list[str] = []

    def lock(first: str, second: str) -> Callable[[Connection], None]:
        def unit(connection: Connection) -> None:
            tries.append(first)
            for name in (first, second):
                connection.execute(accounts.update().where(accounts.c.id == name).values(name=first))
                if name == first and len(tries) <= 2:
                    both.wait(SECONDS)

        return unit

    await asyncio.gather(database.write(lock("a", "b")), database.write(lock("b", "a")))
    assert len(tries) >= 3


async def test_a_unit_that_is_always_in_the_way_is_given_up(
    database: PostgresDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    abort = run("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$")
    tries = Tries(abort, times=postgres.MAX_CONFLICTS)
    assert await database.write(tries) == "a"
    await database.write(run("DELETE FROM accounts"))
    with pytest.raises(StorageUnavailable):
        await database.write(Tries(abort, times=postgres.MAX_CONFLICTS + 1))
    assert await names(database) == set()


async def test_a_row_that_is_really_there_is_the_caller_s_error_in_the_end(database: PostgresDatabase) -> None:
    await database.write(add("a"))
    with pytest.raises(IntegrityError):
        await database.write(add("a"))


KILL = "SELECT pg_terminate_backend(pg_backend_pid())"


async def test_a_connection_that_is_cut_before_the_commit_is_made_anew(database: PostgresDatabase) -> None:
    tries = Tries(run(KILL))
    assert await database.write(tries) == "a"
    assert (tries.count, await names(database)) == (2, {"a"})


async def test_and_also_one_that_was_idle(database: PostgresDatabase, own_cluster: Cluster) -> None:
    await asyncio.gather(*(database.write(add(f"a{number}")) for number in range(20)), names(database))
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pinxit'"
    own_cluster.execute(cut)
    assert await database.write(add("b")) == "b"
    assert len(await names(database)) == 21


async def test_a_read_whose_connection_is_cut_is_run_again(database: PostgresDatabase) -> None:
    tries = []

    def look(connection: Connection) -> int:
        tries.append(1)
        if len(tries) == 1:
            run(KILL)(connection)
        return 7

    assert await database.read(look) == 7
    assert len(tries) == 2


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_server_that_restarts_between_two_units_is_not_noticed(
    database: PostgresDatabase, own_cluster: Cluster, mode: str
) -> None:
    await database.write(add("a"))
    await asyncio.to_thread(own_cluster.restart, mode)
    assert await database.write(add("b")) == "b"
    assert await names(database) == {"a", "b"}


async def test_a_server_that_restarts_under_a_unit_loses_nothing(
    database: PostgresDatabase, own_cluster: Cluster
) -> None:
    def restart(connection: Connection) -> None:
        own_cluster.restart("immediate")
        run("SELECT 1")(connection)

    restarts = Tries(restart)
    assert await database.write(restarts) == "a"
    assert (restarts.count, await names(database)) == (2, {"a"})


async def test_a_server_that_is_away_is_waited_for(database: PostgresDatabase, own_cluster: Cluster) -> None:
    own_cluster.stop("immediate")
    writing = [asyncio.create_task(database.write(add(f"a{number}"))) for number in range(20)]
    try:
        await asyncio.sleep(0)
        assert not any(task.done() for task in writing)
    finally:
        await asyncio.to_thread(own_cluster.start)
    assert len(await asyncio.gather(*writing)) == 20
    assert len(await names(database)) == 20


async def test_but_not_for_ever(
    database: PostgresDatabase, own_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PATIENCE_SECONDS", 0.5)
    own_cluster.stop("immediate")
    try:
        began = time.monotonic()
        calls = [*(database.write(add(f"a{number}")) for number in range(40)), *(names(database) for _ in range(40))]
        said = await asyncio.gather(*calls, return_exceptions=True)
        took = time.monotonic() - began
    finally:
        await asyncio.to_thread(own_cluster.start)
    assert {type(each) for each in said} == {StorageUnavailable}
    # Who waited behind others does not wait once more: of 80 calls 12 at a time, none is later than the first.
    assert 0.3 < took < 0.5 * 5
    assert await names(database) == set()


async def test_a_closing_database_ends_although_the_server_is_away(
    own_cluster: Cluster, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "PATIENCE_SECONDS", 1.0)
    database = postgres.open_database(url)
    own_cluster.stop("immediate")
    try:
        async with asyncio.timeout(15):
            writing = asyncio.create_task(database.write(add("a")))
            await asyncio.sleep(0)
            await database.close()
            with pytest.raises(StorageUnavailable):
                await writing
    finally:
        await asyncio.to_thread(own_cluster.start)


# --- the caller's, and the server's ---------------------------------------------------------------------------------


async def test_a_unit_that_takes_too_long_is_ended(database: PostgresDatabase) -> None:
    with pytest.raises(StorageUnavailable):
        await database.write(run("SET LOCAL statement_timeout = '10ms'; SELECT pg_sleep(10)"))
    assert await database.write(add("a")) == "a"


async def test_a_unit_that_waits_too_long_for_a_lock_is_ended(database: PostgresDatabase) -> None:
    await database.write(add("a"))
    held = Held(run("SELECT id FROM accounts FOR UPDATE"))
    holding = asyncio.create_task(database.write(held))
    await held.wait()
    with pytest.raises(StorageUnavailable):
        await database.write(run("SET LOCAL lock_timeout = '10ms'; SELECT id FROM accounts FOR UPDATE"))
    held.go_on.set()
    await holding


async def test_a_unit_that_swallows_an_error_is_not_told_that_it_is_kept(database: PostgresDatabase) -> None:
    """PostgreSQL answers its COMMIT with ROLLBACK, and no error."""
    await database.write(add("a"))

    def swallow(connection: Connection) -> None:
        add("b")(connection)
        with pytest.raises(IntegrityError):
            add("a")(connection)

    with pytest.raises(StorageUnavailable):
        await database.write(swallow)
    assert await names(database) == {"a"}


async def test_a_bug_in_a_unit_is_its_own(database: PostgresDatabase) -> None:
    with pytest.raises(DBAPIError, match="syntax error"):
        await database.write(run("nonsense"))
    assert await database.write(add("a")) == "a"


async def test_text_with_a_null_character_is_nobody_s_and_harms_nothing(database: PostgresDatabase) -> None:
    """SQLite keeps it; PostgreSQL cannot."""
    await database.write(add("a\0b"))
    assert await names(database) == {"a\N{REPLACEMENT CHARACTER}b"}
    look = select(accounts.c.id).where(accounts.c.id == "b\0")
    assert await database.read(lambda connection: connection.execute(look).all()) == []


async def test_what_is_logged_shows_no_rows(database: PostgresDatabase) -> None:
    with structlog.testing.capture_logs() as logged:
        await database.write(run("CREATE TABLE notes (note text PRIMARY KEY, CHECK (note <> 'a wish'))"))
        await database.write(run("INSERT INTO notes VALUES ('my secret')"))
        for statement in ("INSERT INTO notes VALUES ('my secret')", "INSERT INTO notes VALUES ('a wish')"):
            with pytest.raises(IntegrityError) as refused:
                await database.write(run(statement))
            assert refused.value.hide_parameters
    assert len(logged) == postgres.MAX_CONFLICTS
    assert "secret" not in str(logged)


# --- COMMIT ---------------------------------------------------------------------------------------------------------


class CuttingProxy:
    """Stands between a client and the server, and cuts the client off at its COMMIT, passing that on or not."""

    def __init__(self, port: int, *, passes_commit_on: bool) -> None:
        self._port = port
        self._passes_commit_on = passes_commit_on
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads: list[threading.Thread] = []
        self.is_armed = False
        self.cuts = 0
        self._start(self._accept)

    def close(self) -> None:
        """Returns when the server has ended its side of every connection."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(SECONDS)
            assert not thread.is_alive()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # it was closed
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._start(self._send, client, server)
            self._start(self._answer, client, server)

    def _send(self, client: socket.socket, server: socket.socket) -> None:
        while data := _receive(client):
            if self.is_armed and b"COMMIT\0" in data:
                self.is_armed = False
                self.cuts += 1
                client.shutdown(socket.SHUT_RDWR)
                if self._passes_commit_on:
                    server.sendall(data)
                break
            server.sendall(data)
        with suppress(OSError):  # the server has hung up before
            server.shutdown(socket.SHUT_WR)

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        while data := _receive(server):
            with suppress(OSError):  # it was cut off
                client.sendall(data)
        client.close()
        server.close()


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(65536)
    except OSError:
        return b""


@pytest.mark.parametrize("passes_commit_on", [False, True])
async def test_a_commit_without_an_answer_is_in_doubt(own_cluster: Cluster, url: str, passes_commit_on: bool) -> None:
    """Whether it is kept, only the rows can say; so it is not run again."""
    proxy = CuttingProxy(own_cluster.port, passes_commit_on=passes_commit_on)
    database = PostgresDatabase(url.replace(str(own_cluster.port), str(proxy.port)))
    await database.write(add("a"))
    proxy.is_armed = True
    unit = Counted(add("b"))
    with pytest.raises(CommitUnknown):
        await database.write(unit)
    assert (proxy.cuts, unit.count) == (1, 1)
    assert await database.write(add("c")) == "c"
    await database.close()
    await asyncio.to_thread(proxy.close)
    found = {row[0] for row in own_cluster.execute("SELECT id FROM accounts", database="mine")}
    assert found == ({"a", "b", "c"} if passes_commit_on else {"a", "c"})


async def test_a_constraint_that_fails_at_the_commit_keeps_nothing(database: PostgresDatabase) -> None:
    await database.write(
        run("ALTER TABLE attempts ALTER CONSTRAINT fk_attempts_generation_id DEFERRABLE INITIALLY DEFERRED")
    )

    def unit(connection: Connection) -> None:
        add("a")(connection)
        run("INSERT INTO attempts VALUES ('gen_x', 1, 'a', 'b', '[]', 'started', NULL, NULL, NULL, 0, NULL)")(
            connection
        )

    with pytest.raises(CommitUnknown):
        await database.write(unit)
    assert await names(database) == set()
