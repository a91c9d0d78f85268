"""Runs a backend in this event loop: for backends that only wait, as upstream providers do, and for tests."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress

import structlog

from pinxit.backends.interface import Backend, Credential, Job, PaintEvent, PaintOrder
from pinxit.errors import BackendUnavailable, StartupError
from pinxit.runners.checked import paint_checked
from pinxit.runners.interface import Runner, RunnerState
from pinxit.runners.readiness import READY, Readiness, backoff_seconds, failed

logger = structlog.get_logger(__name__)

GIVE_UP_SECONDS = 5.0
"""How long a backend may take to open before jobs are left to themselves that nobody wants."""


class InlineRunner(Runner):
    """Runs `backend` here. An open() that fails is tried again, after 0.2 s at first and 30 s at last."""

    def __init__(self, backend: Backend, *, ready_timeout_seconds: float = 60.0) -> None:
        self._backend = backend
        self._ready_timeout_seconds = ready_timeout_seconds
        self._readiness = Readiness()
        self._opening: asyncio.Task[None] | None = None
        self._queue_depth = 0

    async def start(self) -> None:
        self._opening = asyncio.create_task(self._open(), name=f"open {self._backend.name}")

    @property
    def state(self) -> RunnerState:
        return self._readiness.state

    @property
    def queue_depth(self) -> int:
        return self._queue_depth

    async def wait_ready(self) -> None:
        await self._readiness.wait()

    async def paint(
        self, order: PaintOrder, *, ready_timeout_seconds: float | None = None
    ) -> AsyncGenerator[PaintEvent, None]:
        self._queue_depth += 1
        try:
            timeout = self._ready_timeout_seconds if ready_timeout_seconds is None else ready_timeout_seconds
            await self._readiness.wait(timeout)
            async with aclosing(paint_checked(self._backend, order)) as events:
                async for event in events:
                    yield event
        finally:
            self._queue_depth -= 1

    async def give_up(self, jobs: Sequence[Job], credential: Credential | None = None) -> None:
        with suppress(BackendUnavailable):
            await self._readiness.wait(GIVE_UP_SECONDS)
            await self._backend.give_up(jobs, credential)

    async def close(self) -> None:
        opening, self._opening = self._opening, None
        self._readiness.state = failed("Pinxit is stopping.")
        if opening is None:
            return
        opening.cancel()
        await asyncio.wait({opening})
        await self._backend.close()

    async def _open(self) -> None:
        for delay in backoff_seconds():
            try:
                await self._backend.open()
            except StartupError as error:
                reason = error.message
            except Exception as error:  # noqa: BLE001 - a plugin's bug in open() is reported as the state
                reason = f"The backend {self._backend.name!r} cannot be opened ({type(error).__name__}: {error})."
            else:
                self._readiness.state = READY
                return
            self._readiness.state = failed(reason)
            logger.error("backend_failed", backend=self._backend.name, reason=reason, retry_seconds=delay)
            await asyncio.sleep(delay)
