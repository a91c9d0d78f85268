"""How a client wants its order done: at once or later, how long it waits, when it gives up."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pinxit.api.fields import Fields
from pinxit.api.request_schema import MAX_DEADLINE_SECONDS, MAX_PARTIAL_IMAGES
from pinxit.errors import InvalidValue

MAX_WAIT_SECONDS = 600.0

_WAIT = re.compile(r"wait=([0-9]{1,6})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Manner:
    """`wait_seconds` None: until the end. `is_dry_run`: say what it would cost, paint nothing."""

    wait_seconds: float | None = None
    deadline_seconds: float | None = None
    is_dry_run: bool = False
    is_stream: bool = False
    partial_images: int = 0
    """How many of each picture to send while it is painted."""
    applied: str = ""
    """What of the client's `Prefer` is followed, for `Preference-Applied`."""


def parse(fields: Fields, prefer: Sequence[str]) -> Manner:
    """From the body's `async`, `dry_run`, `deadline_seconds`, `stream`, `partial_images` and the header `Prefer` (RFC
    7240), which may be ignored, and is for a stream.

    Raises InvalidRequest, InvalidValue.
    """
    is_stream, partial_images = bool(fields.boolean("stream")), fields.integer("partial_images", 0, MAX_PARTIAL_IMAGES)
    if partial_images and not is_stream:
        raise InvalidValue("partial_images needs stream: true.", param="partial_images")
    if is_stream and fields.boolean("async"):
        raise InvalidValue("An order is answered as a stream or later, not both: leave out one.", param="stream")
    preferences = [part.strip().lower() for value in prefer for part in value.split(",")]
    deadline = fields.number("deadline_seconds", 0, MAX_DEADLINE_SECONDS)
    if deadline == 0:
        raise InvalidValue("deadline_seconds must be above 0.", param="deadline_seconds")
    wait: float | None = None
    applied = ""
    if is_stream:
        preferences = []
    for preference in preferences:
        found = _WAIT.fullmatch(preference)
        if found is not None:
            wait = min(float(found[1]), MAX_WAIT_SECONDS)
            applied = f"wait={wait:g}"
    if wait is None and (fields.boolean("async") or "respond-async" in preferences):
        wait = 0.0
        applied = "respond-async" if "respond-async" in preferences else ""
    is_dry_run = bool(fields.boolean("dry_run"))
    return Manner(wait, deadline, is_dry_run, is_stream, partial_images or 0, applied)
