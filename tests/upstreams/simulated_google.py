"""Google's Gemini API: pictures by `generateContent`.

Read on 2026-11-22: `google-genai` 3.4.0 (types, the conversion to the Developer API, its client's headers), the page of
deprecations, LiteLLM 1.109.1's `gemini` provider, copies of the table "aspect ratios and image size" of the guide to
image generation, and error bodies in public reports.

Imagen is gone: every Imagen model was shut down between 2026-06-24 and 2026-08-17 in favour of the Gemini image models,
so `:predict` here answers that the model is not found.

Run once against `google-genai` 3.4.0, with and without input pictures.

Not found, and so chosen here: that pictures come as PNG; the pixels of `gemini-nano-banana-2.1` (those of 3.1 Flash
Image, which has the same ratios and sizes); how an empty prepaid account is told (as publicly reported). A public
report says that `gemini-3.1-flash-image` was shut down on 2026-10-29; the official page has no such date.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from aiohttp import web
from simulated import Outcome, Simulated, picture
from strict import Check, Wrong, anything, check, choice, many, number, picture_base64, picture_size, text, whole

FLASH_25 = {
    "1:1": (1024, 1024),
    "2:3": (832, 1248),
    "3:2": (1248, 832),
    "3:4": (864, 1184),
    "4:3": (1184, 864),
    "4:5": (896, 1152),
    "5:4": (1152, 896),
    "9:16": (768, 1344),
    "16:9": (1344, 768),
    "21:9": (1536, 672),
}
"""`gemini-2.5-flash-image`, which has no `imageSize`."""
PRO_3 = {
    "1:1": (1024, 1024),
    "2:3": (848, 1264),
    "3:2": (1264, 848),
    "3:4": (896, 1200),
    "4:3": (1200, 896),
    "4:5": (928, 1152),
    "5:4": (1152, 928),
    "9:16": (768, 1376),
    "16:9": (1376, 768),
    "21:9": (1584, 672),
}
"""1K; 2K and 4K are twice and four times that."""
FLASH_31 = {**PRO_3, "1:4": (512, 2048), "4:1": (2048, 512), "1:8": (384, 3072), "8:1": (3072, 384)}
SCALES = {"512": 0.5, "1K": 1, "2K": 2, "4K": 4}
SIZES: Mapping[str, tuple[Mapping[str, tuple[int, int]], Sequence[str]]] = {
    "gemini-nano-banana-2.1": (FLASH_31, ("1K", "2K", "4K")),
    "gemini-3-pro-image": (PRO_3, ("1K", "2K", "4K")),
    "gemini-3.1-flash-image": (FLASH_31, ("512", "1K", "2K", "4K")),
    "gemini-2.5-flash-image": (FLASH_25, ()),
}
BOTH = ["TEXT", "IMAGE"]


class SimulatedGoogle(Simulated):
    """Serves `{url}/v1beta` and `{url}/v1`, which `google-genai` 3.4.0 asks for unless told otherwise."""

    name = "google"
    documentation = (
        "https://ai.google.dev/gemini-api/docs/image-generation (in copies; 2026-11-22)",
        "https://ai.google.dev/gemini-api/docs/deprecations (2026-11-22)",
        "google-genai 3.4.0, google/genai/types.py, models.py, _api_client.py (2026-11-22)",
    )
    models = tuple(SIZES)
    edits = models
    impossible: ClassVar[Mapping[Outcome, str]] = {Outcome.FAIL_LATER: "there are no jobs: an answer comes at once"}

    def __init__(self) -> None:
        super().__init__()
        self.refuses_picture = False
        """Whether a refusal is of the finished picture (`IMAGE_SAFETY`) and not of the prompt."""

    def routes(self) -> Sequence[web.RouteDef]:
        return [
            web.post("/{version:v1|v1beta}/models/{model}:generateContent", self.generate),
            web.post("/{version:v1|v1beta}/models/{model}:predict", self.predict),
            web.get("/{version:v1|v1beta}/models", self.list_models),
        ]

    async def list_models(self, request: web.Request) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        rows = [{"name": f"models/{name}", "supportedGenerationMethods": ["generateContent"]} for name in self.models]
        return web.json_response({"models": rows})

    async def predict(self, request: web.Request) -> web.Response:
        return self.unauthorised(request) or self.no_such_model(request.match_info["model"], "predict")

    async def generate(self, request: web.Request) -> web.Response:
        if refused := self.unauthorised(request):
            return refused
        model = request.match_info["model"]
        if model not in self.models:
            return self.no_such_model(model, "generateContent")
        try:
            prompt, pictures = read_contents(read_body(self.calls[-1].json))
            width, height = self.size(model, self.calls[-1].json.get("generationConfig", {}), pictures)
        except Wrong as wrong:
            return self.found_wrong(wrong)
        if self.outcome is not Outcome.PAINT:
            return self.go_wrong(model)
        self.painted += 1
        data = base64.b64encode(picture(width, height, "png", prompt)).decode()
        content = {"role": "model", "parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}
        return self.answer(model, {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]})

    def size(self, model: str, config: Mapping[str, Any], pictures: Sequence[bytes]) -> tuple[int, int]:
        ratios, scales = SIZES[model]
        known = {"aspectRatio": choice(*ratios), "imageSize": choice(*scales)}
        wanted = check(config.get("imageConfig", {}), known, path="generation_config.image_config.")
        ratio = wanted.get("aspectRatio") or nearest(ratios, pictures)
        scale = wanted.get("imageSize", "1K")
        if (ratio, scale) == ("21:9", "512"):
            return 792, 168  # as the table has it
        return int(ratios[ratio][0] * SCALES[scale]), int(ratios[ratio][1] * SCALES[scale])

    def answer(self, model: str, more: Mapping[str, Any], drawn: int = 1120) -> web.Response:
        usage = {
            "promptTokenCount": 10,
            "candidatesTokenCount": drawn,
            "totalTokenCount": 10 + drawn,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": drawn}],
        }
        return web.json_response({**more, "usageMetadata": usage, "modelVersion": model, "responseId": "simulated"})

    def unauthorised(self, request: web.Request) -> web.Response | None:
        key = request.headers.get("x-goog-api-key") or request.query.get("key")
        if not key:
            message = "Method doesn't allow unregistered callers (callers without established identity)."
            return self.error(403, "PERMISSION_DENIED", message)
        if key != self.credential:
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "API_KEY_INVALID",
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }
            return self.error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [info])
        return None

    def no_such_model(self, model: str, method: str) -> web.Response:
        message = f"models/{model} is not found for API version v1beta, or is not supported for {method}."
        return self.error(404, "NOT_FOUND", message)

    def found_wrong(self, wrong: Wrong) -> web.Response:
        message = f"{wrong.param}: {wrong.detail}"
        if wrong.kind == "unknown":
            message = f'Invalid JSON payload received. Unknown name "{wrong.param}": Cannot find field.'
        violation = {"field": wrong.param, "description": message}
        details = [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}]
        return self.error(400, "INVALID_ARGUMENT", message, details)

    def go_wrong(self, model: str) -> web.Response:
        match self.outcome:
            case Outcome.REFUSE if self.refuses_picture:
                told = "Unable to show the generated image. The image was filtered out because it violated policy."
                candidate = {"content": {}, "finishReason": "IMAGE_SAFETY", "finishMessage": told, "index": 0}
                return self.answer(model, {"candidates": [candidate]}, 0)
            case Outcome.REFUSE:
                return self.answer(model, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, 0)
            case Outcome.RATE_LIMIT:
                message = "You exceeded your current quota, please check your plan and billing details."
                return self.error(429, "RESOURCE_EXHAUSTED", f"{message}\nPlease retry in 6.134954342s.", QUOTA)
            case Outcome.BAD_REQUEST:
                return self.error(400, "INVALID_ARGUMENT", "Request contains an invalid argument.")
            case Outcome.NO_CREDIT:
                return self.error(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted.")
            case _:
                return self.error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")

    def error(
        self, status: int, word: str, message: str, details: Sequence[Mapping[str, Any]] | None = None
    ) -> web.Response:
        error = {"code": status, "message": message, "status": word, **({"details": details} if details else {})}
        return web.json_response({"error": error}, status=status)


QUOTA = [
    {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [
            {
                "quotaMetric": "generativelanguage.googleapis.com/generate_content_paid_tier_requests",
                "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-PaidTier",
            }
        ],
    },
    {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "6s"},
]
CONFIG: Mapping[str, Check] = {
    "responseModalities": lambda value: None if sorted(value) in (["IMAGE"], sorted(BOTH)) else f"{value}",
    "imageConfig": anything,
    "candidateCount": whole(1, 1),
    "seed": whole(-(2**31), 2**31 - 1),
    "temperature": number(0, 2),
    "topP": number(0, 1),
    "topK": number(0),
    "maxOutputTokens": whole(1),
    "thinkingConfig": anything,
}
BODY: Mapping[str, Check] = {
    "contents": many(anything, least=1),
    "generationConfig": anything,
    "safetySettings": many(anything),
    "systemInstruction": anything,
    "tools": many(anything),
}


def read_body(body: Any) -> dict[str, Any]:
    """The body, its fields known; `responseModalities` is `TEXT` and `IMAGE` unless it says `IMAGE`."""
    check(body, BODY, ("contents",))
    check(body.get("generationConfig", {}), CONFIG, path="generation_config.")
    return body


def read_contents(body: Mapping[str, Any]) -> tuple[str, list[bytes]]:
    words: list[str] = []
    pictures: list[bytes] = []
    for content in body["contents"]:
        check(content, {"role": choice("user", "model"), "parts": many(anything, least=1)}, ("parts",), "contents[].")
        for part in content["parts"]:
            check(part, {"text": text(), "inlineData": anything}, path="contents[].parts[].")
            if "inlineData" in part:
                pictures.append(read_inline(part["inlineData"]))
            words.append(part.get("text", ""))
    return " ".join(words), pictures


def read_inline(given: Any) -> bytes:
    """The picture of a part; protobuf's JSON takes `mime_type` as well, and base64 in its URL alphabet."""
    blob = {"mimeType" if name == "mime_type" else name: value for name, value in dict(given).items()}
    kinds = choice("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
    check(blob, {"mimeType": kinds, "data": text()}, ("mimeType", "data"), "contents[].parts[].inline_data.")
    data = picture_base64(blob["data"].replace("-", "+").replace("_", "/"))
    if data is None:
        raise Wrong("invalid", "contents[].parts[].inline_data.data", "Unable to process input image.")
    return data


def nearest(ratios: Mapping[str, tuple[int, int]], pictures: Sequence[bytes]) -> str:
    """An edit keeps the ratio of its picture; else 1:1."""
    if not pictures:
        return "1:1"
    width, height = picture_size(pictures[0])
    return min(ratios, key=lambda ratio: abs(ratios[ratio][0] / ratios[ratio][1] - width / height))
