"""What the visitor's account has painted, what it cost and what went wrong: by day, model and key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar
from urllib.parse import urlencode

from starlette.responses import Response

from pinxit.api.errors import status_and_type
from pinxit.api.usage_query import read_day
from pinxit.console.chart import OTHER, Chart, LineChart, draw, draw_lines, largest
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import InvalidValue
from pinxit.usage.csv import to_csv
from pinxit.usage.usage import Group, Query, Usage, add_up

T = TypeVar("T")
NO_KEY = "none"
"""The filter for orders without an API key."""
SPANS = (7, 30, 90)
"""In days, up to today: what is offered with one click."""

TIMES = {"half in": 0.5, "95 % in": 0.95}
"""Which shares of the orders are told how long they took at most."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What the page is asked for. An empty `model` or `key` is all of them."""

    first: date
    last: date
    model: str
    key: str

    @property
    def as_query(self) -> str:
        """For the end of an address."""
        return urlencode({"from": self.first, "to": self.last, "model": self.model, "key": self.key})

    def fits(self, each: Usage) -> bool:
        return self.model in ("", each.model) and self.key in ("", each.key_id or NO_KEY)


@dataclass(frozen=True, slots=True)
class Share:
    """One line of a table: a model or a key, and all of its orders."""

    name: str
    sums: Usage


class UsagePages:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        services, account_id = visit.services, visit.member.account_id
        error = None
        try:
            filters = _filters(visit)
        except InvalidValue as refused:
            filters, error = _last_days(visit, SPANS[1]), refused
        every = await services.usage.list_all(account_id, filters.first, filters.last)
        sums = [each for each in every if filters.fits(each)]
        days = [filters.first + timedelta(days=number) for number in range((filters.last - filters.first).days + 1)]
        keys = await visit.key_names()
        return self._pages.response(
            "usage",
            visit,
            status=200 if error is None else status_and_type(type(error))[0],
            error=error,
            filters=filters,
            spans=[(span, _last_days(visit, span)) for span in SPANS],
            models=sorted({each.model or "" for each in every} | {filters.model} - {""}),
            keys=keys,
            total=add_up(sums),
            charts=_charts(sums, days),
            by_day=_by_day(sums, days),
            times=_times(sums, days),
            by_model=_shares(sums, lambda each: each.model or ""),
            by_key=_shares(sums, lambda each: key_name(keys, each.key_id)),
            no_key=NO_KEY,
        )

    async def table(self, visit: Visit) -> Response:
        """The same sums, for spreadsheets. Raises InvalidValue."""
        filters = _filters(visit)
        every = await visit.services.usage.list_all(visit.member.account_id, filters.first, filters.last)
        name = f"usage-{filters.first}-{filters.last}.csv"
        return Response(
            to_csv([each for each in every if filters.fits(each)], tuple(Group), with_times=True),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )


def key_name(names: dict[str, str], key_id: str | None) -> str:
    """As people know it."""
    return "without a key" if key_id is None else names.get(key_id, key_id)


def _filters(visit: Visit) -> Filters:
    """From the address. Raises InvalidValue."""
    asked = visit.request.query_params
    wanted = _days(visit, read_day(asked.get("from"), param="from"), read_day(asked.get("to"), param="to"))
    return Filters(wanted.first, wanted.last, asked.get("model", ""), asked.get("key", ""))


def _days(visit: Visit, first: date | None, last: date | None) -> Query:
    return visit.services.usage.query(first, last, ())


def _last_days(visit: Visit, days: int) -> Filters:
    today = _days(visit, None, None).last
    asked = visit.request.query_params
    return Filters(today - timedelta(days=days - 1), today, asked.get("model", ""), asked.get("key", ""))


def _charts(sums: Sequence[Usage], days: Sequence[date]) -> list[tuple[str, str, Chart]]:
    """Title, unit and drawing of each, with the same models in the same colours."""
    totals = {name: group.images + group.errors for name, group in _by(sums, lambda each: each.model or "").items()}
    series = largest(totals)
    values: dict[str, dict[tuple[date, str], int]] = {"Cost": {}, "Pictures": {}, "Errors": {}}
    for each in sums:
        assert each.day is not None
        place = (each.day, each.model if each.model in series else OTHER)
        for title, value in (("Cost", each.cost_micros), ("Pictures", each.images), ("Errors", each.errors)):
            values[title][place] = values[title].get(place, 0) + value
    return [
        (title, "dollars" if title == "Cost" else "number", draw(found, days, series))
        for title, found in values.items()
    ]


def _times(sums: Sequence[Usage], days: Sequence[date]) -> LineChart | None:
    """How long half of each day's orders took, and 95 % of them; None if none was painted."""
    values: dict[date, tuple[float, ...]] = {}
    for day, group in _by(sums, lambda each: each.day).items():
        found = [group.times.quantile(share) for share in TIMES.values()]
        if day is not None and None not in found:
            values[day] = tuple(each for each in found if each is not None)
    return draw_lines(values, days, tuple(TIMES)) if values else None


def _by(sums: Sequence[Usage], name_of: Callable[[Usage], T]) -> dict[T, Usage]:
    groups: dict[T, list[Usage]] = {}
    for each in sums:
        groups.setdefault(name_of(each), []).append(each)
    return {name: add_up(group) for name, group in groups.items()}


def _by_day(sums: Sequence[Usage], days: Sequence[date]) -> list[tuple[date, Usage]]:
    """The newest first, those without orders too."""
    found = _by(sums, lambda each: each.day)
    return [(day, found.get(day) or add_up([])) for day in reversed(days)]


def _shares(sums: Sequence[Usage], name_of: Callable[[Usage], str]) -> list[Share]:
    """The dearest first, then the one with most pictures."""
    shares = [Share(name, share) for name, share in _by(sums, name_of).items()]
    return sorted(shares, key=lambda each: (-each.sums.cost_micros, -each.sums.images, each.name))
