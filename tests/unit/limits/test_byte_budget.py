import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.errors import Overloaded
from pinxit.limits.byte_budget import ByteBudget, ByteLease

pytestmark = pytest.mark.fast


def test_a_lease_grows_and_gives_everything_back():
    budget = ByteBudget(100)
    with budget.reserve(10) as lease:
        lease.grow(20)
        assert (budget.used_bytes, lease.held_bytes) == (30, 30)
    assert (budget.used_bytes, lease.held_bytes) == (0, 0)


def test_what_does_not_fit_is_refused_at_once_and_takes_nothing():
    budget = ByteBudget(100, retry_after_seconds=3.0)
    with budget.reserve(60) as lease:
        with pytest.raises(Overloaded) as refused:
            budget.reserve(41)
        with pytest.raises(Overloaded):
            lease.grow(41)
        assert refused.value.retry_after_seconds == 3.0
        assert budget.used_bytes == lease.held_bytes == 60
        budget.reserve(40).release()
    assert budget.used_bytes == 0


def test_a_second_release_changes_nothing():
    budget = ByteBudget(100)
    with budget.reserve(50) as other, budget.reserve(30) as lease:
        lease.release()
        lease.release()
        assert budget.used_bytes == other.held_bytes == 50
    assert budget.used_bytes == 0


def test_a_released_lease_cannot_grow():
    lease = ByteBudget(100).reserve(1)
    lease.release()
    with pytest.raises(ValueError, match="released"):
        lease.grow(1)


@pytest.mark.parametrize("total_bytes", [0, -1])
def test_a_budget_has_at_least_one_byte(total_bytes: int):
    with pytest.raises(ValueError, match="at least 1"):
        ByteBudget(total_bytes)


def test_a_lease_never_shrinks():
    with pytest.raises(ValueError, match="-1"):
        ByteBudget(10).reserve(-1)


async def test_a_cancelled_holder_gives_back():
    budget = ByteBudget(100)
    holds = asyncio.Event()

    async def hold():
        with budget.reserve(70):
            holds.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await holds.wait()
    assert budget.used_bytes == 70
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.used_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), st.integers(0, 60))), max_size=60))
def test_the_sum_of_all_leases_is_what_is_used(steps: list[tuple[int, int | None]]):
    """A number grows one of five leases, None releases it and begins it anew."""
    budget = ByteBudget(100)
    leases: list[ByteLease] = [budget.reserve() for _ in range(5)]
    held = [0] * 5
    for index, count in steps:
        if count is None:
            leases[index].release()
            leases[index], held[index] = budget.reserve(), 0
        elif sum(held) + count <= budget.total_bytes:
            leases[index].grow(count)
            held[index] += count
        else:
            with pytest.raises(Overloaded):
                leases[index].grow(count)
        assert budget.used_bytes == sum(held)
        assert [lease.held_bytes for lease in leases] == held
    for lease in leases:
        lease.release()
    assert budget.used_bytes == 0
