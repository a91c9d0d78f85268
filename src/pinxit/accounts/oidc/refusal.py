"""Why somebody was not let in, in words of our own: what a provider writes is shown to nobody."""

from enum import StrEnum

from pinxit.errors import PinxitError


class Reason(StrEnum):
    """Each has a sentence in `pinxit.console.refusals`."""

    DECLINED = "declined"
    """The person, or the provider, said no."""
    STALE = "stale"
    """This browser has not begun this sign-in, or too long ago."""
    UNREACHABLE = "unreachable"
    MISTAKEN = "mistaken"
    """The provider answered with an error or nonsense."""
    UNPROVEN = "unproven"
    """Its ID token did not pass a check."""
    UNVERIFIED = "unverified"
    """The person has not proven the e-mail address to the provider."""
    NOT_ALLOWED = "not_allowed"
    NAME_TAKEN = "name_taken"
    """Somebody has the name already, and may be somebody else."""
    FIRST_IS_ADMIN = "first_is_admin"
    BUSY = "busy"


class Refused(PinxitError):
    """This sign-in did not succeed."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        """`detail`: for the log; never anything that a person or a provider wrote."""
        self.reason = reason
        self.detail = detail
        super().__init__()
