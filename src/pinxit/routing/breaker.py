"""A circuit breaker: a painter that fails again and again is left alone, then tried with one order at a time.

The pattern is Michael Nygard's (Release It!, 2007, "Circuit Breaker").
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

FAILURES_IN_A_ROW = 3
WINDOW_SECONDS = 30.0
LEAST_OUTCOMES = 10
WORST_SHARE = 0.5
"""Of the outcomes in the window: one that fails half of the time is no use either."""
FIRST_REST_SECONDS = 5.0
LONGEST_REST_SECONDS = 120.0


class BreakerState(StrEnum):
    """`closed`: orders go through. `open`: none does. `half_open`: one at a time, to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class _Outcome:
    at: float
    failed: bool


class Breaker:
    """Of one painter. All times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._outcomes: deque[_Outcome] = deque(maxlen=100)
        self._in_a_row = 0
        self._opened_at: float | None = None
        self._rest = FIRST_REST_SECONDS
        self._is_probing = False
        self._busy_until = 0.0

    def state(self, now: float) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if now >= self._opened_at + self._rest else BreakerState.OPEN

    def seconds_left(self, now: float) -> float:
        """Until an order may go through; 0 if one may now, but for another that is trying."""
        rest = 0.0 if self._opened_at is None else self._opened_at + self._rest - now
        return max(rest, self._busy_until - now, 0.0)

    def admit(self, now: float) -> bool:
        """Whether an order may go through. Of a half-open breaker only one may, until its outcome is told."""
        if self.seconds_left(now) > 0:
            return False
        if self._opened_at is None:
            return True
        if self._is_probing:
            return False
        self._is_probing = True
        return True

    def succeeded(self, now: float) -> None:
        self._outcomes.append(_Outcome(now, failed=False))
        self._in_a_row = 0
        self._is_probing = False
        if self._opened_at is not None:
            self._opened_at = None
            self._rest = FIRST_REST_SECONDS
            self._outcomes.clear()

    def failed(self, now: float) -> None:
        self._outcomes.append(_Outcome(now, failed=True))
        self._in_a_row += 1
        if self._opened_at is not None:
            if self._is_probing:
                self._rest = min(self._rest * 2, LONGEST_REST_SECONDS)
                self._opened_at = now
            self._is_probing = False
        elif self._in_a_row >= FAILURES_IN_A_ROW or self._fails_too_often(now):
            self._opened_at = now

    def busy(self, now: float, seconds: float) -> None:
        """It has too much to do, and says for how long: that is no failure, but nothing goes there meanwhile."""
        self._busy_until = max(self._busy_until, now + seconds)
        self._is_probing = False

    def undecided(self) -> None:
        """An order that was let through has ended without saying anything about the painter."""
        self._is_probing = False

    def _fails_too_often(self, now: float) -> bool:
        recent = [outcome.failed for outcome in self._outcomes if outcome.at > now - WINDOW_SECONDS]
        return len(recent) >= LEAST_OUTCOMES and sum(recent) >= WORST_SHARE * len(recent)
