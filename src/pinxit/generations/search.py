"""Looking for orders: what is asked and what is found."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import ColumnElement, Connection, and_, false, or_, select
from sqlalchemy.engine import Row

from pinxit.database.tables import generations
from pinxit.generations import repository
from pinxit.generations.generation import Generation, Status
from pinxit.library.search import WITHOUT_KEY, spellings

LOOKED_THROUGH = 10_000
"""So many orders one look for some goes through, so that it takes some milliseconds whatever is asked."""


class Outcome(StrEnum):
    """What became of an order, in a person's words."""

    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    OPEN = "open"

    @property
    def statuses(self) -> tuple[Status, ...]:
        match self:
            case Outcome.COMPLETED:
                return (Status.COMPLETED,)
            case Outcome.FAILED:
                return (Status.FAILED, Status.UNKNOWN)
            case Outcome.CANCELLED:
                return (Status.CANCELLED,)
            case Outcome.OPEN:
                return (Status.QUEUED, Status.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Search:
    """None: any. `key_id`: of an API key, or WITHOUT_KEY. `error_classes`: one of these, or none of these if
    `is_other_error`. `since` and `before`: when it was begun. `words`: each is somewhere in the prompt.
    """

    model: str | None = None
    key_id: str | None = None
    outcome: Outcome | None = None
    error_classes: Collection[str] | None = None
    is_other_error: bool = False
    since: datetime | None = None
    before: datetime | None = None
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """Some of what was looked for, newest first, without their pictures. `after`: where to look on, None at the end;
    `reached`: how far back that is, if there may be more than what was found. One look goes through a limited number of
    orders, so `orders` may be empty while there is more.
    """

    orders: list[Generation]
    after: str | None
    reached: datetime | None


def search(connection: Connection, account_id: str, wanted: Search, *, after: str | None, limit: int) -> Found | None:
    """At most `limit` orders older than `after` among the next LOOKED_THROUGH; None if there is no such order."""
    mine: list[ColumnElement[bool]] = [generations.c.account_id == account_id]
    if after is not None:
        start = _place(connection, account_id, after)
        if start is None:
            return None
        mine += _older(start)
    if wanted.before is not None:
        mine.append(generations.c.created_at < wanted.before)
    since = [] if wanted.since is None else [generations.c.created_at >= wanted.since]
    floor = connection.execute(
        select(generations.c.created_at, generations.c.id)
        .where(*mine, *since)
        .order_by(*_NEWEST_FIRST)
        .offset(LOOKED_THROUGH - 1)
        .limit(1)
    ).first()
    # Of two lower bounds SQLite reads the index by the first one, not by the nearer one.
    mine += since if floor is None else _not_older(floor)
    query = select(generations).where(*mine, *_conditions(wanted)).order_by(*_NEWEST_FIRST).limit(limit + 1)
    rows = connection.execute(query).all()
    orders = [repository.from_row(connection, row, with_images=False) for row in rows[:limit]]
    if len(rows) > limit:
        return Found(orders, rows[limit - 1].id, None)
    return Found(orders, None, None) if floor is None else Found(orders, floor.id, floor.created_at)


_NEWEST_FIRST = (generations.c.created_at.desc(), generations.c.id.desc())


def _place(connection: Connection, account_id: str, generation_id: str) -> Row[datetime, str] | None:
    return connection.execute(
        select(generations.c.created_at, generations.c.id).where(
            generations.c.account_id == account_id, generations.c.id == generation_id
        )
    ).first()


def _older(start: Row[datetime, str]) -> list[ColumnElement[bool]]:
    """The first condition follows from the second; it is what an index is read by."""
    same_moment = and_(generations.c.created_at == start.created_at, generations.c.id < start.id)
    return [generations.c.created_at <= start.created_at, or_(generations.c.created_at < start.created_at, same_moment)]


def _not_older(floor: Row[datetime, str]) -> list[ColumnElement[bool]]:
    same_moment = and_(generations.c.created_at == floor.created_at, generations.c.id >= floor.id)
    return [generations.c.created_at >= floor.created_at, or_(generations.c.created_at > floor.created_at, same_moment)]


def _conditions(wanted: Search) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.model is not None:
        found.append(generations.c.model == wanted.model)
    if wanted.key_id is not None:
        key_id = None if wanted.key_id == WITHOUT_KEY else wanted.key_id
        found.append(generations.c.api_key_id.is_not_distinct_from(key_id))
    if wanted.outcome is not None:
        found.append(generations.c.status.in_([status.value for status in wanted.outcome.statuses]))
    if wanted.error_classes is not None:
        found.append(_is_error(wanted.error_classes, wanted.is_other_error))
    found += [
        or_(*(generations.c.prompt.icontains(spelling, autoescape=True) for spelling in spellings(word)))
        for word in wanted.words
    ]
    return found


def _is_error(classes: Collection[str], is_other: bool) -> ColumnElement[bool]:
    if is_other:
        return and_(generations.c.error_class.is_not(None), generations.c.error_class.not_in(classes))
    return generations.c.error_class.in_(classes) if classes else false()
