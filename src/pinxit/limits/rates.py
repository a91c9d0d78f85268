"""How much each API key and each account may ask for: requests and pictures a minute, orders open at once.

Kept in memory, for one API process. Where several processes share a database, each would give out its own; then the
buckets belong into a table of it, from which every process takes tokens for a second at a time.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from pinxit.errors import InvalidValue, RateLimited

MINUTE_NS = 60_000_000_000
MAX_BUCKETS = 4096
"""A bucket that is full again is like none; beyond this many those are forgotten."""


class Limits(Protocol):
    """What may be asked for. None: as much as there is."""

    @property
    def requests_per_minute(self) -> int | None: ...

    @property
    def images_per_minute(self) -> int | None: ...

    @property
    def concurrency(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Party:
    """Who is limited: an API key or an account. `called` names it in a refusal."""

    id: str
    called: str
    limits: Limits


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of one limit is left, and when all of it is there again. `kind`: requests or images."""

    kind: str
    limit: int
    remaining: int
    reset_seconds: float


class Bucket:
    """Tokens that come back evenly, kept as the time at which the bucket will be full again.

    That is the virtual scheduling algorithm of ITU-T I.371, all in whole nanoseconds: what a refusal says one has to
    wait is enough, to the nanosecond.
    """

    __slots__ = ("full_at",)

    def __init__(self) -> None:
        self.full_at = 0

    def wait(self, count: int, limit: int, now: int) -> int:
        """Nanoseconds until `count` tokens are there; 0: now."""
        return max(0, max(self.full_at, now) + count * _interval(limit) - now - limit * _interval(limit))

    def take(self, count: int, limit: int, now: int) -> None:
        self.full_at = max(self.full_at, now) + count * _interval(limit)

    def standing(self, kind: str, limit: int, now: int) -> Standing:
        missing = max(self.full_at - now, 0)
        remaining = max(0, (limit * _interval(limit) - missing) // _interval(limit))
        return Standing(kind, limit, remaining, missing / 1e9)


def _interval(limit: int) -> int:
    """Nanoseconds for one token."""
    return MINUTE_NS // limit


class Limiter:
    """Counts what keys and accounts ask for. It never waits: what is too much is refused.

    It belongs to one event loop and is not for use from several threads.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """`clock`: nanoseconds, never backwards."""
        self._clock = clock
        self._buckets: dict[tuple[str, str], Bucket] = {}
        self._open: dict[str, int] = {}

    def count_request(self, parties: Iterable[Party]) -> None:
        """One request of theirs. Raises RateLimited, and then it counts for none of them."""
        self._take([(party, "requests", party.limits.requests_per_minute) for party in parties], 1)

    def admit(self, parties: Iterable[Party], images: int) -> "Place":
        """Let in an order of `images` pictures; its place is to be used in a `with`.

        Raises RateLimited, or InvalidValue if so many pictures are never to be had; then nothing is counted.
        """
        parties = tuple(parties)
        for party in parties:
            most = party.limits.concurrency
            if most is not None and self._open.get(party.id, 0) >= most:
                raise RateLimited(f"{party.called} may have {most} orders open at once, and has them.")
            most = party.limits.images_per_minute
            if most is not None and images > most:
                raise InvalidValue(f"{party.called} may ask for {most} pictures a minute.", param="n")
        self._take([(party, "images", party.limits.images_per_minute) for party in parties], images)
        return Place(self._open, [party.id for party in parties])

    def standings(self, parties: Iterable[Party]) -> list[Standing]:
        """What is left: for requests and for images the tightest of the limits, where there is one."""
        parties, now = tuple(parties), self._clock()
        found = []
        for kind, limit_of in (("requests", _requests), ("images", _images)):
            of_kind = [
                self._buckets.get((kind, party.id), Bucket()).standing(kind, limit, now)
                for party in parties
                if (limit := limit_of(party.limits)) is not None
            ]
            if of_kind:
                found.append(min(of_kind, key=lambda standing: (standing.remaining, standing.limit)))
        return found

    def _take(self, wanted: list[tuple[Party, str, int | None]], count: int) -> None:
        """From all buckets or from none."""
        now = self._clock()
        limited = [(party, kind, limit) for party, kind, limit in wanted if limit is not None]
        longest, refusal = 0, ""
        for party, kind, limit in limited:
            wait = self._bucket(kind, party.id, now).wait(count, limit, now)
            if wait > longest:
                longest, refusal = wait, f"{party.called} may ask for no more than {limit} {kind} a minute."
        if longest:
            raise RateLimited(refusal, retry_after_seconds=longest / 1e9)
        for party, kind, limit in limited:
            self._bucket(kind, party.id, now).take(count, limit, now)

    def _bucket(self, kind: str, id_: str, now: int) -> Bucket:
        if (kind, id_) not in self._buckets and len(self._buckets) >= MAX_BUCKETS:
            self._buckets = {name: bucket for name, bucket in self._buckets.items() if bucket.full_at > now}
        return self._buckets.setdefault((kind, id_), Bucket())


def _requests(limits: Limits) -> int | None:
    return limits.requests_per_minute


def _images(limits: Limits) -> int | None:
    return limits.images_per_minute


class Place:
    """One open order of some parties; leaving the `with` block gives its places back, once."""

    def __init__(self, open_: dict[str, int], ids: list[str]) -> None:
        self._open = open_
        self._ids = ids
        for id_ in ids:
            open_[id_] = open_.get(id_, 0) + 1

    def release(self) -> None:
        """Doing it again changes nothing."""
        ids, self._ids = self._ids, []
        for id_ in ids:
            self._open[id_] -= 1
            if not self._open[id_]:
                del self._open[id_]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
