"""AUTOMATIC1111's stable-diffusion-webui, started with `--api --api-auth`: `/sdapi/v1`.

Read on 2026-11-22 from its sources on GitHub, `modules/api/api.py` (2fec947) and `modules/api/models.py` (008a8e7);
Forge and SD.Next serve the same routes. Older versions answer an unknown sampler with 404. There is no official client,
and the program itself was not run beside this.

The body is a pydantic model that ignores unknown fields; a wrong type is FastAPI's 422. Sides are rounded down to whole
eighths, as the latent's are. Of the fields, those that people send are checked here, the others are let through as
ignored. Not found, and so chosen here: the largest side (2048, as the web page's sliders have it, the API has none).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import encode_basic_auth, web
from simulated import Outcome, Simulated, picture
from strict import Check, anything, data_url, flag, many, number, picture_base64, text, whole

from pinxit.backends.interface import Capabilities, ModelSpec, Range
from pinxit.backends.upstream._provider import UpstreamModel
from pinxit.images.request import Encoding
from pinxit.images.size import Size

SAMPLERS = ("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "Euler a", "Euler", "LMS", "Heun", "DDIM", "UniPC", "LCM")
NO_ACCOUNTS = "a program of one's own has no accounts"


class SimulatedA1111(Simulated):
    """Serves `{url}/sdapi/v1`; `credential` is user and password."""

    name = "a1111"
    documentation = (
        "https://github.com/AUTOMATIC1111/stable-diffusion-webui, modules/api/api.py, models.py (2026-11-22)",
    )
    credential = "pinxit:secret-of-the-tests-0123456789"
    models = ("sd_xl_base_1.0.safetensors [31e35c80fc]", "v1-5-pruned-emaonly.safetensors [6ce0161689]")
    edits = models
    impossible: ClassVar[Mapping[Outcome, str]] = {
        Outcome.REFUSE: "nothing is refused",
        Outcome.RATE_LIMIT: "orders wait for a lock, without limit",
        Outcome.NO_CREDIT: NO_ACCOUNTS,
        Outcome.FAIL_LATER: "there are no jobs: an answer comes at once",
    }

    def __init__(self) -> None:
        super().__init__()
        self.settings: dict[str, Any] = {"sd_model_checkpoint": self.models[0], "samples_format": "png"}
        self.interrupts = 0

    def configured_models(self) -> Sequence[UpstreamModel]:
        sizes = (Size(512, 512), Size(768, 512))
        can = Capabilities(
            sizes=sizes,
            default_size=sizes[0],
            native_size=sizes[0],
            num_inference_steps=Range(1, 60, 20),
            guidance_scale=Range(1, 20, 7),
            negative_prompt=True,
            encodings=(Encoding.PNG,),
            edits=True,
            max_images=1,
            strength=Range(0.05, 1, 0.75),
        )
        names = [title.split(".safetensors")[0] for title in self.models]
        return [UpstreamModel(ModelSpec(name, "A checkpoint.", can, "upstream", "unknown", 0)) for name in names]

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/sdapi/v1/txt2img", self.from_text),
            web.post("/sdapi/v1/img2img", self.from_pictures),
            web.get("/sdapi/v1/sd-models", self.list_models),
            web.get("/sdapi/v1/samplers", self.list_samplers),
            web.get("/sdapi/v1/options", self.show_options),
            web.post("/sdapi/v1/options", self.set_options),
            web.get("/sdapi/v1/progress", self.progress),
            web.post("/sdapi/v1/interrupt", self.interrupt),
        ]

    async def list_models(self, request: web.Request) -> web.Response:
        rows = [
            {
                "title": title,
                "model_name": title.split(".safetensors")[0],
                "hash": title[-11:-1],
                "sha256": None,
                "filename": f"/models/{title.split()[0]}",
                "config": None,
            }
            for title in self.models
        ]
        return self.unauthorised(request) or web.json_response(rows)

    async def list_samplers(self, request: web.Request) -> web.Response:
        rows = [{"name": name, "aliases": [], "options": {}} for name in SAMPLERS]
        return self.unauthorised(request) or web.json_response(rows)

    async def show_options(self, request: web.Request) -> web.Response:
        return self.unauthorised(request) or web.json_response(self.settings)

    async def set_options(self, request: web.Request) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        self.settings.update(self.calls[-1].json)
        return web.json_response(None)

    async def progress(self, request: web.Request) -> web.Response:
        state = {"skipped": False, "interrupted": False, "job": "", "job_count": 0, "sampling_step": 0}
        told = {
            "progress": 0.0,
            "eta_relative": 0.0,
            "state": state,
            "current_image": None,
            "textinfo": None,
            "current_task": None,
        }
        return self.unauthorised(request) or web.json_response(told)

    async def interrupt(self, request: web.Request) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        self.interrupts += 1
        return web.json_response({})

    async def from_text(self, request: web.Request) -> web.Response:
        return self.order(request, FIELDS)

    async def from_pictures(self, request: web.Request) -> web.Response:
        return self.order(request, {**FIELDS, **PICTURE_FIELDS})

    def order(self, request: web.Request, known: Mapping[str, Check]) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        given = self.calls[-1].json
        if not isinstance(given, dict):
            missing = {"loc": ["body"], "msg": "field required", "type": "value_error.missing"}
            return web.json_response({"detail": [missing]}, status=422)
        body = {name: value for name, value in given.items() if value is not None}
        if details := wrong_types(body, known):
            return web.json_response({"detail": details}, status=422)
        if "init_images" in known and not body.get("init_images"):
            return http_error(404, "Init image not found")
        if self.outcome is Outcome.BAD_REQUEST or body.get("sampler_name", "Euler") not in SAMPLERS:
            return http_error(400, "Sampler not found")
        pictures = [*body.get("init_images", []), *([body["mask"]] if "mask" in body else [])]
        if any((data_url(value) or picture_base64(value)) is None for value in pictures):
            return http_error(500, "Invalid encoded image")
        checkpoint = body.get("override_settings", {}).get("sd_model_checkpoint", self.settings["sd_model_checkpoint"])
        if self.outcome is not Outcome.PAINT or not any(title.startswith(checkpoint) for title in self.models):
            told = "CUDA out of memory." if self.outcome is not Outcome.PAINT else "could not find checkpoint"
            kind = "OutOfMemoryError" if self.outcome is not Outcome.PAINT else "RuntimeError"
            return web.json_response({"error": kind, "detail": "", "body": "", "errors": told}, status=500)
        return self.answer(body)

    def answer(self, body: Mapping[str, Any]) -> web.Response:
        width, height = body.get("width", 512) // 8 * 8, body.get("height", 512) // 8 * 8
        count = body.get("n_iter", 1) * body.get("batch_size", 1)
        seed = body.get("seed", -1)
        seed = 1234567890 if seed == -1 else seed
        encoding = {"jpg": "jpeg"}.get(self.settings["samples_format"], self.settings["samples_format"])
        prompt = body.get("prompt", "")
        images = [
            base64.b64encode(picture(width, height, encoding, f"{prompt} {seed + number}")).decode()
            for number in range(count)
        ]
        self.painted += count
        info = {
            "prompt": prompt,
            "all_prompts": [prompt] * count,
            "negative_prompt": body.get("negative_prompt", ""),
            "seed": seed,
            "all_seeds": [seed + number for number in range(count)],
            "width": width,
            "height": height,
            "sampler_name": body.get("sampler_name", "Euler"),
            "cfg_scale": body.get("cfg_scale", 7.0),
            "steps": body.get("steps", 50),
            "batch_size": body.get("batch_size", 1),
            "index_of_first_image": 0,
            "job_timestamp": "20261122000000",
        }
        hidden = {} if body.get("include_init_images") else {"init_images": None, "mask": None}
        shown = images if body.get("send_images", True) else []
        return web.json_response({"images": shown, "parameters": {**body, **hidden}, "info": json.dumps(info)})

    def unauthorised(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization")
        user, _, password = self.credential.partition(":")
        if given == encode_basic_auth(user, password):
            return None
        told = "Incorrect username or password" if given else "Not authenticated"
        return http_error(401, told, {"WWW-Authenticate": "Basic"})


FIELDS: Mapping[str, Check] = {
    "prompt": text(),
    "negative_prompt": text(),
    "styles": many(text()),
    "seed": whole(),
    "subseed": whole(),
    "subseed_strength": number(),
    "sampler_name": text(),
    "sampler_index": text(),
    "scheduler": text(),
    "batch_size": whole(1),
    "n_iter": whole(1),
    "steps": whole(1),
    "cfg_scale": number(),
    "width": whole(64, 2048),
    "height": whole(64, 2048),
    "restore_faces": flag,
    "tiling": flag,
    "eta": number(),
    "enable_hr": flag,
    "hr_scale": number(),
    "hr_upscaler": text(),
    "hr_second_pass_steps": whole(0),
    "denoising_strength": number(0, 1),
    "override_settings": lambda value: None if isinstance(value, dict) else "expected a dictionary",
    "override_settings_restore_afterwards": flag,
    "script_name": text(),
    "script_args": many(anything),
    "send_images": flag,
    "save_images": flag,
    "alwayson_scripts": lambda value: None if isinstance(value, dict) else "expected a dictionary",
    "force_task_id": text(),
    "infotext": text(),
}
PICTURE_FIELDS: Mapping[str, Check] = {
    "init_images": many(text()),
    "resize_mode": whole(0, 3),
    "mask": text(),
    "mask_blur": whole(0),
    "inpainting_fill": whole(0, 3),
    "inpaint_full_res": flag,
    "inpaint_full_res_padding": whole(0),
    "inpainting_mask_invert": whole(0, 1),
    "include_init_images": flag,
}


def wrong_types(body: Mapping[str, Any], known: Mapping[str, Check]) -> list[dict[str, Any]]:
    """As FastAPI has it; unknown fields are ignored."""
    return [
        {"loc": ["body", name], "msg": detail, "type": "value_error"}
        for name, look in known.items()
        if name in body and (detail := look(body[name]))
    ]


def http_error(status: int, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    body = {"error": "HTTPException", "detail": detail, "body": "", "errors": ""}
    return web.json_response(body, status=status, headers=headers)
