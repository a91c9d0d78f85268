"""Hugging Face's inference router. https://huggingface.co/docs/inference-providers

A model is asked for at one of several inference providers behind the router: at Hugging Face's own, `hf-inference`,
which answers with the raw picture, or at `fal-ai` (option `inference_provider`), which answers as fal does. Work is
billed by its time or at the inference provider's price, so there are no prices per picture here. Which models are
served changes from day to day.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder, Range
from pinxit.backends.upstream._provider import (
    Access,
    Answer,
    Call,
    Done,
    Picture,
    Provider,
    Step,
    UpstreamModel,
    refusal,
    seed_field,
)
from pinxit.errors import ConfigurationError
from pinxit.images.request import Encoding
from pinxit.images.size import Size

SQUARE = Size(1024, 1024)
RATIOS = {
    "1:1": SQUARE,
    "16:9": Size(1344, 768),
    "9:16": Size(768, 1344),
    "3:2": Size(1216, 832),
    "2:3": Size(832, 1216),
    "4:3": Size(1152, 896),
    "3:4": Size(896, 1152),
}
"""Any size may be asked for; these are of a megapixel, as the models were trained on."""
OWN, FAL = "hf-inference", "fal-ai"


def hub_model(
    id_: str,
    description: str,
    licence: str,
    created: int,
    steps: Range,
    guidance: Range | None,
    *,
    negative: bool = False,
    at_fal: str = "",
) -> UpstreamModel:
    """`at_fal`: what the model is called there."""
    can = Capabilities(
        sizes=tuple(RATIOS.values()),
        default_size=SQUARE,
        native_size=SQUARE,
        aspect_ratios=RATIOS,
        num_inference_steps=steps,
        guidance_scale=guidance,
        negative_prompt=negative,
        encodings=(Encoding.JPEG,),
    )
    spec = ModelSpec(id_, description, can, id_.partition("/")[0], licence, created)
    return UpstreamModel(spec, facts={"at_fal": at_fal})


class HuggingFace(Provider):
    """One picture per request."""

    name = "huggingface"
    title = "Hugging Face"
    documentation = (
        "https://huggingface.co/docs/inference-providers/tasks/text-to-image (2026-11-22)",
        "https://github.com/huggingface/huggingface_hub src/huggingface_hub/inference/_providers (2026-11-22)",
        "https://huggingface.co/docs/inference-providers/pricing (2026-11-22)",
    )
    base_url = "https://router.huggingface.co"
    credential_variable = "HF_TOKEN"
    option_names = frozenset({"inference_provider", "bill_to"})
    models: ClassVar = (
        hub_model(
            "black-forest-labs/FLUX.1-schnell",
            "FLUX.1 [schnell] at Hugging Face.",
            "apache-2.0",
            1_722_470_400,
            Range(1, 12, 4),
            None,
            at_fal="fal-ai/flux/schnell",
        ),
        hub_model(
            "black-forest-labs/FLUX.1-dev",
            "FLUX.1 [dev] at Hugging Face.",
            "flux-1-dev-non-commercial-license",
            1_722_470_400,
            Range(1, 50, 28),
            Range(1, 20, 3.5),
            at_fal="fal-ai/flux/dev",
        ),
        hub_model(
            "stabilityai/stable-diffusion-xl-base-1.0",
            "Stable Diffusion XL at Hugging Face.",
            "openrail++",
            1_690_329_600,
            Range(1, 100, 50),
            Range(0, 20, 5),
            negative=True,
        ),
    )

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._at = access.options.get("inference_provider", OWN)
        if self._at not in (OWN, FAL):
            raise ConfigurationError(f"options: inference_provider is {OWN} or {FAL}.")
        if self._at == FAL:
            self.offer([model for model in self.models if model.facts["at_fal"]])

    def authorise(self) -> Mapping[str, str]:
        headers = dict(super().authorise())
        if "bill_to" in self.access.options:
            headers["x-hf-bill-to"] = str(self.access.options["bill_to"])
        return headers

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        fields: dict[str, Any] = {**seed_field("seed", order, model)}
        if model.spec.capabilities.num_inference_steps is not None:
            fields["num_inference_steps"] = order.num_inference_steps
        if order.guidance_scale is not None:
            fields["guidance_scale"] = order.guidance_scale
        size = {"width": order.size.width, "height": order.size.height}
        if self._at == FAL:
            fields |= {"prompt": order.prompt, "image_size": size, "num_images": len(order.seeds)}
            return Call("POST", f"/{FAL}/{model.facts.get('at_fal') or order.model}", json=fields)
        if order.negative_prompt:
            fields["negative_prompt"] = order.negative_prompt
        document = {"inputs": order.prompt, "parameters": fields | size}
        return Call("POST", f"/{OWN}/models/{order.model}", json=document, headers={"accept": "image/jpeg"})

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        if answer.media_type.startswith("image/"):
            return Done([Picture(data=answer.body)])
        document = answer.json
        if any(document.get("has_nsfw_concepts") or ()):
            raise refusal(self.title, "the safety checker withholds the picture.", stage="output")
        return Done([Picture(url=image["url"]) for image in document["images"]])
