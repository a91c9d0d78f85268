"""What we ask of an OpenID Connect provider: its discovery document, its keys, and an ID token for a code.

The operator has named the issuer, so its own host may lie inside, as providers of pictures may. What its document
names on other hosts must be public, or in a network that the operator has admitted.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from pinxit.accounts.oidc import id_token
from pinxit.accounts.oidc.flow import Flow
from pinxit.accounts.oidc.refusal import Reason, Refused
from pinxit.network.http import Answer, GuardedHttp, RequestFailed
from pinxit.network.target import UrlRefused
from pinxit.settings import OidcEntry

if TYPE_CHECKING:
    from joserfc.jwk import ECKey, RSAKey

FRESH = timedelta(hours=1)
"""How long the discovery document and the keys are taken for what they were; unknown keys are asked for at once."""
MAX_ANSWER_BYTES = 512 * 1024
TOTAL_SECONDS = 10.0
_EVERYWHERE = (ip_network("0.0.0.0/0"), ip_network("::/0"))
_KNOWN_ERRORS = frozenset(
    [
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "access_denied",
        "unsupported_response_type",
        "server_error",
        "temporarily_unavailable",
        "interaction_required",
        "login_required",
        "account_selection_required",
        "consent_required",
    ]
)
"""RFC 6749 §4.1.2.1 and §5.2, OpenID Connect Core 1.0 §3.1.2.6."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What is needed of a discovery document (https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata)."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    takes_basic: bool
    """Whether the token endpoint takes the client's secret in `Authorization`; else it goes with the form."""
    names_itself: bool
    """Whether its answers to browsers say who it is (RFC 9207)."""


class Provider:
    """One provider, asked when somebody signs in, never before."""

    def __init__(self, entry: OidcEntry, secret: str | None, *, now: Callable[[], datetime]) -> None:
        """`secret`: None for a public client."""
        self._entry = entry
        self._secret = secret
        self._now = now
        self._own_host = GuardedHttp(allowed_networks=_EVERYWHERE, total_seconds=TOTAL_SECONDS)
        self._other_hosts = GuardedHttp(allowed_networks=entry.allowed_networks, total_seconds=TOTAL_SECONDS)
        self._metadata: tuple[Metadata, datetime] | None = None
        self._keys: tuple[list[RSAKey | ECKey], datetime] | None = None
        self._lock = asyncio.Lock()
        self._tries = 0
        self._failure: Refused | None = None

    async def authorization_url(self, flow: Flow, redirect_uri: str) -> str:
        """Where the browser goes to sign in. Raises Refused."""
        from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
        from authlib.oauth2.rfc7636 import create_s256_code_challenge

        metadata = await self._get_metadata()
        try:
            url = prepare_grant_uri(
                metadata.authorization_endpoint,
                self._entry.client_id,
                "code",
                redirect_uri=redirect_uri,
                scope=list(self._entry.scopes),
                state=flow.state,
                nonce=flow.nonce,
                code_challenge=create_s256_code_challenge(flow.verifier),
                code_challenge_method="S256",
            )
        except ValueError as error:
            raise Refused(Reason.MISTAKEN, "its authorization_endpoint cannot be added to") from error
        return str(url)

    async def check_issuer(self, issuer: str | None) -> None:
        """`issuer`: what an answer to a browser says of itself (RFC 9207 §2.4). Raises Refused."""
        if issuer is None and not (await self._get_metadata()).names_itself:
            return
        if issuer != self._entry.issuer:
            raise Refused(Reason.UNPROVEN, "the answer is of another issuer")

    async def redeem(self, code: str, flow: Flow, redirect_uri: str) -> Mapping[str, Any]:
        """The proven claims of the ID token that the code is good for. Raises Refused."""
        metadata = await self._get_metadata()
        answer = await self._send(
            "POST", metadata.token_endpoint, *self._token_request(metadata, code, flow, redirect_uri)
        )
        if answer.status != 200:
            raise Refused(Reason.MISTAKEN, f"its token endpoint answered {answer.status} {_error_of(answer)}".strip())
        tokens = _read_object(answer)
        token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str):
            raise Refused(Reason.MISTAKEN, "its answer has no ID token")
        return await self._verify(token, access_token if isinstance(access_token, str) else None, flow)

    def _token_request(
        self, metadata: Metadata, code: str, flow: Flow, redirect_uri: str
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body (RFC 6749 §4.1.3; the client's own name and secret: §2.3.1)."""
        headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": flow.verifier,
        }
        if self._secret is not None and metadata.takes_basic:
            pair = f"{quote(self._entry.client_id, safe='')}:{quote(self._secret, safe='')}"
            headers["authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = self._entry.client_id
            if self._secret is not None:
                form["client_secret"] = self._secret
        return headers, urlencode(form).encode()

    async def _verify(self, token: str, access_token: str | None, flow: Flow) -> Mapping[str, Any]:
        """With a key that is not known, the keys are asked for once more: providers change them. This is no way to make
        us ask often: the token is one that the provider has given for a code.
        """
        for keys in (await self._get_keys(), None):
            try:
                return id_token.verify(
                    token,
                    await self._get_keys(anew=True) if keys is None else keys,
                    issuer=self._entry.issuer,
                    client_id=self._entry.client_id,
                    nonce=flow.nonce,
                    access_token=access_token,
                    now=self._now(),
                )
            except id_token.UnknownKey:
                continue
        raise Refused(Reason.UNPROVEN, "none of its keys has signed")

    async def _get_metadata(self) -> Metadata:
        """Who waits while it is asked for shares the answer, be it a failure: nobody waits twice."""
        tries = self._tries
        async with self._lock:
            if self._metadata is not None and self._now() - self._metadata[1] <= FRESH:
                return self._metadata[0]
            if self._failure is not None and self._tries != tries:
                raise Refused(self._failure.reason, self._failure.detail)
            try:
                document = await self._get(f"{self._entry.issuer.rstrip('/')}/.well-known/openid-configuration")
                self._metadata, self._failure = (self._read_metadata(document), self._now()), None
            except Refused as refused:
                self._failure = refused
                raise
            finally:
                self._tries += 1
            return self._metadata[0]

    async def _get_keys(self, *, anew: bool = False) -> "list[RSAKey | ECKey]":
        metadata = await self._get_metadata()
        async with self._lock:
            if anew or self._keys is None or self._now() - self._keys[1] > FRESH:
                self._keys = id_token.read_keys(await self._get(metadata.jwks_uri)), self._now()
            return self._keys[0]

    def _read_metadata(self, document: Mapping[str, Any]) -> Metadata:
        if document.get("issuer") != self._entry.issuer:
            raise Refused(Reason.MISTAKEN, "its discovery document names another issuer")
        methods = document.get("token_endpoint_auth_methods_supported")
        methods = methods if isinstance(methods, list) else ["client_secret_basic"]
        return Metadata(
            self._endpoint(document, "authorization_endpoint"),
            self._endpoint(document, "token_endpoint"),
            self._endpoint(document, "jwks_uri"),
            takes_basic="client_secret_basic" in methods or "client_secret_post" not in methods,
            names_itself=document.get("authorization_response_iss_parameter_supported") is True,
        )

    def _endpoint(self, document: Mapping[str, Any], name: str) -> str:
        """Of the issuer's own scheme: nothing that comes by https goes on by http."""
        url = document.get(name)
        if not isinstance(url, str) or not _is_plain(url) or urlsplit(url).scheme not in self._schemes:
            raise Refused(Reason.MISTAKEN, f"its discovery document has no usable {name}")
        return url

    @property
    def _schemes(self) -> set[str]:
        return {"https", urlsplit(self._entry.issuer).scheme}

    async def _get(self, url: str) -> Mapping[str, Any]:
        answer = await self._send("GET", url, {"accept": "application/json"})
        if answer.status != 200:
            is_down = answer.status >= 500 or answer.status == 429
            raise Refused(Reason.UNREACHABLE if is_down else Reason.MISTAKEN, f"it answered {answer.status}")
        return _read_object(answer)

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """No redirect is followed: what is sent may be a secret."""
        is_own = _origin(url) == _origin(self._entry.issuer)
        http = self._own_host if is_own else self._other_hosts
        try:
            return await http.send(method, url, headers=headers, body=body, max_answer_bytes=MAX_ANSWER_BYTES)
        except RequestFailed as error:
            raise Refused(Reason.UNREACHABLE, error.message) from error
        except UrlRefused as error:
            raise Refused(Reason.MISTAKEN, f"an address of its discovery document: {error.message}") from error


def _read_object(answer: Answer) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise Refused(Reason.MISTAKEN, "its answer is not JSON") from error
    if not isinstance(found, dict):
        raise Refused(Reason.MISTAKEN, "its answer is no JSON object")
    return found


def _error_of(answer: Answer) -> str:
    try:
        return known_error(_read_object(answer).get("error"))
    except Refused:
        return ""


def known_error(code: object) -> str:
    """An error code of the protocol; others are not repeated."""
    return code if isinstance(code, str) and code in _KNOWN_ERRORS else "with an error of its own"


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url and "#" not in url and "\\" not in url


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"https": 443, "http": 80}.get(parts.scheme)
