"""What handlers share: the services, and small readers of an ASGI scope."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_address

from starlette.types import Scope

from pinxit import audit
from pinxit.accounts.directory import Directory
from pinxit.accounts.oidc.service import OidcService
from pinxit.accounts.service import UserService
from pinxit.audit.service import AuditService
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.service import CatalogService
from pinxit.credentials.service import CredentialService
from pinxit.generations.service import GenerationService
from pinxit.health.health import HealthService
from pinxit.keys.service import KeyService
from pinxit.ledger.credits import CreditService
from pinxit.library.library import Library
from pinxit.limits.byte_budget import ByteBudget
from pinxit.network.http import GuardedHttp
from pinxit.routing.router import Router
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
    models: CatalogService
    """Changes the catalogue."""
    router: Router
    """Knows how the painters far away have been doing."""
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
    credits: CreditService
    accounts: Directory
    credentials: CredentialService
    audit: AuditService
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


def act_as(scope: Scope, settings: Settings, actor: audit.Actor) -> None:
    """What this request changes from now on is noted as this one's doing."""
    address = client_address(scope, settings.trusted_proxies) if settings.audit_addresses else None
    audit.become(audit.Origin(actor, scope[REQUEST_ID], address))


def client_address(scope: Scope, trusted_proxies: Sequence[IPv4Network | IPv6Network]) -> str:
    """The address of the client: behind trusted proxies the last one in `X-Forwarded-For` that is none of them."""
    client = scope.get("client")
    address = client[0] if client else ""
    if not is_trusted_proxy(address, trusted_proxies):
        return str(address)
    hops = ",".join(headers(scope, b"x-forwarded-for")).split(",")
    for hop in reversed([hop.strip() for hop in hops if hop.strip()]):
        if not _is_address(hop):
            break
        address = hop
        if not is_trusted_proxy(hop, trusted_proxies):
            break
    return str(address)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


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
