"""Puts the painters that could do an order into the order in which they are asked."""

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pinxit.errors import BackendUnavailable, InvalidValue
from pinxit.images.request import Routing
from pinxit.routing.breaker import Breaker, BreakerState, Pass, Reason

_REMEMBERED = 0.8
"""How much the mean time of a painter keeps of what it was at each new picture."""
RETRY_SHARE = 0.1
"""Repeats of the same painter are at most this share of all orders, so that they cannot bury one that is struggling
(https://sre.google/sre-book/addressing-cascading-failures, "Retries")."""
_RETRY_RESERVE = 3.0
_MOST_RETRIES = 10.0
_MOST_OF_A_MESSAGE = 500
"""Characters of what a painter says that are kept."""


class LeftAlone(BackendUnavailable):
    """This backend has failed repeatedly and is left alone for a while. Nothing was charged."""


class Sort(StrEnum):
    """Who is asked first."""

    ORDER = "order"
    WEIGHT = "weight"
    PRICE = "price"
    LATENCY = "latency"
    STICKY = "sticky"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A painter that can do the order. `key`: `<backend>/<its model>`; `price_micros`: what its customer pays for all
    of it; `cost_micros`: what we pay.
    """

    key: str
    backend: str
    price_micros: int
    cost_micros: int = 0
    weight: float = 1.0


@dataclass(slots=True)
class _Health:
    breaker: Breaker
    seconds: float | None = None
    """Mean time of an order of late."""
    successes: int = 0
    failures: int = 0
    last_error: "LastError | None" = None


@dataclass(frozen=True, slots=True)
class LastError:
    """What a painter said when it last failed, and when, by the router's clock."""

    message: str
    at: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How a painter is doing, for people to look at. All seconds are counted from now.

    `reason`: why it gets no orders, or one at a time; `seconds_open`: since when its breaker is not closed;
    `seconds_left`: until it gets one again; `seconds`: mean time of an order of late.
    """

    key: str
    state: BreakerState
    reason: Reason | None
    seconds_open: float | None
    seconds_left: float
    seconds: float | None
    successes: int
    failures: int
    last_error: str
    seconds_since_error: float | None


@dataclass(frozen=True, slots=True)
class Budget:
    """Repeats of the same painter that may be made now, and the most that are saved up."""

    left: int
    most: int


class Router:
    """Knows how each painter far away has been doing. Used from one event loop."""

    def __init__(self, clock: Callable[[], float], *, remote: Callable[[str], bool], seed: int | None = None) -> None:
        """`clock`: monotonic seconds; `remote`: whether a backend of this name is far away, and so has a breaker."""
        self._clock = clock
        self._remote = remote
        self._random = random.Random(seed)  # noqa: S311 - it spreads load and keeps no secret
        self._health: dict[str, _Health] = {}
        self._retries = _RETRY_RESERVE

    def arrange(
        self, candidates: Sequence[Candidate], sort: Sort, wish: Routing, *, sticky_to: str = ""
    ) -> list[Candidate]:
        """Those that the wish allows, in the order in which they are to be asked: of the ones that are well first.

        Raises InvalidValue if the wish leaves none.
        """
        left = [found for found in candidates if _is_allowed(found.backend, wish)]
        if not left:
            there = sorted({found.backend for found in candidates})
            raise InvalidValue("No backend of this model is left by `provider`.", param="provider", allowed=there)
        ordered = self._sorted(left, Sort(wish.sort) if wish.sort else sort, sticky_to)
        if wish.order:
            ordered.sort(key=lambda found: _place(found.backend, wish.order))
            if not wish.allow_fallbacks:  # the client has named the one it wants, well or not
                return ordered[:1]
        now = self._clock()
        ordered.sort(key=lambda found: self._of(found.key).breaker.seconds_left(now) > 0)
        return ordered if wish.allow_fallbacks else ordered[:1]

    def admit(self, candidate: Candidate) -> Pass:
        """What goes back with the outcome. Raises LeftAlone."""
        if not self._remote(candidate.backend):
            return Pass()
        breaker = self._of(candidate.key).breaker
        now = self._clock()
        ticket = breaker.admit(now)
        if ticket is None:
            raise LeftAlone(
                f"{candidate.backend} has failed repeatedly and is left alone for a while. Nothing was charged.",
                retry_after_seconds=max(1.0, math.ceil(breaker.seconds_left(now))),
            )
        return ticket

    def is_remote(self, backend: str) -> bool:
        return self._remote(backend)

    def succeeded(self, candidate: Candidate, ticket: Pass, seconds: float) -> None:
        health = self._of(candidate.key)
        health.breaker.succeeded(self._clock(), ticket)
        health.successes += 1
        known = health.seconds
        health.seconds = seconds if known is None else _REMEMBERED * known + (1 - _REMEMBERED) * seconds

    def failed(self, candidate: Candidate, ticket: Pass, message: str = "") -> None:
        health = self._of(candidate.key)
        health.breaker.failed(self._clock(), ticket)
        health.failures += 1
        health.last_error = LastError(message[:_MOST_OF_A_MESSAGE], self._clock())

    def busy(self, candidate: Candidate, ticket: Pass, seconds: float, message: str = "") -> None:
        health = self._of(candidate.key)
        health.breaker.busy(self._clock(), ticket, seconds)
        health.last_error = LastError(message[:_MOST_OF_A_MESSAGE], self._clock())

    def undecided(self, candidate: Candidate, ticket: Pass) -> None:
        """Cancelled, or refused for what was asked."""
        self._of(candidate.key).breaker.undecided(ticket)

    def count_order(self) -> None:
        """An order is painted: it earns its share of a repeat."""
        self._retries = min(self._retries + RETRY_SHARE, _MOST_RETRIES)

    def spread(self, seconds: float) -> float:
        """A wait before a repeat, longer by up to a tenth and a little: those who were turned away together do not come
        back together, and none comes early.
        """
        return seconds + self._random.uniform(0.01, 0.02 + 0.1 * seconds)

    def may_retry(self) -> bool:
        """Take one repeat out of the budget, if there is one."""
        if self._retries < 1:
            return False
        self._retries -= 1
        return True

    def try_again(self, key: str) -> bool:
        """Let one order through to a painter that is left alone. False if no painter of this name was ever asked."""
        if key not in self._health:
            return False
        self._health[key].breaker.end_rest(self._clock())
        return True

    @property
    def retry_budget(self) -> Budget:
        return Budget(int(self._retries), int(_MOST_RETRIES))

    def standings(self) -> list[Standing]:
        """Of every painter that was asked since the start, by name."""
        now = self._clock()
        return [_standing(key, health, now) for key, health in sorted(self._health.items())]

    def _of(self, key: str) -> _Health:
        if key not in self._health:
            self._health[key] = _Health(Breaker())
        return self._health[key]

    def _sorted(self, candidates: Sequence[Candidate], sort: Sort, sticky_to: str) -> list[Candidate]:
        match sort:
            case Sort.ORDER:
                return list(candidates)
            case Sort.PRICE:
                return sorted(candidates, key=lambda found: (found.price_micros, found.cost_micros))
            case Sort.LATENCY:  # one that nobody has tried is tried first
                return sorted(candidates, key=lambda found: self._of(found.key).seconds or 0.0)
            case Sort.WEIGHT:
                return self._by_chance(candidates)
            case Sort.STICKY:
                return sorted(candidates, key=lambda found: _affinity(found, sticky_to))

    def _by_chance(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """A random order in which the first is each by its weight (Efraimidis and Spirakis, 2006)."""
        return sorted(candidates, key=lambda found: -(self._random.random() ** (1 / found.weight)))


def _standing(key: str, health: _Health, now: float) -> Standing:
    breaker, error = health.breaker, health.last_error
    return Standing(
        key=key,
        state=breaker.state(now),
        reason=breaker.reason(now),
        seconds_open=breaker.seconds_open(now),
        seconds_left=breaker.seconds_left(now),
        seconds=health.seconds,
        successes=health.successes,
        failures=health.failures,
        last_error=error.message if error else "",
        seconds_since_error=now - error.at if error else None,
    )


def _is_allowed(backend: str, wish: Routing) -> bool:
    return (not wish.only or backend in wish.only) and backend not in wish.ignore


def _place(backend: str, order: Sequence[str]) -> int:
    return order.index(backend) if backend in order else len(order)


def _affinity(candidate: Candidate, sticky_to: str) -> float:
    """Rendezvous hashing by weight (Thaler and Ravishankar, 1998): the least is nearest, and what others have stays."""
    digest = hashlib.sha256(f"{sticky_to}\0{candidate.key}".encode()).digest()
    share = (int.from_bytes(digest[:8]) + 1) / 2**64
    return -math.log(share) / candidate.weight
