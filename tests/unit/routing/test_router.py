"""Who is asked first, and how often the same one is asked again."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.errors import InvalidValue
from pinxit.images.request import ANYWHERE, Routing
from pinxit.routing.breaker import FAILURES_IN_A_ROW, FIRST_REST_SECONDS
from pinxit.routing.router import Candidate, LeftAlone, Router, Sort


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def candidate(name: str, price: int = 10, weight: float = 1.0) -> Candidate:
    return Candidate(f"{name}/model", name, price, weight=weight)


def router(clock: Clock | None = None) -> Router:
    return Router(clock or Clock(), remote=lambda name: name != "local", seed=1)


def names(candidates: list[Candidate]) -> list[str]:
    return [found.backend for found in candidates]


A, B, C = candidate("a", 30), candidate("b", 10), candidate("c", 20)


def fail(there: Router, found: Candidate, times: int = FAILURES_IN_A_ROW) -> None:
    for _ in range(times):
        there.failed(found, there.admit(found))


def test_in_the_order_of_the_configuration():
    assert names(router().arrange([A, B, C], Sort.ORDER, ANYWHERE)) == ["a", "b", "c"]


def test_the_cheapest_first():
    assert names(router().arrange([A, B, C], Sort.PRICE, ANYWHERE)) == ["b", "c", "a"]


def test_the_fastest_of_late_first_and_one_that_nobody_tried_before_it():
    there = router()
    there.succeeded(A, there.admit(A), 1.0)
    there.succeeded(B, there.admit(B), 3.0)
    assert names(there.arrange([B, A, C], Sort.LATENCY, ANYWHERE)) == ["c", "a", "b"]
    there.succeeded(C, there.admit(C), 2.0)
    for _ in range(20):
        there.succeeded(A, there.admit(A), 9.0)
    assert names(there.arrange([A, B, C], Sort.LATENCY, ANYWHERE)) == ["c", "b", "a"]


def test_weights_are_how_often_each_is_first():
    there = router()
    three = [candidate("a", weight=6), candidate("b", weight=3), candidate("c", weight=1)]
    first = Counter(there.arrange(three, Sort.WEIGHT, ANYWHERE)[0].backend for _ in range(10_000))
    for name, share in (("a", 0.6), ("b", 0.3), ("c", 0.1)):
        assert first[name] / 10_000 == pytest.approx(share, abs=0.02)


@given(who=st.text(max_size=20), gone=st.integers(0, 4), weights=st.lists(st.floats(0.1, 10), min_size=5, max_size=5))
def test_who_sticks_to_one_stays_when_another_goes(who: str, gone: int, weights: list[float]):
    five = [candidate(f"backend-{place}", weight=weight) for place, weight in enumerate(weights)]
    before = names(router().arrange(five, Sort.STICKY, ANYWHERE, sticky_to=who))
    left = [found for place, found in enumerate(five) if place != gone]
    after = names(router().arrange(left, Sort.STICKY, ANYWHERE, sticky_to=who))
    assert after == [name for name in before if name != f"backend-{gone}"]


def test_those_who_stick_are_spread_by_weight():
    there = router()
    two = [candidate("a", weight=3), candidate("b", weight=1)]
    first = Counter(there.arrange(two, Sort.STICKY, ANYWHERE, sticky_to=str(who))[0].backend for who in range(4000))
    assert first["a"] / 4000 == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("wish", "left"),
    [
        (Routing(only=("c", "a")), ["a", "c"]),
        (Routing(ignore=("a",)), ["b", "c"]),
        (Routing(order=("c",)), ["c", "a", "b"]),
        (Routing(order=("c", "b"), allow_fallbacks=False), ["c"]),
        (Routing(sort="price"), ["b", "c", "a"]),
        (Routing(only=("a", "b"), ignore=("a",)), ["b"]),
    ],
)
def test_what_a_request_wishes(wish: Routing, left: list[str]):
    assert names(router().arrange([A, B, C], Sort.ORDER, wish)) == left


def test_who_wants_one_and_no_other_gets_no_other():
    there = router()
    fail(there, A)
    wish = Routing(order=("a",), allow_fallbacks=False)
    assert names(there.arrange([A, B], Sort.ORDER, wish)) == ["a"]
    assert names(there.arrange([A, B], Sort.ORDER, Routing(allow_fallbacks=False))) == ["b"]


def test_a_wish_that_leaves_nobody_is_told():
    with pytest.raises(InvalidValue) as caught:
        router().arrange([A, B], Sort.ORDER, Routing(only=("nobody",)))
    assert (caught.value.param, caught.value.allowed) == ("provider", ("a", "b"))


def test_one_that_fails_goes_to_the_end_and_comes_back():
    clock = Clock()
    there = router(clock)
    fail(there, A)
    assert names(there.arrange([A, B], Sort.ORDER, ANYWHERE)) == ["b", "a"]
    with pytest.raises(LeftAlone) as caught:
        there.admit(A)
    assert caught.value.retry_after_seconds == FIRST_REST_SECONDS
    clock.now = FIRST_REST_SECONDS
    assert names(there.arrange([A, B], Sort.ORDER, ANYWHERE)) == ["a", "b"]
    probe = there.admit(A)
    with pytest.raises(LeftAlone):
        there.admit(A)
    there.succeeded(A, probe, 1.0)
    there.admit(A)


def test_a_painter_of_this_machine_is_never_left_alone():
    there = router()
    fail(there, candidate("local"), 10)
    there.admit(candidate("local"))


def test_repeats_are_a_tenth_of_the_orders():
    there = router()
    while there.may_retry():  # what there is at first
        pass
    repeats = 0
    for _ in range(1000):
        there.count_order()
        repeats += there.may_retry()
    assert 98 <= repeats <= 100


def test_the_budget_of_repeats_is_not_saved_up():
    there = router()
    for _ in range(1000):
        there.count_order()
    saved = 0
    while there.may_retry():
        saved += 1
    assert saved == 10


@given(st.floats(0, 5))
def test_a_wait_before_a_repeat_is_never_shorter_than_was_said(seconds: float):
    assert seconds < router().spread(seconds) <= 1.1 * seconds + 0.03
