"""One picture from the pictures of its scene's parts."""

from collections.abc import Sequence

import numpy as np

from pinxit.images.size import Size
from pinxit_otter.enlarge import Picture, resized
from pinxit_otter.scene import Scene

_DRAWN = 24
"""From this alpha on a pixel belongs to what is drawn: fainter ones are what the decoder leaves of nothing."""

_OPAQUE = 240
"""A ground is opaque to its edges if all alpha there is at least this."""


def compose(scene: Scene, pictures: Sequence[Picture | None], size: Size) -> Picture:
    """The picture of a scene from those of its parts (256, 256, 4), in their order; None: not yet.

    (height, width, 4) on a ground that covers all, which is stretched; else the square (side, side, 4) of the shorter
    side. Things keep their shape, in a square in the middle, or at the level of their floor.
    """
    side = min(size.width, size.height)
    ground = pictures[-1] if scene.has_ground else None
    canvas = np.zeros((side, side, 4), np.uint8)
    if ground is not None:
        canvas = resized(ground, size.height, size.width) if _covers_all(ground) else resized(ground, side)
    left = (canvas.shape[1] - side) / 2
    top = (canvas.shape[0] - side) * scene.level
    drawn: dict[tuple[int, float], Picture] = {}
    for placed in scene.places:
        key, picture = (placed.part, placed.size), pictures[placed.part]
        if picture is None:
            continue
        if key not in drawn:
            drawn[key] = _in_size(picture, round(placed.size * side))
        thing = drawn[key]
        height = thing.shape[0] if placed.stands else thing.shape[0] / 2
        _set(canvas, thing, round(top + placed.y * side - height), round(left + placed.x * side - thing.shape[1] / 2))
    return canvas


def _covers_all(ground: Picture) -> bool:
    return all(int(edge[..., 3].min()) >= _OPAQUE for edge in (ground[0], ground[-1], ground[:, 0], ground[:, -1]))


def _in_size(picture: Picture, longer_side: int) -> Picture:
    """What is drawn on the picture, so many pixels high or wide; nothing (0, 0, 4) if nothing is."""
    rows, columns = np.nonzero(picture[..., 3] >= _DRAWN)
    if not len(rows):
        return np.zeros((0, 0, 4), np.uint8)
    cut = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    height, width = cut.shape[:2]
    factor = longer_side / max(height, width)
    return resized(cut, max(1, round(height * factor)), max(1, round(width * factor)))


def _set(canvas: Picture, thing: Picture, top: int, left: int) -> None:
    """Over what is there, which is changed."""
    height, width = canvas.shape[:2]
    seen = thing[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    there = canvas[max(0, top) :, max(0, left) :][: seen.shape[0], : seen.shape[1]]
    covered = 255 - seen[..., 3:].astype(np.uint16)
    there[...] = seen + ((there * covered + 127) // 255).astype(np.uint8)
