"""Everything that can go wrong in a way we expected, one tree.

A class's docstring is its default message. An error carries facts; `pinxit.api.errors` is the one table that turns a
class
into an HTTP status and a wire `type`. An error that is not a `PinxitError` is a bug.

    PinxitError
    ├── InvalidRequest            the request cannot be understood
    ├── InvalidValue              a known field has a value that cannot be had
    ├── AuthenticationFailed
    ├── InsufficientCredits
    │   └── BudgetExceeded
    ├── RateLimited
    ├── PermissionDenied
    │   ├── UrlExpired
    │   └── CredentialMissing     nobody has one for the upstream
    ├── NotFound
    │   └── ModelNotFound
    ├── MethodNotAllowed
    ├── RequestTimeout
    ├── Conflict
    │   └── StillRunning
    ├── IdempotencyMismatch       the key belongs to another order
    ├── RequestTooLarge
    ├── UnsupportedMediaType
    ├── HeadersTooLarge
    ├── ContentPolicyViolation
    ├── Overloaded                no room now, try again
    ├── StorageUnavailable        disk or database cannot keep what they promise
    ├── BackendUnavailable        the painter cannot paint now, and has not
    │   ├── BackendBusy           it has too much to do
    │   └── OwnCredentialFailed   the upstream does not serve the account's own credential
    │       └── OwnCredentialBusy
    ├── DeadlineExceeded          the order's own deadline
    ├── OrderCancelled
    ├── BackendError              the painter answered nonsense
    │   └── OutcomeUnknown        it may have painted; its answer was lost
    └── StartupError              the program cannot run here; the message says what to do
        └── ConfigurationError
"""

from collections.abc import Sequence
from datetime import datetime


class PinxitError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None, *, param: str = "") -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.param = param
        super().__init__(self.message)

    @property
    def class_name(self) -> str:
        """The nearest class of this module: what a row may name, since every reader of rows knows it."""
        return next(base.__name__ for base in type(self).__mro__ if base.__module__ == __name__)


class InvalidRequest(PinxitError):
    """The request cannot be understood."""


class InvalidValue(PinxitError):
    """The value of this parameter cannot be had."""

    def __init__(self, message: str | None = None, *, param: str = "", allowed: Sequence[object] = ()) -> None:
        """`allowed`: what could have been sent instead; it is appended to the message."""
        self.allowed = tuple(allowed)
        text = message or (type(self).__doc__ or "").strip()
        if self.allowed:
            text = f"{text.rstrip('.')}. Allowed: {', '.join(str(value) for value in self.allowed)}."
        super().__init__(text, param=param)


class AuthenticationFailed(PinxitError):
    """No valid API key was sent. Send it as `Authorization: Bearer sk-…` or `Authorization: sk-…`."""


class InsufficientCredits(PinxitError):
    """The account's credits do not cover the price of this order. Nothing was charged."""


class BudgetExceeded(InsufficientCredits):
    """The API key's budget does not cover the price of this order. Nothing was charged."""

    def __init__(self, message: str | None = None, *, budget: str = "", starts_anew_at: datetime | None = None) -> None:
        """`budget`: its name on the wire; `starts_anew_at`: None if it never does."""
        self.budget = budget
        self.starts_anew_at = starts_anew_at
        super().__init__(message)


class RateLimited(PinxitError):
    """More was asked for than the limits allow. Wait a little and ask again."""

    def __init__(self, message: str | None = None, *, retry_after_seconds: float = 1.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class PermissionDenied(PinxitError):
    """This API key may not do this."""


class UrlExpired(PermissionDenied):
    """This URL has expired. Ask for the picture again to get a new one."""


class CredentialMissing(PermissionDenied):
    """This server has no credential for the provider of this model: give one of your own."""


class NotFound(PinxitError):
    """There is nothing here."""


class ModelNotFound(NotFound):
    """There is no such model. GET /v1/models lists what there is."""


class MethodNotAllowed(PinxitError):
    """This method is not allowed here."""

    def __init__(self, message: str | None = None, *, allow: str = "") -> None:
        self.allow = allow
        super().__init__(message)


class RequestTimeout(PinxitError):
    """The request was not received in time."""


class Conflict(PinxitError):
    """This is already there."""


class StillRunning(Conflict):
    """The order with this Idempotency-Key is still being painted. Ask again later."""

    retry_after_seconds = 2.0


class IdempotencyMismatch(PinxitError):
    """This Idempotency-Key belongs to another order. Use a new key for a new order."""


class RequestTooLarge(PinxitError):
    """The request body is too large."""


class UnsupportedMediaType(PinxitError):
    """The request body must be JSON: send `Content-Type: application/json` and no Content-Encoding."""


class HeadersTooLarge(PinxitError):
    """The request's headers are too large."""


class ContentPolicyViolation(PinxitError):
    """The prompt was refused by this server's content policy. Nothing was charged."""

    def __init__(self, message: str | None = None, *, stage: str = "input", categories: Sequence[str] = ()) -> None:
        self.stage = stage
        self.categories = tuple(categories)
        super().__init__(message)


class Overloaded(PinxitError):
    """The server is at its limit. Try again shortly."""

    def __init__(self, message: str | None = None, *, retry_after_seconds: float = 1.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class StorageUnavailable(PinxitError):
    """The server cannot store pictures or records at the moment. Nothing was charged."""

    retry_after_seconds = 5.0


class BackendUnavailable(PinxitError):
    """The painter cannot paint at the moment. Nothing was charged."""

    def __init__(self, message: str | None = None, *, retry_after_seconds: float = 2.0) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(message)


class BackendBusy(BackendUnavailable):
    """The painter has too much to do at the moment. Nothing was charged."""


class OwnCredentialFailed(BackendUnavailable):
    """The provider does not accept your own credential. Nothing was charged."""


class OwnCredentialBusy(OwnCredentialFailed):
    """The provider has too much to do for your own credential. Nothing was charged."""


class DeadlineExceeded(PinxitError):
    """The order took longer than its deadline. Nothing was charged."""


class OrderCancelled(PinxitError):
    """This order was cancelled. Nothing was charged."""


class BackendError(PinxitError):
    """The painter answered something that is not a picture."""

    loss_micros = 0
    """What it costs us at most, if it was painted far away."""


class OutcomeUnknown(BackendError):
    """Whether this was painted is not known: the answer was lost. Nothing was charged; it is not painted again."""


class StartupError(PinxitError):
    """Pinxit cannot run here."""


class ConfigurationError(StartupError):
    """The configuration is not valid."""
