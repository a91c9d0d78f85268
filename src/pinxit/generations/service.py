"""The story of one order, from asked to kept.

An order belongs to the server, not to the socket that asked for it: `create` starts a task of the server's own, and a
client that hangs up loses its answer, not its picture.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic

import structlog

from pinxit import errors
from pinxit.backends.interface import PaintedImage, PaintUsage, Queued
from pinxit.backends.interface import Progress as PaintProgress
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.entry import CheckedOrder
from pinxit.database.interface import CommitUnknown, Database
from pinxit.errors import (
    BackendError,
    BackendUnavailable,
    Conflict,
    DeadlineExceeded,
    NotFound,
    OrderCancelled,
    PinxitError,
    StillRunning,
    StorageUnavailable,
)
from pinxit.generations import repository
from pinxit.generations.announcing import NOBODY, Announcer
from pinxit.generations.generation import Generation, Status
from pinxit.generations.live import Live, ProgressListener
from pinxit.generations.repeat import Repeat, fingerprint
from pinxit.generations.repository import Attempt, Charge
from pinxit.ids import hide_secrets, new_id, new_image_name
from pinxit.images.encoding import encode
from pinxit.images.request import ImageRequest
from pinxit.keys.model import Caller
from pinxit.library.image import Image
from pinxit.library.library import Library
from pinxit.limits.gate import Gate, Ticket
from pinxit.limits.rates import Limiter, Limits, Party, Standing
from pinxit.moderation import Moderator
from pinxit.provenance import describe
from pinxit.runners.interface import PainterDied, Runner

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 2
"""How often an order is painted before it fails because the painter died under it.

Local work may be done again: its seeds are stored.
"""
TEND_SECONDS = 20.0
"""How often leases are renewed and abandoned orders looked for; a lease lasts three times as long."""
STOPPED = "The server stopped while this was being painted. Nothing was charged; ask again."

REPEAT_WAIT_SECONDS = 60.0
"""How long an order sent again waits for the first one to end, before it is told to come back."""
LOOK_SECONDS = 0.25
"""How often to look for the end of an order that another process paints."""
ONCE = Repeat()


@dataclass(slots=True)
class _Painting:
    """What has been painted of an order so far."""

    images: dict[int, Image]
    usage: PaintUsage


@dataclass(frozen=True, slots=True)
class _Commission:
    """An order with all that belongs to it on its way through the house."""

    caller: Caller
    order: CheckedOrder
    ticket: Ticket
    generation: Generation
    repeat: Repeat
    deadline_seconds: float | None
    on_progress: ProgressListener | None
    opened: "asyncio.Future[str]"
    """The id of the order to wait for, once it is in the database."""

    @property
    def first_attempt(self) -> Attempt:
        return Attempt(1, self.order.entry.backend, tuple(range(self.order.request.n)))

    @property
    def steps(self) -> int:
        return self.order.paint.num_inference_steps * self.order.request.n


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
        owns_folder: bool,
        is_billed: bool,
        url_ttl: timedelta | None = None,
        announcer: Announcer = NOBODY,
    ) -> None:
        """`runners`: backend name → its runner; `account_limits`: of each account; `owns_folder`: this is the one
        server of the data folder, so that orders of an earlier one are dead; `url_ttl`: how long a picture's URL opens
        it, None for ever, unless the key says otherwise.
        """
        self._database = database
        self._catalog = catalog
        self._runners = runners
        self._moderator = moderator
        self._library = library
        self._gate = gate
        self._limiter = limiter
        self._account_limits = account_limits
        self._now = now
        self._owns_folder = owns_folder
        self._is_billed = is_billed
        self._lease_owner = new_id(repository.SERVER if owns_folder else repository.COMMAND)
        self._url_ttl = url_ttl
        self._announcer = announcer
        self._live: dict[str, Live] = {}
        self._tasks: set[asyncio.Task[Generation]] = set()
        self._to_fail: dict[str, tuple[Generation, PinxitError]] = {}
        self._tending: asyncio.Task[None] | None = None

    # --- the story ---

    def begin(
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

        Raises ModelNotFound, PermissionDenied, InvalidValue, RateLimited, Overloaded; the rest `Order.answer` raises.
        """
        order = self.price(caller, request)
        self._limiter.count_request(self._parties(caller))
        commission = _Commission(
            caller=caller,
            order=order,
            ticket=self._gate.admit(),
            generation=self._plan(caller, order, request_id, generation_id),
            repeat=repeat,
            deadline_seconds=deadline_seconds,
            on_progress=on_progress,
            opened=asyncio.get_running_loop().create_future(),
        )
        task = asyncio.create_task(self._carry_out(commission))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        task.add_done_callback(lambda _: commission.opened.cancel())
        return Order(self, task, commission.opened)

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
            Party(caller.account_id, "This account", self._account_limits),
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
        order = self.begin(caller, request, request_id=request_id, generation_id=generation_id, on_progress=on_progress)
        return await order.answer()

    async def _carry_out(self, commission: "_Commission") -> Generation:
        caller, request = commission.caller, commission.order.request
        with commission.ticket:
            found_id = await self._find_earlier(commission)
            if found_id is None:
                with self._limiter.admit(self._parties(caller), request.n):
                    await self._moderator.check_prompt(request.prompt)
                    if request.store:
                        await self._library.require_room()
                    found_id = await self._open(commission)
                    if found_id == commission.generation.id:
                        commission.opened.set_result(found_id)
                        return await self._paint_and_settle(commission)
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

    async def _open(self, commission: "_Commission") -> str:
        """Begin the order in one transaction. Returns its id, or that of the order that this one repeats."""
        key = commission.caller.key
        budgets = key.options.budgets.by_period if key else {}
        return await self._database.write(
            partial(
                repository.open_,
                generation=commission.generation,
                attempt=commission.first_attempt,
                charge=Charge(commission.order.price_micros, self._is_billed, budgets),
                repeat=commission.repeat,
                lease_owner=self._lease_owner,
            )
        )

    async def _paint_and_settle(self, commission: "_Commission") -> Generation:
        generation = commission.generation
        live = self._live[generation.id] = Live(commission.steps, commission.on_progress, asyncio.current_task())
        try:
            async with asyncio.timeout(commission.deadline_seconds):
                await commission.ticket.take_turn(generation.api_key_id or generation.account_id, live.queued)
                started = monotonic()
                painting = await self._paint(commission, live)
                live.is_final = True
            settled = await self._settle(generation, painting, commission.order.price_micros_per_image)
            commission.ticket.seconds = monotonic() - started
            log.info("generation_completed", **_facts(settled), seconds=round(commission.ticket.seconds, 3))
            return settled
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
            ended = OrderCancelled() if live.is_cancelled else BackendUnavailable(STOPPED)
            await self._fail(generation, ended)
            raise ended from cancelled
        except Exception:
            await self._fail(generation, PinxitError())
            raise
        finally:
            del self._live[generation.id]
            live.end()

    async def _paint(self, commission: "_Commission", live: Live) -> _Painting:
        """Paint, and paint again what a dying painter took with it.

        Pictures are encoded and kept while others are painted.
        """
        generation, attempt = commission.generation, commission.first_attempt
        painting = _Painting({}, PaintUsage(0, 0))
        while True:
            try:
                await self._paint_once(commission, attempt, painting, live)
                break
            except PainterDied:
                missing = tuple(index for index in attempt.image_indices if index not in painting.images)
                log.warning("painter_died", generation_id=generation.id, attempt=attempt.number, missing=len(missing))
                if attempt.number == MAX_ATTEMPTS:
                    if painting.images:
                        break
                    raise
                attempt = Attempt(attempt.number + 1, attempt.backend, missing)
                now = self._now()
                await self._database.write(
                    partial(repository.start_attempt, generation=generation, attempt=attempt, now=now)
                )
        if not painting.images:
            raise BackendError("The painter ended without a picture.")
        return painting

    async def _paint_once(self, commission: "_Commission", attempt: Attempt, painting: _Painting, live: Live) -> None:
        if not attempt.image_indices:
            return
        order = commission.order
        paint = replace(order.paint, seeds=tuple(order.paint.seeds[index] for index in attempt.image_indices))
        started = monotonic()
        keeping: list[asyncio.Task[None]] = []
        try:
            async with aclosing(self._runners[order.entry.backend].paint(paint)) as events:
                async for event in events:
                    match event:
                        case Queued(position):
                            live.queued(position)
                        case PaintProgress(index, step):
                            live.stepped(attempt.image_indices[index], step)
                        case PaintedImage(index):
                            place = attempt.image_indices[index]
                            keep = self._keep(commission, event, place, monotonic() - started, painting)
                            keeping.append(asyncio.create_task(keep))
                        case PaintUsage():
                            painting.usage = event
        finally:
            await _join(keeping)

    async def _keep(
        self, commission: "_Commission", painted: PaintedImage, index: int, seconds: float, painting: _Painting
    ) -> None:
        """Check, mark and encode one picture, and store its bytes for good."""
        order, generation = commission.order, commission.generation
        if (painted.pixels.width, painted.pixels.height) != (order.paint.size.width, order.paint.size.height):
            raise BackendError(f"The painter made a picture of {painted.pixels.width}x{painted.pixels.height} pixels.")
        request = order.request
        metadata = describe(order.paint, painted.seed)
        data, sha256 = await asyncio.to_thread(_encode, painted, request, metadata)
        storage_key = ""
        if request.store:
            storage_key = generation.storage_keys[index]
            await self._library.keep(storage_key, data)
        painting.images[index] = Image(
            id=new_id("img"),
            generation_id=generation.id,
            account_id=generation.account_id,
            position=index,
            storage_key=storage_key,
            encoding=request.encoding,
            size=order.paint.size,
            size_bytes=len(data),
            sha256=sha256,
            seed=painted.seed,
            seconds=round(seconds, 4),
            created_at=self._now(),
            url_expires_at=self._url_expiry(commission.caller),
            data=data,
        )

    async def _settle(self, generation: Generation, painting: _Painting, price_micros: int) -> Generation:
        """End the order in one transaction. A commit that is in doubt is judged by what the rows say."""
        images = tuple(painting.images[index] for index in sorted(painting.images))
        settled = replace(
            generation,
            status=Status.COMPLETED,
            images=images,
            cost_micros=price_micros * len(images),
            input_tokens=painting.usage.input_tokens,
            output_tokens=painting.usage.output_tokens,
            started_at=generation.created_at,
            finished_at=self._now(),
        )
        unit = partial(repository.settle, generation=settled, record=self._announcer.record)
        try:
            kept = await self._database.write(unit)
        except CommitUnknown:
            log.warning("settle_in_doubt", generation_id=generation.id)
            kept = await self._database.write(unit)
        if not kept:
            raise StorageUnavailable(
                "This order was given up before its pictures could be kept. Nothing was charged; ask again."
            )
        self._announcer.wake()
        return settled

    async def _fail(self, generation: Generation, error: PinxitError) -> None:
        """End the order without pictures and leave no file behind.

        What cannot be done now, `tend` does later. If somebody else gave the order up before, files that were written
        since then go too.
        """
        failed = replace(
            generation,
            status=Status.CANCELLED if isinstance(error, OrderCancelled) else Status.FAILED,
            error_class=error.class_name,
            error_message=hide_secrets(error.message),
            finished_at=self._now(),
        )
        no_work = isinstance(error, BackendUnavailable | StorageUnavailable)
        try:
            record = self._announcer.record
            unit = partial(repository.fail, generation=failed, record=record, may_try_again=no_work)
            if await self._database.write(unit):
                self._announcer.wake()
                log.info("generation_failed", **_facts(failed), error_class=failed.error_class)
                await self._remove_files(failed)
        except StorageUnavailable:
            log.error("generation_failure_not_kept", generation_id=generation.id)
            self._to_fail[generation.id] = generation, error

    async def _remove_files(self, failed: Generation) -> None:
        """Rows first, then files, then a note that they are gone: no row ever names a missing file, and no file
        is forgotten.
        """
        if failed.storage_keys:
            await self._library.discard(list(failed.storage_keys))
            await self._database.write(partial(repository.forget_files, generation_id=failed.id))

    def _plan(self, caller: Caller, order: CheckedOrder, request_id: str, generation_id: str | None) -> Generation:
        request, paint = order.request, order.paint
        keys = tuple(new_image_name(request.encoding.value) for _ in paint.seeds) if request.store else ()
        return Generation(
            id=generation_id or new_id("gen"),
            account_id=caller.account_id,
            api_key_id=caller.key_id,
            request_id=request_id,
            status=Status.QUEUED,
            model=order.entry.id,
            requested_model=request.model,
            prompt=request.prompt,
            parameters={
                "n": request.n,
                "size": str(paint.size),
                "quality": order.quality,
                "background": "transparent" if paint.transparent else "opaque",
                "output_format": request.encoding.value,
                "output_compression": request.compression,
                "delivery": request.delivery.value,
                "moderation": request.moderation,
                "style": paint.style,
                "seeds": list(paint.seeds),
                "num_inference_steps": paint.num_inference_steps,
                "guidance_scale": paint.guidance_scale,
                "negative_prompt": paint.negative_prompt,
                "price_micros_per_image": order.price_micros_per_image,
                "store": request.store,
                "end_user": request.end_user,
            },
            storage_keys=keys,
            created_at=self._now(),
            fingerprint=fingerprint(request),
        )

    def _url_expiry(self, caller: Caller) -> datetime | None:
        own = caller.key.options.url_ttl_seconds if caller.key else None
        ttl = self._url_ttl if own is None else timedelta(seconds=own)
        return None if ttl is None else self._now() + ttl

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
        live = self._live.get(generation_id)
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

        Raises NotFound; Conflict if another process paints it.
        """
        found = await self.get(caller, generation_id)
        if found.status.is_open:
            live = self._live.get(generation_id)
            if live is None:
                raise Conflict("This order is painted by another process, which alone can cancel it.")
            live.cancel()
            await live.wait_for_end()
        return await self.get(caller, generation_id)

    # --- begin and end of the process ---

    @property
    def live_count(self) -> int:
        return len(self._tasks)

    async def start(self) -> None:
        """End what an earlier server of this data folder left open, and begin to look after leases."""
        await self._end_abandoned(include_servers=self._owns_folder)
        for failed in await self._database.read(repository.list_with_files_to_remove):
            await self._remove_files(failed)
        await self._library.purge()
        self._tending = asyncio.create_task(self._tend())

    async def close(self, grace_seconds: float) -> None:
        """Wait for the orders under way, then end those that take longer than `grace_seconds`."""
        if self._tasks:
            log.info("draining", generations=len(self._tasks))
            await asyncio.wait(self._tasks, timeout=grace_seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._tending is not None:
            self._tending.cancel()
            with suppress(asyncio.CancelledError):
                await self._tending

    async def tend(self) -> None:
        """Renew our leases, and end what could not be ended before or what nobody paints any more.

        Raises StorageUnavailable.
        """
        await self._database.write(partial(repository.forget_old_keys, now=self._now()))
        if self._live:
            now = self._now()
            await self._database.write(partial(repository.renew_leases, lease_owner=self._lease_owner, now=now))
        not_ended, self._to_fail = self._to_fail, {}
        for generation, error in not_ended.values():
            await self._fail(generation, error)
        await self._end_abandoned(include_servers=False)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(TEND_SECONDS)
            try:
                await self.tend()
            except StorageUnavailable as error:
                log.error("leases_not_tended", error=error.message)

    async def _end_abandoned(self, *, include_servers: bool) -> None:
        """Fail the orders whose process is gone, and remove what it wrote for them."""
        abandoned = await self._database.read(
            lambda connection: repository.list_abandoned(
                connection, self._lease_owner, self._now(), include_servers=include_servers
            )
        )
        for generation in abandoned:
            await self._fail(generation, BackendUnavailable(STOPPED))

    def _forget(self, task: "asyncio.Task[Generation]") -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, PinxitError):
            log.error("generation_crashed", exc_info=error)


class Order:
    """An order as whoever asked for it holds it."""

    def __init__(
        self, service: GenerationService, task: "asyncio.Task[Generation]", opened: "asyncio.Future[str]"
    ) -> None:
        self._service = service
        self._task = task
        self._opened = opened

    async def answer(self) -> Generation:
        """Wait for the end. Who stops waiting does not stop the painting. Raises as GenerationService.create."""
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


def _encode(painted: PaintedImage, request: ImageRequest, metadata: Mapping[str, str]) -> tuple[bytes, str]:
    """The file and its SHA-256 in hex, in one hop to a thread."""
    data = encode(painted.pixels, request.encoding, request.compression, metadata)
    return data, hashlib.sha256(data).hexdigest()


async def _join(tasks: list["asyncio.Task[None]"]) -> None:
    """Wait for all, then raise the first error. Being cancelled ends the wait for none of them: a thread that writes
    a file goes on, and who removes files must come after it.
    """
    joined = asyncio.gather(*tasks, return_exceptions=True)
    try:
        await asyncio.shield(joined)
    finally:
        results = await joined
    for result in results:
        if isinstance(result, BaseException):
            raise result


def _facts(generation: Generation) -> dict[str, object]:
    """What a log line may say of an order: never its prompt."""
    return {
        "generation_id": generation.id,
        "request_id": generation.request_id,
        "account_id": generation.account_id,
        "model": generation.model,
        "images": len(generation.images),
    }
