"""The story of one order, from asked to kept.

An order belongs to the server, not to the socket that asked for it: `create` starts a task of the server's own, and a
client that hangs up loses its answer, not its picture.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Connection

from pinxit import errors
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.entry import CheckedOrder
from pinxit.database.interface import CommitUnknown, Database
from pinxit.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    NotFound,
    OrderCancelled,
    OutcomeUnknown,
    Overloaded,
    PinxitError,
    StillRunning,
    StorageUnavailable,
)
from pinxit.generations import leases, record, repository
from pinxit.generations.announcing import NOBODY, Announcer
from pinxit.generations.generation import Generation, Status
from pinxit.generations.leases import LEASE, Taken, Tenure
from pinxit.generations.live import Live, ProgressListener
from pinxit.generations.painting import MAX_ATTEMPTS, Painting, Studio, Work, unknown_outcome
from pinxit.generations.repeat import Repeat, fingerprint
from pinxit.generations.repository import Attempt, Charge, Lease, LeaseLost
from pinxit.ids import hide_secrets, new_id, new_image_name
from pinxit.images.request import ImageRequest
from pinxit.keys.model import Caller
from pinxit.library.library import Library
from pinxit.limits.gate import Gate, Ticket
from pinxit.limits.rates import Limiter, Limits, Party, Place, Standing
from pinxit.moderation import Moderator
from pinxit.runners.interface import Runner

log = structlog.get_logger(__name__)

TEND_SECONDS = 10.0
"""How often leases are renewed and orders looked for whose lease has run out."""
CANCEL_LOOK_SECONDS = 0.5
"""How often to look whether another process wants an order of ours to be given up."""
CANCEL_WAIT_SECONDS = 5.0
"""How long a cancellation waits for another process to end the order."""
TAKEN_AT_ONCE = 100
"""How many orders are taken over in one transaction."""
STOPPED = "The server stopped while this was being painted. Nothing was charged; ask again."

REPEAT_WAIT_SECONDS = 60.0
"""How long an order sent again waits for the first one to end, before it is told to come back."""
LOOK_SECONDS = 0.25
"""How often to look for the end of an order that another process paints."""
ONCE = Repeat()


@dataclass(slots=True)
class _Audience:
    """How many wait for an order's answer on its own connection."""

    waiting: int = 0

    @contextmanager
    def attend(self) -> Iterator[None]:
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1


@dataclass(frozen=True, slots=True)
class _Commission:
    """An order as it was asked for, until it is in the database."""

    caller: Caller
    order: CheckedOrder
    ticket: Ticket
    generation: Generation
    repeat: Repeat
    on_progress: ProgressListener | None
    opened: "asyncio.Future[str]"
    """The id of the order to wait for, once it is in the database."""
    audience: _Audience = field(default_factory=_Audience)

    @property
    def work(self) -> Work:
        attempt = Attempt(1, self.order.entry.backend, tuple(range(self.order.request.n)))
        return Work(self.order, self.generation, attempt)


class GenerationService:
    """Takes orders, paints and keeps them."""

    def __init__(
        self,
        *,
        database: Database,
        catalog: Catalog,
        runners: Mapping[str, Runner],
        moderator: Moderator,
        library: Library,
        gate: Gate,
        limiter: Limiter,
        account_limits: Limits,
        now: Callable[[], datetime],
        tenure: Tenure,
        is_billed: bool,
        url_ttl: timedelta | None = None,
        announcer: Announcer = NOBODY,
        once_only: frozenset[str] = frozenset(),
    ) -> None:
        """`runners`: backend name → its runner; `account_limits`: of each account; `tenure`: in whose name orders are
        painted; `url_ttl`: how long a picture's URL opens it, None for ever, unless the key says otherwise;
        `once_only`: the names of backends whose work is not repeatable.
        """
        self._database = database
        self._catalog = catalog
        self._moderator = moderator
        self._library = library
        self._gate = gate
        self._limiter = limiter
        self._account_limits = account_limits
        self._now = now
        self._tenure = tenure
        self._is_billed = is_billed
        self._url_ttl = url_ttl
        self._announcer = announcer
        self._once_only = once_only
        self._studio = Studio(
            database=database, runners=runners, library=library, now=now, lease_owner=tenure.owner, once_only=once_only
        )
        self._live: dict[str, Live] = {}
        self._opening: set[str] = set()
        """Ids of orders on their way into the database, whose painting has not begun."""
        self._tasks: set[asyncio.Task[Generation]] = set()
        self._to_fail: dict[str, tuple[Generation, PinxitError]] = {}
        self._left_behind: dict[str, Generation] = {}
        """Orders that others have, whose files of ours could not be removed yet."""
        self._tending: set[asyncio.Task[None]] = set()

    # --- the story ---

    async def begin(
        self,
        caller: Caller,
        request: ImageRequest,
        *,
        request_id: str,
        generation_id: str | None = None,
        repeat: Repeat = ONCE,
        deadline_seconds: float | None = None,
        on_progress: ProgressListener | None = None,
    ) -> "Order":
        """Take an order on, which is painted whether or not somebody waits for it; one sent again is painted once.

        Raises ModelNotFound, PermissionDenied, InvalidValue, RateLimited, Overloaded, StorageUnavailable; the rest
        `Order.answer` raises.
        """
        order = self.price(caller, request)
        await self._limiter.count_request(self._parties(caller))
        commission = _Commission(
            caller=caller,
            order=order,
            ticket=self._gate.admit(),
            generation=self._plan(caller, order, request_id, generation_id, deadline_seconds),
            repeat=repeat,
            on_progress=on_progress,
            opened=asyncio.get_running_loop().create_future(),
        )
        task = self._spawn(self._carry_out(commission))
        task.add_done_callback(lambda _: commission.opened.cancel())
        return Order(self, task, commission.opened, commission.audience)

    def price(self, caller: Caller, request: ImageRequest) -> CheckedOrder:
        """What would be painted, and for how much. Raises ModelNotFound, PermissionDenied, InvalidValue."""
        entry = self._catalog.resolve(request.model)
        caller.require_model(request.model, entry.id)
        return entry.check(request)

    def standings(self, caller: Caller) -> list[Standing]:
        """What is left of the caller's limits, as far as there are any."""
        return self._limiter.standings(self._parties(caller))

    def _parties(self, caller: Caller) -> tuple[Party, ...]:
        """Who is limited: the key and its account. The command line of this machine is not."""
        if caller.key is None:
            return ()
        return (
            Party(caller.key.id, "This API key", caller.key.options.limits),
            Party(caller.account_id, "This account", self._account_limits, is_account=True),
        )

    async def create(
        self,
        caller: Caller,
        request: ImageRequest,
        *,
        request_id: str,
        generation_id: str | None = None,
        on_progress: ProgressListener | None = None,
    ) -> Generation:
        """Paint an order and keep its pictures. The answer holds their bytes.

        Raises:
            ModelNotFound, PermissionDenied, InvalidValue: it cannot be had.
            ContentPolicyViolation: it is refused.
            InsufficientCredits, BudgetExceeded: it cannot be paid.
            RateLimited: it is too much.
            Overloaded, BackendUnavailable, StorageUnavailable: not now.
            Conflict: there is an order with this id already.
            IdempotencyMismatch, StillRunning: its Idempotency-Key is another order's, or that is not done yet.
            BackendError: the painter failed.
            DeadlineExceeded, OrderCancelled: it was given up.
        In all these cases nothing is charged and no picture is kept.
        """
        order = await self.begin(
            caller, request, request_id=request_id, generation_id=generation_id, on_progress=on_progress
        )
        return await order.answer()

    async def _carry_out(self, commission: "_Commission") -> Generation:
        caller, request = commission.caller, commission.order.request
        with commission.ticket:
            found_id = await self._find_earlier(commission)
            if found_id is None:
                with self._limiter.admit(self._parties(caller), request.n) as place:
                    await self._moderator.check_prompt(request.prompt)
                    if request.store:
                        await self._library.require_room()
                    with self._claim(commission.generation.id):
                        found_id = await self._open(commission, place)
                        if found_id == commission.generation.id:
                            commission.opened.set_result(found_id)
                            with suppress(LeaseLost):  # then another process answers, as for an order sent again
                                return await self._paint_and_settle(
                                    commission.work, commission.ticket, commission.audience, commission.on_progress
                                )
            if not commission.opened.done():
                commission.opened.set_result(found_id)
        return await self._answer_again(caller, request, found_id)

    async def _find_earlier(self, commission: "_Commission") -> str | None:
        """The order that this one repeats: no limit keeps a client from the answer of what it has asked for before."""
        generation, repeat = commission.generation, commission.repeat
        if repeat == ONCE:
            return None
        is_likely = await self._database.read(
            partial(repository.may_have_earlier, generation=generation, repeat=repeat)
        )
        if not is_likely:
            return None
        return await self._database.write(partial(repository.find_earlier, generation=generation, repeat=repeat))

    @contextmanager
    def _claim(self, generation_id: str) -> Iterator[None]:
        """Keep `_take_over` from an order of ours that is still being opened when its lease runs out: this process may
        have been stopped in between.
        """
        self._opening.add(generation_id)
        try:
            yield
        finally:
            self._opening.discard(generation_id)

    async def _open(self, commission: "_Commission", place: Place) -> str:
        """Begin the order in one transaction. Returns its id, or that of the order that this one repeats."""
        key, generation = commission.caller.key, commission.generation
        budgets = key.options.budgets.by_period if key else {}
        unit = partial(
            repository.open_,
            generation=generation,
            attempt=commission.work.attempt,
            charge=Charge(commission.order.price_micros, self._is_billed, budgets),
            repeat=commission.repeat,
            lease=Lease(self._tenure.owner, generation.created_at + LEASE),
            claim=place.claim,
        )
        try:
            opened_id = await self._database.write(unit)
        except CommitUnknown as error:
            # It may be there, or come to be there in a moment: nobody will paint it, so it is to end.
            with suppress(LeaseLost):
                await self._fail(generation, error)
            self._to_fail[generation.id] = generation, error
            raise
        place.confirm()
        return opened_id

    async def _paint_and_settle(
        self, work: Work, ticket: Ticket, audience: _Audience, on_progress: ProgressListener | None
    ) -> Generation:
        """Paint what is ours and end it. Raises LeaseLost if it ceased to be ours."""
        generation = work.generation
        live = self._live[generation.id] = Live(work.steps, on_progress, asyncio.current_task())
        try:
            async with asyncio.timeout(self._seconds_left(generation)):
                await ticket.take_turn(generation.api_key_id or generation.account_id, live.queued)
                started = monotonic()
                painting = await self._studio.paint(work, live)
                live.is_final = True
            settled = await self._settle(work, painting)
            ticket.seconds = monotonic() - started
            log.info("generation_completed", **_facts(settled), seconds=round(ticket.seconds, 3))
            return settled
        except LeaseLost:
            await self._leave_to_others(generation)
            raise
        except PinxitError as error:
            await self._fail(generation, error)
            raise
        except TimeoutError as late:
            given_up = DeadlineExceeded(
                f"The order {generation.id} took longer than its deadline. Nothing was charged."
            )
            await self._fail(generation, given_up)
            raise given_up from late
        except asyncio.CancelledError as cancelled:  # `cancel` does it, and `close`
            stopped: PinxitError = BackendUnavailable(STOPPED)
            if live.is_cancelled:
                stopped = OrderCancelled()
                await self._fail(generation, stopped)
            elif self._tenure.is_server and generation.storage_keys and not audience.waiting:
                await self._let_go(generation)
            else:
                await self._fail(generation, stopped)
            raise stopped from cancelled
        except Exception:
            await self._fail(generation, PinxitError())
            raise
        finally:
            del self._live[generation.id]
            live.end()

    def _seconds_left(self, generation: Generation) -> float | None:
        if generation.deadline_at is None:
            return None
        return (generation.deadline_at - self._now()).total_seconds()

    async def _settle(self, work: Work, painting: Painting) -> Generation:
        """End the order in one transaction. A commit that is in doubt is judged by what the rows say.

        Raises LeaseLost, StorageUnavailable.
        """
        images = tuple(painting.images[index] for index in sorted(painting.images))
        settled = replace(
            work.generation,
            status=Status.COMPLETED,
            images=images,
            cost_micros=work.order.price_micros_per_image * len(images),
            input_tokens=painting.usage.input_tokens,
            output_tokens=painting.usage.output_tokens,
            started_at=work.generation.created_at,
            finished_at=self._now(),
        )
        unit = partial(
            repository.settle, generation=settled, record=self._announcer.record, lease_owner=self._tenure.owner
        )
        try:
            await self._database.write(unit)
        except CommitUnknown:
            log.warning("settle_in_doubt", generation_id=settled.id)
            await self._settle_again(unit, settled)
        self._announcer.wake()
        return settled

    async def _settle_again(self, unit: Callable[[Connection], None], settled: Generation) -> None:
        """If this too is in doubt, a reader can still see whether the order has ended. Raises as `_settle`."""
        try:
            await self._database.write(unit)
        except CommitUnknown:
            if not await self._database.read(partial(repository.has_ended_as, generation=settled)):
                raise

    async def _fail(self, generation: Generation, error: PinxitError) -> None:
        """End the order without pictures and leave no file behind. What cannot be done now, `tend` does later.

        Raises LeaseLost if it ceased to be ours.
        """
        live = self._live.get(generation.id)
        if live is not None:
            live.is_final = True
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
        )
        try:
            await self._database.write(unit)
            self._announcer.wake()
            log.info("generation_failed", **_facts(failed), error_class=failed.error_class)
            await self._remove_files(failed)
        except LeaseLost:
            await self._leave_to_others(generation)
            raise
        except StorageUnavailable:
            log.error("generation_failure_not_kept", generation_id=generation.id)
            self._to_fail[generation.id] = generation, error

    async def _let_go(self, generation: Generation) -> None:
        """Leave the order open for the next process, which paints it."""
        log.info("generation_left_open", **_facts(generation))
        with suppress(StorageUnavailable):  # then its lease runs out by itself
            await self._database.write(partial(leases.release, generation_id=generation.id, owner=self._tenure.owner))

    async def _leave_to_others(self, generation: Generation) -> None:
        """Another process has the order: remove what we wrote for it under names that nobody uses."""
        log.warning("generation_lost", generation_id=generation.id)
        try:
            unclaimed = await self._database.read(partial(leases.list_unclaimed, generation=generation))
            await self._library.discard(unclaimed)
        except StorageUnavailable as error:
            log.error("files_left_behind", generation_id=generation.id, reason=error.message)
            self._left_behind[generation.id] = generation

    async def _remove_files(self, failed: Generation) -> None:
        """Rows first, then files, then a note that they are gone: no row ever names a missing file, and no file
        is forgotten.
        """
        if failed.storage_keys:
            await self._library.discard(list(failed.storage_keys))
            await self._database.write(partial(repository.forget_files, generation=failed))

    def _plan(
        self,
        caller: Caller,
        order: CheckedOrder,
        request_id: str,
        generation_id: str | None,
        deadline_seconds: float | None,
    ) -> Generation:
        request, now = order.request, self._now()
        keys = tuple(new_image_name(request.encoding.value) for _ in order.paint.seeds) if request.store else ()
        return Generation(
            id=generation_id or new_id("gen"),
            account_id=caller.account_id,
            api_key_id=caller.key_id,
            request_id=request_id,
            status=Status.QUEUED,
            model=order.entry.id,
            requested_model=request.model,
            prompt=request.prompt,
            parameters=record.parameters_of(order, url_ttl_seconds=self._url_ttl_seconds(caller)),
            storage_keys=keys,
            created_at=now,
            deadline_at=None if deadline_seconds is None else now + timedelta(seconds=deadline_seconds),
            fingerprint=fingerprint(request),
        )

    def _url_ttl_seconds(self, caller: Caller) -> float | None:
        own = caller.key.options.url_ttl_seconds if caller.key else None
        if own is not None:
            return own
        return None if self._url_ttl is None else self._url_ttl.total_seconds()

    # --- the same order again ---

    async def abandon(self, generation_id: str) -> None:
        """Note that the client left without its answer, so that its retry can have it."""
        try:
            await self._database.write(partial(repository.abandon, generation_id=generation_id, now=self._now()))
        except StorageUnavailable:
            log.warning("abandonment_not_kept", generation_id=generation_id)

    async def _answer_again(self, caller: Caller, request: ImageRequest, generation_id: str) -> Generation:
        """The answer of an order that was begun before: wait until it ends, then tell its end again.

        Raises what it ended with, StillRunning, or NotFound if its pictures have been deleted since.
        """
        found = await self._wait_for_end(caller, generation_id)
        if found.status is not Status.COMPLETED:
            error_class = getattr(errors, found.error_class or "", PinxitError)
            raise error_class(found.error_message)
        if len(found.images) == 0:
            raise NotFound("The pictures of this order have been deleted, or were not to be kept.")
        log.info("generation_repeated", **_facts(found))
        if not request.delivery.has_b64:
            return replace(found, is_replay=True)
        images = [replace(image, data=await self._library.read(image)) for image in found.images]
        return replace(found, images=tuple(images), is_replay=True)

    async def _wait_for_end(self, caller: Caller, generation_id: str) -> Generation:
        """Wait for an order of this process by its event, for one of another process by looking."""
        deadline = monotonic() + REPEAT_WAIT_SECONDS
        while (found := await self.get(caller, generation_id)).status.is_open:
            if monotonic() >= deadline:
                raise StillRunning
            live = self._live.get(generation_id)
            if live is None:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await live.wait_for_end(deadline - monotonic())
        return found

    # --- looking back ---

    async def get(self, caller: Caller, generation_id: str) -> Generation:
        """The order as it stands. Raises NotFound, also for another account's order."""
        found = await self._database.read(
            lambda connection: repository.find(connection, caller.account_id, generation_id)
        )
        if found is None:
            raise NotFound("There is no such generation.")
        return self._as_it_stands(found)

    async def list_newest(self, caller: Caller, *, after: str | None, limit: int) -> list[Generation]:
        """The account's orders. Raises NotFound if `after` is none of them."""
        unit = partial(repository.list_newest, account_id=caller.account_id, after=after, limit=limit)
        found = await self._database.read(unit)
        if found is None:
            raise NotFound("There is no such generation.", param="after")
        return [self._as_it_stands(generation) for generation in found]

    def _as_it_stands(self, found: Generation) -> Generation:
        live = self._live.get(found.id)
        if live is not None and found.status.is_open:
            return replace(found, status=live.progress.status, progress=live.progress)
        return found

    async def follow(self, caller: Caller, generation_id: str) -> AsyncGenerator[Generation, None]:
        """The order as it stands, again whenever that has changed, until it has ended. Raises NotFound.

        Who is slow to take one misses those in between, never the last.
        """
        while True:
            live = self._live.get(generation_id)
            seen = live.version if live else 0
            found = await self.get(caller, generation_id)
            yield found
            if not found.status.is_open:
                return
            if live is None:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                await live.wait_for_change(seen)

    async def cancel(self, caller: Caller, generation_id: str) -> Generation:
        """Give the order up between two steps; nothing is charged. One that has ended stays as it is.

        One that another process paints is answered as it stands, if that takes longer than CANCEL_WAIT_SECONDS to give
        it up. Raises NotFound.
        """
        found = await self.get(caller, generation_id)
        if not found.status.is_open:
            return found
        live = self._live.get(generation_id)
        if live is not None:
            live.cancel()
            await live.wait_for_end()
            return await self.get(caller, generation_id)
        unit = partial(
            leases.request_cancel, account_id=caller.account_id, generation_id=generation_id, now=self._now()
        )
        await self._database.write(unit)
        with suppress(TimeoutError):
            async with asyncio.timeout(CANCEL_WAIT_SECONDS), aclosing(self.follow(caller, generation_id)) as orders:
                async for _ in orders:
                    pass
        return await self.get(caller, generation_id)

    # --- begin and end of the process ---

    @property
    def live_count(self) -> int:
        return len(self._tasks)

    async def start(self) -> None:
        """Go on with what an earlier process left open, and begin to look after leases."""
        if self._tenure.predecessors is not None:
            await self._database.write(partial(leases.expire, owners=self._tenure.predecessors))
        await self._take_over()
        for failed in await self._database.read(repository.list_with_files_to_remove):
            await self._remove_files(failed)
        await self._library.purge()
        for look, seconds in ((self.tend, TEND_SECONDS), (self.look_for_cancellations, CANCEL_LOOK_SECONDS)):
            self._tending.add(asyncio.create_task(_repeat(look, seconds)))

    async def close(self, grace_seconds: float) -> None:
        """Wait for the orders under way, then end those that take longer than `grace_seconds`; those that nobody waits
        for are left to the next process.
        """
        if self._tasks:
            log.info("draining", generations=len(self._tasks))
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for tending in self._tending:
            tending.cancel()
        if self._tending:
            await asyncio.wait(self._tending)
        self._tending.clear()

    async def tend(self) -> None:
        """Renew our leases, end what could not be ended before, go on with what nobody paints any more, and remove
        deleted pictures that could not be removed before.

        Raises StorageUnavailable.
        """
        await self._database.write(partial(repository.forget_old_keys, now=self._now()))
        await self._limiter.tend()
        if self._live:
            begun = [id_ for id_, live in self._live.items() if live.progress.status is Status.IN_PROGRESS]
            unit = partial(leases.renew, owner=self._tenure.owner, ids=list(self._live), begun=begun, now=self._now())
            await self._database.write(unit)
        not_ended, self._to_fail = self._to_fail, {}
        for generation, error in not_ended.values():
            with suppress(LeaseLost):
                await self._fail(generation, error)
        left_behind, self._left_behind = self._left_behind, {}
        for generation in left_behind.values():
            await self._leave_to_others(generation)
        await self._take_over()
        await self._library.purge()

    async def look_for_cancellations(self) -> None:
        """Give up what other processes want to be given up. Raises StorageUnavailable."""
        if self._live:
            for id_ in await self._database.read(partial(leases.list_to_cancel, owner=self._tenure.owner)):
                live = self._live.get(id_)
                if live is not None:
                    live.cancel()

    async def _take_over(self) -> None:
        """Make those orders ours whose process is gone, as many as there is room for, and go on with them."""
        while room := min(self._gate.room, TAKEN_AT_ONCE):
            unit = partial(
                leases.take_over,
                tenure=self._tenure,
                now=self._now(),
                except_for=[*self._opening, *self._live],
                limit=room,
            )
            taken = await self._database.write(unit)
            for order in taken:
                await self._library.discard(list(order.old_keys))
                await self._database.write(
                    partial(leases.forget_old_keys, generation=order.generation, owner=self._tenure.owner)
                )
                await self._go_on_with(order)
            if len(taken) < room:
                break

    async def _go_on_with(self, taken: Taken) -> None:
        """Paint it, unless somebody wants it to be given up or nobody could have its pictures: then it ends."""
        generation = taken.generation
        try:
            if taken.is_cancelled:
                raise OrderCancelled
            if taken.backend in self._once_only:
                raise unknown_outcome(generation)
            if not taken.was_server or not generation.storage_keys:
                raise BackendUnavailable(STOPPED)
            if taken.attempts >= MAX_ATTEMPTS:
                raise BackendUnavailable(
                    f"The server stopped {taken.attempts} times while this was being painted. Nothing was charged."
                )
            order = record.restore(generation, self._catalog)
            attempt = Attempt(taken.attempts + 1, order.entry.backend, tuple(range(order.request.n)))
            work = Work(order, generation, attempt)
            ticket = self._gate.admit()
        except Overloaded:  # the room that there was is taken meanwhile
            await self._let_go(generation)
            return
        except PinxitError as error:
            with suppress(LeaseLost):
                await self._fail(generation, error)
            return
        log.info("generation_resumed", **_facts(generation), attempt=attempt.number)
        self._spawn(self._paint_again(work, ticket))

    async def _paint_again(self, work: Work, ticket: Ticket) -> Generation:
        with ticket:
            return await self._paint_and_settle(work, ticket, _Audience(), None)

    def _spawn(self, story: Coroutine[Any, Any, Generation]) -> "asyncio.Task[Generation]":
        task = asyncio.create_task(story)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Generation]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, PinxitError | LeaseLost):
            log.error("generation_crashed", exc_info=error)


class Order:
    """An order as whoever asked for it holds it."""

    def __init__(
        self,
        service: GenerationService,
        task: "asyncio.Task[Generation]",
        opened: "asyncio.Future[str]",
        audience: _Audience,
    ) -> None:
        self._service = service
        self._task = task
        self._opened = opened
        self._audience = audience

    async def answer(self) -> Generation:
        """Wait for the end. Who stops waiting does not stop the painting. Raises as GenerationService.create."""
        with self._audience.attend():
            return await asyncio.shield(self._task)

    async def opened(self) -> str:
        """The order's id, once it is in the database and nothing can lose it. Raises what kept it from there."""
        await asyncio.wait({self._opened})
        if self._opened.cancelled():
            await self.answer()
        return self._opened.result()

    async def abandon(self) -> None:
        """The client has left; an order that was never opened needs no note."""
        await asyncio.wait({self._opened})
        if not self._opened.cancelled():
            await self._service.abandon(self._opened.result())


def _status_after(error: PinxitError) -> Status:
    if isinstance(error, OutcomeUnknown):
        return Status.UNKNOWN
    return Status.CANCELLED if isinstance(error, OrderCancelled) else Status.FAILED


async def _repeat(look: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Every `seconds`, for ever."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await look()
        except StorageUnavailable as error:
            log.error("orders_not_looked_after", error=error.message)


def _facts(generation: Generation) -> dict[str, object]:
    """What a log line may say of an order: never its prompt."""
    return {
        "generation_id": generation.id,
        "request_id": generation.request_id,
        "account_id": generation.account_id,
        "model": generation.model,
        "images": len(generation.images),
    }
