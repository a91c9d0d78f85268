"""Limits of several API processes that share a database, exact over all of them, in rows of it.

A bucket of tokens is a row of `rate_buckets`, which one conditional statement looks at and takes from. Orders that are
open at once are counted in their own rows, by the transaction that opens one more: a process that is killed leaves
nothing behind that would have to be given back. Who has no limits costs no query.

A transaction locks rows of `rate_buckets` before all others, and in one order, so that none waits for another in a
circle: places before pictures, the key's before its account's.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial

from sqlalchemy import Connection, func, select, text

from pinxit.database.interface import Database
from pinxit.database.tables import generations, rate_buckets
from pinxit.errors import RateLimited
from pinxit.limits.rates import (
    MINUTE_NS,
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

SWEEP_NS = 60 * MINUTE_NS
"""How often, and how long after they are full again, buckets are forgotten; one that is full is like none."""
REMEMBERED_BUCKETS = 4096
"""Of how many buckets this process remembers what it last saw, for the headers of answers."""
ORDERS = "orders"
"""A kind of row that holds no tokens: it is locked while the open orders of a party are counted."""
_OPEN = ("queued", "in_progress")

_TAKE = text("""
    INSERT INTO rate_buckets (party_id, kind, full_at) VALUES (:party_id, :kind, :now + :cost)
    ON CONFLICT (party_id, kind) DO UPDATE
    SET full_at = CASE WHEN rate_buckets.full_at > :now THEN rate_buckets.full_at ELSE :now END + :cost
    WHERE rate_buckets.full_at + :cost <= :now + :capacity
    RETURNING full_at
""")
_LOCK = text("""
    INSERT INTO rate_buckets (party_id, kind, full_at) VALUES (:party_id, :kind, :now)
    ON CONFLICT (party_id, kind) DO UPDATE SET full_at = :now
""")
_POSTGRESQL_CLOCK = text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000 AS BIGINT)")
_FORGETFUL = text("SELECT set_config('synchronous_commit', 'off', true)")
"""For this transaction only: a crash of the database may forget the requests of its last second, and nothing else."""


def database_clock(connection: Connection) -> int:
    """Nanoseconds since 1970 by the one clock that all processes share."""
    if connection.dialect.name != "postgresql":
        return time.time_ns()
    now: int = connection.execute(_POSTGRESQL_CLOCK).scalar_one()
    return now


class SharedLimiter(Limiter):
    """It belongs to one event loop; what it keeps in memory is for showing only."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[Connection], int] = database_clock,
        local_clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Both clocks in nanoseconds; only `clock` decides."""
        self._database = database
        self._clock = clock
        self._local_clock = local_clock
        self._seen: OrderedDict[tuple[str, str], int] = OrderedDict()
        """Bucket → when it will be full again, by the local clock."""
        self._sweep_at = local_clock() + SWEEP_NS

    async def count_request(self, parties: Iterable[Party]) -> None:
        parties = tuple(parties)
        rates = request_rates(parties)
        if not rates:
            return
        taking = _Taking(rates, 1, self._clock, others=image_rates(parties))
        try:
            await self._database.write(taking.run_alone)
        finally:
            self._note(taking)

    def admit(self, parties: Iterable[Party], images: int) -> Place:
        parties = tuple(parties)
        rates = image_rates(parties)
        refuse_impossible(rates, images)
        crowded = [party for party in parties if party.limits.concurrency is not None]
        return _SharedPlace(crowded, _Taking(rates, images, self._clock), self._note)

    def standings(self, parties: Iterable[Party]) -> list[Standing]:
        parties, now = tuple(parties), self._local_clock()
        rates = [*request_rates(parties), *image_rates(parties)]
        return tightest(rate.standing(self._seen.get(rate.key, now), now) for rate in rates)

    async def tend(self) -> None:
        if self._local_clock() >= self._sweep_at:
            self._sweep_at = self._local_clock() + SWEEP_NS
            await self._database.write(partial(_forget_full, clock=self._clock))

    def _note(self, taking: "_Taking") -> None:
        offset = self._local_clock() - taking.now
        for key, full_at in taking.found.items():
            self._seen[key] = full_at + offset
            self._seen.move_to_end(key)
        while len(self._seen) > REMEMBERED_BUCKETS:
            self._seen.popitem(last=False)


class _Taking:
    """Takes tokens from all buckets of some rates or, undone with its transaction, from none. It can be run again."""

    def __init__(
        self, rates: list[Rate], count: int, clock: Callable[[Connection], int], *, others: Iterable[Rate] = ()
    ) -> None:
        """`others` are only looked at."""
        self._rates = rates
        self._count = count
        self._clock = clock
        self._others = list(others)
        self.now = 0
        self.found: dict[tuple[str, str], int] = {}
        """Bucket → when it will be full again, as it is after this: with the tokens taken, or refused."""

    def run_alone(self, connection: Connection) -> None:
        """As a transaction of its own. Raises RateLimited."""
        if connection.dialect.name == "postgresql":
            connection.execute(_FORGETFUL)
        self.run(connection)

    def run(self, connection: Connection) -> None:
        """Raises RateLimited."""
        if not self._rates:
            return
        self.now, self.found = self._clock(connection), {}
        waits = [(rate, self._take(connection, rate)) for rate in self._rates]
        if any(wait for _, wait in waits):
            for rate, wait in waits:
                if not wait:  # it will be undone
                    self.found[rate.key] -= self._count * rate.interval_ns
        for rate in self._others:
            self.found[rate.key] = self._look(connection, rate)
        refuse_rates(waits)

    def _take(self, connection: Connection, rate: Rate) -> int:
        """Returns the nanoseconds to wait, 0 if they were taken."""
        values = {
            "party_id": rate.party.id,
            "kind": rate.kind,
            "now": self.now,
            "cost": self._count * rate.interval_ns,
            "capacity": rate.capacity_ns,
        }
        full_at = connection.execute(_TAKE, values).scalar_one_or_none()
        if full_at is not None:
            self.found[rate.key] = full_at
            return 0
        full_at = self.found[rate.key] = self._look(connection, rate)
        return rate.wait_ns(self._count, full_at, self.now)

    def _look(self, connection: Connection, rate: Rate) -> int:
        mine = (rate_buckets.c.party_id == rate.party.id, rate_buckets.c.kind == rate.kind)
        full_at: int | None = connection.execute(select(rate_buckets.c.full_at).where(*mine)).scalar_one_or_none()
        return self.now if full_at is None else full_at

    def lock(self, connection: Connection, party: Party) -> None:
        """Until the end of the transaction nobody else counts this party's orders."""
        connection.execute(_LOCK, {"party_id": party.id, "kind": ORDERS, "now": self._clock(connection)})


class _SharedPlace(Place):
    """It is the order's open row that takes a place, from its first transaction to its last."""

    def __init__(self, crowded: list[Party], taking: _Taking, note: Callable[[_Taking], None]) -> None:
        self._crowded = crowded
        self._taking = taking
        self._note = note

    def claim(self, connection: Connection) -> None:
        for party in self._crowded:
            self._taking.lock(connection, party)
            refuse_places(party, _count_open(connection, party))
        self._taking.run(connection)

    def confirm(self) -> None:
        self._note(self._taking)

    def release(self, error: BaseException | None = None) -> None:
        if isinstance(error, RateLimited):
            self._note(self._taking)


def _count_open(connection: Connection, party: Party) -> int:
    owner = generations.c.account_id if party.is_account else generations.c.api_key_id
    query = select(func.count()).where(owner == party.id, generations.c.status.in_(_OPEN))
    return connection.execute(query).scalar_one()


def _forget_full(connection: Connection, clock: Callable[[Connection], int]) -> None:
    connection.execute(rate_buckets.delete().where(rate_buckets.c.full_at < clock(connection) - SWEEP_NS))
