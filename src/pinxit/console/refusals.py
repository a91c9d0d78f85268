"""What the sign-in page says of a sign-in elsewhere that did not succeed."""

from pinxit import errors
from pinxit.accounts.oidc.refusal import Reason
from pinxit.errors import Overloaded, PermissionDenied, PinxitError

TOO_OFTEN = "too_often"


def find_problem(name: str, title: str) -> PinxitError | None:
    """What the sign-in page says. `name`: of the reason; nothing else of an address is ever shown."""
    if name not in _PROBLEMS:
        return None
    class_, text = _PROBLEMS[name]
    return class_(text.format(title=title))


_PROBLEMS: dict[str, tuple[type[PinxitError], str]] = {
    Reason.DECLINED: (PermissionDenied, "{title} did not let you in, or you went back."),
    Reason.STALE: (
        PermissionDenied,
        "This browser has not begun this sign-in, or more than ten minutes ago. Try it once more from here.",
    ),
    Reason.UNREACHABLE: (errors.BackendUnavailable, "{title} cannot be reached now. Try again shortly."),
    Reason.MISTAKEN: (
        errors.BackendError,
        "{title} answered with an error. An admin finds the reason in the server's log, under oidc_sign_in_refused.",
    ),
    Reason.UNPROVEN: (
        errors.BackendError,
        "What {title} said of you did not pass a check, so it is not believed. An admin finds the reason in the "
        "server's log, under oidc_sign_in_refused.",
    ),
    Reason.UNVERIFIED: (
        PermissionDenied,
        "{title} does not know yet that your e-mail address is yours. Confirm it there, and try again.",
    ),
    Reason.NOT_ALLOWED: (PermissionDenied, "{title} knows you, but you may not sign in here. Ask an admin."),
    Reason.NAME_TAKEN: (
        errors.Conflict,
        "There is somebody here with your name already. If that is you, ask an admin to link the two.",
    ),
    Reason.FIRST_IS_ADMIN: (
        PermissionDenied,
        "The first one here has to be an admin: open the link that the server printed when it started.",
    ),
    Reason.BUSY: (Overloaded, "Too many people sign in at this moment. Try again shortly."),
    TOO_OFTEN: (PermissionDenied, "There were too many failed attempts from here. Try again in some minutes."),
}
