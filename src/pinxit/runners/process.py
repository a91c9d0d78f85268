"""Runs a backend in one supervised painter process, which can run out of memory, crash or hang without the API noticing
more than a PainterDied.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import structlog

from pinxit.backends.interface import PaintEvent, PaintOrder
from pinxit.errors import BackendUnavailable, StartupError
from pinxit.runners.frames import FrameError
from pinxit.runners.interface import Runner, RunnerState
from pinxit.runners.painter_process import KilledWhileStarting, PainterProcess
from pinxit.runners.readiness import READY, STARTING, Readiness, backoff_seconds, failed

MAX_KILLS = 3
"""How often in a row a painter may be killed while it starts before orders are turned away."""
STEADY_SECONDS = 10.0
"""A painter that was ready for so long is replaced without the delays that earlier failures have piled up."""
_PASSED_ON = ("PATH", "HOME", "LANG", "TMPDIR", "TZ", "VIRTUAL_ENV")
_PASSED_ON_PREFIXES = ("LC_", "LD_", "PYTHON", "OMP_", "PINXIT_TEST_")

logger = structlog.get_logger(__name__)


class ProcessRunner(Runner):
    """Runs the backend called `name` in a process of its own and replaces the process when it dies or hangs.

    The process sees little of this one's environment, lest it see its secrets; `environment` is added to that (malloc's
    settings, the number of threads). `factory`, `module:Class`, makes a backend that is not installed: for tests.
    """

    def __init__(
        self,
        name: str,
        *,
        factory: str | None = None,
        environment: Mapping[str, str] | None = None,
        ready_timeout_seconds: float = 60.0,
        open_timeout_seconds: float = 600.0,
        heartbeat_timeout_seconds: float = 30.0,
        close_timeout_seconds: float = 5.0,
    ) -> None:
        self._name = name
        what = ["--factory", factory] if factory else ["--backend", name]
        # -P: a file in the working directory must not shadow a module. -u: the last words are in the log.
        self._command = [
            sys.executable, "-P", "-u", "-X", "faulthandler", "-m", "pinxit.runners.painter", *what,
        ]  # fmt: skip
        self._environment = _passed_on(os.environ) | dict(environment or {})
        self._ready_timeout_seconds = ready_timeout_seconds
        self._open_timeout_seconds = open_timeout_seconds
        self._heartbeat_timeout_seconds = heartbeat_timeout_seconds
        self._close_timeout_seconds = close_timeout_seconds
        self._readiness = Readiness()
        self._painter: PainterProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._queue_depth = 0

    async def start(self) -> None:
        self._supervisor = asyncio.create_task(self._supervise(), name=f"painter {self._name}")

    @property
    def state(self) -> RunnerState:
        return self._readiness.state

    @property
    def queue_depth(self) -> int:
        return self._queue_depth

    @property
    def pid(self) -> int | None:
        """The painter's process id while there is a process."""
        return self._painter.pid if self._painter else None

    async def wait_ready(self) -> None:
        await self._readiness.wait()

    async def wait_change(self, seen: RunnerState) -> RunnerState:
        """The state, once it is no longer `seen`."""
        return await self._readiness.wait_change(seen)

    async def ping(self) -> int:
        """How many orders the painter itself has under way. Raises BackendUnavailable, PainterDied."""
        return await self._ready_painter().client.ping()

    async def paint(
        self, order: PaintOrder, *, ready_timeout_seconds: float | None = None
    ) -> AsyncGenerator[PaintEvent, None]:
        self._queue_depth += 1
        try:
            await self._readiness.wait(
                self._ready_timeout_seconds if ready_timeout_seconds is None else ready_timeout_seconds
            )
            async with aclosing(self._ready_painter().client.paint(order)) as events:
                async for event in events:
                    yield event
        finally:
            self._queue_depth -= 1

    async def close(self) -> None:
        supervisor, self._supervisor = self._supervisor, None
        if supervisor is not None:
            supervisor.cancel()
            await asyncio.wait({supervisor})
        is_polite = self.state is READY
        self._readiness.state = failed("Pinxit is stopping.")
        await self._end_painter(self._close_timeout_seconds if is_polite else 0.0)

    def _ready_painter(self) -> PainterProcess:
        if self._painter is None or self.state is not READY:
            raise BackendUnavailable(self.state.reason or None)
        return self._painter

    async def _supervise(self) -> None:
        delays = backoff_seconds()
        kills = 0
        while True:
            ready_seconds = 0.0
            try:
                ready_seconds = await self._live_one_life()
                kills = 0
                self._readiness.state = STARTING
            except KilledWhileStarting as error:
                kills += 1
                # Orders wait for the next one, unless no painter lives for long enough to be ready.
                self._readiness.state = failed(error.message) if kills >= MAX_KILLS else STARTING
                logger.error("painter_killed_while_starting", backend=self._name, reason=error.message, times=kills)
            except StartupError as error:
                self._readiness.state = failed(error.message)
                logger.error("painter_failed", backend=self._name, reason=error.message)
            except Exception:
                # A bug here must not end the supervision.
                self._readiness.state = failed(f"The painter of {self._name!r} failed; the log says why.")
                logger.exception("painter_failed", backend=self._name)
            await self._end_painter()
            if ready_seconds >= STEADY_SECONDS:
                delays = backoff_seconds()
            await asyncio.sleep(next(delays))

    async def _live_one_life(self) -> float:
        """Start a painter and serve it until it dies. Returns for how many seconds it was ready.

        Raises StartupError if it never was.
        """
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        painter = self._painter = await self._spawn()
        await self._wait_opened(painter)
        ready_at = loop.time()
        logger.info("painter_ready", backend=self._name, pid=painter.pid, seconds=round(ready_at - started_at, 3))
        self._readiness.state = READY
        try:
            ending = await painter.serve(self._heartbeat_timeout_seconds)
        except FrameError as error:
            ending = f"sent nonsense: {error}"
        logger.error("painter_died", backend=self._name, pid=painter.pid, ending=ending, orders=self._queue_depth)
        return loop.time() - ready_at

    async def _end_painter(self, grace_seconds: float = 0.0) -> None:
        if self._painter is not None:
            await self._painter.end(grace_seconds)
            self._painter = None

    async def _spawn(self) -> PainterProcess:
        try:
            return await PainterProcess.spawn(self._command, self._environment)
        except OSError as error:
            raise StartupError(f"The painter process cannot be started ({error.strerror}).") from error

    async def _wait_opened(self, painter: PainterProcess) -> None:
        try:
            async with asyncio.timeout(self._open_timeout_seconds):
                await painter.opened()
        except TimeoutError as error:
            raise StartupError(f"The painter was not ready after {self._open_timeout_seconds:g} seconds.") from error
        except FrameError as error:
            raise StartupError("The painter sent something that cannot be understood.") from error


def _passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in environment.items() if name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)
    }
