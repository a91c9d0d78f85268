"""How much each API key and each account may ask for: requests and pictures a minute, orders open at once.

One process keeps count in its memory (`limits.memory`); several that share a database do it there (`limits.shared`).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from sqlalchemy import Connection

from pinxit.errors import InvalidValue, RateLimited

MINUTE_NS = 60_000_000_000
REQUESTS, IMAGES = "requests", "images"


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
    is_account: bool = False


@dataclass(frozen=True, slots=True)
class Standing:
    """How much of one limit is left, and when all of it is there again. `kind`: requests or images."""

    kind: str
    limit: int
    remaining: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Rate:
    """So many tokens a minute, which come back evenly. What is left is kept as the time when all will be there again.

    That is the virtual scheduling algorithm of ITU-T I.371, all in whole nanoseconds: what a refusal says one has to
    wait is enough, to the nanosecond.
    """

    party: Party
    kind: str
    limit: int

    @property
    def key(self) -> tuple[str, str]:
        return self.party.id, self.kind

    @property
    def interval_ns(self) -> int:
        """For one token."""
        return MINUTE_NS // self.limit

    @property
    def capacity_ns(self) -> int:
        """For all of them."""
        return self.limit * self.interval_ns

    def wait_ns(self, count: int, full_at: int, now: int) -> int:
        """Until `count` tokens are there; 0: now."""
        return max(0, max(full_at, now) + count * self.interval_ns - now - self.capacity_ns)

    def take(self, count: int, full_at: int, now: int) -> int:
        """When all tokens will be there again once `count` of them are taken."""
        return max(full_at, now) + count * self.interval_ns

    def standing(self, full_at: int, now: int) -> Standing:
        missing = max(full_at - now, 0)
        remaining = max(0, (self.capacity_ns - missing) // self.interval_ns)
        return Standing(self.kind, self.limit, remaining, missing / 1e9)


def request_rates(parties: Iterable[Party]) -> list[Rate]:
    """The limits that a request counts against."""
    return [
        Rate(party, REQUESTS, limit) for party in parties if (limit := party.limits.requests_per_minute) is not None
    ]


def image_rates(parties: Iterable[Party]) -> list[Rate]:
    """The limits that a picture counts against."""
    return [Rate(party, IMAGES, limit) for party in parties if (limit := party.limits.images_per_minute) is not None]


def tightest(standings: Iterable[Standing]) -> list[Standing]:
    """For requests and for images the one with the least left, where there is one."""
    found: dict[str, Standing] = {}
    for standing in standings:
        other = found.setdefault(standing.kind, standing)
        if (standing.remaining, standing.limit) < (other.remaining, other.limit):
            found[standing.kind] = standing
    return list(found.values())


def refuse_rates(waits: Iterable[tuple[Rate, int]]) -> None:
    """Raises RateLimited for the rate with the longest wait in nanoseconds, if there is any wait."""
    rate, wait = max(waits, key=lambda pair: pair[1], default=(None, 0))
    if rate is not None and wait:
        raise RateLimited(
            f"{rate.party.called} may ask for no more than {rate.limit} {rate.kind} a minute.",
            retry_after_seconds=wait / 1e9,
        )


def refuse_places(party: Party, open_orders: int) -> None:
    """Raises RateLimited if the party has as many orders open as it may."""
    most = party.limits.concurrency
    if most is not None and open_orders >= most:
        raise RateLimited(f"{party.called} may have {most} orders open at once, and has them.")


def refuse_impossible(rates: Iterable[Rate], images: int) -> None:
    """Raises InvalidValue if so many pictures are never to be had."""
    for rate in rates:
        if images > rate.limit:
            raise InvalidValue(f"{rate.party.called} may ask for {rate.limit} pictures a minute.", param="n")


class Place(ABC):
    """One order among the open ones of its parties; leaving the `with` block gives its place back."""

    @abstractmethod
    def claim(self, connection: Connection) -> None:
        """A part of the transaction that opens the order. Raises RateLimited, and then it must be undone."""

    @abstractmethod
    def confirm(self) -> None:
        """That transaction is committed."""

    @abstractmethod
    def release(self, error: BaseException | None = None) -> None:
        """Doing it again changes nothing. `error`: what the block was left with."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(error)


class Limiter(ABC):
    """Counts what keys and accounts ask for. It never waits: what is too much is refused."""

    @abstractmethod
    async def count_request(self, parties: Iterable[Party]) -> None:
        """One request of theirs. Raises RateLimited, and then it counts for none of them; StorageUnavailable."""

    @abstractmethod
    def admit(self, parties: Iterable[Party], images: int) -> Place:
        """Let in an order of `images` pictures; its place is to be used in a `with`, and claimed there.

        Raises RateLimited, or InvalidValue if so many pictures are never to be had; then nothing is counted. What is
        not refused here may still be when the place is claimed.
        """

    @abstractmethod
    def standings(self, parties: Iterable[Party]) -> list[Standing]:
        """What is left, as far as this process knows: for requests and for images the tightest of the limits, where
        there is one.
        """

    @abstractmethod
    async def tend(self) -> None:
        """Forget what is no longer needed. To be called now and then. Raises StorageUnavailable."""
