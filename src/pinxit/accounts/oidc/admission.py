"""Who comes in, as whom and as what, by what an ID token says. No I/O."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pinxit.accounts.oidc.refusal import Reason, Refused
from pinxit.accounts.user import read_name
from pinxit.errors import InvalidValue
from pinxit.settings import OidcEntry, PeopleEntry

_TRUE = (True, 1, "true", "1")
_FALSE = (False, 0, "false", "0")
"""Some providers write booleans as numbers or texts."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says it is: `issuer` and `subject` are the identity, all else may change."""

    issuer: str
    subject: str
    email: str | None
    """Proven to be theirs, in lower case."""
    name: str
    """What they would be called here."""
    is_admin: bool


def read_person(claims: Mapping[str, Any], entry: OidcEntry) -> Person:
    """Raises Refused."""
    email = _proven_email(claims, entry)
    if not entry.allow.anybody and not _is_among(entry.allow, email, claims):
        raise Refused(Reason.NOT_ALLOWED)
    subject = str(claims["sub"])
    return Person(
        entry.issuer,
        subject,
        email,
        email or _other_name(claims, subject),
        is_admin=_is_among(entry.admin, email, claims),
    )


def _proven_email(claims: Mapping[str, Any], entry: OidcEntry) -> str | None:
    """None if there is none, or nothing says that it is theirs.

    Only plain ASCII: names here are compared as NFKC folds them, which makes addresses of two people one.
    """
    email, is_verified = claims.get("email"), claims.get(entry.email_verified_claim)
    if not isinstance(email, str) or not email:
        return None
    if is_verified in _FALSE:
        raise Refused(Reason.UNVERIFIED)
    if is_verified not in _TRUE or not email.isascii() or email.count("@") != 1:
        return None
    try:
        return read_name(email)
    except InvalidValue:
        return None


def _other_name(claims: Mapping[str, Any], subject: str) -> str:
    try:
        return read_name(str(claims.get("preferred_username") or ""))
    except InvalidValue:
        return f"user-{hashlib.sha256(subject.encode()).hexdigest()[:12]}"


def _is_among(people: PeopleEntry, email: str | None, claims: Mapping[str, Any]) -> bool:
    if email is not None and (email in people.emails or email.partition("@")[2] in people.email_domains):
        return True
    return any(not _texts(_find(claims, name)).isdisjoint(values) for name, values in people.claims.items())


def _find(claims: Mapping[str, Any], name: str) -> object:
    """The claim of this name; else what its parts lead to: Keycloak has `roles` in an object `realm_access`."""
    if name in claims:
        return claims[name]
    found: object = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _texts(claim: object) -> set[str]:
    values = claim if isinstance(claim, list) else [claim]
    return {value for value in values if isinstance(value, str)}
