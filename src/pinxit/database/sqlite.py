"""SQLite: one writer thread that commits many units per fsync, and a few readers.

Group commit: the writer takes every unit that waits, runs each in a savepoint of one BEGIN IMMEDIATE transaction and
commits once. No caller hears of success before COMMIT returned with synchronous=FULL, which fsyncs the write-ahead log
(https://www.sqlite.org/pragma.html#pragma_synchronous).
"""

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from pinxit.database.interface import CommitUnknown, Database
from pinxit.database.prepared import Prepared
from pinxit.errors import StartupError, StorageUnavailable

T = TypeVar("T")
log = structlog.get_logger(__name__)

MAX_UNITS_PER_COMMIT = 256
READERS = 4
BUSY_TIMEOUT_SECONDS = 5
_BETWEEN_TRIES_SECONDS = 0.01

_SAVEPOINT, _RELEASE = Prepared(text("SAVEPOINT unit")), Prepared(text("RELEASE unit"))

# Errors that leave the whole transaction in doubt, not just one statement
# (https://www.sqlite.org/lang_transaction.html §2.3).
_FATAL = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
}


def open_engine(path: Path, *, read_only: bool = False) -> Engine:
    """An engine whose connections leave transactions to us (driver in autocommit)."""
    engine = create_engine(
        f"sqlite:///{path}",
        isolation_level="AUTOCOMMIT",
        connect_args={"check_same_thread": False, "timeout": BUSY_TIMEOUT_SECONDS},
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
        use_write_ahead_log(connection)
        for pragma in ("synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            connection.execute(f"PRAGMA {pragma}")
        if read_only:
            connection.execute("PRAGMA query_only=ON")

    return engine


def use_write_ahead_log(connection: sqlite3.Connection) -> None:
    """Change the file's journal, if it is not changed yet. Raises sqlite3.OperationalError if others stay in the way.

    Of several connections that do so to a new file at once, SQLite answers some SQLITE_BUSY without the usual wait:
    two that each wait for the other's lock would wait for ever (https://www.sqlite.org/c3ref/busy_handler.html).
    Whoever tries again finds it done.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_BETWEEN_TRIES_SECONDS)
        else:
            return


def is_fatal(error: BaseException) -> bool:
    """Whether SQLite may have undone, or be unable to finish, the surrounding transaction."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF) in _FATAL


@dataclass(slots=True)
class _Unit:
    run: Callable[[Connection], Any]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Any]"
    result: Any = None
    error: BaseException | None = None


class SqliteDatabase(Database):
    """One database file. Raises StartupError if it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_engine = open_engine(path, read_only=True)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-read")
        self._units: queue.SimpleQueue[_Unit | None] = queue.SimpleQueue()
        self._closed = False
        self.commits = 0
        """How many transactions were committed; with the number of units it shows the grouping."""
        self._writer = threading.Thread(target=self._write_forever, name="database-write", daemon=True)
        self._writer.start()

    async def write(self, unit: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StorageUnavailable("The database is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._units.put(_Unit(unit, loop, future))
        return await future

    async def read(self, unit: Callable[[Connection], T]) -> T:
        if self._closed:
            raise StorageUnavailable("The database is closed.")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, unit)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._units.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        self._read_engine.dispose()

    # --- readers ---

    def _read(self, unit: Callable[[Connection], T]) -> T:
        try:
            with self._read_engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                try:
                    return unit(connection)
                finally:
                    connection.exec_driver_sql("ROLLBACK")
        except DBAPIError as error:
            log.error("database_read_failed", error=str(error.orig))
            raise StorageUnavailable from error

    # --- the writer thread ---

    def _write_forever(self) -> None:
        engine = open_engine(self._path)
        connection: Connection | None = None
        while (first := self._units.get()) is not None:
            group, last = self._gather(first)
            try:
                connection = connection or engine.connect()
                self._commit_group(connection, group)
            except Exception as error:  # noqa: BLE001 - if the one writer died, every caller would wait for ever
                log.error("database_write_failed", error=str(getattr(error, "orig", error)), units=len(group))
                _fail_unanswered(group, error)
                if connection is not None:
                    _discard(connection)
                    connection = None
            _answer(group)
            if last:
                break
        if connection is not None:
            connection.close()
        engine.dispose()

    def _gather(self, first: _Unit) -> tuple[list[_Unit], bool]:
        """Everything that waits now, and whether the end was among it."""
        group = [first]
        while len(group) < MAX_UNITS_PER_COMMIT:
            try:
                unit = self._units.get_nowait()
            except queue.Empty:
                return group, False
            if unit is None:
                return group, True
            group.append(unit)
        return group, False

    def _commit_group(self, connection: Connection, group: list[_Unit]) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        for unit in group:
            _SAVEPOINT.run(connection, {})
            try:
                unit.result = unit.run(connection)
            except Exception as error:
                if is_fatal(error):
                    raise
                unit.error = error
                connection.exec_driver_sql("ROLLBACK TO unit")
            _RELEASE.run(connection, {})
        try:
            connection.exec_driver_sql("COMMIT")
        except DBAPIError as error:
            for unit in group:
                unit.error = unit.error or _caused(CommitUnknown(), error)
            raise
        self.commits += 1


def _discard(connection: Connection) -> None:
    """Close the connection for good, which undoes what it has not committed."""
    with suppress(SQLAlchemyError):  # it may be closed already
        connection.invalidate()
        connection.close()


def _fail_unanswered(group: list[_Unit], cause: BaseException) -> None:
    for unit in group:
        if unit.error is None:
            unit.error = _caused(StorageUnavailable(), cause)


def _caused(error: StorageUnavailable, cause: BaseException) -> StorageUnavailable:
    error.__cause__ = cause
    return error


def _answer(group: list[_Unit]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Unit]] = {}
    for unit in group:
        by_loop.setdefault(unit.loop, []).append(unit)
    for loop, units in by_loop.items():
        try:
            loop.call_soon_threadsafe(_resolve, units)
        except RuntimeError:  # the loop that asked is closed: nobody waits any more
            log.warning("database_answer_unwanted", units=len(units))


def _resolve(units: list[_Unit]) -> None:
    for unit in units:
        if unit.future.cancelled():
            continue
        if unit.error is not None:
            unit.future.set_exception(unit.error)
        else:
            unit.future.set_result(unit.result)


def open_database(path: Path) -> SqliteDatabase:
    """Open or make the database file and bring it up to date. Raises StartupError with what to do."""
    from pinxit.database.migrate import upgrade

    engine = open_engine(path)
    try:
        upgrade(engine)
    except DBAPIError as error:
        is_full = getattr(error.orig, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        remedy = "Make room on the disk" if is_full else "Check the rights of the folder and the file"
        raise StartupError(f"The database {path} cannot be opened: {error.orig}. {remedy}.") from error
    finally:
        engine.dispose()
    return SqliteDatabase(path)
