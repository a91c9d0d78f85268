"""Together AI: FLUX models.

Special: base64 is `response_format: base64` here, and asked for, since the host of the pictures turns requests away
that name no user agent; sides are multiples of 8; JPEG unless PNG is asked for; Kontext models take one picture in
`image_url`, FLUX.2 models take several in `reference_images`; a seed reproduces a picture, so each picture is a
request of its own.

Together's page of prices was not to be had. The price of FLUX.1 [schnell] is that of public reports of May 2026; those
of the others are Black Forest Labs' own (FLUX.2 [dev], which it does not sell, at most that of [pro]). They are for a
million pixels. No page says how a refusal by the safety checker is told: `NSFW` in a message is taken as one.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder, Range
from pinxit.backends.upstream._openai_dialect import error_object, read_images, read_openai_error
from pinxit.backends.upstream._provider import (
    Answer,
    Call,
    Provider,
    Step,
    UpstreamModel,
    data_url,
    micros,
    refusal,
    seed_field,
)
from pinxit.errors import InvalidValue, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

RATIOS = {
    "1:1": Size(1024, 1024),
    "2:3": Size(832, 1248),
    "3:2": Size(1248, 832),
    "3:4": Size(768, 1024),
    "4:3": Size(1024, 768),
    "9:16": Size(768, 1344),
    "16:9": Size(1344, 768),
}
PARAMETERS = {"steps": "num_inference_steps", "width": "size", "height": "size", "image_url": "image"}


def flux(
    id_: str, description: str, created: int, usd: float, *, pictures: str = "", licence: str = "proprietary"
) -> UpstreamModel:
    """A FLUX model. `usd`: for a million pixels; `pictures`: the field for pictures to begin from."""
    can = Capabilities(
        sizes=tuple(RATIOS.values()),
        default_size=RATIOS["1:1"],
        native_size=RATIOS["1:1"],
        aspect_ratios=RATIOS,
        num_inference_steps=Range(1, 4, 4) if id_.endswith("schnell") else None,
        encodings=(Encoding.JPEG, Encoding.PNG),
        edits=bool(pictures),
        max_images={"": 0, "image_url": 1}.get(pictures, 4),
    )
    prices = [PriceRule(micros(usd * size.width * size.height / 1e6), str(size)) for size in RATIOS.values()]
    spec = ModelSpec(
        f"black-forest-labs/{id_}",
        description,
        can,
        "black-forest-labs",
        licence,
        created,
        PriceList((PriceRule(micros(usd), further_micros=micros(usd)), *prices)),
    )
    return UpstreamModel(spec, facts={"pictures": pictures})


class Together(Provider):
    """One route for painting with and without pictures to begin from."""

    name = "together"
    title = "Together AI"
    documentation = (
        "https://docs.together.ai/reference/post-images-generations (2026-11-22)",
        "https://docs.together.ai/docs/images-overview (2026-11-22)",
        "https://docs.together.ai/docs/inference/images/parameters (2026-11-22)",
        "https://docs.together.ai/docs/inference/images/reference-images (2026-11-22)",
        "https://docs.together.ai/docs/error-codes (2026-11-22)",
        "https://docs.bfl.ai/quick_start/pricing.md (2026-11-22)",
        "together 3.1.1, together/types/image_generate_params.py (2026-11-22)",
    )
    base_url = "https://api.together.xyz/v1"
    credential_variable = "TOGETHER_API_KEY"
    base64_keys = ("b64_json",)
    models: ClassVar = (
        flux("FLUX.1-schnell", "FLUX.1 [schnell], in four steps.", 1_722_470_400, 0.0027, licence="apache-2.0"),
        flux("FLUX.1.1-pro", "FLUX1.1 [pro].", 1_727_827_200, 0.04),
        flux("FLUX.1-kontext-pro", "FLUX.1 Kontext [pro], for edits.", 1_748_476_800, 0.04, pictures="image_url"),
        flux("FLUX.1-kontext-max", "FLUX.1 Kontext [max], for edits.", 1_748_476_800, 0.08, pictures="image_url"),
        flux("FLUX.2-pro", "FLUX.2 [pro].", 1_764_028_800, 0.03, pictures="reference_images"),
        flux("FLUX.2-dev", "FLUX.2 [dev].", 1_764_028_800, 0.03, pictures="reference_images"),
        flux("FLUX.2-flex", "FLUX.2 [flex].", 1_764_028_800, 0.05, pictures="reference_images"),
        flux("FLUX.2-max", "FLUX.2 [max].", 1_765_843_200, 0.07),
    )

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        can, asked = model.spec.capabilities, order.asked
        body: dict[str, Any] = {
            "model": order.model,
            "prompt": order.prompt,
            "width": order.size.width,
            "height": order.size.height,
            "n": len(order.seeds),
            "response_format": "base64",
            "output_format": "png" if asked.encoding is Encoding.PNG else "jpeg",
            **seed_field("seed", order, model),
        }
        if can.num_inference_steps is not None:
            body["steps"] = order.num_inference_steps
        if can.guidance_scale is not None:
            body["guidance_scale"] = order.guidance_scale
        if can.negative_prompt and order.negative_prompt:
            body["negative_prompt"] = order.negative_prompt
        urls = [data_url(picture.data) for picture in asked.images]
        if urls and model.facts.get("pictures") == "image_url":
            body["image_url"] = urls[0]
        elif urls:
            body["reference_images"] = urls
        return Call("POST", "/images/generations", json=body)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        return read_images(answer)

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        found = read_openai_error(self.title, answer)
        if isinstance(found, InvalidValue):
            if "nsfw" in found.message.lower():
                return refusal(self.title, answer.message())
            return InvalidValue(found.message, param=_parameter(error_object(answer), found.param))
        return found


def _parameter(error: Mapping[str, Any], otherwise: str) -> str:
    """Our name for the one that is wrong, if we have it."""
    return PARAMETERS.get(str(error.get("param")), otherwise)
