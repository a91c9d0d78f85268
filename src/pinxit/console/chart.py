"""Bars and lines by day, as numbers that a template draws as SVG: no colours, no words, no markup."""

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
        return _shown(self.days)


@dataclass(frozen=True, slots=True)
class Line:
    """One series: a path for each run of days that have a value, and a dot for each of them."""

    paths: tuple[str, ...]
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class LineChart:
    """`slots`: of each day with values, its left edge, and the value of each series. Else as in Chart."""

    series: tuple[str, ...]
    lines: tuple[Line, ...]
    slots: tuple[tuple[date, float, tuple[float, ...]], ...]
    days: tuple[date, ...]
    top: float

    @property
    def marks(self) -> tuple[float, ...]:
        return (self.top, self.top / 2, 0)

    @property
    def slot_width(self) -> float:
        return WIDTH / len(self.days)

    @property
    def shown_days(self) -> tuple[date, ...]:
        return _shown(self.days)


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


def draw_lines(values: Mapping[date, Sequence[float]], days: Sequence[date], series: Sequence[str]) -> LineChart:
    """`values`: of each day that has any, one for each series; they are above zero. The scale is in thousandths."""
    top = round_up(math.ceil(1000 * max((max(each) for each in values.values()), default=0))) / 1000
    slot = WIDTH / len(days)
    lines = []
    for index in range(len(series)):
        points = [
            (number, slot * (number + 0.5), HEIGHT * (1 - values[day][index] / top))
            for number, day in enumerate(days)
            if day in values
        ]
        lines.append(Line(tuple(_runs(points)), tuple((x, y) for _, x, y in points)))
    slots = tuple((day, slot * number, tuple(values[day])) for number, day in enumerate(days) if day in values)
    return LineChart(tuple(series), tuple(lines), slots, tuple(days), top)


def _runs(points: Sequence[tuple[int, float, float]]) -> list[str]:
    """An SVG path for each run of days that follow one another; one day alone has a dot and no path."""
    runs: list[list[tuple[int, float, float]]] = []
    for point in points:
        if not runs or point[0] != runs[-1][-1][0] + 1:
            runs.append([])
        runs[-1].append(point)
    return ["M" + "L".join(f"{x:.2f} {y:.2f}" for _, x, y in run) for run in runs if len(run) > 1]


def _shown(days: tuple[date, ...]) -> tuple[date, ...]:
    middle = (days[len(days) // 2],) if len(days) > 2 and len(days) % 2 else ()
    return (days[0], *middle, days[-1]) if len(days) > 1 else days


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
