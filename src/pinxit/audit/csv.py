"""Events as a table that spreadsheets read (RFC 4180), and as JSON."""

import csv
import io
import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from pinxit.audit.event import Event

COLUMNS = (
    "at", "id", "actor_kind", "actor_id", "actor_name", "action", "account", "object_kind", "object_id",
    "object_label", "changes", "request_id", "address",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for the beginning of a formula
(https://owasp.org/www-community/attacks/CSV_Injection).
"""


def to_csv(events: Sequence[Event]) -> str:
    """A line of names, then one for each event."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(COLUMNS)
    for event in events:
        writer.writerow([_harmless(text) for text in _cells(event)])
    return out.getvalue()


def shape(event: Event) -> dict[str, Any]:
    """For programs."""
    return {
        "id": event.id,
        "object": "audit_event",
        "at": event.at.astimezone(UTC).isoformat(),
        "actor": {"kind": event.actor.kind.value, "id": event.actor.id, "name": event.actor.name},
        "action": event.action,
        "account": event.account_id,
        "subject": {"kind": event.thing.kind, "id": event.thing.id, "label": event.thing.label},
        "changes": {name: {"before": before, "after": after} for name, (before, after) in event.changes.items()},
        "request_id": event.request_id,
        "address": event.address,
    }


def _cells(event: Event) -> list[str]:
    changes = json.dumps(event.changes, ensure_ascii=False) if event.changes else ""
    cells = (
        event.at.astimezone(UTC).isoformat(), event.id, event.actor.kind.value, event.actor.id, event.actor.name,
        event.action, event.account_id, event.thing.kind, event.thing.id, event.thing.label, changes,
        event.request_id, event.address,
    )  # fmt: skip
    return [cell or "" for cell in cells]


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
