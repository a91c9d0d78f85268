"""Pinxit in front of Pinxit in front of otter-1: the inner one is a provider of `kind: openai_compatible`."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import openai
from PIL import Image
from running import Server, eventually, is_png, png_size, serving

SIZE = "256x256"
ORDER = {"prompt": "a red apple", "size": SIZE, "seed": 7, "response_format": "b64_json"}


@contextmanager
def outer_serving(folder: Path, inner_url: str, key: str) -> Iterator[Server]:
    folder.mkdir()
    config = folder / "pinxit.yaml"
    config.write_text(
        json.dumps(
            {
                "providers": {
                    "inner": {
                        "kind": "openai_compatible",
                        "base_url": f"{inner_url}/v1",
                        "credential": key,
                        "timeout_seconds": 60,
                        "models": [
                            {
                                "id": "otter-1",
                                "sizes": [SIZE, "512x512"],
                                "seed": True,
                                "negative_prompt": True,
                                "num_inference_steps": {"minimum": 1, "maximum": 50, "default": 8},
                                "edits": True,
                                "mask": True,
                                "streaming": True,
                            }
                        ],
                    }
                },
                "model_list": [{"model_name": "far-otter", "params": {"model": "inner/otter-1"}}],
                "settings": {"default_model": "far-otter"},
            }
        )
    )
    with serving(folder, "--config", str(config)) as outer:
        yield outer


def picture(server: Server, **more: object) -> bytes:
    answer = server.generate(**{**ORDER, **more})
    assert answer.status_code == 200, answer.text
    return base64.b64decode(answer.json()["data"][0]["b64_json"], validate=True)


def pixels(data: bytes) -> bytes:
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB").tobytes()


def test_pinxit_behind_pinxit(tmp_path: Path):
    """The same pictures through both; and the inner one is killed, and comes back."""
    with serving(tmp_path / "inner") as inner, outer_serving(tmp_path / "outer", inner.url, inner.key) as outer:
        check_pictures(inner, outer)
        before = picture(outer)
        inner.kill()
        gone = outer.generate(**ORDER)
        assert (gone.status_code, gone.json()["error"]["type"]) == (503, "upstream_unavailable")
        assert outer.client.get("/health/ready").status_code == 200
        with serving(tmp_path / "inner", "--port", str(inner.port), key=inner.key):
            assert eventually(lambda: find_picture(outer), "the outer one to use the inner one again") == before
        orders = outer.client.get("/v1/generations", headers=outer.authorization).json()["data"]
        assert {order["status"] for order in orders} == {"completed", "failed"}


def find_picture(outer: Server) -> bytes:
    """Empty if there is none now."""
    answer = outer.generate(**ORDER)
    assert answer.status_code in (200, 503), answer.text
    return base64.b64decode(answer.json()["data"][0]["b64_json"]) if answer.status_code == 200 else b""


def check_partial_pictures(client: openai.OpenAI, final: bytes) -> None:
    """What the inner one shows comes through, and each time it is more like the picture."""
    *partial, last = client.images.generate(
        prompt="a red apple", size=SIZE, stream=True, partial_images=3, extra_body={"seed": 7}
    )
    kind = "image_generation.partial_image"
    assert [(event.type, event.partial_image_index) for event in partial] == [(kind, 0), (kind, 1), (kind, 2)]
    assert pixels(base64.b64decode(last.b64_json)) == final
    away = [unlikeness(pixels(base64.b64decode(event.b64_json)), final) for event in partial]
    assert away[0] > away[1] > away[2] > 0, away


def unlikeness(some: bytes, others: bytes) -> float:
    """Mean difference of two pictures of the same size, 0 to 255."""
    assert len(some) == len(others)
    return sum(abs(one - other) for one, other in zip(some, others, strict=True)) / len(some)


def check_pictures(inner: Server, outer: Server) -> None:
    near, far = picture(inner), picture(outer)
    assert is_png(far)
    assert png_size(far) == (256, 256)
    assert far == near, "a seed paints the same bytes through both"
    assert pixels(picture(outer, seed=8)) != pixels(far)

    answer = outer.generate(**ORDER)
    assert answer.headers["x-pinxit-backend"] == "inner/otter-1"
    assert answer.json()["data"][0]["seed"] == 7
    listed = inner.client.get("/v1/generations", headers=inner.authorization).json()["data"]
    assert {order["model"] for order in listed} == {"otter-1"}

    with openai.OpenAI(base_url=f"{outer.url}/v1", api_key=outer.key, max_retries=0) as client:
        stream = client.images.generate(prompt="a red apple", size=SIZE, stream=True, extra_body={"seed": 7})
        events = list(stream)
        assert [event.type for event in events] == ["image_generation.completed"]
        assert pixels(base64.b64decode(events[0].b64_json)) == pixels(far)
        check_partial_pictures(client, pixels(far))
        edited = client.images.edit(image=("apple.png", far, "image/png"), prompt="a green apple", size=SIZE)
        assert edited.data[0].url or edited.data[0].b64_json

    several = outer.generate(prompt="a red apple", size=SIZE, n=3, seed=7, response_format="b64_json").json()["data"]
    assert [datum["seed"] for datum in several] == [7, 8, 9]
    assert pixels(base64.b64decode(several[0]["b64_json"])) == pixels(far)
    refused = outer.generate(prompt="a red apple", size="4096x64")
    assert refused.status_code == 422
