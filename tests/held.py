"""A unit of work that stops where a test wants it to, so that two of them meet in a known place."""

import asyncio
import threading
from collections.abc import Callable

from sqlalchemy import Connection

SECONDS = 10.0


class Held:
    """Does its work, and then stays before its commit until it is let go."""

    def __init__(self, unit: Callable[[Connection], object] = lambda _: None) -> None:
        self.unit = unit
        self.began = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, connection: Connection) -> object:
        result = self.unit(connection)
        self.began.set()
        assert self.go_on.wait(SECONDS)
        return result

    async def wait(self) -> None:
        """Until it has done its work."""
        assert await asyncio.to_thread(self.began.wait, SECONDS)
