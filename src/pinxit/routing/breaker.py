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


class Reason(StrEnum):
    """Why a breaker is not closed, or keeps orders away though it is."""

    IN_A_ROW = "in_a_row"
    TOO_OFTEN = "too_often"
    PROBE_FAILED = "probe_failed"
    BUSY = "busy"


class BreakerState(StrEnum):
    """`closed`: orders go through. `open`: none does. `half_open`: one at a time, to see."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """Lets one order through, and comes back with its outcome."""


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
        self._not_closed_since = 0.0
        self._reason: Reason | None = None
        self._rest = FIRST_REST_SECONDS
        self._probe: Pass | None = None
        self._busy_until = 0.0

    def state(self, now: float) -> BreakerState:
        if self._opened_at is None:
            return BreakerState.CLOSED
        return BreakerState.HALF_OPEN if now >= self._opened_at + self._rest else BreakerState.OPEN

    def seconds_left(self, now: float) -> float:
        """Until an order may go through; 0 if one may now, but for another that is trying."""
        rest = 0.0 if self._opened_at is None else self._opened_at + self._rest - now
        return max(rest, self._busy_until - now, 0.0)

    def reason(self, now: float) -> Reason | None:
        """Why orders are kept away, or are let through one at a time only; None if neither is so."""
        if self._opened_at is not None:
            return self._reason
        return Reason.BUSY if self._busy_until > now else None

    def seconds_open(self, now: float) -> float | None:
        """For how long it has not been closed, failed probes and all; None if it is."""
        return None if self._opened_at is None else now - self._not_closed_since

    def end_rest(self, now: float) -> None:
        """Somebody says that it can be tried again now: one order may go through, as after the whole rest."""
        self._busy_until = min(self._busy_until, now)
        if self._opened_at is not None:
            self._opened_at = min(self._opened_at, now - self._rest)

    def admit(self, now: float) -> Pass | None:
        """Let an order through, or do not. Of a half-open breaker only one may, until its outcome is told."""
        if self.seconds_left(now) > 0:
            return None
        if self._opened_at is None:
            return Pass()
        if self._probe is not None:
            return None
        self._probe = Pass()
        return self._probe

    def succeeded(self, now: float, ticket: Pass) -> None:
        """An order that was let through before the breaker opened does not close it."""
        is_probe = self._end_probe(ticket)
        if is_probe:
            self._opened_at = None
            self._rest = FIRST_REST_SECONDS
            self._outcomes.clear()
        if is_probe or self._opened_at is None:
            self._outcomes.append(_Outcome(now, failed=False))
            self._in_a_row = 0

    def failed(self, now: float, ticket: Pass) -> None:
        """An order that was let through before the breaker opened does not lengthen its rest."""
        if self._end_probe(ticket):
            self._rest = min(self._rest * 2, LONGEST_REST_SECONDS)
            self._opened_at = now
            self._reason = Reason.PROBE_FAILED
        elif self._opened_at is None:
            self._outcomes.append(_Outcome(now, failed=True))
            self._in_a_row += 1
            if self._in_a_row >= FAILURES_IN_A_ROW or self._fails_too_often(now):
                self._opened_at = self._not_closed_since = now
                self._reason = Reason.IN_A_ROW if self._in_a_row >= FAILURES_IN_A_ROW else Reason.TOO_OFTEN

    def busy(self, now: float, ticket: Pass, seconds: float) -> None:
        """It has too much to do, and says for how long: that is no failure, but nothing goes there meanwhile."""
        self._busy_until = max(self._busy_until, now + seconds)
        self._end_probe(ticket)

    def undecided(self, ticket: Pass) -> None:
        """An order that was let through has ended without saying anything about the painter."""
        self._end_probe(ticket)

    def _end_probe(self, ticket: Pass) -> bool:
        """Whether this was the probe; then another may follow."""
        is_probe = ticket is self._probe
        if is_probe:
            self._probe = None
        return is_probe

    def _fails_too_often(self, now: float) -> bool:
        recent = [outcome.failed for outcome in self._outcomes if outcome.at > now - WINDOW_SECONDS]
        return len(recent) >= LEAST_OUTCOMES and sum(recent) >= WORST_SHARE * len(recent)
