"""Limits against a clock that the test moves."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.api.rations import duration
from pinxit.errors import InvalidValue, RateLimited
from pinxit.keys.model import Limits
from pinxit.limits import rates
from pinxit.limits.rates import Limiter, Party

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 5 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> Limiter:
    return Limiter(clock)


def party(id_: str = "key", **limits: int) -> Party:
    return Party(id_, "This API key", Limits(**limits))


def count(limiter: Limiter, *parties: Party) -> int:
    """How many requests are let through at once."""
    passed = 0
    while passed < 1000:
        try:
            limiter.count_request(parties)
        except RateLimited:
            return passed
        passed += 1
    return passed


def test_a_minutes_requests_can_come_at_once(limiter: Limiter) -> None:
    assert count(limiter, party(requests_per_minute=5)) == 5


def test_they_come_back_evenly(limiter: Limiter, clock: Clock) -> None:
    key = party(requests_per_minute=6)
    count(limiter, key)
    clock.now += 10 * SECOND
    assert count(limiter, key) == 1
    clock.now += 25 * SECOND
    assert count(limiter, key) == 2
    clock.now += 3600 * SECOND
    assert count(limiter, key) == 6


@settings(deadline=None)
@given(limit=st.integers(1, 2_000), at=st.integers(0, 10**12))
def test_who_waits_as_long_as_told_is_let_in(limit: int, at: int) -> None:
    clock = Clock()
    clock.now = at
    limiter, key = Limiter(clock), party(requests_per_minute=limit)
    for _ in range(limit):
        limiter.count_request([key])
    with pytest.raises(RateLimited) as refused:
        limiter.count_request([key])
    clock.now += math.ceil(refused.value.retry_after_seconds * 1000) * 1_000_000
    limiter.count_request([key])


def test_keys_do_not_take_from_each_other(limiter: Limiter) -> None:
    assert count(limiter, party("one", requests_per_minute=2)) == 2
    assert count(limiter, party("two", requests_per_minute=2)) == 2


def test_what_the_account_refuses_is_not_counted_for_the_key(limiter: Limiter) -> None:
    account = party("account", requests_per_minute=3)
    key = party(requests_per_minute=5)
    assert count(limiter, key, account) == 3
    assert limiter.standings([key])[0].remaining == 2


def test_pictures_count_one_by_one(limiter: Limiter) -> None:
    key = party(images_per_minute=10)
    for images in (4, 6):
        limiter.admit([key], images)
    with pytest.raises(RateLimited, match="10 images a minute") as refused:
        limiter.admit([key], 2)
    assert refused.value.retry_after_seconds == 12


def test_more_pictures_than_a_minute_has_are_refused_for_good(limiter: Limiter) -> None:
    with pytest.raises(InvalidValue) as refused:
        limiter.admit([party(images_per_minute=3)], 4)
    assert refused.value.param == "n"


def test_orders_open_at_once_are_bounded(limiter: Limiter) -> None:
    key = party(concurrency=2)
    first, second = limiter.admit([key], 1), limiter.admit([key], 1)
    with pytest.raises(RateLimited):
        limiter.admit([key], 1)
    first.release()
    first.release()
    with limiter.admit([key], 1), pytest.raises(RateLimited):
        limiter.admit([key], 1)
    second.release()
    assert limiter._open == {}


def test_a_refused_order_takes_no_pictures_and_no_place(limiter: Limiter) -> None:
    key, account = party(images_per_minute=5, concurrency=5), party("account", images_per_minute=2)
    with pytest.raises(InvalidValue):
        limiter.admit([key, account], 3)
    limiter.admit([key, account], 2)
    with pytest.raises(RateLimited):
        limiter.admit([key, account], 1)
    assert limiter.standings([key])[0].remaining == 3
    assert limiter._open == {"key": 1, "account": 1}


def test_the_tightest_limit_is_told(limiter: Limiter) -> None:
    key, account = party(requests_per_minute=10), party("account", requests_per_minute=4, images_per_minute=60)
    limiter.count_request([key, account])
    requests, images = limiter.standings([key, account])
    assert (requests.kind, requests.limit, requests.remaining, requests.reset_seconds) == ("requests", 4, 3, 15)
    assert (images.kind, images.limit, images.remaining, images.reset_seconds) == ("images", 60, 60, 0)
    assert limiter.standings([party("free")]) == []


def test_full_buckets_are_forgotten(limiter: Limiter, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "MAX_BUCKETS", 3)
    for number in range(3):
        limiter.count_request([party(str(number), requests_per_minute=60)])
    clock.now += 2 * SECOND
    limiter.count_request([party("new", requests_per_minute=60)])
    assert list(limiter._buckets) == [("requests", "new")]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0ms"), (0.0121, "13ms"), (1, "1s"), (1.5, "1.5s"), (360, "6m0s"), (59.9999, "1m0s")]
)
def test_spans_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text
