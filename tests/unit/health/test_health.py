"""What is told of the database and the disk, and what is not when they do not answer."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from front import Front
from pinxit.app import PICTURES_FOLDER
from pinxit.database.interface import Database
from pinxit.database.migrate import HEAD
from pinxit.errors import StorageUnavailable
from pinxit.health.health import HealthService
from pinxit.storage.local import LocalStorage

pytestmark = pytest.mark.both_databases
NOW = datetime(2026, 11, 22, tzinfo=UTC)


class DeafStorage(LocalStorage):
    async def free_bytes(self) -> int | None:
        raise StorageUnavailable


async def test_what_answers(make_database: Callable[[], Database], tmp_path) -> None:
    storage = LocalStorage(tmp_path / PICTURES_FOLDER)
    found = await HealthService(make_database(), storage, now=lambda: NOW).look()
    storage.close()
    assert found.database is not None
    assert found.database.product.split()[0] in ("SQLite", "PostgreSQL")
    assert found.database.product.split()[1][0].isdigit()
    assert found.database.migration == HEAD
    assert found.database.size_bytes > 50_000
    assert 0 < found.database.seconds < 60
    assert found.free_bytes is not None
    assert found.free_bytes > 0


async def test_what_does_not_answer(make_database: Callable[[], Database], tmp_path) -> None:
    database = make_database()
    await database.close()
    storage = DeafStorage(tmp_path / PICTURES_FOLDER)
    found = await HealthService(database, storage, now=lambda: NOW).look()
    storage.close()
    assert (found.database, found.free_bytes) == (None, None)


async def test_how_many_orders_are_open(front: Front) -> None:
    services = front.house.services
    for _ in range(3):
        await front.generate()
    assert await services.generations.count_open() == 0
    await front.house.database.write(
        lambda connection: connection.execute(
            text("UPDATE generations SET status = 'queued' WHERE id IN (SELECT id FROM generations LIMIT 2)")
        )
    )
    assert await services.generations.count_open() == 2
    assert await services.webhooks.count_pending() == 0
