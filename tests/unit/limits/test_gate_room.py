"""How many orders are let in, and when to come back."""

import pytest

from pinxit.errors import Overloaded
from pinxit.limits.gate import Gate

pytestmark = pytest.mark.fast


def test_so_many_are_let_in_and_no_more():
    gate = Gate(2, 2)
    gate.admit(), gate.admit()
    with pytest.raises(Overloaded, match="queue of 2 orders is full"):
        gate.admit()
    assert gate.admitted == 2


def test_who_leaves_makes_room():
    gate = Gate(1, 1)
    for _ in range(3):
        with gate.admit():
            assert gate.admitted == 1
    assert gate.admitted == 0


def test_also_who_leaves_in_anger():
    gate = Gate(1, 1)
    with pytest.raises(ZeroDivisionError), gate.admit():
        raise ZeroDivisionError
    assert gate.admitted == 0


def retry_after(gate: Gate) -> float:
    with gate.admit(), pytest.raises(Overloaded) as refused:
        gate.admit()
    return refused.value.retry_after_seconds


def paint(gate: Gate, seconds: float | None) -> None:
    with gate.admit() as ticket:
        ticket.seconds = seconds


def test_the_time_to_come_back_follows_how_long_orders_take():
    gate = Gate(1, 1)
    before = retry_after(gate)
    for _ in range(50):
        paint(gate, 10.0)
    assert 9.0 < retry_after(gate) <= 10.0
    assert before == 1.0


@pytest.mark.parametrize(("seconds", "told"), [(0.001, 1.0), (100_000.0, 60.0)])
def test_within_reason(seconds: float, told: float):
    gate = Gate(1, 1)
    for _ in range(50):
        paint(gate, seconds)
    assert retry_after(gate) == told


def test_what_was_never_painted_does_not_count():
    gate = Gate(1, 1)
    for _ in range(50):
        paint(gate, None)
    assert retry_after(gate) == 1.0
