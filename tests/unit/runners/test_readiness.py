import asyncio
from itertools import islice

import pytest

from pinxit.errors import BackendUnavailable
from pinxit.runners.readiness import READY, STARTING, Readiness, backoff_seconds, failed


def test_delays_double_up_to_half_a_minute() -> None:
    assert list(islice(backoff_seconds(), 10)) == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


async def test_whoever_waits_is_told() -> None:
    readiness = Readiness()
    waiting = asyncio.create_task(readiness.wait())
    await asyncio.sleep(0)
    readiness.state = READY

    await waiting
    assert readiness.state is READY


async def test_a_failure_is_told_at_once_and_starting_takes_too_long() -> None:
    readiness = Readiness()
    readiness.state = failed("No weights.")
    with pytest.raises(BackendUnavailable, match="No weights"):
        await readiness.wait()

    readiness.state = STARTING
    with pytest.raises(BackendUnavailable, match="still starting"):
        await readiness.wait(timeout_seconds=0.001)
