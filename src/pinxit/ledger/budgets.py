"""What each API key has spent and holds: in all, on each day and in each month of UTC, of orders begun in that time.

It is counted for every key, so that a budget given later knows what was spent before. Each function is a part of the
transaction that holds, posts or voids.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from functools import lru_cache

from sqlalchemy import Connection, text

from pinxit.database.prepared import Prepared
from pinxit.errors import BudgetExceeded
from pinxit.ledger.dollars import to_text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOR_EVER = 2**62
_DAY_MICROS = 86_400_000_000


class Period(StrEnum):
    """How long a budget is for."""

    TOTAL = "total"
    DAY = "day"
    MONTH = "month"


WIRE_NAMES = {Period.TOTAL: "total_usd", Period.DAY: "per_day_usd", Period.MONTH: "per_month_usd"}


@dataclass(frozen=True, slots=True)
class Span:
    """One day, one month or all time, in microseconds since 1970: its first, and the first after it."""

    period: Period
    start: int
    end: int


def spans(moment: datetime) -> tuple[Span, ...]:
    """Those that `moment` lies in: one of each period."""
    return _spans_of(moment.astimezone(UTC).date())


@lru_cache(maxsize=64)
def _spans_of(day: date) -> tuple[Span, ...]:
    month = day.replace(day=1)
    return (
        Span(Period.TOTAL, 0, _FOR_EVER),
        Span(Period.DAY, _micros(day), _micros(day + timedelta(days=1))),
        Span(Period.MONTH, _micros(month), _micros((month + timedelta(days=32)).replace(day=1))),
    )


_RESERVE = Prepared(
    text("""
    INSERT INTO key_spend (api_key_id, period, period_start, period_end, account_id, spent_micros, held_micros)
    VALUES (:key, 'total', :total_start, :total_end, :account, 0, :micros),
           (:key, 'day', :day_start, :day_end, :account, 0, :micros),
           (:key, 'month', :month_start, :month_end, :account, 0, :micros)
    ON CONFLICT (api_key_id, period, period_start)
    DO UPDATE SET held_micros = key_spend.held_micros + excluded.held_micros
    RETURNING period, spent_micros + held_micros AS used_micros
""")
)
_SETTLE = Prepared(
    text("""
    UPDATE key_spend SET held_micros = held_micros - :held, spent_micros = spent_micros + :posted
    WHERE api_key_id = :key AND ((period = 'total' AND period_start = :total_start)
                              OR (period = 'day' AND period_start = :day_start)
                              OR (period = 'month' AND period_start = :month_start))
""")
)


def hold(
    connection: Connection,
    api_key_id: str,
    account_id: str,
    micros: int,
    budgets: Mapping[str, int],
    *,
    now: datetime,
) -> None:
    """Reserve the price of an order begun `now`. `budgets`: period → micro-dollars.

    Raises BudgetExceeded; the transaction must then be undone. The one statement takes, locks and tells what is used:
    two orders cannot both have the last of a budget.
    """
    current = spans(now)
    starts = {f"{span.period}_start": span.start for span in current}
    ends = {f"{span.period}_end": span.end for span in current}
    facts = {"key": api_key_id, "account": account_id, "micros": micros, **starts, **ends}
    used = dict(_RESERVE.run(connection, facts).fetchall())
    for span in current:
        budget = budgets.get(span.period)
        if budget is not None and used[span.period] > budget:
            raise _exceeded(span, budget, used[span.period] - micros, micros)


def settle(connection: Connection, api_key_id: str, held: int, posted: int, *, held_at: datetime) -> None:
    """Of what was held for an order begun at `held_at`, `posted` is spent and the rest is free again."""
    starts = {f"{span.period}_start": span.start for span in spans(held_at)}
    _SETTLE.run(connection, {"key": api_key_id, "held": held, "posted": posted, **starts})


def _exceeded(span: Span, budget: int, used: int, price: int) -> BudgetExceeded:
    name = WIRE_NAMES[span.period]
    anew = None if span.period is Period.TOTAL else _EPOCH + timedelta(microseconds=span.end)
    then = "It does not reset; raise it to go on" if anew is None else f"It resets at {anew:%Y-%m-%dT%H:%M:%SZ}"
    return BudgetExceeded(
        f"This API key's budget {name} is {to_text(budget)} US dollars, of which {to_text(max(0, budget - used))} are "
        f"left; the order costs {to_text(price)}. {then}. Nothing was charged.",
        budget=name,
        starts_anew_at=anew,
    )


def _micros(midnight: date) -> int:
    return (midnight - _EPOCH.date()).days * _DAY_MICROS
