"""xAI's Imagine API: the Grok Imagine models.

Special: sized by a ratio and `1k` or `2k`, always JPEG; edits are JSON with data URLs, `image` for one and `images` for
several; the answer says what it cost, in ticks of which a dollar has ten thousand million. A picture that is painted
and then refused by its moderation is billed all the same; besides an error, that can be a 200 that leaves the picture
out. A prompt that is refused can come as a 403, which names the operator's team, and a wrong key as a 400.

No page says how many pixels a ratio has: the sizes here have about as many as the square, in sixteenths.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder
from pinxit.backends.upstream._openai_dialect import read_images
from pinxit.backends.upstream._provider import (
    Answer,
    Call,
    Provider,
    Step,
    UpstreamModel,
    data_url,
    error_of_status,
    micros,
    nearest_ratio,
    refusal,
)
from pinxit.errors import BackendUnavailable, InvalidValue, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

RATIOS = ("1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "9:20", "20:9", "1:2", "2:1")
EDGES = {"1k": 1024, "2k": 2048}
MODERATED = "content-moderated"
PROMPT_REFUSED = "violates usage guidelines"
OUT_OF_CREDIT = ("used all available credits", "monthly spending limit")
TICKS_PER_MICRO = 10_000


def pixels(edge: int, ratio: str) -> Size:
    """About as many pixels as a square of `edge` has."""
    width, height = (int(part) for part in ratio.split(":"))
    root = (width / height) ** 0.5
    return Size(round(edge * root / 16) * 16, round(edge / root / 16) * 16)


TABLE = {pixels(edge, ratio): (ratio, tier) for tier, edge in EDGES.items() for ratio in RATIOS}


def grok(id_: str, description: str, created: int, usd: Mapping[tuple[str, str | None], float]) -> UpstreamModel:
    """A Grok Imagine model. `usd`: (tier, quality) → price of a picture, quality None being any."""
    can = Capabilities(
        sizes=tuple(TABLE),
        default_size=Size(1024, 1024),
        native_size=Size(1024, 1024),
        aspect_ratios={ratio: pixels(EDGES["1k"], ratio) for ratio in RATIOS},
        qualities={quality: 1 for _, quality in usd if quality is not None},
        seed=False,
        encodings=(Encoding.JPEG,),
        edits=True,
        max_images=3,
    )
    rules = [
        PriceRule(micros(price), str(size), quality)
        for (tier, quality), price in usd.items()
        for size, (_, its) in TABLE.items()
        if its == tier
    ]
    spec = ModelSpec(id_, description, can, "xai", "proprietary", created, PriceList(tuple(rules)))
    return UpstreamModel(spec, per_call=10)


class XAI(Provider):
    """Prices leave out the cent that each picture to begin from costs; `auto` is priced as `medium`."""

    name = "xai"
    title = "xAI"
    documentation = (
        "https://docs.x.ai/docs/models/grok-imagine-image-2.0 (prices, by way of docs.laozhang.ai, 2026-11-22)",
        "https://docs.x.ai/developers/debugging (2026-11-22)",
        "xai-sdk 1.21.0, xai_sdk/image.py (2026-11-22)",
        "https://github.com/vercel/ai, packages/xai/src/xai-image-model.ts, xai-error.ts (2026-11-22)",
        "https://github.com/vercel/ai/issues/19168 (2026-11-22)",
        "https://github.com/UKGovernmentBEIS/inspect_ai/pull/2267 (2026-11-22)",
    )
    base_url = "https://api.x.ai/v1"
    credential_variable = "XAI_API_KEY"
    base64_keys = ("b64_json",)
    models: ClassVar = (
        grok(
            "grok-imagine-image-2.0",
            "Grok Imagine 2.0.",
            1_786_406_400,
            {
                ("1k", None): 0.06,
                ("2k", None): 0.08,
                ("1k", "low"): 0.04,
                ("1k", "medium"): 0.06,
                ("2k", "low"): 0.06,
                ("2k", "medium"): 0.08,
            },
        ),
        grok(
            "grok-imagine-image",
            "Grok Imagine, the small one.",
            1_772_409_600,
            {("1k", None): 0.02, ("2k", None): 0.02},
        ),
    )

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        ratio, tier = TABLE.get(order.size) or nearest(order.size)
        asked = order.asked
        body: dict[str, Any] = {
            "model": order.model,
            "prompt": order.prompt,
            "n": len(order.seeds),
            "aspect_ratio": ratio,
            "resolution": tier,
            "response_format": "b64_json",
        }
        if asked.quality in model.spec.capabilities.qualities:
            body["quality"] = asked.quality
        if asked.end_user is not None:
            body["user"] = asked.end_user
        sources = [{"type": "image_url", "url": data_url(picture.data)} for picture in asked.images]
        if not sources:
            return Call("POST", "/images/generations", json=body)
        body |= {"image": sources[0]} if len(sources) == 1 else {"images": sources}
        return Call("POST", "/images/edits", json=body)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        data = answer.json["data"]
        if not data or not all(datum.get("b64_json") or datum.get("url") for datum in data):
            raise refusal(self.title, stage="output")
        ticks = (answer.json.get("usage") or {}).get("cost_in_usd_ticks")
        return read_images(answer, cost_micros=None if ticks is None else round(ticks / TICKS_PER_MICRO))

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        """`{"code": words, "error": words}`."""
        code, said = _code(answer), answer.message()
        if MODERATED in code:
            return refusal(self.title, said, stage="output")
        if PROMPT_REFUSED in said:
            return refusal(self.title)
        if "API key" in said:
            return BackendUnavailable(f"{self.title} does not accept this server's credential. Nothing was charged.")
        if any(words in said for words in OUT_OF_CREDIT):
            return BackendUnavailable(f"This server's account at {self.title} is out of credit. Nothing was charged.")
        if answer.status == 404:
            return BackendUnavailable(f"{self.title} does not have this model. Nothing was charged.")
        found = error_of_status(self.title, answer)
        if isinstance(found, InvalidValue) and ("aspect_ratio" in said or "resolution" in said):
            return InvalidValue(found.message, param="size")
        return found


def nearest(size: Size) -> tuple[str, str]:
    """The ratio and the tier for a size that is not in the table."""
    ratio = nearest_ratio(size, {name: pixels(EDGES["1k"], name) for name in RATIOS})
    return ratio, "2k" if size.width * size.height > 2 * EDGES["1k"] ** 2 else "1k"


def _code(answer: Answer) -> str:
    try:
        return str(answer.json["code"])
    except (PinxitError, KeyError, TypeError, IndexError):
        return ""
