"""Widths and heights in pixels."""

import re
from dataclasses import dataclass
from typing import Self

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", re.ASCII)
_RATIO = re.compile(r"([1-9][0-9]{0,2}):([1-9][0-9]{0,2})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """Width and height in pixels, written `1024x1536`."""

    width: int
    height: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError unless `text` is `WxH` in plain ASCII digits."""
        found = _SIZE.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a size like 1024x1024")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def is_aspect_ratio(text: str) -> bool:
    """Whether `text` has the form `16:9`."""
    return _RATIO.fullmatch(text) is not None
