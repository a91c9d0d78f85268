"""Together AI's `POST /v1/images/generations`.

Read on 2026-11-22: the reference of that route, the pages "images overview", "parameters", "reference images" and
"error codes", and the official client `together` 3.1.1 (made from Together's OpenAPI document).

Run once against `together` 3.1.1, base64 and URL.

A picture's URL is answered with 403 where the request has no `User-Agent`, as documented. Not found, and so chosen
here: the range of width and height (64 to 2048; only "multiples of 8" is documented), the headers of a rate limit, the
wording of messages.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from simulated import Outcome, Simulated, picture
from strict import Wrong, anything, check, choice, data_url, flag, many, number, text, whole

SINGLE = (
    "black-forest-labs/FLUX.1-kontext-pro",
    "black-forest-labs/FLUX.1-kontext-max",
    "black-forest-labs/FLUX.2-pro",
    "black-forest-labs/FLUX.2-flex",
)
"""Take one picture in `image_url`."""
SEVERAL = (
    "black-forest-labs/FLUX.2-pro",
    "black-forest-labs/FLUX.2-dev",
    "black-forest-labs/FLUX.2-flex",
    "google/gemini-3-pro-image",
    "google/flash-image-2.5",
)
"""Take pictures in `reference_images`."""
BY_RATIO = ("black-forest-labs/FLUX.1-schnell", *SINGLE[:2])
"""Are sized by `aspect_ratio`, says the page on parameters; the reference's examples give width and height as well."""


class SimulatedTogether(Simulated):
    """Serves `{url}/v1`."""

    name = "together"
    documentation = (
        "https://docs.together.ai/reference/post-images-generations (2026-11-22)",
        "https://docs.together.ai/docs/images-overview (2026-11-22)",
        "https://docs.together.ai/docs/inference/images/parameters (2026-11-22)",
        "https://docs.together.ai/docs/inference/images/reference-images (2026-11-22)",
        "https://docs.together.ai/docs/error-codes (2026-11-22)",
        "together 3.1.1, together/types/image_generate_params.py, image_file.py (2026-11-22)",
    )
    edits = tuple(dict.fromkeys((*SINGLE, *SEVERAL)))
    models = (
        "black-forest-labs/FLUX.1-schnell",
        "black-forest-labs/FLUX.1.1-pro",
        "black-forest-labs/FLUX.2-max",
        *edits,
    )
    impossible: ClassVar[Mapping[Outcome, str]] = {
        Outcome.FAIL_LATER: "there are no jobs: an answer comes at once",
        Outcome.REFUSE: "there is a safety checker, but no page found says what it answers",
    }

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[tuple[str, bytes]] = []
        """What is at `/shrt/{number}`: media type and bytes."""

    def routes(self) -> Sequence[web.RouteDef]:
        return [web.post("/v1/images/generations", self.generate), web.get("/shrt/{number}", self.show)]

    async def show(self, request: web.Request) -> web.Response:
        if not request.headers.get("User-Agent"):
            return web.Response(status=403)
        kind, data = self.pictures[int(request.match_info["number"])]
        return web.Response(body=data, content_type=kind)

    async def generate(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization", "") != f"Bearer {self.credential}":
            return error(401, "Invalid API key provided.", "invalid_request_error", code="invalid_api_key")
        body = self.calls[-1].json
        try:
            check(body, BODY, ("model", "prompt"))
            if body["model"] not in self.models:
                message = f"Unable to access model {body['model']}."
                return error(404, message, "invalid_request_error", code="model_not_available")
            check_inputs(body)
        except Wrong as wrong:
            return error(400, f"{wrong.param}: {wrong.detail}", "invalid_request_error", wrong.param)
        if self.outcome is not Outcome.PAINT:
            return self.go_wrong()
        data = [self.paint(body, number) for number in range(body.get("n", 1))]
        answer = {"id": "oAbCdEf-4YNCb4-simulated", "model": body["model"], "object": "list", "data": data}
        return web.json_response(answer)

    def paint(self, body: Mapping[str, Any], index: int) -> dict[str, Any]:
        encoding = body.get("output_format", "jpeg")
        data = picture(body.get("width", 1024), body.get("height", 1024), encoding, f"{body['prompt']} {index}")
        self.painted += 1
        if body.get("response_format", "url") == "base64":
            return {"index": index, "b64_json": base64.b64encode(data).decode(), "type": "b64_json"}
        self.pictures.append((f"image/{encoding}", data))
        return {"index": index, "url": f"{self.url}/shrt/{len(self.pictures) - 1}", "type": "url"}

    def go_wrong(self) -> web.Response:
        match self.outcome:
            case Outcome.RATE_LIMIT:
                headers = {"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "2"}
                return error(429, "Too many requests.", "rate_limit", code="rate_limit", headers=headers)
            case Outcome.BAD_REQUEST:
                return error(400, "steps must be between 1 and 4", "invalid_request_error", "steps")
            case Outcome.NO_CREDIT:
                return error(402, "Credit limit exceeded.", "credit_limit", code="credit_limit")
            case _:
                return error(503, "The server is overloaded or not ready yet.", "service_unavailable")


def eighths(value: Any) -> str | None:
    return whole(64, 2048)(value) or (f"expected a multiple of 8, but got {value}" if value % 8 else None)


LORA = {"path": text(), "scale": number()}
BODY = {
    "model": text(),
    "prompt": text(shortest=1),
    "disable_safety_checker": flag,
    "guidance_scale": number(0),
    "height": eighths,
    "image_loras": many(anything),
    "image_url": text(),
    "n": whole(1, 4),
    "negative_prompt": text(),
    "output_format": choice("jpeg", "png"),
    "reference_images": many(text()),
    "response_format": choice("base64", "url"),
    "seed": whole(),
    "steps": whole(1, 50),
    "width": eighths,
}


def check_inputs(body: Mapping[str, Any]) -> None:
    for lora in body.get("image_loras", []):
        check(lora, LORA, ("path", "scale"), "image_loras[].")
    if "image_url" in body and body["model"] not in SINGLE:
        raise Wrong("invalid", "image_url", "is not supported by this model")
    if "reference_images" in body and body["model"] not in SEVERAL:
        raise Wrong("invalid", "reference_images", "is not supported by this model")
    for url in (*body.get("reference_images", []), *([body["image_url"]] if "image_url" in body else [])):
        if not url.startswith(("http://", "https://")) and data_url(url) is None:
            raise Wrong("invalid", "image_url", "expected a URL of an image")


def error(
    status: int,
    message: str,
    type_: str,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    body = {"id": "simulated", "error": {"message": message, "type": type_, "param": param, "code": code}}
    return web.json_response(body, status=status, headers=headers)
