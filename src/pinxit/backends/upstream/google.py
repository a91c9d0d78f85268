"""Google's Gemini API: the Gemini image models, by `generateContent`. Imagen's models have all been shut down.

Special: a picture a request; sized by a ratio and a tier (`1K`, `2K`, `4K`), whose pixels are those of the guide's
tables; pictures to begin from go into the JSON as base64; what is refused comes with status 200 as a block reason or
a finish reason; a wrong key comes as a 400; models that think send sketches first, marked `thought`.

Left out: 21:9 at `512`, for which the guide's table gives 792x168.
"""

from collections.abc import Iterator, Mapping, Sequence
from math import log
from typing import Any, ClassVar
from urllib.parse import quote

import pybase64

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder
from pinxit.backends.upstream._openai_dialect import error_object
from pinxit.backends.upstream._provider import (
    Answer,
    Call,
    Done,
    Picture,
    Provider,
    Step,
    UpstreamModel,
    error_of_status,
    media_type,
    micros,
    nearest_ratio,
    refusal,
)
from pinxit.errors import BackendBusy, BackendError, BackendUnavailable, InvalidValue, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

Ratios = Mapping[str, tuple[int, int]]
FLASH_25: Ratios = {
    "1:1": (1024, 1024),
    **{"2:3": (832, 1248), "3:2": (1248, 832), "3:4": (864, 1184), "4:3": (1184, 864), "4:5": (896, 1152)},
    **{"5:4": (1152, 896), "9:16": (768, 1344), "16:9": (1344, 768), "21:9": (1536, 672)},
}
PRO_3: Ratios = {
    "1:1": (1024, 1024),
    **{"2:3": (848, 1264), "3:2": (1264, 848), "3:4": (896, 1200), "4:3": (1200, 896), "4:5": (928, 1152)},
    **{"5:4": (1152, 928), "9:16": (768, 1376), "16:9": (1376, 768), "21:9": (1584, 672)},
}
"""At 1K; the other tiers are multiples of it."""
FLASH_31: Ratios = {**PRO_3, "1:4": (512, 2048), "4:1": (2048, 512), "1:8": (384, 3072), "8:1": (3072, 384)}
TIERS = {"1K": 1.0, "2K": 2.0, "4K": 4.0, "512": 0.5}

REFUSALS = frozenset(
    {"SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "RECITATION", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT"}
    | {"IMAGE_RECITATION"}
)
HARMS = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
NO_CREDIT = "credits are depleted"


def gemini(
    id_: str, description: str, created: int, ratios: Ratios, usd: Mapping[str, float], max_images: int
) -> UpstreamModel:
    """A Gemini image model. `usd`: tier → price of a picture; a single "" where it takes no `imageSize`."""
    table = dict(_sizes(ratios, usd))
    square = Size(1024, 1024)
    can = Capabilities(
        sizes=tuple(table),
        default_size=square,
        native_size=square,
        aspect_ratios={ratio: Size(*pixels) for ratio, pixels in ratios.items()},
        seed=False,
        encodings=(Encoding.PNG, Encoding.JPEG),
        edits=True,
        max_images=max_images,
    )
    prices = PriceList(tuple(PriceRule(micros(usd[tier]), str(size)) for size, (_, tier) in table.items()))
    spec = ModelSpec(id_, description, can, "google", "proprietary", created, prices)
    return UpstreamModel(spec, facts={str(size): asked for size, asked in table.items()})


def _sizes(ratios: Ratios, tiers: Mapping[str, float]) -> Iterator[tuple[Size, tuple[str, str]]]:
    for tier in tiers:
        for ratio, (width, height) in ratios.items():
            if (ratio, tier) != ("21:9", "512"):
                times = TIERS.get(tier, 1.0)
                yield Size(int(width * times), int(height * times)), (ratio, tier)


class Google(Provider):
    """Prices: 747, 1120, 1680 and 2520 tokens for a picture at 512, 1K, 2K and 4K, at the model's price of a token."""

    name = "google"
    title = "Google"
    documentation = (
        "https://ai.google.dev/gemini-api/docs/image-generation (in copies, 2026-11-22)",
        "https://ai.google.dev/gemini-api/docs/pricing (by way of litellm 1.109.1, 2026-11-22)",
        "https://ai.google.dev/gemini-api/docs/deprecations (2026-11-22)",
        "https://cloud.google.com/gemini-enterprise-agent-platform/models/gemini/3-1-flash-image-preview "
        "(in copies, 2026-11-22)",
        "google-genai 3.4.0, google/genai/types.py (2026-11-22)",
    )
    base_url = "https://generativelanguage.googleapis.com/v1beta"
    credential_variable = "GEMINI_API_KEY"
    free_call: ClassVar[Call | None] = Call("GET", "/models")
    base64_keys = ("data",)
    models: ClassVar = (
        gemini(
            "gemini-nano-banana-2.1",
            "Nano Banana 2.1.",
            0,
            FLASH_31,
            {"1K": 0.0336, "2K": 0.0504, "4K": 0.0756},
            14,
        ),
        gemini(
            "gemini-3-pro-image",
            "Gemini 3 Pro Image, also called Nano Banana Pro.",
            1_763_596_800,
            PRO_3,
            {"1K": 0.134, "2K": 0.134, "4K": 0.24},
            14,
        ),
        gemini(
            "gemini-3.1-flash-image",
            "Gemini 3.1 Flash Image, also called Nano Banana 2.",
            1_772_064_000,
            FLASH_31,
            {"1K": 0.067, "2K": 0.101, "4K": 0.151, "512": 0.045},
            14,
        ),
        gemini(
            "gemini-2.5-flash-image",
            "Gemini 2.5 Flash Image, also called Nano Banana.",
            1_759_363_200,
            FLASH_25,
            {"": 0.039},
            3,
        ),
    )

    def authorise(self) -> Mapping[str, str]:
        return {"x-goog-api-key": self.access.credential}

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        ratio, tier = model.facts.get(str(order.size)) or nearest(order.size)
        image: dict[str, str] = {"aspectRatio": ratio, **({"imageSize": tier} if tier else {})}
        parts: list[dict[str, Any]] = [{"text": order.prompt}]
        for picture in order.asked.images:
            data = pybase64.b64encode(picture.data).decode()
            parts.append({"inlineData": {"mimeType": media_type(picture.data), "data": data}})
        body: dict[str, Any] = {
            "contents": [{"role": "user", "parts": parts}],
            "generationConfig": {"responseModalities": ["IMAGE"], "imageConfig": image},
        }
        if order.asked.moderation == "low":
            names = [f"HARM_CATEGORY_{harm}" for harm in HARMS]
            body["safetySettings"] = [{"category": name, "threshold": "BLOCK_ONLY_HIGH"} for name in names]
        return Call("POST", f"/models/{quote(order.model, safe='')}:generateContent", json=body)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        document = answer.json
        if reason := (document.get("promptFeedback") or {}).get("blockReason"):
            raise refusal(self.title, f"{reason}.", categories=[reason.lower()])
        candidate = document["candidates"][0]
        painted = [
            part["inlineData"]["data"]
            for part in (candidate.get("content") or {}).get("parts") or ()
            if "inlineData" in part and not part.get("thought")
        ]
        if not painted:
            raise self._no_picture(candidate)
        usage = document.get("usageMetadata") or {}
        drawn = (usage.get("candidatesTokenCount") or 0) + (usage.get("thoughtsTokenCount") or 0)
        return Done([Picture(base64=painted[-1])], usage.get("promptTokenCount") or 0, drawn)

    def _no_picture(self, candidate: Mapping[str, Any]) -> PinxitError:
        reason = str(candidate.get("finishReason", "nothing"))
        said = str(candidate.get("finishMessage") or f"{reason}.")[:400]
        if reason in REFUSALS:
            return refusal(self.title, said, stage="output", categories=[reason.lower()])
        return BackendError(f"{self.title} painted no picture ({reason}).")

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        """https://ai.google.dev/gemini-api/docs/troubleshooting; details as in google.rpc."""
        error = error_object(answer)
        details = [detail for detail in error.get("details") or () if isinstance(detail, dict)]
        if any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
            return BackendUnavailable(f"{self.title} does not accept this server's credential. Nothing was charged.")
        if NO_CREDIT in answer.message():
            return BackendUnavailable(f"This server's account at {self.title} is out of credit. Nothing was charged.")
        if error.get("status") in ("NOT_FOUND", "FAILED_PRECONDITION"):
            return BackendUnavailable(f"{self.title} cannot paint with this model: {answer.message()}")
        found = error_of_status(self.title, answer)
        if isinstance(found, BackendBusy):
            found.retry_after_seconds = _retry_delay(details, found.retry_after_seconds)
        if isinstance(found, InvalidValue) and "image_config" in str(details):
            return InvalidValue(found.message, param="size")
        return found


def nearest(size: Size) -> tuple[str, str]:
    """The ratio and the tier for a size that is in no table."""
    ratio = nearest_ratio(size, {name: Size(*pixels) for name, pixels in FLASH_31.items()})
    edge = (size.width * size.height) ** 0.5
    return ratio, min(("1K", "2K", "4K"), key=lambda tier: abs(log(1024 * TIERS[tier] / edge)))


def _retry_delay(details: Sequence[Mapping[str, Any]], default: float) -> float:
    """Seconds, from `RetryInfo`: `"retryDelay": "6s"`."""
    for detail in details:
        text = str(detail.get("retryDelay", ""))
        if text.endswith("s") and text[:-1].replace(".", "", 1).isdecimal():
            return min(float(text[:-1]), 300.0)
    return default
