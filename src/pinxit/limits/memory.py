"""Limits of one API process, kept in its memory."""

import time
from collections.abc import Callable, Iterable

from sqlalchemy import Connection

from pinxit.limits.rates import (
    Limiter,
    Party,
    Place,
    Rate,
    Standing,
    image_rates,
    refuse_impossible,
    refuse_places,
    refuse_rates,
    request_rates,
    tightest,
)

MAX_BUCKETS = 4096
"""A bucket that is full again is like none; beyond this many those are forgotten."""


class MemoryLimiter(Limiter):
    """It belongs to one event loop and is not for use from several threads."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        """`clock`: nanoseconds, never backwards."""
        self._clock = clock
        self._full_at: dict[tuple[str, str], int] = {}
        self._open: dict[str, int] = {}

    async def count_request(self, parties: Iterable[Party]) -> None:
        self._take(request_rates(parties), 1)

    def admit(self, parties: Iterable[Party], images: int) -> Place:
        parties = tuple(parties)
        for party in parties:
            refuse_places(party, self._open.get(party.id, 0))
        rates = image_rates(parties)
        refuse_impossible(rates, images)
        self._take(rates, images)
        return _MemoryPlace(self._open, [party.id for party in parties])

    def standings(self, parties: Iterable[Party]) -> list[Standing]:
        parties, now = tuple(parties), self._clock()
        rates = [*request_rates(parties), *image_rates(parties)]
        return tightest(rate.standing(self._full_at.get(rate.key, 0), now) for rate in rates)

    async def tend(self) -> None:
        pass  # what is too much is forgotten when more comes

    def _take(self, rates: list[Rate], count: int) -> None:
        """From all buckets or from none."""
        now = self._clock()
        refuse_rates([(rate, rate.wait_ns(count, self._full_at.get(rate.key, 0), now)) for rate in rates])
        for rate in rates:
            self._make_room(rate, now)
            self._full_at[rate.key] = rate.take(count, self._full_at.get(rate.key, 0), now)

    def _make_room(self, rate: Rate, now: int) -> None:
        if rate.key not in self._full_at and len(self._full_at) >= MAX_BUCKETS:
            self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}


class _MemoryPlace(Place):
    def __init__(self, open_: dict[str, int], ids: list[str]) -> None:
        self._open = open_
        self._ids = ids
        for id_ in ids:
            open_[id_] = open_.get(id_, 0) + 1

    def claim(self, connection: Connection) -> None:
        pass  # it was when the order was let in

    def confirm(self) -> None:
        pass

    def release(self, error: BaseException | None = None) -> None:
        ids, self._ids = self._ids, []
        for id_ in ids:
            self._open[id_] -= 1
            if not self._open[id_]:
                del self._open[id_]
