"""Hugging Face's inference router, simulated from its official client and its task documentation.

`Authorization: Bearer …`. The provider `hf-inference` is asked at `/hf-inference/models/{model}` with `inputs` and
`parameters` and answers with the raw picture at once; a picture to edit goes in as base64 in `inputs`, or raw if there
are no parameters. Other providers are reached through the same host at `/{provider}/…` in their own form; of these
`fal-ai` (text to image, at once, with an address) is simulated. Its own name of a model, `fal-ai/flux/dev`, follows
`/fal-ai/`, as the official client puts it together (`TaskProviderHelper._prepare_url`). Which provider serves a model
is to be asked of the hub (`/api/models/{id}?expand=inferenceProviderMapping`), another host, which is not simulated.

No size is promised if none is asked for; 1024 x 1024 here, and JPEG. The text of 402 is widely published, those of the
other errors are not documented, nor is any refusal of a prompt. Parameters that the task does not have are a 422 here,
while the official types let further ones pass. Which models are live changes daily and is no part of this.

Run against it by hand: huggingface_hub 2.4.0 (text_to_image and image_to_image with `hf-inference`).
"""

import base64
import binascii
import io
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from checking import Accepts, Problem, Wrong, problems
from hosting import Host
from PIL import Image, UnidentifiedImageError
from simulated import Outcome, Simulated, picture

SIDE = Accepts((int,), minimum=64, maximum=2048)
TEXT_TO_IMAGE = {
    "guidance_scale": Accepts((float,)),
    "negative_prompt": Accepts(),
    "num_inference_steps": Accepts((int,), minimum=1),
    "scheduler": Accepts(),
    "seed": Accepts((int,)),
    "width": SIDE,
    "height": SIDE,
}
IMAGE_TO_IMAGE = {
    "guidance_scale": Accepts((float,)),
    "negative_prompt": Accepts(),
    "num_inference_steps": Accepts((int,), minimum=1),
    "prompt": Accepts(),
    "target_size": Accepts((dict,)),
}
BODY = {"inputs": Accepts(required=True), "parameters": Accepts((dict,))}
THROUGH_FAL = {
    "prompt": Accepts(required=True),
    "image_size": Accepts((dict,)),
    "num_inference_steps": Accepts((int,), minimum=1, maximum=50),
    "guidance_scale": Accepts((float,), minimum=1, maximum=20),
    "seed": Accepts((int,)),
    "num_images": Accepts((int,), minimum=1, maximum=4),
}


class SimulatedHuggingface(Simulated):
    """https://router.huggingface.co"""

    name = "huggingface"
    documentation = (
        "https://github.com/huggingface/huggingface_hub src/huggingface_hub/inference/_providers (2026-11-22)",
        "https://github.com/huggingface/huggingface_hub src/huggingface_hub/inference/_generated/types (2026-11-22)",
        "https://huggingface.co/docs/inference-providers/tasks/text-to-image (by the types above, 2026-11-22)",
    )
    models = (
        "black-forest-labs/FLUX.1-schnell",
        "black-forest-labs/FLUX.1-dev",
        "stabilityai/stable-diffusion-xl-base-1.0",
        "black-forest-labs/FLUX.1-Kontext-dev",
    )
    edits = ("black-forest-labs/FLUX.1-Kontext-dev",)
    through_fal = ("fal-ai/flux/schnell", "fal-ai/flux/dev")
    """What the models are called at the provider `fal-ai`."""
    impossible: ClassVar = {
        Outcome.REFUSE: "no refusal of a prompt is documented",
        Outcome.FAIL_LATER: "answers come at once",
    }

    def __init__(self) -> None:
        super().__init__()
        self._host = Host()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            self._host.route(),
            web.post("/hf-inference/models/{model:.+}", self._infer),
            web.post("/fal-ai/{model:.+}", self._through_fal),
        ]

    def _refused(self, request: web.Request, known: Sequence[str]) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {self.credential}":
            return _error(401, "Invalid username or password.")
        if request.match_info["model"] not in known:
            return _error(404, "Not Found")
        if self.outcome is Outcome.RATE_LIMIT:
            return _error(429, "Too Many Requests")
        if self.outcome is Outcome.NO_CREDIT:
            text = "You have exceeded your monthly included credits for Inference Providers."
            return _error(402, f"{text} Subscribe to PRO to get 20x more monthly included credits.")
        if self.outcome is Outcome.OUTAGE:
            return _error(503, "Service Unavailable")
        return None

    async def _infer(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request, self.models)) is not None:
            return refused
        call = self.calls[-1]
        editing = request.match_info["model"] in self.edits
        if editing and request.content_type != "application/json":
            body: Any = {"inputs": base64.b64encode(call.body).decode()}
        else:
            body = call.json
        found = problems(body, BODY)
        if not found:
            found = problems(body.get("parameters") or {}, IMAGE_TO_IMAGE if editing else TEXT_TO_IMAGE)
        if not found and editing and _read(body["inputs"]) is None:
            found = [Problem("inputs", Wrong.TYPE, None, "image")]
        if (bad := self._bad(found)) is not None:
            return bad
        parameters = body.get("parameters") or {}
        width, height = _edited(body["inputs"], parameters) if editing else _asked(parameters)
        self.painted += 1
        text = f"{body['inputs'][:80]} {parameters.get('prompt')} {parameters.get('seed')}"
        return web.Response(body=picture(width, height, "jpeg", text), content_type="image/jpeg")

    async def _through_fal(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request, self.through_fal)) is not None:
            return refused
        given = self.calls[-1].json
        if (bad := self._bad(problems(given, THROUGH_FAL))) is not None:
            return bad
        width, height = _asked(given.get("image_size") or {"width": 1024, "height": 768})
        images = []
        for number in range(given.get("num_images") or 1):
            data = picture(width, height, "jpeg", f"{given['prompt']} {given.get('seed')} {number}")
            url = self._host.put(self.url, data, "jpeg")
            images.append({"url": url, "width": width, "height": height, "content_type": "image/jpeg"})
            self.painted += 1
        return web.json_response({"images": images, "seed": given.get("seed", 42), "prompt": given["prompt"]})

    def _bad(self, found: Sequence[Problem]) -> web.Response | None:
        if found:
            return _error(422, [f"{each.field}: {each.message}" for each in found])
        return _error(422, ["inputs: invalid"]) if self.outcome is Outcome.BAD_REQUEST else None


def _asked(parameters: Mapping[str, Any]) -> tuple[int, int]:
    return parameters.get("width") or 1024, parameters.get("height") or 1024


def _edited(inputs: str, parameters: Mapping[str, Any]) -> tuple[int, int]:
    if target := parameters.get("target_size"):
        return target["width"], target["height"]
    return _read(inputs) or (1024, 1024)


def _read(inputs: str) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(base64.b64decode(inputs.rpartition(",")[2], validate=True))) as image:
            return image.size
    except (binascii.Error, ValueError, UnidentifiedImageError):
        return None


def _error(status: int, error: str | Sequence[str]) -> web.Response:
    return web.json_response({"error": error}, status=status)
