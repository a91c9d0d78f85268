"""/sdapi/v1: what SillyTavern and Open WebUI send to AUTOMATIC1111's web UI."""

import asyncio
import base64
import io
import json
from typing import Any

import httpx2
import pytest
from PIL import Image
from snapshot import check
from test_edits import data_url, half_mask, pixels, png

from front import Front, MakeFront
from pinxit.database.tables import generations
from pinxit.testing.fake_backend import FakeBackend

SMALL = {"width": 256, "height": 256}


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


async def post(front: Front, name: str, headers: dict[str, str] | None = None, /, **body: Any) -> httpx2.Response:
    return await front.client.post(f"/sdapi/v1/{name}", json=body, headers=headers or front.authorization)


async def get(front: Front, name: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    return await front.client.get(f"/sdapi/v1/{name}", headers=headers or front.authorization)


async def txt2img(front: Front, headers: dict[str, str] | None = None, /, **body: Any) -> httpx2.Response:
    return await post(front, "txt2img", headers, **{"prompt": "a lighthouse", **SMALL, **body})


async def img2img(front: Front, **body: Any) -> httpx2.Response:
    picture = base64.b64encode(png()).decode()
    return await post(front, "img2img", **{"prompt": "make it blue", "init_images": [picture], **SMALL, **body})


def plain(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- pictures -------------------------------------------------------------------------------------------------------


async def test_the_answer(wire: Front):
    answer = await txt2img(wire, seed=3, steps=4, cfg_scale=5, negative_prompt="rain", batch_size=2)
    body = answer.json()
    info = json.loads(body["info"])
    assert (info["all_seeds"], info["seed"], info["sd_model_name"]) == ([3, 4], 3, "fake-1")
    assert info["infotexts"][1] == (
        "a lighthouse\nNegative prompt: rain\nSteps: 4, Sampler: Automatic, CFG scale: 5, Seed: 4, Size: 256x256,"
        " Model: fake-1"
    )
    assert [pixels({"b64_json": each}).shape for each in body["images"]] == [(256, 256, 3)] * 2
    (order,) = wire.backend.orders
    painted = (order.seeds, order.num_inference_steps, order.guidance_scale, order.negative_prompt, str(order.size))
    assert painted == ((3, 4), 4, 5.0, "rain", "256x256")


async def test_the_answer_exactly(wire: Front):
    answer = await txt2img(wire, seed=3, steps=4, send_images=False)
    body = answer.json()
    assert body["images"] == []
    check("sdapi_progress", await get(wire, "progress"))
    check("sdapi_models", await get(wire, "sd-models"))
    check("sdapi_options", await get(wire, "options"))
    assert body["parameters"] == {
        "prompt": "a lighthouse",
        "negative_prompt": "",
        "seed": 3,
        "steps": 4,
        "cfg_scale": 3.0,
        "width": 256,
        "height": 256,
        "sampler_name": "Automatic",
        "batch_size": 1,
        "n_iter": 1,
        "denoising_strength": None,
        "override_settings": {"sd_model_checkpoint": "fake-1"},
    }


async def test_what_open_webui_sends(wire: Front):
    """`routers/images.py`, image_generations: prompt, batch_size, width, height, steps, negative_prompt."""
    headers = basic(f"openwebui:{wire.key}")
    body = {"prompt": "a lighthouse", "batch_size": 1, "width": 512, "height": 512, "steps": 50, "negative_prompt": ""}
    answer = await post(wire, "txt2img", headers, **body)
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["images"]) == 1
    assert isinstance(answer.json()["info"], str)
    options = (await get(wire, "options", headers)).json()
    models = (await get(wire, "sd-models", headers)).json()
    assert options["sd_model_checkpoint"] in [model["title"] for model in models]
    assert (await post(wire, "options", headers, **options)).status_code == 200


SILLYTAVERN = {
    "url": "http://127.0.0.1:8000",
    "prompt": "a lighthouse",
    "negative_prompt": "lowres, bad anatomy",
    "sampler_name": "DDIM",
    "scheduler": "normal",
    "steps": 20,
    "cfg_scale": 7,
    "width": 512,
    "height": 512,
    "restore_faces": False,
    "enable_hr": False,
    "hr_upscaler": "Latent",
    "hr_scale": 1.0,
    "hr_additional_modules": [],
    "denoising_strength": 0.7,
    "hr_second_pass_steps": 0,
    "override_settings": {"CLIP_stop_at_last_layers": 1},
    "override_settings_restore_afterwards": True,
    "clip_skip": 1,
    "save_images": True,
    "send_images": True,
    "do_not_save_grid": False,
    "do_not_save_samples": False,
}
"""`generateAutoImage` in its `public/scripts/extensions/stable-diffusion/index.js`, with the defaults there."""


async def test_what_sillytavern_sends(wire: Front):
    """It puts its login into the body as well, which nobody is to see again."""
    auth = f"me:{wire.key}"
    answer = await post(wire, "txt2img", basic(auth), **SILLYTAVERN, auth=auth)
    assert answer.status_code == 200, answer.text
    ignored = answer.headers["x-pinxit-ignored"].split(", ")
    assert {"url", "auth", "sampler_name", "scheduler", "denoising_strength", "restore_faces"} <= set(ignored)
    assert "override_settings.CLIP_stop_at_last_layers" in ignored
    assert not {"steps", "cfg_scale", "negative_prompt", "width", "height", "enable_hr"} & set(ignored)
    assert wire.key not in answer.text
    assert wire.key not in str(answer.headers)


async def test_what_sillytavern_asks_for(wire: Front):
    """`src/endpoints/stable-diffusion.js`: it maps over lists and reads these names."""
    for name, key in (
        ("samplers", "name"),
        ("schedulers", "name"),
        ("upscalers", "name"),
        ("latent-upscale-modes", "name"),
        ("sd-vae", "model_name"),
        ("sd-models", "title"),
    ):
        answer = (await get(wire, name, basic(f":{wire.key}"))).json()
        assert all(isinstance(each[key], str) for each in answer), name
    progress = (await get(wire, "progress")).json()
    assert (progress["progress"], progress["state"]["job_count"]) == (0.0, 0)
    assert "forge_preset" not in (await get(wire, "options")).json()


async def test_n_iter_times_batch_size(wire: Front):
    assert len((await txt2img(wire, batch_size=2, n_iter=3)).json()["images"]) == 6


async def test_the_checkpoint_of_an_order(wire: Front):
    answer = await txt2img(wire, override_settings={"sd_model_checkpoint": "gpt-image-1"})
    assert answer.headers["x-pinxit-model"] == "fake-1"


async def test_without_a_size_it_is_the_model_s(wire: Front):
    assert (await post(wire, "txt2img", prompt="x")).json()["parameters"]["width"] == 1024
    assert (await post(wire, "txt2img", prompt="x", width=512)).json()["parameters"]["height"] == 512


async def test_a_picture_is_not_kept_if_it_is_not_to_be_saved(wire: Front):
    await txt2img(wire, save_images=False)
    assert (await wire.client.get("/v1/images", headers=wire.authorization)).json()["data"] == []
    await txt2img(wire)
    assert len((await wire.client.get("/v1/images", headers=wire.authorization)).json()["data"]) == 1


# --- pictures from pictures -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [plain(png()), data_url(png())])
async def test_a_picture_is_changed(wire: Front, sent: str):
    answer = await img2img(wire, init_images=[sent], denoising_strength=0.4)
    assert answer.status_code == 200, answer.text
    (order,) = wire.backend.orders
    assert (order.strength, len(order.images)) == (0.4, 1)
    assert answer.json()["parameters"]["denoising_strength"] == 0.4


@pytest.mark.parametrize("is_inverted", [0, 1])
@pytest.mark.parametrize("kind", ["grey", "opaque", "transparent"])
async def test_a_mask_is_read_as_the_web_ui_reads_it(wire: Front, kind: str, is_inverted: int):
    """White is painted, or in a picture with transparent parts what is opaque."""
    mask = Image.new("L", (256, 256), 0)
    mask.paste(255, (0, 0, 128, 256))
    if kind == "opaque":
        mask = mask.convert("RGBA")
    elif kind == "transparent":
        whole = Image.new("RGBA", (256, 256), (9, 9, 9, 0))
        whole.putalpha(mask)
        mask = whole
    file = io.BytesIO()
    mask.save(file, "PNG")
    answer = await img2img(wire, mask=plain(file.getvalue()), inpainting_mask_invert=is_inverted)
    painted = pixels({"b64_json": answer.json()["images"][0]})
    left, right = (painted[:, :120] == (200, 30, 30)).all(), (painted[:, 136:] == (200, 30, 30)).all()
    assert (left, right) == ((True, False) if is_inverted else (False, True))


# --- what stands around ---------------------------------------------------------------------------------------------


async def test_progress_and_interruption(make_wire: MakeFront):
    gate = asyncio.Event()
    wire = await make_wire(FakeBackend(gates={3: gate}))
    painting = asyncio.create_task(txt2img(wire))
    async with asyncio.timeout(10):
        while (progress := (await get(wire, "progress")).json())["progress"] < 0.5:  # where the gate holds it
            await asyncio.sleep(0)
    assert (progress["progress"], progress["state"]["sampling_steps"], progress["state"]["job_count"]) == (0.5, 4, 1)
    other = await wire.make_key(name="other")
    assert (await get(wire, "progress", {"Authorization": other})).json()["progress"] == 0
    assert (await post(wire, "interrupt", {"Authorization": other})).json() == {}
    assert not painting.done()
    assert (await post(wire, "interrupt")).json() == {}
    assert (await painting).status_code == 400
    assert (await get(wire, "progress")).json()["state"]["job_count"] == 0
    assert [row.status for row in await wire.rows(generations)] == ["cancelled"]


async def test_a_checkpoint_is_not_remembered(wire: Front):
    assert (await post(wire, "options", sd_model_checkpoint="fake-1")).content == b"null"
    refused = await post(wire, "options", sd_model_checkpoint="another")
    assert (refused.status_code, refused.json()["error"]["param"]) == (422, "sd_model_checkpoint")
    others = await post(wire, "options", samples_format="png", **{"bad\r\nname": 1})
    assert others.headers["x-pinxit-ignored"] == "samples_format, bad??name"


async def test_a_key_for_one_model_has_that_one(make_wire: MakeFront):
    own = {"model_name": "quick", "params": {"model": "fake/fake-1", "quality": "low"}}
    wire = await make_wire(model_list=[own])
    key = {"Authorization": await wire.make_key(models=("quick",))}
    assert (await get(wire, "options", key)).json()["sd_model_checkpoint"] == "quick"
    assert [model["title"] for model in (await get(wire, "sd-models", key)).json()] == ["quick"]
    assert (await txt2img(wire, key)).headers["x-pinxit-model"] == "quick"
    refused = await txt2img(wire, key, override_settings={"sd_model_checkpoint": "fake-1"})
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "override_settings.sd_model_checkpoint")
    nothing = {"Authorization": await wire.make_key(models=("gone",))}
    assert (await get(wire, "options", nothing)).json()["sd_model_checkpoint"] is None
    assert (await txt2img(wire, nothing)).status_code == 403


async def test_an_idempotency_key(wire: Front):
    headers = {**wire.authorization, "Idempotency-Key": "one"}
    first, again = await txt2img(wire, headers), await txt2img(wire, headers)
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")


async def test_a_strict_key(wire: Front):
    wire.key = await wire.make_key(strict=True)
    answer = await txt2img(wire, sampler_name="Euler")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "sampler_name")


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"prompt": None}, 400, "prompt"),
        ({"prompt": ""}, 400, "prompt"),
        ({"prompt": 5}, 400, "prompt"),
        ({"width": 333}, 422, "width"),
        ({"height": 333}, 422, "height"),
        ({"width": 1536, "height": 1536}, 422, "height"),
        ({"width": "512"}, 400, "width"),
        ({"steps": 51}, 422, "steps"),
        ({"steps": 0}, 422, "steps"),
        ({"cfg_scale": 0.5}, 422, "cfg_scale"),
        ({"cfg_scale": "7"}, 400, "cfg_scale"),
        ({"seed": -2}, 422, "seed"),
        ({"seed": 2**32}, 422, "seed"),
        ({"batch_size": 0}, 422, "batch_size"),
        ({"batch_size": 4, "n_iter": 3}, 422, "n_iter"),
        ({"enable_hr": True}, 422, "enable_hr"),
        ({"script_name": "X/Y/Z plot"}, 422, "script_name"),
        ({"override_settings": {"sd_model_checkpoint": "v1-5"}}, 404, "override_settings.sd_model_checkpoint"),
        ({"override_settings": {"sd_model_checkpoint": 5}}, 400, "override_settings.sd_model_checkpoint"),
        ({"override_settings": []}, 400, "override_settings"),
        ({"api_base": "http://x"}, 400, "api_base"),
        ({"negative_prompt": 5}, 400, "negative_prompt"),
    ],
)
async def test_what_is_refused(wire: Front, body: dict[str, Any], status: int, param: str):
    answer = await txt2img(wire, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert await wire.rows(generations) == []


async def test_the_sizes_that_there_are_are_named(wire: Front):
    message = (await txt2img(wire, width=640)).json()["error"]["message"]
    assert message == (
        "fake-1 cannot paint 640 by 256 pixels. Allowed: 256x256, 512x512, 1024x1024, 1024x1536, 1536x1024."
    )


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"init_images": None}, 400, "init_images"),
        ({"init_images": []}, 400, "init_images"),
        ({"init_images": [5]}, 400, "init_images[0]"),
        ({"init_images": [plain(png()), plain(png())]}, 422, "init_images"),
        ({"init_images": ["%%%"]}, 422, "init_images[0]"),
        ({"init_images": [plain(png()[:60])]}, 422, "init_images"),
        ({"init_images": [plain(b"GIF89a" + bytes(100))]}, 422, "init_images[0]"),
        ({"init_images": ["http://127.0.0.1:9/a.png"]}, 422, "init_images[0]"),
        ({"mask": plain(png()[:60])}, 422, "mask"),
        ({"mask": plain(half_mask())[:400]}, 422, "mask"),
        ({"mask": plain(half_mask(128, 128))}, 422, "mask"),
        ({"mask": 1}, 400, "mask"),
        ({"inpainting_mask_invert": 2}, 422, "inpainting_mask_invert"),
        ({"denoising_strength": 2}, 422, "denoising_strength"),
        ({"denoising_strength": 0}, 422, "denoising_strength"),
    ],
)
async def test_what_is_refused_of_pictures(wire: Front, body: dict[str, Any], status: int, param: str):
    answer = await img2img(wire, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert await wire.rows(generations) == []
    assert wire.house.services.byte_budget.used_bytes == 0


async def test_a_server_without_it(make_wire: MakeFront):
    wire = await make_wire(enable_sdapi=False)
    assert (await txt2img(wire)).status_code == 404
    assert (await get(wire, "options")).status_code == 404
    assert "/sdapi" not in (await wire.client.get("/openapi.json")).text
