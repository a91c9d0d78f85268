"""HTTP to one place that the operator has named, over connections that are kept: upstream providers.

The address is the operator's own word, so it may lie inside. No redirect is followed, no proxy or netrc of the
environment is heeded, no cookie kept, no answer read beyond its cap.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp

from pinxit.errors import PinxitError

_AHEAD_BYTES = 4 * 1024 * 1024
"""So much of an answer may come before somebody reads it; one that is no longer is waited for as a whole."""
_KEEP_ALIVE_SECONDS = 4.0
"""Less than servers keep an idle connection (Node's 5 s are the least in common use): one that they close while a
request is on its way leaves us not knowing what became of it."""


class NotReached(PinxitError):
    """No connection could be made: nothing was sent."""


class AnswerLost(PinxitError):
    """The request was sent, and no whole answer came."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a multipart form: a text, or a file with a name."""

    name: str
    content: str | bytes = field(repr=False)
    file_name: str | None = None
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """An answer, or a part of one. `headers` in lower case; `pieces`: its body as it came."""

    status: int
    headers: Mapping[str, str]
    pieces: Sequence[bytes] = field(repr=False)

    @property
    def body(self) -> bytes:
        """The pieces put together, which takes its time where they are large."""
        return self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)


class PooledHttp:
    """Requests over at most `max_connections` kept connections."""

    def __init__(self, *, max_connections: int, connect_seconds: float = 5.0) -> None:
        self._max_connections = max_connections
        self._connect_seconds = connect_seconds
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Must be called in the event loop that will send."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._max_connections, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            read_bufsize=_AHEAD_BYTES,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds),
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        form: Sequence[Part] = (),
        max_answer_bytes: int,
        seconds: float,
    ) -> Received:
        """One request and its whole answer, whatever its status.

        Raises:
            NotReached: there was no connection.
            AnswerLost: there was one, and no whole answer within `seconds` and `max_answer_bytes`.
        """
        if self._session is None:
            raise NotReached("Pinxit is stopping.")
        data = _form(form) if form else body
        with _told_apart(seconds):
            async with (
                asyncio.timeout(seconds),
                self._session.request(method, url, headers=headers, data=data, allow_redirects=False) as response,
            ):
                received = await _read(response, max_answer_bytes)
                lowered = {name.lower(): value for name, value in response.headers.items()}
                return Received(response.status, lowered, received)

    async def stream(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        form: Sequence[Part] = (),
        max_answer_bytes: int,
        seconds: float,
    ) -> AsyncGenerator[Received, None]:
        """One request and its answer piece by piece, each with the status and the headers; the first one is empty.
        Whoever stops listening closes the generator.

        Raises as `send`; `seconds` count from the first byte sent to the last one read.
        """
        if self._session is None:
            raise NotReached("Pinxit is stopping.")
        until = asyncio.get_running_loop().time() + seconds
        total = 0
        with _told_apart(seconds):
            async with asyncio.timeout_at(until):
                response = await self._session.request(
                    method, url, headers=headers, data=_form(form) if form else body, allow_redirects=False
                )
            async with response:
                lowered = {name.lower(): value for name, value in response.headers.items()}
                yield Received(response.status, lowered, ())
                while True:
                    async with asyncio.timeout_at(until):
                        piece = await response.content.readany()
                    if not piece:
                        return
                    total += len(piece)
                    if total > max_answer_bytes:
                        raise AnswerLost(f"The answer is larger than {max_answer_bytes} bytes.")
                    yield Received(response.status, lowered, (piece,))


@contextmanager
def _told_apart(seconds: float) -> Iterator[None]:
    """What goes wrong inside is either NotReached or AnswerLost."""
    try:
        yield
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
        raise NotReached(f"No connection could be made ({type(error).__name__}).") from error
    except TimeoutError as error:
        raise AnswerLost(f"There was no whole answer within {seconds:g} seconds.") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise AnswerLost(f"The connection ended without a whole answer ({type(error).__name__}).") from error


def _form(parts: Sequence[Part]) -> aiohttp.FormData:
    form = aiohttp.FormData(quote_fields=False, default_to_multipart=True)
    for part in parts:
        form.add_field(part.name, part.content, filename=part.file_name, content_type=part.media_type)
    return form


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> list[bytes]:
    length = response.content_length
    if (length or 0) > max_bytes:
        raise AnswerLost(f"The answer is larger than {max_bytes} bytes.")
    if length is not None and length <= _AHEAD_BYTES and "content-encoding" not in response.headers:
        await response.content.wait_eof()  # to be woken once, not by each of its packets
    pieces, total = [], 0
    async for piece, _ in response.content.iter_chunks():
        pieces.append(piece)
        total += len(piece)
        if total > max_bytes:
            raise AnswerLost(f"The answer is larger than {max_bytes} bytes.")
    return pieces
