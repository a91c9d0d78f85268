"""Ideogram's API: 3.0 and 4.0 of version 1, 4.5 of version 2. https://developer.ideogram.ai

Forms throughout; the model is in the path. Prompts are rewritten there unless that is turned off, which is what happens
here (option `magic_prompt`), as a seed promises the same picture. Our qualities are its rendering speeds. A picture
that fails the check after it was painted is billed, and has no address. An organisation may have ten pictures under way
at once: set `max_concurrency: 10`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from pinxit.backends.interface import Capabilities, ModelSpec, PaintOrder, Range
from pinxit.backends.upstream._provider import (
    Access,
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
    mask_part,
    micros,
    refusal,
    seed_field,
)
from pinxit.errors import ConfigurationError, PinxitError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size

UPRIGHT_3 = (
    "512x1536 576x1408 576x1472 576x1536 640x1344 640x1408 640x1472 640x1536 704x1152 704x1216 704x1280 704x1344 "
    "704x1408 704x1472 736x1312 768x1088 768x1216 768x1280 768x1344 800x1280 832x960 832x1024 832x1088 832x1152 "
    "832x1216 832x1248 864x1152 896x960 896x1024 896x1088 896x1120 896x1152 960x1024 960x1088"
)
RATIOS_3 = {
    "1:1": "1024x1024",
    "1:2": "704x1408",
    "1:3": "512x1536",
    "2:3": "832x1248",
    "3:4": "864x1152",
    "4:5": "896x1120",
    "9:16": "736x1312",
    "10:16": "800x1280",
}
"""Upright ones; each may be turned."""
UPRIGHT_4 = "1440x2880 1664x2496 1792x2240 1440x2560 1600x2560 1728x2304 1296x3168 1152x2944 1248x3328 1280x3072"
RATIOS_4 = {
    "1:1": "2048x2048",
    "1:2": "1440x2880",
    "2:3": "1664x2496",
    "4:5": "1792x2240",
    "9:16": "1440x2560",
    "10:16": "1600x2560",
    "3:4": "1728x2304",
}
UPRIGHT_4_5 = f"{UPRIGHT_4} 1024x3072 720x1440 832x1248 896x1120 720x1280 800x1280 864x1152"
SPEEDS = {"auto": "DEFAULT", "low": "TURBO", "medium": "DEFAULT", "high": "QUALITY"}
QUALITIES = {"auto": "medium", "low": "low", "medium": "medium", "high": "high"}
MAX_SEED = 2_147_483_647
MAGIC = ("auto", "on", "off")


def sizes_of(upright: str, *squares: str) -> tuple[Size, ...]:
    """The squares, and the upright ones both ways."""
    tall = [Size.parse(text) for text in upright.split()]
    return (*map(Size.parse, squares), *tall, *(Size(size.height, size.width) for size in tall))


def ratios_of(upright: Mapping[str, str]) -> dict[str, Size]:
    """The ratios both ways."""
    found: dict[str, Size] = {}
    for ratio, text in upright.items():
        wide, high = ratio.split(":")
        size = Size.parse(text)
        found |= {ratio: size, f"{high}:{wide}": Size(size.height, size.width)}
    return found


def ideogram(
    id_: str,
    name: str,
    created: int,
    usd: tuple[str, str, str],
    sizes: tuple[Size, ...],
    ratios: Mapping[str, str],
    **more: Any,
) -> UpstreamModel:
    """`usd`: of a picture in low, medium (as of itself) and high quality. The first of `sizes` is the default."""
    prices = [
        PriceRule(micros(price), quality=quality) for quality, price in zip(("low", "medium", "high"), usd, strict=True)
    ]
    can = Capabilities(
        sizes=sizes,
        default_size=sizes[0],
        native_size=sizes[0],
        aspect_ratios=ratios_of(ratios),
        qualities={"low": 1, "medium": 1, "high": 1},
        encodings=(Encoding.PNG,),
        **more,
    )
    price_list = PriceList((PriceRule(micros(usd[1])), *prices))
    return UpstreamModel(ModelSpec(id_, f"{name}.", can, "ideogram", "proprietary", created, price_list))


class Ideogram(Provider):
    """Answers at once; one seed for all pictures of a request, so one picture per request."""

    name = "ideogram"
    title = "Ideogram"
    documentation = (
        "https://developer.ideogram.ai/api-reference/api-reference/generate-v3 (2026-11-22)",
        "https://developer.ideogram.ai/api-reference/images/generate/ideogram-4-6.md (2026-11-22)",
        "https://developer.ideogram.ai/ideogram-api/errors (2026-11-22)",
        "https://developer.ideogram.ai/ideogram-api/rate-limits (2026-11-22)",
        "https://ideogram.ai/api-generate/ (2026-11-22)",
        "https://ideogram.ai/features/api-pricing (2026-11-16)",
        "https://docs.comfy.org/development/comfy-router/models/ideogram/ideogram-v4/code (2026-11-22)",
    )
    base_url = "https://api.ideogram.ai"
    credential_variable = "IDEOGRAM_API_KEY"
    option_names = frozenset({"magic_prompt"})
    models: ClassVar = (
        ideogram(
            "ideogram-v3",
            "Ideogram 3.0",
            1_742_947_200,
            ("0.03", "0.06", "0.09"),
            sizes_of(UPRIGHT_3, "1024x1024"),
            RATIOS_3,
            negative_prompt=True,
            styles=("general", "realistic", "design", "fiction"),
            edits=True,
            mask=True,
            max_images=1,
            strength=Range(0, 1, 0.5),
        ),
        ideogram(
            "ideogram-v4",
            "Ideogram 4.0",
            1_775_001_600,
            ("0.03", "0.06", "0.10"),
            sizes_of(UPRIGHT_4, "2048x2048"),
            RATIOS_4,
            seed=False,
        ),
        ideogram(
            "ideogram-4-5",
            "Ideogram 4.5",
            1_788_220_800,
            ("0.03", "0.06", "0.10"),
            sizes_of(UPRIGHT_4_5, "2048x2048", "1024x1024"),
            RATIOS_4,
            edits=True,
            max_images=1,
        ),
    )

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self._magic = access.options.get("magic_prompt", "off")
        if self._magic not in MAGIC:
            raise ConfigurationError(f"options: magic_prompt is one of {', '.join(MAGIC)}.")

    def authorise(self) -> Mapping[str, str]:
        return {"api-key": self.access.credential}

    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        match order.model:
            case "ideogram-v3":
                return self._version_3(order, model)
            case "ideogram-v4":
                only: dict[str, Any] = {
                    "text_prompt": order.prompt,
                    "resolution": str(order.size),
                    "rendering_speed": SPEEDS[order.asked.quality],
                }
                return Call("POST", "/v1/ideogram-v4/generate", form=_form(only))
        fields: dict[str, Any] = {
            "prompt": order.prompt,
            "size": str(order.size),
            "num_images": len(order.seeds),
            **seed_field("seed", order, model, MAX_SEED),
            "quality": QUALITIES.get(order.asked.quality, order.asked.quality),
            "magic_prompt": self._magic,
        }
        files = [file_part("images", picture.data) for picture in order.asked.images]
        return Call("POST", f"/v2/image/generate/{order.model}", form=(*_form(fields), *files))

    def _version_3(self, order: PaintOrder, model: UpstreamModel) -> Call:
        asked = order.asked
        fields: dict[str, Any] = {
            "prompt": order.prompt,
            "num_images": len(order.seeds),
            **seed_field("seed", order, model, MAX_SEED),
            "rendering_speed": SPEEDS[asked.quality],
            "magic_prompt": self._magic.upper(),
        }
        if order.style is not None:
            fields["style_type"] = order.style.upper()
        if asked.images and asked.mask is not None:  # black is what is to be painted
            files = file_part("image", asked.images[0].data), _mask(order)
            return Call("POST", "/v1/ideogram-v3/inpaint", form=(*_form(fields), *files))
        if order.negative_prompt:
            fields["negative_prompt"] = order.negative_prompt
        fields["resolution"] = str(order.size)
        if not asked.images:
            return Call("POST", "/v1/ideogram-v3/generate", form=_form(fields))
        if asked.strength is not None:  # its weight is that of the picture to begin from
            fields["image_weight"] = str(min(max(round(100 * (1 - asked.strength)), 1), 100))
        form = (*_form(fields), file_part("image", asked.images[0].data))
        return Call("POST", "/v1/ideogram-v3/remix", form=form)

    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        return Done([self._picture(datum, order) for datum in answer.json["data"]])

    def _picture(self, datum: Mapping[str, Any], order: PaintOrder) -> Picture:
        if not datum.get("is_image_safe", True) or not datum.get("url"):
            raise refusal(self.title, "the picture failed the safety check.", stage="output")
        prompt = datum.get("prompt") or ""
        return Picture(url=datum["url"], revised_prompt="" if prompt == order.prompt else prompt)

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        """422: the prompt or a picture failed the safety check. 400: a parameter is wrong."""
        if answer.status == 422:
            return refusal(self.title, answer.message())
        return error_of_status(self.title, answer)


def _form(fields: Mapping[str, Any]) -> tuple[Part, ...]:
    return tuple(Part(name, str(value)) for name, value in fields.items())


def _mask(order: PaintOrder) -> Part:
    assert order.asked.mask is not None
    return mask_part(order.asked.mask, order.asked.images[0].size, is_painted_white=False)
