"""HTTP to places that others name: webhooks now, pictures by URL and upstreams by configuration when they come.

A name is looked up once, every address it has is judged, and the connection goes to exactly those: the resolver that
aiohttp gets answers with them and the factory of sockets opens no other. No redirect is followed, no proxy or netrc of
the environment is heeded, no cookie kept, no answer read beyond its cap.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from pinxit.errors import PinxitError
from pinxit.network.addresses import Address, Network, is_in, is_public
from pinxit.network.target import Target, UrlRefused, read_url

PUBLIC_PORTS = frozenset({80, 443, 8080, 8443})
"""Where web servers listen. Other ports belong to services that a request could talk into something."""

Lookup = Callable[[str, int], Awaitable[list[Address]]]
"""Host and port → all its addresses. Raises OSError if there is none."""


class RequestFailed(PinxitError):
    """The other side could not be reached, or did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `headers` in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def system_lookup(host: str, port: int) -> list[Address]:
    """What the machine's own resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(ip_address(str(info[4][0])) for info in found))


class GuardedHttp:
    """Sends requests to public addresses, and to the networks that the operator has admitted.

    To a public address: https only, on `PUBLIC_PORTS`. To an admitted network, where receivers seldom have a
    certificate: http too, on any port.
    """

    def __init__(
        self,
        *,
        allowed_networks: tuple[Network, ...] = (),
        lookup: Lookup = system_lookup,
        connect_seconds: float = 5.0,
        total_seconds: float = 15.0,
    ) -> None:
        """`connect_seconds`: for the look-up and for each connection; `total_seconds`: for all of a request."""
        self._allowed_networks = allowed_networks
        self._lookup = lookup
        self._connect_seconds = connect_seconds
        self._total_seconds = total_seconds

    def check(self, url: str, *, param: str = "url") -> None:
        """Refuse what can be refused without a look-up. Raises UrlRefused."""
        target = read_url(url, param=param)
        if target.address is not None:
            self._judge(target, target.address, param)
        elif not self._allowed_networks:
            _judge_public(target, param)

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        max_answer_bytes: int | None = None,
    ) -> Answer:
        """One request, and its answer whatever its status; a redirect is an answer like any other.

        `max_answer_bytes` None: the body of the answer is left unread.

        Raises:
            UrlRefused: the URL leads where we do not go. Nothing was sent, and no connection opened.
            RequestFailed: no answer in time, or one that is too large or not HTTP.
        """
        target = read_url(url)
        try:
            async with asyncio.timeout(self._total_seconds):
                addresses = await self._addresses(target)
                async with self._session(addresses) as session:
                    return await _exchange(session, method, target, headers, body, max_answer_bytes)
        except TimeoutError as error:
            raise RequestFailed("There was no answer in time.") from error
        except aiohttp.ClientSSLError as error:
            raise RequestFailed("No TLS connection could be made: the certificate or the protocol is wrong.") from error
        except aiohttp.ClientConnectorError as error:
            raise RequestFailed("No connection could be made.") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RequestFailed("The connection ended without a whole HTTP answer.") from error

    async def _addresses(self, target: Target) -> tuple[Address, ...]:
        """The addresses of the target, all of them fit; one that is not refuses the whole name."""
        if target.address is not None:
            found = [target.address]
        else:
            try:
                async with asyncio.timeout(self._connect_seconds):
                    found = await self._lookup(target.host, target.port)
            except OSError as error:  # TimeoutError is one too
                raise RequestFailed("The host name could not be looked up.") from error
        if not found:
            raise RequestFailed("The host name has no address.")
        for address in found:
            self._judge(target, address, "url")
        return tuple(found)

    def _judge(self, target: Target, address: Address, param: str) -> None:
        if is_in(address, self._allowed_networks):
            return
        if not is_public(address):
            raise UrlRefused(f"{param} must lead to a public address.", param=param)
        _judge_public(target, param)

    @asynccontextmanager
    async def _session(self, addresses: tuple[Address, ...]) -> AsyncIterator[aiohttp.ClientSession]:
        connector = aiohttp.TCPConnector(
            resolver=_Found(addresses),
            use_dns_cache=False,
            force_close=True,
            socket_factory=_sockets_to(addresses),
        )
        session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_seconds),
        )
        async with session:
            yield session


def _judge_public(target: Target, param: str) -> None:
    if target.scheme != "https":
        raise UrlRefused(f"{param} must begin with https://.", param=param)
    if target.port not in PUBLIC_PORTS:
        raise UrlRefused(f"{param} has a port that is not allowed.", param=param, allowed=sorted(PUBLIC_PORTS))


async def _exchange(
    session: aiohttp.ClientSession,
    method: str,
    target: Target,
    headers: Mapping[str, str],
    body: bytes,
    max_answer_bytes: int | None,
) -> Answer:
    async with session.request(method, target.url, headers=headers, data=body, allow_redirects=False) as response:
        received = b"" if max_answer_bytes is None else await _read(response, max_answer_bytes)
        return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, received)


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    received = bytearray()
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) > max_bytes:
            raise RequestFailed(f"The answer is larger than {max_bytes} bytes.")
    return bytes(received)


class _Found(AbstractResolver):
    """Answers with the addresses that have been looked up and judged; there is no second look-up."""

    def __init__(self, addresses: tuple[Address, ...]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """There is nothing to let go of."""


def _sockets_to(addresses: tuple[Address, ...]) -> Callable[[Any], socket.socket]:
    """A factory of sockets that opens none but to `addresses`, whatever way the library came by another."""

    def make(info: Any) -> socket.socket:
        family, kind, protocol, _, place = info
        if ip_address(str(place[0])) not in addresses:
            raise OSError("not one of the addresses that were judged")
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made

    return make
