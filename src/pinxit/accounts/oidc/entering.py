"""Which user a proven person is; one unit over a connection."""

from datetime import datetime

import structlog
from sqlalchemy import Connection

from pinxit import accounts
from pinxit.accounts import repository
from pinxit.accounts.noting import as_user, note_account, note_user
from pinxit.accounts.oidc.admission import Person
from pinxit.accounts.oidc.refusal import Reason, Refused
from pinxit.accounts.user import Role, User
from pinxit.audit import Action, Origin
from pinxit.errors import Conflict
from pinxit.ids import new_id

log = structlog.get_logger(__name__)


def find_or_make_user(
    connection: Connection, person: Person, *, may_link: bool, sets_role: bool, now: datetime, origin: Origin
) -> User:
    """The user who has the identity; else the one whose name is the person's address, if that may be; else a new one.

    `sets_role`: whether the provider says who is an admin, at each sign-in anew. Raises Refused.
    """
    user = repository.find_user_by_identity(connection, person.issuer, person.subject)
    try:
        if user is None:
            user = _link(connection, person, now, origin) if may_link else None
        if user is None:
            return _make(connection, person, now, origin)
    except Conflict as error:
        raise Refused(Reason.NAME_TAKEN) from error
    return _with_role(connection, user, person, now, origin) if sets_role else user


def _link(connection: Connection, person: Person, now: datetime, origin: Origin) -> User | None:
    """Whoever has used the name until now is out: the password goes, for somebody else may have chosen it, and the
    sessions with it.
    """
    found = repository.find_user(connection, person.email) if person.email is not None else None
    if found is None or repository.has_identity(connection, found[0].id, person.issuer):
        return None
    user = found[0]
    repository.insert_identity(connection, person.issuer, person.subject, user, now)
    repository.set_password(connection, user.id, None)
    repository.delete_sessions(connection, user.id)
    facts = {"issuer": person.issuer}
    note_user(connection, as_user(origin, user), Action.USER_LINKED, user, now, after=facts)
    log.info("identity_linked", user_id=user.id)
    return user


def _make(connection: Connection, person: Person, now: datetime, origin: Origin) -> User:
    """With an account as invitations give one. The very first user has to be an admin, or there would be none: the
    link for the first one ends when there is anybody.
    """
    if not person.is_admin and not repository.any_user(connection):
        raise Refused(Reason.FIRST_IS_ADMIN)
    if repository.find_user(connection, person.name) is not None:
        raise Refused(Reason.NAME_TAKEN)
    role = Role.ADMIN if person.is_admin else Role.MEMBER
    account_id = accounts.DEFAULT_ACCOUNT if person.is_admin else accounts.create(connection, person.name, now)
    user = User(new_id("user"), account_id, person.name, role, now)
    repository.insert_user(connection, user, None)
    repository.insert_identity(connection, person.issuer, person.subject, user, now)
    by = as_user(origin, user)
    if account_id != accounts.DEFAULT_ACCOUNT:
        note_account(connection, by, account_id, person.name, now)
    note_user(connection, by, Action.USER_JOINED, user, now, after={"role": role, "issuer": person.issuer})
    log.info("user_joined", user_id=user.id, account_id=account_id, role=role.value)
    return user


def _with_role(connection: Connection, user: User, person: Person, now: datetime, origin: Origin) -> User:
    """The last admin stays one."""
    role = Role.ADMIN if person.is_admin else Role.MEMBER
    if role is user.role or (user.is_admin and repository.lock_admins(connection) == 1):
        return user
    repository.set_role(connection, user.id, role)
    facts = {"before": {"role": user.role}, "after": {"role": role}}
    note_user(connection, as_user(origin, user), Action.USER_ROLE_CHANGED, user, now, **facts)
    log.info("role_changed", user_id=user.id, role=role.value)
    return User(user.id, user.account_id, user.name, role, user.created_at, user.signed_in_at)
