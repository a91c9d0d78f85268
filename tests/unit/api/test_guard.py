"""The guard over real sockets. Deadlines are small, and every wait is for something that a socket does."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest
import uvicorn
from uvicorn.server import ServerState

from pinxit.api.guard import GuardedProtocol, GuardLimits, guarded_protocol

HELLO = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
PATIENCE_SECONDS = 10.0
"""No test waits longer for anything."""


# --- an application, a server, a client -----------------------------------------------------------------------------


@dataclass
class Application:
    """Reads and answers; `/refuse` does not read, `/wait` waits, `/begin` begins at once, `/hold` never answers."""

    seen: list[tuple[str, str, bytes]] = field(default_factory=list)
    headers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)
    disconnected: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path, body = scope["path"], b""
        self.headers.append(scope["headers"])
        if path == "/fail":
            raise RuntimeError("a bug")
        if path == "/wait":
            self.waiting.set()
            await self.release.wait()
        if path == "/hold":
            self.waiting.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.disconnected.set()
            return
        if path == "/begin":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
            self.waiting.set()
        if path not in ("/refuse", "/large"):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    self.disconnected.set()
                    return
                body += message["body"]
                more = message["more_body"]
        self.seen.append((scope["method"], path, body))
        status = 413 if path == "/refuse" else 200
        answer = b"z" * 8_000_000 if path == "/large" else f"{len(self.seen)}:{path}:{len(body)}".encode()
        await send(
            {"type": "http.response.start", "status": status, "headers": [(b"content-length", b"%d" % len(answer))]}
        )
        await send({"type": "http.response.body", "body": answer})


@dataclass
class Served:
    application: Application
    protocol: type[GuardedProtocol]
    port: int


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


@asynccontextmanager
async def serve(keep_alive_seconds: float = 5.0, **limits: float) -> AsyncIterator[Served]:
    """uvicorn's protocol on a socket of this loop, without uvicorn's signal handlers and its shutdown of 0.2 s."""
    application = Application()
    protocol = guarded_protocol(GuardLimits(**limits))  # type: ignore[arg-type]
    config = uvicorn.Config(
        application, http=protocol, lifespan="off", log_config=None, ws="none", timeout_keep_alive=keep_alive_seconds
    )
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: protocol(config, state, {}, loop), "127.0.0.1", 0)
    try:
        yield Served(application, protocol, server.sockets[0].getsockname()[1])
    finally:
        application.release.set()
        server.close()
        while state.connections or state.tasks:
            for connection in tuple(state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)
    assert protocol.watch.open_connections == 0
    assert not protocol.watch._watched
    assert not protocol.watch._per_client
    assert protocol.watch._timer is None


class Client:
    """A socket, and the answers that come from it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        async with asyncio.timeout(PATIENCE_SECONDS):
            head = await self.reader.readuntil(b"\r\n\r\n")
            status, *lines = head.decode("latin-1").split("\r\n")[:-2]
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            assert len(headers) == len(lines), "a header came twice"
            if status.startswith("HTTP/1.1 100"):
                return Answer(100, headers, b"")
            body = await self.reader.readexactly(int(headers["content-length"]))
            return Answer(int(status.split()[1]), headers, body)

    async def answers(self) -> list[Answer]:
        """All of them, to the end of the connection."""
        answers = []
        while True:
            try:
                answers.append(await self.answer())
            except (asyncio.IncompleteReadError, ConnectionResetError) as end:
                partial = getattr(end, "partial", b"")
                break
        assert not partial
        return answers

    async def rest(self) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""


@asynccontextmanager
async def connect(served: Served) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def assert_refusal(answer: Answer, status: int, kind: str) -> None:
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["x-request-id"].startswith("req_")
    assert set(answer.error) == {"message", "type", "param", "code"}
    assert (answer.error["type"], answer.error["param"], answer.error["code"]) == (kind, "", status)
    if status == 408:
        assert answer.headers["x-should-retry"] == "false"
    if status == 503:
        assert int(answer.headers["retry-after"]) >= 1


def post(path: str, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def chunked(path: str, body: bytes) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + body


async def ask(served: Served, data: bytes) -> list[Answer]:
    async with connect(served) as client:
        await client.send(data)
        return await client.answers()


# --- ordinary traffic -----------------------------------------------------------------------------------------------


async def test_ordinary_requests_share_a_connection():
    async with serve() as served, connect(served) as client:
        for number, data in enumerate(
            [HELLO, post("/read", b"x" * 100_000), chunked("/read", b"5\r\nhello\r\n0\r\n\r\n")]
        ):
            await client.send(data)
            answer = await client.answer()
            assert answer.status == 200
            assert answer.body.startswith(b"%d:" % (number + 1))
            assert "connection" not in answer.headers
        assert served.protocol.watch.open_connections == 1
    assert [len(body) for _, _, body in served.application.seen] == [0, 100_000, 5]


async def test_a_request_may_come_byte_by_byte():
    async with serve() as served, connect(served) as client:
        for data in (post("/read", b"hello"), chunked("/read", b"5;name=value\r\nhello\r\n0\r\n\r\n")):
            for byte in data:
                client.writer.write(bytes([byte]))
                await asyncio.sleep(0)
            assert (await client.answer()).body.endswith(b":5")


async def test_pipelined_requests_are_answered_in_order():
    async with serve() as served, connect(served) as client:
        await client.send(HELLO + post("/read", b"ab") + b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert [answer.body for answer in await client.answers()] == [b"1:/:0", b"2:/read:2", b"3:/last:0"]


async def test_under_uvicorn_itself():
    application, protocol = Application(), guarded_protocol(GuardLimits(header_timeout_seconds=0.1))

    class Server(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    server = Server(uvicorn.Config(application, port=0, http=protocol, lifespan="off", log_config=None, ws="none"))
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    served = Served(application, protocol, server.servers[0].sockets[0].getsockname()[1])
    async with connect(served) as client, connect(served) as slow:
        await client.send(HELLO)
        answer = await client.answer()
        assert (answer.status, answer.headers["server"]) == (200, "uvicorn")
        await slow.send(b"GET / HT")
        refused = await slow.answer()
        assert_refusal(refused, 408, "request_timeout")
        assert refused.headers["server"] == "uvicorn"
    server.should_exit = True
    await running


# --- header block ---------------------------------------------------------------------------------------------------


async def test_headers_have_a_deadline_that_a_trickle_does_not_move():
    async with serve(header_timeout_seconds=0.2) as served, connect(served) as client:
        began = asyncio.get_running_loop().time()

        async def trickle() -> None:
            client.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
            while True:
                client.writer.write(b"X: y\r\n")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert_refusal(await client.answer(), 408, "request_timeout")
        trickling.cancel()
        assert 0.2 <= asyncio.get_running_loop().time() - began < 5
        assert await client.rest() == b""
        assert served.protocol.watch.refusals == {408: 1}
    assert not served.application.seen


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n"])
async def test_a_connection_on_which_nothing_began_is_closed_without_a_word(sent: bytes):
    async with serve(header_timeout_seconds=0.1) as served, connect(served) as client:
        await client.send(sent)
        assert await client.rest() == b""


async def test_the_next_request_on_a_connection_has_the_same_deadline():
    async with serve(header_timeout_seconds=0.2) as served, connect(served) as client:
        await client.send(HELLO)
        assert (await client.answer()).status == 200
        await client.send(b"GET / HTTP/1.1\r\nHost")
        assert_refusal(await client.answer(), 408, "request_timeout")


async def test_a_half_sent_next_request_does_not_disturb_a_long_answer():
    async with serve(header_timeout_seconds=0.1, keep_alive_seconds=0.0) as served, connect(served) as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /next HTTP/1.1\r\n")
        await served.application.waiting.wait()
        async with connect(served) as other:
            assert await other.rest() == b""  # one header deadline has passed
        served.application.release.set()
        assert (await client.answer()).body == b"1:/wait:0"
        assert_refusal(await client.answer(), 408, "request_timeout")


async def test_an_idle_connection_is_left_to_uvicorn():
    async with serve(header_timeout_seconds=0.05, keep_alive_seconds=0.3) as served, connect(served) as client:
        await client.send(HELLO)
        assert (await client.answer()).status == 200
        async with connect(served) as other:
            assert await other.rest() == b""  # one header deadline has passed
        await client.send(HELLO)
        assert (await client.answer()).status == 200
        assert await client.rest() == b""


HEADERS_TOO_LARGE = {
    "one of 9 KiB": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9216 + b"\r\n\r\n",
    "17 KiB in all": b"GET / HTTP/1.1\r\nHost: a\r\n" + (b"X: " + b"x" * 4096 + b"\r\n") * 4 + b"\r\n",
    "17 KiB of one, unfinished": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 17_000,
    "17 KiB of a name": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x" * 17_000,
    "17 KiB of white space": b"GET / HTTP/1.1\r\nHost: a\r\nX:" + b" " * 17_000,
    "17 KiB of empty lines": b"\r\n" * 8_500,
    "a URL of 9 KiB": b"GET /" + b"x" * 9216 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "a URL of 9 KiB, unfinished": b"GET /" + b"x" * 9216,
    "100 headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 99 + b"\r\n",
    "100 000 headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 100_000,
    "endless": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3_000_000,
}


BEFORE = pytest.mark.parametrize("before", [b"", HELLO, post("/read", b"x" * 300_000)], ids=["alone", "GET", "POST"])


@BEFORE
@pytest.mark.parametrize("data", HEADERS_TOO_LARGE.values(), ids=HEADERS_TOO_LARGE)
async def test_headers_too_large(data: bytes, before: bytes):
    async with serve(linger_seconds=0.1) as served, connect(served) as client:
        if before:
            await client.send(before)
            assert (await client.answer()).status == 200
        client.writer.write(data)
        (refusal,) = await client.answers()
    assert_refusal(refusal, 431, "headers_too_large")
    assert len(served.application.seen) == bool(before)


@BEFORE
@pytest.mark.parametrize("name", ["one of 9 KiB", "17 KiB in all", "a URL of 9 KiB", "100 headers", "endless"])
async def test_headers_too_large_sent_ahead(name: str, before: bytes):
    """What begins and ends in what the server reads at once is seen at its end, what does not, one reading later."""
    async with serve(linger_seconds=0.1) as served:
        *accepted, refusal = await ask(served, before + HEADERS_TOO_LARGE[name])
    assert_refusal(refusal, 431, "headers_too_large")
    assert len(accepted) == len(served.application.seen) == bool(before)


async def test_headers_just_within_the_limits():
    data = b"GET /" + b"u" * 4000 + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: " + b"x" * 8191 + b"\r\n"
    data += b"Y: z\r\n" * 96 + b"\r\n"
    async with serve() as served:
        assert [answer.status for answer in await ask(served, data)] == [200]


# --- body -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        {"body_timeout_seconds": 0.2, "min_body_bytes_per_second": 0.0},
        {"body_grace_seconds": 0.2, "min_body_bytes_per_second": 8192.0},
    ],
    ids=["whole", "rate"],
)
@pytest.mark.parametrize(
    "begin", [post("/read", b"")[:-5] + b"50\r\n\r\n", chunked("/read", b"")], ids=["length", "chunked"]
)
async def test_bodies_have_a_deadline_that_a_trickle_does_not_move(begin: bytes, limits: dict[str, float]):
    async with serve(**limits) as served, connect(served) as client:
        await client.send(begin)

        async def trickle() -> None:
            while True:
                client.writer.write(b"1\r\nx\r\n" if b"chunked" in begin else b"x")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert_refusal(await client.answer(), 408, "request_timeout")
        trickling.cancel()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served.application.disconnected.wait()
        assert await client.rest() == b""


async def test_a_slow_body_after_the_answer_has_begun_is_cut_off():
    async with serve(body_grace_seconds=0.2) as served, connect(served) as client:
        await client.send(post("/begin", b"x" * 50)[:-1])
        await served.application.waiting.wait()
        assert b"408" not in await client.rest()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served.application.disconnected.wait()


async def test_time_in_which_we_do_not_read_does_not_count():
    limits = {"body_timeout_seconds": 1.0, "header_timeout_seconds": 1.2}
    async with serve(keep_alive_seconds=0.2, **limits) as served, connect(served) as client:
        data = post("/wait", b"x" * 8_000_000)
        client.writer.write(data[:-1])
        await served.application.waiting.wait()
        async with connect(served) as other:
            assert await other.rest() == b""  # more than the body deadline has passed
        served.application.release.set()
        async with connect(served) as other:
            await other.send(HELLO)
            assert (await other.rest()).startswith(b"HTTP/1.1 200")  # the deadlines have been looked at
        client.writer.write(data[-1:])
        assert (await client.answer()).body.endswith(b":/wait:8000000")


async def test_a_stalled_pipelined_body_waits_for_its_turn_and_is_refused():
    async with serve(body_grace_seconds=0.1, linger_seconds=0.2) as served, connect(served) as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + post("/read", b"12345")[:-1])
        await served.application.waiting.wait()
        served.application.release.set()
        assert (await client.answer()).body == b"1:/wait:0"
        assert_refusal(await client.answer(), 408, "request_timeout")


@pytest.mark.parametrize("tail", [b"1;", b"0\r\nX: ", b"0\r\n"], ids=["extension", "trailer", "trailer's name"])
async def test_chunks_cannot_carry_much_besides_the_body(tail: bytes):
    async with serve(linger_seconds=0.1) as served, connect(served) as client:
        client.writer.write(chunked("/read", b"1\r\nx\r\n") + tail + b"x" * 600_000)
        assert_refusal(await client.answer(), 400, "invalid_request_error")


async def test_trailers_do_not_become_headers():
    async with serve() as served, connect(served) as client:
        await client.send(chunked("/read", b"0\r\nAuthorization: sk-x\r\n\r\n"))
        assert (await client.answer()).status == 200
        await client.send(HELLO)
        assert (await client.answer()).status == 200
    assert b"authorization" not in dict(served.application.headers[0])


# --- a body that nobody reads ---------------------------------------------------------------------------------------


UNREAD = {
    "length": post("/refuse", b"x" * 20_000_000),
    "chunked": chunked("/refuse", b"fff\r\n" + b"x" * 4095 + b"\r\n") + b"fff\r\n" + b"x" * 4095 + b"\r\n",
    "not begun": post("/refuse", b"12345")[:-5],
}


@pytest.mark.parametrize("data", UNREAD.values(), ids=UNREAD)
async def test_an_answer_before_the_body_is_the_last(data: bytes):
    async with serve(linger_seconds=0.2) as served, connect(served) as client:
        client.writer.write(data)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert await client.rest() == b""


async def test_what_comes_after_the_last_answer_is_read_up_to_a_bound():
    async with serve(linger_seconds=0.2, linger_bytes=100_000) as served, connect(served) as client:
        await client.send(post("/refuse", b"x" * 50_000_000)[:1000])
        assert (await client.answer()).status == 413
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await client.send(b"x" * 50_000_000)
    assert len(served.application.seen) == 1


async def test_a_client_that_sends_on_for_ever_is_closed_at_last():
    limits = {"linger_seconds": 0.2, "linger_bytes": 10**9, "body_timeout_seconds": 0.5}
    async with serve(**limits) as served, connect(served) as client:
        began = asyncio.get_running_loop().time()
        await client.send(post("/refuse", b"x" * 50_000_000)[:1000])
        assert (await client.answer()).status == 413

        async def send_on() -> None:
            while True:
                await client.send(b"x")
                await asyncio.sleep(0.01)

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await asyncio.wait_for(send_on(), PATIENCE_SECONDS)
        assert asyncio.get_running_loop().time() - began >= 0.5


async def test_httpx_gets_the_answer_in_the_middle_of_an_upload():
    async with serve(linger_seconds=0.5) as served, httpx2.AsyncClient(timeout=PATIENCE_SECONDS) as client:
        for _ in range(3):
            answer = await client.post(f"http://127.0.0.1:{served.port}/refuse", content=b"x" * 20_000_000)
            assert answer.status_code == 413
        assert (await client.get(f"http://127.0.0.1:{served.port}/")).status_code == 200


async def test_httpx_without_async_gets_it_too():
    async with serve(linger_seconds=0.5) as served:
        url = f"http://127.0.0.1:{served.port}/refuse"
        answer = await asyncio.to_thread(httpx2.post, url, content=b"x" * 20_000_000, timeout=PATIENCE_SECONDS)
        assert answer.status_code == 413


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("expect", ["Expect:", "Expect: 100-continue", "Transfer-Encoding: chunked"])
async def test_curl_gets_the_answer_in_the_middle_of_an_upload(expect: str, tmp_path: Any):
    upload = tmp_path / "upload"
    upload.write_bytes(b"x" * 20_000_000)
    async with serve(linger_seconds=0.5) as served:
        curl = await asyncio.create_subprocess_exec(
            *("curl", "-sS", "-m", "10", "-H", expect, "--data-binary", f"@{upload}"),
            *("-w", " %{http_code}", f"http://127.0.0.1:{served.port}/refuse"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await curl.communicate()
    assert out == b"1:/refuse:0 413", err


@pytest.mark.parametrize(("path", "statuses"), [("/read", [100, 200]), ("/refuse", [413])])
async def test_a_client_that_waits_to_be_asked_for_its_body(path: str, statuses: list[int]):
    async with serve() as served, connect(served) as client:
        await client.send(post(path, b"hello", "Expect: 100-continue")[:-5])
        answer = await client.answer()
        got = [answer.status]
        if answer.status == 100:
            await client.send(b"hello")
            got.append((await client.answer()).status)
        assert got == statuses


async def test_the_body_deadline_begins_when_the_body_is_asked_for():
    async with serve(body_timeout_seconds=0.1, header_timeout_seconds=0.5) as served, connect(served) as client:
        await client.send(post("/wait", b"hello", "Expect: 100-continue")[:-5])
        await served.application.waiting.wait()
        async with connect(served) as other:
            assert await other.rest() == b""  # five body deadlines have passed
        served.application.release.set()
        assert (await client.answer()).status == 100
        await client.send(b"hello")
        assert (await client.answer()).body == b"1:/wait:5"


# --- connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_client"])
async def test_connections_over_the_cap_are_told_to_come_back(limit: str):
    async with serve(**{limit: 2}, linger_seconds=0.2) as served:
        async with connect(served) as one, connect(served) as two, connect(served) as three, connect(served) as silent:
            for client in (one, two):
                await client.send(HELLO)
                assert (await client.answer()).status == 200
            await three.send(post("/read", b"x" * 100_000))
            assert_refusal(await three.answer(), 503, "overloaded_error")
            assert_refusal(await silent.answer(), 503, "overloaded_error")
            assert served.protocol.watch.open_connections == 2
            assert await three.rest() == await silent.rest() == b""
        while served.protocol.watch.open_connections:
            await asyncio.sleep(0)
        async with connect(served) as client:
            await client.send(HELLO)
            assert (await client.answer()).status == 200


async def test_beyond_so_many_refusals_connections_are_dropped():
    async with (
        serve(max_connections=1, max_refused_connections=1, linger_seconds=0.2) as served,
        connect(served) as one,
        connect(served) as refused,
        connect(served) as dropped,
    ):
        await one.send(HELLO)
        assert (await one.answer()).status == 200
        assert await dropped.rest() == b""
        assert_refusal(await refused.answer(), 503, "overloaded_error")


async def test_a_healthy_client_among_a_hundred_slow_ones():
    async with serve(header_timeout_seconds=0.5, body_grace_seconds=0.5, linger_seconds=0.1) as served:

        async def be_slow(number: int) -> None:
            async with connect(served) as client:
                await client.send([b"", b"GET / HTTP/1.1\r\nX: ", post("/read", b"x" * 9)[:-1]][number % 3])
                answers = await client.answers()
                assert [answer.status for answer in answers] == [408] * bool(number % 3)

        slow = asyncio.gather(*(be_slow(number) for number in range(100)))
        async with connect(served) as client:
            healthy = 0
            while not slow.done():
                await client.send(HELLO)
                assert (await client.answer()).status == 200
                healthy += 1
        await slow
        assert healthy > 10


async def test_a_client_that_does_not_read_its_answer_is_given_up():
    async with serve(write_timeout_seconds=0.2) as served, connect(served) as client:
        client.writer.transport.pause_reading()
        client.writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await client.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        while not served.application.seen:
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while served.protocol.watch.open_connections:
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("data", [b"", HELLO], ids=["alone", "with another behind it"])
async def test_a_running_request_hears_of_a_hang_up(data: bytes):
    async with serve() as served:
        async with connect(served) as client:
            await client.send(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n" + data)
            await served.application.waiting.wait()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await served.application.disconnected.wait()
    assert not served.application.seen


async def test_a_bug_is_answered_in_json(caplog: pytest.LogCaptureFixture):
    async with serve() as served, connect(served) as client:
        await client.send(b"GET /fail HTTP/1.1\r\nHost: a\r\nX-Request-Id: req_mine\r\n\r\n")
        answer = await client.answer()
    assert_refusal(answer, 500, "internal_error")
    assert answer.headers["x-request-id"] == "req_mine"
    assert "a bug" in caplog.text


# --- one reading of every request -----------------------------------------------------------------------------------

H = b"POST /read HTTP/1.1\r\nHost: a\r\n"
C = H + b"Transfer-Encoding: chunked\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

INVALID = {
    "length and coding": H + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": H + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": H + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "the same length twice": H + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "a list of lengths": H + b"Content-Length: 5, 5\r\n\r\nhello",
    "length +5": H + b"Content-Length: +5\r\n\r\nhello",
    "length -5": H + b"Content-Length: -5\r\n\r\nhello",
    "length 0x5": H + b"Content-Length: 0x5\r\n\r\nhello",
    "empty length": H + b"Content-Length: \r\n\r\nhello",
    "length beyond 64 bits": H + b"Content-Length: 18446744073709551621\r\n\r\nhello",
    "space before colon": H + b"Content-Length : 5\r\n\r\nhello",
    "coding xchunked": H + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "coding gzip": H + b"Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
    "coding gzip, chunked": H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "coding chunked, chunked": H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    "coding chunked, identity": H + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "coding identity, chunked": H + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding with a tab": H + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "empty coding": H + b"Transfer-Encoding: \r\n\r\n0\r\n\r\n",
    "chunked in 1.0": b"POST /read HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "the same host twice": b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "host with a path": b"GET / HTTP/1.1\r\nHost: a/b?\r\n\r\n",
    "host with a fragment": b"GET / HTTP/1.1\r\nHost: a#\r\n\r\n",
    "host with a user": b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "host not ASCII": b"GET / HTTP/1.1\r\nHost: \xe9\r\n\r\n",
    "NUL in a value": H + b"X: a\0b\r\n\r\n",
    "NUL in the URL": b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "control character": H + b"X: a\x01\r\n\r\n",
    "bare CR": H + b"X: a\rb\r\n\r\n",
    "bare LF after a header": H + b"X: a\n\r\n",
    "bare LF everywhere": b"GET / HTTP/1.1\nHost: a\n\n",
    "bare LF at the end": H + b"\n",
    "folded header": H + b"X: a\r\n b\r\n\r\n",
    "folded first header": b"GET / HTTP/1.1\r\n Host: a\r\n\r\n",
    "space in a name": H + b"X y: a\r\n\r\n",
    "no name": H + b": a\r\n\r\n",
    "name not ASCII": H + b"X\xe9: a\r\n\r\n",
    "chunk size zz": C + b"zz\r\n",
    "chunk size 0x5": C + b"0x5\r\nhello\r\n0\r\n\r\n",
    "chunk size -1": C + b"-1\r\n",
    "chunk size beyond 64 bits": C + b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "chunk size with a space": C + b"5 \r\nhello\r\n0\r\n\r\n",
    "chunk size with a bare LF": C + b"5\nhello\r\n0\r\n\r\n",
    "chunk extension with a bare LF": C + b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "chunk too short": C + b"5\r\nhello0\r\n\r\n",
    "chunk too long": C + b"5\r\nhelloXX0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "CONNECT": b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space first": b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "space in the URL": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "URL not ASCII": "GET /é HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "URL without a path": b"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n",
}

LAST = b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
VALID = {
    "absolute URL": b"GET http://b/abs HTTP/1.1\r\nHost: b\r\n\r\n" + LAST,
    "the server itself": b"OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n" + LAST,
    "empty lines first": b"\r\n\r\n" + HELLO + LAST,
    "empty lines after a body": post("/read", b"hello") + b"\r\n\r\n" + LAST,
    "IPv6 host": b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n" + LAST,
    "Chunked": H + b"Transfer-Encoding: Chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n" + LAST,
    "a body that looks like a request": post("/read", SMUGGLED) + LAST,
    "a body of GET": b"GET /read HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED + LAST,
    "a chunk that looks like a request": C + b"%x\r\n" % len(SMUGGLED) + SMUGGLED + b"\r\n0\r\n\r\n" + LAST,
}
ENDING = {
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "closing": LAST,
    "a websocket": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "h2c with a body": post("/read", SMUGGLED, "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"),
    "h2c with chunks": H
    + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n"
    + b"%x\r\n" % len(SMUGGLED)
    + SMUGGLED
    + b"\r\n0\r\n\r\n",
    "an unread body": post("/refuse", SMUGGLED * 10_000),
}


async def send_at_once(client: Client, data: bytes) -> None:
    await client.send(data)


async def send_in_pieces(client: Client, data: bytes) -> None:
    """Each in a segment of its own, as far as the server's loop gets to see it."""
    client.writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    size = max(1, len(data) // 40)
    for start in range(0, len(data), size):
        await client.send(data[start : start + size])
        for _ in range(3):
            await asyncio.sleep(0)


SEND = pytest.mark.parametrize("send", [send_at_once, send_in_pieces])
Send = Callable[[Client, bytes], Awaitable[None]]


async def exchange(data: bytes, send: Send) -> tuple[list[Answer], Application]:
    async with serve(header_timeout_seconds=0.5, linger_seconds=0.1) as served, connect(served) as client:
        await send(client, data)
        return await client.answers(), served.application


@SEND
@pytest.mark.parametrize("before", [b"", HELLO, post("/read", b"hello")], ids=["alone", "after GET", "after POST"])
@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID)
async def test_an_invalid_request_is_refused_and_nothing_after_it_is_read(data: bytes, before: bytes, send: Send):
    answers, application = await exchange(before + data + SMUGGLED, send)
    *accepted, refusal = answers
    assert_refusal(refusal, 400, "invalid_request_error")
    assert refusal.error["message"].isprintable()
    assert len(accepted) == len(application.seen) == bool(before)
    assert "/smuggled" not in [path for _, path, _ in application.seen]


@SEND
@pytest.mark.parametrize("data", VALID.values(), ids=VALID)
async def test_a_valid_request_ends_where_it_says(data: bytes, send: Send):
    answers, application = await exchange(data, send)
    assert [answer.status for answer in answers] == [200, 200]
    assert [path for _, path, _ in application.seen][1:] == ["/last"]


@SEND
@pytest.mark.parametrize("data", ENDING.values(), ids=ENDING)
async def test_nothing_is_read_after_a_last_request(data: bytes, send: Send):
    """In pieces the request comes alone, at once it has another behind it."""
    answers, application = await exchange(data if send is send_in_pieces else data + SMUGGLED, send)
    assert len(answers) == len(application.seen) == 1
    assert answers[0].status in (200, 413)
    assert answers[0].headers["connection"] == "close"
    assert application.seen[0][1] != "/smuggled"
    assert application.seen[0][2] in (b"", SMUGGLED)


async def test_too_many_requests_sent_ahead():
    async with serve(max_pipelined_requests=3, linger_seconds=0.1) as served:
        *accepted, refusal = await ask(served, HELLO * 1000)
    assert_refusal(refusal, 400, "invalid_request_error")
    assert len(accepted) == len(served.application.seen) == 4


async def test_a_refusal_waits_for_the_answers_before_it():
    async with serve(linger_seconds=0.1) as served, connect(served) as client:
        await client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n" + HELLO + b"GET / HTTP/9.9\r\n\r\n" + b"x" * 1000)
        await served.application.waiting.wait()
        await client.send(b"x" * 100_000)
        served.application.release.set()
        first, second, refusal = await client.answers()
    assert (first.body, second.body) == (b"1:/wait:0", b"2:/:0")
    assert_refusal(refusal, 400, "invalid_request_error")
