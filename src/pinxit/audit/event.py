"""What is noted of a change."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from pinxit.audit.origin import Actor


class Action(StrEnum):
    """What was done: to what, and how it changed."""

    KEY_CREATED = "key.created"
    KEY_CHANGED = "key.changed"
    KEY_DISABLED = "key.disabled"
    KEY_ENABLED = "key.enabled"
    KEY_REVOKED = "key.revoked"
    USER_JOINED = "user.joined"
    USER_CREATED = "user.created"
    USER_ROLE_CHANGED = "user.role_changed"
    USER_PASSWORD_CHANGED = "user.password_changed"  # noqa: S105
    USER_LINKED = "user.linked"
    """To who has that name at a provider of OpenID Connect."""
    USER_REMOVED = "user.removed"
    INVITATION_CREATED = "invitation.created"
    INVITATION_WITHDRAWN = "invitation.withdrawn"
    SESSION_STARTED = "session.started"
    SESSION_REFUSED = "session.refused"
    """So many sign-ins had failed that the next one has to wait."""
    SESSION_ENDED = "session.ended"
    SESSIONS_ENDED = "session.all_ended"
    ACCOUNT_CREATED = "account.created"
    ACCOUNT_TOPPED_UP = "account.topped_up"
    WEBHOOK_CREATED = "webhook.created"
    WEBHOOK_CHANGED = "webhook.changed"
    WEBHOOK_SECRET_CHANGED = "webhook.secret_changed"  # noqa: S105
    WEBHOOK_DISABLED = "webhook.disabled"
    """By the server itself: the receiver wants to hear no more."""
    WEBHOOK_DELETED = "webhook.deleted"
    IMAGE_DELETED = "image.deleted"
    MODEL_CHANGED = "model.changed"
    MODEL_DISABLED = "model.disabled"
    MODEL_ENABLED = "model.enabled"
    MODEL_DEFAULT_CHANGED = "model.default_changed"
    CREDENTIAL_SET = "credential.set"
    CREDENTIAL_REMOVED = "credential.removed"
    CREDENTIALS_RESEALED = "credential.resealed"
    BACKUP_MADE = "backup.made"
    BACKUP_RESTORED = "backup.restored"


@dataclass(frozen=True, slots=True)
class Thing:
    """What was changed. `label`: what people call it, at that time."""

    kind: str
    id: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One change. `changes`: field → (before, after), each None where there was or is nothing; no secrets."""

    id: str
    at: datetime
    actor: Actor
    account_id: str | None
    """Whose things were changed; None: the house's."""
    action: str
    """One of `Action`, unless a newer or older version wrote it."""
    thing: Thing
    changes: Mapping[str, tuple[Any, Any]]
    request_id: str | None
    address: str | None


@dataclass(frozen=True, slots=True)
class Filters:
    """What to show. None, or empty: all."""

    account_id: str | None = None
    actor: str = ""
    """A name or an id."""
    action: str = ""
    """An action, or what all of its kind begin with, like `key.`."""
    since: datetime | None = None
    until: datetime | None = None
    """The first moment that is not shown any more."""
