"""Every field of docs/wire.md §1: what is taken, a wrong type (400), a bad value (422), and what comes later."""

import base64
import hashlib
from itertools import product
from typing import Any

import pytest

from front import Front
from pinxit.api.images import DANGEROUS, FOREIGN, KNOWN
from pinxit.database.tables import generations
from pinxit.images.encoding import inspect
from pinxit.images.request import Delivery

A_VALUE_OF_EACH_TYPE = ("text", 1, 1.5, True, [], {})
JSON_TYPES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "prompt": (str,),
    "n": (int,),
    "output_format": (str,),
    "response_format": (str,),
    "size": (str,),
    "quality": (str,),
    "background": (str,),
    "output_compression": (int,),
    "moderation": (str,),
    "stream": (bool,),
    "partial_images": (int,),
    "store": (bool,),
    "dry_run": (bool,),
    "async": (bool,),
    "deadline_seconds": (int, float),
    "style": (str,),
    "user": (str,),
    "safety_identifier": (str,),
    "seed": (int,),
    "negative_prompt": (str,),
    "num_inference_steps": (int,),
    "steps": (int,),
    "guidance_scale": (int, float),
    "strength": (int, float),
    "loras": (list,),
    "provider": (dict,),
    "fallback_models": (list,),
    "usage": (dict,),
}

TAKEN: list[dict[str, Any]] = [
    {"model": "fake-1"},
    {"model": "gpt-image-1"},
    {"model": "gpt-image-1.5"},
    {"model": "dall-e-3"},
    {"model": "chatgpt-image-latest"},
    {"prompt": "x" * 32_000},
    {"prompt": "🦦 «otter»\n\u202eתמונה"},
    {"n": 2},
    {"output_format": "url"},
    {"output_format": "b64_json"},
    {"output_format": "png"},
    {"output_format": "jpeg"},
    {"output_format": "webp"},
    {"response_format": "url"},
    {"response_format": "b64_json"},
    {"output_format": "url", "response_format": "url"},
    {"output_format": "webp", "response_format": "b64_json"},
    {"quality": "auto"},
    {"quality": "low"},
    {"quality": "high"},
    {"background": "auto"},
    {"background": "opaque"},
    {"background": "transparent"},
    {"background": "transparent", "output_format": "webp"},
    {"output_compression": 0, "output_format": "jpeg"},
    {"output_compression": 100, "output_format": "webp"},
    {"moderation": "auto"},
    {"moderation": "low"},
    {"stream": False},
    {"partial_images": 0},
    {"store": True},
    {"store": False, "response_format": "b64_json"},
    {"dry_run": False},
    {"async": False},
    {"style": "vivid"},
    {"user": "alice"},
    {"safety_identifier": "alice"},
    {"seed": 0},
    {"seed": 2**32 - 1},
    {"negative_prompt": "blur"},
    {"num_inference_steps": 1},
    {"steps": 50},
    {"guidance_scale": 1},
    {"guidance_scale": 7.5},
    {"loras": []},
    {"fallback_models": []},
    {"provider": {}},
    {"usage": {"include": True}},
    {"usage": {}},
]

REFUSED: list[tuple[str, Any]] = [
    ("quality", "ultra"),
    ("quality", "hd" * 5000),
    ("background", "red"),
    ("moderation", "off"),
    ("output_format", ""),
    ("response_format", "png"),
    ("output_compression", 101),
    ("output_compression", -1),
    ("output_compression", 50),  # png has none
    ("style", "cubist"),
    ("style", "s" * 513),
    ("user", "u" * 513),
    ("user", "a\0b"),
    ("safety_identifier", "u" * 513),
    ("seed", -1),
    ("seed", 2**32),
    ("negative_prompt", "x" * 32_001),
    ("num_inference_steps", 0),
    ("num_inference_steps", 51),
    ("num_inference_steps", 1001),
    ("steps", 0),
    ("guidance_scale", 0.5),
    ("guidance_scale", 20.5),
    ("guidance_scale", 10**300),
    ("strength", 0.5),
    ("strength", 2),
    ("loras", ["a"]),
    ("partial_images", 4),
    ("partial_images", 1),  # of no stream
    ("partial_images", -1),
    ("deadline_seconds", -1),
    ("store", False),  # delivery is url
    ("size", "a\0b"),
]

BAD_ROUTING: list[tuple[dict[str, Any], int, str]] = [
    ({"provider": "fake"}, 400, "provider"),
    ({"provider": {"first": "fake"}}, 400, "provider.first"),
    ({"provider": {"only": "fake"}}, 400, "provider.only"),
    ({"provider": {"order": [1]}}, 400, "provider.order"),
    ({"provider": {"ignore": [""]}}, 422, "provider.ignore"),
    ({"provider": {"only": ["fake"] * 33}}, 422, "provider.only"),
    ({"provider": {"sort": "speed"}}, 422, "provider.sort"),
    ({"provider": {"allow_fallbacks": "no"}}, 400, "provider.allow_fallbacks"),
    ({"provider": {"only": ["nobody"]}}, 422, "provider"),
    ({"provider": {"ignore": ["fake"]}}, 422, "provider"),
    ({"fallback_models": "fake-1"}, 400, "fallback_models"),
    ({"fallback_models": ["a"] * 6}, 422, "fallback_models"),
    ({"fallback_models": ["no-such"]}, 404, "fallback_models"),
]


def names(value: Any) -> str:
    return str(value)[:40]


def test_every_known_field_has_a_type_here():
    assert set(JSON_TYPES) == KNOWN


def test_no_field_is_two_things():
    assert len(KNOWN | DANGEROUS | FOREIGN) == len(KNOWN) + len(DANGEROUS) + len(FOREIGN)


@pytest.mark.parametrize("fields", TAKEN, ids=names)
async def test_a_good_value_is_taken(wire: Front, fields: dict[str, Any]):
    response = await wire.generate(**fields)
    assert response.status_code == 200, response.text
    assert len(response.json()["data"]) == fields.get("n", 1)


async def test_a_wrong_json_type_is_400(wire: Front):
    for name, value in product(JSON_TYPES, A_VALUE_OF_EACH_TYPE):
        if type(value) in JSON_TYPES[name]:
            continue
        response = await wire.generate(**{name: value})
        error = response.json()["error"]
        found = (response.status_code, error["type"], error["param"])
        assert found == (400, "invalid_request_error", name), f"{name}={value!r}"
    assert wire.backend.orders == []


async def test_null_is_the_same_as_absent(wire: Front):
    for name in JSON_TYPES.keys() - {"prompt", "size"}:
        assert (await wire.generate(**{name: None})).status_code == 200, name
    assert (await wire.generate(size=None)).json()["size"] == "1024x1024"


@pytest.mark.parametrize(("name", "value"), REFUSED, ids=names)
async def test_a_bad_value_is_422_and_names_the_field(wire: Front, name: str, value: Any):
    response = await wire.generate(**{name: value})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (422, "invalid_value", name)
    assert wire.backend.orders == []


@pytest.mark.parametrize(("body", "status", "param"), BAD_ROUTING, ids=str)
async def test_bad_routing_is_refused_by_name(wire: Front, body: dict[str, Any], status: int, param: str):
    response = await wire.generate(**body)
    assert (response.status_code, response.json()["error"]["param"]) == (status, param), response.text
    assert wire.backend.orders == []


@pytest.mark.parametrize(
    "body",
    [
        {"provider": {}},
        {"provider": {"only": ["fake"], "order": ["fake"], "ignore": ["nobody"], "allow_fallbacks": False}},
        {"provider": {"sort": "latency", "after_refusal": True}, "fallback_models": ["fake-1"]},
    ],
)
async def test_routing_that_leaves_a_backend_is_followed(wire: Front, body: dict[str, Any]):
    response = await wire.generate(**body)
    assert response.status_code == 200, response.text
    assert response.headers["x-pinxit-backend"] == "fake/fake-1"


async def test_usage_include_must_be_a_boolean(wire: Front):
    response = await wire.generate(usage={"include": "yes"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "usage.include")


@pytest.mark.parametrize("steps", [3, 4])
async def test_steps_are_named_once(wire: Front, steps: int):
    response = await wire.generate(steps=steps, num_inference_steps=4)
    assert (response.status_code, response.json()["error"]["param"]) == (422, "steps")


async def test_jpeg_has_no_transparency(wire: Front):
    response = await wire.generate(background="transparent", output_format="jpeg")
    assert (response.status_code, response.json()["error"]["param"]) == (422, "background")


@pytest.mark.parametrize(
    ("asked", "painted"), [("auto", "1024x1024"), ("512x512", "512x512"), ("1:1", "1024x1024"), ("2:3", "1024x1536")]
)
async def test_size(wire: Front, asked: str, painted: str):
    answer = (await wire.generate(size=asked, response_format="b64_json")).json()
    assert answer["size"] == painted
    assert str(inspect(base64.b64decode(answer["data"][0]["b64_json"]))[1]) == painted


@pytest.mark.parametrize(("quality", "steps"), [("auto", 4), ("low", 2), ("medium", 4), ("high", 8)])
async def test_quality_is_a_number_of_steps(wire: Front, quality: str, steps: int):
    await wire.generate(quality=quality)
    assert wire.backend.orders[0].num_inference_steps == steps


@pytest.mark.parametrize("encoding", ["png", "jpeg", "webp"])
async def test_output_format_is_the_encoding(wire: Front, encoding: str):
    answer = (await wire.generate(output_format=encoding, response_format="b64_json")).json()
    assert answer["output_format"] == encoding
    assert inspect(base64.b64decode(answer["data"][0]["b64_json"]))[0] == encoding


async def test_the_answer_s_output_format_is_the_encoding_also_for_url(wire: Front):
    assert (await wire.generate(output_format="url")).json()["output_format"] == "png"


@pytest.mark.parametrize("delivery", ["url", "b64_json", "both"])
async def test_the_server_s_default_delivery(make_wire: Any, delivery: str):
    wire = await make_wire(default_delivery=delivery)
    datum = (await wire.generate()).json()["data"][0]
    assert (bool(datum["url"]), bool(datum["b64_json"])) == (delivery != "b64_json", delivery != "url")


async def test_the_key_s_default_delivery_beats_the_server_s(wire: Front):
    wire.key = await wire.make_key(default_delivery=Delivery.BOTH)
    datum = (await wire.generate()).json()["data"][0]
    assert datum["url"]
    assert datum["b64_json"]


async def test_a_request_beats_the_key_s_default_delivery(wire: Front):
    wire.key = await wire.make_key(default_delivery=Delivery.BOTH)
    datum = (await wire.generate(output_format="url")).json()["data"][0]
    assert datum["b64_json"] == ""


async def test_fields_of_other_apis_are_ignored_and_listed(wire: Front):
    response = await wire.generate(width=512, watermark=False, style="vivid")
    assert response.status_code == 200
    assert response.headers["x-pinxit-ignored"] == "width, watermark"


async def test_each_of_them(wire: Front):
    response = await wire.generate(**dict.fromkeys(sorted(FOREIGN), "x"))
    assert response.headers["x-pinxit-ignored"].split(", ") == sorted(FOREIGN)


async def test_a_strict_key_refuses_them(wire: Front):
    wire.key = await wire.make_key(strict=True)
    response = await wire.generate(width=512)
    assert (response.status_code, response.json()["error"]["param"]) == (400, "width")


async def test_dangerous_fields_are_refused(wire: Front):
    for name in DANGEROUS:
        response = await wire.generate(**{name: None})
        assert (response.status_code, response.json()["error"]["param"]) == (400, name)


async def test_the_end_user_is_kept_as_a_hash_only(wire: Front):
    await wire.generate(user="alice@example.com")
    (row,) = await wire.rows(generations)
    assert row.parameters["end_user"] == hashlib.sha256(b"alice@example.com").hexdigest()
    assert "alice" not in str(row)


async def test_safety_identifier_is_the_newer_name_of_user(wire: Front):
    await wire.generate(user="alice", safety_identifier="bob")
    (row,) = await wire.rows(generations)
    assert row.parameters["end_user"] == hashlib.sha256(b"bob").hexdigest()


async def test_usage_include_adds_the_cost(wire: Front):
    usage = (await wire.generate(usage={"include": True}, n=2)).json()["usage"]
    assert usage["cost"] == 0
    assert usage["cost_details"] == {"cost_micros": 0, "images": 2}


@pytest.mark.parametrize("fields", [{"prompt": "x", "output_format": "url", "n": 1, "model": "gpt-image-1"}])
async def test_the_seed_s_keys_and_value_types(wire: Front, fields: dict[str, Any]):
    answer = (await wire.generate(**fields)).json()
    assert list(answer)[:2] == ["created", "data"]
    assert type(answer["created"]) is int
    (datum,) = answer["data"]
    assert datum["b64_json"] == datum["revised_prompt"] == ""
    assert datum["url"].startswith("http://127.0.0.1:8000/image/generated%2Fpinxit_")
    assert datum["url"].endswith(".png")


async def test_an_unused_url_is_empty(wire: Front):
    (datum,) = (await wire.generate(output_format="b64_json")).json()["data"]
    assert datum["url"] == ""
    assert inspect(base64.b64decode(datum["b64_json"], validate=True))
