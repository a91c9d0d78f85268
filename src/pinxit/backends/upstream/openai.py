"""OpenAI's Images API: the GPT image models.

Special: answers are always base64 and in the format and compression that were asked for; from `gpt-image-2` on any size
within bounds is painted. OpenAI bills by tokens, which the answer counts. The published prices of a picture, which
leave the tokens of the prompt and of pictures to begin from out, are those of `models`. What has no published price is
priced as the dearest that it may come to: `auto` as the finest quality, a size without a name as the largest one.
A picture that is shown on its way has a request of its own, and costs 100 tokens more for each time it is shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder, SizeRange
from pinxit.backends.upstream._openai_dialect import (
    edit_call,
    read_images,
    read_openai_error,
    read_stream_event,
    streamed,
)
from pinxit.backends.upstream._provider import (
    Answer,
    Call,
    Done,
    Partial,
    Provider,
    Step,
    UpstreamModel,
    micros,
)
from pinxit.errors import PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

SQUARE = Size(1024, 1024)
FIXED_RATIOS = {"1:1": SQUARE, "2:3": Size(1024, 1536), "3:2": Size(1536, 1024)}
FREE_RATIOS = {
    **FIXED_RATIOS,
    "3:4": Size(768, 1024),
    "4:3": Size(1024, 768),
    "9:16": Size(864, 1536),
    "16:9": Size(1536, 864),
}
LARGE = (Size(1440, 2560), Size(2560, 1440), Size(2160, 3840), Size(3840, 2160))
ANY_SIZE = SizeRange(816, 2448, 16)
"""All sizes of which each has the 655,360 pixels that are the least, and no side three times the other."""

# US dollars for a picture, by quality and size; tall sizes cost what wide ones do. Where a size has no row: the last,
# which is the largest that there is. https://developers.openai.com/docs/guides/image-generation gives the first two of
# `gpt-image-2`; the others, which come to the same tokens, are those of https://fal.ai/models/openai/gpt-image-2 and
# https://fal.ai/models/openai/gpt-image-2.5/flare/text-to-image, where 1536x864 costs what 1920x1080 does at most.
FREE_SIZES = ("1024x1024", "1536x1024", "1024x768", "1536x864", "2560x1440", "3840x2160")
GPT_IMAGE_2 = {
    "low": (0.006, 0.005, 0.005, 0.005, 0.007, 0.012),
    "medium": (0.053, 0.041, 0.037, 0.040, 0.056, 0.101),
    "high": (0.211, 0.165, 0.145, 0.158, 0.222, 0.401),
}
GPT_IMAGE_2_5 = {
    "low": (0.00588, 0.00474, 0.00402, 0.00441, 0.00615, 0.01113),
    "medium": (0.01317, 0.01029, 0.00903, 0.01029, 0.01434, 0.02595),
    "high": (0.05268, 0.04116, 0.03612, 0.0396, 0.05529, 0.10008),
    "xhigh": (0.09366, 0.07377, 0.0642, 0.07041, 0.09828, 0.1779),
    "max": (0.21072, 0.16464, 0.14445, 0.1584, 0.2211, 0.40026),
}
FIXED_SIZES = ("1024x1024", "1536x1024")
GPT_IMAGE_1_5 = {"low": (0.009, 0.013), "medium": (0.034, 0.05), "high": (0.133, 0.2)}
GPT_IMAGE_1_MINI = {"low": (0.005, 0.006), "medium": (0.011, 0.015), "high": (0.036, 0.052)}
TOKENS = {"text": 5.0, "image": 8.0, "painted": 30.0}
"""US dollars for a million tokens of prompts, of pictures to begin from, and of painted pictures."""


def gpt_image(
    id_: str,
    description: str,
    created: int,
    usd: Mapping[str, tuple[float, ...]],
    tokens: Mapping[str, float] = TOKENS,
    *,
    transparent: bool = True,
) -> UpstreamModel:
    """A GPT image model. `usd`: quality, the finest last, → prices of `FIXED_SIZES` or `FREE_SIZES`."""
    is_free = len(usd["low"]) == len(FREE_SIZES)
    ratios = FREE_RATIOS if is_free else FIXED_RATIOS
    can = Capabilities(
        sizes=(*ratios.values(), *(LARGE if is_free else ())),
        default_size=SQUARE,
        native_size=SQUARE,
        aspect_ratios=ratios,
        size_range=ANY_SIZE if is_free else None,
        max_n=10,
        qualities=dict.fromkeys(usd, 1),
        seed=False,
        transparent=transparent,
        streaming=True,
        edits=True,
        mask=True,
        max_images=16,
    )
    prices = PriceList(tuple(_rules(usd, FREE_SIZES if is_free else FIXED_SIZES)))
    spec = ModelSpec(id_, description, can, "openai", "proprietary", created, prices)
    return UpstreamModel(spec, per_call=10, facts={"tokens": tokens})


def _rules(usd: Mapping[str, tuple[float, ...]], sizes: tuple[str, ...]) -> Iterator[PriceRule]:
    finest = list(usd)[-1]
    yield PriceRule(micros(usd[finest][-1]))
    for quality, prices in usd.items():
        yield PriceRule(micros(prices[-1]), quality=quality)
        for name, price in zip(sizes, prices, strict=True):
            size = Size.parse(name)
            for side in {size, Size(size.height, size.width)}:
                yield PriceRule(micros(price), str(side), quality)
                if quality == finest:
                    yield PriceRule(micros(price), str(side))


class OpenAI(Provider):
    """Sizes, qualities and formats are as ours, since ours are OpenAI's."""

    name = "openai"
    title = "OpenAI"
    documentation: ClassVar[Sequence[str]] = (
        "https://developers.openai.com/api/reference/resources/images/methods/generate (2026-11-22)",
        "https://developers.openai.com/docs/guides/image-generation (2026-11-22)",
        "https://developers.openai.com/docs/guides/error-codes (2026-11-22)",
        "https://developers.openai.com/api/docs/pricing (2026-11-22)",
        "openai 3.54.0, types/image_generate_params.py, image_edit_params.py, images_response.py (2026-11-22)",
        "openai 3.54.0, types/image_gen_stream_event.py, image_edit_stream_event.py (2026-11-22)",
    )
    base_url = "https://api.openai.com/v1"
    credential_variable = "OPENAI_API_KEY"
    free_call: ClassVar[Call | None] = Call("GET", "/models")
    base64_keys = ("b64_json",)
    applies_compression = True
    option_names = frozenset({"organization", "project"})
    models: ClassVar[Sequence[UpstreamModel]] = (
        gpt_image("gpt-image-2.6-flare", "GPT Image 2.6 Flare, the fast one.", 1_793_750_400, GPT_IMAGE_2_5),
        gpt_image("gpt-image-2.6-sunburst", "GPT Image 2.6 Sunburst, the precise one.", 1_793_750_400, GPT_IMAGE_2_5),
        gpt_image("gpt-image-2.5-flare", "GPT Image 2.5 Flare, the fast one.", 1_788_825_600, GPT_IMAGE_2_5),
        gpt_image("gpt-image-2.5-sunburst", "GPT Image 2.5 Sunburst, the precise one.", 1_788_825_600, GPT_IMAGE_2_5),
        gpt_image("gpt-image-2", "GPT Image 2.", 1_776_729_600, GPT_IMAGE_2, transparent=False),
        gpt_image(
            "gpt-image-1.5",
            "GPT Image 1.5, until 2026-12-01.",
            1_765_843_200,
            GPT_IMAGE_1_5,
            {"text": 5.0, "image": 8.0, "painted": 32.0},
        ),
        gpt_image(
            "gpt-image-1-mini",
            "GPT Image 1 mini, until 2026-12-01.",
            1_759_708_800,
            GPT_IMAGE_1_MINI,
            {"text": 2.0, "image": 2.5, "painted": 8.0},
        ),
    )

    def authorise(self) -> Mapping[str, str]:
        options = self.access.options
        named = {f"openai-{option}": str(options[option]) for option in sorted(self.option_names & options.keys())}
        return {**super().authorise(), **named}

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        return self.call(order, self.fields(order))

    def stream_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        return self.call(order, streamed(self.fields(order), order))

    def call(self, order: PaintOrder, fields: Mapping[str, Any]) -> Call:
        """The request with these fields."""
        if order.asked.images:
            return edit_call("/images/edits", fields, order)
        return Call("POST", "/images/generations", json=fields)

    def fields(self, order: PaintOrder) -> dict[str, Any]:
        """The body of a generation, and of an edit but for its files."""
        asked = order.asked
        fields: dict[str, Any] = {
            "model": order.model,
            "prompt": order.prompt,
            "n": len(order.seeds),
            "size": str(order.size),
            "quality": asked.quality,
            "background": "transparent" if order.transparent else asked.background,
            "output_format": asked.encoding.value,
        }
        if asked.compression is not None and asked.encoding is not Encoding.PNG:
            fields["output_compression"] = asked.compression
        if not asked.images:
            fields["moderation"] = asked.moderation
        if asked.end_user is not None:
            fields["safety_identifier"] = asked.end_user
        return fields

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        return read_images(answer, cost_micros=self._cost(answer.json.get("usage"), order.model))

    def read_event(self, event: Answer, order: PaintOrder) -> Partial | Done | None:
        found = read_stream_event(self.title, event)
        if not isinstance(found, Done):
            return found
        return replace(found, cost_micros=self._cost(event.json.get("usage"), order.model))

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        return read_openai_error(self.title, answer)

    def _cost(self, usage: Mapping[str, Any] | None, model_id: str) -> int | None:
        """What OpenAI's token prices make of the usage; cached tokens count in full. A dollar a million: a micro."""
        rates = next((model.facts.get("tokens") for model in self.list_models() if model.spec.id == model_id), None)
        if not usage or not rates:
            return None
        pictures = (usage.get("input_tokens_details") or {}).get("image_tokens") or 0
        words, painted = (usage.get("input_tokens") or 0) - pictures, usage.get("output_tokens") or 0
        usd = words * rates["text"] + pictures * rates["image"] + painted * rates["painted"]
        return round(float(usd))
