"""Paints the pictures of the README anew: `.venv/bin/python docs/images/contact_sheet.py`.

Each one is `pinxit generate <prompt> --seed <seed> --quality high`, the best of four seeds or so.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PICTURES = [
    ("a hamburger", 3),
    ("a blue car", 1),
    ("a pink cat", 1),
    ("a slice of pizza", 1),
    ("a trophy", 1),
    ("a ghost", 1),
    ("a green key", 1),
    ("an angry face, flat style", 1),
    ("a birthday cake", 1),
    ("A cute baby sea otter", 2),
]
COLUMNS, SIDE, CAPTION, MARGIN = 5, 256, 34, 8


def paint(prompt: str, seed: int, folder: Path) -> Image.Image:
    """By the command line, as a reader would."""
    file = folder / "picture.png"
    subprocess.run(  # noqa: S603 - fixed arguments
        [Path(sys.executable).with_name("pinxit"), "generate", prompt, "--seed", str(seed), "--quality", "high",
         "--size", "512x512", "--output", file, "--data-dir", folder / "data"],
        check=True,
    )  # fmt: skip
    with Image.open(file) as picture:
        return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def main() -> None:
    """Write contact-sheet.png beside this file."""
    rows = -(-len(PICTURES) // COLUMNS)
    cell = (SIDE + 2 * MARGIN, SIDE + CAPTION + 2 * MARGIN)
    sheet = Image.new("RGB", (COLUMNS * cell[0], rows * cell[1]), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=17)
    with tempfile.TemporaryDirectory() as folder:
        for place, (prompt, seed) in enumerate(PICTURES):
            left, top = place % COLUMNS * cell[0] + MARGIN, place // COLUMNS * cell[1] + MARGIN
            sheet.paste(paint(prompt, seed, Path(folder)), (left, top))
            middle = (left + SIDE / 2, top + SIDE + CAPTION / 2)
            draw.text(middle, prompt, fill=(70, 70, 70), font=font, anchor="mm")
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(
        Path(__file__).with_name("contact-sheet.png"), optimize=True
    )


if __name__ == "__main__":
    main()
