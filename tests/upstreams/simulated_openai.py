"""OpenAI's Images API as its reference and official client describe it.

Read on 2026-11-22: the reference page of "Create image", the types of `openai` 3.54.0 (made from OpenAI's OpenAPI
document), the guide to error codes, and published error bodies (unknown parameter: vercel/ai, package `openai`, fixture
`gpt-image-response-format-error.json`; refusal: openai/codex and ucx0204/CarrotMangaTranslator issues 122, 123).

Run once against `openai` 3.54.0, generations and edits.

The pixel and edge limits of the freely sized models are those that OpenAI's guide gave for `gpt-image-2`; they were
found in copies of it only.

Streams are as the types of `openai` 3.54.0 describe their events and its decoder reads them; a partial picture costs
100 output tokens, as the guide to image generation says (https://developers.openai.com/api/docs/guides/image-generation,
2026-11-22).

Not found, and so chosen here: what `auto` comes to (1024x1024), the wording of most messages, what a stream of several
pictures looks like (there is none). Documented but not simulated: GIF and SVG (previews), `markup`, edits sent as JSON.
"""

import base64
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, ClassVar

from aiohttp import web
from simulated import Outcome, Simulated, picture
from strict import Check, Wrong, check, choice, flag, parts, picture_format, picture_size, text, whole

FIXED_SIZES = ("1024x1024", "1536x1024", "1024x1536", "auto")
FREE_SIZE = re.compile(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})")
RATES = {
    "x-ratelimit-limit-requests": "50",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "1.2s",
    "retry-after": "2",
    "retry-after-ms": "1200",
}


class SimulatedOpenai(Simulated):
    """Serves `{url}/v1`; also what an OpenAI-compatible server is expected to be."""

    name = "openai"
    documentation = (
        "https://developers.openai.com/api/reference/resources/images/methods/generate (2026-11-22)",
        "https://developers.openai.com/docs/guides/error-codes (2026-11-22)",
        "openai 3.54.0, types/image_generate_params.py, types/image_edit_params.py (2026-11-22)",
    )
    models = (
        "gpt-image-2.6-sunburst",
        "gpt-image-2.6-flare",
        "gpt-image-2.5-sunburst",
        "gpt-image-2.5-flare",
        "gpt-image-2",
        "gpt-image-1.5",
        "gpt-image-1-mini",
        "chatgpt-image-latest",
    )
    edits = models
    impossible: ClassVar[Mapping[Outcome, str]] = {Outcome.FAIL_LATER: "there are no jobs: an answer comes at once"}

    def __init__(self) -> None:
        super().__init__()
        self.before_event: Callable[[int], Awaitable[None]] | None = None
        """Called before each event of a stream with its number, from 0."""

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/v1/images/generations", self.generate),
            web.post("/v1/images/edits", self.edit),
            web.get("/v1/models", self.list_models),
        ]

    async def list_models(self, request: web.Request) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "system"} for name in self.models]
        return web.json_response({"object": "list", "data": rows})

    async def generate(self, request: web.Request) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        if request.content_type != "application/json" or not isinstance(self.calls[-1].json, dict):
            return self.error(415, "Unsupported content type; expected 'application/json'.", "invalid_request_error")
        body = {name: value for name, value in self.calls[-1].json.items() if value is not None}
        return self.paint(request, body, generation_fields(self.asked_for(request, body)), [])

    async def edit(self, request: web.Request) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        try:
            body, pictures, mask = read_edit(request.headers.get("content-type", ""), self.calls[-1].body)
            check_pictures(pictures, mask)
        except Wrong as wrong:
            return self.found_wrong(wrong)
        model = self.asked_for(request, body)
        known = {**generation_fields(model), "input_fidelity": choice("high", "low")}
        if model not in ("gpt-image-1.5", "chatgpt-image-latest"):
            known["input_fidelity"] = only_low if model == "gpt-image-1-mini" else unsupported
        return self.paint(request, body, known, pictures)

    def paint(
        self, request: web.Request, body: dict[str, Any], known: Mapping[str, Check], pictures: Sequence[bytes]
    ) -> web.Response:
        try:
            check(body, known, ("prompt",))
            check_together(body)
        except Wrong as wrong:
            return self.found_wrong(wrong)
        if missing := self.no_such_model(request, body):
            return missing
        if self.outcome is not Outcome.PAINT:
            return self.go_wrong(body)
        return self.answer(body, pictures)

    def answer(self, body: dict[str, Any], pictures: Sequence[bytes]) -> web.Response:
        count = body.get("n", 1)
        size = body.get("size", "auto")
        width, height = (1024, 1024) if size == "auto" else map(int, size.split("x"))
        encoding = body.get("output_format", "png")
        painted = [picture(width, height, encoding, f"{body['prompt']} {number}") for number in range(count)]
        self.painted += count
        quality = body.get("quality", "auto")
        background = body.get("background", "auto")
        facts = {
            "background": "opaque" if background == "auto" else background,
            "output_format": encoding,
            "quality": "high" if quality == "auto" else quality,
            "size": f"{width}x{height}",
        }
        headers = {"x-request-id": "req_0123456789abcdef", "openai-processing-ms": "1200"}
        if body.get("stream"):
            kind = "image_edit" if pictures else "image_generation"
            wanted = body.get("partial_images", 0)
            partial = [picture(width, height, encoding, f"{body['prompt']} so far {index}") for index in range(wanted)]
            usage = usage_of(body, len(pictures), count, wanted)
            stream = self.events(kind, partial, painted, facts, usage)
            return web.Response(body=stream, content_type="text/event-stream", headers=headers)
        return web.json_response(
            {
                "created": int(time.time()),
                **facts,
                "data": [{"b64_json": base64.b64encode(data).decode()} for data in painted],
                "usage": usage_of(body, len(pictures), count),
            },
            headers=headers,
        )

    async def events(
        self, kind: str, partial: Sequence[bytes], painted: Sequence[bytes], facts: Mapping[str, Any], usage: Any
    ) -> AsyncIterator[bytes]:
        """The body of a stream."""
        common = {"created_at": int(time.time()), **facts}
        for index, data in enumerate(partial):
            if self.before_event is not None:
                await self.before_event(index)
            yield event(f"{kind}.partial_image", data, {**common, "partial_image_index": index})
        for number, data in enumerate(painted, len(partial)):
            if self.before_event is not None:
                await self.before_event(number)
            yield event(f"{kind}.completed", data, {**common, "usage": usage})

    def asked_for(self, _request: web.Request, body: Mapping[str, Any]) -> str:
        """The model's name, or nothing."""
        return str(body.get("model", ""))

    def unauthorised(self, request: web.Request) -> web.Response | None:
        header = request.headers.get("Authorization", "")
        if not header:
            return self.error(401, "You didn't provide an API key.", "invalid_request_error")
        if header != f"Bearer {self.credential}":
            return self.error(401, "Incorrect API key provided.", "invalid_request_error", code="invalid_api_key")
        return None

    def no_such_model(self, request: web.Request, body: Mapping[str, Any]) -> web.Response | None:
        if "model" not in body:
            return self.found_wrong(Wrong("missing", "model", "is required"))
        if body["model"] in self.models:
            return None
        message = f"The model '{body['model']}' does not exist or you do not have access to it."
        return self.error(404, message, "invalid_request_error", "model", "model_not_found")

    def go_wrong(self, body: Mapping[str, Any]) -> web.Response:
        match self.outcome:
            case Outcome.REFUSE:
                return self.refusal()
            case Outcome.RATE_LIMIT:
                message = "Rate limit reached for images per min: Limit 5, Used 5, Requested 1. Try again in 1.2s."
                return self.error(429, message, "rate_limit_error", code="rate_limit_exceeded", headers=RATES)
            case Outcome.BAD_REQUEST:
                return self.found_wrong(Wrong("invalid", "size", repr(body.get("size"))))
            case Outcome.NO_CREDIT:
                message = "You exceeded your current quota, please check your plan and billing details."
                return self.error(429, message, "insufficient_quota", code="insufficient_quota")
            case _:
                message = "The server had an error while processing your request. Sorry about that!"
                return self.error(500, message, "server_error")

    def refusal(self) -> web.Response:
        message = (
            "Your request was rejected by the safety system. If you believe this is an error, contact us at "
            "help.openai.com and include the request ID req_0123456789abcdef. safety_violations=[sexual]."
        )
        details = {"moderation_details": {"moderation_stage": "input", "categories": ["sexual"]}}
        return self.error(400, message, "image_generation_user_error", code="moderation_blocked", more=details)

    def found_wrong(self, wrong: Wrong) -> web.Response:
        kinds = {
            "unknown": (f"Unknown parameter: '{wrong.param}'.", "unknown_parameter"),
            "missing": (f"Missing required parameter: '{wrong.param}'.", "missing_required_parameter"),
            "invalid": (f"Invalid value: {wrong.detail}.", "invalid_value"),
        }
        message, code = kinds[wrong.kind]
        return self.error(400, message, "invalid_request_error", wrong.param or None, code)

    def error(
        self,
        status: int,
        message: str,
        type_: str,
        param: str | None = None,
        code: str | None = None,
        *,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> web.Response:
        body = {"error": {"message": message, "type": type_, "param": param, "code": code, **(more or {})}}
        return web.json_response(
            body, status=status, headers={"x-request-id": "req_0123456789abcdef", **(headers or {})}
        )


def usage_of(body: Mapping[str, Any], pictures: int, count: int, partial: int = 0) -> dict[str, Any]:
    words, drawn = len(body["prompt"].split()), 1000 * count + 100 * partial
    return {
        "input_tokens": words + 300 * pictures,
        "input_tokens_details": {"image_tokens": 300 * pictures, "text_tokens": words},
        "output_tokens": drawn,
        "output_tokens_details": {"image_tokens": drawn, "text_tokens": 0},
        "total_tokens": words + 300 * pictures + drawn,
    }


def event(name: str, data: bytes, facts: Mapping[str, Any]) -> bytes:
    """One event with a picture."""
    document = {"type": name, "b64_json": base64.b64encode(data).decode(), **facts}
    return f"event: {name}\ndata: {json.dumps(document)}\n\n".encode()


def generation_fields(model: str) -> dict[str, Check]:
    finest = ("xhigh", "max") if model.startswith(("gpt-image-2.5", "gpt-image-2.6")) else ()
    return {
        "prompt": text(32000, 1),
        "model": text(),
        "background": choice("transparent", "opaque", "auto"),
        "complexity": choice("low", "medium", "high"),
        "moderation": choice("low", "auto"),
        "n": whole(1, 10),
        "output_compression": whole(0, 100),
        "output_format": choice("png", "webp", "jpeg"),
        "partial_images": whole(0, 3),
        "stream": flag,
        "quality": choice("low", "medium", "high", *finest, "auto"),
        "safety_identifier": text(),
        "size": free_size if model.startswith("gpt-image-2") else choice(*FIXED_SIZES),
        "user": text(),
    }


def free_size(value: Any) -> str | None:
    """Both sides divisible by 16 and 3840 at most, between 1:3 and 3:1, 655,360 to 8,294,400 pixels."""
    if value == "auto":
        return None
    found = FREE_SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        return f"{value!r}. Expected WIDTHxHEIGHT or 'auto'"
    width, height = int(found[1]), int(found[2])
    if width % 16 or height % 16:
        return f"{value!r}. Width and height must both be divisible by 16"
    if not Fraction(1, 3) <= Fraction(width, height) <= 3:
        return f"{value!r}. The aspect ratio must be between 1:3 and 3:1"
    if max(width, height) > 3840 or not 655_360 <= width * height <= 3840 * 2160:
        return f"{value!r}. Total pixels must be between 655,360 and 8,294,400, no edge above 3840"
    return None


def unsupported(value: Any) -> str:
    return f"{value!r}. The model does not support the 'input_fidelity' parameter"


def only_low(value: Any) -> str | None:
    return choice("low")(value)


def check_together(body: Mapping[str, Any]) -> None:
    encoding = body.get("output_format", "png")
    if body.get("background") == "transparent" and encoding == "jpeg":
        raise Wrong("invalid", "background", "transparent background needs output format 'png' or 'webp'")
    if encoding == "png" and body.get("output_compression", 100) != 100:
        raise Wrong("invalid", "output_compression", "compression below 100 needs output format 'webp' or 'jpeg'")
    if body.get("partial_images") and not body.get("stream"):
        raise Wrong("invalid", "partial_images", "only with stream: true")


def read_edit(content_type: str, body: bytes) -> tuple[dict[str, Any], list[bytes], bytes | None]:
    """The fields of a multipart edit, numbers as numbers; its pictures; its mask."""
    fields: dict[str, Any] = {}
    pictures: list[bytes] = []
    mask = None
    for part in parts(content_type, body):
        if part.name in ("image", "image[]"):
            pictures.append(part.raw)
        elif part.name == "mask":
            mask = part.raw
        elif part.name in ("n", "output_compression", "partial_images") and part.value.isdecimal():
            fields[part.name] = int(part.value)
        elif part.name == "stream" and part.value in ("true", "false"):
            fields[part.name] = part.value == "true"
        else:
            fields[part.name] = part.value
    return fields, pictures, mask


def check_pictures(pictures: Sequence[bytes], mask: bytes | None) -> None:
    if not pictures:
        raise Wrong("missing", "image", "is required")
    if len(pictures) > 16:
        raise Wrong("invalid", "image", "at most 16 images")
    for data in pictures:
        if picture_format(data) not in ("PNG", "WEBP", "JPEG") or len(data) >= 50_000_000:
            raise Wrong("invalid", "image", "expected a png, webp or jpg file less than 50MB")
    if mask is None:
        return
    if picture_format(mask) != "PNG" or len(mask) >= 4_000_000:
        raise Wrong("invalid", "mask", "expected a PNG file less than 4MB")
    if picture_size(mask) != picture_size(pictures[0]):
        raise Wrong("invalid", "mask", "expected the same dimensions as image")
