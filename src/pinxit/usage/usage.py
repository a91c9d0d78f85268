"""Orders, pictures, errors and money of an account, added up."""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, case, func, select, type_coerce

from pinxit.database.interface import Database
from pinxit.database.tables import api_keys, generations, key_spend
from pinxit.errors import InvalidValue

DEFAULT_DAYS = 30
MAX_DAYS = 366
_DAY_MICROS = 86_400_000_000
RECENT = timedelta(days=7)
RECENT_ORDERS = 1000
"""How many orders are looked at for times and success: enough for a figure, and soon read."""
_EPOCH = date(1970, 1, 1)
_OPEN = ("queued", "in_progress")
_SETTLED = timedelta(hours=1)
"""How long after its end a day is trusted to get no more orders: clocks of processes differ, and commits take time."""
MOST_REMEMBERED = 100_000
"""Sums in memory, of all accounts together."""
_ERRORS = ("failed", "unknown")
"""How orders end that somebody should look at; one that its client cancelled is none."""


class Group(StrEnum):
    """What usage can be told apart by."""

    DAY = "day"
    MODEL = "model"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Query:
    """The days of UTC from `first` to `last`, both included; an order belongs to the day it was begun on."""

    first: date
    last: date
    groups: tuple[Group, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """One sum. `day`, `model` and `key_id` are None unless it is by them; `key_id` is also None for orders from the
    command line.
    """

    orders: int
    images: int
    errors: int
    cost_micros: int
    day: date | None = None
    model: str | None = None
    key_id: str | None = None
    key_name: str | None = None
    unfinished: int = 0
    """So many of the orders are still under way."""


def query(first: date | None, last: date | None, groups: Sequence[Group], *, today: date) -> Query:
    """What is left open is the last 30 days, by day. Raises InvalidValue."""
    last = last or max(today, first or today)
    first = first or last - timedelta(days=min(DEFAULT_DAYS - 1, (last - _EPOCH).days))
    if first < _EPOCH or last.year > 9000:
        raise InvalidValue("from and to must be days from 1970 to 9000.", param="from" if first < _EPOCH else "to")
    if first > last:
        raise InvalidValue("from must not be after to.", param="from")
    if (last - first).days >= MAX_DAYS:
        raise InvalidValue(f"from and to must not be more than {MAX_DAYS} days apart.", param="from")
    return Query(first, last, tuple(dict.fromkeys(groups)) or (Group.DAY,))


@dataclass(frozen=True, slots=True)
class Recent:
    """How the last orders for one model went: how long those took that were painted, sorted, from asked to kept."""

    seconds: tuple[float, ...]
    errors: int

    @property
    def success(self) -> float:
        """From 0 to 1."""
        return len(self.seconds) / (len(self.seconds) + self.errors)

    def quantile(self, share: float) -> float | None:
        """The time that this share of them did not exceed, by the nearest rank; None if none was painted."""
        return self.seconds[max(0, math.ceil(share * len(self.seconds)) - 1)] if self.seconds else None


class UsageService:
    """Adds up what is in the books."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now
        self._remembered = _Days(MOST_REMEMBERED)

    def query(self, first: date | None, last: date | None, groups: Sequence[Group]) -> Query:
        """As `usage.query`, by today's date."""
        return query(first, last, groups, today=self._now().astimezone(UTC).date())

    async def list(self, account_id: str, wanted: Query) -> list[Usage]:
        """The sums of one account, the days in order. Raises StorageUnavailable."""
        return await self._database.read(lambda connection: list_sums(connection, account_id, wanted))

    async def list_all(self, account_id: str, first: date, last: date) -> Sequence[Usage]:
        """One sum for every day, model and key from `first` to `last`, the days in order: what a page or a table is
        made of. Days that are over, with all their orders, are added up once and remembered.
        """
        days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        known = {day: self._remembered.find(account_id, day) for day in days}
        missing = [day for day in days if known[day] is None]
        if missing:
            fresh: dict[date | None, list[Usage]] = {}
            for each in await self.list(account_id, Query(missing[0], missing[-1], tuple(Group))):
                fresh.setdefault(each.day, []).append(each)
            for day in missing:
                known[day] = fresh.get(day, [])
                self._remember(account_id, day, fresh.get(day, []))
        names = await self._database.read(lambda connection: _key_names(connection, account_id))
        return [replace(each, key_name=names.get(each.key_id or "")) for sums in known.values() for each in sums or ()]

    def _remember(self, account_id: str, day: date, sums: Sequence[Usage]) -> None:
        """Unless there can still be a change."""
        is_over = self._now() >= _start(day + timedelta(days=1)) + _SETTLED
        if is_over and not any(each.unfinished for each in sums):
            self._remembered.keep(account_id, day, sums)

    async def spent_by_key(self, account_id: str) -> dict[str, int]:
        """What each API key has spent in all, in micro-dollars; those that have nothing are not there."""
        return await self._database.read(lambda connection: _spent_by_key(connection, account_id))

    async def recent_by_model(self, account_id: str) -> dict[str, Recent]:
        """How the account's last orders went, as far as they are of the last days."""
        since = self._now() - RECENT
        return await self._database.read(lambda connection: _recent_by_model(connection, account_id, since))


class _Days:
    """Sums of days that change no more: of no more than `most` days and sums, those used last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._size = 0
        self._days: OrderedDict[tuple[str, date], Sequence[Usage]] = OrderedDict()

    def find(self, account_id: str, day: date) -> Sequence[Usage] | None:
        found = self._days.get((account_id, day))
        if found is not None:
            self._days.move_to_end((account_id, day))
        return found

    def keep(self, account_id: str, day: date, sums: Sequence[Usage]) -> None:
        before = self._days.pop((account_id, day), None)
        if before is not None:
            self._size -= len(before) + 1
        self._days[account_id, day] = sums
        self._size += len(sums) + 1
        while self._size > self._most:
            _, dropped = self._days.popitem(last=False)
            self._size -= len(dropped) + 1


def _spent_by_key(connection: Connection, account_id: str) -> dict[str, int]:
    mine = select(api_keys.c.id).where(api_keys.c.account_id == account_id)
    rows = connection.execute(
        select(key_spend.c.api_key_id, key_spend.c.spent_micros).where(
            key_spend.c.api_key_id.in_(mine), key_spend.c.period == "total", key_spend.c.spent_micros > 0
        )
    )
    return {row.api_key_id: row.spent_micros for row in rows}


def _recent_by_model(connection: Connection, account_id: str, since: datetime) -> dict[str, Recent]:
    rows = connection.execute(
        select(generations.c.model, generations.c.status, generations.c.created_at, generations.c.finished_at)
        .where(generations.c.account_id == account_id, generations.c.created_at >= since)
        .order_by(generations.c.created_at.desc(), generations.c.id.desc())
        .limit(RECENT_ORDERS)
    )
    seconds: dict[str, list[float]] = {}
    errors: dict[str, int] = {}
    for row in rows:
        if row.status == "completed":
            seconds.setdefault(row.model, []).append((row.finished_at - row.created_at).total_seconds())
        elif row.status in _ERRORS:
            errors[row.model] = errors.get(row.model, 0) + 1
    return {model: Recent(tuple(sorted(seconds.get(model, ()))), errors.get(model, 0)) for model in {*seconds, *errors}}


def list_sums(connection: Connection, account_id: str, wanted: Query) -> list[Usage]:
    """One sum for every day, model and key (as far as asked for) of which there is an order."""
    day: ColumnElement[Any] = type_coerce(generations.c.created_at, BigInteger) // _DAY_MICROS
    by = {
        Group.DAY: day.label("day"),
        Group.MODEL: generations.c.model.label("model"),
        Group.KEY: generations.c.api_key_id.label("key_id"),
    }
    columns = [by[group] for group in wanted.groups]
    completed = generations.c.status == "completed"
    sums = (
        select(
            *columns,
            func.count().label("orders"),
            func.sum(generations.c.image_count).label("images"),
            func.sum(case((generations.c.status.in_(_ERRORS), 1), else_=0)).label("errors"),
            func.sum(case((completed, generations.c.cost_micros), else_=0)).label("cost_micros"),
            func.sum(case((generations.c.status.in_(_OPEN), 1), else_=0)).label("unfinished"),
        )
        .where(
            generations.c.account_id == account_id,
            generations.c.created_at >= _start(wanted.first),
            generations.c.created_at < _start(wanted.last + timedelta(days=1)),
        )
        .group_by(*columns)
    )
    # Not by ORDER BY: databases differ about letters, and about where NULL stands.
    names_of_columns = [column.name for column in columns]
    rows = sorted(
        connection.execute(sums).mappings(),
        key=lambda row: [(row[name] is not None, row[name]) for name in names_of_columns],
    )
    names = _key_names(connection, account_id) if Group.KEY in wanted.groups else {}
    return [_from_row(row, names) for row in rows]


def add_up(sums: Sequence[Usage]) -> Usage:
    """All of them together."""
    return Usage(
        orders=sum(each.orders for each in sums),
        images=sum(each.images for each in sums),
        errors=sum(each.errors for each in sums),
        cost_micros=sum(each.cost_micros for each in sums),
        unfinished=sum(each.unfinished for each in sums),
    )


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _key_names(connection: Connection, account_id: str) -> dict[str, str]:
    rows = connection.execute(select(api_keys.c.id, api_keys.c.name).where(api_keys.c.account_id == account_id))
    return {row.id: row.name for row in rows}


def _from_row(row: Any, names: dict[str, str]) -> Usage:
    key_id = row.get("key_id")
    return Usage(
        orders=row["orders"],
        images=int(row["images"]),
        errors=int(row["errors"]),
        cost_micros=int(row["cost_micros"]),
        day=_EPOCH + timedelta(days=row["day"]) if "day" in row else None,
        model=row.get("model"),
        key_id=key_id,
        key_name=None if key_id is None else names.get(key_id),
        unfinished=int(row["unfinished"]),
    )
