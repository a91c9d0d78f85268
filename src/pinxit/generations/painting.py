"""Painting the pictures of one order: again where the painter died under it, each kept as soon as it is there."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import structlog

from pinxit.backends.interface import Familiarity, JobBegun, PaintedFile, PaintedImage, PaintUsage, Queued
from pinxit.backends.interface import Progress as PaintProgress
from pinxit.catalog.entry import CheckedOrder
from pinxit.database.interface import Database
from pinxit.errors import (
    BackendBusy,
    BackendError,
    BackendUnavailable,
    ContentPolicyViolation,
    InvalidValue,
    OutcomeUnknown,
    OwnCredentialFailed,
    PinxitError,
    StorageUnavailable,
)
from pinxit.generations import record, repository
from pinxit.generations.access import credential_of, is_own
from pinxit.generations.generation import AttemptStatus, Generation
from pinxit.generations.live import Live, Preview
from pinxit.generations.repository import Attempt
from pinxit.ids import new_id
from pinxit.images.decoding import decode_file
from pinxit.images.encoding import encode
from pinxit.images.request import Routing
from pinxit.images.size import Size
from pinxit.library.image import Image
from pinxit.library.library import Library
from pinxit.provenance import describe
from pinxit.routing.breaker import Pass
from pinxit.routing.router import Candidate, LeftAlone, Router
from pinxit.runners.interface import PainterDied, Runner

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 3
"""How often an order is painted before it is given up because the painter, or the whole server, died under it.

Local work may be done again: its seeds are stored. An order that kills its painter must not do so for ever.
"""
FEW_BYTES = 128 * 1024
"""So many are hashed sooner than another thread wakes up."""
LONGEST_RETRY_SECONDS = 5.0
"""How long an order waits for a backend far away that says when it can be asked again."""


@dataclass(frozen=True, slots=True)
class Work:
    """An order that is in the database and is ours. `attempt`: the first one of this process."""

    offers: tuple[CheckedOrder, ...]
    """The order for each backend that could paint it, in the order in which they are asked; at least one."""
    generation: Generation
    attempt: Attempt
    previews: int = 0
    """How many to show of each picture while it is painted."""
    sticky_to: str = ""
    is_only_asked_for: bool = False
    """Whether it is never sent again: what is under way for it is asked for, and that is all."""

    @property
    def order(self) -> CheckedOrder:
        """As the first backend would paint it."""
        return self.offers[0]

    @property
    def steps(self) -> int:
        return self.order.paint.num_inference_steps * self.order.request.n


@dataclass(slots=True)
class Painting:
    """What has been painted of an order so far, by the pictures' places in it."""

    images: dict[int, Image] = field(default_factory=dict)
    usage: PaintUsage = field(default_factory=lambda: PaintUsage(0, 0))
    painters: dict[int, CheckedOrder] = field(default_factory=dict)
    """Whose offer was taken for each picture."""
    revised_prompts: dict[int, str] = field(default_factory=dict)
    familiarities: dict[str, Familiarity] = field(default_factory=dict)
    """What each painter said last of how near the prompt is to what it knows."""
    tries: list[dict[str, str]] = field(default_factory=list)
    """Who was asked, and what came of it, as the record has it."""
    lost_micros: int = 0
    """What pictures cost us at most that were painted, or may have been, and are not there."""

    @property
    def price_micros(self) -> int:
        """What its customer pays for what is there."""
        return sum(order.price_micros_per_image for order in self.painters.values())

    @property
    def loss_micros(self) -> int:
        """What it costs us, by what the last painter said or else by its price list."""
        if self.usage.cost_micros is not None:
            return self.usage.cost_micros + self.lost_micros
        return sum(cost_micros(order) for order in self.painters.values()) + self.lost_micros

    def missing(self, attempt: Attempt) -> tuple[int, ...]:
        return tuple(index for index in attempt.image_indices if index not in self.images)

    def count(self, usage: PaintUsage) -> None:
        """Add what a further try took."""
        self.usage = PaintUsage(
            self.usage.input_tokens + usage.input_tokens,
            self.usage.output_tokens + usage.output_tokens,
            self.usage.cost_micros if usage.cost_micros is None else (self.usage.cost_micros or 0) + usage.cost_micros,
        )

    def facts(self, generation: Generation) -> dict[str, Any]:
        """What the order's parameters say of how it was painted in the end."""
        order = self.painters[min(self.painters)]
        facts = dict(generation.parameters)
        if order.entry.painter != facts.get("backend") or is_own(order) != ("credential" in facts):
            facts.pop("credential", None)
            facts |= credential_of(order) | {
                "backend": order.entry.painter,
                "quality": order.quality,
                "num_inference_steps": order.paint.num_inference_steps,
                "guidance_scale": order.paint.guidance_scale,
                "price_micros_per_image": order.price_micros_per_image,
            }
        sizes = {str(image.size) for image in self.images.values()}
        if len(sizes) == 1:
            facts["size"] = sizes.pop()
        if len(self.tries) > 1:
            facts["route"] = self.tries
        if self.revised_prompts:
            facts["revised_prompts"] = {str(index): text for index, text in self.revised_prompts.items()}
        facts.pop("familiarity", None)
        if (said := self.familiarities.get(order.entry.painter)) is not None:
            facts["familiarity"] = asdict(said)
        return facts


def cost_micros(order: CheckedOrder) -> int:
    """What one picture costs us where it is painted, by the price list there; what an account paints with a credential
    of its own is on its own bill.
    """
    return 0 if is_own(order) else order.entry.spec.prices.micros(order.paint.size, order.quality)


class Studio:
    """Has orders painted by runners and keeps their files."""

    def __init__(
        self,
        *,
        database: Database,
        runners: Mapping[str, Runner],
        library: Library,
        now: Callable[[], datetime],
        lease_owner: str,
        router: Router,
        once_only: Collection[str] = frozenset(),
    ) -> None:
        """`runners`: backend name → its runner; `once_only`: the names of those whose work is not repeatable."""
        self._database = database
        self._runners = runners
        self._library = library
        self._now = now
        self._lease_owner = lease_owner
        self._router = router
        self._once_only = once_only

    async def paint(self, work: Work, live: Live) -> Painting:
        """Paint: at the next backend if one surely did no work, and again what a dying painter took with it. If some of
        the pictures are there, it succeeded.

        Raises what the last backend raised if there is none, LeaseLost, StorageUnavailable.
        """
        trip = _Trip(work)
        self._router.count_order()
        if trip.attempt.number > 1:
            await self._start(work, trip.attempt, AttemptStatus.LOST)
        while True:
            try:
                await self._try(work, trip, live)
                break
            except PinxitError as error:
                if trip.painting.images and not trip.missing:
                    break
                if not await self._goes_on(work, trip, error):
                    if not trip.painting.images or self._ends_all(error, trip):
                        raise
                    log.warning("pictures_missing", generation_id=work.generation.id, reason=error.message)
                    break
        if not trip.painting.images:
            raise BackendError("The painter ended without a picture.")
        return trip.painting

    async def _goes_on(self, work: Work, trip: "_Trip", error: PinxitError) -> bool:
        """Whether to try again after `error`, at the backend that `trip` names then. Raises OutcomeUnknown."""
        generation, backend = work.generation, trip.order.entry.backend
        if isinstance(error, PainterDied):
            if backend in self._once_only:
                if trip.painting.images:
                    return False
                raise unknown_outcome(generation) from error
            log.warning(
                "painter_died", generation_id=generation.id, attempt=trip.attempt.number, lost=len(trip.missing)
            )
            if trip.attempt.number >= MAX_ATTEMPTS:
                return False
            trip.again()
            await self._start(work, trip.attempt, AttemptStatus.LOST)
            return True
        if isinstance(error, BackendError) and self._router.is_remote(backend):
            error.loss_micros = cost_micros(trip.order) * len(trip.missing)
            trip.painting.lost_micros = error.loss_micros
        if _may_be_had_elsewhere(error, trip.order.request.routing) and trip.next():
            log.info("order_moved_on", generation_id=generation.id, to=trip.order.entry.painter, reason=error.message)
        elif self._is_worth_a_retry(error, trip):
            trip.again()
            await asyncio.sleep(self._router.spread(error.retry_after_seconds))  # type: ignore[attr-defined]
        else:
            return False
        await self._start(work, trip.attempt, AttemptStatus.FAILED)
        return True

    def _ends_all(self, error: PinxitError, trip: "_Trip") -> bool:
        """Whether the pictures that are there are not given either: they cannot be kept, or refusing wastes nothing."""
        if isinstance(error, ContentPolicyViolation):
            return not self._router.is_remote(trip.order.entry.backend)
        return isinstance(error, StorageUnavailable)

    def _is_worth_a_retry(self, error: PinxitError, trip: "_Trip") -> bool:
        """Whether the last backend may be asked once more: it was far away, surely did nothing, and says soon."""
        return (
            isinstance(error, BackendUnavailable)
            and not isinstance(error, LeftAlone | OwnCredentialFailed)
            and not trip.is_retry
            and not trip.is_only_asked_for
            and self._router.is_remote(trip.order.entry.backend)
            and error.retry_after_seconds <= LONGEST_RETRY_SECONDS
            and self._router.may_retry()
        )

    async def _start(self, work: Work, attempt: Attempt, before: AttemptStatus) -> None:
        unit = partial(
            repository.start_attempt,
            generation=work.generation,
            attempt=attempt,
            lease_owner=self._lease_owner,
            before=before,
            now=self._now(),
        )
        await self._database.write(unit)

    async def _try(self, work: Work, trip: "_Trip", live: Live) -> None:
        """One try at one backend, of which the router hears how it went."""
        if trip.attempt.jobs is not None:
            await self._go_on(work, trip, live)
            return
        candidate = candidate_of(trip.order)
        started = monotonic()
        try:
            ticket = self._router.admit(candidate)
        except LeftAlone as error:
            trip.painting.tries.append(_try_of(trip.order, _result_of(error)))
            raise
        live.sent_to = candidate.backend
        try:
            await self._paint_once(work, trip, live)
        except PinxitError as error:
            trip.painting.tries.append(_try_of(trip.order, _result_of(error)))
            self._report(candidate, ticket, error)
            if isinstance(error, BackendUnavailable | InvalidValue) and not trip.painting.images:
                live.sent_to, live.jobs = "", ()  # whoever is stopped now may still be painted
            raise
        except BaseException:
            self._router.undecided(candidate, ticket)
            raise
        trip.painting.tries.append(_try_of(trip.order, "painted"))
        self._router.succeeded(candidate, ticket, monotonic() - started)

    async def _go_on(self, work: Work, trip: "_Trip", live: Live) -> None:
        """Ask for what is under way since an earlier process. The router has no say: it is there already. Raises
        OutcomeUnknown if it cannot even be asked for.
        """
        live.sent_to = trip.order.entry.backend
        try:
            await self._runner(live.sent_to).wait_ready()
        except BackendUnavailable as error:
            raise unknown_outcome(work.generation) from error
        try:
            await self._paint_once(work, trip, live)
        except PinxitError as error:
            trip.painting.tries.append(_try_of(trip.order, _result_of(error)))
            raise
        trip.painting.tries.append(_try_of(trip.order, "painted"))

    async def give_up(self, live: Live) -> None:
        """End what is under way far away for an order that nobody wants any more."""
        jobs, live.jobs = live.jobs, ()
        if jobs and live.sent_to in self._runners:
            await self._runners[live.sent_to].give_up(jobs, live.credential)

    def _report(self, candidate: Candidate, ticket: Pass, error: PinxitError) -> None:
        match error:
            case OwnCredentialFailed():  # which says nothing of the backend
                self._router.undecided(candidate, ticket)
            case BackendBusy():
                self._router.busy(candidate, ticket, error.retry_after_seconds, error.message)
            case BackendUnavailable() | BackendError():
                self._router.failed(candidate, ticket, error.message)
            case _:
                self._router.undecided(candidate, ticket)

    async def _paint_once(self, work: Work, trip: "_Trip", live: Live) -> None:
        order, attempt, painting = trip.order, trip.attempt, trip.painting
        seeds = tuple(order.paint.seeds[index] for index in attempt.image_indices)
        paint = replace(order.paint, seeds=seeds, previews=work.previews if order.entry.capabilities.streaming else 0)
        live.jobs, live.credential = record.jobs_of(attempt.jobs, attempt.image_indices), paint.credential
        if live.jobs:
            paint = replace(paint, jobs=live.jobs)
        started = monotonic()
        keeping: list[asyncio.Task[None]] = []
        shown: Counter[int] = Counter()
        try:
            async with aclosing(self._runner(order.entry.backend).paint(paint)) as events:
                async for event in events:
                    match event:
                        case Queued(position):
                            live.queued(position)
                        case PaintProgress(index, step, preview=preview):
                            place = attempt.image_indices[index]
                            live.stepped(place, step)
                            if preview is not None:
                                live.previewed(Preview(place, shown[place], preview))
                                shown[place] += 1
                        case PaintedImage(index) | PaintedFile(index):
                            place = attempt.image_indices[index]
                            keep = self._keep(work, order, event, place, monotonic() - started, painting)
                            keeping.append(asyncio.create_task(keep))
                        case Familiarity():
                            painting.familiarities[order.entry.painter] = event
                        case PaintUsage():
                            painting.count(replace(event, cost_micros=None) if is_own(order) else event)
                        case JobBegun():
                            await self._note_job(work, trip, event, live)
        finally:
            await _join(keeping)

    async def _note_job(self, work: Work, trip: "_Trip", begun: JobBegun, live: Live) -> None:
        """Write down what is under way far away before it is asked for. If that is not possible, the job lives as long
        as we do. Raises LeaseLost.
        """
        jobs = (*live.jobs, begun.job)
        unit = partial(
            repository.note_jobs,
            generation=work.generation,
            attempt=trip.attempt,
            jobs=record.jobs_document(trip.order, trip.attempt.image_indices, jobs),
            lease_owner=self._lease_owner,
        )
        try:
            await self._database.write(unit)
        except StorageUnavailable:
            log.warning("job_not_kept", generation_id=work.generation.id, upstream_id=begun.job.upstream_id)
            return
        live.jobs = jobs
        begun.is_kept = True

    def _runner(self, backend: str) -> Runner:
        """Raises BackendUnavailable if the configuration does not have it any more."""
        try:
            return self._runners[backend]
        except KeyError as error:
            raise BackendUnavailable(f"The backend {backend!r} is not there any more. Nothing was charged.") from error

    async def _keep(
        self,
        work: Work,
        order: CheckedOrder,
        painted: PaintedImage | PaintedFile,
        index: int,
        seconds: float,
        painting: Painting,
    ) -> None:
        """Check, mark and encode one picture, and store its bytes for good."""
        generation, request = work.generation, order.request
        if isinstance(painted, PaintedFile):
            size = painted.size
            if size != order.paint.size:
                log.warning("other_size", generation_id=generation.id, asked=str(order.paint.size), painted=str(size))
            if painted.revised_prompt:
                painting.revised_prompts[index] = painted.revised_prompt
        else:
            size = Size(painted.pixels.width, painted.pixels.height)
            if size != order.paint.size:
                raise BackendError(f"The painter made a picture of {size} pixels.")
        base64 = None
        if isinstance(painted, PaintedFile) and _is_as_wanted(painted, order):
            data, base64 = painted.data, painted.base64
            sha256 = painted.sha256 or await _sha256(data)
        else:
            data, sha256 = await asyncio.to_thread(_finish, painted, order)
        storage_key = ""
        if request.store:
            storage_key = generation.storage_keys[index]
            await self._library.keep(storage_key, data, is_read_soon=request.delivery.has_url)
        painting.painters[index] = order
        painting.images[index] = Image(
            id=new_id("img"),
            generation_id=generation.id,
            account_id=generation.account_id,
            position=index,
            storage_key=storage_key,
            encoding=request.encoding,
            size=size,
            size_bytes=len(data),
            sha256=sha256,
            seed=painted.seed,
            seconds=round(seconds, 4),
            created_at=self._now(),
            url_expires_at=self._url_expiry(generation),
            data=data,
            base64=base64 if request.delivery.has_b64 else None,
        )

    def _url_expiry(self, generation: Generation) -> datetime | None:
        seconds = generation.parameters["url_ttl_seconds"]
        return None if seconds is None else self._now() + timedelta(seconds=seconds)


def unknown_outcome(generation: Generation) -> OutcomeUnknown:
    """What to say of an order that was sent to a backend whose work is not repeatable, and whose answer was lost."""
    return OutcomeUnknown(
        f"Whether the order {generation.id} was painted is not known: the answer was lost. Nothing was charged."
    )


class _Trip:
    """The way of an order from backend to backend."""

    def __init__(self, work: Work) -> None:
        self._offers = work.offers
        self._place = 0
        self.attempt = work.attempt
        self.is_only_asked_for = work.is_only_asked_for
        self.painting = Painting()
        self.is_retry = False
        """Whether the backend has been asked before."""

    @property
    def order(self) -> CheckedOrder:
        return self._offers[self._place]

    @property
    def missing(self) -> tuple[int, ...]:
        return self.painting.missing(self.attempt)

    def next(self) -> bool:
        """Go on to the next backend, if there is one."""
        if self._place + 1 >= len(self._offers):
            return False
        self._place += 1
        self.is_retry = False
        self._ask()
        return True

    def again(self) -> None:
        """Ask the same backend for what is missing."""
        self.is_retry = True
        self._ask()

    def _ask(self) -> None:
        self.attempt = Attempt(self.attempt.number + 1, self.order.entry.backend, self.missing)


def candidate_of(order: CheckedOrder) -> Candidate:
    """The order's backend as the router knows it. Accounts' own credentials are one apart: what befalls the house's
    says nothing of them, nor they of it.
    """
    entry = order.entry
    cost = cost_micros(order) * len(order.paint.seeds)
    key = f"{entry.painter} (own credentials)" if is_own(order) else entry.painter
    return Candidate(key, entry.backend, order.price_micros, cost, entry.weight)


def _may_be_had_elsewhere(error: PinxitError, wish: Routing) -> bool:
    """Only what surely did no work moves on; a refusal only if the client wants it to."""
    if isinstance(error, ContentPolicyViolation):
        return wish.after_refusal
    return isinstance(error, BackendUnavailable | InvalidValue)


def _try_of(order: CheckedOrder, result: str) -> dict[str, str]:
    return {"backend": order.entry.painter, "result": result, **credential_of(order)}


def _result_of(error: PinxitError) -> str:
    """A word for the record."""
    match error:
        case LeftAlone():
            return "left_alone"
        case OwnCredentialFailed():
            return "credential_failed"
        case BackendBusy():
            return "busy"
        case PainterDied():
            return "died"
        case BackendUnavailable():
            return "unavailable"
        case ContentPolicyViolation():
            return "refused"
        case InvalidValue():
            return "not_possible"
        case OutcomeUnknown():
            return "unknown"
    return "failed"


def _is_as_wanted(painted: PaintedFile, order: CheckedOrder) -> bool:
    """Whether the file can be kept as it is."""
    wanted = order.request
    return painted.encoding is wanted.encoding and (wanted.compression is None or painted.is_compressed)


async def _sha256(data: bytes) -> str:
    """In hex."""
    if len(data) <= FEW_BYTES:
        return _hashed(data)
    return await asyncio.to_thread(_hashed, data)


def _hashed(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _finish(painted: PaintedImage | PaintedFile, order: CheckedOrder) -> tuple[bytes, str]:
    """A file as it was asked for and its SHA-256 in hex, in one hop to a thread. Raises BackendError."""
    request = order.request
    if isinstance(painted, PaintedImage):
        data = encode(painted.pixels, request.encoding, request.compression, describe(order.paint, painted.seed))
    else:
        try:
            data = encode(decode_file(painted.data), request.encoding, request.compression)
        except ValueError as error:
            raise BackendError("The painter sent a picture that is damaged.") from error
    return data, _hashed(data)


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
