"""Stability AI's API (v2beta, Stable Image), simulated from its public documentation.

`Authorization: Bearer …`; `multipart/form-data` only; one picture per request, at once: raw with the headers `seed` and
`finish-reason` for `Accept: image/*`, or as base64 in JSON for `Accept: application/json`. Errors are an object of
`id`, `name` and the list `errors`. A refused prompt is a 403 `content_moderation`; a picture that fails the check comes
blurred with `finish-reason: CONTENT_FILTERED` (`filters_pictures`).

The reference gives ratios and amounts of pixels, no sizes: SD 3.5 and Ultra make one megapixel, where the sizes are
those that the models were published with; Core makes 1.5 megapixels, here in multiples of 64. An edit keeps the size of
its picture. The sentences of the errors are not documented. Fields that a model does not have are a 400 here.
The reference itself could not be read, for it is drawn by a script; the sources are its collected schemas and the two
clients named below. Not simulated: upscaling, control, the other edits, v1. No official client of v2beta exists.
"""

import base64
import io
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from checking import Accepts, Problem, Wrong, problems, read_form, typed
from hosting import MIME
from PIL import Image, UnidentifiedImageError
from simulated import Outcome, Simulated, picture

SIZES = {
    "1:1": (1024, 1024),
    "16:9": (1344, 768),
    "21:9": (1536, 640),
    "2:3": (832, 1216),
    "3:2": (1216, 832),
    "4:5": (896, 1088),
    "5:4": (1088, 896),
    "9:16": (768, 1344),
    "9:21": (640, 1536),
}
STYLES = [
    "3d-model",
    "analog-film",
    "anime",
    "cinematic",
    "comic-book",
    "digital-art",
    "enhance",
    "fantasy-art",
    "isometric",
    "line-art",
    "low-poly",
    "modeling-compound",
    "neon-punk",
    "origami",
    "photographic",
    "pixel-art",
    "tile-texture",
]
SEED = Accepts((int,), minimum=0, maximum=4294967294)
TEXT = {
    "prompt": Accepts(required=True, max_length=10_000),
    "negative_prompt": Accepts(max_length=10_000),
    "seed": SEED,
    "style_preset": Accepts(choices=tuple(STYLES)),
    "output_format": Accepts(choices=("jpeg", "png", "webp")),
}
RATIO = {"aspect_ratio": Accepts(choices=tuple(SIZES))}
STRENGTH = {"strength": Accepts((float,), minimum=0, maximum=1)}
SD3_MODELS = ("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash")
FIELDS: Mapping[str, Mapping[str, Accepts]] = {
    "generate/core": {**TEXT, **RATIO},
    "generate/ultra": {**TEXT, **RATIO, **STRENGTH},
    "generate/sd3": {
        **TEXT,
        **RATIO,
        **STRENGTH,
        "model": Accepts(choices=SD3_MODELS),
        "mode": Accepts(choices=("text-to-image", "image-to-image")),
        "cfg_scale": Accepts((float,), minimum=1, maximum=10),
        "output_format": Accepts(choices=("jpeg", "png")),
    },
    "edit/inpaint": {**TEXT, "grow_mask": Accepts((int,), minimum=0, maximum=20)},
}
FILES = {"generate/ultra": {"image"}, "generate/sd3": {"image"}, "edit/inpaint": {"image", "mask"}}


class SimulatedStability(Simulated):
    """https://api.stability.ai"""

    name = "stability"
    documentation = (
        "https://platform.stability.ai/docs/api-reference (by its schemas collected in "
        "https://github.com/api-evangelist/stability-ai, 2026-11-22)",
        "https://github.com/Comfy-Org/ComfyUI comfy_api_nodes/apis/stability_api.py (2026-11-22)",
        "https://app.unpkg.com/stability-ai@0.7.0/files/dist/v2beta/stable-image/generate.d.ts (2026-11-22)",
        "https://docs.litellm.ai/docs/providers/stability (2026-11-22)",
    )
    models = ("core", "ultra", *SD3_MODELS)
    edits = ("ultra", *SD3_MODELS)
    impossible: ClassVar = {Outcome.FAIL_LATER: "answers come at once"}

    def __init__(self) -> None:
        super().__init__()
        self.filters_pictures = False
        """Whether pictures fail the check after painting: 200 with CONTENT_FILTERED."""

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/v2beta/stable-image/{kind}/{name}", self._generate)]

    async def _generate(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        action = f"{request.match_info['kind']}/{request.match_info['name']}"
        if action not in FIELDS:
            return _error(404, "not_found", "The requested resource was not found")
        form = read_form(self.calls[-1].body, request.headers.get("Content-Type", ""))
        if form is None:
            return _error(400, "bad_request", "content-type: must be multipart/form-data")
        texts, files = form
        given = typed(texts, FIELDS[action])
        found = problems(given, FIELDS[action]) + _file_problems(action, given, files)
        if self.outcome is Outcome.BAD_REQUEST and not found:
            found = [Problem("prompt", Wrong.TYPE, None, "string")]
        if found:
            return _error(400, "bad_request", *(f"{each.field}: {each.message}" for each in found))
        if self.outcome is Outcome.REFUSE:
            text = "Your request was flagged by our content moderation system, as a result your request was denied."
            return _error(403, "content_moderation", text)
        return self._paint(request, action, given, files)

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {self.credential}":
            return _error(401, "unauthorized", "authorization: is invalid")
        if self.outcome is Outcome.RATE_LIMIT:
            text = "You have exceeded the rate limit of 150 requests within a 10 second period."
            return _error(429, "rate_limit_exceeded", text)
        if self.outcome is Outcome.NO_CREDIT:
            return _error(402, "payment_required", "You lack sufficient credits to make this request.")
        if self.outcome is Outcome.OUTAGE:
            return _error(500, "internal_error", "An unexpected server error has occurred, please try again later.")
        return None

    def _paint(
        self, request: web.Request, action: str, given: Mapping[str, Any], files: Mapping[str, list[bytes]]
    ) -> web.Response:
        encoding = given.get("output_format") or "png"
        seed = given.get("seed") or secrets.randbelow(2**32 - 2)
        data = picture(*_size(action, given, files), encoding, f"{given['prompt']} {seed}")
        reason = "CONTENT_FILTERED" if self.filters_pictures else "SUCCESS"
        self.painted += 1
        if "application/json" in request.headers.get("Accept", ""):
            body = {"image": base64.b64encode(data).decode(), "finish_reason": reason, "seed": seed}
            return web.json_response(body)
        headers = {"seed": str(seed), "finish-reason": reason}
        return web.Response(body=data, content_type=MIME[encoding], headers=headers)


def _size(action: str, given: Mapping[str, Any], files: Mapping[str, list[bytes]]) -> tuple[int, int]:
    if files:
        with Image.open(io.BytesIO(files["image"][0])) as image:
            return image.size
    width, height = SIZES[given.get("aspect_ratio") or "1:1"]
    if action != "generate/core":
        return width, height
    unit = math.sqrt(1_500_000 / (width * height))
    return round(width * unit / 64) * 64, round(height * unit / 64) * 64


def _file_problems(action: str, given: Mapping[str, Any], files: Mapping[str, list[bytes]]) -> list[Problem]:
    found = [Problem(name, Wrong.UNKNOWN) for name in sorted(set(files) - FILES.get(action, set()))]
    wants = action == "edit/inpaint" or given.get("mode") == "image-to-image"
    if wants and "image" not in files:
        found.append(Problem("image", Wrong.MISSING))
    if "image" in files and action.startswith("generate") and "strength" not in given:
        found.append(Problem("strength", Wrong.MISSING))
    for name, data in files.items():
        try:
            Image.open(io.BytesIO(data[0])).close()
        except UnidentifiedImageError:
            found.append(Problem(name, Wrong.TYPE, None, "image"))
    return found


def _error(status: int, name: str, *errors: str) -> web.Response:
    return web.json_response({"id": secrets.token_hex(16), "name": name, "errors": errors}, status=status)
