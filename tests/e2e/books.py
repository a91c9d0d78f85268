"""What rows and files say, read without a server: a copy of the database, so that its recovery is left to the next
one."""

import hashlib
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, text

from pinxit.ledger.invariants import check

OPEN = "('queued', 'in_progress')"


@dataclass(frozen=True)
class Books:
    """One look at the rows."""

    problems: list[str]
    """What is wrong with the database or the ledger."""
    charged: Counter[str]
    """Prompt → how many of its orders were charged."""
    ends: Counter[str]
    """Status → how many orders have it."""
    pictures: dict[str, tuple[str, str]]
    """Picture id → storage key and SHA-256."""
    open_orders: list[str]
    spent_micros: int
    balance_micros: int
    held_micros: int

    @property
    def files(self) -> set[str]:
        return {key for key, _ in self.pictures.values()}


def look(connection: Connection) -> Books:
    """Everything in one snapshot."""
    charged = rows(
        connection,
        "SELECT g.prompt, COUNT(*) FROM generations g JOIN holds h ON h.generation_id = g.id "
        "WHERE h.status = 'posted' GROUP BY g.prompt",
    )
    money = connection.execute(
        text("SELECT balance_micros, held_micros FROM ledger_accounts WHERE kind = 'credits'")
    ).first()
    return Books(
        problems=check(connection),
        charged=Counter(dict(charged)),
        ends=Counter(dict(rows(connection, "SELECT status, COUNT(*) FROM generations GROUP BY status"))),
        pictures={id_: (key, sha) for id_, key, sha in rows(connection, "SELECT id, storage_key, sha256 FROM images")},
        open_orders=[id_ for (id_,) in rows(connection, f"SELECT id FROM generations WHERE status IN {OPEN}")],
        spent_micros=int(rows(connection, "SELECT COALESCE(SUM(posted_micros), 0) FROM holds")[0][0]),
        balance_micros=money[0] if money else 0,
        held_micros=money[1] if money else 0,
    )


def rows(connection: Connection, query: str) -> list[tuple]:
    return [tuple(row) for row in connection.execute(text(query))]


def read_books(data: Path, database_url: str = "") -> Books:
    """The books of a data folder, or of the PostgreSQL database that is used instead; the former is proven first."""
    if database_url:
        from pinxit.database.postgres import open_engine

        return _read(open_engine(database_url), "BEGIN ISOLATION LEVEL REPEATABLE READ")
    with copied_database(data) as file:
        with sqlite3.connect(file) as proof:
            integrity = [row[0] for row in proof.execute("PRAGMA integrity_check") if row[0] != "ok"]
        proof.close()
        books = _read(create_engine(f"sqlite:///{file}"))
    books.problems.extend(integrity)
    return books


def _read(engine: Engine, begin: str = "") -> Books:
    try:
        with engine.connect() as connection:
            if begin:
                connection.exec_driver_sql(begin)
            books = look(connection)
            if begin:
                connection.exec_driver_sql("ROLLBACK")
            return books
    finally:
        engine.dispose()


@contextmanager
def copied_database(data: Path) -> Iterator[Path]:
    """A copy with its write-ahead log, as a process that dies now leaves them."""
    with tempfile.TemporaryDirectory() as folder:
        for name in ("pinxit.db", "pinxit.db-wal"):
            if (data / name).exists():
                shutil.copy(data / name, folder)
        yield Path(folder) / "pinxit.db"


def files_below(data: Path) -> set[str]:
    """The storage keys of all files of pictures; unfinished ones too, by their own names."""
    return {f"{file.parent.parent.name}/{file.name}" for file in (data / "pictures").rglob("*") if file.is_file()}


def damaged_files(data: Path, books: Books) -> list[str]:
    """Pictures whose file is missing or has other bytes than its row says."""
    found = []
    for id_, (key, sha) in books.pictures.items():
        kind, name = key.split("/")
        path = data / "pictures" / kind / name.split("_")[1][:2] / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != sha:
            found.append(id_)
    return found
