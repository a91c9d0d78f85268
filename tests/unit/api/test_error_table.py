"""The one table from error class to status and type."""

import inspect
import json

import pytest

from pinxit import errors
from pinxit.api.errors import STATUS_AND_TYPE, TYPES, render, status_and_type, type_of_class_name
from pinxit.database.interface import CommitUnknown
from pinxit.runners.interface import PainterDied

CLASSES = [class_ for _, class_ in inspect.getmembers(errors, inspect.isclass) if class_.__module__ == errors.__name__]
INTERNAL = {errors.PinxitError, errors.StartupError, errors.ConfigurationError}


@pytest.mark.parametrize("class_", [class_ for class_ in CLASSES if class_ not in INTERNAL])
def test_every_error_of_a_request_has_a_row(class_: type[errors.PinxitError]):
    assert class_ in STATUS_AND_TYPE


def test_types_are_one_for_a_class_but_for_those_of_the_contract():
    types = [type_ for _, type_ in STATUS_AND_TYPE.values()]
    assert {type_ for type_ in TYPES if types.count(type_) > 1} == {
        "credential_error", "idempotency_error", "insufficient_credits", "invalid_request_error", "rate_limit_error",
        "upstream_timeout", "upstream_unavailable",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("class_", "expected"),
    [
        (CommitUnknown, (503, "storage_unavailable")),
        (PainterDied, (503, "upstream_unavailable")),
        (errors.StartupError, (500, "internal_error")),
        (errors.UrlExpired, (403, "url_expired")),
        (errors.OwnCredentialFailed, (403, "credential_error")),
        (errors.OwnCredentialBusy, (429, "rate_limit_error")),
        (errors.ModelNotFound, (404, "model_not_found")),
    ],
)
def test_a_class_without_a_row_has_its_base_s(class_: type[errors.PinxitError], expected: tuple[int, str]):
    assert status_and_type(class_) == expected


@pytest.mark.parametrize("error", [class_() for class_ in CLASSES] + [PainterDied(), CommitUnknown()])
def test_the_type_can_be_found_again_from_the_name_in_a_row(error: errors.PinxitError):
    assert type_of_class_name(error.class_name) == status_and_type(type(error))[1]


@pytest.mark.parametrize("name", ["", "NoSuchError", "OfTheFuture"])
def test_a_name_nobody_knows_is_an_internal_error(name: str):
    assert type_of_class_name(name) == "internal_error"


def rendered(error: errors.PinxitError) -> tuple[dict, dict[str, str]]:
    """The error object and the headers."""
    answer = render(error, request_id="req_1")
    return json.loads(answer.body)["error"], dict(answer.headers)


def test_what_went_wrong_inside_is_not_told():
    error, _ = rendered(errors.PinxitError("the password is 1234"))
    assert "1234" not in str(error)
    assert "req_1" in error["message"]


@pytest.mark.parametrize(
    ("seconds", "header", "milliseconds"), [(1.0, "1", "1000"), (2.5, "3", "2500"), (0.0001, "1", "1")]
)
def test_retry_after_is_rounded_up(seconds: float, header: str, milliseconds: str):
    _, headers = rendered(errors.Overloaded(retry_after_seconds=seconds))
    assert (headers["retry-after"], headers["retry-after-ms"]) == (header, milliseconds)


def test_only_a_policy_refusal_has_details():
    for class_ in CLASSES:
        error, _ = rendered(class_())
        assert ("moderation_details" in error) == (class_ is errors.ContentPolicyViolation)


@pytest.mark.parametrize("class_", [errors.RequestTimeout, errors.ContentPolicyViolation, errors.BackendError])
def test_what_is_not_worth_retrying_says_so(class_: type[errors.PinxitError]):
    assert rendered(class_())[1]["x-should-retry"] == "false"


@pytest.mark.parametrize("class_", [errors.RequestTimeout, errors.RequestTooLarge, errors.HeadersTooLarge])
def test_what_leaves_a_body_unread_closes(class_: type[errors.PinxitError]):
    assert rendered(class_())[1]["connection"] == "close"


def test_a_body_is_ascii_and_holds_no_key():
    error = errors.InvalidRequest("é \ud800 \u2028 sk-" + "a" * 43, param="sk-" + "b" * 43)
    answer = render(error, request_id="req_1")
    assert answer.body.isascii()
    assert b"aaaa" not in answer.body
    assert b"bbbb" not in answer.body
