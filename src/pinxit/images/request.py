"""What a client asks for, before any model has looked at it."""

from dataclasses import dataclass, field
from enum import StrEnum

from pinxit.images.size import Size


class Delivery(StrEnum):
    """How pictures come back: as a URL, as base64, or both."""

    URL = "url"
    B64_JSON = "b64_json"
    BOTH = "both"

    @property
    def has_url(self) -> bool:
        return self is not Delivery.B64_JSON

    @property
    def has_b64(self) -> bool:
        return self is not Delivery.URL


class Encoding(StrEnum):
    """File formats of pictures that are stored and served."""

    PNG = "png"
    JPEG = "jpeg"
    WEBP = "webp"

    @property
    def media_type(self) -> str:
        return f"image/{self.value}"


@dataclass(frozen=True, slots=True)
class InputPicture:
    """A PNG, JPEG or WebP file whose header is sound. `sha256` in hex, of the file.

    `size` is that of the upright picture; `orientation`, as EXIF counts (1 to 8), is how the file has it.
    """

    sha256: str
    size: Size
    data: bytes = field(repr=False, compare=False)
    orientation: int = 1

    def without_data(self) -> "InputPicture":
        """What is remembered of it."""
        return InputPicture(self.sha256, self.size, b"", self.orientation)


@dataclass(frozen=True, slots=True)
class Routing:
    """Which backends may paint, as OpenRouter's `provider` says it
    (https://openrouter.ai/docs/features/provider-routing). Names are those of backends.
    """

    only: tuple[str, ...] = ()
    """None: all."""
    order: tuple[str, ...] = ()
    """Those to ask first."""
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    """Whether another may be asked when the first cannot."""
    sort: str = ""
    """`price` or `latency`; empty: as the model says."""
    after_refusal: bool = False
    """Whether another may be asked when one refuses the prompt by its policy."""


ANYWHERE = Routing()


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One order as asked: both wire dialects end here. None means "the model decides".

    `size` is `auto`, `WxH` or `W:H`; `compression` is 0..100 (jpeg and webp); `seed` 0..2³²−1;
    `end_user` is a hash, never the caller's own text; `images` are what to begin from, `mask` where to paint.
    """

    model: str
    prompt: str
    n: int = 1
    delivery: Delivery = Delivery.URL
    encoding: Encoding = Encoding.PNG
    compression: int | None = None
    size: str = "auto"
    quality: str = "auto"
    background: str = "auto"
    moderation: str = "auto"
    style: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    strength: float | None = None
    loras: tuple[str, ...] = ()
    store: bool = True
    include_cost: bool = False
    end_user: str | None = None
    images: tuple[InputPicture, ...] = ()
    mask: InputPicture | None = None
    routing: Routing = ANYWHERE
    fallback_models: tuple[str, ...] = ()
    """Models to ask when none of the backends of `model` can paint."""
