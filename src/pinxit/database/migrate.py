"""Brings a database up to date with Alembic, in one transaction: killed half way, it never happened.

Several processes may begin at once. One does it; the others wait, and find it done.
"""

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

from pinxit.errors import StartupError

HEAD = "0009"
"""The newest migration. A database that is there already needs no Alembic (and no import of it) at start."""

MIGRATIONS = Path(__file__).parent / "migrations"

_BEGIN = {
    "sqlite": ("BEGIN IMMEDIATE",),
    "postgresql": (
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL lock_timeout = 0",
        "SELECT pg_advisory_xact_lock(7308900641212265332)",  # any number, as long as nobody else has it
    ),
}
"""Each alone in the database until it is done."""


def upgrade(engine: Engine) -> None:
    """Run what is missing. Raises StartupError if the database was made by a newer Pinxit."""
    with engine.connect() as connection:
        if _current(connection) == HEAD:
            return
        for statement in _BEGIN[engine.dialect.name]:
            connection.exec_driver_sql(statement)
        try:
            _run_alembic(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _run_alembic(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise StartupError(
            f"The database was made by a newer Pinxit ({error}). Start that version, or restore a backup of this one."
        ) from error
