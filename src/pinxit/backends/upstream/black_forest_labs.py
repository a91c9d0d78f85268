"""Black Forest Labs' own API: FLUX.2 and FLUX1.1. https://docs.bfl.ai

The model is the path. A job is asked for at the address that the order's answer gives, which may be at another of the
company's regional hosts; the picture then lies at an address that lives for ten minutes. There is no way to cancel.
An account may have 24 jobs under way at once: set `max_concurrency: 24`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import pybase64

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder, Range, SizeRange
from pinxit.backends.upstream._provider import (
    Again,
    Answer,
    Call,
    Done,
    Pending,
    Picture,
    Provider,
    Step,
    UpstreamModel,
    cost_of,
    error_of_status,
    micros,
    price_by_megapixel,
    refusal,
    seed_field,
)
from pinxit.errors import BackendError, InvalidValue, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

SQUARE = Size(1024, 1024)
FLUX_2_SIZES = {
    "1:1": SQUARE,
    "16:9": Size(1920, 1088),
    "9:16": Size(1088, 1920),
    "4:3": Size(1536, 1152),
    "3:4": Size(1152, 1536),
    "2:1": Size(2048, 1024),
    "1:2": Size(1024, 2048),
}
"""The documented common resolutions, in multiples of 16, and the same upright."""
FLUX_1_SIZES = {
    "1:1": SQUARE,
    "4:3": Size(1024, 768),
    "3:4": Size(768, 1024),
    "3:2": Size(1248, 832),
    "2:3": Size(832, 1248),
    "16:9": Size(1344, 768),
    "9:16": Size(768, 1344),
}
"""Within 256 to 1440, in multiples of 32."""
CREDIT_MICROS = micros("0.01")
PARAMS = {"prompt": "prompt", "seed": "seed", "width": "size", "height": "size", "input_image": "image"}
FAILED = frozenset({"Error", "Failed"})


def flux_2(id_: str, name: str, created: int, first: str, further: str, images: int, **more: Any) -> UpstreamModel:
    """A FLUX.2 model. `first`, `further`: what a megapixel costs in US dollars; `images`: how many it takes."""
    sizes = tuple(dict.fromkeys((*FLUX_2_SIZES.values(), Size(2048, 2048))))
    can = Capabilities(
        sizes=sizes,
        default_size=SQUARE,
        native_size=SQUARE,
        aspect_ratios=FLUX_2_SIZES,
        size_range=SizeRange(64, 4096, multiple_of=16, max_pixels=4 * 1024 * 1024),
        encodings=(Encoding.JPEG, Encoding.PNG),
        edits=True,
        max_images=images,
        **more,
    )
    prices = price_by_megapixel(first, further)
    return UpstreamModel(
        ModelSpec(id_, f"{name} of Black Forest Labs.", can, "black-forest-labs", "proprietary", created, prices)
    )


class BlackForestLabs(Provider):
    """Sizes in pixels; one picture per job; the order's answer says what the job costs."""

    name = "black_forest_labs"
    title = "Black Forest Labs"
    documentation = (
        "https://docs.bfl.ai/api_integration/errors (2026-11-22)",
        "https://docs.bfl.ai/quick_start/pricing (2026-11-22)",
        "https://github.com/black-forest-labs/skills skills/bfl-api/references/endpoints.md (2026-11-22)",
        "https://github.com/black-forest-labs/skills skills/bfl-api/references/polling-patterns.md (2026-11-22)",
        "https://github.com/black-forest-labs/skills skills/flux-best-practices/rules/model-selection-guide.md "
        "(2026-11-22)",
    )
    base_url = "https://api.bfl.ai/v1"
    credential_variable = "BFL_API_KEY"
    has_jobs = True
    own_hosts = ("bfl.ai",)
    models: ClassVar = (
        flux_2("flux-2-pro", "FLUX.2 [pro]", 1_764_028_800, "0.03", "0.015", 8),
        flux_2("flux-2-max", "FLUX.2 [max]", 1_765_843_200, "0.07", "0.03", 8),
        flux_2(
            "flux-2-flex",
            "FLUX.2 [flex]",
            1_764_028_800,
            "0.05",
            "0.05",
            8,
            num_inference_steps=Range(1, 50, 50),
            guidance_scale=Range(1.5, 10, 4.5),
        ),
        flux_2("flux-2-klein-4b", "FLUX.2 [klein] 4B", 1_768_435_200, "0.014", "0.001", 4),
        flux_2("flux-2-klein-9b", "FLUX.2 [klein] 9B", 1_768_435_200, "0.015", "0.002", 4),
        UpstreamModel(
            ModelSpec(
                "flux-pro-1.1",
                "FLUX1.1 [pro] of Black Forest Labs.",
                Capabilities(
                    sizes=tuple(FLUX_1_SIZES.values()),
                    default_size=SQUARE,
                    native_size=SQUARE,
                    aspect_ratios=FLUX_1_SIZES,
                    size_range=SizeRange(256, 1440, multiple_of=32),
                    encodings=(Encoding.JPEG, Encoding.PNG),
                ),
                "black-forest-labs",
                "proprietary",
                1_727_827_200,
                PriceList((PriceRule(micros("0.04")),)),
            )
        ),
    )

    def authorise(self) -> Mapping[str, str]:
        return {"x-key": self.access.credential}

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        can = model.spec.capabilities
        fields: dict[str, Any] = {
            "prompt": order.prompt,
            "width": order.size.width,
            "height": order.size.height,
            **seed_field("seed", order, model),
            "output_format": order.asked.encoding.value,
        }
        if can.num_inference_steps is not None:
            fields["steps"] = order.num_inference_steps
        if can.guidance_scale is not None:
            fields["guidance"] = order.guidance_scale
        for number, picture in enumerate(order.asked.images, 1):
            name = "input_image" if number == 1 else f"input_image_{number}"
            fields[name] = pybase64.b64encode(picture.data).decode()
        return Call("POST", f"/{order.model}", json=fields)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        document = answer.json
        if "polling_url" in document:
            return Again(
                Call("GET", document["polling_url"]),
                document["id"],
                seconds=0.5,
                cost_micros=cost_of(document.get("cost"), CREDIT_MICROS),
            )
        return self._read_job(document)

    def _read_job(self, document: Mapping[str, Any]) -> Step:
        match document["status"]:
            case "Pending" | "Task not found":  # the latter not for good: another host may not know it yet
                return Pending(progress=document.get("progress") or 0.0)
            case "Ready":
                return Done([Picture(url=document["result"]["sample"])])
            case "Request Moderated":
                raise refusal(self.title, _reasons(document))
            case "Content Moderated":
                raise refusal(self.title, _reasons(document), stage="output")
            case failed if failed in FAILED:
                raise BackendError(f"The job failed at {self.title}.")
            case _:
                raise BackendError(f"{self.title} gives the job a state that is not documented.")

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        """Statuses are documented, bodies but for that of 422 are not."""
        if answer.status == 422 and (param := _param(answer)) is not None:
            return InvalidValue(f"{self.title} does not accept this order: {answer.message()}", param=param)
        return error_of_status(self.title, answer)


def _reasons(document: Mapping[str, Any]) -> str:
    reasons = (document.get("details") or {}).get("Moderation Reasons") or ()
    return ", ".join(str(reason) for reason in reasons)


def _param(answer: Answer) -> str | None:
    """Our name for what is wrong by `{"detail": [{"loc": ["body", name], …}]}`, if we have one."""
    try:
        return PARAMS.get(answer.json["detail"][0]["loc"][-1])
    except (PinxitError, KeyError, IndexError, TypeError):
        return None
