"""Writing down a change, as a part of its transaction."""

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any

from sqlalchemy import Connection

from pinxit.audit.event import Action, Thing
from pinxit.audit.origin import Origin
from pinxit.database.tables import audit_events
from pinxit.ids import hide_secrets, new_id

MAX_CHARACTERS = 500
"""Of each text; the rest is cut off."""

_INSERT = audit_events.insert()


def note(
    connection: Connection,
    origin: Origin,
    action: Action,
    thing: Thing,
    *,
    account_id: str | None,
    at: datetime,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Write one event. Of `before` and `after`, the fields that differ are kept: dataclasses' fields, enums and times
    as they are. Give no secrets; what looks like one of ours is cut short all the same.
    """
    connection.execute(
        _INSERT,
        {
            "id": new_id("aud"),
            "at": at,
            "actor_kind": origin.actor.kind.value,
            "actor_id": origin.actor.id,
            "actor_name": _plain(origin.actor.name),
            "account_id": account_id,
            "action": action.value,
            "object_kind": thing.kind,
            "object_id": thing.id,
            "object_label": _plain(thing.label),
            "changes": changes(before or {}, after or {}),
            "request_id": origin.request_id,
            "address": origin.address,
        },
    )


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Field → before and after, of those that differ; empty is as good as not there."""
    pairs = {name: [_plain(before.get(name)), _plain(after.get(name))] for name in [*before, *after]}
    return {name: pair for name, pair in pairs.items() if (pair[0] or None) != (pair[1] or None)}


def _plain(value: Any) -> Any:
    """As JSON can hold it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return hide_secrets(str(value))[:MAX_CHARACTERS]
