"""Chance from a seed, the same in every release of Python."""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws from `random.Random.random` alone, the one method whose sequence Python promises to keep."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def fraction(self) -> float:
        """In 0..1."""
        return self._random.random()

    def chance(self, probability: float) -> bool:
        return self.fraction() < probability

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.fraction()

    def whole(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int(self.fraction() * (high - low + 1))

    def one(self, things: Sequence[T]) -> T:
        return things[int(self.fraction() * len(things))]

    def some(self, things: Sequence[T], count: int) -> list[T]:
        """Up to `count` different ones, in random order."""
        left = list(things)
        return [left.pop(int(self.fraction() * len(left))) for _ in range(min(count, len(left)))]

    def weighted(self, things: Sequence[T], weights: Sequence[float]) -> T:
        mark = self.fraction() * sum(weights)
        for thing, weight in zip(things, weights, strict=True):
            mark -= weight
            if mark < 0:
                return thing
        return things[-1]


class MiddleDice(Dice):
    """Always falls in the middle, and on the first of several things: for what is to be the same each time."""

    def __init__(self) -> None:
        super().__init__(0)

    def fraction(self) -> float:
        return 0.5

    def one(self, things: Sequence[T]) -> T:
        return things[0]
