"""The models as admins have them: changed while the server runs, by any of its processes, and kept."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection

from pinxit import audit
from pinxit.audit import Action, Origin, Thing
from pinxit.catalog import changes as laying
from pinxit.catalog import repository
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.changes import UNCHANGED, ModelChange, Wish
from pinxit.catalog.entry import Entry
from pinxit.catalog.repository import Kept, Snapshot
from pinxit.database.interface import Database
from pinxit.errors import Conflict, InvalidValue, StorageUnavailable

log = structlog.get_logger(__name__)

LOOK_SECONDS = 2.0
"""How often to look whether another process has changed something."""
MEANWHILE = "Somebody has changed this meanwhile. Look at what it is now, and change it again if need be."


@dataclass(frozen=True, slots=True)
class Managed:
    """A model for who manages it. `entry`: as it is now; `configured`: without changes; `kept`: the change, if there
    ever was one.
    """

    entry: Entry
    configured: Entry
    aliases: tuple[str, ...]
    """Without the names of other services that every default model has."""
    configured_aliases: tuple[str, ...]
    is_default: bool
    is_default_configured: bool
    kept: Kept | None

    @property
    def change(self) -> ModelChange:
        return self.kept.change if self.kept else UNCHANGED

    @property
    def version(self) -> int:
        """What a change of it must have seen."""
        return self.kept.version if self.kept else 0

    @property
    def is_off(self) -> bool:
        return self.change.is_off

    @property
    def is_changed(self) -> bool:
        return self.change != UNCHANGED

    @property
    def wish(self) -> Wish:
        """Its settings as they are now, in full: those of its backends that are left out too."""
        there = {entry.painter: entry.weight for entry in laying.alone(self.configured)}
        chosen = [choice for choice in self.change.backends or () if choice.painter in there]
        known = {choice.painter for choice in chosen}
        chosen += [laying.BackendChoice(name, weight) for name, weight in there.items() if name not in known]
        return Wish(self.entry.sort, tuple(chosen), self.aliases)


class CatalogService:
    """Keeps the one `catalog` that everybody in this process asks as the configuration and its changes have it."""

    def __init__(self, database: Database, catalog: Catalog, *, now: Callable[[], datetime]) -> None:
        """`catalog`: as it is configured; from now on it is this service's to change."""
        self._database = database
        self._catalog = catalog
        self._configured = catalog.changed(laying.Changes())
        self._now = now
        self._seen = Snapshot(-1, None, {})
        self._watching: asyncio.Task[None] | None = None

    @property
    def catalog(self) -> Catalog:
        return self._catalog

    # --- as one of several processes ---

    async def start(self, *, watches: bool) -> None:
        """Have what is kept. `watches`: and what others change from now on. Raises StorageUnavailable."""
        await self.look()
        if watches:
            self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            with suppress(asyncio.CancelledError):
                await self._watching

    def configure(self, configured: Catalog) -> None:
        """The configuration has changed; what is laid over it stays."""
        self._configured = configured
        self._catalog.become(configured.changed(self._seen.changes))

    async def look(self) -> None:
        """Have what another process has changed. Raises StorageUnavailable."""
        if await self._database.read(repository.version) != self._seen.version:
            self._take(await self._database.read(repository.read))

    async def _watch(self) -> None:
        is_well = True
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
                is_well = True
            except StorageUnavailable as error:
                if is_well:
                    log.error("model_changes_not_looked_at", error=error.message)
                is_well = False
            except Exception:
                log.exception("model_changes_not_understood")  # the next look may go well

    def _take(self, snapshot: Snapshot) -> None:
        """Unless something newer is here already."""
        if snapshot.version > self._seen.version:
            self._catalog.become(self._configured.changed(snapshot.changes))
            self._seen = snapshot

    # --- for admins ---

    def list(self) -> "list[Managed]":
        """All models, those that are off too, the default first, then by id."""
        return [self._managed(entry) for entry in self._catalog.list_all()]

    def get(self, model: str) -> Managed:
        """By its id or another name. Raises ModelNotFound."""
        return self._managed(self._catalog.get(model))

    async def change(self, model: str, wish: Wish, *, seen: int, by: str) -> None:
        """Have its settings as `wish` says. `seen`: the version that this was decided on; `by`: who wants it.

        Raises ModelNotFound, InvalidValue, Conflict if it has changed since, StorageUnavailable.
        """
        configured = self._configured_entry(model)
        aliases = self._configured.aliases_of(configured.id)

        def changed(before: ModelChange) -> ModelChange:
            return laying.change_to(wish, configured, aliases, is_off=before.is_off)

        await self._change(configured.id, changed, seen=seen, by=by, aliases=wish.aliases)

    async def switch(self, model: str, *, is_off: bool, seen: int | None, by: str) -> None:
        """Switch it off or on. `seen` None: whatever it is by now. Raises as `change` does."""

        def changed(before: ModelChange) -> ModelChange:
            return replace(before, is_off=is_off)

        await self._change(self._configured_entry(model).id, changed, seen=seen, by=by)

    async def reset(self, model: str, *, seen: int | None, by: str) -> None:
        """Have it as the configuration says. Raises as `change` does."""
        await self._change(self._configured_entry(model).id, lambda _: UNCHANGED, seen=seen, by=by)

    async def make_default(self, model: str | None, *, by: str) -> None:
        """Have it paint what names no model; None: whichever the configuration says.

        Raises ModelNotFound, InvalidValue if it is off, StorageUnavailable.
        """
        configured, now, origin = self._configured, self._now(), audit.current()
        wanted = configured.default.id if model is None else self._configured_entry(model).id

        def unit(connection: Connection) -> Snapshot:
            before = repository.read_to_change(connection)
            if before.changes.of(wanted).is_off:
                raise InvalidValue(f"{wanted} is switched off. Switch it on first.", param="default")
            chosen = None if wanted == configured.default.id else wanted
            repository.keep_default(connection, before, chosen, now, by)
            _note(
                connection,
                origin,
                Action.MODEL_DEFAULT_CHANGED,
                wanted,
                now,
                before={"default": before.changes.default_model or configured.default.id},
                after={"default": wanted},
            )
            return repository.read(connection)

        self._take(await self._database.write(unit))
        log.info("default_model_changed", model=wanted, by=by)

    async def _change(
        self,
        model: str,
        changed: Callable[[ModelChange], ModelChange],
        *,
        seen: int | None,
        by: str,
        aliases: Sequence[str] = (),
    ) -> None:
        configured, now, origin = self._configured, self._now(), audit.current()

        def unit(connection: Connection) -> Snapshot:
            before = repository.read_to_change(connection)
            kept = before.models.get(model)
            if seen is not None and seen != (kept.version if kept else 0):
                raise Conflict(MEANWHILE)
            earlier = kept.change if kept else UNCHANGED
            change = changed(earlier)
            others = configured.lay(before.changes.with_model(model, UNCHANGED))
            laying.check_fit(model, change, aliases, others)
            repository.keep(connection, before, model, change, now, by)
            facts = {"before": asdict(earlier), "after": asdict(change)}
            _note(connection, origin, _action_of(earlier, change), model, now, **facts)
            return repository.read(connection)

        try:
            self._take(await self._database.write(unit))
        except Conflict:
            await self.look()  # so that it is seen at once what somebody else has changed
            raise
        log.info("model_changed", model=model, by=by)

    def _configured_entry(self, model: str) -> Entry:
        """Raises ModelNotFound."""
        return self._configured.restore(self.get(model).entry.id)

    def _managed(self, entry: Entry) -> Managed:
        configured = self._configured.restore(entry.id)
        return Managed(
            entry=entry,
            configured=configured,
            aliases=self._catalog.aliases_of(entry.id),
            configured_aliases=self._configured.aliases_of(entry.id),
            is_default=entry.id == self._catalog.default.id,
            is_default_configured=entry.id == self._configured.default.id,
            kept=self._seen.models.get(entry.id),
        )


def _action_of(before: ModelChange, after: ModelChange) -> Action:
    if before.is_off == after.is_off:
        return Action.MODEL_CHANGED
    return Action.MODEL_DISABLED if after.is_off else Action.MODEL_ENABLED


def _note(
    connection: Connection,
    origin: Origin,
    action: Action,
    model: str,
    at: datetime,
    *,
    before: Mapping[str, object],
    after: Mapping[str, object],
) -> None:
    audit.note(connection, origin, action, Thing("model", model), account_id=None, at=at, before=before, after=after)
