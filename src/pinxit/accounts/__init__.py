"""Who pays. Everything belongs to an account; a new installation has one, `acct_default`."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from pinxit.database.tables import accounts
from pinxit.errors import NotFound

DEFAULT_ACCOUNT = "acct_default"


@dataclass(frozen=True, slots=True)
class Account:
    """Who pays."""

    id: str
    name: str
    created_at: datetime


def ensure_default(connection: Connection, now: datetime) -> None:
    """Make the default account if it is not there yet."""
    there = connection.execute(select(accounts.c.id).where(accounts.c.id == DEFAULT_ACCOUNT)).first()
    if there is None:
        connection.execute(accounts.insert().values(id=DEFAULT_ACCOUNT, name="default", created_at=now))


def list_all(connection: Connection) -> list[Account]:
    """The oldest first."""
    rows = connection.execute(select(accounts).order_by(accounts.c.created_at, accounts.c.id))
    return [Account(row.id, row.name, row.created_at) for row in rows]


def require(connection: Connection, account_id: str) -> None:
    """Raises NotFound."""
    if connection.execute(select(accounts.c.id).where(accounts.c.id == account_id)).first() is None:
        raise NotFound("There is no such account; `pinxit accounts list` shows them.", param="account")
