"""Looks at the database and the storage, for who runs the server."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from pinxit.database.interface import Database
from pinxit.errors import StorageUnavailable
from pinxit.storage.interface import Storage


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """`product` with its version; `seconds`: how long a question and its answer took just now."""

    product: str
    migration: str
    size_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Health:
    """`database` None: it does not answer. `free_bytes` None: nobody can say."""

    database: DatabaseHealth | None
    free_bytes: int | None
    started_at: datetime
    looked_at: datetime


class HealthService:
    """Asks only what is answered at once, however much there is."""

    def __init__(self, database: Database, storage: Storage, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._storage = storage
        self._now = now
        self._started_at = now()

    async def look(self) -> Health:
        """How it is now; what does not answer is None."""
        return Health(await self._look_at_database(), await self._free_bytes(), self._started_at, self._now())

    async def _look_at_database(self) -> DatabaseHealth | None:
        began = time.perf_counter()
        try:
            product, migration, size_bytes = await self._database.read(_facts)
        except StorageUnavailable:
            return None
        return DatabaseHealth(product, migration, size_bytes, time.perf_counter() - began)

    async def _free_bytes(self) -> int | None:
        try:
            return await self._storage.free_bytes()
        except StorageUnavailable:
            return None


_FACTS = {
    "sqlite": (
        "SQLite",
        "SELECT sqlite_version()",
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    ),
    "postgresql": ("PostgreSQL", "SHOW server_version", "SELECT pg_database_size(current_database())"),
}


def _facts(connection: Connection) -> tuple[str, str, int]:
    """Product, migration, and size in bytes."""
    name, version, size = _FACTS[connection.dialect.name]
    number = connection.execute(text(version)).scalar_one()
    migration = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    return f"{name} {number}", migration, int(connection.execute(text(size)).scalar_one())
