"""An order that is being painted in this process: how far it is, who follows it, and how to stop it."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pinxit.backends.interface import Credential, Job
from pinxit.generations.generation import Progress, Status
from pinxit.images.pixels import Pixels

ProgressListener = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Preview:
    """What the order's picture `index` looks like so far; `number` counts its previews. Both begin at 0."""

    index: int
    number: int
    pixels: Pixels


PreviewListener = Callable[[Preview], None]


@dataclass(slots=True)
class Audience:
    """Who would miss an order: how many wait for its answer on their own connection, and how many look on."""

    waiting: int = 0
    watching: int = 0

    @contextmanager
    def wait(self) -> Iterator[None]:
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    @contextmanager
    def watch(self) -> Iterator[None]:
        self.watching += 1
        try:
            yield
        finally:
            self.watching -= 1


class Live:
    """Adds up the progress of an order's pictures and wakes who follows it."""

    def __init__(
        self,
        steps: int,
        tell: ProgressListener | None,
        task: "asyncio.Task[object] | None",
        *,
        show: PreviewListener | None = None,
        audience: Audience | None = None,
    ) -> None:
        """`steps`: of all pictures together; `task`: the one that paints, to be cancelled."""
        self.audience = audience or Audience()
        self.progress = Progress(steps=steps)
        self.version = 1
        """Grows with every change."""
        self.is_cancelled = False
        self.sent_to = ""
        """The backend that has the order, or has painted of it; empty as long as surely none has done any work."""
        self.jobs: tuple[Job, ...] = ()
        self.credential: Credential | None = None
        """What is under way at `sent_to` and is written down, so that the next process can go on with it."""
        self.is_stopping = False
        """Whether it is this process that stops, and not the order."""
        self.is_final = False
        """Whether nothing is painted any more and only the books are left: too late to cancel."""
        self._tell = tell
        self._task = task
        self._show = show
        self._previews: dict[int, int] = {}
        self._change = asyncio.Event()
        self._end = asyncio.Event()

    def queued(self, position: int) -> None:
        self.progress.position = position
        self._publish()

    def stepped(self, index: int, step: int) -> None:
        """Picture `index` has done `step`; a picture that is painted again does not fall back."""
        steps = self.progress.of_pictures
        steps[index] = max(step, steps.get(index, 0))
        self.progress.status = Status.IN_PROGRESS
        self.progress.position = 0
        self.progress.step = sum(steps.values())
        self._publish()

    def previewed(self, preview: Preview) -> None:
        """A preview was made; one of a picture that is painted again is shown only if it is new."""
        if preview.number >= self._previews.get(preview.index, 0):
            self._previews[preview.index] = preview.number + 1
            if self._show is not None:
                self._show(preview)

    def cancel(self) -> None:
        """Stop painting, between two steps; once, so that what ends the order is not stopped too."""
        if not self.is_final and not self.is_cancelled:
            self.is_cancelled = True
            if self._task is not None:
                self._task.cancel()

    def end(self) -> None:
        """The order has ended, and its row says how."""
        self._end.set()
        self._publish()

    async def wait_for_change(self, seen: int) -> None:
        """Return when the version is no longer `seen`."""
        while self.version == seen and not self._end.is_set():
            await self._change.wait()

    async def wait_for_end(self, seconds: float | None = None) -> None:
        """Return when the order has ended, or after `seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._end.wait()

    def _publish(self) -> None:
        self.version += 1
        change, self._change = self._change, asyncio.Event()
        change.set()
        if self._tell is not None:
            self._tell(self.progress)
