"""What the audit log is told of users, invitations and accounts."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from pinxit import audit
from pinxit.accounts.user import Link, User
from pinxit.audit import Action, Actor, ActorKind, Origin, Thing


def as_user(origin: Origin, user: User) -> Origin:
    """Where nobody was signed in until just now."""
    return replace(origin, actor=Actor(ActorKind.USER, user.id, user.name))


def note_user(
    connection: Connection,
    origin: Origin,
    action: Action,
    user: User,
    now: datetime,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    thing = Thing("user", user.id, user.name)
    audit.note(connection, origin, action, thing, account_id=user.account_id, at=now, before=before, after=after)


def note_link(connection: Connection, origin: Origin, action: Action, link: Link, now: datetime) -> None:
    facts = {"role": link.role, "account": link.account_id or "one of their own"}
    told = {"after": facts} if action is Action.INVITATION_CREATED else {"before": facts}
    thing = Thing("invitation", link.id, link.note)
    audit.note(connection, origin, action, thing, account_id=link.account_id, at=now, **told)


def note_account(connection: Connection, origin: Origin, account_id: str, name: str, now: datetime) -> None:
    """It is new."""
    thing = Thing("account", account_id, name)
    audit.note(connection, origin, Action.ACCOUNT_CREATED, thing, account_id=account_id, at=now)
