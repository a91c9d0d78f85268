"""Recraft's raster models. https://www.recraft.ai/docs/api-reference

Much like OpenAI's Images API, with names of its own: `random_seed`, `image_format`. Sizes go by a table per family. An
edit keeps the size of its picture; a mask is white where it is to be painted, and in its picture's size. The answer
says what it cost in API units, a thousand of which are a dollar. What errors look like is not documented.
"""

from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder, Range
from pinxit.backends.upstream._provider import (
    Answer,
    Call,
    Done,
    Part,
    Picture,
    Provider,
    Step,
    UpstreamModel,
    cost_of,
    error_of_status,
    file_part,
    mask_part,
    micros,
    refusal,
    seed_field,
)
from pinxit.errors import PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

RATIOS_3 = {
    "1:1": Size(1024, 1024),
    "2:1": Size(2048, 1024),
    "1:2": Size(1024, 2048),
    "3:2": Size(1536, 1024),
    "2:3": Size(1024, 1536),
    "4:3": Size(1365, 1024),
    "3:4": Size(1024, 1365),
    "5:4": Size(1280, 1024),
    "4:5": Size(1024, 1280),
    "6:10": Size(1024, 1707),
    "14:10": Size(1434, 1024),
    "10:14": Size(1024, 1434),
    "16:9": Size(1820, 1024),
    "9:16": Size(1024, 1820),
}
RATIOS_4 = {
    "1:1": Size(1024, 1024),
    "2:1": Size(1536, 768),
    "1:2": Size(768, 1536),
    "3:2": Size(1280, 832),
    "2:3": Size(832, 1280),
    "4:3": Size(1216, 896),
    "3:4": Size(896, 1216),
    "5:4": Size(1152, 896),
    "4:5": Size(896, 1152),
    "6:10": Size(832, 1344),
    "14:10": Size(1280, 896),
    "10:14": Size(896, 1280),
    "16:9": Size(1344, 768),
    "9:16": Size(768, 1344),
}
RATIOS_4_PRO = {ratio: Size(2 * size.width, 2 * size.height) for ratio, size in RATIOS_4.items()}
STYLES_3 = ("any", "realistic_image", "digital_illustration", "logo_raster")
UNIT_MICROS = 1000
STRENGTH = Range(0, 1, 0.5)
REFUSALS = ("content_policy", "content policy", "moderation", "nsfw")


def recraft(id_: str, name: str, created: int, usd: str, ratios: dict[str, Size]) -> UpstreamModel:
    is_3 = ratios is RATIOS_3
    can = Capabilities(
        sizes=tuple(ratios.values()),
        default_size=ratios["1:1"],
        native_size=ratios["1:1"],
        aspect_ratios=ratios,
        negative_prompt=is_3,
        styles=STYLES_3 if is_3 else (),
        encodings=(Encoding.PNG, Encoding.WEBP),
        edits=is_3,
        mask=is_3,
        max_images=1 if is_3 else 0,
        strength=STRENGTH if is_3 else None,
    )
    prices = PriceList((PriceRule(micros(usd)),))
    return UpstreamModel(ModelSpec(id_, f"{name}.", can, "recraft", "proprietary", created, prices))


class Recraft(Provider):
    """One seed for all pictures of a request, so one picture per request."""

    name = "recraft"
    title = "Recraft"
    documentation = (
        "https://www.recraft.ai/docs/api-reference/agents.md (2026-11-22)",
        "https://www.recraft.ai/docs/api-reference/pricing (2026-11-22)",
        "https://recraft.ai/llms-full.txt (2026-11-22)",
        "https://external.api.recraft.ai/doc by https://github.com/tryAGI/Recraft (2026-11-22)",
    )
    base_url = "https://external.api.recraft.ai/v1"
    credential_variable = "RECRAFT_API_TOKEN"
    base64_keys = ("b64_json",)
    models: ClassVar = (
        recraft("recraftv4_1", "Recraft V4.1", 1_775_001_600, "0.035", RATIOS_4),
        recraft("recraftv4_1_pro", "Recraft V4.1 Pro", 1_775_001_600, "0.21", RATIOS_4_PRO),
        recraft("recraftv4", "Recraft V4", 1_771_286_400, "0.04", RATIOS_4),
        recraft("recraftv4_pro", "Recraft V4 Pro", 1_771_286_400, "0.25", RATIOS_4_PRO),
        recraft("recraftv3", "Recraft V3", 1_730_246_400, "0.04", RATIOS_3),
    )

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        fields: dict[str, Any] = {
            "prompt": order.prompt,
            "model": order.model,
            "n": len(order.seeds),
            "response_format": "b64_json",
            "image_format": order.asked.encoding.value,
            **seed_field("random_seed", order, model),
        }
        if order.style is not None:
            fields["style"] = order.style
        if order.negative_prompt:
            fields["negative_prompt"] = order.negative_prompt
        if not order.asked.images:
            return Call("POST", "/images/generations", json={**fields, "size": str(order.size)})
        [picture] = order.asked.images
        files = [file_part("image", picture.data)]
        if order.asked.mask is not None:
            files.append(mask_part(order.asked.mask, picture.size))
            return Call("POST", "/images/inpaint", form=(*_parts(fields), *files))
        fields["strength"] = STRENGTH.default if order.asked.strength is None else order.asked.strength
        return Call("POST", "/images/imageToImage", form=(*_parts(fields), *files))

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        document = answer.json
        pictures = [
            Picture(base64=datum["b64_json"], revised_prompt=datum.get("revised_prompt") or "")
            for datum in document["data"]
        ]
        return Done(pictures, cost_micros=cost_of(document.get("credits"), UNIT_MICROS))

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        said = f"{_code(answer)} {answer.message()}"
        if answer.status in (400, 403, 422) and any(word in said.lower() for word in REFUSALS):
            return refusal(self.title, answer.message())
        return error_of_status(self.title, answer)


def _parts(fields: dict[str, Any]) -> tuple[Part, ...]:
    return tuple(Part(name, str(value)) for name, value in fields.items())


def _code(answer: Answer) -> str:
    try:
        return str(answer.json["code"])
    except (PinxitError, KeyError, TypeError):
        return ""
