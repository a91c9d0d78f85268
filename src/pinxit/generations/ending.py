"""The end of an order, with its pictures or without: once, in one transaction, and no file left over."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial

import structlog
from sqlalchemy import Connection

from pinxit.database.interface import CommitUnknown, Database
from pinxit.errors import (
    BackendError,
    BackendUnavailable,
    OrderCancelled,
    OutcomeUnknown,
    PinxitError,
    StorageUnavailable,
)
from pinxit.generations import leases, repository
from pinxit.generations.announcing import Announcer
from pinxit.generations.generation import Generation, Status
from pinxit.generations.leases import Tenure
from pinxit.generations.painting import Painting, Work
from pinxit.generations.repository import LeaseLost
from pinxit.ids import hide_secrets
from pinxit.library.library import Library

log = structlog.get_logger(__name__)


class Endings:
    """Ends the orders of this process. What the database or the disk cannot do now, `catch_up` does later."""

    def __init__(
        self,
        *,
        database: Database,
        library: Library,
        announcer: Announcer,
        now: Callable[[], datetime],
        tenure: Tenure,
    ) -> None:
        self._database = database
        self._library = library
        self._announcer = announcer
        self._now = now
        self._tenure = tenure
        self._to_fail: dict[str, tuple[Generation, PinxitError]] = {}
        self._left_behind: dict[str, Generation] = {}

    @property
    def pending(self) -> int:
        """How many orders there is still something to be done for."""
        return len(self._to_fail) + len(self._left_behind)

    async def settle(self, work: Work, painting: Painting) -> Generation:
        """End the order with its pictures. A commit that is in doubt is judged by what the rows say.

        Raises LeaseLost, StorageUnavailable.
        """
        images = tuple(painting.images[index] for index in sorted(painting.images))
        settled = replace(
            work.generation,
            status=Status.COMPLETED,
            images=images,
            model=painting.painters[images[0].position].entry.id,
            parameters=painting.facts(work.generation),
            cost_micros=painting.price_micros,
            input_tokens=painting.usage.input_tokens,
            output_tokens=painting.usage.output_tokens,
            started_at=work.generation.created_at,
            finished_at=self._now(),
        )
        unit = partial(
            repository.settle,
            generation=settled,
            record=self._announcer.record,
            lease_owner=self._tenure.owner,
            loss_micros=painting.loss_micros,
        )
        try:
            is_noted = await self._database.write(unit)
        except CommitUnknown:
            log.warning("settle_in_doubt", generation_id=settled.id)
            await self._settle_again(unit, settled)
            is_noted = True  # perhaps, by the first try
        if is_noted:
            self._announcer.wake()
        return settled

    async def _settle_again(self, unit: Callable[[Connection], bool], settled: Generation) -> None:
        """If this fails too, a reader can still see whether the order has ended. Raises as `settle`."""
        try:
            await self._database.write(unit)
        except StorageUnavailable:
            if not await self._database.read(partial(repository.has_ended_as, generation=settled)):
                raise

    async def fail(self, generation: Generation, error: PinxitError) -> None:
        """End the order without pictures and leave no file behind. Raises LeaseLost if it ceased to be ours."""
        failed = replace(
            generation,
            status=_status_after(error),
            error_class=error.class_name,
            error_message=hide_secrets(error.message),
            finished_at=self._now(),
        )
        unit = partial(
            repository.fail,
            generation=failed,
            record=self._announcer.record,
            lease_owner=self._tenure.owner,
            may_try_again=isinstance(error, BackendUnavailable | StorageUnavailable),
            loss_micros=error.loss_micros if isinstance(error, BackendError) else 0,
        )
        try:
            if await self._database.write(unit):
                self._announcer.wake()
            log.info("generation_failed", **facts_of(failed), error_class=failed.error_class)
            await self.remove_files(failed)
        except LeaseLost:
            await self.leave_to_others(generation)
            raise
        except StorageUnavailable:
            log.error("generation_failure_not_kept", generation_id=generation.id)
            self.fail_later(generation, error)

    def fail_later(self, generation: Generation, error: PinxitError) -> None:
        """Have `catch_up` end the order, should it be there and open."""
        self._to_fail[generation.id] = generation, error

    async def let_go(self, generation: Generation) -> None:
        """Leave the order open for the next process, which paints it."""
        log.info("generation_left_open", **facts_of(generation))
        with suppress(StorageUnavailable):  # then its lease runs out by itself
            await self._database.write(partial(leases.release, generation_id=generation.id, owner=self._tenure.owner))

    async def leave_to_others(self, generation: Generation) -> None:
        """Another process has the order: remove what we wrote for it under names that nobody uses."""
        log.warning("generation_lost", generation_id=generation.id)
        try:
            unclaimed = await self._database.read(partial(leases.list_unclaimed, generation=generation))
            await self._library.discard(unclaimed)
        except StorageUnavailable as error:
            log.error("files_left_behind", generation_id=generation.id, reason=error.message)
            self._left_behind[generation.id] = generation

    async def remove_files(self, failed: Generation) -> None:
        """Rows first, then files, then a note that they are gone: no row ever names a missing file, and no file
        is forgotten. Raises StorageUnavailable.
        """
        if failed.storage_keys:
            await self._library.discard(list(failed.storage_keys))
            await self._database.write(partial(repository.forget_files, generation=failed))

    async def catch_up(self) -> None:
        """Try again what could not be done before."""
        not_ended, self._to_fail = self._to_fail, {}
        for generation, error in not_ended.values():
            with suppress(LeaseLost):
                await self.fail(generation, error)
        left_behind, self._left_behind = self._left_behind, {}
        for generation in left_behind.values():
            await self.leave_to_others(generation)


def facts_of(generation: Generation) -> dict[str, object]:
    """What a log line may say of an order: never its prompt."""
    return {
        "generation_id": generation.id,
        "request_id": generation.request_id,
        "account_id": generation.account_id,
        "model": generation.model,
        "images": len(generation.images),
    }


def _status_after(error: PinxitError) -> Status:
    if isinstance(error, OutcomeUnknown):
        return Status.UNKNOWN
    return Status.CANCELLED if isinstance(error, OrderCancelled) else Status.FAILED
