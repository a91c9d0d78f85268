"""Reading the URL of a place that somebody else named.

One parser, aiohttp's own (yarl): what is checked here is the very object that is fetched, so that no second reading can
understand it in another way (CVE-2026-45400 was such a difference).
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from yarl import URL

from pinxit.errors import InvalidValue
from pinxit.network.addresses import Address

MAX_URL_CHARACTERS = 2048

_ODD = re.compile(r"[\x00-\x20\x7f\\]")
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*\.?", re.ASCII)
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\.?", re.ASCII)


class UrlRefused(InvalidValue):
    """This URL leads where this server does not go."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that has been read. `address` is set where its host is an address, not a name."""

    url: URL
    scheme: str
    host: str
    port: int
    address: Address | None


def read_url(text: str, *, param: str = "url") -> Target:
    """The parts of an http or https URL. Raises UrlRefused, which never repeats the URL: it may hold a secret."""
    if len(text) > MAX_URL_CHARACTERS:
        raise UrlRefused(f"{param} is longer than {MAX_URL_CHARACTERS} characters.", param=param)
    if _ODD.search(text):
        raise UrlRefused(f"{param} must not contain white space, control characters or backslashes.", param=param)
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError as error:
        raise UrlRefused(f"{param} is not a URL.", param=param) from error
    if url.scheme not in ("http", "https") or not host or not port:
        raise UrlRefused(f"{param} must be a URL like https://example.com/hook.", param=param)
    if "@" in url.raw_authority or url.user is not None or url.password is not None:
        raise UrlRefused(f"{param} must not contain a user name or password.", param=param)
    if "#" in text:
        raise UrlRefused(f"{param} must not have a fragment.", param=param)
    return Target(url, url.scheme, host, port, _read_host(host, param))


def _read_host(host: str, param: str) -> Address | None:
    """The address that the host is, None if it is a name.

    A last label of digits makes it an address to many readers (https://url.spec.whatwg.org/#ends-in-a-number-checker),
    so that only four plain decimal numbers are taken.
    """
    if ":" in host:
        try:
            address = IPv6Address(host)
        except ValueError as error:
            raise UrlRefused(f"{param} has no valid IPv6 address.", param=param) from error
        if address.scope_id is not None:
            raise UrlRefused(f"{param} must not name a network interface.", param=param)
        return address
    if _NAME.fullmatch(host) is None:
        raise UrlRefused(f"{param} has no valid host name.", param=param)
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) is None:
        return None
    try:
        return IPv4Address(host)
    except ValueError as error:
        raise UrlRefused(f"{param} must write an IPv4 address as four decimal numbers.", param=param) from error
