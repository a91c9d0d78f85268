"""Somebody who signs in to the console."""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pinxit.errors import InvalidValue

MAX_NAME_CHARACTERS = 200
MIN_PASSWORD_CHARACTERS = 10
MAX_PASSWORD_CHARACTERS = 200


class Role(StrEnum):
    """What a user may do: an admin everything in the account, and look after users; a member the rest."""

    ADMIN = "admin"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class User:
    """A person. Users of one account share what is in it; see docs/decisions/0026-users.md."""

    id: str
    account_id: str
    name: str
    role: Role
    created_at: datetime
    signed_in_at: datetime | None = None

    @property
    def is_admin(self) -> bool:
        return self.role is Role.ADMIN


@dataclass(frozen=True, slots=True)
class Link:
    """A link that one person may join by, once. `account_id` None: they get an account of their own."""

    id: str
    account_id: str | None
    role: Role
    note: str
    is_first: bool
    created_at: datetime
    expires_at: datetime


def read_name(text: str) -> str:
    """A user's name, like an e-mail address, as it is compared: two that look alike are the same one.

    Raises InvalidValue.
    """
    name = unicodedata.normalize("NFKC", text).strip().casefold()
    if not name or len(name) > MAX_NAME_CHARACTERS:
        raise InvalidValue(f"A name has 1 to {MAX_NAME_CHARACTERS} characters.", param="name")
    if not all(character.isprintable() and not character.isspace() for character in name):
        raise InvalidValue("A name has no spaces and no characters that cannot be seen.", param="name")
    return name


def check_new_password(password: str, name: str) -> None:
    """Long is what counts (NIST SP 800-63B, §3.1.1.2: no rules of composition). Raises InvalidValue."""
    if len(password) < MIN_PASSWORD_CHARACTERS:
        raise InvalidValue(f"A password has at least {MIN_PASSWORD_CHARACTERS} characters.", param="password")
    if len(password) > MAX_PASSWORD_CHARACTERS:
        raise InvalidValue(f"A password has at most {MAX_PASSWORD_CHARACTERS} characters.", param="password")
    folded = password.casefold()
    if len(set(folded)) < 4 or folded in (name, "pinxit" * (len(folded) // 6)) or folded.startswith(_GUESSED_FIRST):
        raise InvalidValue("This password is among the first that anybody would try.", param="password")


_GUESSED_FIRST = ("password", "passwort", "1234567890", "0123456789", "qwertyuiop", "qwertzuiop", "letmein", "changeme")
