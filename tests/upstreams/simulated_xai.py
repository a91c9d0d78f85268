"""xAI's Imagine API: `POST /v1/images/generations` and `/v1/images/edits`, both with JSON bodies.

Read on 2026-11-22: xAI's page on debugging errors (statuses), the official client `xai-sdk` 1.21.0 (`image.py`: fields,
ratios, resolutions, qualities), the AI SDK's provider (vercel/ai, `packages/xai/src/xai-image-model.ts`,
`xai-error.ts`: JSON shapes), LiteLLM 1.109.1's prices, and error bodies in public reports. xAI's reference of the two
routes was not to be had; the official client speaks gRPC, so none could be run against this.

A refused picture is billed: the refusal carries `usage.cost_in_usd_ticks` (ten thousand million to the dollar).

Not found, and so chosen here: the pixels of a ratio at 1k and 2k (the square of 1024 or 2048 shared out, sides
divisible by 16), the status for an empty account, most messages. Unknown fields are refused in the words publicly
reported for `size`; another report has it that `image` in a generation is ignored and billed.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from simulated import Outcome, Simulated, picture, sides
from strict import Check, Wrong, anything, check, choice, data_url, many, text, whole

RATIOS = (
    *("1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "9:19.5", "19.5:9", "9:20", "20:9", "1:2", "2:1"),
    "auto",
)
TICKS = {"grok-imagine-image": 200_000_000, "grok-imagine-image-2.0": 600_000_000}
"""What a picture costs, in the unit of `cost_in_usd_ticks`."""


class SimulatedXai(Simulated):
    """Serves `{url}/v1`."""

    name = "xai"
    documentation = (
        "https://docs.x.ai/developers/debugging (2026-11-22)",
        "xai-sdk 1.21.0, xai_sdk/image.py (2026-11-22)",
        "https://github.com/vercel/ai, packages/xai/src/xai-image-model.ts (2026-11-22)",
        "litellm 1.109.1, model prices (2026-11-22)",
    )
    models = tuple(TICKS)
    edits = models
    impossible: ClassVar[Mapping[Outcome, str]] = {Outcome.FAIL_LATER: "there are no jobs: an answer comes at once"}

    def __init__(self) -> None:
        super().__init__()
        self.refused_and_billed = 0
        """Pictures that nobody saw and that are on the bill all the same."""
        self.pictures: list[bytes] = []

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/v1/images/generations", self.generate),
            web.post("/v1/images/edits", self.edit),
            web.get("/xai-imgen/{number}.jpeg", self.show),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return web.Response(body=self.pictures[int(request.match_info["number"])], content_type="image/jpeg")

    async def generate(self, request: web.Request) -> web.Response:
        return self.order(request, FIELDS)

    async def edit(self, request: web.Request) -> web.Response:
        return self.order(request, {**FIELDS, "image": anything, "images": many(anything, 5, 1)})

    def order(self, request: web.Request, known: Mapping[str, Check]) -> web.Response:
        given = request.headers.get("Authorization")
        if given is None:
            return error(401, "Unauthenticated", "No authorization header is provided.")
        if given != f"Bearer {self.credential}":
            return error(400, "Client specified an invalid argument", "Incorrect API key provided.")
        body = self.calls[-1].json
        try:
            check(body, known, ("model", "prompt"))
            if body["model"] not in self.models:
                return error(404, "Not found", f"The model {body['model']} does not exist.")
            if "quality" in body and body["model"] != "grok-imagine-image-2.0":
                raise Wrong("unknown", "quality", "")
            if "image" in known:
                check_pictures(body)
        except Wrong as wrong:
            told = (
                f"Argument not supported: {wrong.param}"
                if wrong.kind == "unknown"
                else f"{wrong.param}: {wrong.detail}"
            )
            return error(400, "Client specified an invalid argument", told)
        if self.outcome is not Outcome.PAINT:
            return self.go_wrong(body)
        count = body.get("n", 1)
        data = [self.paint(body, number) for number in range(count)]
        return web.json_response({"data": data, "usage": {"cost_in_usd_ticks": TICKS[body["model"]] * count}})

    def paint(self, body: Mapping[str, Any], number: int) -> dict[str, Any]:
        ratio = body.get("aspect_ratio", "auto")
        width, height = sides(2048 if body.get("resolution") == "2k" else 1024, "1:1" if ratio == "auto" else ratio)
        data = picture(width, height, "jpeg", f"{body['prompt']} {number}")
        self.painted += 1
        if body.get("response_format", "url") == "b64_json":
            return {"b64_json": base64.b64encode(data).decode(), "revised_prompt": "", "mime_type": "image/jpeg"}
        self.pictures.append(data)
        url = f"{self.url}/xai-imgen/{len(self.pictures) - 1}.jpeg"
        return {"url": url, "revised_prompt": "", "mime_type": "image/jpeg"}

    def go_wrong(self, body: Mapping[str, Any]) -> web.Response:
        match self.outcome:
            case Outcome.REFUSE:
                count = body.get("n", 1)
                self.refused_and_billed += count
                usage = {"cost_in_usd_ticks": TICKS[body["model"]] * count}
                told = "Generated image rejected by content moderation."
                return error(400, "imagine:content-moderated", told, usage)
            case Outcome.RATE_LIMIT:
                told = "Too many requests for team simulated and model grok-imagine-image."
                return error(429, "Some resource has been exhausted", told)
            case Outcome.BAD_REQUEST:
                return error(400, "Client specified an invalid argument", "aspect_ratio is wrong")
            case Outcome.NO_CREDIT:
                told = "Your team has either used all available credits or reached its monthly spending limit."
                return error(429, "Some resource has been exhausted", told)
            case _:
                return error(503, "The service is currently unavailable", "Service temporarily unavailable.")


FIELDS: Mapping[str, Check] = {
    "model": text(),
    "prompt": text(shortest=1),
    "n": whole(1, 10),
    "response_format": choice("url", "b64_json"),
    "aspect_ratio": choice(*RATIOS),
    "resolution": choice("1k", "2k"),
    "quality": choice("low", "medium"),
    "user": text(),
    "storage_options": anything,
}
SOURCE: Mapping[str, Check] = {"url": text(), "type": choice("image_url")}


def check_pictures(body: Mapping[str, Any]) -> None:
    if ("image" in body) == ("images" in body):
        raise Wrong("invalid", "image", "exactly one of image and images is expected")
    for source in body.get("images", [body.get("image")]):
        check(source, SOURCE, ("url",), "image.")
        if not source["url"].startswith(("http://", "https://")) and data_url(source["url"]) is None:
            raise Wrong("invalid", "image.url", "expected a URL or a base64 data URL of an image")


def error(status: int, code: str, message: str, usage: Mapping[str, Any] | None = None) -> web.Response:
    return web.json_response({"code": code, "error": message, **({"usage": usage} if usage else {})}, status=status)
