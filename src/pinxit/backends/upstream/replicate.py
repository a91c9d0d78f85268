"""Replicate's predictions. https://replicate.com/docs/reference/http

Quick models answer while the order's request is held open; of the others the prediction is asked for. FLUX.1 takes
ratios, FLUX.2 takes pixels. Results are deleted after an hour. The fast path of FLUX.1 is not repeatable by its seed,
so it is turned off.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder, Range, SizeRange
from pinxit.backends.upstream._provider import (
    Again,
    Answer,
    Call,
    Done,
    Picture,
    Provider,
    Step,
    UpstreamModel,
    data_url,
    error_of_status,
    micros,
    nearest_ratio,
    price_by_megapixel,
    refusal,
    seed_field,
)
from pinxit.errors import BackendError, BackendUnavailable, InvalidValue, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

HELD_SECONDS = 5
"""How long the order's request is held open: a lost connection leaves the outcome open for no longer."""
SQUARE = Size(1024, 1024)
FLUX_1_RATIOS = {
    "1:1": SQUARE,
    "16:9": Size(1344, 768),
    "21:9": Size(1536, 640),
    "3:2": Size(1216, 832),
    "2:3": Size(832, 1216),
    "4:5": Size(896, 1088),
    "5:4": Size(1088, 896),
    "3:4": Size(896, 1152),
    "4:3": Size(1152, 896),
    "9:16": Size(768, 1344),
    "9:21": Size(640, 1536),
}
"""What a ratio means in pixels at one megapixel (https://github.com/replicate/cog-flux predict.py)."""
FLUX_1_SIZES = {
    size: {"aspect_ratio": ratio, "megapixels": megapixels}
    for megapixels, divisor in (("1", 1), ("0.25", 2))
    for ratio, size in ((ratio, Size(of.width // divisor, of.height // divisor)) for ratio, of in FLUX_1_RATIOS.items())
}
FLUX_2_RATIOS = {
    "1:1": SQUARE,
    "16:9": Size(1344, 768),
    "9:16": Size(768, 1344),
    "3:2": Size(1248, 832),
    "2:3": Size(832, 1248),
    "4:3": Size(1152, 864),
    "3:4": Size(864, 1152),
    "4:5": Size(896, 1120),
    "5:4": Size(1120, 896),
}
FLUX_2_SIZES = (*FLUX_2_RATIOS.values(), Size(2048, 1152), Size(1152, 2048), Size(2048, 2048))
"""Of any that may be asked for, these are named here."""
FORMATS = {Encoding.WEBP: "webp", Encoding.JPEG: "jpg", Encoding.PNG: "png"}
REFUSED = ("flagged as sensitive", "(E005)", "NSFW content detected")
PARAMS = {
    "prompt": "prompt",
    "seed": "seed",
    "num_inference_steps": "num_inference_steps",
    "guidance": "guidance_scale",
    "prompt_strength": "strength",
    "image": "image",
    "input_images": "image",
    "aspect_ratio": "size",
    "width": "size",
    "height": "size",
}


def flux_1(
    name: str, licence: str, usd: str, steps: Range, guidance: Range | None = None, *, edits: bool = False
) -> UpstreamModel:
    can = Capabilities(
        sizes=tuple(FLUX_1_SIZES),
        default_size=SQUARE,
        native_size=SQUARE,
        aspect_ratios=FLUX_1_RATIOS,
        num_inference_steps=steps,
        guidance_scale=guidance,
        encodings=tuple(FORMATS),
        edits=edits,
        max_images=1 if edits else 0,
        strength=Range(0, 1, 0.8) if edits else None,
    )
    prices = PriceList((PriceRule(micros(usd)),))
    description = f"FLUX.1 [{name}] at Replicate."
    spec = ModelSpec(
        f"black-forest-labs/flux-{name}", description, can, "black-forest-labs", licence, 1_722_470_400, prices
    )
    return UpstreamModel(spec, facts={"family": "flux-1"})


class Replicate(Provider):
    """One picture per prediction, as one seed is for all of them."""

    name = "replicate"
    title = "Replicate"
    documentation = (
        "https://replicate.com/docs/reference/http (2026-11-22)",
        "https://replicate.com/docs/topics/predictions/lifecycle (2026-11-22)",
        "https://replicate.com/docs/topics/predictions/create-a-prediction (2026-11-22)",
        "https://replicate.com/docs/topics/predictions/rate-limits (2026-11-22)",
        "https://replicate.com/black-forest-labs/flux-schnell/api (2026-11-22)",
        "https://replicate.com/black-forest-labs/flux-dev/api (2026-11-22)",
        "https://replicate.com/black-forest-labs/flux-2-pro/api (2026-11-22)",
    )
    base_url = "https://api.replicate.com/v1"
    credential_variable = "REPLICATE_API_TOKEN"
    has_jobs = True
    applies_compression = True
    # Prices: https://replicate.com/pricing (2026-10-07); those of FLUX.2 [pro] as quoted by others: 0.015 for a run and
    # for each megapixel of its result, and of its input, which the list here cannot say.
    models: ClassVar = (
        flux_1("schnell", "apache-2.0", "0.003", Range(1, 4, 4)),
        flux_1("dev", "flux-1-dev-non-commercial-license", "0.025", Range(1, 50, 28), Range(0, 10, 3), edits=True),
        UpstreamModel(
            ModelSpec(
                "black-forest-labs/flux-2-pro",
                "FLUX.2 [pro] at Replicate.",
                Capabilities(
                    sizes=FLUX_2_SIZES,
                    default_size=SQUARE,
                    native_size=SQUARE,
                    aspect_ratios=FLUX_2_RATIOS,
                    size_range=SizeRange(256, 2048, multiple_of=16),
                    encodings=tuple(FORMATS),
                    edits=True,
                    max_images=8,
                ),
                "black-forest-labs",
                "proprietary",
                1_764_028_800,
                price_by_megapixel("0.03", "0.015"),
            ),
            facts={"family": "flux-2"},
        ),
    )

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        fields: dict[str, Any] = {
            "prompt": order.prompt,
            "output_format": FORMATS[order.asked.encoding],
            **seed_field("seed", order, model),
            **FIELDS[model.facts.get("family", "")](order, model),
        }
        if order.asked.compression is not None and order.asked.encoding is not Encoding.PNG:
            fields["output_quality"] = order.asked.compression
        return Call(
            "POST",
            f"/models/{order.model}/predictions",
            json={"input": fields},
            headers={"prefer": f"wait={HELD_SECONDS}"},
        )

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        document = answer.json
        match document["status"]:
            case "succeeded":
                return Done([Picture(url=url) for url in _urls(document["output"])])
            case "failed":
                raise self._failure(str(document.get("error") or ""))
            case "aborted":
                raise BackendUnavailable(f"{self.title} gave the job up before it began. Nothing was charged.")
            case "canceled":
                raise BackendError(f"The job was cancelled at {self.title}.")
        urls = document["urls"]
        return Again(Call("GET", urls["get"]), document["id"], 0.5, cancel=Call("POST", urls["cancel"]))

    def _failure(self, said: str) -> PinxitError:
        if any(word in said for word in REFUSED):
            return refusal(self.title, "the input or the picture was flagged as sensitive.", stage="output")
        return BackendError(f"The job failed at {self.title}{f': {said[:200]}' if said else '.'}")

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        if answer.status == 422:
            said, param = _invalid_field(answer)
            return InvalidValue(f"{self.title} does not accept this order: {said}", param=param)
        return error_of_status(self.title, answer)


def flux_1_fields(order: PaintOrder, model: UpstreamModel) -> dict[str, Any]:
    """A picture to begin from gives its ratio to the result, whatever the order's size is."""
    fields: dict[str, Any] = {
        **FLUX_1_SIZES[order.size],
        "num_outputs": len(order.seeds),
        "go_fast": False,
        **_numbers(order, model),
    }
    if order.asked.images:
        fields["image"] = data_url(order.asked.images[0].data)
        if order.asked.strength is not None:
            fields["prompt_strength"] = order.asked.strength
    return fields


def flux_2_fields(order: PaintOrder, _model: UpstreamModel) -> dict[str, Any]:
    fields: dict[str, Any] = {"aspect_ratio": "custom", "width": order.size.width, "height": order.size.height}
    if order.asked.images:
        fields["input_images"] = [data_url(picture.data) for picture in order.asked.images]
    return fields


def other_fields(order: PaintOrder, model: UpstreamModel) -> dict[str, Any]:
    """Of a model that the operator has described: the names that most models on Replicate have."""
    fields = {"aspect_ratio": nearest_ratio(order.size, FLUX_1_RATIOS), **_numbers(order, model)}
    if len(order.seeds) > 1:
        fields["num_outputs"] = len(order.seeds)
    if order.asked.images:
        fields["image"] = data_url(order.asked.images[0].data)
    return fields


FIELDS = {"flux-1": flux_1_fields, "flux-2": flux_2_fields, "": other_fields}


def _numbers(order: PaintOrder, model: UpstreamModel) -> dict[str, Any]:
    can = model.spec.capabilities
    steps = {} if can.num_inference_steps is None else {"num_inference_steps": order.num_inference_steps}
    return steps if can.guidance_scale is None else {**steps, "guidance": order.guidance_scale}


def _urls(output: str | Sequence[str]) -> Sequence[str]:
    """A list where the model has `num_outputs`, one address where it has not."""
    return [output] if isinstance(output, str) else output


def _invalid_field(answer: Answer) -> tuple[str, str]:
    """What is said to be wrong, and our name for the first field of it, as far as the answer tells."""
    try:
        document: Mapping[str, Any] = answer.json
        found = (document.get("invalid_fields") or [{}])[0].get("field", "")
        return answer.message(), PARAMS.get(str(found).removeprefix("input."), "")
    except (PinxitError, AttributeError, IndexError, TypeError, KeyError):
        return answer.message(), ""
