"""Brings a database up to date with Alembic. Each migration is one transaction: killed half way, it never happened."""

from pathlib import Path

from sqlalchemy import Connection, Engine, text

from pinxit.errors import StartupError

HEAD = "0005"
"""The newest migration. A database that is there already needs no Alembic (and no import of it) at start."""

MIGRATIONS = Path(__file__).parent / "migrations"


def upgrade(engine: Engine) -> None:
    """Run what is missing. Raises StartupError if the database was made by a newer Pinxit."""
    with engine.connect() as connection:
        if _current(connection) == HEAD:
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            _run_alembic(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def _current(connection: Connection) -> str | None:
    table = text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version'")
    if connection.execute(table).first() is None:
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
