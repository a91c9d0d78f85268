"""A webhook's receiver on loopback that does what a test tells it: answers, refuses, hangs up, hangs, redirects."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from standardwebhooks.webhooks import Webhook


@dataclass
class Message:
    """One request as it came in."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def verify(self, secret: str) -> Any:
        """As the reference library does. Raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """`answers`: a status, or "abort" (read all, then kill the socket), "hang", "redirect"; the last one for ever."""

    answers: list[int | str] = field(default_factory=lambda: [200])
    messages: list[Message] = field(default_factory=list)
    port: int = 0
    most_at_once: int = 0
    gate: asyncio.Event | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _now: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def ids(self) -> list[str]:
        return [message.id for message in self.messages]

    @property
    def types(self) -> list[str]:
        return [message.content["type"] for message in self.messages]

    async def wait_for(self, count: int) -> None:
        """Until so many messages have come in."""
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.messages) >= count)

    async def receive(self, request: web.Request) -> web.StreamResponse:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        try:
            return await self._answer(request)
        finally:
            self._now -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.messages.append(Message(headers, await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        async with self.changed:
            self.changed.notify_all()
        if self.gate is not None:
            await self.gate.wait()
        if answer == "abort":
            assert request.transport is not None
            request.transport.abort()
        if answer == "hang":
            await asyncio.Event().wait()
        if answer == "redirect":
            return web.Response(status=302, headers={"location": f"{self.url}/elsewhere"})
        return web.Response(status=answer if isinstance(answer, int) else 200)

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_post("/{path:.*}", self.receive)
        runner = web.AppRunner(app, shutdown_timeout=0.01, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner


MakeReceiver = Callable[..., Awaitable[Receiver]]
