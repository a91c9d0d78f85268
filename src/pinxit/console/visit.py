"""One request to the console: who visits, from where, and what they may do."""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from pinxit.accounts.service import SignedIn
from pinxit.accounts.user import User
from pinxit.api.context import Services, base_url, client_address
from pinxit.console.forms import Form
from pinxit.errors import PermissionDenied
from pinxit.keys.model import Caller, Scope

MEMBER_SCOPES = frozenset(Scope) - {Scope.ADMIN}
DEVICE_SECONDS = 365 * 24 * 3600


@dataclass(slots=True)
class Visit:
    """`user` None: nobody is signed in. `session`: the token of who is; `stranger`: what tells this browser from others
    until then.
    """

    request: Request
    services: Services
    user: User | None = None
    session: str | None = None
    stranger: str = ""
    is_new: bool = False
    """Whether `stranger` is not in a cookie yet."""
    form: Form = field(default_factory=Form)

    @property
    def caller(self) -> Caller:
        """Whom the services see: they ask for scopes as they do of API keys."""
        user = self.member
        scopes = frozenset(Scope) if user.is_admin else MEMBER_SCOPES
        return Caller(user.account_id, key=None, scopes=scopes, user_id=user.id)

    @property
    def member(self) -> User:
        assert self.user is not None, "only routes that say so have visitors who are not signed in"
        return self.user

    @property
    def csrf(self) -> str:
        """What every form of this visitor carries: nobody without the cookie can know it."""
        return hmac.digest((self.session or self.stranger).encode(), b"forms of the console", "sha256").hex()

    @property
    def base(self) -> str:
        """Where this browser reaches us: its pages are shown to nobody else, so its Host is believed."""
        return base_url(self.request.scope, self.services.settings, any_host=True)

    @property
    def is_https(self) -> bool:
        return self.base.startswith("https://")

    @property
    def device(self) -> str | None:
        return self.request.cookies.get(cookie_name("device", self.is_https))

    @property
    def address(self) -> str:
        """The client's, as far as trusted proxies say it."""
        return client_address(self.request.scope, self.services.settings.trusted_proxies)

    async def key_names(self) -> dict[str, str]:
        """Id → what people know the account's API keys by. Raises StorageUnavailable."""
        keys = await self.services.keys.list(self.caller)
        return {key.id: key.options.name or f"{key.prefix}…{key.last4}" for key in keys}

    def check_form_token(self, sent: str) -> None:
        """Raises PermissionDenied."""
        if not hmac.compare_digest(sent.encode("utf-8", "replace"), self.csrf.encode()):
            raise PermissionDenied("This page was too old to be sent. Open it again, and try once more.")

    def welcome(self, response: Response, signed_in: SignedIn) -> Response:
        """`response` with the cookies of the new session."""
        set_cookie(response, "session", signed_in.token, self.is_https)
        set_cookie(response, "device", signed_in.device, self.is_https, seconds=DEVICE_SECONDS)
        return response

    def farewell(self, response: Response) -> Response:
        """`response` that takes the session's cookie away."""
        response.delete_cookie(
            cookie_name("session", self.is_https), path="/", secure=self.is_https, httponly=True, samesite="strict"
        )
        return response


def cookie_name(name: str, is_https: bool) -> str:
    """With https under the prefix `__Host-`, which no neighbouring host can set
    (https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3.2, read 2026-11-22).
    """
    return f"__Host-pinxit_{name}" if is_https else f"pinxit_{name}"


def set_cookie(
    response: Response,
    name: str,
    value: str,
    is_https: bool,
    *,
    seconds: int | None = None,
    same_site: Literal["strict", "lax"] = "strict",
) -> None:
    """`lax`: a browser that another site leads here brings the cookie along too."""
    response.set_cookie(
        cookie_name(name, is_https),
        value,
        max_age=seconds,
        path="/",
        secure=is_https,
        httponly=True,
        samesite=same_site,
    )


def refuse_other_origins(request: Request, public_url: str | None) -> None:
    """Raises PermissionDenied unless a page of ours sent this: its host is the one that was asked, or the public one.

    Browsers say so in `Origin` with every POST, and in `Sec-Fetch-Site` as well where the connection is safe
    (https://go.dev/src/net/http/csrf.go does the same; read 2026-11-22).
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        raise PermissionDenied("Forms of the console are sent by its own pages only.")
    origin = request.headers.get("origin", "")
    own = {request.headers.get("host", "").lower()}
    if public_url:
        own.add(urlsplit(public_url).netloc.lower())
    try:
        parts = urlsplit(origin)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or parts.netloc.lower() not in own:
        raise PermissionDenied(
            "Forms of the console are sent by its own pages only. If there is a proxy before this server, let it pass "
            "on the Host header, or set public_url."
        )


def version_of(data: bytes) -> str:
    """A short name for exactly these bytes."""
    return hashlib.sha256(data).hexdigest()[:12]
