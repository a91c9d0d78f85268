"""Contact sheets: many small pictures on one, with their captions, to be looked at.

python -m otter.training.data.sheet --originals originals.zip --pictures pictures.npy --out sheet.png
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from . import originals, raster
from .colour import Pixels
from .compose import HeldOut, Planner, paint

_CAPTION = 26
_CHECKS = (255, 232)


def on_checks(picture: Pixels, check: int = 16) -> npt.NDArray[np.uint8]:
    """The picture over a chequered ground, so that transparency is seen."""
    side = len(picture)
    row = (np.arange(side) // check) % 2
    checks = np.where(row[:, None] ^ row[None], *_CHECKS).astype(np.float32)[..., None]
    rest = 255 - picture[..., 3:].astype(np.float32)
    return np.rint(np.clip(picture[..., :3] + rest * checks / 255, 0, 255)).astype(np.uint8)


def sheet(pictures: Sequence[Pixels], captions: Sequence[str], columns: int, side: int = 160) -> Image.Image:
    """All pictures in rows of `columns`, each with its caption below in two short lines."""
    rows = -(-len(pictures) // columns)
    image = Image.new("RGB", (columns * side, rows * (side + _CAPTION)), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(9)
    for place, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x, y = place % columns * side, place // columns * (side + _CAPTION)
        small = Image.fromarray(on_checks(picture)).resize((side - 4, side - 4), Image.Resampling.LANCZOS)
        image.paste(small, (x, y))
        width = side // 5
        for line in range(2):
            draw.text((x + 1, y + side - 4 + 12 * line), caption[line * width :][:width], "black", font)
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description="Paint samples on one sheet.")
    parser.add_argument("--originals", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, required=True, help="drawn if missing")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--kind", help="only samples of this kind")
    wishes = parser.parse_args()
    collection = originals.read(wishes.originals)
    drawn = raster.draw_all(collection, wishes.pictures, processes=2)
    planner = Planner(collection, HeldOut.read())
    plans = (planner.plan(wishes.seed + step) for step in range(100 * wishes.count))
    chosen = [plan for plan in plans if wishes.kind in (None, plan.kind)][: wishes.count]
    captions = [plan.captions[plan.seed % len(plan.captions)] for plan in chosen]
    sheet([paint(plan, drawn) for plan in chosen], captions, 12).save(wishes.out)


if __name__ == "__main__":
    main()
