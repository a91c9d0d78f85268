"""T27, by a provider: nobody comes in by an answer that was forged, stolen, sent again or meant for somebody else."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter
from logged import Log

from front import Front, MakeFront
from oidc_provider import (
    ADA,
    CLIENT_ID,
    CLIENT_SECRET,
    MakeOidcProvider,
    OidcProvider,
    Sign,
    ec_key,
    rsa_key,
    unsigned,
)
from pinxit.accounts.user import Role
from pinxit.database.tables import user_sessions
from quick_passwords import _quick_passwords
from visitor import Visitor, make_user

__all__ = ["_quick_passwords"]

CALLBACK = "/console/oidc/callback"


@pytest.fixture
async def provider(make_oidc_provider: MakeOidcProvider) -> OidcProvider:
    return await make_oidc_provider()


@pytest.fixture
async def house(make_front: MakeFront, provider: OidcProvider) -> Front:
    """It has an admin, and anybody whom the provider knows may sign in."""
    front = await make_front(oidc=provider.options(allow={"anybody": True}), log_level="debug")
    await make_user(front, "first", Role.ADMIN, "acct_default")
    return front


async def begun(visitor: Visitor, provider: OidcProvider, next_: str = "") -> str:
    """The address that the provider sends this browser back to."""
    started = await visitor.get(f"/console/oidc/start?{urlencode({'next': next_})}")
    return provider.follow(started.headers["location"])


async def outcome(visitor: Visitor, address: str) -> str:
    """`in`, or the problem that the sign-in page tells."""
    left = (await visitor.get(address)).headers["location"]
    if left.startswith("/console/oidc/landing"):
        assert visitor.is_signed_in
        return "in"
    assert not visitor.is_signed_in
    return left.removeprefix("/console/sign-in?problem=")


def changed(address: str, **changes: str | None) -> str:
    parts = urlsplit(address)
    fields = {**dict(parse_qsl(parts.query)), **changes}
    return f"{parts.path}?{urlencode({name: value for name, value in fields.items() if value is not None})}"


FORGED: dict[str, dict[str, Any]] = {
    "iss": {"iss": "https://evil.example"},
    "iss with a slash": {"iss": "+/"},
    "no iss": {"iss": None},
    "aud": {"aud": "another client"},
    "aud, although we asked": {"aud": "another client", "azp": CLIENT_ID},
    "no aud": {"aud": None},
    "aud without us": {"aud": ["another client"]},
    "two and no azp": {"aud": [CLIENT_ID, "another client"]},
    "azp": {"azp": "another client"},
    "two, and azp of the other": {"aud": [CLIENT_ID, "another client"], "azp": "another client"},
    "nonce": {"nonce": "of another sign-in"},
    "no nonce": {"nonce": None},
    "nonce of odd kind": {"nonce": ["x"]},
    "expired": {"exp": 1_700_000_000},
    "no exp": {"exp": None},
    "exp of odd kind": {"exp": "never"},
    "exp without end": {"exp": float("nan")},
    "from the future": {"iat": 4_000_000_000},
    "no iat": {"iat": None},
    "not yet": {"nbf": 4_000_000_000},
    "no sub": {"sub": None},
    "empty sub": {"sub": ""},
    "sub of odd kind": {"sub": 7},
    "long sub": {"sub": "x" * 256},
    "sub with a zero": {"sub": "a\0b"},
    "at_hash": {"at_hash": "of another access token"},
    "at_hash of odd kind": {"at_hash": 7},
}


async def test_a_token_that_is_not_for_this_sign_in(house: Front, provider: OidcProvider):
    for name, claims in FORGED.items():
        provider.claims = {claim: provider.issuer + "/" if value == "+/" else value for claim, value in claims.items()}
        visitor = Visitor(house, f"10.0.0.{len(provider.requests) % 250}")
        assert await outcome(visitor, await begun(visitor, provider)) == "unproven", name
    provider.claims = {"aud": [CLIENT_ID, "another client"], "azp": CLIENT_ID}
    visitor = Visitor(house)
    assert await outcome(visitor, await begun(visitor, provider)) == "in"


def _by_another_key(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    return jwt.encode(header, claims, rsa_key("thief"))


def _with_an_unknown_key(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    return jwt.encode({**header, "kid": "thief"}, claims, rsa_key("thief"))


def _by_the_public_key_as_secret(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """The old confusion of algorithms: the public key, which everybody has, as the secret of an HMAC."""
    secret = OctKey.import_key(provider.key.as_bytes(private=False).replace(b"-----", b""))
    return jwt.encode({**header, "alg": "HS256"}, claims, secret)


def _by_the_client_s_secret(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET.ljust(32)))


def _by_a_key_in_its_header(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    thief = ec_key("thief")
    return jwt.encode({"alg": "ES256", "jwk": thief.as_dict(private=False)}, claims, thief)


def _by_another_algorithm(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    key = bare(rsa_key(), "alg", private=True)
    claims = {name: value for name, value in claims.items() if name != "at_hash"}  # it would be another one's
    return jwt.encode({**header, "alg": "RS512"}, claims, key, algorithms=["RS512"])


def _changed_afterwards(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    genuine = jwt.encode(header, claims, provider.key).split(".")
    other = jwt.encode(header, {**claims, "sub": "somebody else"}, provider.key).split(".")
    return ".".join([genuine[0], other[1], genuine[2]])


def _with_something_critical(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    """A header that has to be understood, and is not (RFC 7515 §4.1.11)."""
    knows = JWSRegistry(header_registry={"x": HeaderParameter("x", "int")})
    return jwt.encode({**header, "crit": ["x"], "x": 1}, claims, provider.key, registry=knows)


SIGNED: list[Sign] = [
    unsigned,
    _by_another_key,
    _with_an_unknown_key,
    _by_the_public_key_as_secret,
    _by_the_client_s_secret,
    _by_a_key_in_its_header,
    _by_another_algorithm,
    _changed_afterwards,
    lambda provider, header, claims: "a.b.c",
    lambda provider, header, claims: "",
    _with_something_critical,
]


def bare(key: RSAKey, *without: str, private: bool = False) -> RSAKey:
    """The same key without some of what it says of itself."""
    told = key.as_dict(private=private)
    return RSAKey.import_key({name: value for name, value in told.items() if name not in without})


async def test_a_token_that_is_not_the_provider_s(house: Front, provider: OidcProvider):
    provider.published = [bare(rsa_key(), "alg")]  # so that only the algorithm itself is looked at
    for place, sign in enumerate(SIGNED):
        provider.sign = sign
        visitor = Visitor(house)
        assert await outcome(visitor, await begun(visitor, provider)) == "unproven", place
    assert provider.requests.count("/keys") <= len(SIGNED) + 1, "keys are asked for once more, not again and again"


async def test_a_key_that_is_too_short(house: Front, provider: OidcProvider):
    provider.key = rsa_key("short", 1024)
    visitor = Visitor(house)
    assert await outcome(visitor, await begun(visitor, provider)) == "unproven"


async def test_keys_that_are_not_for_signing(house: Front, provider: OidcProvider):
    told = rsa_key().as_dict(private=False)
    encrypting = RSAKey.import_key({**told, "use": "enc"})
    provider.published = [encrypting]
    visitor = Visitor(house)
    assert await outcome(visitor, await begun(visitor, provider)) == "unproven"
    provider.published = [RSAKey.import_key({**rsa_key("two").as_dict(private=False), "use": "enc"}), rsa_key()]
    provider.sign = lambda own, header, claims: jwt.encode(
        {"alg": "RS256"}, claims, bare(rsa_key(), "kid", private=True)
    )
    assert await outcome(visitor, await begun(visitor, provider)) == "in", "there is one only that can have signed"


Change = Callable[[str, str], str]
ANSWERS: dict[str, tuple[dict[str, str | None], str]] = {
    "no state": ({"state": None}, "stale"),
    "another state": ({"state": "x" * 43}, "stale"),
    "odd state": ({"state": "\ud7ff"}, "stale"),
    "no code": ({"code": None}, "mistaken"),
    "another code": ({"code": "x"}, "mistaken"),
    "a long code": ({"code": "x" * 4097}, "mistaken"),
    "an error": ({"error": "server_error"}, "mistaken"),
    "an odd error": ({"error": "<script>alert(1)</script>"}, "mistaken"),
    "another issuer": ({"iss": "https://evil.example"}, "unproven"),
}


async def test_an_answer_that_was_changed(
    house: Front,
    provider: OidcProvider,
):
    for name, (changes, problem) in ANSWERS.items():
        visitor = Visitor(house)
        address = await begun(visitor, provider)
        assert await outcome(visitor, changed(address, **changes)) == problem, name
        if problem == "stale":
            assert await outcome(visitor, address) == "in", "a forged answer does not end the real sign-in"
        else:
            assert await outcome(visitor, address) == "stale", "one sign-in, one answer"
    visitor = Visitor(house)
    address = await begun(visitor, provider)
    assert await outcome(visitor, f"{address}&state=x") == "stale", "nothing is there twice"


async def test_a_provider_that_names_itself_always_does(house: Front, provider: OidcProvider):
    provider.document = {"authorization_response_iss_parameter_supported": True}
    visitor = Visitor(house)
    assert await outcome(visitor, await begun(visitor, provider)) == "unproven"
    provider.back = {"iss": provider.issuer}
    assert await outcome(visitor, await begun(visitor, provider)) == "in"


async def test_nobody_is_signed_in_as_somebody_else_by_a_link(house: Front, provider: OidcProvider):
    """CSRF of the callback: a thief sends others the address that their own sign-in came back with."""
    thief, victim, other = Visitor(house), Visitor(house), Visitor(house)
    address = await begun(thief, provider)
    assert await outcome(victim, address) == "stale"
    own = await begun(other, provider)
    assert await outcome(other, address) == "stale", "also not one who is just signing in"
    assert await outcome(other, own) == "in"
    assert await outcome(thief, address) == "in"


async def test_a_stolen_code_is_worth_nothing(house: Front, provider: OidcProvider):
    """Without the verifier, which is in the cookie of the browser that began (RFC 7636)."""
    victim, thief = Visitor(house), Visitor(house)
    stolen = dict(parse_qsl(urlsplit(await begun(victim, provider)).query))["code"]
    assert await outcome(thief, changed(await begun(thief, provider), code=stolen)) == "mistaken"


async def test_a_code_that_is_sent_again(house: Front, provider: OidcProvider):
    visitor = Visitor(house)
    address = await begun(visitor, provider)
    cookie = visitor.http.cookies["pinxit_oidc"]
    assert await outcome(visitor, address) == "in"
    assert "pinxit_oidc" not in visitor.http.cookies
    again = Visitor(house)
    assert await outcome(again, address) == "stale"
    again.http.cookies.set("pinxit_oidc", cookie, domain="127.0.0.1", path="/")
    assert await outcome(again, address) == "mistaken", "the provider takes a code once"


async def test_a_sign_in_ends(house: Front, provider: OidcProvider):
    service = house.house.services.oidc
    assert service is not None
    now = house.house.services.now
    for after, problem in ((timedelta(minutes=9), "in"), (timedelta(minutes=11), "stale"), (-timedelta(1), "stale")):
        visitor = Visitor(house)
        address = await begun(visitor, provider)
        service._now = lambda after=after: now() + after
        assert await outcome(visitor, address) == problem
        service._now = now


async def test_a_cookie_that_is_not_ours(house: Front, provider: OidcProvider):
    visitor = Visitor(house)
    address = await begun(visitor, provider)
    genuine = visitor.http.cookies["pinxit_oidc"].split(".")
    later = ".".join([genuine[0], str(int(genuine[1]) + 1), *genuine[2:]])
    for cookie in ("", "x", "a.b.c.d", ".1.x.", "....", "é", "x" * 5000, later, f"x{'.'.join(genuine)}"):
        visitor.http.cookies.clear()
        left = await visitor.http.get(address, headers={"cookie": f"pinxit_oidc={cookie}".encode()})
        assert left.headers["location"] == "/console/sign-in?problem=stale", cookie


ELSEWHERE = [
    "https://evil.example/",
    "//evil.example",
    "/\\evil.example",
    "/console//evil",
    "/v1",
    "javascript:alert(1)",
]


async def test_it_leads_to_pages_of_ours_only(house: Front, provider: OidcProvider):
    for next_ in ELSEWHERE:
        visitor = Visitor(house)
        left = await visitor.get(await begun(visitor, provider, next_))
        assert left.headers["location"] == "/console/oidc/landing?next=%2Fconsole"
        page = await visitor.get(f"/console/oidc/landing?{urlencode({'next': next_})}")
        assert re.findall(r'url=([^"]*)"', page.text) == ["/console"]
        assert "evil" not in page.text


async def test_a_host_of_the_visitor_s_is_no_redirect_elsewhere(make_front: MakeFront, provider: OidcProvider):
    front = await make_front(oidc=provider.options(), public_url="https://pictures.example.com")
    left = await Visitor(front).get("/console/oidc/start", headers={"host": "evil.example"})
    sent = dict(parse_qsl(urlsplit(left.headers["location"]).query))
    assert sent["redirect_uri"] == "https://pictures.example.com/console/oidc/callback"
    (cookie,) = [each for each in left.headers.get_list("set-cookie") if "oidc" in each]
    assert cookie.startswith("__Host-pinxit_oidc=")
    assert {"httponly", "secure", "samesite=lax", "path=/", "max-age=600"} <= set(cookie.lower().split("; "))


async def test_no_other_site_begins_a_sign_in(house: Front, provider: OidcProvider):
    for site in ("cross-site", "same-site"):
        left = await Visitor(house).get("/console/oidc/start", headers={"sec-fetch-site": site})
        assert left.headers["location"] == "/console/sign-in"
    assert provider.requests == []


async def test_what_stands_in_an_address_is_not_shown(house: Front):
    for problem in ("<script>alert(1)</script>", "call 0800 and ask for Eve", "Reason.STALE", "{title.__class__}"):
        page = await Visitor(house).get(f"/console/sign-in?{urlencode({'problem': problem})}")
        assert (page.status_code, "alert" in page.text) == (200, False)
        assert problem not in page.text


async def test_failures_wait(house: Front, provider: OidcProvider):
    """Codes cannot be tried one after the other, and a stranger cannot have us ask the provider for ever."""
    visitor = Visitor(house)
    problems = [await outcome(visitor, changed(await begun(visitor, provider), code="x")) for _ in range(21)]
    assert problems == ["mistaken"] * 20 + ["too_often"]
    assert provider.requests.count("/token") == 20
    assert "too many failed attempts" in (await visitor.get("/console/sign-in?problem=too_often")).text
    assert await outcome(other := Visitor(house, "10.9.9.9"), await begun(other, provider)) == "in"


async def test_only_so_many_at_once(house: Front, provider: OidcProvider):
    service = house.house.services.oidc
    assert service is not None
    for _ in range(32):
        await service._turns.acquire()
    left = await Visitor(house).get("/console/oidc/start")
    assert left.headers["location"] == "/console/sign-in?problem=busy"


async def test_nothing_secret_is_written_down(log: Log, house: Front, provider: OidcProvider):
    visitor = Visitor(house)
    address = await begun(visitor, provider)
    cookie = visitor.http.cookies["pinxit_oidc"]
    left = await visitor.get(address)
    assert "code=" not in left.headers["location"], "no history keeps it"
    landing = await visitor.get(left.headers["location"])
    assert landing.headers["referrer-policy"] == "same-origin"
    provider.sign = unsigned
    other = Visitor(house)
    await outcome(other, await begun(other, provider))
    provider.claims = {"iss": "https://canary.example"}
    await outcome(other, changed(await begun(other, provider), error="canary", error_description="canary"))
    own = [event for event in log.events() if event["logger"].startswith("pinxit")]  # not the test's own client
    text = json.dumps(own)
    assert "oidc_sign_in_refused" in text
    secrets = [*provider.given, CLIENT_SECRET, cookie, visitor.session, ADA["email"], "canary", "state="]
    assert [secret for secret in secrets if secret in text] == []
    assert len(provider.given) >= 6
    assert len(await house.rows(user_sessions)) == 1
