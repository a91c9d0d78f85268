"""Whose credential an order is sent with; setting, removing and sealing them anew.

What is stored is kept in memory as it lies in the database, sealed, and followed by looking every other second: no
order asks the database, and a change holds in all processes within seconds. Nothing is kept unsealed: to open a value
takes microseconds.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Connection

from pinxit import audit
from pinxit.audit import Action, Origin, Thing
from pinxit.backends.interface import Credential, CredentialUse
from pinxit.credentials import repository
from pinxit.credentials.model import StoredCredential, checked, hint_of
from pinxit.credentials.seal import KeyLost, KeyRing, Keys, SealBroken, key_name_of
from pinxit.database.interface import Database
from pinxit.errors import (
    BackendUnavailable,
    InvalidValue,
    NotFound,
    OwnCredentialFailed,
    StartupError,
    StorageUnavailable,
)
from pinxit.ids import new_id

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
OVERLAP = timedelta(seconds=60)
"""How far each look goes back behind the last change: clocks of processes differ, and commits take time."""
USED_EVERY = timedelta(seconds=60)
"""`used_at` is as exact as this."""
MOST_PASSES = 5
"""How often credentials that were set under the old key meanwhile are sealed anew."""


@dataclass(frozen=True, slots=True)
class Access:
    """With what an account's orders may be sent to one provider. `house` None: with what is configured there."""

    own: Credential | None
    may_fall_back: bool
    """From its own to the house's."""
    house: Credential | None
    has_house: bool


class _Handle(Credential):
    """A stored credential by its place, looked up and opened at the moment it is sent."""

    def __init__(self, service: "CredentialService", provider: str, account_id: str | None) -> None:
        self._service = service
        self._provider = provider
        self._account_id = account_id

    @property
    def is_own(self) -> bool:
        return self._account_id is not None

    def reveal(self) -> str:
        return self._service.reveal(self._provider, self._account_id)

    def __repr__(self) -> str:
        return f"<credential for {self._provider}>"


class CredentialService:
    """Of all accounts and of the house."""

    def __init__(self, database: Database, keys: Keys, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._keys = keys
        self._now = now
        self._uses: Mapping[str, CredentialUse] = {}
        self._stored: dict[tuple[str, str | None], StoredCredential] = {}
        self._ring: KeyRing | None = None
        self._latest: datetime | None = None
        self._used: dict[str, datetime] = {}
        self._noted: dict[str, datetime] = {}
        self._following: asyncio.Task[None] | None = None

    def become(self, uses: Mapping[str, CredentialUse | None]) -> None:
        """The providers that there are from now on, by name; None for backends that need no credential."""
        self._uses = {name: use for name, use in uses.items() if use is not None}

    async def start(self) -> None:
        """Read what is stored, and follow it from then on. Raises StorageUnavailable."""
        await self.look()
        self._warn()
        self._following = asyncio.create_task(self._follow(), name="follow credentials")

    async def close(self) -> None:
        if self._following is not None:
            self._following.cancel()
            await asyncio.wait({self._following})
            self._following = None

    # --- for orders ---

    def find(self, backend: str, account_id: str) -> Access | None:
        """None: the backend needs nothing, or the house's as it is configured, and the account has none of its own."""
        use = self._uses.get(backend)
        if use is None:
            return None
        own = self._stored.get((backend, account_id)) if use.may_be_own else None
        house = None if use.is_fixed else self._stored.get((backend, None))
        if own is None and house is None and (use.is_there or not use.is_needed):
            return None
        return Access(
            own=None if own is None else _Handle(self, backend, account_id),
            may_fall_back=own is None or own.may_fall_back,
            house=None if house is None else _Handle(self, backend, None),
            has_house=house is not None or use.is_there or not use.is_needed,
        )

    def may_use(self, backend: str, account_id: str) -> bool:
        """Whether there is a credential for orders of this account."""
        access = self.find(backend, account_id)
        return access is None or access.own is not None or access.has_house

    def has_house(self, backend: str) -> bool:
        """Whether orders of accounts without a credential of their own can be sent there."""
        return self.may_use(backend, "")

    def reveal(self, provider: str, account_id: str | None) -> str:
        """The credential itself. Raises BackendUnavailable, OwnCredentialFailed."""
        stored = self._stored.get((provider, account_id))
        if stored is None:
            if account_id is not None:
                raise OwnCredentialFailed(f"Your own credential for {provider} was removed. Nothing was charged.")
            raise BackendUnavailable(f"The credential for {provider} was removed. Nothing was charged.")
        try:
            value = self._open(stored)
        except (KeyLost, SealBroken, StartupError) as error:
            log.error("credential_not_opened", provider=provider, account_id=account_id, reason=error.message)
            if account_id is not None:
                raise OwnCredentialFailed(
                    f"Your own credential for {provider} cannot be opened any more: set it again. Nothing was charged."
                ) from error
            raise BackendUnavailable(
                f"This server's credential for {provider} cannot be opened. Nothing was charged."
            ) from error
        self._used[stored.id] = self._now()
        return value

    def _open(self, stored: StoredCredential) -> str:
        """Raises KeyLost, SealBroken, StartupError."""
        sealed = stored.sealed or ""
        if self._ring is None or key_name_of(sealed) not in self._ring:
            fresh = self._keys.read()
            if fresh is None:
                raise KeyLost
            self._ring = fresh.joined(self._ring)
        return self._ring.open(sealed, provider=stored.provider, account_id=stored.account_id)

    # --- for people ---

    @property
    def providers(self) -> Mapping[str, CredentialUse]:
        """Those that heed credentials, by name."""
        return self._uses

    async def list(self, account_id: str | None) -> list[StoredCredential]:
        """An account's own, or the house's, by provider. Raises StorageUnavailable."""
        return await self._database.read(partial(repository.list_of, account_id=account_id))

    async def has_account(self, account_id: str) -> bool:
        """Whether there is such an account. Raises StorageUnavailable."""
        return await self._database.read(partial(repository.has_account, account_id=account_id))

    def is_readable(self, stored: StoredCredential) -> bool:
        """Whether this server has the key for it."""
        try:
            self._open(stored)
        except (KeyLost, SealBroken, StartupError):
            return False
        return True

    async def set(
        self, provider: str, value: str, *, account_id: str | None, may_fall_back: bool = False, by: str | None = None
    ) -> StoredCredential:
        """Keep it, in the place of one that is there. `account_id` None: the house's.

        Raises InvalidValue, StartupError, StorageUnavailable.
        """
        self._require(provider, account_id)
        value = checked(value)
        for _ in range(MOST_PASSES):
            ring, now = self._keys.ready(), self._now()
            stored = StoredCredential(
                id=new_id("cred"),
                provider=provider,
                account_id=account_id,
                sealed=ring.seal(value, provider=provider, account_id=account_id),
                hint=hint_of(value),
                may_fall_back=may_fall_back,
                created_by=by,
                created_at=now,
                changed_at=now,
            )
            await self._database.write(partial(_put, stored=stored, origin=audit.current()))
            if self._keys.ready().first == ring.first:  # else the key was replaced meanwhile
                break
        await self.look()
        log.info("credential_set", provider=provider, account_id=account_id, by=by)
        return self._stored[provider, account_id]

    async def remove(self, provider: str, *, account_id: str | None) -> None:
        """Raises NotFound, StorageUnavailable."""
        unit = partial(_remove, provider=provider, account_id=account_id, now=self._now(), origin=audit.current())
        if not await self._database.write(unit):
            raise NotFound(f"There is no stored credential for {provider[:64]!r}.")
        await self.look()
        log.info("credential_removed", provider=provider, account_id=account_id)

    async def rotate(self) -> int:
        """Seal everything with a new key, and forget the one before it; servers go on meanwhile. Returns how many were
        sealed anew.

        A key of the settings is the operator's to replace: then everything is sealed with the first one there, and
        none is forgotten. Raises KeyLost or SealBroken, naming the credential, before anything is forgotten;
        StartupError, StorageUnavailable.
        """
        self._keys.begin_replacing()
        ring, count = self._keys.ready(), 0
        for _ in range(MOST_PASSES):
            rows = await self._database.read(partial(repository.list_changed, since=None))
            stale = [stored for stored in rows if key_name_of(stored.sealed or "") != ring.first]
            if not stale:
                self._keys.end_replacing()
                break
            for stored in stale:
                count += await self._reseal(stored, ring)
        await self._database.write(partial(_note_resealed, origin=audit.current(), count=count, now=self._now()))
        await self.look()
        log.info("credentials_sealed_anew", count=count)
        return count

    async def _reseal(self, stored: StoredCredential, ring: KeyRing) -> bool:
        try:
            value = self._open(stored)
        except (KeyLost, SealBroken) as error:
            whose = "this server's" if stored.account_id is None else f"that of {stored.account_id}"
            raise type(error)(f"The credential for {stored.provider} ({whose}): {error.message}") from error
        sealed = ring.seal(value, provider=stored.provider, account_id=stored.account_id)
        unit = partial(repository.reseal, stored=stored, sealed=sealed, now=self._now())
        return await self._database.write(unit)

    def _require(self, provider: str, account_id: str | None) -> None:
        use = self._uses.get(provider)
        there = sorted(name for name, each in self._uses.items() if account_id is None or each.may_be_own)
        if use is None:
            raise InvalidValue(f"There is no provider {provider[:64]!r}.", param="provider", allowed=there or ["none"])
        if account_id is not None and not use.may_be_own:
            raise InvalidValue(
                f"{provider} takes no credentials of accounts.", param="provider", allowed=there or ["none"]
            )

    # --- following the database ---

    async def look(self) -> None:
        """Take in what has changed, and note what was used. Raises StorageUnavailable."""
        await self._note_uses()
        since = None if self._latest is None else self._latest - OVERLAP
        for stored in await self._database.read(partial(repository.list_changed, since=since)):
            self._latest = stored.changed_at if self._latest is None else max(self._latest, stored.changed_at)
            place = stored.provider, stored.account_id
            if stored.sealed is None:
                self._stored.pop(place, None)
            else:
                self._stored[place] = stored

    async def _note_uses(self) -> None:
        due = {
            id_: used
            for id_, used in self._used.items()
            if id_ not in self._noted or used - self._noted[id_] >= USED_EVERY
        }
        if due:
            await self._database.write(partial(repository.touch, used=due))
            self._noted |= due
        self._used.clear()

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except StorageUnavailable as error:
                log.error("credentials_not_looked_for", error=error.message)
            except Exception:
                log.exception("looking_for_credentials_crashed")  # the next look may go well

    def _warn(self) -> None:
        """Say at the start what orders would only find out."""
        for name, use in self._uses.items():
            if not self.has_house(name):
                log.warning("provider_without_credential", provider=name, variable=use.variable)
        ring = self._keys.read()
        lost = [
            stored for stored in self._stored.values() if ring is None or key_name_of(stored.sealed or "") not in ring
        ]
        if lost:
            reason = KeyLost().message
            log.error("credentials_not_readable", count=len(lost), provider=lost[0].provider, reason=reason)


def _put(connection: Connection, stored: StoredCredential, origin: Origin) -> None:
    repository.put(connection, stored)
    audit.note(
        connection,
        origin,
        Action.CREDENTIAL_SET,
        Thing("provider", stored.provider),
        account_id=stored.account_id,
        at=stored.changed_at,
        after={"ends_in": stored.hint, "may_fall_back": stored.may_fall_back},
    )


def _remove(connection: Connection, provider: str, account_id: str | None, now: datetime, origin: Origin) -> bool:
    is_gone = repository.remove(connection, provider, account_id, now)
    if is_gone:
        provider_s = Thing("provider", provider)
        audit.note(connection, origin, Action.CREDENTIAL_REMOVED, provider_s, account_id=account_id, at=now)
    return is_gone


def _note_resealed(connection: Connection, origin: Origin, count: int, now: datetime) -> None:
    all_ = Thing("credentials", "all")
    audit.note(connection, origin, Action.CREDENTIALS_RESEALED, all_, account_id=None, at=now, after={"count": count})
