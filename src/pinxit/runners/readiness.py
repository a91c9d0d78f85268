"""What a runner's state is, and waiting for it; how long to wait before trying again."""

import asyncio
from collections.abc import Iterator

from pinxit.errors import BackendUnavailable
from pinxit.runners.interface import RunnerState, Status

STARTING = RunnerState(Status.STARTING)
READY = RunnerState(Status.READY)


def failed(reason: str) -> RunnerState:
    """The state `failed`, for this reason: one sentence."""
    return RunnerState(Status.FAILED, reason)


def backoff_seconds(first: float = 0.2, longest: float = 30.0) -> Iterator[float]:
    """How long to wait before the first, second, … new attempt: doubling, for ever."""
    delay = first
    while True:
        yield delay
        delay = min(delay * 2, longest)


class Readiness:
    """The state of a runner, to be read, set and waited for."""

    def __init__(self) -> None:
        self._state = STARTING
        self._settled = asyncio.Event()
        self._change = asyncio.Event()

    @property
    def state(self) -> RunnerState:
        return self._state

    @state.setter
    def state(self, state: RunnerState) -> None:
        self._state = state
        change, self._change = self._change, asyncio.Event()
        change.set()
        if state.status is Status.STARTING:
            self._settled.clear()
        else:
            self._settled.set()

    async def wait_change(self, seen: RunnerState) -> RunnerState:
        """The state, once it is no longer `seen`."""
        while self._state == seen:
            await self._change.wait()
        return self._state

    async def wait(self, timeout_seconds: float | None = None) -> None:
        """Return when ready. Raises BackendUnavailable once failed, or if it still starts after `timeout_seconds`."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self._state.status is Status.STARTING:
                    await self._settled.wait()
        except TimeoutError as error:
            raise BackendUnavailable("The painter is still starting. Nothing was charged.") from error
        if self._state.status is Status.FAILED:
            raise BackendUnavailable(self._state.reason)
