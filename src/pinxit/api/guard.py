"""What uvicorn leaves open below ASGI: deadlines, sizes, counts, and one reading of every request.

uvicorn 0.54 waits for ever for a header block or a body (its issue 157), buffers headers without a limit, resets the
connection of a client that is still sending when it has its answer, and answers in plain text. Routes read their bodies
themselves, so a middleware is too high up for this. `guarded_protocol` gives the class for `uvicorn.Config(http=…)`.

What llhttp (in httptools 0.9) refuses by itself: a bare LF or CR, obsolete line folding, NUL and other control
characters, spaces in or after a header name, Content-Length with Transfer-Encoding, twice, signed, as a list or beyond
64 bits, a final coding that is not chunked, and bad chunk sizes or ends. The rest is refused in `_check_head`.
"""

import asyncio
import ipaddress
import logging
import re
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import httptools
from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from pinxit.api.errors import render
from pinxit.errors import HeadersTooLarge, InvalidRequest, Overloaded, PinxitError, RequestTimeout
from pinxit.ids import request_id

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True)
class GuardLimits:
    """What one connection, one client and all clients may do. The numbers are those of docs/reliability.md."""

    header_timeout_seconds: float = 10.0
    """From the connection, or the next request's first byte, to the end of its header block."""

    body_timeout_seconds: float = 30.0
    """From the end of the header block to the end of the body, without the time in which we do not read."""

    body_grace_seconds: float = 5.0
    """After this long a body must have come at `min_body_bytes_per_second`, on average since its beginning."""

    min_body_bytes_per_second: float = 8 * 1024

    write_timeout_seconds: float = 30.0
    """A client that has not taken a single byte of its answer for this long is given up."""

    linger_seconds: float = 2.0
    """How long we wait for a client that is still sending to see that it has its answer. While a body that nobody wants
    keeps coming this begins again, within `body_timeout_seconds`; so nginx does with its `lingering_timeout`."""

    linger_bytes: int = 32 * 1024 * 1024
    """How much of such a body is read and thrown away. httpx reads its answer only when it has sent everything."""

    max_head_bytes: int = 16 * 1024
    max_header_bytes: int = 8 * 1024
    """One header's name and value."""

    max_request_line_bytes: int = 8 * 1024
    max_headers: int = 99
    max_pipelined_requests: int = 32
    """Requests sent ahead on one connection while an earlier one is being answered."""

    max_connections: int = 512
    max_connections_per_client: int = 256
    """A client is an IPv4 address or the /64 network of an IPv6 address. Connections on a Unix socket have none."""

    max_refused_connections: int = 128
    """Connections over the maximum that are told so at the same time. Those beyond are dropped without a word."""


_log: Final = logging.getLogger(__name__)


def render_refusal(error: PinxitError, proposed_request_id: str | None = None) -> tuple[int, Headers, bytes]:
    """The status, the headers and the body of an answer given below ASGI, after which the connection closes."""
    own_id = request_id(proposed_request_id)
    response = render(error, request_id=own_id)
    headers = {
        **dict(response.headers),
        "content-length": str(len(response.body)),
        "connection": "close",
        "x-request-id": own_id,
    }
    return response.status, [(name.encode(), value.encode()) for name, value in headers.items()], response.body


class ConnectionWatch:
    """All connections of one server: their number, and the one timer that looks after their deadlines."""

    def __init__(self, limits: GuardLimits) -> None:
        self.limits = limits
        self.open_connections = 0
        self.refusals: Counter[int] = Counter()
        """Answers that the guard gave by itself, by status."""

        self._per_client: Counter[str] = Counter()
        self._watched: set[GuardedProtocol] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._next_look = 0.0
        shortest = min(limits.header_timeout_seconds, limits.body_grace_seconds, limits.linger_seconds)
        self._period_seconds = min(0.5, max(0.01, shortest / 8))

    def admit(self, connection: "GuardedProtocol") -> Overloaded | None:
        """Watch this connection, and say whether there are too many."""
        refused = len(self._watched) - self.open_connections
        self._watched.add(connection)
        if self._timer is None:
            self._look_later(connection.loop)
        if self.open_connections >= self.limits.max_connections:
            refusal = Overloaded("The server has as many connections as it can. Try again shortly.")
        elif (
            connection.client_key and self._per_client[connection.client_key] >= self.limits.max_connections_per_client
        ):
            refusal = Overloaded("This client has too many connections. Try again shortly.")
        else:
            connection.is_counted = True
            self.open_connections += 1
            self._per_client[connection.client_key] += 1
            return None
        if refused >= self.limits.max_refused_connections:
            connection.transport.abort()
        return refusal

    def forget(self, connection: "GuardedProtocol") -> None:
        self._watched.discard(connection)
        if connection.is_counted:
            connection.is_counted = False
            self.open_connections -= 1
            self._per_client[connection.client_key] -= 1
            if not self._per_client[connection.client_key]:
                del self._per_client[connection.client_key]
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._next_look = loop.time() + self._period_seconds
        self._timer = loop.call_at(self._next_look, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        # Where the whole process stood still, what clients sent meanwhile is waiting unread: it was not their delay.
        stood_still = now - self._next_look
        for connection in tuple(self._watched):
            if stood_still > 1.0:
                connection.postpone(stood_still)
            connection.check_deadlines(now)
        self._look_later(loop)


def guarded_protocol(limits: GuardLimits | None = None) -> "type[GuardedProtocol]":
    """The protocol class for one server: `uvicorn.Config(app, http=guarded_protocol(limits))`.

    Its `watch` has the counts for metrics. A second server in the same process takes a class of its own.
    """
    limits = limits or GuardLimits()
    return type("GuardedProtocol", (GuardedProtocol,), {"limits": limits, "watch": ConnectionWatch(limits)})


class _TimedFlow(FlowControl):
    """uvicorn's flow control, which also knows for how long it has not been reading."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(transport)
        self._loop = loop
        self._paused_at = 0.0
        self.paused_seconds = 0.0

    def pause_reading(self) -> None:
        if not self.read_paused:
            self._paused_at = self._loop.time()
        super().pause_reading()

    def resume_reading(self) -> None:
        if self.read_paused:
            self.paused_seconds += self._loop.time() - self._paused_at
        super().resume_reading()


class _GuardedCycle(RequestResponseCycle):
    """uvicorn's request and response. An answer that comes before the body has is the connection's last."""

    body_unread = False
    lost_answer: list[Callable[[], None]]
    """What is to be called if the client is gone before it has read all of the answer."""

    is_watched = False
    """Whether its connection is to be ended by us, but only after the client has ended or reset it."""

    def send(self, message: ASGISendEvent) -> Coroutine[Any, Any, None]:
        if not self.response_started and self.more_body:
            return self._send_last_start(message)
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last and self.lost_answer and not self.keep_alive:
            self.is_watched = self.keep_alive = True  # uvicorn would close at once, and not hear of a reset
        return super().send(message)

    async def _send_last_start(self, message: ASGISendEvent) -> None:
        # uvicorn announces the close if `keep_alive` is off, but would then also close at once, which resets the
        # connection of a client that is still sending. `on_response_complete` closes it in its own way.
        self.keep_alive = False
        await super().send(message)
        self.keep_alive = True
        self.body_unread = True

    async def send_500_response(self) -> None:
        # What went wrong has been logged by uvicorn, with its trace.
        proposed = next(
            (value.decode("latin-1") for name, value in self.scope["headers"] if name == b"x-request-id"), None
        )
        status, headers, body = render_refusal(PinxitError(), proposed)
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


class _WithoutUpgrade:
    """The callbacks for the body of a request whose `Upgrade` we ignore, as RFC 9110 §7.8 allows."""

    def __init__(self, connection: "GuardedProtocol") -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


_HOST: Final = re.compile(rb"[A-Za-z0-9\-._~%!$&'()*+,;=:\[\]]*")
"""The characters of RFC 3986's host and port. Others have led servers to see another path (CVE-2026-48710)."""

_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))
_CHECKED: Final = _FRAMING | {b"host"}


LOST_ANSWER: Final = "pinxit.lost_answer"
"""Key of the scope for a list of functions to call if the client is gone before it has read all of an answer.

A client that closes its socket with unread bytes in it resets the connection (RFC 2525 §2.17); one that has read them
all ends it in order. So a reset soon after an answer tells that its client had given up waiting for it.
"""
LOST_WITHIN_SECONDS: Final = 5.0


class GuardedProtocol(HttpToolsProtocol):
    """One connection. Use `guarded_protocol` for a class with limits.

    It is in one of these states: waiting for a header block (`_in_head`), receiving a body, deaf (`_pending`: a refusal
    waits for its turn behind earlier answers), or lingering (`_linger_until`: the last answer is written).
    """

    limits: ClassVar[GuardLimits]
    watch: ClassVar[ConnectionWatch]

    flow: _TimedFlow
    client_key = ""
    is_counted = False

    # Receiving. The defaults are class attributes because most connections never change most of them.
    _in_head = True
    _head_begun = False
    _bytes_without_progress = 0
    _body_bytes = 0
    _waiting_since: float | None = None
    _paused_before = 0.0
    _reason: PinxitError | None = None

    # Answering.
    _running: _GuardedCycle | None = None
    _answered_at = 0.0
    _pending: PinxitError | None = None
    _unwritten_bytes = 0
    _unwritten_since = 0.0

    # After the last answer.
    _linger_until: float | None = None
    _linger_at_most_until = 0.0
    _lingered_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.flow = _TimedFlow(transport, self.loop)
        self.client_key = _client_key(self.client[0]) if self.client else ""
        self._waiting_since = self.loop.time()
        # A refused client is told once it has asked: not every client understands an answer that comes first.
        self._pending = self.watch.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.watch.forget(self)
        self._tell_of_lost_answer(is_broken=exc is not None)
        # uvicorn tells the latest request only; with pipelining that is not the one that runs.
        self._disconnect(self._running)
        self.pipeline.clear()
        super().connection_lost(exc)

    # Receiving

    def data_received(self, data: bytes) -> None:
        if self._linger_until is not None:
            self._discard(data)
            return
        if self._pending is not None:
            if self._is_answering():
                self.flow.pause_reading()
            else:
                self._answer(self._pending)
                self._discard(data)
            return
        self._unset_keepalive_if_required()
        self._bytes_without_progress += len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._continue_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError:
            if self._reason is None:
                _log.exception("A callback of the HTTP parser failed.")
            self._refuse(self._reason or PinxitError())
            return
        except httptools.HttpParserError as error:
            self._refuse(
                InvalidRequest(f"The request is not valid HTTP: {error}.")
            )  # llhttp's words, which are constants
            return
        if self._bytes_without_progress > self.limits.max_head_bytes:
            self._refuse(
                HeadersTooLarge(f"The request's headers are larger than {self.limits.max_head_bytes} bytes.")
                if self._in_head
                else InvalidRequest("The request's chunks have too long extensions or trailers.")
            )
        elif self._waiting_since is None and (self._bytes_without_progress or self._head_begun or not self._in_head):
            self._waiting_since = self.loop.time()
            self._paused_before = self.flow.paused_seconds

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_begun = True

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > self.limits.max_request_line_bytes:
            self._stop(HeadersTooLarge(f"The URL is longer than {self.limits.max_request_line_bytes} bytes."))

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            return  # a trailer; uvicorn would add it to the headers of the request that is already running
        # As uvicorn's `on_header`, which is worth a call less: this runs for every header of every request.
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))
        if len(self.headers) > self.limits.max_headers:
            self._stop(HeadersTooLarge(f"The request has more than {self.limits.max_headers} headers."))

    def on_headers_complete(self) -> None:
        self._check_head()
        try:
            super().on_headers_complete()
        except (httptools.HttpParserInvalidURLError, AttributeError):  # the latter from an URL without a path
            self._stop(InvalidRequest("The URL cannot be read. It must begin with '/' or be absolute, with a path."))
        self._in_head = self._head_begun = False
        self._bytes_without_progress = self._body_bytes = 0
        self._waiting_since = None
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._bytes_without_progress = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # llhttp stops here and leaves the body, if there is one, to `_continue_without_upgrade`
        super().on_message_complete()
        self._in_head = True
        self._bytes_without_progress = 0
        self._waiting_since = None

    def _should_upgrade(self) -> bool:
        return False

    def _continue_without_upgrade(self, rest: bytes) -> None:
        """Read on as if no upgrade had been asked for. Java's HTTP client asks for h2c with its first POST already."""
        self.parser = httptools.HttpRequestParser(_WithoutUpgrade(self))
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        framing = [name + b": " + value + b"\r\n" for name, value in self.headers if name in _FRAMING]
        self.parser.feed_data(b"POST / HTTP/1.1\r\nconnection: close\r\n" + b"".join(framing) + b"\r\n")
        self.parser.feed_data(rest)

    def _check_head(self) -> None:
        """Refuse what is too large, and what another server on the way might have read in another way."""
        hosts = lengths = 0
        head_bytes = len(self.url) + 4 * len(self.headers)
        max_header_bytes = self.limits.max_header_bytes
        codings: list[bytes] = []
        for name, value in self.headers:
            size = len(name) + len(value)
            if size > max_header_bytes:
                self._stop(HeadersTooLarge(f"One header is larger than {max_header_bytes} bytes."))
            head_bytes += size
            if name not in _CHECKED:
                continue
            if name == b"host":
                hosts += 1
                if not _HOST.fullmatch(value):
                    self._stop(InvalidRequest("The Host header is not a host and port."))
            elif name == b"content-length":
                lengths += 1
            else:
                codings.append(value)
        if head_bytes > self.limits.max_head_bytes:
            self._stop(HeadersTooLarge(f"The request's headers are larger than {self.limits.max_head_bytes} bytes."))
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            self._stop(InvalidRequest("The HTTP version must be 1.1 or 1.0."))
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._stop(InvalidRequest("The request must have exactly one Host header."))
        if lengths > 1 or (lengths and codings):
            self._stop(InvalidRequest("The request must have one Content-Length, or Transfer-Encoding, not both."))
        if codings and (version == "1.0" or len(codings) > 1 or codings[0].strip().lower() != b"chunked"):
            self._stop(InvalidRequest("The only Transfer-Encoding understood here is 'chunked', in HTTP/1.1."))
        if self.parser.should_upgrade() and self.parser.get_method() == b"CONNECT":
            self._stop(InvalidRequest("This server is not a proxy."))
        if len(self.pipeline) >= self.limits.max_pipelined_requests:
            self._stop(InvalidRequest("Too many requests were sent ahead on one connection."))

    def _stop(self, reason: PinxitError) -> None:
        """Leave a callback of the parser, which then stops. httptools does not promise to hand the reason on."""
        self._reason = reason
        raise reason

    # Answering

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        # uvicorn makes its cycles in the middle of `on_headers_complete`, without a hook.
        cycle.__class__ = _GuardedCycle
        assert isinstance(cycle, _GuardedCycle)
        cycle.lost_answer = []
        cycle.scope[LOST_ANSWER] = cycle.lost_answer  # type: ignore[typeddict-unknown-key]  # a scope may hold more
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _tell_of_lost_answer(self, *, is_broken: bool) -> None:
        cycle = self._running
        if cycle is None:
            return
        was_just_sent = self.loop.time() - self._answered_at <= LOST_WITHIN_SECONDS
        if not cycle.response_complete or (is_broken and was_just_sent):
            for tell in cycle.lost_answer:
                tell()

    def on_response_complete(self) -> None:
        self._answered_at = self.loop.time()
        if not self.transport.is_closing():
            if self._running is not None and self._running.body_unread:
                self.server_state.total_requests += 1
                self._linger(self.limits.body_timeout_seconds)
                return
            if self._pending is not None and not self.pipeline:
                self.server_state.total_requests += 1
                self._answer(self._pending)
                return
            if self._running is not None and self._running.is_watched:
                self.server_state.total_requests += 1
                self._linger()
                return
        super().on_response_complete()
        if self._head_begun:
            self._unset_keepalive_if_required()  # from here on it is the header deadline that counts

    def _is_answering(self) -> bool:
        return self._running is not None and not self._running.response_complete

    def _refuse(self, refusal: PinxitError) -> None:
        """Answer this instead of what is being received, when it is its turn, and close the connection."""
        if not self._in_head:
            if self.cycle is self._running:
                if self.cycle.response_started:
                    self.transport.abort()
                    return
                self._disconnect(self.cycle)
                self._answer(refusal)
                return
            self.pipeline.popleft()
            self._in_head = True
        if self._is_answering():
            self._pending = refusal
            self.flow.pause_reading()
        else:
            self._answer(refusal)

    def _answer(self, refusal: PinxitError) -> None:
        if self.transport.is_closing():
            return
        status, headers, body = render_refusal(refusal)
        self.watch.refusals[status] += 1
        lines = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            lines += [name, b": ", value, b"\r\n"]
        self.transport.write(b"".join((*lines, b"\r\n", body)))
        self._linger()

    @staticmethod
    def _disconnect(cycle: RequestResponseCycle | None) -> None:
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()

    # After the last answer

    def _linger(self, at_most_seconds: float = 0.0) -> None:
        """Close our side, and take in what the client still sends.

        Closing on unread bytes would reset the client's connection, and it may lose the answer (RFC 9112 §9.6).
        """
        self._unset_keepalive_if_required()
        now = self.loop.time()
        self._linger_until = now + self.limits.linger_seconds
        self._linger_at_most_until = max(self._linger_until, now + at_most_seconds)
        self.pipeline.clear()
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _discard(self, data: bytes) -> None:
        self._lingered_bytes += len(data)
        self._linger_until = min(self.loop.time() + self.limits.linger_seconds, self._linger_at_most_until)
        if self._lingered_bytes > self.limits.linger_bytes:
            self.flow.pause_reading()

    def shutdown(self) -> None:
        if self._linger_until is not None:
            self.transport.close()
        else:
            super().shutdown()

    # Deadlines

    def postpone(self, seconds: float) -> None:
        """Move this connection's deadlines: `seconds` were lost on our side."""
        if self._waiting_since is not None:
            self._waiting_since += seconds
        self._unwritten_since += seconds

    def check_deadlines(self, now: float) -> None:
        """Called by the watch, a few times a second."""
        unwritten_bytes = self.transport.get_write_buffer_size()
        if unwritten_bytes == 0 or unwritten_bytes < self._unwritten_bytes or self._unwritten_bytes == 0:
            self._unwritten_since = now
        elif now - self._unwritten_since > self.limits.write_timeout_seconds:
            self.transport.abort()
            return
        self._unwritten_bytes = unwritten_bytes
        if self.transport.is_closing():
            return
        if self._linger_until is not None:
            if now > self._linger_until:
                self.transport.close()
        elif self._waiting_since is not None:
            if self._in_head:
                self._check_head_deadline(now, self._waiting_since)
            else:
                self._check_body_deadline(now, self._waiting_since)

    def _check_head_deadline(self, now: float, since: float) -> None:
        if self._is_answering():
            self._waiting_since = now
        elif self._pending is not None:
            if now - since > self.limits.linger_seconds:
                self._answer(self._pending)
        elif now - since > self.limits.header_timeout_seconds:
            if self._head_begun:
                self._answer(RequestTimeout("The request's headers were not received in time."))
            else:
                self.transport.close()

    def _check_body_deadline(self, now: float, since: float) -> None:
        if self.cycle.waiting_for_100_continue and not self._body_bytes:
            self._waiting_since = now
            return
        if self.flow.read_paused:
            return
        seconds = now - since - (self.flow.paused_seconds - self._paused_before)
        is_slow = self._body_bytes < seconds * self.limits.min_body_bytes_per_second
        if seconds > self.limits.body_timeout_seconds or (seconds > self.limits.body_grace_seconds and is_slow):
            self._refuse(RequestTimeout("The request's body was not received in time."))


def _client_key(address: str) -> str:
    """Whom a connection counts for: one person has a whole IPv6 /64."""
    if ":" not in address:
        return address
    parsed = ipaddress.IPv6Address(address)
    return str(parsed.ipv4_mapped or ipaddress.IPv6Address(int(parsed) >> 64 << 64))
