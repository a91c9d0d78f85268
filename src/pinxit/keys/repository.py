"""Rows of API keys. Every statement names its account; only the look-up by hash does not, since it finds the
account.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, select

from pinxit.database.tables import api_keys
from pinxit.images.request import Delivery
from pinxit.keys.model import ApiKey, Budgets, KeyOptions, Limits, Scope


def insert(connection: Connection, key: ApiKey, secret_sha256: str) -> None:
    connection.execute(
        api_keys.insert().values(
            id=key.id,
            account_id=key.account_id,
            prefix=key.prefix,
            last4=key.last4,
            secret_sha256=secret_sha256,
            created_at=key.created_at,
            **_option_columns(key.options),
        )
    )


def find_by_digest(connection: Connection, secret_sha256: str) -> tuple[ApiKey, str] | None:
    """The key with this hash, and the hash as it is kept."""
    row = connection.execute(select(api_keys).where(api_keys.c.secret_sha256 == secret_sha256)).first()
    return (_from_row(row), row.secret_sha256) if row else None


def find(connection: Connection, account_id: str, key_id: str) -> ApiKey | None:
    row = connection.execute(
        select(api_keys).where(api_keys.c.account_id == account_id, api_keys.c.id == key_id)
    ).first()
    return _from_row(row) if row else None


def find_to_change(connection: Connection, account_id: str, key_id: str) -> ApiKey | None:
    """As `find`; until the end of the transaction nobody else changes it."""
    row = connection.execute(
        select(api_keys)
        .where(api_keys.c.account_id == account_id, api_keys.c.id == key_id)
        .with_for_update(key_share=True)
    ).first()
    return _from_row(row) if row else None


def list_newest(connection: Connection, account_id: str) -> list[ApiKey]:
    rows = connection.execute(
        select(api_keys)
        .where(api_keys.c.account_id == account_id)
        .order_by(api_keys.c.created_at.desc(), api_keys.c.id)
    )
    return [_from_row(row) for row in rows]


def any_exists(connection: Connection) -> bool:
    return connection.execute(select(api_keys.c.id).limit(1)).first() is not None


def update_options(connection: Connection, account_id: str, key_id: str, options: KeyOptions) -> None:
    connection.execute(
        api_keys.update()
        .where(api_keys.c.account_id == account_id, api_keys.c.id == key_id)
        .values(**_option_columns(options))
    )


def revoke(connection: Connection, account_id: str, key_id: str, now: datetime) -> bool:
    """Whether it was not revoked before: the first revocation counts, a second changes nothing."""
    revoked = connection.execute(
        api_keys.update()
        .where(api_keys.c.account_id == account_id, api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    return revoked.rowcount == 1


def touch(connection: Connection, key_id: str, now: datetime) -> None:
    connection.execute(api_keys.update().where(api_keys.c.id == key_id).values(last_used_at=now))


def _option_columns(options: KeyOptions) -> dict[str, Any]:
    return {
        "name": options.name,
        "scopes": [scope.value for scope in options.scopes],
        "models": None if options.models is None else list(options.models),
        "default_delivery": options.default_delivery and options.default_delivery.value,
        "strict": options.strict,
        "url_ttl_seconds": options.url_ttl_seconds,
        "expires_at": options.expires_at,
        "limits": _set_ones(options.limits),
        "budgets": _set_ones(options.budgets),
        "disabled": options.disabled,
    }


def _set_ones(options: Limits | Budgets) -> dict[str, int]:
    return {name: value for name, value in asdict(options).items() if value is not None}


def _from_row(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        account_id=row.account_id,
        prefix=row.prefix,
        last4=row.last4,
        options=KeyOptions(
            name=row.name,
            scopes=tuple(Scope(scope) for scope in row.scopes),
            models=None if row.models is None else tuple(row.models),
            default_delivery=Delivery(row.default_delivery) if row.default_delivery else None,
            strict=row.strict,
            url_ttl_seconds=row.url_ttl_seconds,
            expires_at=row.expires_at,
            limits=Limits(**row.limits),
            budgets=Budgets(**row.budgets),
            disabled=row.disabled,
        ),
        created_at=row.created_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
