"""Making, verifying and revoking API keys."""

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import structlog
from sqlalchemy import Connection

from pinxit import audit
from pinxit.audit import Action, Thing
from pinxit.database.interface import Database
from pinxit.errors import AuthenticationFailed, NotFound, PermissionDenied, StorageUnavailable
from pinxit.ids import new_id
from pinxit.keys import repository
from pinxit.keys.model import ApiKey, Caller, KeyOptions, Scope
from pinxit.keys.secret import PREFIX_LENGTH, digest, has_form, new_secret

log = structlog.get_logger(__name__)

CACHE_SECONDS = 0.5
"""How long a verified key is believed without asking the database: a revocation, also one made by another
process, holds in less than a second.
"""
CACHE_ENTRIES = 4096
TOUCH_SECONDS = 60.0
"""`last_used_at` is as exact as this."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class _Known:
    key: ApiKey | None
    believed_until: float


class KeyService:
    """API keys of all accounts. The cache is by the whole hash, also for keys that do not exist, and bounded."""

    def __init__(self, database: Database, *, now: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._now = now
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._touched: OrderedDict[str, float] = OrderedDict()
        self._touching: set[asyncio.Task[None]] = set()

    async def verify(self, secret: str) -> Caller:
        """The holder of `secret`.

        Raises AuthenticationFailed, the same for a key that is unknown, revoked or expired.
        """
        if not has_form(secret):
            raise AuthenticationFailed
        key = await self._find(digest(secret))
        if key is None or not key.is_valid(self._now()):
            raise AuthenticationFailed
        self._touch(key)
        return Caller(account_id=key.account_id, key=key, scopes=frozenset(key.options.scopes))

    async def create(self, creator: Caller, options: KeyOptions) -> tuple[ApiKey, str]:
        """A new key in the creator's account, and its secret, which is never shown again.

        Raises PermissionDenied if the key could do more than its creator.
        """
        _require_not_stronger(creator, options)
        _require_not_rationed(creator)
        secret = new_secret()
        key = ApiKey(
            id=new_id("key"),
            account_id=creator.account_id,
            prefix=secret[:PREFIX_LENGTH],
            last4=secret[-4:],
            options=options,
            created_at=self._now(),
        )
        origin = audit.current()

        def unit(connection: Connection) -> None:
            repository.insert(connection, key, digest(secret))
            audit.note(
                connection,
                origin,
                Action.KEY_CREATED,
                _thing(key),
                account_id=key.account_id,
                at=key.created_at,
                after=asdict(options),
            )

        await self._database.write(unit)
        log.info("key_created", key_id=key.id, account_id=key.account_id)
        return key, secret

    async def list(self, caller: Caller) -> list[ApiKey]:
        return await self._database.read(lambda connection: repository.list_newest(connection, caller.account_id))

    async def get(self, caller: Caller, key_id: str) -> ApiKey:
        """Raises NotFound, also for another account's key."""
        return await self._database.read(
            lambda connection: _there(repository.find(connection, caller.account_id, key_id))
        )

    async def change(self, caller: Caller, key_id: str, change: Callable[[KeyOptions], KeyOptions]) -> ApiKey:
        """Give the key other options. Raises NotFound, PermissionDenied and what `change` raises.

        It is one unit of work, `change` too: of two changes at once neither brings back what the other took away.
        """
        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> ApiKey:
            key = _there(repository.find_to_change(connection, caller.account_id, key_id))
            _require_not_stronger(caller, key.options)
            _require_not_rationed(caller)
            options = change(key.options)
            _require_not_stronger(caller, options)
            repository.update_options(connection, caller.account_id, key_id, options)
            changed = replace(key, options=options)
            audit.note(
                connection,
                origin,
                _action(key.options, options),
                _thing(changed),
                account_id=caller.account_id,
                at=now,
                before=asdict(key.options),
                after=asdict(options),
            )
            return changed

        changed = await self._database.write(unit)
        self._known.clear()
        return changed

    async def revoke(self, caller: Caller, key_id: str) -> ApiKey:
        """Revoke the key for good; revoking twice is no error. Raises NotFound, PermissionDenied."""
        key = await self.get(caller, key_id)
        _require_not_stronger(caller, key.options)
        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> None:
            if repository.revoke(connection, caller.account_id, key_id, now):
                audit.note(connection, origin, Action.KEY_REVOKED, _thing(key), account_id=caller.account_id, at=now)

        await self._database.write(unit)
        self._known.clear()
        log.info("key_revoked", key_id=key_id, account_id=caller.account_id)
        return await self.get(caller, key_id)

    async def close(self) -> None:
        await asyncio.gather(*self._touching)

    async def _find(self, secret_sha256: str) -> ApiKey | None:
        known = self._known.get(secret_sha256)
        if known is not None and time.monotonic() < known.believed_until:
            return known.key
        asked_at = time.monotonic()
        found = await self._database.read(lambda connection: repository.find_by_digest(connection, secret_sha256))
        key = found[0] if found and hmac.compare_digest(found[1], secret_sha256) else None
        self._known[secret_sha256] = _Known(key, asked_at + CACHE_SECONDS)
        self._known.move_to_end(secret_sha256)
        while len(self._known) > CACHE_ENTRIES:
            self._known.popitem(last=False)
        return key

    def _touch(self, key: ApiKey) -> None:
        now = time.monotonic()
        if now - self._touched.get(key.id, -TOUCH_SECONDS) < TOUCH_SECONDS:
            return
        self._touched[key.id] = now
        while len(self._touched) > CACHE_ENTRIES:
            self._touched.popitem(last=False)
        task = asyncio.create_task(self._write_touch(key.id, self._now()))
        self._touching.add(task)
        task.add_done_callback(self._touching.discard)

    async def _write_touch(self, key_id: str, now: datetime) -> None:
        try:
            await self._database.write(lambda connection: repository.touch(connection, key_id, now))
        except StorageUnavailable:
            log.warning("key_last_used_not_kept", key_id=key_id)


def _thing(key: ApiKey) -> Thing:
    return Thing("api_key", key.id, key.options.name or f"{key.prefix}…{key.last4}")


def _action(before: KeyOptions, after: KeyOptions) -> Action:
    if before.disabled == after.disabled:
        return Action.KEY_CHANGED
    return Action.KEY_DISABLED if after.disabled else Action.KEY_ENABLED


def _there(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise NotFound("There is no such API key.")
    return key


def _require_not_stronger(creator: Caller, options: KeyOptions) -> None:
    if Scope.ADMIN in creator.scopes:
        return
    beyond = [scope.value for scope in options.scopes if scope not in creator.scopes]
    if beyond:
        raise PermissionDenied(
            f"This API key cannot handle keys with scopes beyond its own: {', '.join(beyond)}.", param="scopes"
        )
    own_models = creator.key.options.models if creator.key else None
    if own_models is not None and (options.models is None or not set(options.models) <= set(own_models)):
        raise PermissionDenied("This API key cannot handle keys for models beyond its own.", param="models")
    own_expiry = creator.key.options.expires_at if creator.key else None
    if own_expiry is not None and (options.expires_at is None or options.expires_at > own_expiry):
        raise PermissionDenied("This API key cannot handle keys that outlive it.", param="expires_at")


def _require_not_rationed(creator: Caller) -> None:
    """A key with limits or budgets would leave them behind by a second key, so it makes and changes none."""
    if Scope.ADMIN not in creator.scopes and creator.key is not None and creator.key.options.is_rationed:
        raise PermissionDenied("This API key has limits or budgets of its own, so it cannot make or change keys.")


def local_caller(account_id: str) -> Caller:
    """The operator at the command line of this machine, who may do anything in `account_id`."""
    return Caller(account_id=account_id, key=None, scopes=frozenset({Scope.ADMIN}))
