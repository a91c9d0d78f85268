"""Rows of endpoints. Every statement names its account."""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select

from pinxit.database.prepared import Prepared
from pinxit.database.tables import accounts, webhook_deliveries, webhook_endpoints
from pinxit.webhooks.model import Endpoint, EndpointOptions, EventType


def insert(connection: Connection, endpoint: Endpoint, *, most: int) -> bool:
    """False, and nothing is kept, if the account has `most` already."""
    mine = webhook_endpoints.c.account_id == endpoint.account_id
    one_at_a_time = select(accounts.c.id).where(accounts.c.id == endpoint.account_id).with_for_update(key_share=True)
    connection.execute(one_at_a_time)
    if connection.execute(select(func.count()).select_from(webhook_endpoints).where(mine)).scalar_one() >= most:
        return False
    connection.execute(
        webhook_endpoints.insert().values(
            id=endpoint.id, account_id=endpoint.account_id, created_at=endpoint.created_at, **_columns(endpoint)
        )
    )
    return True


def update(connection: Connection, endpoint: Endpoint) -> None:
    connection.execute(
        webhook_endpoints.update()
        .where(webhook_endpoints.c.account_id == endpoint.account_id, webhook_endpoints.c.id == endpoint.id)
        .values(**_columns(endpoint))
    )


def find(connection: Connection, account_id: str, endpoint_id: str) -> Endpoint | None:
    row = connection.execute(
        select(webhook_endpoints).where(
            webhook_endpoints.c.account_id == account_id, webhook_endpoints.c.id == endpoint_id
        )
    ).first()
    return from_row(row) if row else None


def find_to_change(connection: Connection, account_id: str, endpoint_id: str) -> Endpoint | None:
    """As `find`; until the end of the transaction nobody else changes it."""
    row = connection.execute(
        select(webhook_endpoints)
        .where(webhook_endpoints.c.account_id == account_id, webhook_endpoints.c.id == endpoint_id)
        .with_for_update(key_share=True)
    ).first()
    return from_row(row) if row else None


def list_newest(connection: Connection, account_id: str) -> list[Endpoint]:
    rows = connection.execute(
        select(webhook_endpoints)
        .where(webhook_endpoints.c.account_id == account_id)
        .order_by(webhook_endpoints.c.created_at.desc(), webhook_endpoints.c.id)
    )
    return [from_row(row) for row in rows]


_ACTIVE = (
    select(webhook_endpoints)
    .where(webhook_endpoints.c.account_id == bindparam("of_account"), webhook_endpoints.c.is_active.is_(True))
    .order_by(webhook_endpoints.c.id)
    .with_for_update(read=True, key_share=True)
)
_ANY_ACTIVE = Prepared(_ACTIVE)
"""It runs for every order, and most accounts have none."""


def list_active(connection: Connection, account_id: str) -> list[Endpoint]:
    """Until the end of the transaction none of them is deleted."""
    of_account = {"of_account": account_id}
    if _ANY_ACTIVE.run(connection, of_account).fetchone() is None:
        return []
    return [from_row(row) for row in connection.execute(_ACTIVE, of_account)]


def delete(connection: Connection, account_id: str, endpoint_id: str) -> bool:
    """Remove the endpoint and its deliveries. False if there is none."""
    mine = (webhook_endpoints.c.account_id == account_id, webhook_endpoints.c.id == endpoint_id)
    if connection.execute(select(webhook_endpoints.c.id).where(*mine).with_for_update()).first() is None:
        return False
    connection.execute(webhook_deliveries.delete().where(webhook_deliveries.c.endpoint_id == endpoint_id))
    connection.execute(webhook_endpoints.delete().where(*mine))
    return True


def disable(connection: Connection, endpoint: Endpoint, reason: str) -> None:
    update(connection, replace(endpoint, options=replace(endpoint.options, is_active=False), disabled_reason=reason))


def _columns(endpoint: Endpoint) -> dict[str, Any]:
    options = endpoint.options
    return {
        "url": options.url,
        "events": None if options.events is None else [type_.value for type_ in options.events],
        "description": options.description,
        "is_active": options.is_active,
        "disabled_reason": endpoint.disabled_reason,
        "secret_salt": endpoint.secret_salt,
        "secret_check": endpoint.secret_check,
        "previous_salt": endpoint.previous_salt,
        "previous_until": endpoint.previous_until,
    }


def from_row(row: Row[Any]) -> Endpoint:
    return Endpoint(
        id=row.id,
        account_id=row.account_id,
        options=EndpointOptions(
            url=row.url,
            events=None if row.events is None else tuple(EventType(name) for name in row.events),
            description=row.description,
            is_active=row.is_active,
        ),
        secret_salt=row.secret_salt,
        secret_check=row.secret_check,
        created_at=row.created_at,
        previous_salt=row.previous_salt,
        previous_until=row.previous_until,
        disabled_reason=row.disabled_reason,
    )
