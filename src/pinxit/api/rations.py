"""Limits and budgets of API keys, read from a request, and what is left of limits, in the headers of an answer."""

import math
from collections.abc import Sequence
from typing import Any

from pinxit.api.fields import Fields
from pinxit.errors import InvalidRequest
from pinxit.keys.model import Budgets, Limits
from pinxit.ledger.dollars import to_micros
from pinxit.limits.rates import Standing

MAX_LIMIT = 1_000_000
LIMITS = ("requests_per_minute", "images_per_minute", "concurrency")
BUDGETS = ("total_usd", "per_day_usd", "per_month_usd")
RATE_HEADERS = [
    f"x-ratelimit-{fact}-{kind}" for fact in ("limit", "remaining", "reset") for kind in ("requests", "images")
]


def read_limits(fields: Fields) -> Limits:
    """All limits of the key, those that are not named are none. Raises InvalidRequest, InvalidValue."""
    given = _named(fields, "limits", LIMITS)
    inner = Fields(given, prefix="limits.")
    return Limits(**{name: inner.integer(name, 1, MAX_LIMIT) for name in given})


def read_budgets(fields: Fields) -> Budgets:
    """All budgets of the key, as `read_limits`."""
    given = _named(fields, "budgets", BUDGETS)
    micros = {name: to_micros(value, param=f"budgets.{name}") for name, value in given.items()}
    return Budgets(**{f"{name.removesuffix('_usd')}_micros": value for name, value in micros.items()})


def _named(fields: Fields, name: str, known: tuple[str, ...]) -> dict[str, Any]:
    given = fields.object(name) or {}
    for unknown in given:
        if unknown not in known:
            shown = unknown.encode("ascii", "replace").decode()[:64]
            raise InvalidRequest(f"{name} has no {shown!r}; it has {', '.join(known)}.", param=f"{name}.{shown}")
    return {inner: value for inner, value in given.items() if value is not None}


def rate_headers(standings: Sequence[Standing]) -> list[tuple[bytes, bytes]]:
    """As OpenAI names and writes them (https://platform.openai.com/docs/guides/rate-limits#rate-limits-in-headers)."""
    return [
        (f"x-ratelimit-{fact}-{standing.kind}".encode(), value.encode())
        for standing in standings
        for fact, value in (
            ("limit", str(standing.limit)),
            ("remaining", str(standing.remaining)),
            ("reset", duration(standing.reset_seconds)),
        )
    ]


def duration(seconds: float) -> str:
    """A span of time as OpenAI writes it: `120ms`, `1s`, `1.5s`, `6m0s`."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{f'{minutes}m' if minutes else ''}{rest / 1000:g}s"
