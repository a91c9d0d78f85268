"""Signing in by an OpenID Connect provider, from the button to the session."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import structlog

from pinxit.accounts.oidc import admission, flow
from pinxit.accounts.oidc.provider import Provider, known_error
from pinxit.accounts.oidc.refusal import Reason, Refused
from pinxit.accounts.service import SignedIn, UserService
from pinxit.errors import ConfigurationError, StartupError
from pinxit.settings import OidcEntry

log = structlog.get_logger(__name__)

MAX_AT_ONCE = 32
"""Sign-ins that wait for the provider."""
MAX_CODE_CHARACTERS = 4096


class OidcService:
    """One provider's sign-ins."""

    def __init__(self, entry: OidcEntry, users: UserService, *, now: Callable[[], datetime], secret: bytes) -> None:
        """`secret`: this installation's own; cookies of sign-ins under way are signed with it.

        Raises StartupError, ConfigurationError.
        """
        _load_libraries()
        self.title = entry.title
        self._entry = entry
        self._users = users
        self._now = now
        self._key = hmac.digest(secret, b"sign-ins by OpenID Connect", "sha256")
        self._provider = Provider(entry, _read_secret(entry), now=now)
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)

    async def begin(self, next_page: str, redirect_uri: str) -> tuple[str, str]:
        """Where the browser goes, and the cookie that it takes along. Raises Refused."""
        begun = flow.begin(next_page, self._now())
        async with self._told("begin"), self._turn():
            return await self._provider.authorization_url(begun, redirect_uri), flow.seal(begun, self._key)

    async def finish(
        self, cookie: str, answer: Mapping[str, str], redirect_uri: str, *, address: str
    ) -> tuple[SignedIn, str]:
        """The new session, and the page that was wanted. `answer`: the parameters that the provider has sent the
        browser back with; `address`: of the client.

        Raises Refused; RateLimited while earlier failures from this address keep it waiting.
        """
        async with self._told("finish"):
            begun = flow.unseal(cookie, self._key, self._now())
            if not hmac.compare_digest(answer.get("state", "").encode(), begun.state.encode()):
                raise Refused(Reason.STALE, "the answer is to another sign-in")
            async with self._turn():
                claims = await self._ask(begun, answer, redirect_uri, address)
            return await self._let_in(claims), begun.next_page

    async def _ask(
        self, begun: flow.Flow, answer: Mapping[str, str], redirect_uri: str, address: str
    ) -> Mapping[str, Any]:
        await self._provider.check_issuer(answer.get("iss"))
        if "error" in answer:
            is_no = answer["error"] == "access_denied"
            raise Refused(Reason.DECLINED if is_no else Reason.MISTAKEN, known_error(answer["error"]))
        code = answer.get("code", "")
        if not 0 < len(code) <= MAX_CODE_CHARACTERS:
            raise Refused(Reason.MISTAKEN, "the answer has no code")
        async with self._users.patience(address):
            return await self._provider.redeem(code, begun, redirect_uri)

    async def _let_in(self, claims: Mapping[str, Any]) -> SignedIn:
        """Who was let in before and is not any more is signed out everywhere."""
        try:
            person = admission.read_person(claims, self._entry)
        except Refused:
            await self._users.end_sessions_by(self._entry.issuer, str(claims["sub"]))
            raise
        return await self._users.enter(
            person, may_link=self._entry.link_existing, sets_role=self._entry.admin.names_anybody
        )

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._turns.locked():
            raise Refused(Reason.BUSY)
        async with self._turns:
            yield

    @asynccontextmanager
    async def _told(self, step: str) -> AsyncIterator[None]:
        """Refusals in the log: an operator has to see what is wrong with the provider, or who sets it up."""
        try:
            yield
        except Refused as refused:
            log.info("oidc_sign_in_refused", step=step, reason=refused.reason.value, detail=refused.detail)
            raise


def _load_libraries() -> None:
    """At the start, for it takes as long as many requests. Raises StartupError."""
    try:
        for name in ("authlib.oauth2.rfc6749.parameters", "authlib.oidc.core", "joserfc.jwt"):
            import_module(name)
    except ImportError as error:
        raise StartupError(
            "oidc is configured, and its libraries are not installed: pip install 'pinxit[oidc]'."
        ) from error


def _read_secret(entry: OidcEntry) -> str | None:
    """Without white space around it, as files and variables often have. Raises ConfigurationError."""
    if entry.client_secret is not None:
        secret = entry.client_secret.get_secret_value().strip()
    elif entry.client_secret_file is not None:
        secret = _read(entry.client_secret_file)
    else:
        return None
    if not secret:
        raise ConfigurationError("oidc.client_secret: must not be empty; a public client has none at all.")
    return secret


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"oidc.client_secret_file: cannot be read ({type(error).__name__}).") from error
