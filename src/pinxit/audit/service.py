"""Reading what was noted."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, literal, or_, select, tuple_

from pinxit.audit.event import Event, Filters, Thing
from pinxit.audit.origin import Actor, ActorKind
from pinxit.database.interface import Database
from pinxit.database.tables import audit_events
from pinxit.database.types import Timestamp
from pinxit.errors import NotFound

_T = audit_events.c


class AuditService:
    """Events of all accounts; `Filters` say whose."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, filters: Filters, *, after: str | None = None, limit: int) -> Sequence[Event]:
        """Newest first. Raises NotFound if `after` is no event that these filters could show."""

        def unit(connection: Connection) -> Sequence[Event] | None:
            return _list(connection, filters, after, limit)

        found = await self._database.read(unit)
        if found is None:
            raise NotFound("There is no such event.", param="after")
        return found


def days(first: date | None, last: date | None) -> tuple[datetime | None, datetime | None]:
    """The first moment, and the one behind the last: days are those of UTC."""
    since = None if first is None else datetime.combine(first, time(), UTC)
    until = None if last is None or last == date.max else datetime.combine(last, time(), UTC) + timedelta(days=1)
    return since, until


def _list(connection: Connection, filters: Filters, after: str | None, limit: int) -> Sequence[Event] | None:
    """None if `after` is not there."""
    query = select(audit_events).where(*_wanted(filters)).order_by(_T.at.desc(), _T.id.desc()).limit(limit)
    if after is not None:
        own = () if filters.account_id is None else (_T.account_id == filters.account_id,)
        place = connection.execute(select(_T.at, _T.id).where(_T.id == after, *own)).first()
        if place is None:
            return None
        query = query.where(tuple_(_T.at, _T.id) < tuple_(literal(place.at, Timestamp), place.id))
    return [_from_row(row) for row in connection.execute(query)]


def _wanted(filters: Filters) -> list[ColumnElement[bool]]:
    wanted: list[ColumnElement[bool]] = []
    if filters.account_id is not None:
        wanted.append(_T.account_id == filters.account_id)
    if filters.actor:
        wanted.append(or_(_T.actor_name == filters.actor, _T.actor_id == filters.actor))
    if filters.action.endswith("."):
        wanted.append(_T.action.startswith(filters.action, autoescape=True))
    elif filters.action:
        wanted.append(_T.action == filters.action)
    if filters.since is not None:
        wanted.append(_T.at >= filters.since)
    if filters.until is not None:
        wanted.append(_T.at < filters.until)
    return wanted


def _from_row(row: Row[Any]) -> Event:
    return Event(
        id=row.id,
        at=row.at,
        actor=Actor(ActorKind(row.actor_kind), row.actor_id, row.actor_name),
        account_id=row.account_id,
        action=row.action,
        thing=Thing(row.object_kind, row.object_id, row.object_label),
        changes={name: (before, after) for name, (before, after) in row.changes.items()},
        request_id=row.request_id,
        address=row.address,
    )
