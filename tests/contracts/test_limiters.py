"""What every limiter keeps, against a clock that the test moves."""

import asyncio
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import pytest
from sqlalchemy import Connection, insert

from pinxit.api.rations import duration
from pinxit.database.interface import Database
from pinxit.database.tables import accounts, api_keys, generations, rate_buckets
from pinxit.errors import InvalidValue, RateLimited
from pinxit.keys.model import Limits
from pinxit.limits import memory
from pinxit.limits.memory import MemoryLimiter
from pinxit.limits.rates import Limiter, Party, Place
from pinxit.limits.shared import SharedLimiter, database_clock

SECOND = 1_000_000_000
ACCOUNT, KEY, OTHER_KEY = "acct_1", "key_1", "key_2"

_NUMBERS = itertools.count(1)


class Clock:
    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self, _: object = None) -> int:
        return self.now


def party(id_: str = KEY, **limits: int) -> Party:
    return Party(id_, "This API key", Limits(**limits))


def account(**limits: int) -> Party:
    return Party(ACCOUNT, "This account", Limits(**limits), is_account=True)


@dataclass
class Desk:
    """Lets orders in as the story does: admitted, claimed in the transaction that opens them, ended by another."""

    limiter: Limiter
    clock: Clock
    database: Database | None = None
    rows: dict[int, str] = field(default_factory=dict)
    """Place → the order in it."""

    async def count(self, *parties: Party) -> int:
        """How many requests are let through at once."""
        passed = 0
        while passed < 1000:
            try:
                await self.limiter.count_request(parties)
            except RateLimited:
                return passed
            passed += 1
        return passed

    async def open(self, *parties: Party, images: int = 1) -> Place:
        place = self.limiter.admit(parties, images)
        order = f"gen_{next(_NUMBERS)}"
        try:
            if self.database is not None:
                await self.database.write(partial(open_order, claim=place.claim, order=order, parties=parties))
        except BaseException as error:
            place.release(error)
            raise
        place.confirm()
        self.rows[id(place)] = order
        return place

    async def end(self, place: Place) -> None:
        if self.database is not None:
            done = generations.update().where(generations.c.id == self.rows[id(place)]).values(status="completed")
            await self.database.write(lambda connection: connection.execute(done))
        place.release()


def open_order(
    connection: Connection, claim: Callable[[Connection], None], order: str, parties: tuple[Party, ...]
) -> None:
    claim(connection)
    keys = [one.id for one in parties if not one.is_account]
    connection.execute(
        generations.insert().values(
            id=order, account_id=ACCOUNT, api_key_id=keys[0] if keys else None, request_id="req", status="queued",
            model="m", requested_model="m", prompt="p", parameters={}, storage_keys=[], cost_micros=0, input_tokens=0,
            output_tokens=0, created_at=datetime.now(UTC),
        )
    )  # fmt: skip


def make_owners(connection: Connection) -> None:
    now = datetime.now(UTC)
    connection.execute(insert(accounts).values(id=ACCOUNT, name="one", created_at=now))
    for key in (KEY, OTHER_KEY):
        connection.execute(
            insert(api_keys).values(
                id=key, account_id=ACCOUNT, name="", prefix="", last4="", secret_sha256=key, scopes=[], strict=False,
                created_at=now,
            )
        )  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(
    params=["memory", "shared over sqlite", pytest.param("shared", marks=pytest.mark.system("postgres"))],
)
def database_kind(request: pytest.FixtureRequest) -> str:
    return {"shared": "postgres"}.get(request.param, request.param)


@pytest.fixture
def shared_database(database_kind: str, request: pytest.FixtureRequest) -> Database | None:
    return None if database_kind == "memory" else request.getfixturevalue("database")


@pytest.fixture
async def desk(shared_database: Database | None, clock: Clock) -> Desk:
    database = shared_database
    if database is None:
        return Desk(MemoryLimiter(clock), clock)
    await database.write(make_owners)
    return Desk(SharedLimiter(database, clock=clock, local_clock=clock), clock, database)


async def test_a_minutes_requests_can_come_at_once(desk: Desk) -> None:
    assert await desk.count(party(requests_per_minute=5)) == 5


async def test_they_come_back_evenly(desk: Desk) -> None:
    key = party(requests_per_minute=6)
    await desk.count(key)
    desk.clock.now += 10 * SECOND
    assert await desk.count(key) == 1
    desk.clock.now += 25 * SECOND
    assert await desk.count(key) == 2
    desk.clock.now += 3600 * SECOND
    assert await desk.count(key) == 6


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 59, 60, 61, 997])
async def test_who_waits_as_long_as_told_is_let_in_and_nobody_earlier(desk: Desk, limit: int) -> None:
    desk.clock.now = 1_790_000_000_123_456_789
    key = party(requests_per_minute=limit)
    assert await desk.count(key) == min(limit, 1000)
    with pytest.raises(RateLimited) as refused:
        await desk.limiter.count_request([key])
    wait = round(refused.value.retry_after_seconds * SECOND)
    assert wait == 60 * SECOND // limit
    desk.clock.now += wait - 1
    assert await desk.count(key) == 0
    desk.clock.now += 1
    assert await desk.count(key) == 1


async def test_what_a_header_says_is_enough(desk: Desk) -> None:
    """Headers have whole milliseconds."""
    key = party(requests_per_minute=997)
    await desk.count(key)
    with pytest.raises(RateLimited) as refused:
        await desk.limiter.count_request([key])
    desk.clock.now += math.ceil(refused.value.retry_after_seconds * 1000) * 1_000_000
    await desk.limiter.count_request([key])


async def test_keys_do_not_take_from_each_other(desk: Desk) -> None:
    assert await desk.count(party(KEY, requests_per_minute=2)) == 2
    assert await desk.count(party(OTHER_KEY, requests_per_minute=2)) == 2


async def test_what_the_account_refuses_is_not_counted_for_the_key(desk: Desk) -> None:
    key = party(requests_per_minute=5)
    assert await desk.count(key, account(requests_per_minute=3)) == 3
    assert desk.limiter.standings([key])[0].remaining == 2
    assert await desk.count(key) == 2


async def test_the_longest_wait_is_told(desk: Desk) -> None:
    key, own_account = party(requests_per_minute=2), account(requests_per_minute=1)
    await desk.limiter.count_request([key])
    await desk.limiter.count_request([key, own_account])
    with pytest.raises(RateLimited, match="This account may ask for no more than 1 requests a minute") as refused:
        await desk.limiter.count_request([key, own_account])
    assert refused.value.retry_after_seconds == 60


async def test_pictures_count_one_by_one(desk: Desk) -> None:
    key = party(images_per_minute=10)
    for images in (4, 6):
        await desk.open(key, images=images)
    with pytest.raises(RateLimited, match="10 images a minute") as refused:
        await desk.open(key, images=2)
    assert refused.value.retry_after_seconds == 12
    assert desk.limiter.standings([key])[0].remaining == 0


async def test_more_pictures_than_a_minute_has_are_refused_for_good(desk: Desk) -> None:
    with pytest.raises(InvalidValue) as refused:
        await desk.open(party(images_per_minute=3), images=4)
    assert refused.value.param == "n"


async def test_orders_open_at_once_are_bounded(desk: Desk) -> None:
    key = party(concurrency=2)
    first, second = await desk.open(key), await desk.open(key)
    with pytest.raises(RateLimited, match="2 orders open at once") as refused:
        await desk.open(key)
    assert refused.value.retry_after_seconds == 1
    await desk.end(first)
    await desk.end(first)
    third = await desk.open(key)
    with pytest.raises(RateLimited):
        await desk.open(key)
    await desk.end(second)
    await desk.end(third)
    await desk.open(key)
    await desk.open(key)


async def test_an_accounts_orders_are_those_of_all_its_keys(desk: Desk) -> None:
    own_account = account(concurrency=2)
    await desk.open(party(KEY), own_account)
    await desk.open(party(OTHER_KEY), own_account)
    with pytest.raises(RateLimited, match="This account"):
        await desk.open(party(KEY), own_account)


async def test_a_keys_orders_are_not_another_keys(desk: Desk) -> None:
    await desk.open(party(KEY, concurrency=1))
    await desk.open(party(OTHER_KEY, concurrency=1))
    with pytest.raises(RateLimited):
        await desk.open(party(KEY, concurrency=1))


async def test_a_refused_order_takes_no_pictures_and_no_place(desk: Desk) -> None:
    key, own_account = party(images_per_minute=5, concurrency=2), account(images_per_minute=2)
    with pytest.raises(InvalidValue):
        await desk.open(key, own_account, images=3)
    await desk.open(key, own_account, images=2)
    with pytest.raises(RateLimited):
        await desk.open(key, own_account)
    assert desk.limiter.standings([key])[0].remaining == 3
    await desk.open(key, images=3)


async def test_the_tightest_limit_is_told(desk: Desk) -> None:
    key, own_account = party(requests_per_minute=10), account(requests_per_minute=4, images_per_minute=60)
    await desk.limiter.count_request([key, own_account])
    requests, images = desk.limiter.standings([key, own_account])
    assert (requests.kind, requests.limit, requests.remaining, requests.reset_seconds) == ("requests", 4, 3, 15)
    assert (images.kind, images.limit, images.remaining, images.reset_seconds) == ("images", 60, 60, 0)
    assert desk.limiter.standings([party(OTHER_KEY)]) == []


async def test_requests_at_the_same_time_get_what_there_is(desk: Desk) -> None:
    async def ask() -> bool:
        try:
            await desk.limiter.count_request([party(requests_per_minute=10), account(requests_per_minute=1000)])
        except RateLimited:
            return False
        return True

    assert sum(await asyncio.gather(*(ask() for _ in range(50)))) == 10
    assert desk.limiter.standings([account(requests_per_minute=1000)])[0].remaining == 990


async def test_orders_at_the_same_time_get_the_places_there_are(desk: Desk) -> None:
    results = await asyncio.gather(
        *(desk.open(party(concurrency=3), account(concurrency=5)) for _ in range(20)),
        *(desk.open(party(OTHER_KEY), account(concurrency=5)) for _ in range(20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, Place) for result in results) == 5
    assert sum(isinstance(result, RateLimited) for result in results) == 35


# --- each alone ---


async def test_full_buckets_are_forgotten_in_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_BUCKETS", 3)
    limiter = MemoryLimiter(clock)
    for number in range(3):
        await limiter.count_request([party(str(number), requests_per_minute=60)])
    clock.now += 2 * SECOND
    await limiter.count_request([party("new", requests_per_minute=60)])
    assert list(limiter._full_at) == [("new", "requests")]


@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.system("postgres"))])
async def test_full_buckets_are_forgotten_in_the_database(database: Database, clock: Clock) -> None:
    limiter = SharedLimiter(database, clock=clock, local_clock=clock)
    await limiter.count_request([party(KEY, requests_per_minute=60)])
    clock.now += 3 * 3600 * SECOND
    await limiter.count_request([party(OTHER_KEY, requests_per_minute=60)])
    await limiter.tend()
    rows = await database.read(lambda connection: connection.execute(rate_buckets.select()).all())
    assert [row.party_id for row in rows] == [OTHER_KEY]


@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.system("postgres"))])
async def test_what_a_shared_limiter_shows_agrees_with_its_database(database: Database) -> None:
    """The clocks are the real ones, that of the database and that of this process, and nothing of them shows."""
    limiter = SharedLimiter(database)
    await limiter.count_request([party(requests_per_minute=1)])
    [standing] = limiter.standings([party(requests_per_minute=1)])
    assert standing.remaining == 0
    assert 50 < standing.reset_seconds <= 60
    now = await database.read(database_clock)
    assert abs(now / SECOND - datetime.now(UTC).timestamp()) < 60


def standing_still(_: Connection) -> int:
    return 1_790_000_000_123_456_789


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.system("postgres"))])
async def test_four_processes_give_out_no_more_than_one(make_database: Callable[[], Database]) -> None:
    """100 requests of ten each minute, over four pools of connections that know nothing of each other: exactly ten."""
    limiters = [SharedLimiter(make_database(), clock=standing_still) for _ in range(4)]
    parties = [party(requests_per_minute=10), account(requests_per_minute=500)]

    async def ask(number: int) -> bool:
        try:
            await limiters[number % 4].count_request(parties)
        except RateLimited:
            return False
        return True

    assert sum(await asyncio.gather(*(ask(number) for number in range(100)))) == 10
    await limiters[0].count_request(parties[1:])
    assert limiters[0].standings(parties[1:])[0].remaining == 500 - 10 - 1


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.system("postgres"))])
async def test_four_processes_open_no_more_orders_than_one(make_database: Callable[[], Database]) -> None:
    """Two keys of one account, 100 orders: its seven, no more pictures than for those, and none for the refused."""
    databases = [make_database() for _ in range(4)]
    await databases[0].write(make_owners)
    desks = [Desk(SharedLimiter(one, clock=standing_still), Clock(), one) for one in databases]
    keys = [party(KEY, concurrency=5, images_per_minute=100), party(OTHER_KEY, images_per_minute=100)]
    own_account = account(concurrency=7, images_per_minute=1000)

    results = await asyncio.gather(
        *(desks[number % 4].open(keys[number // 4 % 2], own_account, images=2) for number in range(100)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, Place) for result in results) == 7
    assert sum(isinstance(result, RateLimited) for result in results) == 93
    await desks[0].limiter.count_request([party(requests_per_minute=1, images_per_minute=100), own_account])
    [_, images] = desks[0].limiter.standings([party(requests_per_minute=1), own_account])
    assert images.remaining == 1000 - 7 * 2


@pytest.mark.parametrize("database_kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.system("postgres"))])
async def test_who_has_no_limits_costs_no_query(database: Database) -> None:
    await database.close()
    limiter = SharedLimiter(database)
    await limiter.count_request([party(), account()])
    with limiter.admit([party(), account()], 3) as place:
        place.confirm()
    assert limiter.standings([party(), account()]) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.0121, "13ms"), (1, "1s"), (1.5, "1.5s"), (360, "6m0s"), (59.9999, "1m0s")]
)
def test_spans_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
