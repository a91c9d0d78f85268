"""Orders, pictures, errors and money of an account, added up."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import structlog
from sqlalchemy import BigInteger, ColumnElement, Connection, case, func, select, type_coerce

from pinxit.database.interface import Database
from pinxit.database.tables import api_keys, generations, key_spend
from pinxit.errors import InvalidValue, StorageUnavailable
from pinxit.usage import books
from pinxit.usage.books import DAY_MICROS, EPOCH, ERRORS, OPEN, start_of
from pinxit.usage.times import NO_TIMES, Times, add_up_times

log = structlog.get_logger(__name__)

DEFAULT_DAYS = 30
MAX_DAYS = 366
RECENT = timedelta(days=7)
RECENT_ORDERS = 1000
"""How many orders are looked at for times and success: enough for a figure, and soon read."""
KEEPING_SECONDS = 600.0
"""How often the books are brought up to date."""


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
    times: Times = NO_TIMES
    """How long those took that were painted, where that was asked for."""


def query(first: date | None, last: date | None, groups: Sequence[Group], *, today: date) -> Query:
    """What is left open is the last 30 days, by day. Raises InvalidValue."""
    last = last or max(today, first or today)
    first = first or last - timedelta(days=min(DEFAULT_DAYS - 1, (last - EPOCH).days))
    if first < EPOCH or last.year > 9000:
        raise InvalidValue("from and to must be days from 1970 to 9000.", param="from" if first < EPOCH else "to")
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

    def query(self, first: date | None, last: date | None, groups: Sequence[Group]) -> Query:
        """As `usage.query`, by today's date."""
        return query(first, last, groups, today=self._now().astimezone(UTC).date())

    async def list(self, account_id: str, wanted: Query) -> list[Usage]:
        """The sums of one account, the days in order. Raises StorageUnavailable."""
        return await self._database.read(lambda connection: list_sums(connection, account_id, wanted))

    async def list_all(self, account_id: str, first: date, last: date) -> Sequence[Usage]:
        """One sum for every day, model and key from `first` to `last`, the days in order, with its times: what a page
        or a table is made of.
        """
        return await self._database.read(lambda connection: list_all_sums(connection, account_id, first, last))

    async def keep_books(self) -> None:
        """Add up in advance what changes no more, now and every few minutes, for ever."""
        while True:
            try:
                await self.bring_books_up_to_date()
            except StorageUnavailable as error:
                log.error("usage_not_added_up", error=error.message)
            except Exception:
                log.exception("adding_up_usage_crashed")  # the next time may go well; the sums are right without it
            await asyncio.sleep(KEEPING_SECONDS)

    async def bring_books_up_to_date(self) -> None:
        """Raises StorageUnavailable."""
        for account_id in await self._database.read(books.list_accounts):
            look = partial(books.find_addition, account_id=account_id, now=self._now())
            while (addition := await self._database.read(look)) is not None:
                await self._database.write(partial(books.enter, addition=addition))

    async def spent_by_key(self, account_id: str) -> dict[str, int]:
        """What each API key has spent in all, in micro-dollars; those that have nothing are not there."""
        return await self._database.read(lambda connection: _spent_by_key(connection, account_id))

    async def recent_by_model(self, account_id: str) -> dict[str, Recent]:
        """How the account's last orders went, as far as they are of the last days."""
        since = self._now() - RECENT
        return await self._database.read(lambda connection: _recent_by_model(connection, account_id, since))


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
        elif row.status in ERRORS:
            errors[row.model] = errors.get(row.model, 0) + 1
    return {model: Recent(tuple(sorted(seconds.get(model, ()))), errors.get(model, 0)) for model in {*seconds, *errors}}


def list_sums(connection: Connection, account_id: str, wanted: Query) -> list[Usage]:
    """One sum for every day, model and key (as far as asked for) of which there is an order."""
    day: ColumnElement[Any] = type_coerce(generations.c.created_at, BigInteger) // DAY_MICROS
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
            func.sum(case((generations.c.status.in_(ERRORS), 1), else_=0)).label("errors"),
            func.sum(case((completed, generations.c.cost_micros), else_=0)).label("cost_micros"),
            func.sum(case((generations.c.status.in_(OPEN), 1), else_=0)).label("unfinished"),
        )
        .where(
            generations.c.account_id == account_id,
            generations.c.created_at >= start_of(wanted.first),
            generations.c.created_at < start_of(wanted.last + timedelta(days=1)),
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


def list_all_sums(connection: Connection, account_id: str, first: date, last: date) -> list[Usage]:
    """One sum for every day, model and key, with its times; what the books know already is taken from there."""
    found = books.all_of(books.list_days(connection, account_id, first, last))
    names = _key_names(connection, account_id)
    return [
        Usage(
            each.orders,
            each.images,
            each.errors,
            each.cost_micros,
            day=EPOCH + timedelta(days=day),
            model=model,
            key_id=key_id,
            key_name=names.get(key_id or ""),
            unfinished=each.unfinished,
            times=each.times,
        )
        for (day, model, key_id), each in sorted(found.items(), key=lambda item: (item[0][:2], item[0][2] or ""))
    ]


def add_up(sums: Sequence[Usage]) -> Usage:
    """All of them together."""
    return Usage(
        orders=sum(each.orders for each in sums),
        images=sum(each.images for each in sums),
        errors=sum(each.errors for each in sums),
        cost_micros=sum(each.cost_micros for each in sums),
        unfinished=sum(each.unfinished for each in sums),
        times=add_up_times(each.times for each in sums),
    )


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
        day=EPOCH + timedelta(days=row["day"]) if "day" in row else None,
        model=row.get("model"),
        key_id=key_id,
        key_name=None if key_id is None else names.get(key_id),
        unfinished=int(row["unfinished"]),
    )
