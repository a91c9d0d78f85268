"""Ideogram's API, simulated from its public OpenAPI document.

The key goes in the header `Api-Key`; every request is `multipart/form-data`; the model is part of the path; answers
come at once, with an address per picture that lives "for a limited period of time". A picture that failed the check
has `is_image_safe` false and no address; a prompt that failed it is a 422 with `error`.

3.0 knows 69 resolutions and 15 ratios, of which a request gives one or neither; the resolution of a ratio is not
written down, but for each ratio there is one resolution of exactly that form and about a megapixel, which is taken
here. 4.0 (`text_prompt` or `json_prompt`, never both; no FLASH) has the resolutions that its API partners publish; one
picture per request. `num_images` goes to 8. The bodies of 400 and 401 are "any type"; here `{"error": …}`; 402 and 429
carry a `reject_reason`. A picture withheld by the check is billed, a refused prompt is not. Fields that a model does
not have are a 400 here.

Version 2 (`/v2/image/generate/…`, by now the default of the documentation) is simulated for 4.5 alone, without `async`
and web hooks: `size` is one of the presets, `auto` or `source`, pictures to edit go in as `images`, and `precise-edit`
keeps the size of its `image`. Its pages could be read in part only; the presets are those that ComfyUI's documentation
gives for it, and the shape of the answer is that of public clients.
Not simulated: 4.6, reframe, background replacement, transparent pictures, upscaling, character references, palettes,
the asynchronous variants. There is no official client to run against it.
"""

import io
import json
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from aiohttp import web
from checking import Accepts, Problem, Wrong, problems, read_form, typed
from hosting import Host
from PIL import Image
from simulated import Outcome, Simulated, picture

RATIOS = {
    "1x1": "1024x1024",
    "1x2": "704x1408",
    "2x1": "1408x704",
    "1x3": "512x1536",
    "3x1": "1536x512",
    "2x3": "832x1248",
    "3x2": "1248x832",
    "3x4": "864x1152",
    "4x3": "1152x864",
    "4x5": "896x1120",
    "5x4": "1120x896",
    "9x16": "736x1312",
    "16x9": "1312x736",
    "10x16": "800x1280",
    "16x10": "1280x800",
}
UPRIGHT = [
    "512x1536",
    "576x1408",
    "576x1472",
    "576x1536",
    "640x1344",
    "640x1408",
    "640x1472",
    "640x1536",
    "704x1152",
    "704x1216",
    "704x1280",
    "704x1344",
    "704x1408",
    "704x1472",
    "736x1312",
    "768x1088",
    "768x1216",
    "768x1280",
    "768x1344",
    "800x1280",
    "832x960",
    "832x1024",
    "832x1088",
    "832x1152",
    "832x1216",
    "832x1248",
    "864x1152",
    "896x960",
    "896x1024",
    "896x1088",
    "896x1120",
    "896x1152",
    "960x1024",
    "960x1088",
]
RESOLUTIONS_3 = (*UPRIGHT, "1024x1024", *("x".join(reversed(each.split("x"))) for each in UPRIGHT))
RESOLUTIONS_4 = [
    "2048x2048",
    "1440x2880",
    "2880x1440",
    "1664x2496",
    "2496x1664",
    "1792x2240",
    "2240x1792",
    "1440x2560",
    "2560x1440",
    "1600x2560",
    "2560x1600",
    "1728x2304",
    "2304x1728",
    "1296x3168",
    "3168x1296",
    "1152x2944",
    "2944x1152",
    "1248x3328",
    "3328x1248",
    "1280x3072",
    "3072x1280",
]
RESOLUTIONS_1K = [
    "1024x1024",
    "720x1440",
    "1440x720",
    "832x1248",
    "1248x832",
    "896x1120",
    "1120x896",
    "720x1280",
    "1280x720",
    "800x1280",
    "1280x800",
    "864x1152",
    "1152x864",
]
COMMON_3 = {
    "prompt": Accepts(required=True),
    "seed": Accepts((int,), minimum=0, maximum=2147483647),
    "rendering_speed": Accepts(choices=("FLASH", "TURBO", "DEFAULT", "QUALITY")),
    "magic_prompt": Accepts(choices=("AUTO", "ON", "OFF")),
    "num_images": Accepts((int,), minimum=1, maximum=8),
    "style_type": Accepts(choices=("AUTO", "GENERAL", "REALISTIC", "DESIGN", "FICTION")),
    "negative_prompt": Accepts(),
}
SIZED_3 = {
    **COMMON_3,
    "resolution": Accepts(choices=RESOLUTIONS_3),
    "aspect_ratio": Accepts(choices=tuple(RATIOS)),
}
FIELDS: Mapping[str, Mapping[str, Accepts]] = {
    "ideogram-v3/generate": SIZED_3,
    "ideogram-v3/remix": {**SIZED_3, "image_weight": Accepts((int,), minimum=1, maximum=100)},
    "ideogram-v3/edit": {name: field for name, field in COMMON_3.items() if name != "negative_prompt"},
    "ideogram-v3/inpaint": {name: field for name, field in COMMON_3.items() if name != "negative_prompt"},
    "ideogram-v4/generate": {
        "text_prompt": Accepts(),
        "json_prompt": Accepts(),
        "resolution": Accepts(choices=tuple(RESOLUTIONS_4)),
        "rendering_speed": Accepts(choices=("TURBO", "DEFAULT", "QUALITY")),
        "enable_copyright_detection": Accepts((bool,)),
    },
}
RESOLUTIONS_4_5 = (*RESOLUTIONS_4, "1024x3072", "3072x1024", *RESOLUTIONS_1K)
COMMON_4_5 = {
    "prompt": Accepts(required=True, max_length=10_000),
    "num_images": Accepts((int,), minimum=1, maximum=8),
    "seed": Accepts((int,), minimum=0, maximum=2147483647),
    "magic_prompt": Accepts(choices=("auto", "on", "off")),
    "quality": Accepts(choices=("very_low", "low", "medium", "high")),
}
FIELDS_2: Mapping[str, Mapping[str, Accepts]] = {
    "generate/ideogram-4-5": {**COMMON_4_5, "size": Accepts(choices=("auto", "source", *RESOLUTIONS_4_5))},
    "precise-edit/ideogram-4-5": COMMON_4_5,
}
FILES = {
    "ideogram-v3/remix": {"image"},
    "ideogram-v3/edit": {"image", "mask"},
    "ideogram-v3/inpaint": {"image", "mask"},
}


class SimulatedIdeogram(Simulated):
    """https://api.ideogram.ai"""

    name = "ideogram"
    documentation = (
        "https://developer.ideogram.ai/api-reference/images/generate/ideogram-4-6.md (2026-11-22)",
        "https://developer.ideogram.ai/ideogram-api/errors (2026-11-22)",
        "https://developer.ideogram.ai/ideogram-api/rate-limits (2026-11-22)",
        "https://ideogram.ai/api-generate/ (2026-11-22)",
        "https://developer.ideogram.ai/api-reference/api-reference/generate-v3 (OpenAPI document, 2026-11-22)",
        "https://developer.ideogram.ai/v1/api-reference/generate-images/generate-p-image-ideogram-async (2026-11-22)",
        "https://docs.comfy.org/built-in-nodes/IdeogramTextToImageApi.md (2026-11-22)",
        "https://docs.comfy.org/development/comfy-router/models/ideogram/ideogram-v4/code (2026-11-22)",
    )
    models = ("ideogram-v3", "ideogram-v4", "ideogram-4-5")
    """As in the paths, of which the last belongs to version 2."""
    edits = ("ideogram-v3", "ideogram-4-5")
    impossible: ClassVar = {Outcome.FAIL_LATER: "answers come at once"}

    def __init__(self) -> None:
        super().__init__()
        self.unsafe_pictures = False
        """Whether pictures fail the check after painting: 200 with `is_image_safe` false and no address."""
        self._host = Host()

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            self._host.route(),
            web.post("/v1/{model}/{action}", self._generate),
            web.post("/v2/image/{action}/{model}", self._generate_2),
        ]

    async def _generate(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        action = f"{request.match_info['model']}/{request.match_info['action']}"
        if action not in FIELDS:
            return _error(404, "Not found")
        form = read_form(self.calls[-1].body, request.headers.get("Content-Type", ""))
        if form is None:
            return _error(400, "Content-Type must be multipart/form-data")
        texts, files = form
        given = typed(texts, FIELDS[action])
        found = problems(given, FIELDS[action]) + _file_problems(action, files) + _exclusive(given, action)
        if self.outcome is Outcome.BAD_REQUEST and not found:
            found = [Problem("prompt", Wrong.TYPE, None, "string")]
        if found:
            return _error(400, "; ".join(f"{each.field}: {each.message}" for each in found))
        if self.outcome is Outcome.REFUSE:
            return _error(422, "Prompt failed the safety check.")
        size = _input_size(files["image"][0]) if action in FILES else None
        return web.json_response(self._paint(given, size))

    def _refused(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Api-Key") != self.credential:
            return _error(401, "Unauthorized")
        if self.outcome is Outcome.RATE_LIMIT:
            return _error(429, "Too many images in flight", reject_reason="inflight_limit", max_inflight_requests=10)
        if self.outcome is Outcome.NO_CREDIT:
            return _error(402, "Not enough balance", reject_reason="insufficient_funds")
        if self.outcome is Outcome.OUTAGE:
            return _error(503, "Service unavailable")
        return None

    async def _generate_2(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        action = f"{request.match_info['action']}/{request.match_info['model']}"
        if action not in FIELDS_2:
            return _error(404, "Not found")
        form = read_form(self.calls[-1].body, request.headers.get("Content-Type", ""))
        if form is None:
            return _error(400, "Content-Type must be multipart/form-data")
        texts, files = form
        given = typed(texts, FIELDS_2[action])
        source = "image" if action.startswith("precise-edit") else "images"
        known = {"image", "reference_images", "mask"} if source == "image" else {"images"}
        found = problems(given, FIELDS_2[action])
        found += [Problem(name, Wrong.UNKNOWN) for name in sorted(set(files) - known)]
        if source == "image" and "image" not in files:
            found.append(Problem("image", Wrong.MISSING))
        if source not in files and (given.get("quality") == "very_low" or given.get("size") == "source"):
            found.append(Problem("images", Wrong.MISSING))
        if self.outcome is Outcome.BAD_REQUEST and not found:
            found = [Problem("prompt", Wrong.TYPE, None, "string")]
        if found:
            return _error(400, "; ".join(f"{each.field}: {each.message}" for each in found))
        if self.outcome is Outcome.REFUSE:
            return _error(422, "Prompt failed the safety check.")
        of_input = _input_size(files[source][0]) if source in files else "2048x2048"
        asked = given.get("size")
        painted = self._paint({**given, "resolution": of_input if asked in {None, "auto", "source"} else asked}, None)
        data = [{name: value for name, value in each.items() if name != "style_type"} for each in painted["data"]]
        kind = {"generation_kind": "sampling", "generation_id": secrets.token_urlsafe(16), "seed": data[0]["seed"]}
        return web.json_response({**kind, "data": data})

    def _paint(self, given: Mapping[str, Any], of_input: str | None) -> dict[str, Any]:
        default = "1024x1024" if "prompt" in given else "2048x2048"
        resolution = given.get("resolution") or RATIOS.get(given.get("aspect_ratio", "")) or of_input or default
        width, height = (int(side) for side in resolution.split("x"))
        text = given.get("prompt") or given.get("text_prompt") or given["json_prompt"]
        first = given.get("seed", secrets.randbelow(2**31))
        data = []
        for number in range(given.get("num_images") or 1):
            painted = picture(width, height, "png", f"{text} {first} {number}")
            self.painted += 1
            data.append(
                {
                    "prompt": text,
                    "resolution": resolution,
                    "is_image_safe": not self.unsafe_pictures,
                    "seed": first + number,
                    "url": None if self.unsafe_pictures else self._host.put(self.url, painted, "png"),
                    "style_type": given.get("style_type") or "GENERAL",
                }
            )
        kind = {} if "prompt" in given else {"response_type": "url"}
        return {**kind, "created": datetime.now(UTC).isoformat(), "data": data}


def _input_size(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        return f"{image.width}x{image.height}"


def _file_problems(action: str, files: Mapping[str, list[bytes]]) -> list[Problem]:
    wanted = FILES.get(action, set())
    found = [Problem(name, Wrong.MISSING) for name in sorted(wanted - set(files))]
    return found + [Problem(name, Wrong.UNKNOWN) for name in sorted(set(files) - wanted)]


def _exclusive(given: Mapping[str, Any], action: str) -> list[Problem]:
    if "resolution" in given and "aspect_ratio" in given:
        return [Problem("aspect_ratio", Wrong.UNKNOWN)]
    if action.startswith("ideogram-v4"):
        if ("text_prompt" in given) == ("json_prompt" in given):
            return [Problem("text_prompt", Wrong.MISSING)]
        try:
            json.loads(given.get("json_prompt", "{}"))
        except ValueError:
            return [Problem("json_prompt", Wrong.TYPE, given["json_prompt"], "object")]
    return []


def _error(status: int, text: str, **more: Any) -> web.Response:
    return web.json_response({"error": text, **more}, status=status)
