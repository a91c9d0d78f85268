"""Where the things of a scene go."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Placed:
    """A part's picture on the whole one, all in fractions of its side."""

    part: int
    x: float
    """Its middle."""
    y: float
    """Its lowest point if it stands, else its middle."""
    size: float
    """The longer side of what is drawn."""
    stands: bool = False


Weighed = tuple[int, float]
"""A part, and its size beside the others'."""

_ALONE = 0.87
_TINY_ALONE = 0.4
_ALONE_ON_FLOOR = 0.63
_STACKED = 0.47
_STACKED_ON_FLOOR = 0.4
_ROW = 0.94
"""How much of the side a row takes."""

_LARGEST_IN_ROW = 0.52
_MOST_IN_ROW = 4
_BETWEEN_ROWS = 0.27
_ON_FLOOR = 0.02
"""How far things reach below the line of the floor."""

_PATTERNS: Mapping[int, tuple[float, Sequence[tuple[float, float]]]] = MappingProxyType(
    {
        3: (0.43, ((0.5, 0.27), (0.26, 0.72), (0.74, 0.72))),
        4: (0.43, ((0.26, 0.26), (0.74, 0.26), (0.26, 0.74), (0.74, 0.74))),
        5: (0.31, ((0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.2, 0.8), (0.8, 0.8))),
    }
)
"""Size and middles of so many; other numbers stand in rows."""


def arranged(
    each: Sequence[Weighed], *, is_stacked: bool = False, room: float = 1.0, floor: float | None = None
) -> tuple[Placed, ...]:
    """Places for all things, from back to front.

    `is_stacked`: of two the first is above the second; `room`: the part of the side that is theirs, in the middle;
    `floor`: the height, from the top, at which they stand.
    """
    if floor is not None:
        return tuple(_on_floor(each, is_stacked, floor + _ON_FLOOR))
    return tuple(
        replace(one, x=0.5 + (one.x - 0.5) * room, y=0.5 + (one.y - 0.5) * room, size=one.size * room)
        for one in _floating(each, is_stacked)
    )


def _floating(each: Sequence[Weighed], is_stacked: bool) -> list[Placed]:
    heaviest = max(weight for _, weight in each)
    if len(each) == 1:
        return [Placed(each[0][0], 0.5, 0.5, _ALONE if heaviest >= 1 else _TINY_ALONE)]
    if len(each) == 2 and is_stacked:
        return [
            Placed(part, 0.5, y, _STACKED * weight / heaviest)
            for (part, weight), y in zip(reversed(each), (0.74, 0.26), strict=True)
        ]
    if len(each) == 2:
        sizes = _sizes(each)
        return _row(each, sizes, 0.5 + max(sizes) / 2)
    size, middles = _PATTERNS.get(len(each)) or _grid(len(each))
    return [Placed(part, x, y, size * weight / heaviest) for (part, weight), (x, y) in zip(each, middles, strict=True)]


def _on_floor(each: Sequence[Weighed], is_stacked: bool, floor: float) -> list[Placed]:
    heaviest = max(weight for _, weight in each)
    if len(each) == 1:
        return [Placed(each[0][0], 0.5, floor, _ALONE_ON_FLOOR * min(1.0, heaviest), True)]
    if len(each) == 2 and is_stacked:
        (upper, above), (lower, below) = each
        height = _STACKED_ON_FLOOR * below / heaviest
        return [
            Placed(lower, 0.5, floor, height, True),
            Placed(upper, 0.5, floor - height, _STACKED_ON_FLOOR * above / heaviest, True),
        ]
    if len(each) <= _MOST_IN_ROW:
        return _row(each, _sizes(each), floor)
    half = len(each) // 2
    rows = each[:half], each[half:]
    unit = min(size / weight for row in rows for size, (_, weight) in zip(_sizes(row), row, strict=True))
    back, front = ([unit * weight for _, weight in row] for row in rows)
    return [*_row(rows[0], back, floor - _BETWEEN_ROWS), *_row(rows[1], front, floor)]


def _sizes(row: Sequence[Weighed]) -> list[float]:
    total = sum(weight for _, weight in row)
    return [min(_ROW * weight / total * 0.97, _LARGEST_IN_ROW * max(1.0, weight)) for _, weight in row]


def _row(row: Sequence[Weighed], sizes: Sequence[float], floor: float) -> list[Placed]:
    """Side by side, on one line."""
    total, x, places = sum(weight for _, weight in row), (1 - _ROW) / 2, []
    for (part, weight), size in zip(row, sizes, strict=True):
        width = _ROW * weight / total
        places.append(Placed(part, x + width / 2, floor, size, True))
        x += width
    return places


def _grid(count: int) -> tuple[float, list[tuple[float, float]]]:
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    step = 0.96 / columns
    middles = []
    for row in range(rows):
        here = min(columns, count - row * columns)
        y = 0.5 + (row - (rows - 1) / 2) * step
        middles += [(0.5 + (column - (here - 1) / 2) * step, y) for column in range(here)]
    return step * 0.93, middles
