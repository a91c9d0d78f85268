"""Usage added up in advance, so that a month is soon told: each account's orders up to a mark, by day, model and key.

What is behind the mark is added up when it is asked for. The mark stays an hour behind the clock and behind every order
that is still under way, so what it has passed changes no more. Nothing here is needed for a sum to be right: without it
the same sums only take longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
    type_coerce,
)

from pinxit.database.tables import accounts, generations, usage_days, usage_marks
from pinxit.database.types import Json, Timestamp
from pinxit.usage.times import Times, add_up_times, bucket_in_sql

EPOCH = date(1970, 1, 1)
SETTLED = timedelta(hours=1)
"""How long after a moment it is trusted to get no more orders: clocks of processes differ, and commits take time."""
AT_ONCE = timedelta(days=1)
"""So much is added up in one go at most."""
OPEN = ("queued", "in_progress")
ERRORS = ("failed", "unknown")
"""How orders end that somebody should look at; one that its client cancelled is none."""
DAY_MICROS = 86_400_000_000
_BUCKET: ColumnElement[int] = literal_column(
    f"CASE WHEN status = 'completed' AND finished_at IS NOT NULL THEN {bucket_in_sql('(finished_at - created_at)')} END"
)
_IS_OPEN = text("status IN ('queued', 'in_progress')")
"""In the words of the index of open orders, or SQLite would not use it."""
_BEGIN_MARK = text("""
    INSERT INTO usage_marks (account_id, added_until) VALUES (:account, :since) ON CONFLICT (account_id) DO NOTHING
""").bindparams(bindparam("since", type_=Timestamp))
_ENTER = text("""
    INSERT INTO usage_days (account_id, day, model, key_id, orders, images, errors, cost_micros, times)
    VALUES (:account_id, :day, :model, :key_id, :orders, :images, :errors, :cost_micros, :times)
    ON CONFLICT (account_id, day, model, key_id)
    DO UPDATE SET orders = excluded.orders, images = excluded.images, errors = excluded.errors,
                  cost_micros = excluded.cost_micros, times = excluded.times
""").bindparams(bindparam("times", type_=Json))

Place = tuple[int, str, str | None]
"""Day since 1970, model, id of the key."""


@dataclass(frozen=True, slots=True)
class Sum:
    """All orders of one day for one model by one key."""

    orders: int
    images: int
    errors: int
    cost_micros: int
    times: Times
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class Addition:
    """What is to be added to an account's books: its orders `since` the mark `until` the next."""

    account_id: str
    since: datetime
    until: datetime
    sums: dict[Place, Sum]


def list_days(connection: Connection, account_id: str, first: date, last: date) -> list[tuple[Place, Sum]]:
    """The sums of all days from `first` to `last`, in any order; a place may come twice."""
    mark = _mark(connection, account_id)
    start, end = start_of(first), start_of(last + timedelta(days=1))
    known: list[tuple[Place, Sum]] = []
    if mark is not None and mark > start:
        rows = connection.execute(
            select(usage_days).where(
                usage_days.c.account_id == account_id,
                usage_days.c.day >= (first - EPOCH).days,
                usage_days.c.day <= (last - EPOCH).days,
            )
        )
        known = [((row.day, row.model, row.key_id or None), _from_row(row)) for row in rows]
        start = mark
    return [*known, *(_add_up(connection, account_id, start, end).items() if start < end else ())]


def find_addition(connection: Connection, account_id: str, now: datetime) -> Addition | None:
    """What can be added to the books now, a day at most; None if there is nothing."""
    mark = _mark(connection, account_id)
    begun = _next_order(connection, account_id, mark)
    if begun is None:
        return None
    since, settled = mark or begun, now - SETTLED
    unfinished = connection.execute(
        select(func.min(generations.c.created_at)).where(_IS_OPEN, generations.c.account_id == account_id)
    ).scalar_one()
    until = min(settled, begun + AT_ONCE, *((unfinished,) if unfinished is not None else ()))
    if until <= begun:
        return None
    return Addition(account_id, since, until, _add_up(connection, account_id, since, until))


def enter(connection: Connection, addition: Addition) -> None:
    """Add it, unless somebody else has meanwhile."""
    mine = usage_marks.c.account_id == addition.account_id
    connection.execute(_BEGIN_MARK, {"account": addition.account_id, "since": addition.since})
    moved = connection.execute(
        usage_marks.update().where(mine, usage_marks.c.added_until == addition.since).values(added_until=addition.until)
    )
    if moved.rowcount != 1 or not addition.sums:
        return
    there = _known(connection, addition)
    rows = [_row(addition.account_id, place, _plus(there.get(place), each)) for place, each in addition.sums.items()]
    connection.execute(_ENTER, rows)


def list_accounts(connection: Connection) -> list[str]:
    return list(connection.execute(select(accounts.c.id).order_by(accounts.c.id)).scalars())


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _mark(connection: Connection, account_id: str) -> datetime | None:
    query = select(usage_marks.c.added_until).where(usage_marks.c.account_id == account_id)
    return connection.execute(query).scalar_one_or_none()


def _next_order(connection: Connection, account_id: str, mark: datetime | None) -> datetime | None:
    """When the first order that the mark has not passed was begun."""
    query = select(func.min(generations.c.created_at)).where(generations.c.account_id == account_id)
    if mark is not None:
        query = query.where(generations.c.created_at >= mark)
    found: datetime | None = connection.execute(query).scalar_one()
    return found


def _known(connection: Connection, addition: Addition) -> dict[Place, Sum]:
    days = {day for day, _, _ in addition.sums}
    rows = connection.execute(
        select(usage_days).where(usage_days.c.account_id == addition.account_id, usage_days.c.day.in_(days))
    )
    return {(row.day, row.model, row.key_id or None): _from_row(row) for row in rows}


def _add_up(connection: Connection, account_id: str, start: datetime, end: datetime) -> dict[Place, Sum]:
    """The orders that were begun from `start` until before `end`."""
    day: ColumnElement[Any] = type_coerce(generations.c.created_at, BigInteger) // DAY_MICROS
    by = (day.label("day"), generations.c.model, generations.c.api_key_id, _BUCKET.label("bucket"))
    rows = connection.execute(
        select(
            *by,
            func.count().label("orders"),
            func.sum(generations.c.image_count).label("images"),
            func.sum(case((generations.c.status.in_(ERRORS), 1), else_=0)).label("errors"),
            func.sum(case((generations.c.status == "completed", generations.c.cost_micros), else_=0)).label("cost"),
            func.sum(case((generations.c.status.in_(OPEN), 1), else_=0)).label("unfinished"),
        )
        .where(
            generations.c.account_id == account_id,
            generations.c.created_at >= start,
            generations.c.created_at < end,
        )
        .group_by(*by)
    )
    found: dict[Place, Sum] = {}
    for row in rows:
        times = Times({} if row.bucket is None else {int(row.bucket): row.orders})
        each = Sum(row.orders, int(row.images), int(row.errors), int(row.cost), times, int(row.unfinished))
        place = (int(row.day), row.model, row.api_key_id)
        found[place] = _plus(found.get(place), each)
    return found


def _plus(one: Sum | None, other: Sum) -> Sum:
    if one is None:
        return other
    return Sum(
        one.orders + other.orders,
        one.images + other.images,
        one.errors + other.errors,
        one.cost_micros + other.cost_micros,
        add_up_times([one.times, other.times]),
        one.unfinished + other.unfinished,
    )


def _from_row(row: Any) -> Sum:
    times = Times({int(bucket): count for bucket, count in row.times.items()})
    return Sum(row.orders, row.images, row.errors, row.cost_micros, times)


def _row(account_id: str, place: Place, each: Sum) -> dict[str, Any]:
    day, model, key_id = place
    return {
        "account_id": account_id,
        "day": day,
        "model": model,
        "key_id": key_id or "",
        "orders": each.orders,
        "images": each.images,
        "errors": each.errors,
        "cost_micros": each.cost_micros,
        "times": {str(bucket): count for bucket, count in sorted(each.times.counts.items())},
    }


def all_of(sums: Sequence[tuple[Place, Sum]]) -> dict[Place, Sum]:
    """Each place once."""
    found: dict[Place, Sum] = {}
    for place, each in sums:
        found[place] = _plus(found.get(place), each)
    return found
