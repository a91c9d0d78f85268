"""From originals to pixels: one picture of each, cut to what is drawn and fitted to a frame, for the composer."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import colour
from .colour import Pixels
from .originals import Collection, Original, keep

SIDE = 256
"""Width and height of a picture, in pixels."""

_MARGIN = 8
_LEAST_ALPHA = 8
_LEAST_PIXELS = 200
_LEAST_BOX = 0.3


def rasterise(original: Original, content: str | bytes, side: int) -> Pixels:
    """The whole drawing, longest side `side` pixels, red, green and blue multiplied by alpha.

    Raises ValueError if the renderer does not understand it.
    """
    if isinstance(content, bytes):
        return scaled(np.array(Image.open(io.BytesIO(content)).convert("RGBA").convert("RGBa")), side / SIDE)
    return np.array(Image.open(io.BytesIO(_render(svg(original, content, side)))).convert("RGBA").convert("RGBa"))


def _render(document: str) -> bytes:
    import resvg_py

    try:
        return bytes(resvg_py.svg_to_bytes(svg_string=document))
    except BaseException as error:
        # A panic in Rust is no Exception in Python (PyO3's PanicException); a few filters cause one.
        if type(error).__name__ == "PanicException":
            raise ValueError(f"cannot be drawn: {error}") from error
        raise


def svg(original: Original, body: str, side: int) -> str:
    """The whole drawing as a document, longest side `side` pixels."""
    left, top, width, height = original.view
    scale = side / max(width, height)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{max(1, round(width * scale))}" height="{max(1, round(height * scale))}" '
        f'viewBox="{left:g} {top:g} {width:g} {height:g}">{body}</svg>'
    )


def boxed(original: Original, picture: Pixels) -> Original | None:
    """The original with the box of what is drawn in the whole `picture` of it; None if that is next to nothing."""
    rows, columns = np.nonzero(picture[..., 3] > _LEAST_ALPHA)
    if len(rows) < _LEAST_PIXELS:
        return None
    longest = max(picture.shape[:2])
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    box = (left / longest, top / longest, (right - left) / longest, (bottom - top) / longest)
    return replace(original, box=tuple(round(float(number), 4) for number in box))


def fitted(original: Original, content: str | bytes) -> Pixels:
    """The picture in the middle of a frame of SIDE, as large as the margin allows."""
    inner = SIDE - 2 * _MARGIN
    left, top, width, height = original.box
    # Drawn at the size at which the box fills the frame, and cut then: no second filter softens it.
    longest = round(inner / max(width, height))
    whole = rasterise(original, content, longest)
    rows = slice(round(top * longest), min(round((top + height) * longest), round(top * longest) + inner))
    columns = slice(round(left * longest), min(round((left + width) * longest), round(left * longest) + inner))
    picture = whole[rows, columns]
    frame = np.zeros((SIDE, SIDE, 4), np.uint8)
    height, width = picture.shape[:2]
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    frame[top : top + height, left : left + width] = picture
    return frame


def scaled(picture: Pixels, factor: float) -> Pixels:
    """The picture at `factor` of its width and height, with a good filter."""
    height, width = picture.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.array(as_image(picture).resize(size, Image.Resampling.LANCZOS))


def as_image(picture: Pixels) -> Image.Image:
    """For Pillow, whose `RGBa` is RGBA with colours multiplied by alpha."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return Image.fromarray(picture, "RGBa")


def describe(collection: Collection, processes: int = 2) -> Collection:
    """Draw everything once: cut each view, measure its colour, leave out what shows nothing or cannot be drawn."""
    work = list(zip(collection.originals, collection.contents, strict=True))
    with get_context("fork").Pool(processes) as pool:
        return keep(collection, pool.imap(_described, work, chunksize=16))


def _described(work: tuple[Original, str | bytes]) -> Original | None:
    original, content = work
    try:
        found = boxed(original, rasterise(original, content, SIDE))
        if found is None or max(found.box[2:]) < _LEAST_BOX:
            return None
        picture = fitted(found, content)
    except ValueError:
        return None
    return replace(found, colour=colour.main_colour(picture), recolourable=colour.is_recolourable(picture))


def draw_all(collection: Collection, path: Path, processes: int) -> npt.NDArray[np.uint8]:
    """Every original fitted to the frame, (N, SIDE, SIDE, 4), in a file that processes can share; drawn if missing."""
    shape = (len(collection.originals), SIDE, SIDE, 4)
    if not path.exists():
        unfinished = path.with_suffix(".part")
        pictures = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
        work = list(zip(collection.originals, collection.contents, strict=True))
        with get_context("fork").Pool(processes) as pool:
            for place, picture in enumerate(pool.imap(_fitted, work, chunksize=16)):
                pictures[place] = picture
        pictures.flush()
        unfinished.rename(path)
    pictures = np.load(path, mmap_mode="r")
    if pictures.shape != shape:
        raise ValueError(f"{path} is of other originals: it has {len(pictures)} pictures, not {shape[0]}")
    return pictures


def _fitted(work: tuple[Original, str | bytes]) -> Pixels:
    return fitted(*work)


def over(picture: Pixels, ground: Sequence[int] = (255, 255, 255)) -> npt.NDArray[np.uint8]:
    """The picture on a plain ground, (height, width, 3)."""
    rest = 255 - picture[..., 3:].astype(np.float32)
    return np.rint(picture[..., :3] + rest * np.array(ground, np.float32) / 255).astype(np.uint8)
