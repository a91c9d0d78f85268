"""T4: one extractor of credentials; no variant of a header gets past a key's limits."""

import base64
import json

import pytest

from asgi import Answer, call, scope_of
from front import Front

GOOD, OTHER = "good", "other"


async def models(front: Front, *headers: tuple[str, str], query: str = "") -> Answer:
    pairs = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return await call(front.app, "GET", f"/v1/models{query}".encode(), pairs)


TAKEN = [
    ["Authorization: Bearer {good}"],
    ["Authorization: {good}"],
    ["Authorization: bearer {good}"],
    ["Authorization: BEARER   {good}  "],
    ["Authorization: Bearer {good}", "Authorization: {good}"],
    ["Authorization: Bearer {good}", "x-api-key: {good}"],
    ["Authorization: Bearer {good}", "api-key: {good}"],
    ["Authorization: Bearer {good}", "Cookie: key={other}"],
    ["Authorization: Bearer {good}", "Proxy-Authorization: Bearer {other}"],
]
TWO = [
    ["Authorization: Bearer {good}", "Authorization: Bearer {other}"],
    ["Authorization: {other}", "Authorization: Bearer {good}"],
    ["Authorization: Bearer {good}", "x-api-key: {other}"],
    ["Authorization: Bearer {good}", "api-key: {other}"],
    ["Authorization: Bearer {good}", "x-api-key: {good}", "api-key: {other}"],
    ["Authorization: Bearer {good}", "Authorization: Basic {basic}"],
    ["Authorization: Bearer {good}", "x-api-key: "],
]
NONE = [
    [],
    ["Authorization: "],
    ["Authorization: Bearer"],
    ["Authorization: Bearer "],
    ["Authorization: Basic {basic}"],
    ["Authorization: Token {good}"],
    ["Authorization: Bearer Bearer {good}"],
    ["Authorization: Bearer {good}, Bearer {good}"],
    ["Authorization: Bearer {good},{other}"],
    ["Authorization: Bearer\t{good}"],
    ['Authorization: Bearer "{good}"'],
    ["x-api-key: {good}"],
    ["api-key: {good}"],
    ["Cookie: Authorization={good}; key={good}"],
    ["Proxy-Authorization: Bearer {good}"],
    ["X-Authorization: Bearer {good}"],
    ["Authorization_: {good}"],
    ["x-forwarded-authorization: {good}"],
]


@pytest.mark.parametrize(
    ("lines", "status"),
    [(lines, 200) for lines in TAKEN] + [(lines, 400) for lines in TWO] + [(lines, 401) for lines in NONE],
    ids=str,
)
async def test_credentials(front: Front, lines: list[str], status: int):
    other = await front.make_key()
    basic = base64.b64encode(f"user:{front.key}".encode()).decode()
    filled = [line.format(good=front.key, other=other, basic=basic) for line in lines]
    answer = await models(front, *[(name, value) for name, _, value in (line.partition(": ") for line in filled)])
    assert answer.status == status
    assert ("www-authenticate" in answer.headers) == (status == 401)
    assert front.key not in json.dumps([answer.headers, answer.body.decode()])


BASIC = [
    (["Authorization: Basic {user}:{good}"], 200),
    (["Authorization: basic  {good}:"], 200),
    (["Authorization: Basic {good}"], 200),
    (["Authorization: Basic {good}:anything"], 200),
    (["Authorization: Basic {good}:{good}"], 200),
    (["Authorization: Bearer {good}"], 200),
    (["Authorization: {good}"], 200),
    (["Authorization: Basic {user}:{good}", "Authorization: Bearer {good}"], 200),
    (["Authorization: Basic {good}:{other}"], 400),
    (["Authorization: Basic {user}:{good}", "Authorization: Bearer {other}"], 400),
    (["Authorization: Basic {user}:{good}", "x-api-key: {other}"], 400),
    (["Authorization: Basic {user}:{good}", "Authorization: Basic {user}:{other}"], 400),
    ([], 401),
    (["Authorization: Basic "], 401),
    (["Authorization: Basic {user}:"], 401),
    (["Authorization: Basic {user}:password"], 401),
    (["Authorization: Basic {user}: {good}"], 401),
    (["Authorization: Basic {user}:{good}:"], 401),
    (["Authorization: Basic {user}:x{good}"], 401),
    (["Authorization: Digest {user}:{good}"], 401),
    (["Proxy-Authorization: Basic {user}:{good}"], 401),
]


@pytest.mark.parametrize(("lines", "status"), BASIC, ids=str)
@pytest.mark.parametrize("path", ["/sdapi/v1/options", "/sdapi/v1/txt2img"])
async def test_a_key_as_a_password(front: Front, lines: list[str], status: int, path: str):
    """For clients of the web UI, who know nothing else; who they are is still one thing."""
    other = await front.make_key()
    pairs = []
    for line in lines:
        name, _, value = line.format(user="user", good=front.key, other=other).partition(": ")
        scheme, _, rest = value.partition(" ")
        if scheme.lower() in ("basic", "digest"):
            value = f"{scheme} {base64.b64encode(rest.strip().encode()).decode()}"
        pairs.append((name.encode(), value.encode()))
    body = b'{"prompt": "x", "width": 256, "height": 256}'
    method = "POST" if path.endswith("txt2img") else "GET"
    json_type = [(b"content-type", b"application/json")]
    answer = await call(front.app, method, path.encode(), pairs + json_type, body if method == "POST" else b"")
    assert answer.status == status, answer.body
    assert front.key not in json.dumps([answer.headers, answer.body.decode()])


@pytest.mark.parametrize("encoded", ["%%%", "AAAA=", "wyg6", "c2st"])
async def test_what_is_no_password_is_none(front: Front, encoded: str):
    answer = await call(front.app, "GET", b"/sdapi/v1/options", [(b"authorization", b"Basic " + encoded.encode())])
    assert answer.status == 401


async def test_a_password_is_no_key_elsewhere(front: Front):
    value = f"Basic {base64.b64encode(f'user:{front.key}'.encode()).decode()}"
    for path in ("/v1/images", "/v1/generations", "/v1/keys", "/v1/usage"):
        assert (await front.client.get(path, headers={"Authorization": value})).status_code == 401
    for path in ("/v1/images/generations", "/v1/images/edits", "/v1/responses", "/v1/chat/completions"):
        assert (await front.client.post(path, json={}, headers={"Authorization": value})).status_code == 401


@pytest.mark.parametrize(
    "name", ["key", "api_key", "api-key", "access_token", "token", "Authorization", "authorization"]
)
async def test_a_key_in_the_query_is_none(front: Front, name: str):
    assert (await models(front, query=f"?{name}={front.key}")).status == 401


@pytest.mark.parametrize("name", ["api_key", "key", "authorization"])
async def test_a_key_in_the_body_is_none(front: Front, name: str):
    body = json.dumps({"prompt": "x", name: front.key}).encode()
    answer = await call(front.app, "POST", b"/v1/images/generations", [(b"content-type", b"application/json")], body)
    assert answer.status == 401


async def test_every_variant_of_a_limited_key_is_limited(front: Front):
    limited = await front.make_key(models=("another",))
    for value in (limited, f"Bearer {limited}", f"bearer  {limited} "):
        response = await front.generate({"Authorization": value})
        assert (response.status_code, response.json()["error"]["param"]) == (403, "model")


@pytest.mark.parametrize("model", ["gpt-image-1", "dall-e-3", "fake-1", None])
async def test_no_other_name_of_a_model_gets_past_the_limit(front: Front, model: str | None):
    front.key = await front.make_key(models=("another",))
    assert (await front.generate(model=model)).status_code == 403


async def test_the_body_of_somebody_without_a_key_is_not_read(front: Front):
    """Authorisation comes before the body: it is not even asked for."""
    sent = []

    async def receive():
        raise AssertionError("the body was asked for")

    async def send(message):
        sent.append(message)

    for method, path in (
        ("POST", b"/v1/images/generations"),
        ("POST", b"/v1/keys"),
        ("PATCH", b"/v1/keys/key_" + b"0" * 32),
    ):
        sent.clear()
        await front.app(scope_of(method, path), receive, send)
        assert sent[0]["status"] == 401
