"""Migrations: they lead to the tables that the code knows, once, and a newer database is left alone."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect

from pinxit.database import migrate
from pinxit.database.sqlite import open_database, open_engine
from pinxit.database.tables import metadata
from pinxit.errors import StartupError


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = open_engine(tmp_path / "pinxit.db")
    yield engine
    engine.dispose()


def test_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_migrations_lead_to_the_tables(engine: Engine):
    migrate.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_and_to_their_indexes_keys_and_constraints(engine: Engine, tmp_path: Path):
    migrate.upgrade(engine)
    fresh = open_engine(tmp_path / "fresh.db")
    metadata.create_all(fresh)
    assert shape(engine) == shape(fresh)
    fresh.dispose()


def shape(engine: Engine) -> dict[str, object]:
    """Every table with its columns and constraints, every index with its definition."""
    found = inspect(engine)
    tables = [table for table in found.get_table_names() if table != "alembic_version"]
    shapes: dict[str, object] = {}
    for table in tables:
        # A column that a later migration adds stands last: the order is nobody's business.
        columns = {(column["name"], column["nullable"], column["primary_key"]) for column in found.get_columns(table)}
        keys = [found.get_pk_constraint(table), *found.get_foreign_keys(table), *found.get_unique_constraints(table)]
        shapes[table] = columns, sorted(map(str, keys))
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''")
        shapes["indexes"] = {name: " ".join(sql.split()) for name, sql in rows}
    return shapes


def test_a_second_time_changes_nothing(engine: Engine):
    migrate.upgrade(engine)
    before = shape(engine)
    migrate.upgrade(engine)
    assert shape(engine) == before


def test_two_servers_may_begin_at_once(tmp_path: Path):
    engines = [open_engine(tmp_path / "pinxit.db") for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(migrate.upgrade, engines))
    assert version(tmp_path / "pinxit.db") == [migrate.HEAD]
    for engine in engines:
        engine.dispose()


def version(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    try:
        return [row[0] for row in connection.execute("SELECT version_num FROM alembic_version")]
    finally:
        connection.close()


def test_a_migration_that_fails_half_way_never_happened(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE images (id TEXT)")  # in the way of the last of its tables
    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(engine)
    assert inspect(engine).get_table_names() == ["images"]


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path):
    path = tmp_path / "pinxit.db"
    await open_database(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    with pytest.raises(StartupError, match="made by a newer Pinxit") as refused:
        open_database(path)
    assert "9999" in refused.value.message
    assert "restore a backup" in refused.value.message
    assert version(path) == ["9999"]
