"""What every simulated provider has in common: a real HTTP server on loopback that behaves as the provider's public
documentation says, counts what it would bill, and goes wrong on demand in the documented ways.

A simulated provider is written from the documentation alone, never from our own provider file: the two are made to meet
in the contract suite.
"""

import asyncio
import io
import math
import threading
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from aiohttp import web
from PIL import Image


class Outcome(StrEnum):
    """What the next calls come to; a simulated provider knows all that its documentation does not rule out."""

    PAINT = "paint"
    REFUSE = "refuse"
    """The prompt is refused by policy: at once or at the end of a job, as the documentation says."""
    RATE_LIMIT = "rate_limit"
    """429 or what the provider has for it, with its documented headers."""
    BAD_REQUEST = "bad_request"
    """The provider finds a parameter wrong, in its documented words."""
    NO_CREDIT = "no_credit"
    """The operator's own account there is empty or over its limit."""
    OUTAGE = "outage"
    """A documented 5xx; nothing was done."""
    FAIL_LATER = "fail_later"
    """A job is taken and then fails (only where there are jobs)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = field(repr=False)
    json: Any
    """The body read as JSON, or None."""


class Simulated(ABC):
    """One provider's server. `calls` and `painted` tell what came in and how many pictures would be billed."""

    name: ClassVar[str]
    """The provider's name, as its file in `pinxit/backends/upstream` is called."""
    documentation: ClassVar[Sequence[str]]
    """The pages it is written from, and the day they were read: "https://… (2026-11-22)"."""
    credential: ClassVar[str] = "secret-of-the-tests-0123456789"
    models: ClassVar[Sequence[str]]
    """Ids that it answers for; any other gets the documented error."""
    edits: ClassVar[Sequence[str]] = ()
    """Those of `models` that paint from pictures as well."""
    impossible: ClassVar[Mapping[Outcome, str]] = {}
    """Outcomes that its documentation rules out or does not mention, each with the reason."""

    def __init__(self) -> None:
        self.outcome = Outcome.PAINT
        self.calls: list[Call] = []
        self.painted = 0
        """Pictures that would be on the bill."""
        self.polls_needed = 2
        """How often a job is asked for before it is done (only where there are jobs)."""
        self.url = ""

    def base_path(self, path: str) -> str:
        """Where its API begins on this server; `path`: where that is on the provider's own."""
        return path

    def options(self) -> Mapping[str, Any]:
        """What the provider's `options` have to say to come here."""
        return {}

    def configured_models(self) -> Sequence[Any]:
        """The models to offer, for a provider that knows none itself (`UpstreamModel`s)."""
        return ()

    @abstractmethod
    def routes(self) -> Sequence[web.RouteDef]:
        """The provider's documented paths. Pictures that are given as URLs are at `self.url` too."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Simulated"]:
        """The server on a free port of 127.0.0.1; its address is in `url`, without a slash at the end."""
        app = web.Application(middlewares=[self._record], client_max_size=64 * 1024 * 1024)
        app.add_routes(list(self.routes()))
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()

    @web.middleware
    async def _record(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = await request.read()
        is_json = request.content_type == "application/json" and body
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(
            Call(
                request.method,
                request.path,
                dict(request.query),
                headers,
                body,
                await request.json() if is_json else None,
            )
        )
        return await handler(request)


def picture(width: int, height: int, encoding: str = "png", text: str = "") -> bytes:
    """A small file of that size in `png`, `jpeg` or `webp`, whose colour depends on `text`."""
    number = zlib.crc32(text.encode())
    out = io.BytesIO()
    Image.new("RGB", (width, height), (number & 255, number >> 8 & 255, number >> 16 & 255)).save(out, encoding)
    return out.getvalue()


def sides(edge: int, ratio: str) -> tuple[int, int]:
    """About as many pixels as a square of `edge` has, in a ratio such as "16:9", both sides divisible by 16."""
    across, _, down = ratio.partition(":")
    root = math.sqrt(float(across) / float(down))
    return round(edge * root / 16) * 16, round(edge / root / 16) * 16


S = TypeVar("S", bound=Simulated)


@contextmanager
def beside_this_thread(provider: S) -> Iterator[S]:
    """The provider, serving in a thread with a loop of its own, for who waits for programs or runs loops."""
    up, down = threading.Event(), threading.Event()

    async def serve() -> None:
        async with provider.serving():
            up.set()
            await asyncio.to_thread(down.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert up.wait(10)
        yield provider
    finally:
        down.set()
        thread.join(10)
