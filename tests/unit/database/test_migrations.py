"""The migrations lead to the tables that the code knows, and take along what was there."""

from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, text

from databases import MakeEngine
from pinxit.database.migrate import HEAD, MIGRATIONS, upgrade
from pinxit.database.tables import metadata
from pinxit.ledger.invariants import check

pytestmark = pytest.mark.both_databases


def migrate(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_the_tables_are_as_the_newest_migration_leaves_them(make_engine: MakeEngine) -> None:
    engine = make_engine("one")
    upgrade(engine)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == HEAD
    assert differences == []


def insert(connection: Connection, table: str, **values: object) -> None:
    names = ", ".join(values)
    places = ", ".join(f":{name}" for name in values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES ({places})"), values)


def insert_order(connection: Connection, id_: str, at: int, status: str, held: int, posted: int | None) -> None:
    insert(
        connection,
        "generations",
        id=id_,
        account_id="acct",
        api_key_id="key",
        request_id="req",
        status=status,
        model="m",
        requested_model="m",
        prompt="p",
        parameters="{}",
        storage_keys="[]",
        cost_micros=posted or 0,
        input_tokens=0,
        output_tokens=0,
        created_at=at,
    )
    insert(
        connection,
        "holds",
        generation_id=id_,
        ledger_account_id="unbilled:acct",
        amount_micros=held,
        posted_micros=posted,
        status={"completed": "posted", "queued": "held"}[status],
        created_at=at,
    )


def test_what_keys_spent_before_there_were_budgets_counts(make_engine: MakeEngine) -> None:
    engine = make_engine("one")
    migrate(engine, "0002")
    november = int(datetime(2026, 11, 30, 23, 59, tzinfo=UTC).timestamp()) * 1_000_000
    december = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp()) * 1_000_000
    with engine.connect() as connection:
        insert(connection, "accounts", id="acct", name="", created_at=0)
        insert(
            connection,
            "api_keys",
            id="key",
            account_id="acct",
            name="",
            prefix="",
            last4="",
            secret_sha256="",
            scopes="[]",
            strict=False,
            created_at=0,
        )
        for kind, balance, held in (("unbilled", -50, 7), ("revenue", 50, 0)):
            id_ = "unbilled:acct" if kind == "unbilled" else kind
            insert(connection, "ledger_accounts", id=id_, kind=kind, balance_micros=balance, held_micros=held)
        insert_order(connection, "one", november, "completed", 40, 30)
        insert_order(connection, "two", december, "completed", 20, 20)
        insert_order(connection, "three", december, "queued", 7, None)
        for number, (order, micros) in enumerate((("one", 30), ("two", 20))):
            insert(
                connection,
                "transfers",
                id=f"tr_{number}",
                kind="post",
                debit_id="unbilled:acct",
                credit_id="revenue",
                amount_micros=micros,
                generation_id=order,
                created_at=0,
            )
        assert [problem for problem in check_before(connection) if problem] == []
    migrate(engine, "head")
    with engine.connect() as connection:
        assert check(connection) == []
        query = text("SELECT period, spent_micros, held_micros FROM key_spend ORDER BY period, period_start")
        assert [tuple(row) for row in connection.execute(query)] == [
            ("day", 30, 0),
            ("day", 20, 7),
            ("month", 30, 0),
            ("month", 20, 7),
            ("total", 50, 7),
        ]


def check_before(connection: Connection) -> list[int]:
    """That the test's own books balance."""
    return [connection.execute(text("SELECT SUM(balance_micros) FROM ledger_accounts")).scalar_one()]
