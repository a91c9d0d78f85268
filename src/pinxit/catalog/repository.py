"""Rows of changes. The row without a model stands for the catalogue as a whole: its version grows with every change, so
that one short question tells whether there is anything new; and whoever changes something has it to himself meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from pinxit.catalog.changes import Changes, ModelChange, from_json, to_json
from pinxit.database.tables import model_changes

WHOLE = ""
DEFAULT = "default_model"


@dataclass(frozen=True, slots=True)
class Kept:
    """The change of a model. `version`: of the catalogue, from when on it has been like this."""

    change: ModelChange
    version: int
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All changes at one moment."""

    version: int
    default_model: str | None
    models: Mapping[str, Kept]

    @property
    def changes(self) -> Changes:
        return Changes({model: kept.change for model, kept in self.models.items()}, self.default_model)


def version(connection: Connection) -> int:
    return int(connection.execute(select(model_changes.c.version).where(model_changes.c.model == WHOLE)).scalar_one())


def read(connection: Connection) -> Snapshot:
    rows = {row.model: row for row in connection.execute(select(model_changes))}
    whole = rows.pop(WHOLE)
    kept = {
        row.model: Kept(from_json(row.change), row.version, row.changed_at, row.changed_by) for row in rows.values()
    }
    return Snapshot(whole.version, whole.change.get(DEFAULT), kept)


def read_to_change(connection: Connection) -> Snapshot:
    """As `read`; until the end of the transaction nobody else changes anything."""
    connection.execute(select(model_changes.c.version).where(model_changes.c.model == WHOLE).with_for_update())
    return read(connection)


def keep(connection: Connection, before: Snapshot, model: str, change: ModelChange, now: datetime, by: str) -> None:
    """Another change of a model, instead of the one that is there."""
    values = _values(before, to_json(change), now, by)
    if model in before.models:
        connection.execute(model_changes.update().where(model_changes.c.model == model).values(values))
    else:
        connection.execute(model_changes.insert().values(model=model, **values))
    connection.execute(model_changes.update().where(model_changes.c.model == WHOLE).values(version=values["version"]))


def keep_default(connection: Connection, before: Snapshot, model: str | None, now: datetime, by: str) -> None:
    """Another default model; None: the configured one."""
    change = {} if model is None else {DEFAULT: model}
    connection.execute(
        model_changes.update().where(model_changes.c.model == WHOLE).values(_values(before, change, now, by))
    )


def _values(before: Snapshot, change: Mapping[str, Any], now: datetime, by: str) -> dict[str, Any]:
    return {"version": before.version + 1, "change": change, "changed_at": now, "changed_by": by}
