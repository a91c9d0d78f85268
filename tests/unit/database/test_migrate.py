"""Migrations: they lead to the tables that the code knows, once, and a newer database is left alone."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import DBAPIError

from databases import MakeEngine
from pinxit.database import migrate
from pinxit.database.tables import metadata
from pinxit.errors import StartupError

pytestmark = pytest.mark.both_databases


@pytest.fixture
def engine(make_engine: MakeEngine) -> Engine:
    return make_engine("one")


def test_head_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.HEAD]


def test_migrations_lead_to_the_tables(engine: Engine):
    migrate.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_and_to_their_indexes_keys_and_constraints(make_engine: MakeEngine):
    migrated, fresh = make_engine("one"), make_engine("two")
    migrate.upgrade(migrated)
    metadata.create_all(fresh)
    assert shape(migrated) == shape(fresh)


def shape(engine: Engine) -> dict[str, object]:
    """Every table with its columns and constraints, every index with its definition."""
    found = inspect(engine)
    tables = [table for table in found.get_table_names() if table != "alembic_version"]
    shapes: dict[str, object] = {}
    for table in tables:
        # A column that a later migration adds stands last: the order is nobody's business.
        columns = {(column["name"], column["nullable"], str(column["type"])) for column in found.get_columns(table)}
        keys = [found.get_pk_constraint(table), *found.get_foreign_keys(table), *found.get_unique_constraints(table)]
        keys += found.get_check_constraints(table)
        shapes[table] = columns, sorted(map(str, keys))
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(INDEXES[engine.dialect.name])
        shapes["indexes"] = {name: " ".join(sql.split()) for name, sql in rows}
    return shapes


INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''",
    "postgresql": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    " AND tablename <> 'alembic_version'",
}


def test_a_second_time_changes_nothing(engine: Engine):
    migrate.upgrade(engine)
    before = shape(engine)
    migrate.upgrade(engine)
    assert shape(engine) == before


def test_many_servers_may_begin_at_once(make_engine: MakeEngine):
    engines = [make_engine("one") for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(migrate.upgrade, engines))
    assert version(engines[0]) == [migrate.HEAD]


def version(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return [row[0] for row in connection.exec_driver_sql("SELECT version_num FROM alembic_version")]


def test_a_migration_that_fails_half_way_never_happened(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE images (id TEXT)")  # in the way of the last of its tables
    with pytest.raises(Exception, match="already exists"):
        migrate.upgrade(engine)
    assert inspect(engine).get_table_names() == ["images"]


def test_a_database_of_a_newer_version_is_left_alone(engine: Engine):
    migrate.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartupError, match="made by a newer Pinxit") as refused:
        migrate.upgrade(engine)
    assert "9999" in refused.value.message
    assert "restore a backup" in refused.value.message
    assert version(engine) == ["9999"]


@pytest.mark.parametrize(
    "statement", ["UPDATE transfers SET amount_micros = 1", "DELETE FROM transfers", "TRUNCATE transfers"]
)
def test_transfers_cannot_be_changed(engine: Engine, statement: str):
    if statement.startswith("TRUNCATE") and engine.dialect.name == "sqlite":
        return  # it has no such word
    migrate.upgrade(engine)
    with engine.connect() as connection:
        for id_ in ("a", "b"):
            connection.exec_driver_sql(f"INSERT INTO ledger_accounts VALUES ('{id_}', NULL, 'revenue', 0, 0)")
        connection.exec_driver_sql("INSERT INTO transfers VALUES ('t', 'post', 'a', 'b', 1, NULL, NULL, 0, NULL)")
        with pytest.raises(DBAPIError, match="a transfer is never changed"):
            connection.exec_driver_sql(statement)


@pytest.mark.parametrize(
    "statement", ["UPDATE audit_events SET at = 1", "DELETE FROM audit_events", "TRUNCATE audit_events"]
)
def test_audit_events_cannot_be_changed(engine: Engine, statement: str):
    if statement.startswith("TRUNCATE") and engine.dialect.name == "sqlite":
        return
    migrate.upgrade(engine)
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "INSERT INTO audit_events "
            "(id, at, actor_kind, actor_name, action, object_kind, object_id, object_label, changes) "
            "VALUES ('e', 0, 'system', '', 'key.created', 'api_key', 'k', '', '{}')"
        )
        with pytest.raises(DBAPIError, match="an audit event is never changed"):
            connection.exec_driver_sql(statement)
