"""What the configuration file says of signing in by an OpenID Connect provider."""

import re
from ipaddress import ip_address
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from pinxit.settings.values import HomePath, Network, Text, check_base_url, problem

_EMAIL = re.compile(r"[^\s@]{1,64}@[a-z0-9.-]{1,190}", re.ASCII)
_DOMAIN = re.compile(r"(?=.{1,190}\Z)[a-z0-9](?:[a-z0-9-]{0,62})(?:\.[a-z0-9](?:[a-z0-9-]{0,62}))*", re.ASCII)


def _check_issuer(url: str) -> str:
    """As it stands: providers differ in whether a slash is at the end, and it is compared exactly."""
    check_base_url(url)
    parts = urlsplit(url)
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise problem("must begin with https://; http is for a provider on this machine only")
    return url


def is_loopback(host: str) -> bool:
    """Whether what is sent there stays on this machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _check_email(text: str) -> str:
    lowered = text.lower()
    if _EMAIL.fullmatch(lowered) is None:
        raise problem("must be an e-mail address")
    return lowered


def _check_domain(text: str) -> str:
    lowered = text.lower()
    if _DOMAIN.fullmatch(lowered) is None:
        raise problem("must be the part of an e-mail address behind the @, like example.com")
    return lowered


def _check_scopes(scopes: tuple[str, ...]) -> tuple[str, ...]:
    if "openid" not in scopes:
        raise problem("must contain openid", shows_value=False)
    return scopes


class PeopleEntry(BaseModel):
    """Who is meant: those of whom any of these is true."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    emails: tuple[Annotated[str, AfterValidator(_check_email)], ...] = ()
    email_domains: tuple[Annotated[str, AfterValidator(_check_domain)], ...] = ()
    claims: dict[Text, tuple[Text, ...]] = {}
    """Claims of the ID token, and the values of which one must be there: `groups`, or `realm_access.roles`."""

    @property
    def names_anybody(self) -> bool:
        """Whether it can be true of somebody."""
        return bool(self.emails or self.email_domains or any(self.claims.values()))


class AllowEntry(PeopleEntry):
    """Who may sign in."""

    anybody: bool = False
    """Everybody whom the provider knows."""


class OidcEntry(BaseModel):
    """An OpenID Connect provider that people may sign in by."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    issuer: Annotated[str, AfterValidator(_check_issuer)]
    client_id: Text
    client_secret: SecretStr | None = None
    """Without one, Pinxit is a public client there."""
    client_secret_file: HomePath | None = None
    scopes: Annotated[tuple[Text, ...], AfterValidator(_check_scopes)] = ("openid", "email", "profile")
    title: Text = Field(default="single sign-on", max_length=60)
    """What the button says: `Sign in with …`."""
    allow: AllowEntry
    admin: PeopleEntry = PeopleEntry()
    """Who is an admin, at each sign-in anew; with nobody named, admins are made under People."""
    link_existing: bool = False
    """Whether who proves an e-mail address becomes the user of that name."""
    password_sign_in: bool = True
    email_verified_claim: Text = "email_verified"
    """The claim that says whether the address in `email` was proven to be the person's own."""
    allowed_networks: tuple[Network, ...] = ()
    """Networks that are not public and that its endpoints on other hosts than the issuer's may be in."""

    @model_validator(mode="after")
    def _has_one_secret(self) -> Self:
        if self.client_secret is not None and self.client_secret_file is not None:
            raise problem("must have either client_secret or client_secret_file", shows_value=False)
        return self

    @model_validator(mode="after")
    def _lets_somebody_in(self) -> Self:
        if self.allow.anybody and self.allow.names_anybody:
            raise problem("must not name anybody beside anybody: true", at=("allow",), shows_value=False)
        if not self.allow.anybody and not self.allow.names_anybody:
            raise problem(
                "must say who may sign in: emails, email_domains, claims, or anybody: true",
                at=("allow",),
                shows_value=False,
            )
        return self
