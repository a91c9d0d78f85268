"""Reads fields of a JSON object: right type and range, or a clear refusal that names the parameter.

A wrong JSON type is 400 `invalid_request_error`; a value outside its set or range is 422 `invalid_value`, unless the
contract says otherwise (`outside`). null is the same as absent.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pinxit.errors import InvalidRequest, InvalidValue

_JSON_TYPES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
}

MAX_PAGE = 100
DEFAULT_PAGE = 20

Outside = type[InvalidRequest | InvalidValue]


class Fields:
    """The fields of one request body."""

    def __init__(self, body: Mapping[str, Any], *, prefix: str = "") -> None:
        """`prefix`: of the parameters' names in errors, for an object within the body."""
        self._body = body
        self._prefix = prefix

    def full(self, name: str) -> str:
        """The parameter's name as errors say it."""
        return self._prefix + name

    def is_set(self, name: str) -> bool:
        return self._body.get(name) is not None

    def value(self, name: str) -> Any:
        """As it was sent, whatever it is."""
        return self._body.get(name)

    def text(self, name: str, *, max_characters: int, outside: Outside = InvalidValue) -> str | None:
        value = self._typed(name, "a string", str)
        if value is None:
            return None
        full = self.full(name)
        if len(value) > max_characters:
            raise outside(f"{full} is longer than {max_characters} characters.", param=full)
        if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise outside(
                f"{full} contains a character that is not text (U+0000 or half a surrogate pair).", param=full
            )
        return str(value)

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        value = self._typed(name, "a string", str)
        if value is not None and value not in allowed:
            full = self.full(name)
            raise InvalidValue(f"{full} cannot be {_echo(value)}.", param=full, allowed=allowed)
        return value if value is None else str(value)

    def boolean(self, name: str) -> bool | None:
        value = self._typed(name, "true or false", bool)
        return None if value is None else bool(value)

    def integer(self, name: str, minimum: int, maximum: int, *, outside: Outside = InvalidValue) -> int | None:
        value = self._body.get(name)
        if not (isinstance(value, float) and value.is_integer()):  # 1.0 is one to most writers of JSON, and to schemas
            value = self._typed(name, "a whole number", int)
        if value is None:
            return None
        if not minimum <= value <= maximum:
            full = self.full(name)
            raise outside(f"{full} must be a whole number from {minimum} to {maximum}.", param=full)
        return int(value)

    def number(self, name: str, minimum: float, maximum: float) -> float | None:
        value = self._typed(name, "a number", int, float)
        if value is None:
            return None
        if not minimum <= value <= maximum:
            full = self.full(name)
            raise InvalidValue(f"{full} must be a number from {minimum:g} to {maximum:g}.", param=full)
        return float(value)

    def object(self, name: str) -> dict[str, Any] | None:
        value = self._typed(name, "an object", dict)
        return None if value is None else dict(value)

    def array(self, name: str) -> list[Any] | None:
        value = self._typed(name, "an array", list)
        return None if value is None else list(value)

    def _typed(self, name: str, wanted: str, *types: type) -> Any:
        value = self._body.get(name)
        if value is None or (isinstance(value, types) and (bool in types or not isinstance(value, bool))):
            return value
        full = self.full(name)
        raise InvalidRequest(f"{full} must be {wanted}, not {_JSON_TYPES.get(type(value), 'that')}.", param=full)


def page_of(query: Mapping[str, str]) -> tuple[str | None, int]:
    """`after` and `limit` of a list."""
    text = query.get("limit", str(DEFAULT_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidValue(f"limit must be a whole number from 1 to {MAX_PAGE}.", param="limit")
    return query.get("after"), int(text)


def texts(fields: Fields, name: str) -> tuple[str, ...] | None:
    """An array of strings."""
    values = fields.array(name)
    if values is None:
        return None
    for value in values:
        if not isinstance(value, str):
            raise InvalidRequest(f"{fields.full(name)} must be an array of strings.", param=fields.full(name))
    return tuple(values)


def _echo(value: str) -> str:
    shown = value if len(value) <= 40 else value[:40] + "…"
    return repr(shown)
