"""Who pays. Everything belongs to an account; a new installation has one, `acct_default`."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, select, text

from pinxit.database.tables import accounts
from pinxit.database.types import Timestamp
from pinxit.errors import NotFound
from pinxit.ids import new_id

DEFAULT_ACCOUNT = "acct_default"


_INSERT = text(
    "INSERT INTO accounts (id, name, created_at) VALUES (:id, :name, :now) ON CONFLICT (id) DO NOTHING"
).bindparams(bindparam("now", type_=Timestamp))


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
        connection.execute(_INSERT, {"id": DEFAULT_ACCOUNT, "name": "default", "now": now})


def create(connection: Connection, name: str, now: datetime) -> str:
    """A new account. Its id."""
    account_id = new_id("acct")
    connection.execute(_INSERT, {"id": account_id, "name": name, "now": now})
    return account_id


def list_all(connection: Connection) -> list[Account]:
    """The oldest first."""
    rows = connection.execute(select(accounts).order_by(accounts.c.created_at, accounts.c.id))
    return [Account(row.id, row.name, row.created_at) for row in rows]


def require(connection: Connection, account_id: str) -> None:
    """Raises NotFound."""
    if connection.execute(select(accounts.c.id).where(accounts.c.id == account_id)).first() is None:
        raise NotFound("There is no such account; `pinxit accounts list` shows them.", param="account")
