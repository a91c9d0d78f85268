"""The Images API as OpenAI wrote it first and many speak it: requests, answers, usage, errors."""

from collections.abc import Mapping, Sequence
from typing import Any

from pinxit.backends.interface import PaintOrder
from pinxit.backends.upstream._provider import (
    Answer,
    Call,
    Done,
    Part,
    Partial,
    Picture,
    error_of_status,
    file_part,
    refusal,
)
from pinxit.errors import BackendBusy, BackendError, BackendUnavailable, InvalidValue, OutcomeUnknown, PinxitError

REFUSALS = frozenset({"moderation_blocked", "content_policy_violation", "contentfilter", "content_filter"})
"""Values of `error.code`, in lower case."""
OUT_OF_CREDIT = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "insufficient_credits"}
    | {"budget_exceeded"}
)
TOO_MUCH = frozenset({"rate_limit_exceeded", "rate_limit_error"})
NO_WORK = frozenset({"upstream_unavailable", "overloaded_error", "service_unavailable"})
IN_DOUBT = frozenset({"upstream_timeout"})
"""What Pinxit says of another one behind it."""
UNKNOWN_MODEL = frozenset({"model_not_found", "model_not_available", "deploymentnotfound"})
PARAMETERS = frozenset(
    {"prompt", "n", "size", "quality", "background", "moderation", "output_format", "output_compression", "image"}
    | {"mask", "seed", "style", "negative_prompt"}
)
"""Those that are called the same here."""


def edit_call(path: str, fields: Mapping[str, Any], order: PaintOrder, name: str = "image[]") -> Call:
    """A form with the pictures to begin from, each called `name`, and the mask."""
    parts = [Part(field, "true" if value is True else str(value)) for field, value in fields.items()]
    parts += [file_part(name, picture.data) for picture in order.asked.images]
    if order.asked.mask is not None:
        parts.append(file_part("mask", order.asked.mask.data))
    return Call("POST", path, form=tuple(parts))


def read_images(answer: Answer, *, cost_micros: int | None = None) -> Done:
    """`{"data": [{"b64_json" or "url", "revised_prompt"}], "usage"}`."""
    document = answer.json
    tokens = document.get("usage") or {}
    pictures = [read_datum(datum) for datum in document["data"]]
    return Done(pictures, tokens.get("input_tokens") or 0, tokens.get("output_tokens") or 0, cost_micros)


def read_datum(datum: Mapping[str, Any]) -> Picture:
    """One element of `data`; a data URL in `url` is a picture too."""
    revised = datum.get("revised_prompt") or ""
    if datum.get("b64_json"):
        return Picture(base64=datum["b64_json"], revised_prompt=revised)
    if datum["url"].startswith("data:"):
        return Picture(base64=datum["url"], revised_prompt=revised)
    return Picture(url=datum["url"], revised_prompt=revised)


def read_openai_error(title: str, answer: Answer) -> PinxitError:
    """`{"error": {"message", "type", "param", "code"}}`; https://developers.openai.com/docs/guides/error-codes."""
    error = error_object(answer)
    codes = {str(error.get(name)).lower() for name in ("code", "type")}
    if codes & REFUSALS:
        stage, categories = _moderation(error)
        return refusal(title, answer.message(), stage=stage, categories=categories)
    if codes & OUT_OF_CREDIT:
        return BackendUnavailable(f"This server's account at {title} is out of credit. Nothing was charged.")
    if codes & UNKNOWN_MODEL:
        return BackendUnavailable(f"{title} does not have this model for this server's account. Nothing was charged.")
    found = error_of_status(title, answer)
    if isinstance(found, InvalidValue) and error.get("param") in PARAMETERS:
        return InvalidValue(found.message, param=error["param"])
    return found


def streamed(fields: Mapping[str, Any], order: PaintOrder) -> dict[str, Any]:
    """The fields of a request that shows its picture on the way."""
    return {**fields, "stream": True, "partial_images": order.previews}


def read_stream_event(title: str, event: Answer) -> Partial | Done | None:
    """`image_generation.partial_image` and `.completed`, `image_edit.…` likewise, and errors
    (openai 3.54.0, types/image_gen_stream_event.py, types/image_edit_stream_event.py, _streaming.py).
    """
    document = event.json
    kind = document.get("type")
    if kind == "error" or document.get("error"):
        raise _error_in_stream(title, event)
    if kind in ("image_generation.partial_image", "image_edit.partial_image"):
        return Partial(read_datum(document))
    if kind in ("image_generation.completed", "image_edit.completed"):
        tokens = document.get("usage") or {}
        return Done([read_datum(document)], tokens.get("input_tokens") or 0, tokens.get("output_tokens") or 0)
    return None


def _error_in_stream(title: str, event: Answer) -> PinxitError:
    """By its code alone, for there is no status. What does not say that no work was done, may have been paid."""
    error = error_object(event) or event.json
    codes = {str(error.get(name)).lower() for name in ("code", "type")}
    if codes & IN_DOUBT:
        return OutcomeUnknown(f"{title} has lost the picture. Nothing was charged.")
    if codes & TOO_MUCH:
        return BackendBusy(f"{title} has too much to do. Nothing was charged.")
    if codes & NO_WORK:
        return BackendUnavailable(f"{title} cannot paint now. Nothing was charged.")
    if codes & (REFUSALS | OUT_OF_CREDIT | UNKNOWN_MODEL | {"invalid_request_error"}):
        return read_openai_error(title, Answer(400, {}, event.body))
    said = event.message()
    return BackendError(f"{title} says that it failed{f': {said}' if said else '.'}")


def error_object(answer: Answer) -> Mapping[str, Any]:
    """What stands under `error`; empty if there is no such object."""
    try:
        found = answer.json["error"]
    except (PinxitError, KeyError, TypeError, IndexError):
        return {}
    return found if isinstance(found, dict) else {}


def _moderation(error: Mapping[str, Any]) -> tuple[str, Sequence[str]]:
    """The stage and the categories that a refusal may name."""
    details = error.get("moderation_details")
    if not isinstance(details, dict):
        return "input", ()
    categories = details.get("categories")
    named = tuple(str(name) for name in categories) if isinstance(categories, list) else ()
    return ("output" if details.get("moderation_stage") == "output" else "input"), named
