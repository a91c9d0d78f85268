"""The guard of outbound HTTP: nobody can make it open a connection to the inside."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network

import pytest

from pinxit.network.addresses import Address
from pinxit.network.http import GuardedHttp, RequestFailed
from pinxit.network.target import UrlRefused, read_url

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass
class Listener:
    """Counts who connects, keeps what they send and gives them `answer`."""

    answer: bytes = OK
    stays_silent: bool = False
    port: int = 0
    connections: int = 0
    received: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.received.append(await reader.read(65536))
        if self.stays_silent:
            await reader.read()
        else:
            writer.write(self.answer)
            await writer.drain()
        writer.close()


Listen = Callable[..., Awaitable[Listener]]


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    async with AsyncExitStack() as stack:

        async def make(host: str = "127.0.0.1", port: int = 0, **options: object) -> Listener:
            listener = Listener(**options)  # type: ignore[arg-type]
            server = await asyncio.start_server(listener.serve, host, port)
            stack.callback(server.close)
            listener.port = server.sockets[0].getsockname()[1]
            return listener

        yield make


class Lookups:
    """A resolver of our own: each look-up of a name gives the next answer, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[Address]:
        self.asked.append((host, port))
        texts = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [ip_address(text) for text in texts]


async def get(http: GuardedHttp, url: str, **options: object) -> bytes:
    answer = await http.send("GET", url, headers={}, max_answer_bytes=100, **options)  # type: ignore[arg-type]
    return answer.body


EVIL = [
    "https://127.0.0.1:PORT/",
    "https://127.1:PORT/",
    "https://2130706433:PORT/",
    "https://0x7f000001:PORT/",
    "https://0x7f.1:PORT/",
    "https://0177.0.0.1:PORT/",
    "https://017700000001:PORT/",
    "https://127.0.0.1.:PORT/",
    "https://127.0.0.01:PORT/",
    "https://0:PORT/",
    "https://0.0.0.0:PORT/",
    "https://１２７.０.０.１:PORT/",
    "https://①②⑦.⓪.⓪.①:PORT/",
    "https://127。0。0。1:PORT/",
    "https://127%2e0%2e0%2e1:PORT/",
    "https://[::1]:PORT/",
    "https://[::]:PORT/",
    "https://[0:0:0:0:0:0:0:1]:PORT/",
    "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]:PORT/",
    "https://[::127.0.0.1]:PORT/",
    "https://[64:ff9b::127.0.0.1]:PORT/",
    "https://[2002:7f00:1::]:PORT/",
    "https://[fe80::1%25lo]:PORT/",
    "https://[fe80::1%lo]:PORT/",
    "https://localhost:PORT/",
    "https://LOCALHOST:PORT/",
    "https://localhost.:PORT/",
    "https://ｌｏｃａｌｈｏｓｔ:PORT/",
    "https://name.example:PORT/",
    "https://public.example@127.0.0.1:PORT/",
    "https://127.0.0.1:PORT@public.example/",
    "https://user:word@127.0.0.1:PORT/",
    "https://@127.0.0.1:PORT/",
    "https://public.example\\@127.0.0.1:PORT/",
    "https://127.0.0.1:PORT\\.public.example/",
    "https:\\\\127.0.0.1:PORT/",
    "https:127.0.0.1:PORT/",
    "https:///127.0.0.1:PORT/",
    "//127.0.0.1:PORT/",
    "http://127.0.0.1:PORT/",
    "gopher://127.0.0.1:PORT/_x",
    "ftp://127.0.0.1:PORT/",
    "ws://127.0.0.1:PORT/",
    "wss://127.0.0.1:PORT/",
    "unix:///var/run/docker.sock",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "file:///etc/passwd",
    "data:text/plain,x",
    "javascript:alert(1)",
    "https://127.0.0.1:PORT/\r\nhost: public.example",
    "https://127.0.0.1\r\n:PORT/",
    "https://127.0.0.1\t:PORT/",
    " https://127.0.0.1:PORT/",
    "https://127.0.0.1:PORT/#public.example",
    "https://127.0.0.1:99999/",
    "https://127.0.0.1:-1/",
    "https://127.0.0.1:0/",
    "https://a..b:PORT/",
    "https://:PORT/",
    "https://",
    "https://[::1",
    "https://[v1.x]:PORT/",
    "https://" + "a" * 3000 + ":PORT/",
    "127.0.0.1:PORT",
    "",
]


@pytest.mark.parametrize("template", EVIL)
async def test_no_connection_to_the_inside(template: str, listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The port is an allowed one here, so that it is the address that refuses."""
    listener = await listen()
    await listen("::1", listener.port)
    monkeypatch.setattr("pinxit.network.http.PUBLIC_PORTS", frozenset({listener.port}))
    lookups = Lookups(["127.0.0.1"])
    with pytest.raises(UrlRefused) as caught:
        await get(GuardedHttp(lookup=lookups), template.replace("PORT", str(listener.port)))
    assert listener.connections == 0
    assert caught.value.param == "url"
    assert "127" not in caught.value.message
    assert str(listener.port) not in caught.value.message.replace(f"Allowed: {listener.port}", "")


@pytest.mark.parametrize(
    "answer",
    [
        ["10.0.0.1"],
        ["169.254.169.254"],
        ["fd00:ec2::254"],
        ["::ffff:127.0.0.1"],
        ["1.1.1.1", "127.0.0.1"],
        ["127.0.0.1", "1.1.1.1"],
        ["2600::1", "::1"],
    ],
)
async def test_a_name_that_has_one_inside_address_is_refused(answer: list[str]) -> None:
    lookups = Lookups(answer)
    with pytest.raises(UrlRefused):
        await get(GuardedHttp(lookup=lookups), "https://name.example/")
    assert lookups.asked == [("name.example", 443)]


async def test_the_system_knows_localhost_and_is_not_believed(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    listener = await listen()
    monkeypatch.setattr("pinxit.network.http.PUBLIC_PORTS", frozenset({listener.port}))
    for host in ("localhost", "localhost."):
        with pytest.raises((UrlRefused, RequestFailed)):  # not every system knows it with a dot
            await get(GuardedHttp(), f"https://{host}:{listener.port}/")
    assert listener.connections == 0


async def test_a_name_is_looked_up_once_and_that_address_is_used(listen: Listen) -> None:
    """DNS that turns: the first answer is an admitted address, every later one is not."""
    admitted = await listen("127.0.0.2")
    inside = await listen("127.0.0.1", admitted.port)
    lookups = Lookups(["127.0.0.2"], ["127.0.0.1"])
    http = GuardedHttp(allowed_networks=(ip_network("127.0.0.2/32"),), lookup=lookups)
    assert await get(http, f"http://turning.example:{admitted.port}/") == b"ok"
    assert (admitted.connections, inside.connections, len(lookups.asked)) == (1, 0, 1)
    with pytest.raises(UrlRefused):
        await get(http, f"http://turning.example:{admitted.port}/")
    assert (admitted.connections, inside.connections) == (1, 0)


async def test_a_redirect_is_an_answer(listen: Listen) -> None:
    inside = await listen("127.0.0.1")
    place = f"http://127.0.0.1:{inside.port}/"
    outside = await listen("127.0.0.2", answer=f"HTTP/1.1 302 Found\r\nlocation: {place}\r\n\r\n".encode())
    http = GuardedHttp(allowed_networks=LOOPBACK)
    answer = await http.send("POST", f"http://127.0.0.2:{outside.port}/", headers={}, body=b"{}")
    assert (answer.status, answer.headers["location"]) == (302, place)
    assert (outside.connections, inside.connections) == (1, 0)


async def test_the_environments_proxies_are_not_used(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = await listen(), await listen("127.0.0.2")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    await get(GuardedHttp(allowed_networks=LOOPBACK), f"http://127.0.0.2:{receiver.port}/")
    assert (proxy.connections, receiver.connections) == (0, 1)


async def test_host_and_sni_name_the_host_not_the_address(listen: Listen) -> None:
    listener = await listen(answer=b"")
    http = GuardedHttp(allowed_networks=LOOPBACK, lookup=Lookups(["127.0.0.1"]))
    for scheme in ("http", "https"):
        with pytest.raises(RequestFailed):
            await http.send("POST", f"{scheme}://Hooks.Example:{listener.port}/a%2Fb?c=d", headers={})
    plain, hello = listener.received
    assert plain.startswith(b"POST /a%2Fb?c=d HTTP/1.1\r\n")
    assert f"host: hooks.example:{listener.port}\r\n".encode() in plain.lower()
    assert b"hooks.example" in hello


@pytest.mark.parametrize(
    ("url", "is_fine"),
    [
        ("https://hooks.example/x", True),
        ("https://hooks.example:8443/x?y=z", True),
        ("https://1.1.1.1/", True),
        ("https://[2600::1]/", True),
        ("https://xn--bcher-kva.example/", True),
        ("https://bücher.example/", True),
        ("http://hooks.example/", False),
        ("https://hooks.example:22/", False),
        ("https://hooks.example:6379/", False),
        ("https://10.0.0.1/", False),
    ],
)
def test_what_can_be_said_without_a_lookup(url: str, is_fine: bool) -> None:
    http = GuardedHttp(lookup=Lookups([]))
    if is_fine:
        http.check(url)
    else:
        with pytest.raises(UrlRefused):
            http.check(url)


@pytest.mark.parametrize("url", ["http://10.1.2.3:9000/", "http://receiver.example:9000/", "https://1.1.1.1/"])
def test_an_admitted_network_may_be_plain_http_on_any_port(url: str) -> None:
    GuardedHttp(allowed_networks=(ip_network("10.0.0.0/8"),)).check(url)


async def test_admitting_one_network_admits_no_other() -> None:
    http = GuardedHttp(allowed_networks=(ip_network("10.0.0.0/8"),), lookup=Lookups(["1.1.1.1"]))
    for url in ("http://name.example/", "https://name.example:9000/", "http://1.1.1.1/", "https://127.0.0.1/"):
        with pytest.raises(UrlRefused):
            await get(http, url)


async def test_an_answer_beyond_its_cap_is_not_read(listen: Listen) -> None:
    listener = await listen(answer=b"HTTP/1.1 200 OK\r\ncontent-length: 9999999\r\n\r\n" + b"x" * 100_000)
    http = GuardedHttp(allowed_networks=LOOPBACK)
    with pytest.raises(RequestFailed, match="larger than 100 bytes"):
        await get(http, f"http://127.0.0.1:{listener.port}/")
    unread = await http.send("GET", f"http://127.0.0.1:{listener.port}/", headers={})
    assert (unread.status, unread.body) == (200, b"")


async def test_who_does_not_answer_is_given_up(listen: Listen) -> None:
    listener = await listen(stays_silent=True)
    http = GuardedHttp(allowed_networks=LOOPBACK, total_seconds=0.05)
    with pytest.raises(RequestFailed, match="in time"):
        await get(http, f"http://127.0.0.1:{listener.port}/")


async def test_a_lookup_that_hangs_is_given_up() -> None:
    async def hang(host: str, port: int) -> list[Address]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(RequestFailed, match="looked up"):
        await get(GuardedHttp(lookup=hang, connect_seconds=0.05), "https://name.example/")


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok"])
async def test_what_is_no_answer(answer: bytes, listen: Listen) -> None:
    listener = await listen(answer=answer)
    with pytest.raises(RequestFailed):
        await get(GuardedHttp(allowed_networks=LOOPBACK), f"http://127.0.0.1:{listener.port}/")


async def test_nobody_listens(listen: Listen) -> None:
    with pytest.raises(RequestFailed, match="No connection"):
        await get(GuardedHttp(allowed_networks=LOOPBACK), "http://127.0.0.1:1/")


async def test_no_lookup_finds_nothing() -> None:
    with pytest.raises(RequestFailed):
        await get(GuardedHttp(lookup=Lookups([])), "https://name.example/")


def test_a_url_is_read_once() -> None:
    target = read_url("https://Hooks.Example.:8443/a?b=c")
    assert (target.scheme, target.host, target.port, target.address) == ("https", "hooks.example.", 8443, None)
