"""Stability AI's Stable Image services (v2beta). https://platform.stability.ai/docs/api-reference

One picture per request, at once, as the raw file. Sizes go by ratio: the reference names ratios and an amount of
pixels, so the sizes here are what is to be expected, and the picture says what it is. Seed 0 means any. A picture that
is withheld comes blurred, with a header that says so. An edit keeps the size of its picture.
"""

from typing import ClassVar

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
    error_of_status,
    file_part,
    micros,
    nearest_ratio,
    refusal,
    seed_within,
)
from pinxit.errors import InvalidValue, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

RATIOS = {
    "1:1": Size(1024, 1024),
    "16:9": Size(1344, 768),
    "21:9": Size(1536, 640),
    "2:3": Size(832, 1216),
    "3:2": Size(1216, 832),
    "4:5": Size(896, 1088),
    "5:4": Size(1088, 896),
    "9:16": Size(768, 1344),
    "9:21": Size(640, 1536),
}
"""One megapixel: the sizes that Stable Diffusion 3 was published with."""
CORE_RATIOS = {
    "1:1": Size(1216, 1216),
    "16:9": Size(1600, 896),
    "21:9": Size(1920, 768),
    "2:3": Size(1024, 1472),
    "3:2": Size(1472, 1024),
    "4:5": Size(1088, 1344),
    "5:4": Size(1344, 1088),
    "9:16": Size(896, 1600),
    "9:21": Size(768, 1920),
}
"""1.5 megapixels, in multiples of 64."""
STYLES = (
    "3d-model",
    "analog-film",
    "anime",
    "cinematic",
    "comic-book",
    "digital-art",
    "enhance",
    "fantasy-art",
    "isometric",
    "line-art",
    "low-poly",
    "modeling-compound",
    "neon-punk",
    "origami",
    "photographic",
    "pixel-art",
    "tile-texture",
)
MAX_SEED = 4_294_967_294
STRENGTH = Range(0, 1, 0.7)
PARAMS = {
    "prompt": "prompt",
    "negative_prompt": "negative_prompt",
    "seed": "seed",
    "aspect_ratio": "size",
    "style_preset": "style",
    "output_format": "output_format",
    "cfg_scale": "guidance_scale",
    "image": "image",
    "strength": "strength",
}


def stable_image(
    id_: str,
    description: str,
    created: int,
    usd: str,
    service: str,
    *,
    guidance: Range | None = None,
    negative: bool = True,
) -> UpstreamModel:
    """`service`: core, ultra or sd3, which is asked for several models."""
    ratios = CORE_RATIOS if service == "core" else RATIOS
    edits = service != "core"
    can = Capabilities(
        sizes=tuple(ratios.values()),
        default_size=ratios["1:1"],
        native_size=ratios["1:1"],
        aspect_ratios=ratios,
        guidance_scale=guidance,
        negative_prompt=negative,
        styles=STYLES,
        encodings=(Encoding.PNG, Encoding.JPEG) if service == "sd3" else (Encoding.PNG, Encoding.JPEG, Encoding.WEBP),
        edits=edits,
        max_images=1 if edits else 0,
        strength=STRENGTH if edits else None,
    )
    prices = PriceList((PriceRule(micros(usd)),))
    licence = "proprietary" if service != "sd3" else "stabilityai-ai-community"
    spec = ModelSpec(id_, description, can, "stability-ai", licence, created, prices)
    return UpstreamModel(spec, facts={"service": service, "ratios": ratios})


class Stability(Provider):
    """Forms only, with or without files; one picture per request."""

    name = "stability"
    title = "Stability AI"
    documentation = (
        "https://platform.stability.ai/docs/api-reference by its schemas in "
        "https://github.com/api-evangelist/stability-ai (2026-11-22)",
        "https://github.com/Comfy-Org/ComfyUI comfy_api_nodes/apis/stability_api.py (2026-11-22)",
        "https://docs.litellm.ai/docs/providers/stability (2026-11-22)",
    )
    base_url = "https://api.stability.ai"
    credential_variable = "STABILITY_API_KEY"
    # Prices: https://platform.stability.ai/pricing, one credit is 0.01, as quoted by others on 2026-11-22.
    models: ClassVar = (
        stable_image("stable-image-core", "Stable Image Core.", 1_713_312_000, "0.03", "core"),
        stable_image("stable-image-ultra", "Stable Image Ultra.", 1_718_150_400, "0.08", "ultra"),
        stable_image(
            "sd3.5-large",
            "Stable Diffusion 3.5 Large.",
            1_729_555_200,
            "0.065",
            "sd3",
            guidance=Range(1, 10, 4),
        ),
        stable_image(
            "sd3.5-large-turbo",
            "Stable Diffusion 3.5 Large Turbo.",
            1_729_555_200,
            "0.04",
            "sd3",
            guidance=Range(1, 10, 1),
            negative=False,
        ),
        stable_image(
            "sd3.5-medium",
            "Stable Diffusion 3.5 Medium.",
            1_730_160_000,
            "0.035",
            "sd3",
            guidance=Range(1, 10, 4),
        ),
    )

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        asked, service = order.asked, model.facts.get("service", "sd3")
        fields = {
            "prompt": order.prompt,
            "output_format": asked.encoding.value,
        }
        if model.spec.capabilities.seed:
            fields["seed"] = str(seed_within(order.seeds[0], 1, MAX_SEED))
        if order.negative_prompt:
            fields["negative_prompt"] = order.negative_prompt
        if order.style is not None:
            fields["style_preset"] = order.style
        if service == "sd3":
            fields["model"] = order.model
        if order.guidance_scale is not None:
            fields["cfg_scale"] = str(order.guidance_scale)
        files = [file_part("image", picture.data) for picture in asked.images]
        if files:
            fields["strength"] = str(STRENGTH.default if asked.strength is None else asked.strength)
            if service == "sd3":
                fields["mode"] = "image-to-image"
        else:
            fields["aspect_ratio"] = nearest_ratio(order.size, model.facts.get("ratios", RATIOS))
        form = (*(Part(name, value) for name, value in fields.items()), *files)
        return Call("POST", f"/v2beta/stable-image/generate/{service}", form=form, headers={"accept": "image/*"})

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        if answer.headers.get("finish-reason") == "CONTENT_FILTERED":
            raise refusal(self.title, "the picture is withheld.", stage="output")
        return Done([Picture(data=answer.body)])

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        """`{"id", "name", "errors": ["field: what is wrong with it"]}`."""
        said = answer.message()
        if answer.status == 403 and _name(answer) == "content_moderation":
            return refusal(self.title, said)
        if answer.status in (400, 422):
            param = PARAMS.get(said.partition(":")[0], "")
            return InvalidValue(f"{self.title} does not accept this order: {said}", param=param)
        return error_of_status(self.title, answer)


def _name(answer: Answer) -> str:
    try:
        return str(answer.json["name"])
    except (PinxitError, KeyError, TypeError):
        return ""
