"""Who pays. Everything belongs to an account; a new installation has one, `acct_default`."""

from datetime import datetime

from sqlalchemy import Connection, select

from pinxit.database.tables import accounts

DEFAULT_ACCOUNT = "acct_default"


def ensure_default(connection: Connection, now: datetime) -> None:
    """Make the default account if it is not there yet."""
    there = connection.execute(select(accounts.c.id).where(accounts.c.id == DEFAULT_ACCOUNT)).first()
    if there is None:
        connection.execute(accounts.insert().values(id=DEFAULT_ACCOUNT, name="default", created_at=now))
