"""OpenRouter's Image API, `POST /api/v1/images`.

Read on 2026-11-22: the blog's tutorial of the Image API, the guide to image generation, and the official client
`openrouter` 1.3.84 (made from OpenRouter's OpenAPI document): `images.py`, `components/imagegeneration*.py`, `errors/`;
and the page on errors: an error after a model began its work comes in a 200, as `error` in the body.

Run once against `openrouter` 1.3.84.

The older way, `POST /api/v1/chat/completions` with `modalities`, is documented still and not simulated. Not found, and
so chosen here: the pixels that a resolution and a ratio come to ("derived per-provider"; here the tier's square shared
out by the ratio, sides divisible by 16), which model takes which value, the wording of most messages; that a refusal is
a 403 with `metadata.reasons` is documented for moderation in general, not for pictures in particular.
"""

import base64
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from simulated import Outcome, Simulated, picture, sides
from strict import Wrong, anything, check, choice, data_url, flag, many, text, whole

RATIOS = (
    *("1:1", "1:2", "1:4", "1:8", "2:1", "2:3", "2.35:1", "3:2", "3:4", "4:1", "4:3", "4:5", "5:2", "5:4", "5:7"),
    *("7:5", "8:1", "9:16", "16:9", "9:19.5", "19.5:9", "9:20", "20:9", "9:21", "21:9", "auto"),
)
EDGES = {"512": 512, "768": 768, "1K": 1024, "1.5K": 1536, "2K": 2048, "4K": 4096}


class SimulatedOpenrouter(Simulated):
    """Serves `{url}/api/v1`."""

    name = "openrouter"
    documentation = (
        "https://openrouter.ai/blog/tutorials/image-generation/ (2026-11-22)",
        "https://openrouter.ai/docs/guides/overview/multimodal/image-generation (2026-11-22)",
        "https://openrouter.ai/docs/errors (2026-11-22)",
        "openrouter 1.3.84, openrouter/images.py, components, errors (2026-11-22)",
    )
    models = (
        "google/gemini-3-pro-image",
        "google/gemini-2.5-flash-image",
        "openai/gpt-image-2",
        "black-forest-labs/flux.2-pro",
        "bytedance-seed/seedream-4.5",
    )
    edits = models
    impossible: ClassVar[Mapping[Outcome, str]] = {Outcome.FAIL_LATER: "there are no jobs: an answer comes at once"}

    def __init__(self) -> None:
        super().__init__()
        self.began = False
        """Whether an outage comes after the model began, and so in a 200."""

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/api/v1/images", self.generate), web.get("/api/v1/images/models", self.list_models)]

    async def list_models(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name, "name": name} for name in self.models]})

    async def generate(self, request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not given:
            return error(401, "No auth credentials found")
        if given != f"Bearer {self.credential}":
            return error(401, "User not found.")
        body = self.calls[-1].json
        try:
            check(body, BODY, ("model", "prompt"))
            for reference in body.get("input_references", []):
                check_reference(reference)
            width, height = size(body)
        except Wrong as wrong:
            return error(400, f"{wrong.param}: {wrong.detail}")
        if body["model"] not in self.models:
            return error(404, f"No endpoints found for {body['model']}.")
        if self.outcome is not Outcome.PAINT:
            return self.go_wrong(body)
        return self.answer(body, width, height)

    def answer(self, body: Mapping[str, Any], width: int, height: int) -> web.Response:
        encoding = body.get("output_format", "png")
        count = body.get("n", 1)
        self.painted += count
        data = [
            {
                "b64_json": base64.b64encode(picture(width, height, encoding, f"{body['prompt']} {number}")).decode(),
                "media_type": f"image/{encoding}",
            }
            for number in range(count)
        ]
        usage = {"prompt_tokens": 10, "completion_tokens": 1000, "total_tokens": 1010, "cost": 0.04 * count}
        return web.json_response({"created": int(time.time()), "data": data, "usage": usage})

    def go_wrong(self, body: Mapping[str, Any]) -> web.Response:
        match self.outcome:
            case Outcome.REFUSE:
                reasons = {"reasons": ["sexual"], "flagged_input": body["prompt"][:100], "provider_name": "OpenAI"}
                return error(403, "Your input was flagged by moderation.", {**reasons, "model_slug": body["model"]})
            case Outcome.RATE_LIMIT:
                told = {"X-RateLimit-Limit": "20", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795000000000"}
                return error(429, "Rate limit exceeded", {"headers": told}, {**told, "Retry-After": "2"})
            case Outcome.BAD_REQUEST:
                return error(400, "Provider returned error", {"provider_name": "OpenAI", "raw": "Invalid size"})
            case Outcome.NO_CREDIT:
                return error(402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits")
            case _ if self.began:
                told = {"code": 502, "message": "Provider returned error", "metadata": {"provider_name": "OpenAI"}}
                return web.json_response({"error": told})
            case _:
                return error(502, "Provider returned error", {"provider_name": "OpenAI", "raw": "upstream down"})


BODY = {
    "model": text(),
    "prompt": text(shortest=1),
    "aspect_ratio": choice(*RATIOS),
    "background": choice("auto", "transparent", "opaque"),
    "input_references": many(anything),
    "n": whole(1, 10),
    "output_compression": whole(0, 100),
    "output_format": choice("png", "jpeg", "webp"),
    "provider": anything,
    "quality": choice("auto", "low", "medium", "high", "xhigh", "max"),
    "resolution": choice(*EDGES),
    "seed": whole(),
    "session_id": text(256),
    "size": text(),
    "stream": flag,
    "trace": anything,
    "user": text(),
}


def error(
    status: int,
    message: str,
    metadata: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    told = {"code": status, "message": message, **({"metadata": metadata} if metadata else {})}
    return web.json_response({"error": told}, status=status, headers=headers)


def check_reference(reference: Any) -> None:
    check(reference, {"type": choice("image_url"), "image_url": anything}, ("type", "image_url"), "input_references[].")
    check(reference["image_url"], {"url": text()}, ("url",), "input_references[].image_url.")
    url = reference["image_url"]["url"]
    if not url.startswith(("http://", "https://")) and data_url(url) is None:
        raise Wrong("invalid", "input_references[].image_url.url", "expected a base64 data URL or an HTTP(S) URL")


def size(body: Mapping[str, Any]) -> tuple[int, int]:
    """Explicit pixels rule, and what does not match them is an error; a tier in `size` is a `resolution`."""
    wanted = body.get("size", body.get("resolution", "1K"))
    found = re.fullmatch(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})", wanted)
    if found:
        width, height = int(found[1]), int(found[2])
        ratio = body.get("aspect_ratio", "auto")
        if "resolution" in body or (ratio != "auto" and abs(share(ratio) - width / height) > 0.01):
            raise Wrong("invalid", "size", "does not match resolution or aspect_ratio")
        return width, height
    if wanted not in EDGES:
        raise Wrong("invalid", "size", "expected a tier or WIDTHxHEIGHT")
    ratio = body.get("aspect_ratio", "auto")
    return sides(EDGES[wanted], "1:1" if ratio == "auto" else ratio)


def share(ratio: str) -> float:
    width, height = ratio.split(":")
    return float(width) / float(height)
