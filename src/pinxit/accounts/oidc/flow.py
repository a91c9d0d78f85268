"""One sign-in under way. The browser keeps it, in a cookie; the server remembers nothing.

All that the protocol needs comes from one random secret that is nowhere but in that cookie: `state` ties the
provider's answer to this browser, `nonce` the ID token to this sign-in, and the code is worth nothing without
`verifier` (RFC 7636).
"""

import base64
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pinxit.accounts.oidc.refusal import Reason, Refused

LASTS = timedelta(minutes=10)
"""As long as somebody may take at the provider."""
MAX_PAGE_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class Flow:
    """`next_page`: where the person wanted to go."""

    secret: str = field(repr=False)
    begun_at: datetime
    next_page: str

    @property
    def state(self) -> str:
        return self._derived(b"state")

    @property
    def nonce(self) -> str:
        return self._derived(b"nonce")

    @property
    def verifier(self) -> str:
        """43 characters of those that RFC 7636 §4.1 allows."""
        return self._derived(b"code verifier")

    def _derived(self, purpose: bytes) -> str:
        return _text(hmac.digest(self.secret.encode(), purpose, "sha256"))


def begin(next_page: str, now: datetime) -> Flow:
    page = next_page if len(next_page) <= MAX_PAGE_CHARACTERS else ""
    return Flow(secrets.token_urlsafe(32), now.replace(microsecond=0), page)


def seal(flow: Flow, key: bytes) -> str:
    """The cookie."""
    content = ".".join([flow.secret, str(int(flow.begun_at.timestamp())), _text(flow.next_page.encode())])
    return f"{content}.{_mark(content, key)}"


def unseal(cookie: str, key: bytes, now: datetime) -> Flow:
    """What `seal` made. Raises Refused if it is not ours, or too old."""
    content, _, mark = cookie.rpartition(".")
    if not hmac.compare_digest(mark.encode("utf-8", "replace"), _mark(content, key).encode()):
        raise Refused(Reason.STALE, "no cookie of a sign-in under way")
    secret, seconds, page = content.split(".")
    begun_at = datetime.fromtimestamp(int(seconds), UTC)
    if not begun_at <= now <= begun_at + LASTS:
        raise Refused(Reason.STALE, "begun too long ago")
    return Flow(secret, begun_at, base64.urlsafe_b64decode(f"{page}==").decode())


def _mark(content: str, key: bytes) -> str:
    return _text(hmac.digest(key, content.encode("utf-8", "replace"), "sha256"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
