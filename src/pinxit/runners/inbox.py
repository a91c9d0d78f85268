"""What one order has received and its reader has not yet taken."""

import asyncio
from collections import deque

from pinxit.backends.interface import PaintEvent, Progress, Queued
from pinxit.errors import PinxitError


class Inbox:
    """Never full: a new step takes the place of the picture's last one; of pictures, the painter sends few ahead."""

    def __init__(self) -> None:
        self._events: deque[PaintEvent] = deque()
        self._news = asyncio.Event()
        self._error: PinxitError | None = None
        self.finished = False

    def put(self, event: PaintEvent) -> None:
        """Add an event; of progress without a preview, and of queue positions, only the last is kept."""
        if isinstance(event, Queued | Progress):
            self._events = deque(old for old in self._events if not _replaces(event, old))
        self._events.append(event)
        self._news.set()

    def finish(self, error: PinxitError | None = None) -> None:
        """Nothing more will come; after what is here, the reader gets `error`. Only the first call counts."""
        if not self.finished:
            self.finished, self._error = True, error
            self._news.set()

    async def take(self) -> PaintEvent | None:
        """The next event; None after the last. Raises the error that `finish` was given."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self.finished:
                return None
            self._news.clear()
            await self._news.wait()
        return self._events.popleft()


def _replaces(new: Queued | Progress, old: PaintEvent) -> bool:
    if isinstance(new, Progress) and isinstance(old, Progress):
        return old.index == new.index and old.preview is None
    return isinstance(new, Queued) and isinstance(old, Queued)
