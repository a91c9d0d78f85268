"""One picture from the pictures of its scene's parts."""

from collections.abc import Sequence

import numpy as np

from pinxit_otter.arrangement import Placed
from pinxit_otter.enlarge import Picture, resized
from pinxit_otter.scene import Scene

_DRAWN = 24
"""From this alpha on a pixel belongs to what is drawn: fainter ones are what the decoder leaves of nothing."""


def compose(scene: Scene, pictures: Sequence[Picture | None], side: int) -> Picture:
    """The picture (side, side, 4) of a scene from those of its parts (256, 256, 4), in their order; None: not yet."""
    ground = pictures[-1] if scene.has_ground else None
    canvas = np.zeros((side, side, 4), np.uint8) if ground is None else resized(ground, side)
    drawn: dict[tuple[int, float], Picture] = {}
    for placed in scene.places:
        key, picture = (placed.part, placed.size), pictures[placed.part]
        if picture is None:
            continue
        if key not in drawn:
            drawn[key] = _in_size(picture, round(placed.size * side))
        _set(canvas, drawn[key], placed)
    return canvas


def _in_size(picture: Picture, longer_side: int) -> Picture:
    """What is drawn on the picture, so many pixels high or wide; nothing (0, 0, 4) if nothing is."""
    rows, columns = np.nonzero(picture[..., 3] >= _DRAWN)
    if not len(rows):
        return np.zeros((0, 0, 4), np.uint8)
    cut = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = cut.shape[:2]
    factor = longer_side / max(height, width)
    return resized(cut, max(1, round(height * factor)), max(1, round(width * factor)))


def _set(canvas: Picture, thing: Picture, placed: Placed) -> None:
    """Over what is there, which is changed."""
    side = len(canvas)
    height, width = thing.shape[:2]
    left = round(placed.x * side - width / 2)
    top = round(placed.y * side - (height if placed.stands else height / 2))
    seen = thing[max(0, -top) : max(0, side - top), max(0, -left) : max(0, side - left)]
    there = canvas[max(0, top) :, max(0, left) :][: seen.shape[0], : seen.shape[1]]
    covered = 255 - seen[..., 3:].astype(np.uint16)
    there[...] = seen + ((there * covered + 127) // 255).astype(np.uint8)
