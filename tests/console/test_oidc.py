"""Signing in by an OpenID Connect provider: who comes in, as whom and as what."""

import re
import sys
from typing import Any

import httpx2
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey

from front import Front, MakeFront
from oidc_provider import ADA, MakeOidcProvider, OidcProvider, ec_key, rsa_key
from pinxit.accounts.oidc.admission import read_person
from pinxit.accounts.oidc.refusal import Reason, Refused
from pinxit.accounts.oidc.service import _read_secret
from pinxit.accounts.user import Role
from pinxit.database.tables import identities, user_sessions, users
from pinxit.errors import ConfigurationError, StartupError
from pinxit.settings import OidcEntry, load_settings
from visitor import PASSWORD, Visitor, make_user, visitor_as

CALLBACK = "/console/oidc/callback"
ADMINS = {"emails": ["boss@example.com"]}
BOSS = {**ADA, "sub": "1", "email": "boss@example.com"}


@pytest.fixture
async def provider(make_oidc_provider: MakeOidcProvider) -> OidcProvider:
    return await make_oidc_provider()


async def come_in(front: Front, provider: OidcProvider, visitor: Visitor | None = None) -> httpx2.Response:
    """Where the way through the provider ends: at the landing page, or back at the sign-in page."""
    visitor = visitor or Visitor(front)
    started = await visitor.get("/console/oidc/start?next=/console/keys")
    assert started.status_code == 303
    left = await visitor.get(provider.follow(started.headers["location"]))
    assert (left.status_code, left.headers["cache-control"]) == (303, "no-store")
    return await visitor.get(left.headers["location"])


async def with_admin(make_front: MakeFront, provider: OidcProvider, **options: Any) -> Front:
    """A house that has its first user already."""
    front = await make_front(oidc=provider.options(**options))
    await make_user(front, "first", Role.ADMIN, "acct_default")
    return front


def forget(front: Front) -> None:
    """As if an hour had gone by: what the provider is like is asked for anew."""
    service = front.house.services.oidc
    assert service is not None
    service._provider._metadata = service._provider._keys = None


def said(page: httpx2.Response) -> str:
    found = re.search(r'role="alert">([^<]*)<', page.text)
    return "" if found is None else found[1]


@pytest.mark.both_databases
async def test_who_is_allowed_becomes_a_member_with_an_account(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    visitor = Visitor(front)
    landing = await come_in(front, provider, visitor)
    assert landing.status_code == 200
    assert '<meta http-equiv="refresh" content="0;url=/console/keys">' in landing.text
    assert (await visitor.get("/console/keys")).status_code == 200
    ada = next(user for user in await front.rows(users) if user.name == "ada@example.com")
    assert (ada.role, ada.password_hash, ada.account_id != "acct_default") == ("member", None, True)
    (identity,) = await front.rows(identities)
    assert (identity.issuer, identity.subject, identity.user_id) == (provider.issuer, ADA["sub"], ada.id)


async def test_the_subject_is_the_identity(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    await come_in(front, provider)
    provider.person = {**ADA, "email": "ada.lovelace@example.com"}
    await come_in(front, provider)
    assert len(await front.rows(users)) == 2
    provider.person = {**ADA, "sub": "another"}
    page = await come_in(front, provider)
    assert (page.status_code, "somebody here with your name" in said(page)) == (409, True)
    assert len(await front.rows(users)) == 2


async def test_the_sign_in_page_has_a_button(make_front: MakeFront, provider: OidcProvider):
    front = await make_front(oidc=provider.options(title="Example & Sons"))
    page = await Visitor(front).get("/console/sign-in?next=/console/keys")
    assert (
        '<a class="button wide" href="/console/oidc/start?next=/console/keys">Sign in with Example &amp; Sons</a>'
        in (page.text)
    )
    assert 'type="password"' in page.text
    assert provider.requests == [], "the provider is asked when somebody wants it"


async def test_without_one_there_is_nothing(front: Front):
    assert "oidc" not in (await Visitor(front).get("/console/sign-in?problem=declined")).text
    for path in ("start", "callback", "landing"):
        assert (await Visitor(front).get(f"/console/oidc/{path}")).status_code == 404


RULES: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({"email_domains": ["example.com"]}, {}, True),
    ({"email_domains": ["Example.com"]}, {"email": "Ada@EXAMPLE.com"}, True),
    ({"email_domains": ["example.org"]}, {}, False),
    ({"email_domains": ["example.com"]}, {"email": "ada@sub.example.com"}, False),
    ({"email_domains": ["example.com"]}, {"email": "ada@evilexample.com"}, False),
    ({"email_domains": ["example.com"]}, {"email": "ada@evil.org@example.com"}, False),
    ({"email_domains": ["example.com"]}, {"email": "ada@ｅxample.com"}, False),
    ({"emails": ["ada@example.com"]}, {"email": "ａda@example.com"}, False),
    ({"emails": ["ada@example.com"]}, {}, True),
    ({"emails": ["bob@example.com"]}, {}, False),
    ({"emails": ["ada@example.com"]}, {"email_verified": None}, False),
    ({"emails": ["ada@example.com"]}, {"email_verified": "true"}, True),
    ({"emails": ["ada@example.com"]}, {"email": ["ada@example.com"]}, False),
    ({"claims": {"groups": ["painters"]}}, {"groups": ["staff", "painters"]}, True),
    ({"claims": {"groups": ["painters"]}}, {"groups": ["staff"]}, False),
    ({"claims": {"groups": ["painters"]}}, {}, False),
    ({"claims": {"groups": ["painters"]}}, {"groups": {"painters": True}}, False),
    ({"claims": {"hd": ["example.com"]}}, {"hd": "example.com"}, True),
    ({"claims": {"realm_access.roles": ["pinxit"]}}, {"realm_access": {"roles": ["pinxit"]}}, True),
    ({"claims": {"https://x.example/roles": ["pinxit"]}}, {"https://x.example/roles": ["pinxit"]}, True),
    ({"anybody": True}, {"email": None, "email_verified": None}, True),
]


def test_who_may_sign_in():
    for rule, claims, is_allowed in RULES:
        entry = OidcEntry.model_validate({**OidcProvider(port=1).options(), "allow": rule})
        given = {name: value for name, value in {**ADA, **claims}.items() if value is not None}
        if is_allowed:
            assert read_person(given, entry).subject == ADA["sub"], (rule, claims)
        else:
            with pytest.raises(Refused) as caught:
                read_person(given, entry)
            assert caught.value.reason is Reason.NOT_ALLOWED, (rule, claims)


async def test_who_is_not_allowed(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    provider.person = {**ADA, "email": "ada@example.org"}
    page = await come_in(front, provider)
    assert (page.status_code, "may not sign in here" in said(page)) == (403, True)
    assert len(await front.rows(users)) == 1


async def test_an_address_that_is_not_confirmed(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider, allow={"anybody": True})
    for value in (False, "false", 0):
        provider.claims = {"email_verified": value}
        page = await come_in(front, provider)
        assert (page.status_code, "does not know yet that your e-mail" in said(page)) == (403, True)
    assert await front.rows(identities) == []


async def test_who_may_not_any_more_is_signed_out_everywhere(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    visitor = Visitor(front)
    await come_in(front, provider, visitor)
    provider.person = {**ADA, "email": "ada@example.org"}
    await come_in(front, provider)
    assert (await visitor.get("/console/keys")).status_code == 303


async def test_the_provider_says_who_is_an_admin(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider, admin={"claims": {"groups": ["admins"]}})
    visitor = Visitor(front)
    for groups, status in ((["admins"], 200), ([], 403), (["admins"], 200)):
        provider.claims = {"groups": groups}
        await come_in(front, provider, visitor)
        assert (await visitor.get("/console/people")).status_code == status
        await visitor.post("/console/sign-out")
    ada = next(user for user in await front.rows(users) if user.name == "ada@example.com")
    assert ada.account_id == "acct_default", "an admin shares the first account, as one who was invited"


async def test_without_a_word_of_its_the_roles_of_people_stay(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    await come_in(front, provider)
    ada = next(user for user in await front.rows(users) if user.name == "ada@example.com")
    await front.house.services.users.set_role(ada.id, Role.ADMIN)
    visitor = Visitor(front)
    await come_in(front, provider, visitor)
    assert (await visitor.get("/console/people")).status_code == 200


async def test_the_first_user_is_an_admin_or_comes_by_the_printed_link(make_front: MakeFront, provider: OidcProvider):
    front = await make_front(oidc=provider.options(admin=ADMINS))
    page = await come_in(front, provider)
    assert (page.status_code, "open the link that the server printed" in said(page)) == (403, True)
    assert await front.rows(users) == []
    assert await front.house.services.users.first_link() is not None
    provider.person = BOSS
    visitor = Visitor(front)
    await come_in(front, provider, visitor)
    assert (await visitor.get("/console/people")).status_code == 200
    assert await front.house.services.users.first_link() is None


async def test_the_last_admin_stays_one(make_front: MakeFront, provider: OidcProvider):
    front = await make_front(oidc=provider.options(admin={"claims": {"groups": ["admins"]}}))
    provider.claims = {"groups": ["admins"]}
    await come_in(front, provider)
    provider.claims = {}
    visitor = Visitor(front)
    await come_in(front, provider, visitor)
    assert (await visitor.get("/console/people")).status_code == 200


async def test_an_existing_user_is_linked_only_where_that_is_wanted(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    old = await visitor_as(front, "ada@example.com")
    assert (await come_in(front, provider)).status_code == 409
    assert (await old.get("/console/profile")).status_code == 200


@pytest.mark.both_databases
async def test_linking_ends_what_the_name_was_used_by(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider, link_existing=True)
    old = await visitor_as(front, "ada@example.com")
    visitor = Visitor(front)
    assert (await come_in(front, provider, visitor)).status_code == 200
    (identity,) = await front.rows(identities)
    ada = next(user for user in await front.rows(users) if user.name == "ada@example.com")
    assert (identity.user_id, ada.password_hash) == (ada.id, None)
    assert (await old.get("/console/profile")).status_code == 303
    assert (await Visitor(front).sign_in("ada@example.com")).status_code == 401
    profile = (await visitor.get("/console/profile")).text
    assert (provider.issuer in profile, "Change the password" in profile) == (True, False)
    provider.person = {**ADA, "sub": "who has the address now"}
    assert (await come_in(front, provider)).status_code == 409, "an address may be given to somebody else"


async def test_nobody_is_linked_by_an_address_that_is_not_proven(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider, link_existing=True, allow={"anybody": True})
    await make_user(front, "ada@example.com")
    for missing in ("email_verified", "email"):
        provider.claims = {missing: None, "preferred_username": "ada@example.com"}
        assert (await come_in(front, provider)).status_code == 409
    assert await front.rows(identities) == []


async def test_another_claim_can_say_that_an_address_is_proven(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider, email_verified_claim="xms_edov")
    provider.claims = {"email_verified": None, "xms_edov": True}
    assert (await come_in(front, provider)).status_code == 200


async def test_passwords_can_be_switched_off(make_front: MakeFront, provider: OidcProvider):
    front = await make_front(oidc=provider.options(password_sign_in=False, admin=ADMINS))
    first = await front.house.services.users.first_link() or ""
    guest = Visitor(front)
    assert "passwords are switched off" in (await guest.get(f"/console/join?token={first}")).text
    fields = {"token": first, "name": "first", "password": PASSWORD, "again": PASSWORD}
    assert (await guest.post("/console/join", **fields)).status_code == 303, "the first link works all the same"
    assert 'data-opens="invite"' not in (await guest.get("/console/people")).text
    invited = await guest.post("/console/people/invite", role="member", account="own", note="")
    assert (invited.status_code, "by a password" in invited.text) == (422, True)
    page = await Visitor(front).get("/console/sign-in")
    assert 'type="password"' not in page.text
    refused = await Visitor(front).sign_in("first")
    assert (refused.status_code, "Nobody signs in by a password here" in said(refused)) == (403, True)
    provider.person = BOSS
    assert (await come_in(front, provider)).status_code == 200


async def test_an_invitation_waits_while_passwords_are_off(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider, password_sign_in=False)
    service = front.house.services.users
    service.takes_passwords = True
    _, token = await service.invite(Role.MEMBER, account_id=None, note="")
    service.takes_passwords = False
    page = await Visitor(front).get(f"/console/join?token={token}")
    assert (page.status_code, "by a password" in page.text) == (403, True)
    fields = {"token": token, "name": "grace", "password": PASSWORD, "again": PASSWORD}
    assert (await Visitor(front).post("/console/join", **fields)).status_code == 403
    assert len(await front.rows(users)) == 1


async def test_who_is_removed_is_out(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    visitor = Visitor(front)
    await come_in(front, provider, visitor)
    ada = next(user for user in await front.rows(users) if user.name == "ada@example.com")
    await front.house.services.users.remove(ada.id)
    assert (await visitor.get("/console/keys")).status_code == 303
    assert await front.rows(identities) == []


async def test_other_kinds_of_providers(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    provider.key, provider.published = ec_key(), [rsa_key(), ec_key()]
    assert (await come_in(front, provider)).status_code == 200
    provider.key, provider.published, provider.sign = rsa_key(), None, _without_kid
    forget(front)
    assert (await come_in(front, provider)).status_code == 200
    provider.document = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    forget(front)
    assert (await come_in(front, provider)).status_code == 200


async def test_a_public_client(make_front: MakeFront, provider: OidcProvider):
    provider.secret = None
    front = await with_admin(make_front, provider)
    assert (await come_in(front, provider)).status_code == 200


def _without_kid(provider: OidcProvider, header: dict[str, Any], claims: dict[str, Any]) -> str:
    bare = {name: value for name, value in provider.key.as_dict(private=True).items() if name != "kid"}
    return jwt.encode({"alg": header["alg"]}, claims, RSAKey.import_key(bare))


async def test_new_keys_are_asked_for_when_they_are_needed(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    for _ in range(2):
        assert (await come_in(front, provider)).status_code == 200
    assert (provider.requests.count("/keys"), provider.requests.count("/.well-known/openid-configuration")) == (1, 1)
    provider.key = rsa_key("two")
    assert (await come_in(front, provider)).status_code == 200
    assert provider.requests.count("/keys") == 2


async def test_who_says_no(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    provider.person = None
    page = await come_in(front, provider)
    assert (page.status_code, "did not let you in, or you went back" in said(page)) == (403, True)


BROKEN = {
    "/.well-known/openid-configuration": [
        (web.Response(status=503), 503),
        (web.Response(status=404), 502),
        (web.Response(text="<html>"), 502),
        (web.Response(text="[]"), 502),
        (web.Response(text="{" * 100_000), 502),
        (web.Response(text='{"issuer": "https://other.example"}'), 502),
        (web.Response(status=302, headers={"location": "/elsewhere"}), 502),
        (web.Response(text=" " * 600_000), 503),
    ],
    "/token": [
        (web.Response(status=401, text='{"error": "invalid_client"}'), 502),
        (web.Response(status=500, text="oh"), 502),
        (web.Response(text="{}"), 502),
        (web.Response(text='{"id_token": 7}'), 502),
        (web.Response(text='{"id_token": "x"}'), 502),
        (web.Response(status=307, headers={"location": "http://127.0.0.1:1/"}), 502),
    ],
    "/keys": [
        (web.Response(text='{"keys": 7}'), 502),
        (web.Response(text='{"keys": [7, {"kty": "RSA"}, {"kty": "oct", "k": "AAAA"}]}'), 502),
    ],
}


async def test_a_provider_that_is_broken(make_front: MakeFront, provider: OidcProvider):
    """Each time there is a page that says so, and passwords still work."""
    front = await with_admin(make_front, provider)
    for path, answers in BROKEN.items():
        for answer, status in answers:
            forget(front)
            provider.answers = {path: answer}
            visitor = Visitor(front)
            started = await visitor.get("/console/oidc/start")
            if path in ("/token", "/keys"):
                started = await visitor.get(provider.follow(started.headers["location"]))
            page = await visitor.get(started.headers["location"])
            assert (page.status_code, bool(said(page))) == (status, True), (path, answer.status)
            assert 'type="password"' in page.text
    assert (await Visitor(front).sign_in("first")).status_code == 303
    provider.answers = {}
    assert (await come_in(front, provider)).status_code == 200


async def test_a_provider_that_is_not_there(make_front: MakeFront, make_oidc_provider: MakeOidcProvider):
    gone = OidcProvider()
    runner = await gone.start()
    front = await with_admin(make_front, gone)
    await runner.cleanup()
    left = await Visitor(front).get("/console/oidc/start")
    page = await Visitor(front).get(left.headers["location"])
    assert (page.status_code, "cannot be reached now" in said(page)) == (503, True)
    assert (await Visitor(front).sign_in("first")).status_code == 303
    back = await gone.start()
    assert (await come_in(front, gone)).status_code == 200
    await back.cleanup()


async def test_endpoints_elsewhere_must_be_public(make_front: MakeFront, provider: OidcProvider):
    """What a document names is not the operator's word: no way into the server's own network."""
    front = await with_admin(make_front, provider)
    for url in ("http://127.0.0.1:1/token", "https://10.0.0.7/token", "https://169.254.169.254/", "file:///etc/passwd"):
        forget(front)
        provider.document = {"token_endpoint": url}
        visitor = Visitor(front)
        left = await visitor.get("/console/oidc/start")
        if left.headers["location"].startswith(provider.issuer):
            left = await visitor.get(provider.follow(left.headers["location"]))
        assert left.headers["location"] == "/console/sign-in?problem=mistaken", url


async def test_a_new_session_each_time(make_front: MakeFront, provider: OidcProvider):
    front = await with_admin(make_front, provider)
    visitor = Visitor(front)
    visitor.http.cookies.set("pinxit_session", "planted", domain="127.0.0.1", path="/")
    await come_in(front, provider, visitor)
    assert visitor.session != "planted"
    first = visitor.session
    await visitor.post("/console/sign-out")
    await come_in(front, provider, visitor)
    assert visitor.session != first
    assert len(await front.rows(user_sessions)) == 1


async def test_without_its_libraries_the_server_says_what_to_do(
    make_front: MakeFront, provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "joserfc.jwt", None)
    with pytest.raises(StartupError, match=r"pip install 'pinxit\[oidc\]'"):
        await make_front(oidc=provider.options())


def test_a_secret_is_read_from_a_file(tmp_path):
    (tmp_path / "secret").write_text("  hush\n", "utf-8")
    text = """
oidc:
  issuer: https://accounts.example.com
  client_id: pinxit
  client_secret_file: secret
  allow: {email_domains: [example.com]}
"""
    (tmp_path / "pinxit.yaml").write_text(text, "utf-8")
    entry = load_settings(tmp_path / "pinxit.yaml", {}).oidc
    assert entry is not None
    assert _read_secret(entry) == "hush"
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigurationError, match="cannot be read"):
        _read_secret(entry)
