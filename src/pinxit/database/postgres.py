"""PostgreSQL: each unit is a transaction of its own, run by a pool of threads with a connection each.

Units are never grouped: row locks of several orders in one transaction would deadlock between processes, and
PostgreSQL groups the fsyncs of transactions that end together by itself. They run in READ COMMITTED; what SQLite's one
writer keeps apart is kept apart here by conditional updates, row locks and unique keys. All units lock in one order,
so that none waits for another in a circle: the order's own row, its account's ledger row, its key's spending, then the
rows of the house (docs/decisions/0017-postgresql.md).
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto
from functools import partial
from typing import Any, TypeVar

import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.types.string import StrDumper
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import ConnectionPoolEntry

from pinxit.database.interface import CommitUnknown, Database
from pinxit.errors import StartupError, StorageUnavailable
from pinxit.settings import hide_password

T = TypeVar("T")
log = structlog.get_logger(__name__)

WRITERS = 8
READERS = 4
"""Threads, and so connections: a process holds at most twelve of the hundred that PostgreSQL has by default."""
PATIENCE_SECONDS = 5.0
"""How long a unit, from when it was handed in, waits for a database that cannot be reached. One that restarts is back
in about a second; a unit that has waited longer, behind others, is still tried once.
"""
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.05, 0.5
MAX_CONFLICTS = 8
"""How often a unit is run again because another transaction was in its way."""
MIN_VERSION = 14

_CONNECTING: dict[str, Any] = {
    "application_name": "pinxit",
    "client_encoding": "UTF8",
    "connect_timeout": 3,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""What a URL can say otherwise. Seconds; the last in milliseconds, for a server that has vanished from the network."""

_EVERY_SESSION = """
    SET idle_in_transaction_session_timeout = '60s';
    SELECT set_config('synchronous_commit',
                      CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END,
                      false)
"""
"""`on` for each session too, so that nobody can switch it off under a running server."""
_WRITING = "SET statement_timeout = '30s'; SET lock_timeout = '10s'"
_READING = "SET statement_timeout = '10min'"
"""`pinxit fsck` reads everything in one transaction; who reads holds nobody up."""
_BEGIN_WRITING = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_ABORTED_FOR_ANOTHER = {"40001", "40P01"}
_ANOTHER_WAS_FASTER = {"23503", "23505"}
_CONNECTION_LOST = ("08", "57P", "25P03")
_SERVER_S_FAULT = ("25", "53", "55", "57", "58", "XX")


class _Fault(Enum):
    """Whose an error is, and so what is to be done."""

    ABORTED = auto()
    """PostgreSQL undid the transaction to let another go on: it can be run again."""
    OVERTAKEN = auto()
    """A row was made or removed by another since we looked: run again, the unit sees it and knows what to do."""
    UNREACHABLE = auto()
    """The connection is lost or cannot be made, and nothing was committed: wait and run again."""
    SERVER = auto()
    """The database cannot do it now."""
    UNIT = auto()
    """The caller's own."""


def _judge(error: DBAPIError) -> _Fault:
    state = getattr(error.orig, "sqlstate", None)
    if state is None:  # libpq's own words: there is no server to name a state
        return _Fault.UNREACHABLE if isinstance(error.orig, psycopg.OperationalError) else _Fault.UNIT
    if state in _ABORTED_FOR_ANOTHER:
        return _Fault.ABORTED
    if state in _ANOTHER_WAS_FASTER:
        return _Fault.OVERTAKEN
    if state.startswith(_CONNECTION_LOST):
        return _Fault.UNREACHABLE
    return _Fault.SERVER if state.startswith(_SERVER_S_FAULT) else _Fault.UNIT


class PostgresDatabase(Database):
    """One database of a PostgreSQL server, which other processes may use too. It connects when it is first used."""

    def __init__(self, url: str) -> None:
        self._write_engine = open_engine(url, WRITERS, _WRITING)
        self._read_engine = open_engine(url, READERS, _READING)
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="database-write")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-read")
        self._closed = False
        self._counting = threading.Lock()
        self.commits = 0
        """How many transactions were committed."""

    async def write(self, unit: Callable[[Connection], T]) -> T:
        return await self._hand_in(self._writers, partial(self._write, unit))

    async def read(self, unit: Callable[[Connection], T]) -> T:
        return await self._hand_in(self._readers, partial(self._read, unit))

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for threads in (self._writers, self._readers):
            await asyncio.to_thread(threads.shutdown)
        for engine in (self._write_engine, self._read_engine):
            await asyncio.to_thread(engine.dispose)

    async def _hand_in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> T:
        """Who stops waiting does not stop the unit: it is done all the same, and its thread and connection are free."""
        if self._closed:
            raise StorageUnavailable("The database is closed.")
        patience = time.monotonic() + PATIENCE_SECONDS
        return await asyncio.shield(asyncio.wrap_future(threads.submit(_persist, work, patience)))

    def _write(self, unit: Callable[[Connection], T]) -> T:
        with self._write_engine.connect() as connection:  # leaving undoes what is not committed
            connection.exec_driver_sql(_BEGIN_WRITING)
            result = unit(connection)
            _require_whole(connection)
            try:
                connection.exec_driver_sql("COMMIT")
            except DBAPIError as error:
                log.error("database_commit_unknown", error=_words(error))
                raise CommitUnknown from error
        with self._counting:
            self.commits += 1
        return result

    def _read(self, unit: Callable[[Connection], T]) -> T:
        with self._read_engine.connect() as connection:
            connection.exec_driver_sql(_BEGIN_READING)
            try:
                return unit(connection)
            except DBAPIError as error:
                if _judge(error) in (_Fault.UNIT, _Fault.OVERTAKEN):
                    raise _gave_up("database_read_failed", error) from error
                raise


class _WithoutNull(StrDumper):
    """Text for a server that cannot keep U+0000: a value that nobody could have stored is looked for in vain."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\N{REPLACEMENT CHARACTER}"))


def open_engine(url: str, connections: int = 1, session: str = "SELECT 1") -> Engine:
    """An engine whose connections leave transactions to us (driver in autocommit). `session`: SQL for each new one."""

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(make_conninfo(**{**_CONNECTING, **conninfo_to_dict(url)}), autocommit=True)

    engine = create_engine(
        "postgresql+psycopg://",
        creator=connect,
        isolation_level="AUTOCOMMIT",
        pool_size=connections,
        max_overflow=0,
        use_native_hstore=False,
        hide_parameters=True,  # prompts have no business in the text of an error
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: psycopg.Connection[Any], _: ConnectionPoolEntry) -> None:
        connection.adapters.register_dumper(str, _WithoutNull)
        connection.execute(f"{_EVERY_SESSION}; {session}")

    return engine


def _persist(work: Callable[[], T], patience: float) -> T:
    """Run the work until it is done, or cannot be. `patience`: until when to wait for a server that is away."""
    conflicts, delay = 0, FIRST_DELAY_SECONDS
    while True:
        try:
            return work()
        except DBAPIError as error:
            fault = _judge(error)
            if fault in (_Fault.ABORTED, _Fault.OVERTAKEN) and conflicts < MAX_CONFLICTS:
                conflicts += 1
                log.info("database_unit_run_again", error=_words(error), times=conflicts)
                time.sleep(random.uniform(0, 0.001) * conflicts**2)  # noqa: S311 - to get out of each other's way
            elif fault is _Fault.UNREACHABLE and time.monotonic() + delay < patience:
                time.sleep(delay)
                delay = min(2 * delay, LONGEST_DELAY_SECONDS)
            elif fault in (_Fault.UNIT, _Fault.OVERTAKEN):
                raise
            else:
                raise _gave_up("database_unavailable", error) from error


def _require_whole(connection: Connection) -> None:
    """Raises StorageUnavailable unless the unit left its transaction open and unharmed.

    PostgreSQL answers COMMIT after an error with ROLLBACK and no error: a unit that swallowed one would be told that
    it is kept.
    """
    if not connection.closed and not connection.invalidated:
        driver = connection.connection.driver_connection
        if driver is not None and driver.info.transaction_status == TransactionStatus.INTRANS:
            return
    log.error("database_unit_broke_its_transaction")
    raise StorageUnavailable


def _gave_up(event_name: str, error: DBAPIError) -> StorageUnavailable:
    log.error(event_name, error=_words(error))
    return StorageUnavailable()


def _words(error: DBAPIError) -> str:
    """What the server said, without the detail: that may show whole rows."""
    diagnostic = getattr(error.orig, "diag", None)
    primary = diagnostic.message_primary if diagnostic is not None else None
    return primary or str(error.orig).partition("\n")[0]


# --- opening ---


def open_database(url: str) -> PostgresDatabase:
    """Open the database and bring it up to date. Raises StartupError with what to do."""
    from pinxit.database.migrate import upgrade

    engine = open_engine(url)
    try:
        _persist(partial(_check, engine, url), time.monotonic() + PATIENCE_SECONDS)
        upgrade(engine)
    except (DBAPIError, StorageUnavailable) as error:
        cause = error if isinstance(error, DBAPIError) else error.__cause__
        assert isinstance(cause, DBAPIError)
        raise StartupError(f"{_name(url)} {_why_not(cause)}") from None
    finally:
        engine.dispose()
    return PostgresDatabase(url)


def _name(url: str) -> str:
    return f"The database {hide_password(url)}"


_REQUIREMENTS = text("""
    SELECT current_setting('server_version_num')::integer / 10000 AS version,
           current_setting('server_encoding') AS encoding,
           pg_is_in_recovery() AS is_standby,
           current_setting('fsync') AS fsync,
           current_setting('full_page_writes') AS full_page_writes,
           (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit') AS synchronous_commit
""")


def _check(engine: Engine, url: str) -> None:
    """Raises StartupError unless this server keeps what Pinxit promises."""
    try:
        with engine.connect() as connection:
            found = connection.execute(_REQUIREMENTS).one()
    except DBAPIError as error:
        if _is_final(error):
            raise StartupError(f"{_name(url)} {_why_not(error)}") from None
        raise
    if found.version < MIN_VERSION:
        raise StartupError(f"{_name(url)} is on PostgreSQL {found.version}; Pinxit needs {MIN_VERSION} or newer.")
    if found.encoding != "UTF8":
        raise StartupError(
            f"{_name(url)} is encoded in {found.encoding}; make one with CREATE DATABASE … TEMPLATE template0 ENCODING "
            "'UTF8'."
        )
    if found.is_standby:
        raise StartupError(f"{_name(url)} is a standby that only reads: name the primary in database_url.")
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        if getattr(found, setting) == "off":
            raise StartupError(
                f"{_name(url)} has {setting} off, and would lose orders and payments in a crash: switch it on "
                f"(ALTER SYSTEM SET {setting} = on; SELECT pg_reload_conf();)."
            )


_PASSING = ("is starting up", "is shutting down", "in recovery mode", "not yet accepting connections")
_REMEDIES = (
    (("password authentication failed", "no password supplied"), "Correct user and password in database_url"),
    (('role "',), "Make this user, or correct database_url"),
    (("no pg_hba.conf entry",), "Admit this user and address in the server's pg_hba.conf"),
    (("permission denied",), "Make the user of database_url the owner of the database (ALTER DATABASE … OWNER TO …)"),
    (('database "',), "Make it (CREATE DATABASE …), or correct database_url"),
)
"""By what libpq says: an error of a connection that was not made has no state. The server may speak another language;
then its own words must do."""


def _is_final(error: DBAPIError) -> bool:
    """Whether waiting will not mend it: only a server that is just starting is waited for when Pinxit starts."""
    return not any(passing in str(error.orig) for passing in _PASSING)


def _why_not(error: DBAPIError) -> str:
    words = _words(error)
    remedy = next((remedy for marks, remedy in _REMEDIES if any(mark in words for mark in marks)), None)
    return f"cannot be opened: {words.rstrip('.')}. {remedy or 'Start the server, or correct database_url'}."
