"""Users of the console: how they join, sign in, are recognised, and go.

Tokens of sessions and links are 256 random bits and kept as their SHA-256 only: who reads the database has no way in.
"""

import hashlib
import hmac
import math
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from pinxit import accounts, audit
from pinxit.accounts import backoff, repository
from pinxit.accounts.backoff import Party
from pinxit.accounts.noting import as_user, note_account, note_link, note_user
from pinxit.accounts.oidc.admission import Person
from pinxit.accounts.oidc.entering import find_or_make_user
from pinxit.accounts.oidc.refusal import Reason, Refused
from pinxit.accounts.passwords import PasswordDesk
from pinxit.accounts.user import MAX_PASSWORD_CHARACTERS, Link, Role, User, check_new_password, read_name
from pinxit.audit import Action
from pinxit.database.interface import Database
from pinxit.errors import (
    AuthenticationFailed,
    InvalidValue,
    NotFound,
    PermissionDenied,
    RateLimited,
    StorageUnavailable,
)
from pinxit.ids import new_id

log = structlog.get_logger(__name__)

SESSION = timedelta(days=30)
IDLE = timedelta(days=7)
TOUCH = timedelta(minutes=5)
"""When a session was last seen is as exact as this."""
FIRST_LINK = timedelta(days=1)
INVITATION = timedelta(days=7)
MAX_NOTE_CHARACTERS = 200
WRONG = "The name or the password is not right."
LINK_OVER = "This link does not work any more: it has been used, withdrawn, or is too old."
LAST_ADMIN = "Somebody has to be an admin; make another one first."
NO_PASSWORDS = "Nobody signs in by a password here. Open the console and use the button that is there."


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a browser gets: `token` is the session, `device` says that it has signed in before."""

    user: User
    token: str
    device: str


@dataclass(frozen=True, slots=True)
class WaysIn:
    """How a user can sign in. `issuers`: of OpenID Connect."""

    has_password: bool
    issuers: list[str]


class UserService:
    """All users of this installation. A session is looked up anew for every request, so that its end holds at once."""

    def __init__(
        self, database: Database, *, now: Callable[[], datetime], secret: bytes, takes_passwords: bool = True
    ) -> None:
        """`secret`: this installation's own; device cookies are signed with it. `takes_passwords`: whether users
        sign in and join by them; the very first one joins by one in any case.
        """
        self.takes_passwords = takes_passwords
        self._database = database
        self._now = now
        self._device_key = hmac.digest(secret, b"device cookies of the console", "sha256")
        self._desk = PasswordDesk()

    # --- joining ---

    async def first_link(self) -> str | None:
        """The token of a new link for the very first user, who becomes an admin; None if there is a user. Links made
        for the first one before do not work any more.
        """
        now, token = self._now(), _new_token()
        link = Link(new_id("link"), accounts.DEFAULT_ACCOUNT, Role.ADMIN, "", True, now, now + FIRST_LINK)

        def unit(connection: Connection) -> bool:
            if repository.any_user(connection):
                return False
            repository.delete_first_links(connection)
            repository.insert_link(connection, link, _digest(token))
            return True

        return token if await self._database.write(unit) else None

    async def invite(self, role: Role, *, account_id: str | None, note: str) -> tuple[Link, str]:
        """A new link and its token. `account_id` None: who joins gets an account of their own.

        Raises NotFound, InvalidValue, PermissionDenied.
        """
        self._require_passwords()
        if len(note) > MAX_NOTE_CHARACTERS:
            raise InvalidValue(f"A note has at most {MAX_NOTE_CHARACTERS} characters.", param="note")
        now, token = self._now(), _new_token()
        link = Link(new_id("link"), account_id, role, note, False, now, now + INVITATION)
        origin = audit.current()

        def unit(connection: Connection) -> None:
            repository.delete_old_links(connection, now)
            if account_id is not None:
                accounts.require(connection, account_id)
            repository.insert_link(connection, link, _digest(token))
            note_link(connection, origin, Action.INVITATION_CREATED, link, now)

        await self._database.write(unit)
        return link, token

    async def get_link(self, token: str) -> Link:
        """Raises NotFound if nobody can join by it, PermissionDenied if only a password is missing for that."""
        link = await self._database.read(
            lambda connection: repository.find_link(connection, _digest(token), self._now())
        )
        if link is None:
            raise NotFound(LINK_OVER)
        if not link.is_first:
            self._require_passwords()
        return link

    async def list_links(self) -> list[Link]:
        return await self._database.read(lambda connection: repository.list_links(connection, self._now()))

    async def withdraw(self, link_id: str) -> None:
        """Withdrawing twice is no error."""
        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> None:
            link = repository.find_link_by_id(connection, link_id)
            if link is not None and repository.take_link(connection, link_id):
                note_link(connection, origin, Action.INVITATION_WITHDRAWN, link, now)

        await self._database.write(unit)

    async def join(self, token: str, name: str, password: str) -> SignedIn:
        """Join by a link, which then is used up. Raises what `get_link` raises, InvalidValue, Conflict, Overloaded."""
        link, name = await self.get_link(token), read_name(name)
        check_new_password(password, name)
        hashed, now = await self._desk.hash(password), self._now()
        session, origin = _new_token(), audit.current()

        def unit(connection: Connection) -> User:
            if not repository.take_link(connection, link.id):
                raise NotFound(LINK_OVER)
            if link.is_first and repository.any_user(connection):
                raise NotFound(LINK_OVER)
            account_id = link.account_id or accounts.create(connection, name, now)
            user = User(new_id("user"), account_id, name, link.role, now)
            repository.insert_user(connection, user, hashed)
            repository.insert_session(connection, _digest(session), user, now, now + SESSION)
            by = as_user(origin, user)
            if link.account_id is None:
                note_account(connection, by, account_id, name, now)
            note_user(connection, by, Action.USER_JOINED, user, now, after={"role": user.role, "link": link.id})
            return user

        user = await self._database.write(unit)
        log.info("user_joined", user_id=user.id, account_id=user.account_id, role=user.role.value)
        return SignedIn(user, session, self._new_device(user.name))

    # --- signing in and out ---

    async def sign_in(self, name: str, password: str, *, address: str, device: str | None) -> SignedIn:
        """`address`: of the client; `device`: what an earlier sign-in gave this browser.

        Raises AuthenticationFailed, the same for a name that is not there, after the same time; RateLimited while
        earlier failures keep it waiting; Overloaded; PermissionDenied where nobody signs in by a password.
        """
        self._require_passwords()
        name = _folded(name)
        known_device = self._read_device(device, name)
        who = backoff.parties(name, address, known_device)
        now = self._now()
        await self._claim(who, now)
        found = await self._database.read(lambda connection: repository.find_user(connection, name))
        user, hashed = found or (None, None)
        fits = len(password) <= MAX_PASSWORD_CHARACTERS
        if not (await self._desk.verify(password if fits else "", hashed) and fits) or user is None:
            log.info("sign_in_failed", address=address)
            if user is not None:  # what is nobody's name may be a password in the wrong field
                await self._note_failure(user, who, now)
            raise AuthenticationFailed(WRONG)
        token, origin = _new_token(), audit.current()

        def unit(connection: Connection) -> None:
            backoff.forgive(connection, who, now)
            repository.insert_session(connection, _digest(token), user, now, now + SESSION)
            note_user(connection, as_user(origin, user), Action.SESSION_STARTED, user, now)

        await self._database.write(unit)
        log.info("user_signed_in", user_id=user.id)
        return SignedIn(user, token, device if device and known_device else self._new_device(name))

    async def _note_failure(self, user: User, who: Sequence[Party], now: datetime) -> None:
        """Only the one that makes the next one wait: a guesser fills no log."""
        origin = audit.current()

        def unit(connection: Connection) -> None:
            if backoff.begins_to_wait(connection, who, now):
                note_user(connection, origin, Action.SESSION_REFUSED, user, now)

        await self._database.write(unit)

    async def enter(self, person: Person, *, may_link: bool, sets_role: bool) -> SignedIn:
        """Sign in whom a provider vouches for; see `find_or_make_user`. Raises Refused."""
        now, token, origin = self._now(), _new_token(), audit.current()

        def unit(connection: Connection) -> User:
            user = find_or_make_user(connection, person, may_link=may_link, sets_role=sets_role, now=now, origin=origin)
            repository.insert_session(connection, _digest(token), user, now, now + SESSION)
            note_user(connection, as_user(origin, user), Action.SESSION_STARTED, user, now)
            return user

        user = await self._database.write(unit)
        log.info("user_signed_in", user_id=user.id, issuer=person.issuer)
        return SignedIn(user, token, self._new_device(user.name))

    @asynccontextmanager
    async def patience(self, address: str) -> AsyncIterator[None]:
        """Around a try from `address` to prove somebody elsewhere. Raises RateLimited while earlier ones that
        failed keep it waiting.
        """
        who, now = backoff.parties_elsewhere(address), self._now()
        await self._claim(who, now)
        try:
            yield
        except Refused as refused:
            if refused.reason is Reason.UNREACHABLE:  # nobody's fault who is here
                await self._database.write(lambda connection: backoff.forgive(connection, who, now))
            raise
        await self._database.write(lambda connection: backoff.forgive(connection, who, now))

    async def _claim(self, who: Sequence[backoff.Party], now: datetime) -> None:
        left = await self._database.write(lambda connection: backoff.claim(connection, who, now))
        if left > timedelta(0):
            seconds = math.ceil(left.total_seconds())
            message = f"There were too many failed attempts. Try again in {_span(seconds)}."
            raise RateLimited(message, retry_after_seconds=seconds)

    def _require_passwords(self) -> None:
        if not self.takes_passwords:
            raise PermissionDenied(NO_PASSWORDS)

    async def find(self, token: str) -> User | None:
        """Whose session this is; None if it is over, or never was."""
        now, digest = self._now(), _digest(token)
        found = await self._database.read(
            lambda connection: repository.find_session(connection, digest, now, now - IDLE)
        )
        if found is None:
            return None
        user, seen_at = found
        if now - seen_at > TOUCH:
            await self._touch(digest, now)
        return user

    async def _touch(self, digest: str, now: datetime) -> None:
        try:
            await self._database.write(lambda connection: repository.touch_session(connection, digest, now))
        except StorageUnavailable:
            log.warning("session_last_seen_not_kept")

    async def sign_out(self, token: str) -> None:
        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> None:
            user = repository.delete_session(connection, _digest(token))
            if user is not None:
                note_user(connection, origin, Action.SESSION_ENDED, user, now)

        await self._database.write(unit)

    async def sign_out_everywhere(self, user: User) -> None:
        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> None:
            repository.delete_sessions(connection, user.id)
            note_user(connection, origin, Action.SESSIONS_ENDED, user, now)

        await self._database.write(unit)

    async def end_sessions_by(self, issuer: str, subject: str) -> None:
        """All sessions of whom this identity belongs to, if to anybody."""

        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> None:
            user = repository.find_user_by_identity(connection, issuer, subject)
            if user is not None and repository.count_sessions(connection, user.id, now):
                repository.delete_sessions(connection, user.id)
                note_user(connection, origin, Action.SESSIONS_ENDED, user, now)

        await self._database.write(unit)

    async def ways_in(self, user: User) -> WaysIn:
        return await self._database.read(
            lambda connection: WaysIn(
                repository.has_password(connection, user.id), repository.list_issuers(connection, user.id)
            )
        )

    async def count_sessions(self, user: User) -> int:
        return await self._database.read(lambda connection: repository.count_sessions(connection, user.id, self._now()))

    async def change_password(self, user: User, old: str, new: str, *, address: str, device: str | None) -> SignedIn:
        """All sessions of the user end, and a new one begins. Raises what `sign_in` raises, and InvalidValue."""
        check_new_password(new, user.name)
        try:
            await self.sign_in(user.name, old, address=address, device=device)
        except AuthenticationFailed as error:
            raise InvalidValue("This is not your password.", param="old_password") from error
        hashed, now, token = await self._desk.hash(new), self._now(), _new_token()
        origin = audit.current()

        def unit(connection: Connection) -> None:
            repository.set_password(connection, user.id, hashed)
            repository.delete_sessions(connection, user.id)
            note_user(connection, origin, Action.USER_PASSWORD_CHANGED, user, now)
            repository.insert_session(connection, _digest(token), user, now, now + SESSION)

        await self._database.write(unit)
        log.info("password_changed", user_id=user.id)
        return SignedIn(user, token, self._new_device(user.name))

    # --- looking after users ---

    async def list(self) -> "list[User]":
        return await self._database.read(repository.list_users)

    async def set_role(self, user_id: str, role: Role) -> None:
        """Raises NotFound; InvalidValue for the last admin."""

        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> None:
            user = _require_another_admin(connection, user_id, role)
            repository.set_role(connection, user_id, role)
            note_user(
                connection,
                origin,
                Action.USER_ROLE_CHANGED,
                user,
                now,
                before={"role": user.role},
                after={"role": role},
            )

        await self._database.write(unit)
        log.info("role_changed", user_id=user_id, role=role.value)

    async def remove(self, user_id: str) -> None:
        """They cannot sign in any more, from this moment; the account and its keys and pictures stay.

        Raises NotFound; InvalidValue for the last admin.
        """

        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> None:
            user = _require_another_admin(connection, user_id, None)
            repository.delete_user(connection, user_id)
            note_user(connection, origin, Action.USER_REMOVED, user, now, before={"role": user.role})

        await self._database.write(unit)
        log.info("user_removed", user_id=user_id)

    # --- for an operator at the machine itself ---

    async def create(self, name: str, password: str, *, role: Role, account_id: str | None) -> User:
        """`account_id` None: a new one of their own. Raises InvalidValue, NotFound, Conflict."""
        name = read_name(name)
        check_new_password(password, name)
        hashed, now, origin = await self._desk.hash(password), self._now(), audit.current()

        def unit(connection: Connection) -> User:
            if account_id is not None:
                accounts.require(connection, account_id)
            user = User(new_id("user"), account_id or accounts.create(connection, name, now), name, role, now)
            repository.insert_user(connection, user, hashed)
            if account_id is None:
                note_account(connection, origin, user.account_id, name, now)
            note_user(connection, origin, Action.USER_CREATED, user, now, after={"role": role})
            return user

        return await self._database.write(unit)

    async def set_password(self, name: str, password: str) -> User:
        """All sessions end, and earlier failures are forgotten. Raises NotFound, InvalidValue."""
        name = _folded(name)
        check_new_password(password, name)
        hashed, now, origin = await self._desk.hash(password), self._now(), audit.current()

        def unit(connection: Connection) -> User:
            found = repository.find_user(connection, name)
            if found is None:
                raise NotFound("There is nobody with this name.", param="name")
            user = found[0]
            repository.set_password(connection, user.id, hashed)
            repository.delete_sessions(connection, user.id)
            backoff.forget_name(connection, name)
            note_user(connection, origin, Action.USER_PASSWORD_CHANGED, user, now)
            return user

        return await self._database.write(unit)

    # --- device cookies ---

    def _new_device(self, name: str) -> str:
        nonce = secrets.token_urlsafe(16)
        return f"{nonce}.{self._device_mark(nonce, name)}"

    def _read_device(self, cookie: str | None, name: str) -> str | None:
        nonce, _, mark = (cookie or "").partition(".")
        is_genuine = hmac.compare_digest(mark.encode("utf-8", "replace"), self._device_mark(nonce, name).encode())
        return nonce if nonce and is_genuine else None

    def _device_mark(self, nonce: str, name: str) -> str:
        return hmac.new(self._device_key, f"{nonce}\0{name}".encode("utf-8", "replace"), "sha256").hexdigest()


def _require_another_admin(connection: Connection, user_id: str, role: Role | None) -> User:
    """The user. Raises NotFound; InvalidValue if they are the last admin, and would not be one any more."""
    admins = repository.lock_admins(connection)
    user = repository.find_user_by_id(connection, user_id)
    if user is None:
        raise NotFound("There is no such user.")
    if user.is_admin and role is not Role.ADMIN and admins == 1:
        raise InvalidValue(LAST_ADMIN, param="role")
    return user


def _new_token() -> str:
    return secrets.token_urlsafe(32)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _folded(name: str) -> str:
    """As it would be kept; a name that nobody can have is nobody's."""
    try:
        return read_name(name)
    except InvalidValue:
        return ""


def _span(seconds: int) -> str:
    return f"{seconds} seconds" if seconds < 90 else f"{math.ceil(seconds / 60)} minutes"
