"""Copying all rows as they were at one moment, while others write; and putting them back."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, inspect, text

from pinxit import durable
from pinxit.backup.layout import BackupDamaged, Kind, Picture
from pinxit.database.opening import sqlite_file
from pinxit.errors import StartupError
from pinxit.settings import Settings

PAGES_AT_ONCE = 2048
"""Of SQLite, 4 KiB each, between two words about how far it is."""
COUNTED = ("accounts", "users", "api_keys", "generations", "images", "transfers", "webhook_endpoints", "audit_events")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the copied rows hold."""

    schema: str
    counts: dict[str, int]
    pictures: list[Picture]


def kind_of(settings: Settings) -> Kind:
    return Kind.SQLITE if settings.database_url is None else Kind.POSTGRESQL


def copy_rows(settings: Settings, target: Path, say: Say) -> Snapshot:
    """Write all rows of one moment to `target`. A server may be running. Raises StartupError."""
    if settings.database_url is None:
        return _copy_sqlite(sqlite_file(settings), target, say)
    return _dump_postgres(settings.database_url.get_secret_value(), target)


def is_deleted(settings: Settings, image_id: str) -> bool:
    """Whether the picture is deleted by now."""
    with _engine(settings) as engine, engine.connect() as connection:
        query = text("SELECT deleted_at FROM images WHERE id = :id")
        row = connection.execute(query, {"id": image_id}).first()
        return row is None or row.deleted_at is not None


def put_back(settings: Settings, source: Path) -> None:
    """Make the database of `settings`, which must not be there yet, from a copy. Raises StartupError."""
    if settings.database_url is not None:
        _restore_postgres(settings.database_url.get_secret_value(), source)
        return
    target = sqlite_file(settings)
    part = target.with_name(target.name + ".part")
    shutil.copyfile(source, part)
    part.chmod(0o640)
    durable.sync(part)
    part.rename(target)
    durable.sync(target.parent)


def require_empty(settings: Settings) -> None:
    """Raises StartupError if the PostgreSQL database has tables; SQLite's is a file of the folder."""
    if settings.database_url is None:
        return
    with _engine(settings) as engine, engine.connect() as connection:
        if inspect(connection).get_table_names():
            raise StartupError("The database is not empty: make a new one, and name that with database_url.")


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    if settings.database_url is None:
        from pinxit.database import sqlite

        engine = sqlite.open_engine(sqlite_file(settings), read_only=True)
    else:
        from pinxit.database import postgres

        engine = postgres.open_engine(settings.database_url.get_secret_value())
    try:
        yield engine
    finally:
        engine.dispose()


# --- SQLite ---


def _copy_sqlite(source: Path, target: Path, say: Say) -> Snapshot:
    """By the online backup API (https://www.sqlite.org/backup.html), within one read transaction: others may write,
    and the copy is of the moment at which it began.
    """
    if not source.is_file():
        raise StartupError(f"There is no database in {source.parent}: name its folder with --data-dir.")
    try:
        with (
            closing(sqlite3.connect(source, isolation_level=None, timeout=30)) as live,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            target.chmod(0o600)
            live.execute("PRAGMA query_only=ON")
            live.execute("BEGIN")
            live.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # from here on nothing changes for us
            live.backup(
                copy, pages=PAGES_AT_ONCE, progress=lambda _, left, all_: say(_share("Rows", all_ - left, all_))
            )
            live.execute("ROLLBACK")
            copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
            problem = copy.execute("PRAGMA quick_check(1)").fetchone()[0]
            if problem != "ok":
                raise BackupDamaged(f"The database {source} is damaged, and so is its copy: {problem}.")
    except sqlite3.Error as error:
        raise StartupError(f"The database {source} cannot be copied: {error}.") from error
    durable.sync(target)
    engine = create_engine(f"sqlite:///{target}")  # not as the server opens it: that would make a log beside it
    try:
        with engine.connect() as connection:
            return _look(connection)
    finally:
        engine.dispose()


def _share(what: str, done: int, all_: int) -> str:
    return f"{what}: {100 * done // max(all_, 1)} %"


# --- PostgreSQL ---


def _dump_postgres(url: str, target: Path) -> Snapshot:
    """By pg_dump, which sees the very snapshot in which we read the list of pictures
    (https://www.postgresql.org/docs/current/app-pgdump.html, `--snapshot`; read 2026-11-22).
    """
    from pinxit.database import postgres

    program = _program("pg_dump", "copied")
    engine = postgres.open_engine(url)
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("SET idle_in_transaction_session_timeout = 0")
            connection.exec_driver_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            snapshot = connection.exec_driver_sql("SELECT pg_export_snapshot()").scalar_one()
            found = _look(connection)
            own = ("--no-owner", "--no-privileges")
            _run(program, url, "--format=custom", *own, f"--snapshot={snapshot}", f"--file={target}")
            connection.exec_driver_sql("ROLLBACK")
    finally:
        engine.dispose()
    target.chmod(0o600)
    durable.sync(target)
    return found


def _restore_postgres(url: str, source: Path) -> None:
    own = ("--no-owner", "--no-privileges")
    everything_from_the_environment = "--dbname=postgresql://"
    program = _program("pg_restore", "restored")
    _run(program, url, "--single-transaction", "--exit-on-error", *own, everything_from_the_environment, str(source))


def _program(name: str, done: str) -> str:
    """The newest there is: one older than the server refuses to work. Raises StartupError."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    found = str(debian[-1]) if debian else shutil.which(name)
    if found is None:
        raise StartupError(
            f"A PostgreSQL database is {done} by the program {name}, which is not here: install PostgreSQL's client "
            "programs of the server's version or a newer one (Debian: `apt install postgresql-client`)."
        )
    return found


def _run(program: str, url: str, *arguments: str) -> None:
    """The address goes by the environment: arguments are in the list of processes. Raises StartupError."""
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL's own, and our arguments
        [program, "--no-password", *arguments],
        env={**os.environ, **_variables(url)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise StartupError(f"{Path(program).name} did not succeed: {said[-1]}")


def _variables(url: str) -> dict[str, str]:
    """What libpq reads instead of the URL."""
    from psycopg.pq import Conninfo

    options = Conninfo.parse(url.encode())
    return {option.envvar.decode(): option.val.decode() for option in options if option.envvar and option.val}


# --- both ---


def _look(connection: Connection) -> Snapshot:
    """By plain SQL that holds for every schema since the first."""
    tables = set(inspect(connection).get_table_names())
    if not {"alembic_version", "images"} <= tables:
        raise StartupError("This is no database of Pinxit's: it lacks its tables.")
    rows: Any = connection.execute(
        text("SELECT id, storage_key, size_bytes, sha256 FROM images WHERE deleted_at IS NULL ORDER BY id")
    )
    return Snapshot(
        schema=str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()),
        counts={
            name: int(connection.execute(text(f"SELECT COUNT(*) FROM {name}")).scalar_one())  # noqa: S608 - our names
            for name in COUNTED
            if name in tables
        },
        pictures=[Picture(row.id, row.storage_key, row.size_bytes, row.sha256) for row in rows],
    )
