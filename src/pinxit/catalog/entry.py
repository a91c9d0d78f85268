"""One model of the catalogue, and the check of a request against what it can do."""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pinxit.backends.interface import MAX_SEED, Asked, Capabilities, ModelSpec, PaintOrder, Range, SizeRange
from pinxit.errors import InvalidValue
from pinxit.images.decoding import InputPixels
from pinxit.images.price import FREE, PriceList
from pinxit.images.request import Encoding, ImageRequest
from pinxit.images.size import Size

OPENAI_STYLES = ("vivid", "natural")
"""DALL·E 3's values: understood everywhere, without effect on models that have no such styles."""


@dataclass(frozen=True, slots=True)
class CheckedOrder:
    """A request that its model can do, nothing left open."""

    entry: "Entry"
    request: ImageRequest
    paint: PaintOrder
    quality: str
    price_micros_per_image: int
    strength: float | None = None

    def painted_from(self, pictures: InputPixels) -> "CheckedOrder":
        """The order with the pictures it begins from, which have its size."""
        asked = replace(self.paint.asked, images=(), mask=None)
        paint = replace(self.paint, images=pictures.images, mask=pictures.mask, strength=self.strength, asked=asked)
        return replace(self, paint=paint)

    def handed_on_with(self, pictures: InputPixels) -> "CheckedOrder":
        """The order with the files it begins from, as they came."""
        asked = replace(self.paint.asked, images=pictures.files, mask=pictures.mask_file, strength=self.strength)
        return replace(self, paint=replace(self.paint, asked=asked))

    @property
    def price_micros(self) -> int:
        """What the whole order costs if every picture of it is painted."""
        return self.price_micros_per_image * len(self.paint.seeds)


@dataclass(frozen=True, slots=True)
class Entry:
    """A model that clients can ask for. `defaults` fill in what a request leaves open."""

    id: str
    backend: str
    spec: ModelSpec
    description: str
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    aliases: tuple[str, ...] = ()
    prices: PriceList = FREE
    weight: float = 1.0
    others: tuple["Entry", ...] = ()
    """The same model at further backends, each as an entry without others."""
    sort: str = "order"
    """How one of them is chosen: order, weight, price, latency or sticky."""
    fallback_models: tuple[str, ...] = ()
    """Models to ask when none of its backends can paint."""

    @property
    def capabilities(self) -> Capabilities:
        return self.spec.capabilities

    @property
    def painter(self) -> str:
        """`<backend>/<the backend's model>`."""
        return f"{self.backend}/{self.spec.id}"

    def at(self, painter: str) -> "Entry":
        """The model at one of its backends alone; at its first, if that one is not there any more."""
        alone = (replace(self, others=()), *self.others)
        return next((entry for entry in alone if entry.painter == painter), alone[0])

    def offers(self, request: ImageRequest, *, first_seed: int | None = None) -> list[CheckedOrder]:
        """The order as each of the model's backends would paint it, of those that can; the seeds are the same.

        Raises InvalidValue as `check` does for the first of them, if none can.
        """
        first_seed = draw_seed() if first_seed is None else first_seed
        offers, problems = [], []
        for entry in (self, *self.others):
            try:
                offers.append(entry.check(request, first_seed=first_seed))
            except InvalidValue as problem:
                problems.append(problem)
        if not offers:
            raise problems[0]
        return offers

    def check(self, request: ImageRequest, *, first_seed: int | None = None) -> CheckedOrder:
        """Settle what the request left open, for this backend alone. `first_seed`: where the request has none.

        Raises InvalidValue, naming the parameter that the model cannot do.
        """
        can = self.capabilities
        _refuse_missing_capabilities(self.id, can, request)
        if request.n > can.max_n:
            raise InvalidValue(f"{self.id} paints at most {can.max_n} pictures at once.", param="n")
        if request.encoding not in can.encodings:
            raise InvalidValue(
                f"{self.id} cannot give {request.encoding.value}.", param="output_format", allowed=can.encodings
            )
        quality, steps = self._steps(request)
        if request.seed is not None:
            first_seed = request.seed
        elif first_seed is None:
            first_seed = draw_seed()
        paint = PaintOrder(
            model=self.spec.id,
            prompt=request.prompt,
            size=self._size(request),
            seeds=tuple((first_seed + index) % (MAX_SEED + 1) for index in range(request.n)),
            num_inference_steps=steps,
            guidance_scale=self._guidance(request),
            negative_prompt=self._open("negative_prompt", request.negative_prompt),
            style=self._style(request),
            transparent=request.background == "transparent",
            asked=Asked(
                quality=quality,
                background=request.background,
                moderation=request.moderation,
                encoding=request.encoding,
                compression=request.compression,
                end_user=request.end_user,
                images=request.images,
                mask=request.mask,
            ),
        )
        price = self.prices.micros(paint.size, quality)
        return CheckedOrder(self, request, paint, quality, price, self._strength(request))

    def _open(self, name: str, asked: Any) -> Any:
        return self.defaults.get(name) if asked is None else asked

    def _strength(self, request: ImageRequest) -> float | None:
        can = self.capabilities.strength
        if not request.images or can is None:
            return None
        asked = self._open("strength", request.strength)
        if asked is None:
            return can.default
        _require_within(self.id, "strength", asked, can)
        return float(asked)

    def _size(self, request: ImageRequest) -> Size:
        can = self.capabilities
        text = str(self.defaults.get("size", "auto")) if request.size == "auto" else request.size
        if text == "auto":
            return _nearest(request.images[0].size, can) if request.images else can.default_size
        if text in can.aspect_ratios:
            return can.aspect_ratios[text]
        if text in {str(size) for size in can.sizes} or _is_in_range(text, can):
            return Size.parse(text)
        ranges = [] if can.size_range is None else [can.size_range]
        allowed = [*can.sizes, *can.aspect_ratios, *ranges, "auto"]
        raise InvalidValue(f"{self.id} cannot paint the size {text[:40]!r}.", param="size", allowed=allowed)

    def _steps(self, request: ImageRequest) -> tuple[str, int]:
        """The name of the quality, and the number of inference steps."""
        can = self.capabilities
        quality = str(self.defaults.get("quality", "auto")) if request.quality == "auto" else request.quality
        if quality != "auto" and quality not in can.qualities:
            raise InvalidValue(
                f"{self.id} has no quality {quality[:40]!r}.", param="quality", allowed=["auto", *can.qualities]
            )
        usual = int(can.num_inference_steps.default) if can.num_inference_steps else 1
        if can.num_inference_steps is None:
            return quality, usual
        if quality == "auto":
            usual = int(self.defaults.get("num_inference_steps", usual))
            quality = next((name for name, steps in can.qualities.items() if steps == usual), "auto")
        else:
            usual = can.qualities[quality]
        if request.num_inference_steps is None:
            return quality, usual
        _require_within(self.id, "num_inference_steps", request.num_inference_steps, can.num_inference_steps)
        return quality, request.num_inference_steps

    def _guidance(self, request: ImageRequest) -> float | None:
        can = self.capabilities.guidance_scale
        asked = self._open("guidance_scale", request.guidance_scale)
        if asked is None:
            return can.default if can else None
        _require_within(self.id, "guidance_scale", asked, can)
        return float(asked)

    def _style(self, request: ImageRequest) -> str | None:
        style: str | None = self._open("style", request.style)
        if style is None or style in self.capabilities.styles:
            return style
        if style in OPENAI_STYLES:
            return None
        raise InvalidValue(
            f"{self.id} has no style {style[:40]!r}.",
            param="style",
            allowed=[*self.capabilities.styles, *OPENAI_STYLES],
        )


def draw_seed() -> int:
    """A seed that nobody asked for."""
    return secrets.randbelow(MAX_SEED + 1)


def _refuse_missing_capabilities(model: str, can: Capabilities, request: ImageRequest) -> None:
    asked_and_missing = {
        "seed": request.seed is not None and not can.seed,
        "negative_prompt": request.negative_prompt is not None and not can.negative_prompt,
        "num_inference_steps": request.num_inference_steps is not None and can.num_inference_steps is None,
        "guidance_scale": request.guidance_scale is not None and can.guidance_scale is None,
        "strength": request.strength is not None and can.strength is None,
        "image": bool(request.images) and not can.edits,
        "mask": request.mask is not None and not can.mask,
        "loras": bool(request.loras),
    }
    for param, missing in asked_and_missing.items():
        if missing:
            raise InvalidValue(
                f"{model} has no parameter {param!r}. GET /v1/models/{model} shows what it can do.", param=param
            )
    if len(request.images) > can.max_images:
        raise InvalidValue(f"{model} begins from at most {can.max_images} pictures.", param="image")
    if request.strength is not None and not request.images:
        raise InvalidValue("strength is for edits: there is no picture to begin from.", param="strength")
    if request.background == "transparent":
        if not can.transparent:
            raise InvalidValue(
                f"{model} cannot paint on a transparent ground.", param="background", allowed=["auto", "opaque"]
            )
        if request.encoding is Encoding.JPEG:
            raise InvalidValue("A transparent ground needs output_format png or webp.", param="background")


def _nearest(picture: Size, can: Capabilities) -> Size:
    """The size whose shape is most like the picture's; of several, the one most like the default in pixels.

    Where sizes are a range, the nearest in it to the picture's shape with as many pixels as the default has.
    """
    usual = can.default_size.width * can.default_size.height

    def unlikeness(size: Size) -> tuple[float, float]:
        shape = math.log(size.width / size.height) - math.log(picture.width / picture.height)
        return round(abs(shape), 3), abs(math.log(size.width * size.height / usual))

    return min([*can.sizes, can.default_size, *_like(picture, usual, can.size_range)], key=unlikeness)


def _like(picture: Size, pixels: int, allowed: SizeRange | None) -> list[Size]:
    """The sizes of the range about `pixels` large whose shape could be the picture's."""
    if allowed is None:
        return []
    width = math.sqrt(pixels * picture.width / picture.height)
    sides = allowed.sides

    def around(side: float) -> set[int]:
        place = int((side - sides.start) // sides.step)
        return {sides[min(max(near, 0), len(sides) - 1)] for near in (place, place + 1)}

    sizes = [Size(across, down) for across in around(width) for down in around(pixels / width)]
    return [size for size in sizes if allowed.has(size)]


def _is_in_range(text: str, can: Capabilities) -> bool:
    try:
        return can.size_range is not None and can.size_range.has(Size.parse(text))
    except ValueError:
        return False


def _require_within(model: str, param: str, value: float, allowed: Range | None) -> None:
    if allowed is None or not allowed.minimum <= value <= allowed.maximum:
        bounds = [] if allowed is None else [f"{allowed.minimum:g} to {allowed.maximum:g}"]
        raise InvalidValue(f"{model} cannot do {param}={value:g}.", param=param, allowed=bounds)
