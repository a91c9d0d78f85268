"""A small OpenID Connect provider on loopback, with real keys: what the fixture `make_oidc_provider` gives.

It keeps to OpenID Connect Core 1.0 and RFC 7636: codes work once, for the client, the address and the verifier that
they were made for. A test may have it do otherwise.
"""

import base64
import hashlib
import json
import secrets
import time
import warnings
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID = "pinxit"
CLIENT_SECRET = "the client's secret: +/%&"
ADA = {"sub": "248289761001", "email": "ada@example.com", "email_verified": True, "preferred_username": "ada"}

Key = RSAKey | ECKey
Sign = Callable[["OidcProvider", dict[str, Any], dict[str, Any]], str]
"""Provider, header and claims → ID token."""


@cache
def rsa_key(name: str = "one", bits: int = 2048) -> RSAKey:
    """Made once: that takes a while."""
    with warnings.catch_warnings(action="ignore"):  # of a key that is too short, which a test wants
        return RSAKey.generate_key(bits, {"kid": name, "use": "sig", "alg": "RS256"})


@cache
def ec_key(name: str = "ec") -> ECKey:
    return ECKey.generate_key("P-256", {"kid": name, "use": "sig"})


def signed(provider: "OidcProvider", header: dict[str, Any], claims: dict[str, Any]) -> str:
    return jwt.encode(header, claims, provider.key, algorithms=[header["alg"]])


@dataclass
class Code:
    """What a code was made for."""

    client_id: str
    redirect_uri: str
    challenge: str
    nonce: str


@dataclass
class OidcProvider:
    """`person`: the claims of who is signed in there; None: whoever comes does not want to."""

    person: dict[str, Any] | None = field(default_factory=lambda: dict(ADA))
    key: Key = field(default_factory=rsa_key)
    published: list[Key] | None = None
    """The keys that it shows; None: the one it signs with."""
    sign: Sign = signed
    claims: dict[str, Any] = field(default_factory=dict)
    """Put into each ID token over what belongs there; None takes a claim away."""
    header: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    """Put into the discovery document."""
    back: dict[str, str] = field(default_factory=dict)
    """Put into what the browser comes back with."""
    answers: dict[str, web.Response] = field(default_factory=dict)
    """Path → what it answers instead."""
    asks: bool = False
    """Whether people see a page with a button first."""
    secret: str | None = CLIENT_SECRET
    requests: list[str] = field(default_factory=list)
    """The paths of all requests."""
    codes: dict[str, Code] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    """Every code and token, which nobody else may keep."""
    port: int = 0

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def options(self, **more: Any) -> dict[str, Any]:
        """For the configuration."""
        own = {"issuer": self.issuer, "client_id": CLIENT_ID, "allow": {"email_domains": ["example.com"]}}
        if self.secret is not None:
            own["client_secret"] = self.secret
        return {**own, **more}

    async def start(self) -> web.AppRunner:
        @web.middleware
        async def watch(
            request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
        ) -> web.StreamResponse:
            self.requests.append(request.path)
            instead = self.answers.get(request.path)
            if instead is not None:
                return web.Response(status=instead.status, body=instead.body, headers=instead.headers)
            return await handler(request)

        app = web.Application(middlewares=[watch])
        app.router.add_get("/.well-known/openid-configuration", self._discovery)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/favicon.ico", self._nothing)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner

    async def _discovery(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                **self.document,
            }
        )

    async def _keys(self, request: web.Request) -> web.Response:
        shown = [self.key] if self.published is None else self.published
        return web.json_response({"keys": [key.as_dict(private=False) for key in shown]})

    async def _nothing(self, request: web.Request) -> web.Response:
        return web.Response(status=204)

    async def _authorize(self, request: web.Request) -> web.Response:
        if self.asks and "yes" not in request.query:
            hidden = "".join(
                f'<input type="hidden" name="{name}" value="{value}">' for name, value in request.query.items()
            )
            page = (
                f'<!doctype html><title>Provider</title><form>{hidden}<button name="yes" value="1">Yes</button></form>'
            )
            return web.Response(text=page, content_type="text/html")
        raise web.HTTPFound(self.answer(dict(request.query)))

    def answer(self, query: dict[str, str]) -> str:
        """Where it sends a browser that has come with `query`."""
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        back = {"state": query["state"]}
        if self.person is None:
            back["error"] = "access_denied"
        else:
            back["code"] = secrets.token_urlsafe(24)
            self.given.append(back["code"])
            self.codes[back["code"]] = Code(
                query["client_id"], query["redirect_uri"], query["code_challenge"], query["nonce"]
            )
        return f"{query['redirect_uri']}?{urlencode({**back, **self.back})}"

    async def _token(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text(), keep_blank_values=True, strict_parsing=True))
        if not self._is_client(request, form):
            return web.json_response({"error": "invalid_client"}, status=401)
        code = self.codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        if code is None or form["redirect_uri"] != code.redirect_uri or _text(verifier) != code.challenge:
            return web.json_response({"error": "invalid_grant"}, status=400)
        assert form["grant_type"] == "authorization_code"
        access_token = secrets.token_urlsafe(24)
        id_token = self.sign(
            self, {"alg": self._algorithm, "kid": self.key.kid, **self.header}, self._claims(code, access_token)
        )
        self.given += [access_token, id_token]
        return web.json_response({"access_token": access_token, "token_type": "Bearer", "id_token": id_token})

    def _is_client(self, request: web.Request, form: dict[str, str]) -> bool:
        header = request.headers.get("authorization", "")
        if "client_secret_post" in self.document.get("token_endpoint_auth_methods_supported", ()):
            return header == "" and (form["client_id"], form["client_secret"]) == (CLIENT_ID, self.secret)
        if self.secret is None:
            return header == "" and form["client_id"] == CLIENT_ID and "client_secret" not in form
        kind, _, pair = header.partition(" ")
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        return kind == "Basic" and (unquote(name), unquote(secret)) == (CLIENT_ID, self.secret)

    @property
    def _algorithm(self) -> str:
        return "RS256" if isinstance(self.key, RSAKey) else "ES256"

    def _claims(self, code: Code, access_token: str) -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 300,
            "nonce": code.nonce,
            "at_hash": _text(hashlib.sha256(access_token.encode()).digest()[:16]),
            **(self.person or {}),
            **self.claims,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def follow(self, location: str) -> str:
        """What a browser would be sent back to that follows `location` here; path and query."""
        parts = urlsplit(location)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.issuer}/authorize"
        back = urlsplit(self.answer(dict(parse_qsl(parts.query, strict_parsing=True))))
        return f"{back.path}?{back.query}"


MakeOidcProvider = Callable[..., Awaitable[OidcProvider]]


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """`alg: none`, which says nothing of who has written it."""
    parts = [_text(json.dumps(part).encode()) for part in ({**header, "alg": "none"}, claims)]
    return ".".join([*parts, ""])
