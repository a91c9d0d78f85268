"""Colours as people name them: measuring which one a picture has, and painting a thing in another.

Everything happens in OKLab (Björn Ottosson, https://bottosson.github.io/posts/oklab/), where equal steps look equal and
lightness does not move when the hue does. Pixels are (N, 3) arrays of straight sRGB in 0..1; L in 0..1, chroma about
0..0.3, hue in degrees: red 29, yellow 110, green 142, blue 264.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]
"""(height, width, 4), red, green and blue multiplied by alpha."""


@dataclass(frozen=True, slots=True)
class Paint:
    """A colour to paint with."""

    lightness: float
    chroma: float
    hue: float


PAINTS: dict[str, Paint] = {
    "red": Paint(0.60, 0.22, 27),
    "orange": Paint(0.74, 0.17, 60),
    "yellow": Paint(0.88, 0.17, 97),
    "green": Paint(0.64, 0.17, 144),
    "blue": Paint(0.54, 0.19, 260),
    "light blue": Paint(0.82, 0.10, 232),
    "purple": Paint(0.53, 0.20, 304),
    "pink": Paint(0.77, 0.15, 352),
    "brown": Paint(0.44, 0.08, 52),
    "black": Paint(0.25, 0.0, 0),
    "gray": Paint(0.66, 0.0, 0),
    "white": Paint(0.95, 0.0, 0),
}
"""The twelve colours that captions name."""

COLOURS = tuple(PAINTS)

_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
_FROM_LMS = np.linalg.inv(_TO_LMS).astype(np.float32)
_FROM_LAB = np.linalg.inv(_TO_LAB).astype(np.float32)

_OPAQUE = 128
_GRAY_CHROMA = 0.04
_MAIN_SHARE = 0.5
_PAINTABLE_SHARE = 0.4


def to_lch(rgb: Floats) -> tuple[Floats, Floats, Floats]:
    """Lightness, chroma and hue of sRGB pixels."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab = np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T
    return lab[:, 0], np.hypot(lab[:, 1], lab[:, 2]), np.degrees(np.arctan2(lab[:, 2], lab[:, 1])) % 360


def from_lch(lightness: Floats, chroma: Floats, hue: Floats) -> Floats:
    """sRGB pixels, clipped to what a screen can show."""
    angle = np.radians(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], 1)
    linear = np.clip((lab @ _FROM_LAB.T) ** 3 @ _FROM_LMS.T, 0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)


def name_pixels(rgb: Floats) -> npt.NDArray[np.int64]:
    """The place in COLOURS of each pixel's colour, by the regions that English speakers mostly agree on."""
    lightness, chroma, hue = to_lch(rgb)
    gray = chroma < _GRAY_CHROMA
    conditions = [
        (lightness < 0.3) & (chroma < 0.07),
        gray & (lightness < 0.4),
        gray & (lightness > 0.87),
        gray,
        ((hue < 18) | (hue > 328)) & ((lightness > 0.63) | (hue > 328)),
        (hue < 45) & (lightness > 0.74),
        (hue < 95) & (lightness < 0.58) & (chroma < 0.13),
        hue < 45,
        (hue < 82) & ((lightness < 0.84) | (chroma > 0.14)),
        hue < 116,
        hue < 186,
        (hue < 283) & (lightness > 0.715),
        hue < 283,
    ]
    names = "black black white gray pink pink brown red orange yellow green light_blue blue".replace("_", "-").split()
    places = [COLOURS.index(name.replace("-", " ")) for name in names]
    return np.select(conditions, places, COLOURS.index("purple"))


def shares(picture: Pixels) -> dict[str, float]:
    """How much of what is opaque each colour covers; empty if nothing is."""
    rgb = opaque_pixels(picture)
    if len(rgb) == 0:
        return {}
    counts = np.bincount(name_pixels(rgb), minlength=len(COLOURS)) / len(rgb)
    return {name: float(count) for name, count in zip(COLOURS, counts, strict=True)}


def main_colour(picture: Pixels) -> str | None:
    """The colour of at least half of what is opaque."""
    found = shares(picture)
    best = max(found, key=found.__getitem__, default=None)
    return best if best is not None and found[best] >= _MAIN_SHARE else None


def opaque_pixels(picture: Pixels, step: int = 1) -> Floats:
    """Straight sRGB of the pixels that can be seen well, every `step`-th of each row and column."""
    flat = picture[::step, ::step].reshape(-1, 4)
    flat = flat[flat[:, 3] >= _OPAQUE].astype(np.float32)
    return np.clip(flat[:, :3] / flat[:, 3:], 0, 1)


@dataclass(frozen=True, slots=True)
class Coat:
    """The coat of paint that covers most of a picture."""

    paint: Paint
    """Its lightness and chroma in the middle, and its hue."""
    share: float
    """Of what is opaque."""

    @property
    def is_gray(self) -> bool:
        return self.paint.chroma < _GRAY_CHROMA


def main_coat(picture: Pixels) -> Coat | None:
    """The pixels around the most frequent hue, or the light grays and whites if they are more."""
    lightness, chroma, hue = to_lch(opaque_pixels(picture, 2))
    if len(hue) == 0:
        return None
    coloured = chroma > 0.05
    bins = np.bincount((hue[coloured] // 10).astype(int) % 36, minlength=36).astype(float)
    smooth = sum(np.roll(bins, shift) for shift in range(-2, 3))
    peak = float(np.argmax(smooth) * 10 + 5)
    near = coloured & (np.abs(_turn(hue, peak)) < 38)
    light_gray = (chroma < _GRAY_CHROMA) & (lightness > 0.45)
    chosen, is_gray = (light_gray, True) if light_gray.sum() > near.sum() else (near, False)
    if not chosen.any():
        return None
    middle = Paint(
        float(np.median(lightness[chosen])),
        0.0 if is_gray else float(np.median(chroma[chosen])),
        0.0 if is_gray else peak + float(np.median(_turn(hue[chosen], peak))),
    )
    return Coat(middle, float(chosen.mean()))


def is_recolourable(picture: Pixels) -> bool:
    """Whether one coat covers enough that the thing is seen as having another colour once it is painted over."""
    coat = main_coat(picture)
    return coat is not None and coat.share >= _PAINTABLE_SHARE


def recolour(picture: Pixels, colour: str) -> Pixels:
    """The picture with its main coat painted in `colour`; shading, highlights and the rest stay as they are."""
    coat = main_coat(picture)
    if coat is None:
        return picture
    flat = picture.reshape(-1, 4).astype(np.float32)
    seen = np.flatnonzero(flat[:, 3])
    alpha = flat[seen, 3:]
    rgb = np.clip(flat[seen, :3] / alpha, 0, 1)
    lightness, chroma, hue = to_lch(rgb)
    weight = _in_coat(coat, lightness, chroma, hue)[:, None]
    target = PAINTS[colour]
    painted = from_lch(*_paint(coat, target, lightness, chroma, hue))
    flat[seen, :3] = (painted * weight + rgb * (1 - weight)) * alpha
    return np.rint(np.clip(flat, 0, 255)).astype(np.uint8).reshape(picture.shape)


def _in_coat(coat: Coat, lightness: Floats, chroma: Floats, hue: Floats) -> Floats:
    if coat.is_gray:
        return _ramp(chroma, 0.08, 0.04) * _ramp(lightness, 0.35, 0.45)
    return _ramp(np.abs(_turn(hue, coat.paint.hue)), 50, 38) * _ramp(chroma, 0.025, 0.05)


def _paint(coat: Coat, target: Paint, lightness: Floats, chroma: Floats, hue: Floats) -> tuple[Floats, Floats, Floats]:
    # Shading is kept, but less of it where the target is so light or dark that there is no room.
    contrast = 0.45 if target.lightness > 0.9 or target.lightness < 0.3 else 0.8
    new_lightness = np.clip(target.lightness + (lightness - coat.paint.lightness) * contrast, 0.08, 1)
    depth = np.ones_like(chroma) if coat.is_gray else np.clip(chroma / coat.paint.chroma, 0.4, 1.15)
    # Highlights go to white, as they do in the originals.
    new_chroma = target.chroma * depth * np.clip((1 - new_lightness) / 0.1, 0, 1)
    turn = 0 if coat.is_gray else _turn(hue, coat.paint.hue) * 0.3
    return new_lightness, new_chroma, target.hue + turn


def _turn(hue: Floats, origin: float) -> Floats:
    """How far each hue lies from `origin`, in −180..180."""
    return (hue - origin + 180) % 360 - 180


def _ramp(x: Floats, zero: float, one: float) -> Floats:
    """0 at `zero` and before, 1 at `one` and after, smooth between."""
    part = np.clip((x - zero) / (one - zero), 0, 1)
    return part * part * (3 - 2 * part)
