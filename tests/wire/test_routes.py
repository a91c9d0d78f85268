"""Who may use which route: a matrix made from the application's own routes. A route without a line here fails."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from starlette.routing import BaseRoute, Route

from front import Front, MakeFront
from pinxit.console.routes import console_routes
from pinxit.keys.model import DEFAULT_SCOPES, Scope
from pinxit.keys.service import local_caller
from pinxit.webhooks.model import EndpointOptions


@dataclass(frozen=True)
class Access:
    """`scope`: what a key needs; None: anybody may. `stranger`: the status for a key of another account."""

    scope: Scope | None
    status: int = 200
    stranger: int = 200
    body: dict[str, Any] | None = None


PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
)
"""A picture of one black pixel."""

SMALL = {"type": "image_generation", "size": "256x256"}

EXPECTED = {
    "POST /v1/images/generations": Access(Scope.IMAGES_WRITE, body={"prompt": "x", "size": "256x256"}),
    "POST /v1/images/edits": Access(Scope.IMAGES_WRITE, body={"prompt": "x", "size": "256x256", "image": PIXEL}),
    "POST /v1/images/variations": Access(Scope.IMAGES_WRITE, body={"size": "256x256", "image": PIXEL}),
    "POST /v1/responses": Access(Scope.IMAGES_WRITE, body={"input": "x", "tools": [SMALL]}),
    "POST /v1/chat/completions": Access(
        Scope.IMAGES_WRITE, body={"modalities": ["image"], "messages": [{"role": "user", "content": "x"}]}
    ),
    "POST /sdapi/v1/txt2img": Access(Scope.IMAGES_WRITE, body={"prompt": "x", "width": 256, "height": 256}),
    "POST /sdapi/v1/img2img": Access(
        Scope.IMAGES_WRITE, body={"prompt": "x", "width": 256, "height": 256, "init_images": [PIXEL]}
    ),
    "POST /sdapi/v1/interrupt": Access(Scope.IMAGES_WRITE),
    "POST /sdapi/v1/options": Access(Scope.MODELS_READ, body={"sd_model_checkpoint": "fake-1"}),
    **{
        f"GET /sdapi/v1/{name}": Access(Scope.MODELS_READ)
        for name in (
            "options",
            "sd-models",
            "samplers",
            "schedulers",
            "upscalers",
            "latent-upscale-modes",
            "sd-vae",
        )
    },
    "GET /sdapi/v1/progress": Access(Scope.IMAGES_READ),
    "GET /image/{key:path}": Access(None),
    "HEAD /image/{key:path}": Access(None),
    "GET /v1/models": Access(Scope.MODELS_READ),
    "GET /v1/models/{model:path}": Access(Scope.MODELS_READ),
    "GET /v1/images": Access(Scope.IMAGES_READ),
    "GET /v1/images/{image_id:id}": Access(Scope.IMAGES_READ, stranger=404),
    "DELETE /v1/images/{image_id:id}": Access(Scope.IMAGES_WRITE, stranger=404),
    "GET /v1/images/tasks/{generation_id:id}": Access(Scope.IMAGES_READ, stranger=404),
    "GET /v1/generations": Access(Scope.IMAGES_READ),
    "GET /v1/generations/{generation_id:id}": Access(Scope.IMAGES_READ, stranger=404),
    "DELETE /v1/generations/{generation_id:id}": Access(Scope.IMAGES_WRITE, stranger=404),
    "GET /v1/usage": Access(Scope.USAGE_READ),
    "GET /v1/keys": Access(Scope.KEYS_MANAGE),
    "POST /v1/keys": Access(Scope.KEYS_MANAGE, status=201, stranger=201, body={"scopes": ["keys:manage"]}),
    "GET /v1/keys/{key_id:id}": Access(Scope.KEYS_MANAGE, stranger=404),
    "PATCH /v1/keys/{key_id:id}": Access(Scope.KEYS_MANAGE, stranger=404, body={"name": "new"}),
    "DELETE /v1/keys/{key_id:id}": Access(Scope.KEYS_MANAGE, stranger=404),
    "GET /v1/webhooks": Access(Scope.WEBHOOKS_MANAGE),
    "POST /v1/webhooks": Access(Scope.WEBHOOKS_MANAGE, status=201, stranger=201, body={"url": "http://127.0.0.1:9/"}),
    "GET /v1/webhooks/{webhook_id:id}": Access(Scope.WEBHOOKS_MANAGE, stranger=404),
    "PATCH /v1/webhooks/{webhook_id:id}": Access(Scope.WEBHOOKS_MANAGE, stranger=404, body={"description": "new"}),
    "DELETE /v1/webhooks/{webhook_id:id}": Access(Scope.WEBHOOKS_MANAGE, stranger=404),
    "GET /v1/webhooks/{webhook_id:id}/deliveries": Access(Scope.WEBHOOKS_MANAGE, stranger=404),
    "POST /v1/webhooks/{webhook_id:id}/deliveries/{delivery_id:id}/replay": Access(Scope.WEBHOOKS_MANAGE, stranger=404),
    "POST /v1/webhooks/{webhook_id:id}/test": Access(Scope.WEBHOOKS_MANAGE, status=201, stranger=404),
    "GET /health/live": Access(None),
    "GET /health/ready": Access(None),
    "GET /openapi.json": Access(None),
}
DENIED = {401: "authentication_error", 403: "permission_error"}
ROLES = ("nobody", "bad key", "revoked", "expired", "without scope", "stranger", "admin", "right scope")


def of_application(found: list[BaseRoute]) -> Iterator[str]:
    for route in found:
        assert isinstance(route, Route), f"{route} holds others"
        yield from (f"{method} {route.path}" for method in route.methods or ())


async def test_every_route_has_an_expectation(front: Front):
    pages = set(of_application(console_routes(front.house.services)))  # these have a matrix of their own
    assert set(of_application(front.app.routes)) - pages == set(EXPECTED)


async def test_every_route_is_in_the_openapi_document(front: Front):
    document = (await front.client.get("/openapi.json")).json()["paths"]
    described = {f"{method.upper()} {path}" for path, operations in document.items() for method in operations}
    expected = {re.sub(r":\w+}", "}", name) for name in EXPECTED}
    assert described == expected - {"GET /openapi.json"}


@pytest.mark.parametrize("route", EXPECTED)
async def test_access(make_wire: MakeFront, route: str):
    wire = await make_wire(webhook_allowed_networks="127.0.0.0/8")
    access = EXPECTED[route]
    await wire.make_account("acct_other")
    for role in ROLES:
        method, path = await request_of(wire, route)
        headers = await headers_of(wire, role, access.scope)

        response = await wire.client.request(method, path, json=access.body, headers=headers)

        assert response.status_code == status_of(access, role), f"{role}: {response.text}"
        if response.status_code in DENIED and method != "HEAD":
            assert response.json()["error"]["type"] == DENIED[response.status_code]


def status_of(access: Access, role: str) -> int:
    if access.scope is None or role in ("admin", "right scope"):
        return access.status
    if role == "stranger":
        return access.stranger
    return 403 if role == "without scope" else 401


async def request_of(wire: Front, route: str) -> tuple[str, str]:
    """A request that the right key would be allowed."""
    answer = await wire.generate()
    datum = answer.json()["data"][0]
    await wire.make_key(name="victim")
    key_id = (await wire.house.services.keys.list(local_caller("acct_default")))[0].id
    method, path = route.split()
    webhook_id, delivery_id = await webhook_of(wire) if "webhook" in route else ("", "")
    values = {
        "{webhook_id:id}": webhook_id,
        "{delivery_id:id}": delivery_id,
        "{key:path}": datum["url"].removeprefix("http://127.0.0.1:8000/image/"),
        "{model:path}": "fake-1",
        "{image_id:id}": datum["id"],
        "{generation_id:id}": answer.headers["x-pinxit-generation"],
        "{key_id:id}": key_id,
    }
    for name, value in values.items():
        path = path.replace(name, value)
    assert "{" not in path
    return method, path


async def webhook_of(wire: Front) -> tuple[str, str]:
    """A webhook that is not delivered to, and a delivery to it."""
    webhooks = wire.house.services.webhooks
    for old in await webhooks.list("acct_default"):
        await webhooks.delete("acct_default", old.id)
    options = EndpointOptions("http://127.0.0.1:9/", is_active=True)
    endpoint, _ = await webhooks.create("acct_default", options)
    return endpoint.id, (await webhooks.ping("acct_default", endpoint.id)).id


async def headers_of(wire: Front, role: str, scope: Scope | None) -> dict[str, str]:
    keys = wire.house.services.keys
    match role:
        case "nobody":
            return {}
        case "bad key":
            return {"Authorization": "Bearer sk-" + "x" * 43}
        case "revoked":
            key = await wire.make_key(name="revoked", scopes=tuple(Scope))
            local = local_caller("acct_default")
            revoked = next(known.id for known in await keys.list(local) if known.options.name == "revoked")
            await keys.revoke(local, revoked)
        case "expired":
            key = await wire.make_key(scopes=tuple(Scope), expires_at=datetime.now(UTC) - timedelta(seconds=1))
        case "without scope":
            key = await wire.make_key(scopes=tuple(set(Scope) - {scope, Scope.ADMIN}))
        case "stranger":
            key = await wire.make_key(account="acct_other", scopes=tuple(Scope))
        case "admin":
            key = await wire.make_key(scopes=(Scope.ADMIN,))
        case _:
            # Changing or revoking a key takes one that can do as much.
            as_strong = DEFAULT_SCOPES if scope is Scope.KEYS_MANAGE else ()
            key = await wire.make_key(scopes=(*as_strong, *([scope] if scope else [])))
    return {"Authorization": f"Bearer {key}"}


# --- what the framework answers by itself ---------------------------------------------------------------------------

MISSING = "0" * 32
NOT_THERE = [
    "/",
    "//",
    "/v1",
    "/v1/",
    "/v1/models/",
    "/v1/images/",
    "/v1/keys/",
    "/v1/images/generations/",
    "//v1/images",
    "/v1//images",
    "/v1/%2e%2e/images",
    "/v1/%2E%2E%2Fimages",
    "/v1/images%2Fgenerations%2F",
    "/V1/IMAGES",
    "/v1/images;x=1",
    "/v1/images/img_1",
    f"/v1/images/IMG_{MISSING}",
    f"/v1/images/img_{MISSING}0",
    f"/v1/images/img_{MISSING}/",
    f"/v1/images/img_{MISSING}%00",
    f"/v1/images/img_{MISSING}%0a",
    f"/v1/generations/img_{MISSING}",
    "/image",
    "/image/",
    "/docs",
    "/redoc",
    "/metrics",
    "/health",
    "/openapi.json/",
    "/favicon.ico",
]


@pytest.mark.parametrize("path", NOT_THERE)
async def test_a_path_that_leads_nowhere_is_404_as_json(wire: Front, path: str):
    wire.key = await wire.make_key(scopes=tuple(Scope))
    response = await raw(wire, "GET", path, wire.authorization)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (404, 404)
    assert error["type"] in ("not_found_error", "model_not_found")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "CONNECT", "PROPFIND", "BREW"])
async def test_a_strange_method_is_405_with_what_there_is(wire: Front, method: str):
    response = await raw(wire, method, f"/v1/keys/key_{MISSING}", {})
    assert response.status_code == 405
    assert response.headers["allow"] == "DELETE, GET, PATCH"
    assert response.json()["error"]["type"] == "method_not_allowed"


@pytest.mark.parametrize("path", sorted({route.split()[1] for route in EXPECTED}))
async def test_a_method_that_a_route_lacks_is_405_for_anybody(wire: Front, path: str):
    declared = {route.split()[0] for route in EXPECTED if route.split()[1] == path}
    asked = re.sub(r"{\w+:id}", f"img_{MISSING}", path).replace("{model:path}", "fake-1").replace("{key:path}", "x.png")
    for method in sorted({"HEAD", "OPTIONS", "GET", "POST", "PUT", "PATCH", "DELETE"} - declared):
        response = await raw(wire, method, asked, {})
        assert (response.status_code, response.headers["allow"]) == (405, ", ".join(sorted(declared))), method
        assert response.headers["x-request-id"]
        assert method != "HEAD" or response.content == b""


async def test_no_answer_redirects(wire: Front):
    for path in ("/v1/models/", "/v1/images/", "//v1/models", "/v1/keys/"):
        assert "location" not in (await raw(wire, "GET", path, wire.authorization)).headers


async def test_the_head_of_an_error_has_no_body(wire: Front):
    response = await wire.client.head("/v1/images")
    assert (response.status_code, response.content) == (405, b"")


async def test_a_caller_s_request_id_comes_back(wire: Front):
    response = await wire.client.get("/health/live", headers={"x-request-id": "my_id-7"})
    assert response.headers.get_list("x-request-id") == ["my_id-7"]


@pytest.mark.parametrize("proposed", ["", "a b", "x" * 65, "a/b", "é", "a\tb"])
async def test_a_harmful_one_is_replaced(wire: Front, proposed: str):
    response = await wire.client.get("/health/live", headers={"x-request-id": proposed.encode()})
    assert response.headers["x-request-id"].startswith("req_")


async def raw(front: Front, method: str, path: str, headers: dict[str, str]) -> httpx2.Response:
    """A request whose path nobody tidies up."""
    url = httpx2.URL("http://127.0.0.1:8000", raw_path=path.encode())
    return await front.client.request(method, url, headers=headers)


# --- pages of lists -------------------------------------------------------------------------------------------------


async def test_a_list_is_paged_from_the_newest(wire: Front):
    answers = [await wire.generate() for _ in range(5)][::-1]
    images = [answer.json()["data"][0]["id"] for answer in answers]
    orders = [answer.headers["x-pinxit-generation"] for answer in answers]
    for path, made in (("/v1/images", images), ("/v1/generations", orders)):
        seen, after = [], ""
        for has_more in (True, True, False):
            page = (await wire.client.get(f"{path}?limit=2{after}", headers=wire.authorization)).json()
            assert (page["has_more"], page["first_id"]) == (has_more, page["data"][0]["id"])
            seen += [each["id"] for each in page["data"]]
            after = f"&after={page['last_id']}"
        assert seen == made


@pytest.mark.parametrize("path", ["/v1/images", "/v1/generations"])
@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.0", "x", "", "٣", "0001"])
async def test_a_bad_limit_is_422(wire: Front, path: str, limit: str):
    response = await wire.client.get(path, params={"limit": limit}, headers=wire.authorization)
    assert (response.status_code, response.json()["error"]["param"]) == (422, "limit")


@pytest.mark.parametrize("path", ["/v1/images", "/v1/generations"])
@pytest.mark.parametrize("after", ["img_" + MISSING, "gen_" + MISSING, "", "'; DROP TABLE images; --", "\0"])
async def test_an_unknown_cursor_is_404(wire: Front, path: str, after: str):
    response = await wire.client.get(path, params={"after": after}, headers=wire.authorization)
    assert (response.status_code, response.json()["error"]["param"]) == (404, "after")


async def test_a_deleted_picture_still_marks_its_place(wire: Front):
    oldest, middle = [(await wire.generate()).json()["data"][0]["id"] for _ in range(2)]
    await wire.client.delete(f"/v1/images/{middle}", headers=wire.authorization)
    page = (await wire.client.get(f"/v1/images?after={middle}", headers=wire.authorization)).json()
    assert [image["id"] for image in page["data"]] == [oldest]


# --- CORS -----------------------------------------------------------------------------------------------------------


async def test_without_cors_origins_no_page_may_read(wire: Front):
    response = await wire.client.get("/health/live", headers={"Origin": "https://app.example.com"})
    assert "access-control-allow-origin" not in response.headers


async def test_a_configured_origin_may(make_wire: Any):
    wire = await make_wire(cors_origins=("https://app.example.com",))
    response = await wire.client.get("/health/live", headers={"Origin": "https://app.example.com"})
    assert response.headers["access-control-allow-origin"] == "https://app.example.com"
    assert "access-control-allow-credentials" not in response.headers
    other = await wire.client.get("/health/live", headers={"Origin": "null"})
    assert "access-control-allow-origin" not in other.headers


async def test_a_page_may_ask_before_it_sends(make_front: MakeFront):
    front = await make_front(cors_origins=("https://app.example.com",))
    asks = {"Origin": "https://app.example.com", "Access-Control-Request-Method": "POST"}
    assert (await front.client.options("/v1/models", headers=asks)).status_code == 200
    assert (await front.client.options("/v1/models", headers={**asks, "Origin": "null"})).status_code == 400


async def test_a_page_may_read_errors_too(make_wire: Any):
    wire = await make_wire(cors_origins=("https://app.example.com",))
    response = await wire.client.get("/v1/models", headers={"Origin": "https://app.example.com"})
    assert response.status_code == 401
    assert response.headers["access-control-allow-origin"] == "https://app.example.com"
