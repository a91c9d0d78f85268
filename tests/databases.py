"""The engine below a test's own database, for tests that speak SQL to it."""

from collections.abc import Callable

from sqlalchemy import Engine

from pinxit.database import postgres, sqlite
from pinxit.database.opening import sqlite_file
from pinxit.settings import Settings

MakeEngine = Callable[[str], Engine]
"""Opens an empty database of the test's own by a name; the same name is the same database."""


def open_engine(settings: Settings) -> Engine:
    """Connections leave transactions to who uses them, as those of the databases themselves do."""
    if settings.database_url is None:
        return sqlite.open_engine(sqlite_file(settings))
    return postgres.open_engine(settings.database_url.get_secret_value())
