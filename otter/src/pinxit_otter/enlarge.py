"""From the model's 256×256 pixels to the size that was asked for, on white or on transparent ground."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pinxit.images.pixels import Pixels
from pinxit.images.size import Size
from pinxit_otter.spec import NATIVE_SIDE

Picture = npt.NDArray[np.uint8]
"""(height, width, 4), RGBA with red, green and blue multiplied by alpha; or (height, width, 3), RGB."""

Floats = npt.NDArray[np.floating]

_BORDER = 6
"""How many of the model's own pixels at a side tell the colour of the ground there."""

_FEATHER = 16
"""Over how many of the model's own pixels the square fades into the ground; its pictures keep that much margin."""

_SAME_GROUND = 24
"""Up to this difference (0..255, the largest of the channels) a pixel at the border belongs to a plain ground."""

_PLAIN_SHARE = 0.6
"""A border is plain if this share of its rows belongs to one ground: the thing painted may touch the border."""

_SHARPEN = ImageFilter.UnsharpMask(radius=2, percent=60, threshold=0)


def as_pixels(picture: Picture) -> Pixels:
    """The picture as it is; with four channels its colours are divided by alpha again."""
    height, width, channels = picture.shape
    if channels == 3:
        return Pixels(width, height, "RGB", picture.tobytes())
    return Pixels(
        width, height, "RGBA", Image.frombytes("RGBa", (width, height), picture.tobytes()).convert("RGBA").tobytes()
    )


def on_white(picture: Picture) -> Picture:
    """The picture (height, width, 3) without its alpha."""
    # No colour is above its alpha, so nothing overflows.
    return picture[..., :3] + (255 - picture[..., 3:])


def enlarge(picture: Picture, size: Size, *, transparent: bool = False) -> Pixels:
    """The square picture filling the shorter side, centred; on the longer side its ground goes on.

    A picture that has the size already stays as it is. On white (RGB), or `transparent` as it was painted (RGBA).
    Lanczos (a = 3), with an unsharp mask where it enlarges.
    """
    seen = picture if transparent else on_white(picture)
    if picture.shape[:2] == (size.height, size.width):
        return as_pixels(seen)
    square = resized(seen, min(size.width, size.height))
    if size.width == size.height:
        return as_pixels(square)
    seen = resized(seen, min(len(seen), NATIVE_SIDE))
    if size.width > size.height:
        return as_pixels(_widen(seen, square, size.width))
    upright = _widen(seen.transpose(1, 0, 2), square.transpose(1, 0, 2), size.height)
    return as_pixels(np.ascontiguousarray(upright.transpose(1, 0, 2)))


def resized(picture: Picture, height: int, width: int | None = None) -> Picture:
    """The picture in another size, square if no width is given."""
    width = height if width is None else width
    if (height, width) == picture.shape[:2]:
        return picture.copy()
    mode = "RGBa" if picture.shape[2] == 4 else "RGB"
    image = Image.frombytes(mode, picture.shape[1::-1], picture.tobytes())
    changed = image.resize((width, height), Image.Resampling.LANCZOS)
    if height > picture.shape[0]:
        changed = changed.filter(_SHARPEN)
    pixels = np.array(changed)
    if mode == "RGBa":
        # Both filters overshoot at edges; a colour above its alpha would be none.
        np.minimum(pixels[..., :3], pixels[..., 3:], out=pixels[..., :3])
    return pixels


def _widen(picture: Picture, square: Picture, width: int) -> Picture:
    """`square` (side, side, channels) in the middle of (side, width, channels), its borders fading into the grounds."""
    side = len(square)
    left = (width - side) // 2
    right = left + side
    ground_left, ground_right = _grounds(picture[:, :_BORDER], picture[:, -_BORDER:], side)
    wide = np.empty((side, width, square.shape[2]), np.uint8)
    wide[:, :left] = np.rint(ground_left)[:, None]
    wide[:, left:right] = square
    wide[:, right:] = np.rint(ground_right)[:, None]
    fade = side * _FEATHER // len(picture)
    wide[:, left : left + fade] = _faded(square[:, :fade], ground_left)
    wide[:, right - fade : right] = _faded(square[:, ::-1][:, :fade], ground_right)[:, ::-1]
    return wide


def _faded(strip: Picture, ground: Floats) -> Picture:
    """From the ground, on the left, smoothly to the strip."""
    place = (np.arange(strip.shape[1]) + 0.5) / strip.shape[1]
    opacity = (place * place * (3 - 2 * place))[None, :, None]
    mixed: Picture = np.rint(ground[:, None] + opacity * (strip - ground[:, None])).astype(np.uint8)
    return mixed


def _grounds(left: Picture, right: Picture, side: int) -> tuple[Floats, Floats]:
    """The ground's colour (side, channels) in each row beside the two borders (rows, few, channels).

    One colour where the borders are plain, the same on both sides if they nearly agree; else a soft gradient.
    """
    colours = np.median(left, axis=(0, 1)), np.median(right, axis=(0, 1))
    if np.abs(colours[0] - colours[1]).max() <= _SAME_GROUND:
        colours = (colours[0] + colours[1]) / 2, (colours[0] + colours[1]) / 2
    return _ground(left, colours[0], side), _ground(right, colours[1], side)


def _ground(border: Picture, colour: Floats, side: int) -> Floats:
    rows = np.median(border, axis=1)
    plain = np.abs(rows - colour).max(axis=1) <= _SAME_GROUND
    if plain.mean() >= _PLAIN_SHARE:
        return np.broadcast_to(colour, (side, len(colour))).astype(np.float32)
    blurred = _blur(rows, deviation=len(rows) / 10)
    places = (np.arange(side) + 0.5) * len(rows) / side - 0.5
    return np.stack([np.interp(places, np.arange(len(rows)), channel) for channel in blurred.T], axis=1)


def _blur(rows: Floats, deviation: float) -> Floats:
    """Rows (n, channels) under a Gaussian, the ends continued."""
    reach = int(3 * deviation)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    padded = np.pad(rows, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(channel, weights, mode="valid") for channel in padded.T], axis=1)
