"""fal's queue API. https://fal.ai/docs

A request waits in the queue and is never rejected for being one too many. Its answer names the addresses of its status,
its result and its end. That it is COMPLETED does not mean that it went well: what went wrong on the way is in the
status, what was wrong with the input is the result's own 422. A picture that the safety checker withholds comes black,
with a flag.
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
    price_by_megapixel,
    refusal,
    seed_field,
)
from pinxit.errors import BackendError, BackendUnavailable, InvalidValue, PinxitError
from pinxit.images.request import Encoding
from pinxit.images.size import Size

WIDE = Size(1024, 768)
RATIOS = {
    "1:1": Size(1024, 1024),
    "3:4": Size(768, 1024),
    "9:16": Size(576, 1024),
    "4:3": WIDE,
    "16:9": Size(1024, 576),
}
SIZES = (*RATIOS.values(), Size(512, 512))
"""The presets of `image_size`."""
RANGE = SizeRange(512, 2048, multiple_of=16)
"""Any size may be given as well: FLUX.2 takes sides of 512 to 2048."""
JPEG_PNG = (Encoding.JPEG, Encoding.PNG)
PNG_JPEG_WEBP = (Encoding.PNG, Encoding.JPEG, Encoding.WEBP)
UNPAID = frozenset(
    {
        "runner_scheduling_failure",
        "runner_connection_timeout",
        "runner_connection_refused",
        "startup_timeout",
    }
)
"""Types of errors of a request that no runner has begun with."""
PARAMS = {
    "prompt": "prompt",
    "seed": "seed",
    "image_size": "size",
    "num_inference_steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
    "image_urls": "image",
}


def flux(
    id_: str,
    description: str,
    usd: str,
    created: int,
    *,
    licence: str = "proprietary",
    steps: Range | None = None,
    guidance: Range | None = None,
    encodings: Sequence[Encoding] = JPEG_PNG,
    editor: str = "",
) -> UpstreamModel:
    """`usd`: of a megapixel; `editor`: the model that paints from pictures in its place."""
    can = Capabilities(
        sizes=SIZES,
        default_size=WIDE,
        native_size=WIDE,
        aspect_ratios=RATIOS,
        size_range=RANGE,
        num_inference_steps=steps,
        guidance_scale=guidance,
        encodings=tuple(encodings),
        edits=bool(editor),
        max_images=4 if editor else 0,
    )
    prices = price_by_megapixel(usd, usd)
    spec = ModelSpec(id_, description, can, "black-forest-labs", licence, created, prices)
    return UpstreamModel(spec, facts={"editor": editor})


class Fal(Provider):
    """Sizes in pixels; one seed for all pictures of a request, so one picture per request."""

    name = "fal"
    title = "fal"
    documentation = (
        "https://fal.ai/docs/api-reference/inference-api (2026-11-22)",
        "https://docs.fal.ai/documentation/model-apis/inference/queue (2026-11-22)",
        "https://docs.fal.ai/documentation/model-apis/request-errors (2026-11-22)",
        "https://fal.ai/docs/documentation/model-apis/errors (2026-11-22)",
        "https://fal.ai/docs/inference-api/queue/cancel (2026-11-22)",
        "https://github.com/fal-ai/fal-js/blob/main/libs/client/src/types/endpoints.ts (2026-11-22)",
    )
    base_url = "https://queue.fal.run"
    credential_variable = "FAL_KEY"
    has_jobs = True
    # Prices: https://fal.ai/pricing, as quoted by others on 2026-11-22.
    models: ClassVar = (
        flux(
            "fal-ai/flux/schnell",
            "FLUX.1 [schnell] at fal.",
            "0.003",
            1_722_470_400,
            licence="apache-2.0",
            steps=Range(1, 12, 4),
            guidance=Range(1, 20, 3.5),
        ),
        flux(
            "fal-ai/flux/dev",
            "FLUX.1 [dev] at fal.",
            "0.025",
            1_722_470_400,
            licence="flux-1-dev-non-commercial-license",
            steps=Range(1, 50, 28),
            guidance=Range(1, 20, 3.5),
        ),
        flux("fal-ai/flux-pro/v1.1", "FLUX1.1 [pro] at fal.", "0.04", 1_727_827_200),
        flux(
            "fal-ai/flux-2",
            "FLUX.2 [dev] at fal; edits as fal-ai/flux-2/edit.",
            "0.012",
            1_764_028_800,
            licence="flux-dev-non-commercial-license",
            steps=Range(4, 50, 28),
            guidance=Range(0, 20, 2.5),
            encodings=PNG_JPEG_WEBP,
            editor="fal-ai/flux-2/edit",
        ),
    )

    def authorise(self) -> Mapping[str, str]:
        return {"authorization": f"Key {self.access.credential}"}

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        can = model.spec.capabilities
        fields: dict[str, Any] = {
            "prompt": order.prompt,
            "image_size": {"width": order.size.width, "height": order.size.height},
            "num_images": len(order.seeds),
            **seed_field("seed", order, model),
            "output_format": order.asked.encoding.value,
        }
        if can.num_inference_steps is not None:
            fields["num_inference_steps"] = order.num_inference_steps
        if can.guidance_scale is not None:
            fields["guidance_scale"] = order.guidance_scale
        if not order.asked.images:
            return Call("POST", f"/{order.model}", json=fields)
        fields["image_urls"] = [data_url(picture.data) for picture in order.asked.images]
        return Call("POST", f"/{model.facts.get('editor') or order.model}", json=fields)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        document = answer.json
        if "response_url" not in document:
            return self._read_result(document)
        if document["status"] != "COMPLETED":
            status = Call("GET", document["status_url"])
            return Again(status, document["request_id"], 0.5, cancel=Call("PUT", document["cancel_url"]))
        if document.get("error"):
            raise self._failure(document)
        return Again(Call("GET", document["response_url"]), document["request_id"], 0)

    def _read_result(self, document: Mapping[str, Any]) -> Step:
        if any(document.get("has_nsfw_concepts") or ()):
            raise refusal(self.title, "the safety checker withholds the picture.", stage="output")
        images = document["images"] if "images" in document else [document["image"]]
        return Done([Picture(url=image["url"]) for image in images])

    def _failure(self, document: Mapping[str, Any]) -> PinxitError:
        """Errors of the server's side are never charged (https://docs.fal.ai/documentation/model-apis/pricing)."""
        kind = str(document.get("error_type") or "")
        if kind in UNPAID:
            return BackendUnavailable(f"{self.title} has nobody to paint ({kind}). Nothing was charged.")
        return BackendError(f"The job failed at {self.title}{f' ({kind})' if kind else ''}.")

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        detail = _detail(answer)
        if answer.status == 403 and isinstance(detail, str) and "locked" in detail:
            return BackendUnavailable(f"This server's account at {self.title} is locked. Nothing was charged.")
        if isinstance(detail, list) and detail and isinstance(detail[0], dict):
            if any(found.get("type") == "content_policy_violation" for found in detail if isinstance(found, dict)):
                return refusal(self.title)
            loc = detail[0].get("loc")
            param = PARAMS.get(str(loc[1]), "") if isinstance(loc, list) and len(loc) > 1 else ""
            if answer.status == 422:
                return InvalidValue(f"{self.title} does not accept this order: {answer.message()}", param=param)
        return error_of_status(self.title, answer)


def _detail(answer: Answer) -> Any:
    try:
        return answer.json.get("detail")
    except (PinxitError, AttributeError):
        return None
