"""Paints the pictures of the README, and those by which the console shows otter-1, anew:
`.venv/bin/python docs/images/contact_sheet.py`.

Each one is `pinxit generate <prompt> --seed <seed> --quality high`, the best of four seeds or so.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

PICTURES = [
    ("a hamburger", 3),
    ("two cats and a ball on the beach", 7),
    ("a pink cat", 1),
    ("app icon of a heart, pink", 7),
    ("three rockets in space", 7),
    ("a fox on a snowy night", 7),
    ("a trophy", 1),
    ("a red apple and a green apple", 7),
    ("an angry face, flat style", 1),
    ("A cute baby sea otter", 2),
]
COLUMNS, SIDE, CAPTION, MARGIN = 5, 256, 34, 8

EXAMPLES = [
    ("an otter on a snowy night", 7),
    ("a red apple", 1),
    ("three rockets in space", 7),
    ("a fox in the forest", 7),
]
EXAMPLE_SIDE = 320
EXAMPLE = Path(__file__).parents[2] / "src" / "pinxit" / "console" / "static" / "otter-1.webp"


def paint(prompt: str, seed: int, folder: Path, side: int = SIDE) -> Image.Image:
    """By the command line, as a reader would."""
    file = folder / "picture.png"
    subprocess.run(  # noqa: S603 - fixed arguments
        [Path(sys.executable).with_name("pinxit"), "generate", prompt, "--seed", str(seed), "--quality", "high",
         "--size", "512x512", "--output", file, "--data-dir", folder / "data"],
        check=True,
    )  # fmt: skip
    with Image.open(file) as picture:
        return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def main() -> None:
    """Write contact-sheet.png beside this file, and the console's example."""
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
        example = Image.new("RGB", (2 * EXAMPLE_SIDE, 2 * EXAMPLE_SIDE), "white")
        for place, (prompt, seed) in enumerate(EXAMPLES):
            corner = place % 2 * EXAMPLE_SIDE, place // 2 * EXAMPLE_SIDE
            example.paste(paint(prompt, seed, Path(folder), EXAMPLE_SIDE), corner)
    sheet.quantize(256, dither=Image.Dither.FLOYDSTEINBERG).save(
        Path(__file__).with_name("contact-sheet.png"), optimize=True
    )
    example.save(EXAMPLE, quality=80, method=6)


if __name__ == "__main__":
    main()
