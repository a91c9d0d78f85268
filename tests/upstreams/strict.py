"""Strict checks of request bodies: what a provider's schema does not name, or names otherwise, is found wrong here and
told in that provider's own words by its simulation.
"""

import base64
import binascii
import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from multipart import MultipartParser, MultipartPart, parse_options_header
from PIL import Image

Check = Callable[[Any], str | None]
"""Says what is wrong with a value, or None."""


@dataclass(frozen=True, slots=True)
class Wrong(Exception):
    """A request that the provider's documentation rules out. `kind` is missing, unknown or invalid."""

    kind: str
    param: str
    detail: str


def check(body: Any, known: Mapping[str, Check], required: Collection[str] = (), path: str = "") -> dict[str, Any]:
    """The body as an object whose every field is known and right; raises `Wrong` else."""
    if not isinstance(body, dict):
        raise Wrong("invalid", path.rstrip("."), "expected an object")
    for name in required:
        if name not in body:
            raise Wrong("missing", path + name, "is required")
    for name, value in body.items():
        if name not in known:
            raise Wrong("unknown", path + name, "is not a known field")
        if detail := known[name](value):
            raise Wrong("invalid", path + name, detail)
    return body


def text(longest: int | None = None, shortest: int = 0) -> Check:
    def look(value: Any) -> str | None:
        if not isinstance(value, str):
            return f"expected a string, but got {type(value).__name__}"
        if len(value) < shortest:
            return f"expected a string with minimum length {shortest}"
        if longest is not None and len(value) > longest:
            return f"expected a string with maximum length {longest}, but got length {len(value)}"
        return None

    return look


def whole(low: int | None = None, high: int | None = None) -> Check:
    def look(value: Any) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return f"expected an integer, but got {type(value).__name__}"
        return _within(value, low, high)

    return look


def number(low: float | None = None, high: float | None = None) -> Check:
    def look(value: Any) -> str | None:
        if not isinstance(value, int | float) or isinstance(value, bool):
            return f"expected a number, but got {type(value).__name__}"
        return _within(value, low, high)

    return look


def _within(value: float, low: float | None, high: float | None) -> str | None:
    if low is not None and value < low:
        return f"expected a value >= {low}, but got {value}"
    if high is not None and value > high:
        return f"expected a value <= {high}, but got {value}"
    return None


def flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else f"expected a boolean, but got {type(value).__name__}"


def choice(*allowed: str) -> Check:
    def look(value: Any) -> str | None:
        return None if value in allowed else f"{value!r}. Supported values are: {', '.join(map(repr, allowed))}"

    return look


def many(each: Check, most: int | None = None, least: int = 0) -> Check:
    def look(value: Any) -> str | None:
        if not isinstance(value, list):
            return f"expected an array, but got {type(value).__name__}"
        if len(value) < least or (most is not None and len(value) > most):
            return f"expected between {least} and {most} items, but got {len(value)}"
        return next((detail for detail in map(each, value) if detail), None)

    return look


def anything(_value: Any) -> str | None:
    return None


def data_url(value: str) -> bytes | None:
    """The picture's bytes in a base64 data URL; None if it is no such thing."""
    found = re.fullmatch(r"data:image/[a-z.+-]+;base64,([A-Za-z0-9+/=\s]+)", value)
    return found and picture_base64(found[1])


def picture_base64(value: str) -> bytes | None:
    """The bytes of a picture in base64; None if they are none, or no picture."""
    try:
        data = base64.b64decode(value, validate=True)
    except binascii.Error:
        return None
    return data if picture_format(data) else None


def picture_format(data: bytes) -> str | None:
    """`PNG`, `JPEG`, `WEBP`, … or None if Pillow cannot tell."""
    try:
        return Image.open(io.BytesIO(data)).format
    except OSError:
        return None


def picture_size(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def parts(content_type: str, body: bytes) -> Sequence[MultipartPart]:
    """The parts of a multipart body in their order; raises `Wrong` if it is none."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or "boundary" not in options:
        raise Wrong("invalid", "", "expected multipart/form-data")
    return list(MultipartParser(io.BytesIO(body), options["boundary"], disk_limit=2**26, memory_limit=2**26))
