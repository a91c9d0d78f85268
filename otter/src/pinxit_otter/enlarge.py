"""From the model's 128×128 pixels to the size that was asked for."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pinxit.images.pixels import Pixels
from pinxit.images.size import Size

Picture = npt.NDArray[np.uint8]
"""(height, width, 3), RGB."""

_BORDER = 3
"""How many of the model's own pixels at a side tell the colour of the ground there."""

_FEATHER = 6
"""Over how many of the model's own pixels the square fades into the ground; its pictures keep that much margin."""

_SAME_GROUND = 24
"""Up to this difference (0..255, the largest of the three channels) a pixel at the border belongs to a plain ground."""


def as_pixels(picture: Picture) -> Pixels:
    """The picture as it is."""
    height, width, _ = picture.shape
    return Pixels(width=width, height=height, mode="RGB", data=picture.tobytes())


def enlarge(picture: Picture, size: Size) -> Pixels:
    """The square picture filling the shorter side, centred; on the longer side its ground goes on.

    Lanczos (a = 3) and a mild unsharp mask as wide as one of the model's pixels.
    """
    side = min(size.width, size.height)
    square = _sharpen(Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS), side / len(picture))
    if size.width == size.height:
        return as_pixels(np.asarray(square))
    if size.width > size.height:
        return as_pixels(_widen(picture, np.asarray(square), size.width))
    upright = _widen(picture.transpose(1, 0, 2), np.asarray(square).transpose(1, 0, 2), size.height)
    return as_pixels(np.ascontiguousarray(upright.transpose(1, 0, 2)))


def _sharpen(image: Image.Image, factor: float) -> Image.Image:
    return image.filter(ImageFilter.UnsharpMask(radius=factor, percent=60, threshold=0)) if factor > 1 else image


def _widen(picture: Picture, square: Picture, width: int) -> Picture:
    """`square` (side, side, 3) in the middle of (side, width, 3), its outermost pixels fading into the grounds."""
    side = len(square)
    left = (width - side) // 2
    wide = np.empty((side, width, 3), np.float32)
    wide[:, : left + side // 2] = _ground(picture[:, :_BORDER], side)[:, None]
    wide[:, left + side // 2 :] = _ground(picture[:, -_BORDER:], side)[:, None]
    from_edge = np.minimum(np.arange(side), np.arange(side)[::-1]).astype(np.float32)
    opacity = np.clip(from_edge * len(picture) / (side * _FEATHER), 0, 1)
    opacity = (opacity * opacity * (3 - 2 * opacity))[None, :, None]
    middle = wide[:, left : left + side]
    middle += opacity * (square - middle)
    return np.rint(np.clip(wide, 0, 255)).astype(np.uint8)


def _ground(border: Picture, side: int) -> npt.NDArray[np.float32]:
    """The ground's colour (side, 3) in each row beside `border`: one colour, or a soft gradient if it is not plain."""
    rows = np.median(border, axis=1)
    colour = np.median(rows, axis=0)
    plain = np.abs(rows - colour).max(axis=1) <= _SAME_GROUND
    if plain.mean() >= 0.6:
        return np.broadcast_to(colour, (side, 3)).astype(np.float32)
    blurred = _blur(rows.astype(np.float32), deviation=len(rows) / 10)
    places = (np.arange(side) + 0.5) * len(rows) / side - 0.5
    return np.stack([np.interp(places, np.arange(len(rows)), channel) for channel in blurred.T], axis=1).astype(
        np.float32
    )


def _blur(rows: npt.NDArray[np.float32], deviation: float) -> npt.NDArray[np.float32]:
    """Rows (n, 3) under a Gaussian, the ends continued."""
    reach = int(3 * deviation)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    padded = np.pad(rows, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(channel, weights, mode="valid") for channel in padded.T], axis=1).astype(np.float32)
