"""The table of docs/wire.md that compares parameters: complete, and each of its claims tried."""

import re
from typing import Any

import pytest
from pages import ROOT

from front import Front
from pinxit.api.images import FOREIGN, KNOWN

WIRE = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
TABLE = WIRE.partition("## Compared, parameter by parameter")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| `(\w+)` \| ([OI, ]*)\| (\w+) \|", TABLE, re.MULTILINE)
PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC"
)
VALUES: dict[str, dict[str, Any]] = {
    "model": {"model": "gpt-image-1"},
    "prompt": {"prompt": "a robot"},
    "n": {"n": 2},
    "output_format": {"output_format": "b64_json"},
    "response_format": {"response_format": "b64_json"},
    "size": {"size": "256x256"},
    "quality": {"quality": "low"},
    "background": {"background": "transparent"},
    "output_compression": {"output_compression": 50, "output_format": "jpeg"},
    "moderation": {"moderation": "low"},
    "style": {"style": "vivid"},
    "stream": {"stream": True},
    "partial_images": {"stream": True, "partial_images": 1},
    "user": {"user": "u"},
    "safety_identifier": {"safety_identifier": "u"},
    "image": {"image": PIXEL},
    "images": {"images": [{"image_url": PIXEL}]},
    "mask": {"image": PIXEL, "mask": PIXEL},
    "input_fidelity": {"input_fidelity": "high"},
    "image_urls": {"image_urls": [PIXEL]},
    "usage": {"usage": {"include": True}},
    "provider": {"provider": {"sort": "price"}},
    "fallback_models": {"fallback_models": ["fake-1"]},
    "seed": {"seed": 1},
    "negative_prompt": {"negative_prompt": "blur"},
    "num_inference_steps": {"num_inference_steps": 2},
    "steps": {"steps": 2},
    "guidance_scale": {"guidance_scale": 2},
    "strength": {"image": PIXEL, "strength": 0.5},
    "loras": {"loras": ["a"]},
    "store": {"store": True},
    "dry_run": {"dry_run": True},
    "async": {"async": True},
    "deadline_seconds": {"deadline_seconds": 60},
}


def test_every_parameter_is_in_the_table_once():
    names = [name for name, _, _ in ROWS]
    assert sorted(names) == sorted(VALUES)
    assert set(names) >= KNOWN
    assert set(names) - KNOWN <= FOREIGN | {"image", "images", "image_urls", "mask"}


@pytest.mark.parametrize(("name", "claim"), [(name, claim) for name, _, claim in ROWS])
async def test_the_table_is_true(front: Front, name: str, claim: str):
    body = {"prompt": "x", "size": "256x256", **VALUES[name]}
    is_edit = bool({"image", "images", "image_urls"} & set(body))
    path = "/v1/images/edits" if is_edit else "/v1/images/generations"
    answer = await front.client.post(path, json=body, headers=front.authorization)
    ignored = answer.headers.get("x-pinxit-ignored", "").split(", ")
    if claim == "refused":
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, name)
    else:
        assert answer.status_code in (200, 202), answer.text
        assert (name in ignored) == (claim == "ignored")


@pytest.mark.parametrize("kind", ["gif", "svg"])
async def test_gif_and_svg_are_refused_with_what_there_is(front: Front, kind: str):
    answer = await front.generate(output_format=kind)
    assert answer.status_code == 422
    assert "png, jpeg, webp" in answer.text
