"""A credential of a provider as it is kept."""

import re
from dataclasses import dataclass, field
from datetime import datetime

from pinxit.errors import InvalidValue

MAX_CHARACTERS = 4096
HINT_CHARACTERS = 4
_FORM = re.compile(r"[!-~]+(?: [!-~]+)*", re.ASCII)
"""What can stand in a header whatever the provider puts before and behind it (RFC 9110 §5.5)."""


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """One row. `provider`: its name in the configuration; `account_id` None: the house's own."""

    id: str
    provider: str
    account_id: str | None
    sealed: str | None = field(repr=False)
    """None: it was removed."""
    hint: str
    """Its last characters, for people to tell it from others."""
    may_fall_back: bool
    """Whether orders that it is not accepted for go on with the house's, at the full price."""
    created_by: str | None
    created_at: datetime
    changed_at: datetime
    used_at: datetime | None = None


def checked(value: str) -> str:
    """The credential without white space around it. Raises InvalidValue, which never shows it."""
    value = value.strip()
    if not 8 <= len(value) <= MAX_CHARACTERS:
        raise InvalidValue(f"A credential has 8 to {MAX_CHARACTERS} characters.", param="credential")
    if _FORM.fullmatch(value) is None:
        raise InvalidValue("A credential is one line of ASCII characters.", param="credential")
    return value


def hint_of(value: str) -> str:
    """Its last four characters; fewer of a short one, so that three quarters of it stay unknown."""
    return value[-min(HINT_CHARACTERS, len(value) // 4) :]
