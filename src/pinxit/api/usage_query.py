"""What GET /v1/usage is asked for: `from`, `to`, `group_by`, `format`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from pinxit.errors import InvalidRequest, InvalidValue
from pinxit.usage.usage import Group

NAMES = ("from", "to", "group_by", "format")
FORMATS = ("json", "csv")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """`first`, `last` None: not said."""

    first: date | None
    last: date | None
    groups: tuple[Group, ...]
    is_csv: bool


def read(parameters: Mapping[str, str], accept: str) -> UsageQuery:
    """`format` wins over `accept`. Raises InvalidRequest, InvalidValue."""
    for name in parameters:
        if name not in NAMES:
            shown = name.encode("ascii", "replace").decode()[:64]
            raise InvalidRequest(f"There is no parameter {shown!r}.", param=shown)
    format_ = parameters.get("format", "csv" if _prefers_csv(accept) else "json")
    if format_ not in FORMATS:
        raise InvalidValue("There is no such format.", param="format", allowed=FORMATS)
    first, last = (read_day(parameters.get(name), param=name) for name in ("from", "to"))
    return UsageQuery(first, last, read_groups(parameters.get("group_by")), format_ == "csv")


def read_day(text: str | None, *, param: str) -> date | None:
    """Raises InvalidValue unless it is a day like 2026-11-22."""
    if text is None:
        return None
    problem = InvalidValue(f"{param} must be a day like 2026-11-22.", param=param)
    if _DAY.fullmatch(text) is None:
        raise problem
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise problem from error


def read_groups(text: str | None) -> tuple[Group, ...]:
    """Raises InvalidValue unless it is some of day, model and key, with commas."""
    try:
        return () if text is None else tuple(Group(name.strip()) for name in text.split(","))
    except ValueError as error:
        raise InvalidValue("There is no such grouping.", param="group_by", allowed=list(Group)) from error


def _prefers_csv(accept: str) -> bool:
    """Whether the header names CSV, and JSON not before it."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "text/csv" in kinds and "application/json" not in kinds[: kinds.index("text/csv")]
