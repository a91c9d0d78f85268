"""Pinxit in front of Pinxit in front of otter-1, by `openai_compatible`."""

import base64
import json
from pathlib import Path

from running import serving

SIZE = "256x256"
UNKNOWN_SIZE = "9000x9000"
"""Which the one in front is told that the one behind had."""


def configuration(url: str, key: str) -> str:
    """Of the server in front: the one behind it, its model described."""
    model = {
        "id": "otter-1",
        "sizes": [SIZE, UNKNOWN_SIZE],
        "seed": True,
        "negative_prompt": False,
        "num_inference_steps": {"minimum": 1, "maximum": 8, "default": 2},
        "edits": True,
        "mask": True,
        "max_images": 1,
        "strength": {"minimum": 0.1, "maximum": 1, "default": 0.7},
        "output_formats": ["png"],
    }
    behind = {
        "kind": "openai_compatible",
        "base_url": f"{url}/v1",
        "credential": key,
        "models": [model],
        "repeatable": True,
    }
    listed = {"model_name": "far-otter", "params": {"model": "behind/otter-1"}}
    return json.dumps({"providers": {"behind": behind}, "model_list": [listed]})


def test_the_picture_of_the_one_behind_is_the_picture_of_the_one_in_front(tmp_path: Path) -> None:
    order = {"prompt": "a fox", "size": SIZE, "seed": 7, "response_format": "b64_json", "num_inference_steps": 2}
    with serving(tmp_path / "behind") as behind:
        (tmp_path / "front").mkdir()
        (tmp_path / "front" / "pinxit.yaml").write_text(configuration(behind.url, behind.key))
        with serving(tmp_path / "front") as front:
            near = behind.generate(model="otter-1", **order).json()
            far = front.generate(model="far-otter", **order)
            assert far.status_code == 200, far.text
            assert picture(far.json()) == picture(near)
            data = picture(far.json())
            edit = {"model": "far-otter", "prompt": "a blue fox", "size": SIZE, "response_format": "b64_json"}
            answer = front.client.post(
                "/v1/images/edits",
                data=edit,
                files={"image": ("a.png", data, "image/png")},
                headers=front.authorization,
            )
            assert answer.status_code == 200, answer.text
            wrong = front.generate(model="far-otter", **{**order, "size": UNKNOWN_SIZE})
            assert (wrong.status_code, wrong.json()["error"]["param"]) == (422, "size"), wrong.text
            assert "otter-1 cannot paint the size" in wrong.json()["error"]["message"]


def picture(answer: dict) -> bytes:
    return base64.b64decode(answer["data"][0]["b64_json"])
