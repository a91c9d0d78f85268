"""The circuit breaker, driven by any order of outcomes, against what it promises."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from pinxit.routing.breaker import (
    FAILURES_IN_A_ROW,
    FIRST_REST_SECONDS,
    LEAST_OUTCOMES,
    LONGEST_REST_SECONDS,
    WINDOW_SECONDS,
    Breaker,
    BreakerState,
    Pass,
)


def fail(breaker: Breaker, now: float, times: int = 1) -> None:
    for _ in range(times):
        ticket = breaker.admit(now)
        assert ticket is not None
        breaker.failed(now, ticket)


def test_it_opens_after_failures_in_a_row():
    breaker = Breaker()
    fail(breaker, 0, FAILURES_IN_A_ROW - 1)
    assert breaker.state(0) is BreakerState.CLOSED
    fail(breaker, 0)
    assert (breaker.state(0), breaker.admit(0)) == (BreakerState.OPEN, None)
    assert breaker.seconds_left(0) == FIRST_REST_SECONDS


def test_it_opens_for_one_that_fails_half_of_the_time():
    breaker = Breaker()
    for number in range(LEAST_OUTCOMES):
        assert breaker.state(number) is BreakerState.CLOSED
        ticket = breaker.admit(number)
        (breaker.failed if number % 2 else breaker.succeeded)(number, ticket)
    assert breaker.state(LEAST_OUTCOMES) is BreakerState.OPEN


def test_failures_of_long_ago_do_not_count():
    breaker = Breaker()
    for number in range(4 * LEAST_OUTCOMES):
        now = number * WINDOW_SECONDS / 2
        (breaker.failed if number % 2 else breaker.succeeded)(now, breaker.admit(now))
        assert breaker.state(now) is BreakerState.CLOSED


def test_each_failed_probe_doubles_the_rest():
    breaker, now, rest = Breaker(), 0.0, FIRST_REST_SECONDS
    fail(breaker, now, FAILURES_IN_A_ROW)
    for _ in range(8):
        assert breaker.seconds_left(now) == rest
        now += rest
        assert breaker.state(now) is BreakerState.HALF_OPEN
        fail(breaker, now)
        rest = min(2 * rest, LONGEST_REST_SECONDS)
    breaker.succeeded(now + rest, breaker.admit(now + rest))
    fail(breaker, now + rest, FAILURES_IN_A_ROW)
    assert breaker.seconds_left(now + rest) == FIRST_REST_SECONDS


def test_who_is_busy_is_left_alone_and_is_no_failure():
    breaker = Breaker()
    breaker.busy(0, breaker.admit(0), 7)
    assert (breaker.state(0), breaker.admit(6.9), breaker.seconds_left(0)) == (BreakerState.CLOSED, None, 7)
    assert breaker.admit(7) is not None


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "busy", "undecided"])
def test_an_order_of_before_the_rest_does_not_end_the_probe(outcome: str):
    breaker = Breaker()
    late = breaker.admit(0)
    assert late is not None
    fail(breaker, 0, FAILURES_IN_A_ROW)
    now = FIRST_REST_SECONDS
    assert breaker.admit(now) is not None
    match outcome:
        case "succeeded":
            breaker.succeeded(now, late)
        case "failed":
            breaker.failed(now, late)
        case "busy":
            breaker.busy(now, late, 0)
        case _:
            breaker.undecided(late)
    assert breaker.state(now) is BreakerState.HALF_OPEN
    assert breaker.admit(now) is None


class AnyOutcomes(RuleBasedStateMachine):
    """Orders that overlap, and end in any order: also those that were let through long before."""

    passes: Bundle = Bundle("passes")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker()
        self.now = 0.0
        self.probes: set[Pass] = set()

    @rule(seconds=st.floats(0.01, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_until_it_may_be_tried(self) -> None:
        self.now += self.breaker.seconds_left(self.now)

    @rule()
    def fail_until_it_opens(self) -> None:
        while self.breaker.state(self.now) is BreakerState.CLOSED and self.breaker.seconds_left(self.now) == 0:
            fail(self.breaker, self.now)

    @rule(target=passes)
    def ask(self) -> "Pass | None":
        state = self.breaker.state(self.now)
        ticket = self.breaker.admit(self.now)
        if state is BreakerState.OPEN:
            assert ticket is None
        if state is BreakerState.HALF_OPEN and ticket is not None:
            self.probes.add(ticket)
        return ticket

    @rule(ticket=consumes(passes))
    def succeed(self, ticket: "Pass | None") -> None:
        if ticket is None:
            return
        before = self.breaker.state(self.now)
        self.breaker.succeeded(self.now, ticket)
        is_closed = ticket in self.probes or before is BreakerState.CLOSED
        assert (self.breaker.state(self.now) is BreakerState.CLOSED) is is_closed
        self.probes.discard(ticket)
        if is_closed:
            self.probes.clear()

    @rule(ticket=consumes(passes))
    def fail(self, ticket: "Pass | None") -> None:
        if ticket is None:
            return
        before = self.breaker.state(self.now), self.breaker.seconds_left(self.now)
        self.breaker.failed(self.now, ticket)
        after = self.breaker.state(self.now), self.breaker.seconds_left(self.now)
        if ticket in self.probes:
            assert after[0] is BreakerState.OPEN
        elif before[0] is not BreakerState.CLOSED:
            assert after == before, "an order of before the rest does not change it"
        self.probes.discard(ticket)

    @rule(ticket=consumes(passes))
    def say_nothing(self, ticket: "Pass | None") -> None:
        if ticket is not None:
            self.breaker.undecided(ticket)
            self.probes.discard(ticket)

    @rule(ticket=consumes(passes), seconds=st.floats(0, 10))
    def be_busy(self, ticket: "Pass | None", seconds: float) -> None:
        if ticket is not None:
            self.breaker.busy(self.now, ticket, seconds)
            self.probes.discard(ticket)
            assert self.breaker.seconds_left(self.now) >= seconds - 1e-9

    @invariant()
    def one_probe_at_most(self) -> None:
        assert len(self.probes) <= 1

    @invariant()
    def no_rest_is_endless(self) -> None:
        assert self.breaker.seconds_left(self.now) <= LONGEST_REST_SECONDS


TestAnyOutcomes = AnyOutcomes.TestCase
TestAnyOutcomes.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
