"""How numbers are written on the pages that report."""

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from pinxit.ledger.dollars import MICROS, to_text

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def number(value: float) -> str:
    """`12 345`, with narrow spaces that do not break, as ISO 80000-1 has it."""
    return f"{value:,}".replace(",", "\u202f")


def money(micros: int) -> str:
    """US dollars; from a dollar on to the nearest cent, below exactly."""
    if micros < MICROS:
        return f"${to_text(micros)}"
    cents = (micros + 5_000) // 10_000
    return f"${number(cents // 100)}.{cents % 100:02d}"


def seconds(value: float | None) -> str:
    """`0.44 s`, `12 s`, `3 min 20 s`; a dash for None."""
    if value is None:
        return "–"
    if value < 1:
        return f"{value:.2f} s"
    if value < 10:
        return f"{value:.1f} s"
    if value < 90:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s"


def span(value: float) -> str:
    """How long something has been so or will be, in its largest unit: `40 seconds`, `3 minutes`, `2 days`."""
    unit, length = next(((unit, length) for most, unit, length in _SPANS if value < most), ("day", 86_400))
    count = max(0, round(value / length))
    return f"{count} {unit}{'' if count == 1 else 's'}"


_SPANS = ((90, "second", 1), (90 * 60, "minute", 60), (36 * 3600, "hour", 3600))


def size(value: int | None) -> str:
    """Bytes in the largest unit of which there is one: `1.5 GiB`."""
    if value is None:
        return "–"
    amount, unit = float(value), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{value} bytes" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def day(value: date) -> str:
    """`22 Nov`; the names are English whatever the server's locale."""
    return f"{value.day} {_MONTHS[value.month - 1]}"


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
FILTERS: Mapping[str, Callable[[Any], str]] = {
    "number": number,
    "money": money,
    "seconds": seconds,
    "size": size,
    "span": span,
    "day": day,
}
