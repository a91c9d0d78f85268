"""The web UI's API against a real server and its default model, with the bodies that Open WebUI and SillyTavern send
unless somebody changes their settings.
"""

import base64
import json

from running import png_size


def login(key: str) -> dict[str, str]:
    """What both make of `user:password`."""
    return {"Authorization": f"Basic {base64.b64encode(f'pinxit:{key}'.encode()).decode()}"}


def test_open_webui_s_defaults(server):
    body = {"prompt": "a red apple", "batch_size": 1, "width": 512, "height": 512, "steps": 50}
    answer = server.client.post("/sdapi/v1/txt2img", json=body, headers=login(server.key))
    assert answer.status_code == 200, answer.text
    assert png_size(base64.b64decode(answer.json()["images"][0], validate=True)) == (512, 512)
    assert "x-pinxit-ignored" not in answer.headers


def test_sillytavern_s_defaults(server):
    body = {
        "prompt": "a red apple",
        "negative_prompt": "lowres, bad anatomy, bad hands, text, error, cropped, worst quality, low quality",
        "sampler_name": "DDIM",
        "scheduler": "normal",
        "steps": 20,
        "cfg_scale": 7,
        "width": 512,
        "height": 512,
        "enable_hr": False,
        "denoising_strength": 0.7,
        "override_settings": {"CLIP_stop_at_last_layers": 1},
        "override_settings_restore_afterwards": True,
        "save_images": True,
        "send_images": True,
    }
    answer = server.client.post("/sdapi/v1/txt2img", json=body, headers=login(server.key))
    assert answer.status_code == 200, answer.text
    assert png_size(base64.b64decode(answer.json()["images"][0], validate=True)) == (512, 512)
    info = json.loads(answer.json()["info"])
    stored = server.client.get("/v1/images?limit=1", headers=server.authorization).json()["data"][0]
    assert (stored["prompt"], stored["seed"]) == ("a red apple", info["seed"])


def test_a_picture_from_a_picture(server):
    small = {"width": 256, "height": 256, "steps": 4}
    first = server.client.post(
        "/sdapi/v1/txt2img", json={"prompt": "a robot", **small}, headers=login(server.key)
    ).json()["images"]
    body = {"prompt": "a robot, 3d style", "init_images": first, "denoising_strength": 0.75, **small}
    answer = server.client.post("/sdapi/v1/img2img", json=body, headers=login(server.key))
    assert answer.status_code == 200, answer.text
    assert png_size(base64.b64decode(answer.json()["images"][0])) == (256, 256)
