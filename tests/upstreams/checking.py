"""How the simulated providers read a request strictly: a table of what a documented field accepts, and what is wrong
with what came. Each provider puts the problems into its own documented words.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from multipart import MultipartParser, parse_options_header


class Wrong(StrEnum):
    """In which way a field is wrong."""

    MISSING = "missing"
    UNKNOWN = "unknown"
    TYPE = "type"
    CHOICE = "choice"
    SMALL = "small"
    LARGE = "large"
    MULTIPLE = "multiple"
    LONG = "long"


@dataclass(frozen=True, slots=True)
class Accepts:
    """What one documented field accepts. `kinds` are the types of JSON that it may have."""

    kinds: tuple[type, ...] = (str,)
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    multiple_of: int | None = None
    max_length: int | None = None
    required: bool = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `limit` is what was broken: the types, the choices, the bound."""

    field: str
    wrong: Wrong
    value: Any = None
    limit: Any = None

    @property
    def message(self) -> str:
        """One sentence, for the providers that document no wording of their own."""
        return {
            Wrong.MISSING: "Field required",
            Wrong.UNKNOWN: "Extra inputs are not permitted",
            Wrong.TYPE: f"Input should be a valid {self.limit}",
            Wrong.CHOICE: f"Input should be one of {self.limit}",
            Wrong.SMALL: f"Input should be greater than or equal to {self.limit}",
            Wrong.LARGE: f"Input should be less than or equal to {self.limit}",
            Wrong.MULTIPLE: f"Input should be a multiple of {self.limit}",
            Wrong.LONG: f"String should have at most {self.limit} characters",
        }[self.wrong]


NAMES = {str: "string", int: "integer", float: "number", bool: "boolean", list: "list", dict: "object"}


def problems(given: Any, accepted: Mapping[str, Accepts]) -> list[Problem]:
    """All that is wrong with `given`; a field that is null counts as left out."""
    if not isinstance(given, dict):
        return [Problem("", Wrong.TYPE, given, "object")]
    found = [Problem(name, Wrong.UNKNOWN, value) for name, value in given.items() if name not in accepted]
    for name, field in accepted.items():
        value = given.get(name)
        if value is None:
            found += [Problem(name, Wrong.MISSING)] if field.required else []
        else:
            found += _of_value(name, value, field)
    return found


def _of_value(name: str, value: Any, field: Accepts) -> list[Problem]:
    kinds = (*field.kinds, int) if float in field.kinds else field.kinds
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        return [Problem(name, Wrong.TYPE, value, " or ".join(NAMES[kind] for kind in field.kinds))]
    if field.choices and not isinstance(value, dict) and value not in field.choices:
        return [Problem(name, Wrong.CHOICE, value, field.choices)]
    if isinstance(value, str) and field.max_length is not None and len(value) > field.max_length:
        return [Problem(name, Wrong.LONG, value, field.max_length)]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_number(name, value, field)
    return []


def _of_number(name: str, value: float, field: Accepts) -> list[Problem]:
    if field.minimum is not None and value < field.minimum:
        return [Problem(name, Wrong.SMALL, value, field.minimum)]
    if field.maximum is not None and value > field.maximum:
        return [Problem(name, Wrong.LARGE, value, field.maximum)]
    if field.multiple_of is not None and value % field.multiple_of:
        return [Problem(name, Wrong.MULTIPLE, value, field.multiple_of)]
    return []


def read_form(body: bytes, content_type: str) -> tuple[dict[str, str], dict[str, list[bytes]]] | None:
    """The texts and the files of a `multipart/form-data` body, or None if it is none."""
    kind, options = parse_options_header(content_type)
    if kind != "multipart/form-data" or "boundary" not in options:
        return None
    texts: dict[str, str] = {}
    files: dict[str, list[bytes]] = {}
    for part in MultipartParser(io.BytesIO(body), options["boundary"]):
        if part.filename is None:
            texts[part.name] = part.value
        else:
            files.setdefault(part.name, []).append(part.raw)
        part.close()
    return texts, files


def typed(texts: Mapping[str, str], accepted: Mapping[str, Accepts]) -> dict[str, Any]:
    """The texts of a form as the numbers and booleans that the table expects; what cannot be read stays text."""
    return {name: _typed(text, accepted[name].kinds) if name in accepted else text for name, text in texts.items()}


def _typed(text: str, kinds: Sequence[type]) -> Any:
    for kind in kinds:
        try:
            if kind is bool and text in {"true", "false"}:
                return text == "true"
            if kind in {int, float}:
                return kind(text)
        except ValueError:
            continue
    return text
