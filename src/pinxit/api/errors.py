"""The one table from error class to HTTP status and wire `type`, and the one shape every error is sent in."""

import json
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from pinxit import errors
from pinxit.ids import hide_secrets

STATUS_AND_TYPE: dict[type[errors.PinxitError], tuple[int, str]] = {
    errors.InvalidRequest: (400, "invalid_request_error"),
    errors.AuthenticationFailed: (401, "authentication_error"),
    errors.InsufficientCredits: (402, "insufficient_credits"),
    errors.BudgetExceeded: (402, "insufficient_credits"),
    errors.PermissionDenied: (403, "permission_error"),
    errors.UrlExpired: (403, "url_expired"),
    errors.CredentialMissing: (403, "credential_error"),
    errors.OwnCredentialFailed: (403, "credential_error"),
    errors.NotFound: (404, "not_found_error"),
    errors.ModelNotFound: (404, "model_not_found"),
    errors.MethodNotAllowed: (405, "method_not_allowed"),
    errors.RequestTimeout: (408, "request_timeout"),
    errors.Conflict: (409, "idempotency_error"),
    errors.StillRunning: (409, "idempotency_error"),
    errors.RequestTooLarge: (413, "request_too_large"),
    errors.UnsupportedMediaType: (415, "unsupported_media_type"),
    errors.InvalidValue: (422, "invalid_value"),
    errors.ContentPolicyViolation: (422, "content_policy_violation"),
    errors.IdempotencyMismatch: (422, "idempotency_error"),
    errors.RateLimited: (429, "rate_limit_error"),
    errors.OwnCredentialBusy: (429, "rate_limit_error"),
    errors.HeadersTooLarge: (431, "headers_too_large"),
    errors.BackendError: (502, "upstream_error"),
    errors.OutcomeUnknown: (504, "upstream_timeout"),
    errors.OrderCancelled: (400, "invalid_request_error"),
    errors.DeadlineExceeded: (504, "upstream_timeout"),
    errors.Overloaded: (503, "overloaded_error"),
    errors.BackendUnavailable: (503, "upstream_unavailable"),
    errors.BackendBusy: (503, "upstream_unavailable"),
    errors.StorageUnavailable: (503, "storage_unavailable"),
    errors.PinxitError: (500, "internal_error"),
}
TYPES = sorted({type_ for _, type_ in STATUS_AND_TYPE.values()})
_NOT_WORTH_RETRYING = (
    errors.InsufficientCredits,
    errors.IdempotencyMismatch,
    errors.RequestTimeout,
    errors.ContentPolicyViolation,
    errors.OrderCancelled,
    errors.DeadlineExceeded,
    errors.BackendError,
)
"""Clients re-send after 408 and every 5xx; here that would not help, or would paint twice."""
_CLOSES = (errors.RequestTimeout, errors.RequestTooLarge, errors.HeadersTooLarge)


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """An error on the wire."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


def status_and_type(class_: type[errors.PinxitError]) -> tuple[int, str]:
    """The nearest row of the table."""
    return next(STATUS_AND_TYPE[base] for base in class_.__mro__ if base in STATUS_AND_TYPE)


def type_of_class_name(name: str) -> str:
    """The wire type of an error class that a row names; a class that this version does not know is `internal_error`."""
    class_ = getattr(errors, name, errors.PinxitError)
    return status_and_type(class_)[1]


def render(error: errors.PinxitError, *, request_id: str) -> ErrorResponse:
    """The error in the shape of the contract: `code` is the status as a number, `param` is "" when no parameter
    is to blame.
    """
    status, type_ = status_and_type(type(error))
    message = hide_secrets(error.message)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        message = f"Something went wrong on our side. If it happens again, tell us the request id {request_id}."
    content: dict[str, Any] = {"message": message, "type": type_, "param": hide_secrets(error.param), "code": status}
    if isinstance(error, errors.ContentPolicyViolation):
        content["moderation_details"] = {"moderation_stage": error.stage, "categories": list(error.categories)}
    body = json.dumps({"error": content}, ensure_ascii=True, separators=(",", ":")).encode()
    return ErrorResponse(status, tuple(_headers(error)), body)


def _headers(error: errors.PinxitError) -> list[tuple[str, str]]:
    headers = [("content-type", "application/json")]
    if isinstance(error, errors.AuthenticationFailed):
        headers.append(("www-authenticate", "Bearer"))
    if isinstance(error, errors.MethodNotAllowed):
        headers.append(("allow", error.allow))
    if isinstance(error, _NOT_WORTH_RETRYING):
        headers.append(("x-should-retry", "false"))
    if isinstance(error, _CLOSES):
        headers.append(("connection", "close"))
    wait = getattr(error, "retry_after_seconds", None)
    if wait is not None and type(error) is not errors.OwnCredentialFailed:  # which waiting does not mend
        headers += [("retry-after", str(math.ceil(wait))), ("retry-after-ms", str(math.ceil(wait * 1000)))]
    return headers
