"""Rows of credentials. One that is removed stays as a row without its value, so that other processes hear of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, select
from sqlalchemy.exc import IntegrityError

from pinxit.credentials.model import StoredCredential
from pinxit.database.tables import accounts
from pinxit.database.tables import provider_credentials as table
from pinxit.errors import Conflict


def list_changed(connection: Connection, since: datetime | None) -> list[StoredCredential]:
    """Those set, sealed anew or removed at `since` or later; None: all that have not been removed."""
    query = select(table).where(table.c.sealed.is_not(None) if since is None else table.c.changed_at >= since)
    return [_from_row(row) for row in connection.execute(query)]


def has_account(connection: Connection, account_id: str) -> bool:
    return connection.execute(select(accounts.c.id).where(accounts.c.id == account_id)).first() is not None


def list_of(connection: Connection, account_id: str | None) -> list[StoredCredential]:
    """An account's own, or the house's, by provider."""
    rows = connection.execute(select(table).where(_of(account_id), table.c.sealed.is_not(None)))
    return sorted(map(_from_row, rows), key=lambda stored: stored.provider)


def put(connection: Connection, stored: StoredCredential) -> None:
    """In the place of the one that its account has for the provider. Raises Conflict if somebody else sets one now."""
    same = and_(_of(stored.account_id), table.c.provider == stored.provider)
    values = {
        "sealed": stored.sealed,
        "hint": stored.hint,
        "may_fall_back": stored.may_fall_back,
        "created_by": stored.created_by,
        "created_at": stored.created_at,
        "changed_at": stored.changed_at,
        "used_at": None,
    }
    if connection.execute(table.update().where(same).values(values)).rowcount == 0:
        own = {"id": stored.id, "provider": stored.provider, "account_id": stored.account_id}
        try:
            connection.execute(table.insert().values(**own, **values))
        except IntegrityError as error:
            raise Conflict("This credential is being set by somebody else. Look at it, and try once more.") from error


def remove(connection: Connection, provider: str, account_id: str | None, now: datetime) -> bool:
    """False if there is none."""
    there = and_(_of(account_id), table.c.provider == provider, table.c.sealed.is_not(None))
    gone = table.update().where(there).values(sealed=None, hint="", changed_at=now)
    return connection.execute(gone).rowcount == 1


def reseal(connection: Connection, stored: StoredCredential, sealed: str, now: datetime) -> bool:
    """False if it has changed meanwhile."""
    same = and_(table.c.id == stored.id, table.c.sealed == stored.sealed)
    return connection.execute(table.update().where(same).values(sealed=sealed, changed_at=now)).rowcount == 1


def touch(connection: Connection, used: dict[str, datetime]) -> None:
    """Note when they were used. `used`: by id."""
    for id_, moment in sorted(used.items()):
        connection.execute(table.update().where(table.c.id == id_).values(used_at=moment))


def _of(account_id: str | None) -> ColumnElement[bool]:
    return table.c.account_id.is_(None) if account_id is None else table.c.account_id == account_id


def _from_row(row: Row[Any]) -> StoredCredential:
    return StoredCredential(
        id=row.id,
        provider=row.provider,
        account_id=row.account_id,
        sealed=row.sealed,
        hint=row.hint,
        may_fall_back=row.may_fall_back,
        created_by=row.created_by,
        created_at=row.created_at,
        changed_at=row.changed_at,
        used_at=row.used_at,
    )
