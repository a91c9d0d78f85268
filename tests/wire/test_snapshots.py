"""Every kind of answer, held against its file in snapshots/: a diff there is a change of the API."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import snapshot
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from front import Front
from pinxit.api.errors import STATUS_AND_TYPE
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation
from pinxit.images.request import Delivery
from pinxit.keys.model import Scope
from pinxit.testing.fake_backend import FakeBackend

MakeWire = Callable[..., Awaitable[Front]]
MISSING = "0" * 32


async def get(front: Front, path: str) -> httpx2.Response:
    return await front.client.get(path, headers=front.authorization)


# --- pictures -------------------------------------------------------------------------------------------------------


async def test_generation_by_url(wire: Front):
    snapshot.check("generations_url", await wire.generate(seed=7))


async def test_generation_in_base64(wire: Front):
    snapshot.check("generations_b64_json", await wire.generate(seed=7, response_format="b64_json"))


async def test_generation_both_ways(wire: Front):
    wire.key = await wire.make_key(default_delivery=Delivery.BOTH)
    snapshot.check("generations_both", await wire.generate(seed=7))


async def test_generation_of_two(wire: Front):
    snapshot.check("generations_n_2", await wire.generate(seed=2**32 - 1, n=2))


async def test_generation_with_its_cost(wire: Front):
    snapshot.check("generations_usage_include", await wire.generate(seed=7, usage={"include": True}))


async def test_generation_with_everything(wire: Front):
    response = await wire.generate(
        seed=7,
        model="gpt-image-1",
        output_format="webp",
        output_compression=80,
        quality="high",
        background="transparent",
        size="512x512",
        style="natural",
        negative_prompt="blur",
        guidance_scale=5,
        watermark=False,
    )
    snapshot.check("generations_everything", response)


async def test_generation_signed(make_wire: MakeWire):
    wire = await make_wire(signed_urls=True)
    answer = await wire.generate(seed=7)
    snapshot.check("generations_signed", answer)
    snapshot.check("picture_signed", await wire.client.get(answer.json()["data"][0]["url"]))


async def test_picture(wire: Front):
    url = (await wire.generate(seed=7)).json()["data"][0]["url"]
    snapshot.check("picture", await wire.client.get(url))
    snapshot.check("picture_head", await wire.client.head(url))
    snapshot.check("picture_range", await wire.client.get(url, headers={"Range": "bytes=0-99"}))
    snapshot.check("picture_not_modified", await wire.client.get(url, headers={"If-None-Match": "*"}))
    snapshot.check("picture_no_such_range", await wire.client.get(url, headers={"Range": "bytes=999999-1999999"}))


# --- around them ----------------------------------------------------------------------------------------------------


async def test_models(wire: Front):
    snapshot.check("models", await get(wire, "/v1/models"))
    snapshot.check("model", await get(wire, "/v1/models/fake-1"))


async def test_images(wire: Front):
    created = await wire.generate(seed=7)
    image_id = created.json()["data"][0]["id"]
    snapshot.check("images", await get(wire, "/v1/images"))
    snapshot.check("image", await get(wire, f"/v1/images/{image_id}"))
    snapshot.check("generation", await get(wire, f"/v1/generations/{created.headers['x-pinxit-generation']}"))
    snapshot.check("generations", await get(wire, "/v1/generations"))
    snapshot.check("task", await get(wire, f"/v1/images/tasks/{created.headers['x-pinxit-generation']}"))
    snapshot.check("image_deleted", await wire.client.delete(f"/v1/images/{image_id}", headers=wire.authorization))
    snapshot.check("images_empty", await get(wire, "/v1/images"))


async def test_generation_under_way(make_wire: MakeWire):
    gate = asyncio.Event()
    wire = await make_wire(FakeBackend(gates={3: gate}))
    generation_id = "gen_" + "a" * 32
    painting = asyncio.create_task(wire.generate({"x-pinxit-generation": generation_id}, seed=7))
    answer = await until_step(wire, f"/v1/generations/{generation_id}", 2)
    snapshot.check("generation_in_progress", answer)
    gate.set()
    assert (await painting).status_code == 200


async def until_step(wire: Front, path: str, step: int) -> httpx2.Response:
    async with asyncio.timeout(10):
        while True:
            answer = await get(wire, path)
            if answer.status_code == 200 and (answer.json()["progress"] or {}).get("step") == step:
                return answer


async def test_failed_generation(make_wire: MakeWire):
    wire = await make_wire(FakeBackend(failure=lambda _: BackendError("The picture is all black.")))
    generation_id = "gen_" + "b" * 32
    snapshot.check("error_upstream_error", await wire.generate({"x-pinxit-generation": generation_id}, seed=7))
    snapshot.check("generation_failed", await get(wire, f"/v1/generations/{generation_id}"))


async def test_keys(wire: Front):
    wire.key = await wire.make_key(scopes=tuple(Scope))
    headers = wire.authorization
    options: dict[str, Any] = {"name": "cat pictures", "scopes": ["images:write"], "models": ["fake-1"], "strict": True}
    created = await wire.client.post("/v1/keys", json=options, headers=headers)
    path = f"/v1/keys/{created.json()['id']}"
    snapshot.check("key_created", created)
    snapshot.check("key", await get(wire, path))
    changed = {"default_delivery": "both", "url_ttl_seconds": 600, "expires_at": 4_102_444_800, "models": None}
    snapshot.check("key_changed", await wire.client.patch(path, json=changed, headers=headers))
    snapshot.check("key_revoked", await wire.client.delete(path, headers=headers))


async def test_list_of_keys(wire: Front):
    wire.key = await wire.make_key(name="manager", scopes=(Scope.KEYS_MANAGE,))
    snapshot.check("keys", await get(wire, "/v1/keys"))


async def test_health(wire: Front):
    snapshot.check("health_live", await wire.client.get("/health/live"))
    snapshot.check("health_ready", await wire.client.get("/health/ready"))


async def test_health_of_a_painter_that_cannot_open(make_front: MakeWire):
    front = await make_front(FakeBackend(open_error="The model files are missing: run make model."))
    async with asyncio.timeout(10):
        while (answer := await front.client.get("/health/ready")).json()["backends"]["fake"]["status"] != "failed":
            pass
    snapshot.check("health_not_ready", answer)


async def test_openapi_document(wire: Front):
    document = (await wire.client.get("/openapi.json")).json()
    document["info"]["version"] = "<version>"
    snapshot.compare("openapi.json", json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


# --- every type of error --------------------------------------------------------------------------------------------


async def test_errors_of_a_request(wire: Front):
    post, path = wire.client.post, "/v1/images/generations"
    auth = wire.authorization
    snapshot.check("error_invalid_request_error", await wire.generate(prompt=""))
    snapshot.check("error_authentication_error", await post(path, json={"prompt": "x"}))
    snapshot.check("error_permission_error", await get(wire, "/v1/keys"))
    snapshot.check("error_not_found_error", await get(wire, f"/v1/images/img_{MISSING}"))
    snapshot.check("error_no_such_path", await get(wire, "/v1/nothing"))
    snapshot.check("error_model_not_found", await wire.generate(model="no-such"))
    snapshot.check("error_method_not_allowed", await get(wire, path))
    snapshot.check("error_request_too_large", await post(path, content=b"x" * 2**21, headers=json_of(auth)))
    snapshot.check("error_unsupported_media_type", await post(path, content=b"x", headers=auth))
    snapshot.check("error_invalid_value", await wire.generate(size="1x1"))


def json_of(headers: dict[str, str]) -> dict[str, str]:
    return {**headers, "Content-Type": "application/json"}


async def test_error_of_an_id_that_is_taken(wire: Front):
    headers = {"x-pinxit-generation": "gen_" + MISSING}
    await wire.generate(headers)
    snapshot.check("error_idempotency_error", await wire.generate(headers))


async def test_error_of_a_key_that_is_another_orders(wire: Front):
    await wire.generate({"Idempotency-Key": "a"})
    snapshot.check("error_idempotency_error_mismatch", await wire.generate({"Idempotency-Key": "a"}, prompt="b"))


async def test_error_of_too_little_credit(make_wire: MakeWire):
    priced = {"model_name": "priced", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 1}]}
    wire = await make_wire(billing="credits", model_list=[priced])
    snapshot.check("error_insufficient_credits", await wire.generate(model="priced"))


async def test_error_of_too_many(make_wire: MakeWire):
    wire = await make_wire(requests_per_minute=1)
    snapshot.check("generations_limited", await wire.generate(seed=7))
    snapshot.check("error_rate_limit_error", await wire.generate())


async def test_usage(wire: Front):
    await wire.generate(n=2, seed=7)
    snapshot.check("usage", await get(wire, "/v1/usage?group_by=model"))


async def test_error_of_a_deadline(make_wire: MakeWire):
    wire = await make_wire(FakeBackend(gates={1: asyncio.Event()}))
    headers = {"x-pinxit-generation": "gen_" + "c" * 32}
    snapshot.check("error_upstream_timeout", await wire.generate(headers, deadline_seconds=0.01))


async def test_order_for_later(make_wire: MakeWire):
    wire = await make_wire(FakeBackend(gates={1: asyncio.Event()}))
    headers = {"x-pinxit-generation": "gen_" + "d" * 32}
    answer = await wire.generate(headers, seed=7, **{"async": True})
    snapshot.check("generations_accepted", answer)
    path = answer.json()["urls"]["cancel"]
    snapshot.check("generation_cancelled", await wire.client.delete(path, headers=wire.authorization))


async def test_what_it_would_cost(wire: Front):
    snapshot.check("generations_dry_run", await wire.generate(n=2, dry_run=True))


async def test_error_of_an_expired_url(make_wire: MakeWire, monkeypatch: pytest.MonkeyPatch):
    now = datetime.now(UTC)
    monkeypatch.setattr("pinxit.app.utc_now", lambda: now)
    wire = await make_wire(signed_urls=True)
    url = (await wire.generate()).json()["data"][0]["url"]
    now += timedelta(hours=2)
    snapshot.check("error_url_expired", await wire.client.get(url))


async def test_a_model_that_nobody_has_a_credential_for(make_wire: MakeWire):
    studio = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "models": ["gpt-image-1-mini"]}
    wire = await make_wire(providers={"studio": studio})
    snapshot.check("error_credential_error", await wire.generate(model="studio/gpt-image-1-mini", size="1024x1024"))
    assert (await get(wire, "/v1/models/studio/gpt-image-1-mini")).json()["credential"] == "missing"
    await wire.house.services.credentials.set("studio", "own-credential-0123456789", account_id="acct_default")
    listed = (await get(wire, "/v1/models")).json()["data"]
    assert [model.get("credential") for model in listed] == [None, "own"]


async def test_error_of_an_unwanted_word(make_wire: MakeWire):
    wire = await make_wire(moderation_words=("sea monster",))
    snapshot.check("error_content_policy_violation", await wire.generate(prompt="a Sea Monster"))


async def test_error_of_a_painter_that_refuses(make_wire: MakeWire):
    refusal = ContentPolicyViolation("Not this.", stage="output", categories=["violence"])
    wire = await make_wire(FakeBackend(failure=lambda _: refusal))
    snapshot.check("error_content_policy_violation_output", await wire.generate())


async def test_error_of_a_painter_that_cannot(make_wire: MakeWire):
    wire = await make_wire(FakeBackend(failure=lambda _: BackendUnavailable("Not now.", retry_after_seconds=2.5)))
    snapshot.check("error_upstream_unavailable", await wire.generate())


async def test_error_of_a_full_disk(make_wire: MakeWire):
    wire = await make_wire(min_free_disk_bytes=2**62)
    snapshot.check("error_storage_unavailable", await wire.generate())


async def test_error_of_a_full_queue(make_wire: MakeWire):
    gate = asyncio.Event()
    wire = await make_wire(FakeBackend(gates={1: gate}), max_queued_generations=1)
    first = asyncio.create_task(wire.generate())
    async with asyncio.timeout(10):
        while not wire.backend.orders:
            await asyncio.sleep(0)
    snapshot.check("error_overloaded_error", await wire.generate())
    gate.set()
    assert (await first).status_code == 200


async def test_error_of_a_bug(wire: Front, monkeypatch: pytest.MonkeyPatch):
    def bug(*_: Any) -> Any:
        raise ZeroDivisionError("a secret of the code")

    monkeypatch.setattr("pinxit.api.shapes.model", bug)
    with capture_logs() as logged:
        response = await get(wire, "/v1/models")
    assert [line["event"] for line in logged] == ["request_crashed", "request"]
    snapshot.check("error_internal_error", response)
    assert response.headers["x-request-id"] in response.json()["error"]["message"]


def test_every_type_of_error_has_a_snapshot():
    on_the_connection = {"request_timeout", "headers_too_large"}  # see tests/unit/api/test_guard.py
    types = {type_ for _, type_ in STATUS_AND_TYPE.values()} - on_the_connection
    assert {type_ for type_ in types if not (snapshot.FOLDER / f"error_{type_}.json").exists()} == set()


# --- the document itself --------------------------------------------------------------------------------------------


def test_every_reference_of_the_document_leads_somewhere():
    document = json.loads((snapshot.FOLDER / "openapi.json").read_text())
    found = [node["$ref"] for node in nodes(document) if "$ref" in node]
    assert found
    assert {ref.removeprefix("#/components/schemas/") for ref in found} <= set(document["components"]["schemas"])


def test_every_schema_of_the_document_is_one():
    document = json.loads((snapshot.FOLDER / "openapi.json").read_text())
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def nodes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [node for inner in value for node in nodes(inner)]
    if isinstance(value, dict):
        return [value, *nodes(list(value.values()))]
    return []


async def test_a_model_s_request_schema_takes_what_the_server_takes(wire: Front):
    schema = (await get(wire, "/v1/models/fake-1")).json()["request_schema"]
    Draft202012Validator.check_schema(schema)
    good = {"prompt": "x", "size": "3:2", "quality": "high", "seed": 1, "output_format": "webp", "n": 10}
    assert Draft202012Validator(schema).is_valid(good)
    for name, value in {"size": "1x1", "quality": "hd", "seed": -1, "n": 11, "prompt": ""}.items():
        assert not Draft202012Validator(schema).is_valid({**good, name: value})
        assert (await wire.generate(**{name: value})).status_code in (400, 422)
