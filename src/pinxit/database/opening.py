"""The one place that knows which database the settings mean."""

from pathlib import Path

from pinxit.database.interface import Database
from pinxit.errors import StartupError
from pinxit.settings import Settings

DATABASE_FILE = "pinxit.db"


def open_database(settings: Settings) -> Database:
    """Open the database of these settings and bring it up to date: that of `database_url`, else the data folder's.

    Raises StartupError, saying in one sentence what is wrong and what to do.
    """
    if settings.database_url is None:
        from pinxit.database import sqlite

        return sqlite.open_database(sqlite_file(settings))
    try:
        from pinxit.database import postgres
    except ImportError as error:
        raise StartupError(
            "database_url names a PostgreSQL database, and its driver is not installed: pip install 'pinxit[postgres]'."
        ) from error
    return postgres.open_database(settings.database_url.get_secret_value())


def sqlite_file(settings: Settings) -> Path:
    """Where SQLite keeps the rows, if `database_url` is not set."""
    return settings.data_dir / DATABASE_FILE
