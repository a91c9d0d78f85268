"""Raw pictures, as painters make them."""

from dataclasses import dataclass
from typing import Literal

Mode = Literal["L", "RGB", "RGBA"]
"""Brightness alone, as of a mask; colours; colours and how opaque they are."""
BYTES_PER_PIXEL = {"L": 1, "RGB": 3, "RGBA": 4}


@dataclass(frozen=True, slots=True)
class Pixels:
    """Rows of 8-bit pixels from the top left, without padding: `len(data) == width * height * (1, 3 or 4)`.

    Raises ValueError.
    """

    width: int
    height: int
    mode: Mode
    data: bytes

    def __post_init__(self) -> None:
        expected = self.width * self.height * BYTES_PER_PIXEL[self.mode]
        if len(self.data) != expected:
            raise ValueError(
                f"a {self.width}x{self.height} {self.mode} picture has {expected} bytes, not {len(self.data)}"
            )
