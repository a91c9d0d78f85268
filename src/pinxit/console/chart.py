"""Bars by day, as numbers that a template draws as SVG: no colours, no words, no markup."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction

WIDTH, HEIGHT = 1000, 200
"""Of the drawing, in its own units: the page stretches it to the room there is."""
MOST_SERIES = 6
GAP = 0.24
"""Of a day's room, between two bars."""
OTHER = "others"


@dataclass(frozen=True, slots=True)
class Bar:
    """A part of a day's bar: whose it is, and where it stands, from the upper left corner."""

    series: int
    x: float
    y: float
    width: float
    height: float
    day: date
    value: int


@dataclass(frozen=True, slots=True)
class Chart:
    """`top`: the value at the upper edge; there are marks at it, at its half, and at nothing."""

    series: tuple[str, ...]
    bars: tuple[Bar, ...]
    days: tuple[date, ...]
    top: int
    total: int

    @property
    def marks(self) -> tuple[int, ...]:
        """Values beside the lines, the highest first; whole numbers."""
        return (self.top, self.top // 2, 0)

    @property
    def shown_days(self) -> tuple[date, ...]:
        """Those that are written below: the first, the one in the middle, and the last."""
        middle = (self.days[len(self.days) // 2],) if len(self.days) > 2 and len(self.days) % 2 else ()
        return (self.days[0], *middle, self.days[-1]) if len(self.days) > 1 else self.days


def draw(values: Mapping[tuple[date, str], int], days: Sequence[date], series: Sequence[str]) -> Chart:
    """`values`: by day and name of series; `series`: in which order they are stacked, the lowest first."""
    totals = {day: sum(values.get((day, name), 0) for name in series) for day in days}
    top = round_up(max(totals.values()))
    slot = WIDTH / len(days)
    bars: list[Bar] = []
    for number, day in enumerate(days):
        floor = float(HEIGHT)
        for index, name in enumerate(series):
            value = values.get((day, name), 0)
            if value:
                height = HEIGHT * value / top
                floor -= height
                bars.append(Bar(index, slot * (number + GAP / 2), floor, slot * (1 - GAP), height, day, value))
    return Chart(tuple(series), tuple(bars), tuple(days), top, sum(totals.values()))


def round_up(value: int) -> int:
    """The least of 2, 4, 6, 10, 20, 40, 60, 100 … that is not below `value`: its half is whole too."""
    if value <= 2:
        return 2
    power = 10 ** math.floor(math.log10(value))
    steps = (Fraction(1), Fraction(2), Fraction(4), Fraction(6), Fraction(10), Fraction(20))
    return next(int(step * power) for step in steps if step * power >= value and int(step * power) % 2 == 0)


def largest(totals: Mapping[str, int], most: int = MOST_SERIES) -> tuple[str, ...]:
    """The names of the largest, the largest first; if there are more than `most`, the last one stands for the rest."""
    names = sorted(totals, key=lambda name: (-totals[name], name))
    return tuple(names) if len(names) <= most else (*names[: most - 1], OTHER)
