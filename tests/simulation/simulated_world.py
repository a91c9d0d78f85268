"""What survives a process: the database, the disk, the receiver of webhooks, and what can go wrong with them."""

import asyncio
import hashlib
import sqlite3
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from random import Random
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import StaticPool
from virtual_loop import VirtualLoop

from pinxit.database.migrate import upgrade

T = TypeVar("T")

EPOCH = datetime(2026, 3, 31, 23, 50, tzinfo=UTC)
"""Ten minutes before a day and a month end."""
REMEMBERED_EVENTS = 120


@cache
def engine() -> Engine:
    """One SQLite in memory for all runs of this process."""
    made = create_engine("sqlite://", isolation_level="AUTOCOMMIT", poolclass=StaticPool)

    @event.listens_for(made, "connect")
    def _configure(connection: sqlite3.Connection, _: Any) -> None:
        connection.execute("PRAGMA foreign_keys=ON")

    return made


@cache
def _blank() -> bytes:
    """The database as its migrations leave it."""
    upgrade(engine())
    with engine().connect() as connection:
        return _driver(connection).serialize()


def open_blank_database() -> Connection:
    image = _blank()
    connection = engine().connect()
    _driver(connection).deserialize(image)
    connection.exec_driver_sql("PRAGMA foreign_keys=ON")
    return connection


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.dbapi_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


@dataclass(slots=True)
class Ambush:
    """What is done in the middle of whatever is noted: at the `remaining`th note from now that begins so."""

    prefix: str
    remaining: int
    act: Callable[[], None]


class Trace:
    """What happened, as one hash, and the last of it as text."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._hash = hashlib.blake2b(digest_size=16)
        self.last: deque[str] = deque(maxlen=REMEMBERED_EVENTS)
        self.everything: list[str] | None = None
        self.count = 0
        self.is_closed = False
        self.ambushes: list[Ambush] = []

    def note(self, what: str) -> None:
        if self.is_closed:
            return
        line = f"{self._loop.time():10.4f} #{self._loop.steps} {what}"
        self._hash.update(line.encode())
        self.last.append(line)
        self.count += 1
        if self.everything is not None:
            self.everything.append(line)
        for ambush in [one for one in self.ambushes if what.startswith(one.prefix)]:
            ambush.remaining -= 1
            if ambush.remaining == 0:
                self.ambushes.remove(ambush)
                ambush.act()

    def digest(self) -> str:
        return self._hash.hexdigest()


class Fate(Enum):
    """What becomes of a commit."""

    KEPT = "kept"
    REFUSED = "refused"
    LOST_IN_DOUBT = "lost in doubt"
    KEPT_IN_DOUBT = "kept in doubt"


@dataclass(slots=True)
class Dangers:
    """How likely each thing is to go wrong, from 0 to 1."""

    read_fails: float = 0.0
    write_is_refused: float = 0.0
    commit_is_in_doubt: float = 0.0
    put_fails: float = 0.0
    delete_fails: float = 0.0
    painter_dies: float = 0.0
    painter_errs: float = 0.0
    painter_hangs: float = 0.0
    receiver_fails: float = 0.0
    is_slow: float = 0.0
    """Of a database or a disk: to take seconds instead of milliseconds."""


NOTHING = Dangers()


@dataclass(slots=True)
class World:
    """Everything but the processes."""

    seed: int
    random: Random
    loop: VirtualLoop
    connection: Connection
    trace: Trace
    dangers: Dangers = field(default_factory=Dangers)
    files: dict[str, bytes] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    unsynced: set[str] = field(default_factory=set)
    painted: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often a picture of this prompt and seed was painted."""
    jobs: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How many jobs were ordered far away for a picture of this prompt and seed."""
    received: list[tuple[str, str]] = field(default_factory=list)
    """Ids and bodies of the webhooks that the receiver took, in their order."""
    marks: set[tuple[str, str]] = field(default_factory=set)
    """Events of the log that excuse something: name and id of the order."""
    had_sick_database: bool = False
    """Whether the database was slow or failed at times."""
    calm: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def resumed(self) -> int:
        """How many orders another process than their first has gone on with."""
        return sum(name == "generation_resumed" for name, _ in self.marks)

    def now(self) -> datetime:
        return EPOCH + timedelta(microseconds=round(self.loop.time() * 1_000_000))

    def nanoseconds(self) -> int:
        return round(self.loop.time() * 1_000_000_000)

    def happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance

    def delay(self) -> float:
        """How long a database or a disk takes."""
        if self.happens(self.dangers.is_slow):
            return self.random.uniform(0.1, 4.0)
        return self.random.choice((0.0, 0.0005, 0.001, 0.003))

    def fate_of_commit(self) -> Fate:
        if self.happens(self.dangers.write_is_refused):
            return Fate.REFUSED
        if self.happens(self.dangers.commit_is_in_doubt):
            return self.random.choice((Fate.LOST_IN_DOUBT, Fate.KEPT_IN_DOUBT))
        return Fate.KEPT

    def become_dangerous(self, dangers: Dangers) -> None:
        self.dangers = dangers
        sick = (dangers.is_slow, dangers.read_fails, dangers.write_is_refused, dangers.commit_is_in_doubt)
        self.had_sick_database |= any(sick)

    def become_calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self.dangers = NOTHING
        self.calm.set()
        self.trace.note("calm")

    def cut_power(self) -> None:
        """What was not synced is there or is not."""
        for key in sorted(self.unsynced):
            if self.random.random() < 0.5:
                del self.files[key]
        self.unsynced.clear()
        self.trace.note("power cut")

    def look(self, query: Callable[[Connection], T]) -> T:
        """What is committed now, without asking any process."""
        return query(self.connection)
