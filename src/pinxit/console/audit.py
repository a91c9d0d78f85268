"""Who changed what: all of it for admins, what concerns their own account for members."""

from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from pinxit.api.errors import status_and_type
from pinxit.api.usage_query import read_day
from pinxit.audit import Action, Event, Filters
from pinxit.audit.csv import to_csv
from pinxit.audit.service import days
from pinxit.console.formats import money
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import InvalidValue

PAGE = 50
MICROS = "_micros"
"""Ends the name of a field that is money."""
MOST_IN_A_TABLE = 10_000
"""Of the newest, for spreadsheets; an older day is asked for by its date."""
WORDS = {
    Action.KEY_CREATED: "made an API key",
    Action.KEY_CHANGED: "changed an API key",
    Action.KEY_DISABLED: "switched an API key off",
    Action.KEY_ENABLED: "switched an API key on",
    Action.KEY_REVOKED: "revoked an API key",
    Action.USER_JOINED: "joined",
    Action.USER_CREATED: "made a user",
    Action.USER_ROLE_CHANGED: "changed the role of",
    Action.USER_PASSWORD_CHANGED: "set a new password for",
    Action.USER_LINKED: "proved, elsewhere, to be",
    Action.USER_REMOVED: "removed a user",
    Action.INVITATION_CREATED: "made an invitation",
    Action.INVITATION_WITHDRAWN: "withdrew an invitation",
    Action.SESSION_STARTED: "signed in",
    Action.SESSION_REFUSED: "failed to sign in too often as",
    Action.SESSION_ENDED: "signed out",
    Action.SESSIONS_ENDED: "signed out everywhere",
    Action.ACCOUNT_CREATED: "opened an account",
    Action.ACCOUNT_TOPPED_UP: "paid money in for",
    Action.WEBHOOK_CREATED: "made a webhook",
    Action.WEBHOOK_CHANGED: "changed a webhook",
    Action.WEBHOOK_SECRET_CHANGED: "gave a new secret to a webhook",
    Action.WEBHOOK_DISABLED: "switched a webhook off",
    Action.WEBHOOK_DELETED: "deleted a webhook",
    Action.IMAGE_DELETED: "deleted a picture",
    Action.MODEL_CHANGED: "changed a model",
    Action.MODEL_DISABLED: "switched a model off",
    Action.MODEL_ENABLED: "switched a model on",
    Action.MODEL_DEFAULT_CHANGED: "made another model the default",
    Action.CREDENTIAL_SET: "set a credential for",
    Action.CREDENTIAL_REMOVED: "removed the credential for",
    Action.CREDENTIALS_RESEALED: "sealed all credentials anew",
    Action.BACKUP_MADE: "made a backup",
    Action.BACKUP_RESTORED: "restored a backup",
}
ACTORS = {"command": "command line", "visitor": "somebody", "system": "Pinxit", "key": "API key", "user": "user"}
GROUPS = {
    "key.": "API keys",
    "session.": "Sign-ins",
    "user.": "People",
    "invitation.": "Invitations",
    "account.": "Accounts and credits",
    "webhook.": "Webhooks",
    "image.": "Pictures",
    "model.": "Models",
    "credential.": "Credentials of providers",
    "backup.": "Backups",
}
"""What all actions of a kind begin with."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters as they stand in the form."""

    first: date | None = None
    last: date | None = None
    actor: str = ""
    action: str = ""

    @property
    def as_query(self) -> str:
        """For the end of an address."""
        set_ = {"from": self.first, "to": self.last, "actor": self.actor, "action": self.action}
        return urlencode({name: value for name, value in set_.items() if value})

    def filters(self, visit: Visit) -> Filters:
        since, until = days(self.first, self.last)
        account_id = None if visit.member.is_admin else visit.member.account_id
        return Filters(account_id, self.actor, self.action, since, until)


class AuditPage:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        """A page, newest first. Raises NotFound if `after` is no event that this visitor may see."""
        error = None
        try:
            asked = _asked(visit)
        except InvalidValue as refused:
            asked, error = Asked(), refused
        after = visit.request.query_params.get("after") or None
        found = await visit.services.audit.list(asked.filters(visit), after=after, limit=PAGE + 1)
        return self._pages.response(
            "audit",
            visit,
            status=200 if error is None else status_and_type(type(error))[0],
            error=error,
            asked=asked,
            events=[_seen_by(visit, event) for event in found[:PAGE]],
            older=urlencode({"after": found[PAGE - 1].id}) if len(found) > PAGE else None,
            is_first=after is None,
            words=WORDS,
            actors=ACTORS,
            groups=GROUPS,
            brief=brief,
            label=label,
            now=visit.services.now(),
        )

    async def table(self, visit: Visit) -> Response:
        """The same, for spreadsheets. Raises InvalidValue."""
        events = await visit.services.audit.list(_asked(visit).filters(visit), limit=MOST_IN_A_TABLE)
        return Response(
            to_csv([_seen_by(visit, event) for event in events]),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": 'attachment; filename="audit.csv"'},
        )


def label(field: str) -> str:
    """As people call it."""
    return field.removesuffix(MICROS).replace("_", " ")


def brief(value: Any, field: str = "") -> str:
    """A field's value in a few words."""
    if value is None or value in ("", [], {}):
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(brief(inner) for inner in value)
    if isinstance(value, dict):
        return ", ".join(f"{label(name)} {brief(inner, name)}" for name, inner in value.items())
    if isinstance(value, int) and field.endswith(MICROS):
        return money(value)
    return str(value)


def _asked(visit: Visit) -> Asked:
    """From the address. Raises InvalidValue."""
    query = visit.request.query_params
    first, last = (read_day(query.get(name) or None, param=name) for name in ("from", "to"))
    return Asked(first, last, query.get("actor", "").strip(), query.get("action", ""))


def _seen_by(visit: Visit, event: Event) -> Event:
    """Where others are is for admins."""
    is_own = event.actor.id is not None and event.actor.id == visit.member.id
    return event if visit.member.is_admin or is_own else replace(event, address=None)
