"""Painting the pictures of one order: again where the painter died under it, each kept as soon as it is there."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic

import structlog

from pinxit.backends.interface import PaintedImage, PaintUsage, Queued
from pinxit.backends.interface import Progress as PaintProgress
from pinxit.catalog.entry import CheckedOrder
from pinxit.database.interface import Database
from pinxit.errors import BackendError, BackendUnavailable, OutcomeUnknown
from pinxit.generations import repository
from pinxit.generations.generation import Generation
from pinxit.generations.live import Live, Preview
from pinxit.generations.repository import Attempt
from pinxit.ids import new_id
from pinxit.images.encoding import encode
from pinxit.images.request import ImageRequest
from pinxit.library.image import Image
from pinxit.library.library import Library
from pinxit.provenance import describe
from pinxit.runners.interface import PainterDied, Runner

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 3
"""How often an order is painted before it is given up because the painter, or the whole server, died under it.

Local work may be done again: its seeds are stored. An order that kills its painter must not do so for ever.
"""


@dataclass(frozen=True, slots=True)
class Work:
    """An order that is in the database and is ours. `attempt`: the first one of this process."""

    order: CheckedOrder
    generation: Generation
    attempt: Attempt
    previews: int = 0
    """How many to show of each picture while it is painted."""

    @property
    def steps(self) -> int:
        return self.order.paint.num_inference_steps * self.order.request.n


@dataclass(slots=True)
class Painting:
    """What has been painted of an order so far, by the pictures' places in it."""

    images: dict[int, Image] = field(default_factory=dict)
    usage: PaintUsage = field(default_factory=lambda: PaintUsage(0, 0))

    def missing(self, attempt: Attempt) -> tuple[int, ...]:
        return tuple(index for index in attempt.image_indices if index not in self.images)

    def count(self, usage: PaintUsage) -> None:
        """Add what a further try took."""
        self.usage = PaintUsage(
            self.usage.input_tokens + usage.input_tokens, self.usage.output_tokens + usage.output_tokens
        )


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
        once_only: frozenset[str] = frozenset(),
    ) -> None:
        """`runners`: backend name → its runner; `once_only`: the names of those whose work is not repeatable."""
        self._database = database
        self._runners = runners
        self._library = library
        self._now = now
        self._lease_owner = lease_owner
        self._once_only = once_only

    async def paint(self, work: Work, live: Live) -> Painting:
        """Paint, and paint again what a dying painter took with it. If some of the pictures are there, it succeeded.

        Raises what the runner raised if there is none, LeaseLost, StorageUnavailable.
        """
        attempt, painting = work.attempt, Painting()
        if attempt.number > 1:
            await self._start(work, attempt)
        while True:
            try:
                await self._paint_once(work, attempt, painting, live)
                break
            except PainterDied as death:
                if attempt.backend in self._once_only:
                    if painting.images:
                        break
                    raise unknown_outcome(work.generation) from death
                missing = painting.missing(attempt)
                log.warning("painter_died", generation_id=work.generation.id, attempt=attempt.number, lost=len(missing))
                if attempt.number >= MAX_ATTEMPTS or not missing:
                    if painting.images:
                        break
                    raise
                attempt = Attempt(attempt.number + 1, attempt.backend, missing)
                await self._start(work, attempt)
            except (BackendError, BackendUnavailable) as error:
                if not painting.images:
                    raise
                log.warning("pictures_missing", generation_id=work.generation.id, reason=error.message)
                break
        if not painting.images:
            raise BackendError("The painter ended without a picture.")
        return painting

    async def _start(self, work: Work, attempt: Attempt) -> None:
        unit = partial(
            repository.start_attempt,
            generation=work.generation,
            attempt=attempt,
            lease_owner=self._lease_owner,
            now=self._now(),
        )
        await self._database.write(unit)

    async def _paint_once(self, work: Work, attempt: Attempt, painting: Painting, live: Live) -> None:
        order = work.order
        seeds = tuple(order.paint.seeds[index] for index in attempt.image_indices)
        paint = replace(order.paint, seeds=seeds, previews=work.previews)
        started = monotonic()
        keeping: list[asyncio.Task[None]] = []
        shown: Counter[int] = Counter()
        try:
            async with aclosing(self._runners[order.entry.backend].paint(paint)) as events:
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
                        case PaintedImage(index):
                            place = attempt.image_indices[index]
                            keep = self._keep(work, event, place, monotonic() - started, painting)
                            keeping.append(asyncio.create_task(keep))
                        case PaintUsage():
                            painting.count(event)
        finally:
            await _join(keeping)

    async def _keep(self, work: Work, painted: PaintedImage, index: int, seconds: float, painting: Painting) -> None:
        """Check, mark and encode one picture, and store its bytes for good."""
        order, generation = work.order, work.generation
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
            url_expires_at=self._url_expiry(generation),
            data=data,
        )

    def _url_expiry(self, generation: Generation) -> datetime | None:
        seconds = generation.parameters["url_ttl_seconds"]
        return None if seconds is None else self._now() + timedelta(seconds=seconds)


def unknown_outcome(generation: Generation) -> OutcomeUnknown:
    """What to say of an order that was sent to a backend whose work is not repeatable, and whose answer was lost."""
    return OutcomeUnknown(
        f"Whether the order {generation.id} was painted is not known: the answer was lost. Nothing was charged."
    )


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
