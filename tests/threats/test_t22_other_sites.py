"""T22: no other page makes a signed-in browser do anything; and no route of the console is open that should not be."""

import json
import re
from collections.abc import Iterator

import httpx2
import pytest
from starlette.routing import Route

from front import BASE_URL, Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.console.routes import console_routes
from pinxit.database.tables import api_keys, user_sessions, users
from quick_passwords import _quick_passwords
from visitor import Visitor, make_user, visitor_as

__all__ = ["_quick_passwords"]

MISSING = "0" * 32
ANYBODY, USERS, ADMINS = "anybody", "users", "admins"
EXPECTED = {
    "GET /": ANYBODY,
    "GET /console/static/{name}": ANYBODY,
    "GET /console": USERS,
    "GET /console/sign-in": ANYBODY,
    "POST /console/sign-in": ANYBODY,
    "GET /console/oidc/start": ANYBODY,
    "GET /console/oidc/callback": ANYBODY,
    "GET /console/oidc/landing": ANYBODY,
    "GET /console/join": ANYBODY,
    "POST /console/join": ANYBODY,
    "POST /console/sign-out": USERS,
    "GET /console/profile": USERS,
    "POST /console/profile/password": USERS,
    "POST /console/profile/sign-out-everywhere": USERS,
    "GET /console/playground": USERS,
    "GET /console/playground/latest": USERS,
    "POST /console/playground/generations": USERS,
    "POST /console/playground/generations/{generation_id:id}/cancel": USERS,
    "POST /console/playground/edits": USERS,
    "GET /console/gallery": USERS,
    "GET /console/gallery/pictures": USERS,
    "GET /console/gallery/{image_id:id}": USERS,
    "GET /console/gallery/{image_id:id}/file": USERS,
    "GET /console/gallery/{image_id:id}/thumbnail": USERS,
    "POST /console/gallery/{image_id:id}/delete": USERS,
    "GET /console/keys": USERS,
    "POST /console/keys": USERS,
    "GET /console/keys/{key_id:id}": USERS,
    "POST /console/keys/{key_id:id}": USERS,
    "POST /console/keys/{key_id:id}/{action}": USERS,
    "GET /console/models": USERS,
    "GET /console/models/about": USERS,
    "POST /console/models/about": ADMINS,
    "GET /console/usage": USERS,
    "GET /console/usage.csv": USERS,
    "GET /console/requests": USERS,
    "GET /console/requests/{order_id:id}": USERS,
    "GET /console/credits": USERS,
    "POST /console/credits/review": ADMINS,
    "POST /console/credits/top-up": ADMINS,
    "GET /console/webhooks": USERS,
    "POST /console/webhooks": USERS,
    "GET /console/webhooks/{webhook_id:id}": USERS,
    "POST /console/webhooks/{webhook_id:id}": USERS,
    "POST /console/webhooks/{webhook_id:id}/{action}": USERS,
    "POST /console/webhooks/{webhook_id:id}/deliveries/{delivery_id:id}/replay": USERS,
    "GET /console/audit": USERS,
    "GET /console/audit.csv": USERS,
    "GET /console/health": ADMINS,
    "POST /console/health/try": ADMINS,
    "GET /console/people": ADMINS,
    "POST /console/people/invite": ADMINS,
    "GET /console/credentials": USERS,
    "POST /console/credentials/own/{provider}": USERS,
    "POST /console/credentials/own/{provider}/remove": USERS,
    "POST /console/credentials/server/{provider}": ADMINS,
    "POST /console/credentials/server/{provider}/remove": ADMINS,
    "POST /console/people/links/{link_id:id}/withdraw": ADMINS,
    "POST /console/people/{user_id:id}/role": ADMINS,
    "POST /console/people/{user_id:id}/remove": ADMINS,
    "GET /console/{path:path}": USERS,
}
POSTS = [route.removeprefix("POST ") for route in EXPECTED if route.startswith("POST ")]


def routes_of(front: Front) -> Iterator[str]:
    for route in console_routes(front.house.services):
        assert isinstance(route, Route)
        yield from (f"{method} {route.path}" for method in (route.methods or set()) - {"HEAD"})


def path_of(route: str) -> str:
    path = re.sub(r"\{(\w+?)(_id)?:id\}", lambda found: f"{found[1]}_{MISSING}", route.split()[-1])
    return path.replace("{name}", "console.css").replace("{path:path}", "nowhere").replace("{action}", "revoke")


async def test_every_route_has_an_expectation(front: Front):
    assert set(routes_of(front)) == set(EXPECTED)


@pytest.mark.parametrize("route", EXPECTED)
async def test_access(front: Front, route: str):
    who, path = EXPECTED[route], path_of(route)
    stranger = Visitor(front)
    member = await visitor_as(front, "member")
    admin = await visitor_as(front, "admin", Role.ADMIN)
    for visitor, role in ((stranger, "nobody"), (member, "member"), (admin, "admin")):
        if route.startswith("POST"):
            response = await visitor.post(path)
        else:
            response = await visitor.get(path)
        is_in = role in {ANYBODY: ("nobody", "member", "admin"), USERS: ("member", "admin"), ADMINS: ("admin",)}[who]
        is_turned_away = (response.status_code == 401 and "POST /console/playground/" in route) or (
            response.status_code == 303 and response.headers["location"].startswith("/console/sign-in")
        )
        if route == "POST /console/sign-out" and is_in:
            is_turned_away = False
        if "sign-out-everywhere" in route and is_in:
            is_turned_away = False
        if role == "nobody":
            assert is_turned_away == (not is_in), (role, response.status_code)
        else:
            assert (response.status_code != 403) == is_in, (role, response.status_code)
            assert response.status_code < 500


async def test_an_api_key_opens_no_page_and_a_session_no_api(front: Front):
    page = await front.client.get("/console/profile", headers={**front.authorization, "accept": "text/html"})
    assert page.status_code == 303
    admin = await visitor_as(front, "admin", Role.ADMIN)
    assert (await admin.get("/v1/keys")).status_code == 401
    assert (await admin.http.post("/v1/images/generations", json={"prompt": "x"})).status_code == 401


ELSEWHERE = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": ""},
    {},
    {"origin": "http://127.0.0.1:8001"},
    {"origin": "http://127.0.0.1"},
    {"origin": "http://127.0.0.1:8000.evil.example"},
    {"origin": "http://evil.example/127.0.0.1:8000"},
    {"origin": "http://127.0.0.1:8000@evil.example"},
    {"origin": "file://127.0.0.1:8000"},
    {"origin": "http://[::1"},
    {"origin": BASE_URL, "sec-fetch-site": "cross-site"},
    {"origin": BASE_URL, "sec-fetch-site": "same-site"},
    {"origin": BASE_URL, "sec-fetch-site": "none"},
]


async def state(front: Front) -> str:
    return json.dumps(
        [str([tuple(row) for row in await front.rows(table)]) for table in (users, user_sessions, api_keys)]
    )


@pytest.mark.parametrize("headers", ELSEWHERE, ids=lambda headers: "+".join(headers.values()) or "none")
async def test_a_form_from_elsewhere_does_nothing(front: Front, headers: dict[str, str]):
    admin = await visitor_as(front, "admin", Role.ADMIN, "acct_default")
    csrf, before = await admin.csrf(), await state(front)
    for path in POSTS:
        response = await admin.http.post(path_of(path), data={"csrf": csrf}, headers=headers)
        assert response.status_code == 403, path
        assert "own pages only" in response.text
    assert await state(front) == before


@pytest.mark.parametrize("token", ["", "x", "0" * 64, "another's"])
async def test_a_form_without_its_token_does_nothing(front: Front, token: str):
    admin = await visitor_as(front, "admin", Role.ADMIN, "acct_default")
    other = await visitor_as(front, "other", Role.ADMIN, "acct_default")
    sent, before = (await other.csrf() if token == "another's" else token), await state(front)
    for path in POSTS:
        response = await admin.post(path_of(path), csrf=sent)
        assert response.status_code == 403, path
        assert "too old" in response.text
    assert await state(front) == before


async def test_a_token_ends_with_its_session(front: Front):
    visitor = await visitor_as(front, "ada")
    old = await visitor.csrf()
    await visitor.post("/console/sign-out")
    await visitor.sign_in("ada")
    assert (await visitor.post("/console/sign-out", csrf=old)).status_code == 403
    assert old != await visitor.csrf()


async def test_the_public_address_is_ours_too(make_front: MakeFront):
    front = await make_front(public_url="https://pictures.example.com")
    await make_user(front, "ada")
    visitor = Visitor(front)
    for origin, status in (("https://pictures.example.com", 403), ("https://example.com", 403)):
        response = await visitor.post("/console/sign-in", {"origin": origin}, name="ada", password="x", csrf="x")
        assert response.status_code == status
        assert ("too old" in response.text) == (origin == "https://pictures.example.com")


@pytest.mark.parametrize(
    "path", ["/console/sign-in", "/console/profile", "/console/nowhere", "/console/static/console.js"]
)
async def test_no_page_can_be_framed_or_run_what_is_not_ours(front: Front, path: str):
    visitor = await visitor_as(front, "ada")
    headers = (await visitor.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert headers["cross-origin-opener-policy"] == "same-origin"


async def test_pages_stay_in_no_cache(front: Front):
    visitor = await visitor_as(front, "ada")
    for path in ("/console/profile", "/console/sign-in", "/console/nowhere"):
        assert (await visitor.get(path)).headers["cache-control"] == "no-store"


async def test_other_origins_of_the_api_read_no_page(make_front: MakeFront):
    front = await make_front(cors_origins="https://app.example.com")
    visitor = await visitor_as(front, "ada")
    response = await visitor.get("/console/profile", headers={"origin": "https://app.example.com"})
    assert "access-control-allow-credentials" not in response.headers


@pytest.mark.parametrize(
    ("body", "type_", "status"),
    [
        (b"x" * 65_537, "application/x-www-form-urlencoded", 413),
        (b"&".join(b"a=%d" % number for number in range(201)), "application/x-www-form-urlencoded", 400),
        (b"name=\xff", "application/x-www-form-urlencoded", 400),
        (b"name=%ff", "application/x-www-form-urlencoded", 400),
        (b"name=%00", "application/x-www-form-urlencoded", 400),
        (b'{"name": "ada"}', "application/json", 415),
        (b"", "multipart/form-data; boundary=x", 415),
        (b"", "", 415),
    ],
)
async def test_a_form_that_is_none(front: Front, body: bytes, type_: str, status: int):
    visitor = Visitor(front)
    headers = {"origin": BASE_URL, "content-type": type_}
    response: httpx2.Response = await visitor.http.post("/console/sign-in", content=body, headers=headers)
    assert (response.status_code, "<h1>" in response.text) == (status, True)


PATHS = [
    "//console/people",
    "/console//people",
    "/console/%2e%2e/console/people",
    "/console/people/",
    "/console/people%2f",
    "/CONSOLE/people",
    "/console/people;x=1",
    "/console/sign-in/../people",
    "/console/static/../people",
    "/console/people%00",
]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["127.0.0.1:8000", "x/console/sign-in?", "x#", "evil.example"])
async def test_no_trick_with_a_path_opens_a_page(front: Front, path: str, host: str):
    """T3, for pages: who may see one is asked by its own route, never by what the address looks like."""
    for visitor in (Visitor(front), await visitor_as(front, "member")):
        url = httpx2.URL(BASE_URL, raw_path=path.encode())
        response = await visitor.http.get(url, headers={"accept": "text/html", "host": host})
        assert response.status_code in (303, 403, 404)
        assert "Who may sign in" not in response.text
