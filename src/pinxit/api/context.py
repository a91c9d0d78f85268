"""What handlers share: the services, and small readers of an ASGI scope."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.types import Scope

from pinxit.accounts.oidc.service import OidcService
from pinxit.accounts.service import UserService
from pinxit.catalog.catalog import Catalog
from pinxit.generations.service import GenerationService
from pinxit.health.health import HealthService
from pinxit.keys.service import KeyService
from pinxit.library.library import Library
from pinxit.limits.byte_budget import ByteBudget
from pinxit.network.http import GuardedHttp
from pinxit.runners.interface import Runner
from pinxit.settings import Settings
from pinxit.usage.usage import UsageService
from pinxit.webhooks.service import WebhookService

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII)
REQUEST_ID = "pinxit.request_id"
"""Key of the scope under which the request's id is found."""
ANSWER_HEADERS = "pinxit.answer_headers"
"""Key of the scope for a function that gives further headers, whatever the answer will be."""


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the doors need, built once by `pinxit.app`."""

    settings: Settings
    catalog: Catalog
    keys: KeyService
    generations: GenerationService
    library: Library
    webhooks: WebhookService
    runners: dict[str, Runner]
    byte_budget: ByteBudget
    picture_http: GuardedHttp
    """Fetches pictures that clients name by URLs."""
    usage: UsageService
    users: UserService
    oidc: OidcService | None
    """None: nobody signs in by OpenID Connect."""
    health: HealthService
    now: Callable[[], datetime]


def header(scope: Scope, name: bytes) -> str | None:
    """The first header called `name` (lower case), decoded as Latin-1 (RFC 9110 §5.5)."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return None


def headers(scope: Scope, name: bytes) -> list[str]:
    """All headers called `name` (lower case)."""
    return [bytes(value).decode("latin-1") for key, value in scope["headers"] if key == name]


def base_url(scope: Scope, settings: Settings, *, any_host: bool = False) -> str:
    """Where this client reaches us, without a slash at the end.

    The configured public URL; else the request's host if it is an allowed one (forwarded headers count only from a
    trusted proxy); else the address the server is bound to. `any_host`: believe the request about its host, for what
    nobody else is shown.
    """
    if settings.public_url:
        return settings.public_url
    trusted = _from_trusted_proxy(scope, settings)
    host = (header(scope, b"x-forwarded-host") if trusted else None) or header(scope, b"host") or ""
    scheme = (header(scope, b"x-forwarded-proto") if trusted else None) or str(scope["scheme"])
    is_ours = _host_name(host) in settings.allowed_hosts or (any_host and _HOST.fullmatch(host) is not None)
    if is_ours and scheme in ("http", "https"):
        return f"{scheme}://{host}"
    bound, port = scope.get("server") or (settings.host, settings.port)
    return _address(bound, port)


def base_url_without_request(settings: Settings) -> str:
    """Where clients reach us as far as the settings say, without a slash at the end."""
    return settings.public_url or _address(settings.host, settings.port)


def _address(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _from_trusted_proxy(scope: Scope, settings: Settings) -> bool:
    client = scope.get("client")
    return client is not None and is_trusted_proxy(client[0], settings.trusted_proxies)


def is_trusted_proxy(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether what this client says of others is believed."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in networks)


def _host_name(host: str) -> str:
    """`Host` without its port, lower case; empty if it has any character that has no business in a host."""
    name, colon, port = host.rpartition(":")
    if not colon or host.endswith("]"):
        name, port = host, ""
    if port and not (port.isascii() and port.isdigit() and len(port) <= 5):
        return ""
    return name.lower()
