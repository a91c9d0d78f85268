"""T3: no trick with the path, the host or the method opens a route without a key."""

import pytest

from asgi import call
from front import Front
from pinxit.keys.model import Scope
from pinxit.keys.service import local_caller

HOSTS = [
    "127.0.0.1",
    "x/?",
    "x#",
    "x/health/live?",
    "x/v1/../health/live#",
    "localhost:8000/health/live",
    "evil.example:80@localhost",
    "//admin",
    "",
    "\\\\localhost",
    "[::1",
    "a" * 8000,
]


async def targets(front: Front) -> list[str]:
    """Everything that needs a key, with ids that are there."""
    answer = await front.generate()
    image, generation = answer.json()["data"][0]["id"], answer.headers["x-pinxit-generation"]
    key = (await front.house.services.keys.list(local_caller("acct_default")))[0].id
    paths = [f"/v1/images/{image}", f"/v1/generations/{generation}", f"/v1/keys/{key}"]
    return ["/v1/images/generations", "/v1/models", "/v1/models/fake-1", "/v1/images", "/v1/keys", *paths]


def tricks(path: str) -> list[str]:
    encoded = "".join(f"%{ord(character):02x}" for character in path[1:])
    twice = path.replace("/", "%252f")
    return [
        path,
        f"/{path}",
        path.replace("/", "//"),
        path.replace("/", "/./"),
        f"/health/live/..{path}",
        f"/health/live/%2e%2e{path}",
        f"/image/..{path}",
        f"/image/%2e%2e{path}",
        f"/image{path}",
        path.replace("/", "%2f"),
        f"/{encoded}",
        twice,
        f"{path}/",
        f"{path}/.",
        f"{path}%00",
        f"{path}%0a",
        f"{path}%20",
        f"{path};x=1",
        f"{path}#/health/live",
        f"{path}?/health/live",
        f"{path}/../../health/live",
        f"/health/live?{path}",
        f"/health/live#{path}",
        f"/health/live;{path}",
        path.upper(),
        path.replace("v1", "V1"),
        path.replace("v1", "v1."),
        path.replace("/", "\\"),
        f"http://localhost{path}",
        f"http://localhost/health/live{path}",
        f"//localhost{path}",
        path.replace("e", "%65"),
        path.replace("/v1", "/%76%31"),
        path.replace("/v1", "/v1%c0%af.."),
        path.replace("m", "\uff4d"),
        path.lstrip("/"),
        "*",
    ]


PUBLIC = {"/health/live", "/health/ready", "/openapi.json"}


async def test_no_path_opens_anything_without_a_key(front: Front):
    for path in await targets(front):
        for trick in tricks(path):
            for method in ("GET", "POST", "PATCH", "DELETE", "HEAD", "get", "X"):
                answer = await call(front.app, method, trick.encode())
                is_public = trick.partition("?")[0] in PUBLIC
                assert is_public or answer.status in (401, 404, 405), f"{method} {trick}: {answer.status}"


@pytest.mark.parametrize("host", HOSTS, ids=range(len(HOSTS)))
async def test_no_host_opens_anything_without_a_key(front: Front, host: str):
    for path in await targets(front):
        for headers in ([(b"host", host.encode())], [(b"host", b"localhost"), (b"x-forwarded-host", host.encode())]):
            for method in ("GET", "POST", "PATCH", "DELETE"):
                assert (await call(front.app, method, path.encode(), headers)).status in (401, 405)


@pytest.mark.parametrize("header", ["x-original-url", "x-rewrite-url", "x-http-method-override", "x-forwarded-prefix"])
async def test_no_rewriting_header_counts(front: Front, header: str):
    for path in await targets(front):
        answer = await call(front.app, "GET", path.encode(), [(header.encode(), b"/health/live")])
        assert answer.status in (401, 405)
    answer = await call(front.app, "GET", b"/health/live", [(header.encode(), b"DELETE")])
    assert answer.status == 200
    assert b"live" in answer.body


async def test_with_a_key_the_tricks_lead_nowhere_else(front: Front):
    """What answers is the route itself or a 404; never another route."""
    front.key = await front.make_key(scopes=tuple(Scope))
    header = (b"authorization", front.key.encode())
    for trick in tricks("/v1/keys"):
        answer = await call(front.app, "GET", trick.encode(), [header])
        if answer.status == 200:
            assert b'"api_key"' in answer.body or trick.partition("?")[0] in PUBLIC
