"""A painter process behind a hub, as a worker sees it, all in this process."""

import asyncio
import socket

from pinxit.limits.gate import Gate
from pinxit.runners.hub import Hub
from pinxit.runners.process import ProcessRunner
from pinxit.runners.remote import RemoteRunner

FAKE = "pinxit.testing.fake_backend:FakeProcessBackend"


class Sharing(RemoteRunner):
    """A RemoteRunner with a hub and a painter of its own."""

    def __init__(self, factory: str = FAKE) -> None:
        ours, self._theirs = socket.socketpair()
        super().__init__("fake", ours)
        self.painter = ProcessRunner("fake", factory=factory)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self.painter.start()
        self._serving = asyncio.create_task(Hub(self.painter, Gate(64, 16)).serve(self._theirs, "1"))
        await super().start()

    async def close(self) -> None:
        await super().close()
        if self._serving is None:
            self._theirs.close()
        else:
            await self._serving
        await self.painter.close()
