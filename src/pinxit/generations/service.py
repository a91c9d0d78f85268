"""The story of one order, from asked to kept.

An order belongs to the server, not to the socket that asked for it: `create` starts a task of the server's own, and a
client that hangs up loses its answer, not its picture.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any

import structlog

from pinxit import errors
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.entry import CheckedOrder, Entry, draw_seed
from pinxit.database.interface import CommitUnknown, Database
from pinxit.errors import (
    BackendUnavailable,
    CredentialMissing,
    DeadlineExceeded,
    InvalidValue,
    ModelNotFound,
    NotFound,
    OrderCancelled,
    Overloaded,
    PinxitError,
    StillRunning,
    StorageUnavailable,
)
from pinxit.generations import leases, record, repository
from pinxit.generations.access import Accesses, Ways
from pinxit.generations.announcing import NOBODY, Announcer
from pinxit.generations.ending import Endings, facts_of
from pinxit.generations.generation import Generation, Load, Status
from pinxit.generations.leases import LEASE, Taken, Tenure
from pinxit.generations.live import Audience, Live, PreviewListener, ProgressListener
from pinxit.generations.painting import MAX_ATTEMPTS, Studio, Work, candidate_of, unknown_outcome
from pinxit.generations.repeat import Repeat, fingerprint
from pinxit.generations.repository import Attempt, Charge, Lease, LeaseLost
from pinxit.generations.search import Found, Search, search
from pinxit.ids import new_id, new_image_name
from pinxit.images.decoding import InputPixels
from pinxit.images.request import ANYWHERE, ImageRequest
from pinxit.keys.model import Caller
from pinxit.library.library import Library
from pinxit.limits.gate import HERE, Gate, Ticket
from pinxit.limits.rates import Limiter, Limits, Party, Place, Standing
from pinxit.moderation import Moderator
from pinxit.routing.router import Router, Sort
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
MAX_GOINGS_ON = 10
"""How many processes go on with a job far away, one after the other."""
STOPPED = "The server stopped while this was being painted. Nothing was charged; ask again."
GOES_ON = "The server stopped while this was being painted, and goes on with it when it is back; ask again."

REPEAT_WAIT_SECONDS = 60.0
"""How long an order sent again waits for the first one to end, before it is told to come back."""
LOOK_SECONDS = 0.25
"""How often to look for the end of an order that another process paints."""
ONCE = Repeat()


@dataclass(frozen=True, slots=True)
class _Commission:
    """An order as it was asked for, until it is in the database."""

    caller: Caller
    offers: tuple[CheckedOrder, ...]
    ticket: Ticket
    generation: Generation
    repeat: Repeat
    previews: int
    on_progress: ProgressListener | None
    on_preview: PreviewListener | None
    opened: "asyncio.Future[str]"
    """The id of the order to wait for, once it is in the database."""
    audience: Audience = field(default_factory=Audience)

    def live(self) -> Live:
        """The order as it will be followed, painted by the current task."""
        return Live(
            self.work.steps,
            self.on_progress,
            asyncio.current_task(),
            show=self.on_preview,
            audience=self.audience,
        )

    @property
    def order(self) -> CheckedOrder:
        """As the first backend would paint it."""
        return self.offers[0]

    @property
    def highest_price_micros(self) -> int:
        """Whoever of them paints."""
        return max(offer.price_micros for offer in self.offers)

    @property
    def work(self) -> Work:
        attempt = Attempt(1, self.order.entry.backend, tuple(range(self.order.request.n)))
        return Work(self.offers, self.generation, attempt, self.previews)


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
        router: Router,
        once_only: Collection[str] = frozenset(),
        accesses: Accesses | None = None,
    ) -> None:
        """`runners`: backend name → its runner; `account_limits`: of each account; `tenure`: in whose name orders are
        painted; `url_ttl`: how long a picture's URL opens it, None for ever, unless the key says otherwise;
        `router`: which backend is asked first; `once_only`: the names of those whose work is not repeatable;
        `accesses`: with whose credential; None: with those that backends have.
        """
        self._accesses = accesses
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
        self._endings = Endings(database=database, library=library, announcer=announcer, now=now, tenure=tenure)
        self._once_only = once_only
        self._router = router
        self._studio = Studio(
            database=database,
            runners=runners,
            library=library,
            now=now,
            lease_owner=tenure.owner,
            router=router,
            once_only=once_only,
        )
        self._live: dict[str, Live] = {}
        self._opening: set[str] = set()
        """Ids of orders on their way into the database, whose painting has not begun."""
        self._tasks: set[asyncio.Task[Generation]] = set()
        self._tending: set[asyncio.Task[None]] = set()
        self._notes: set[asyncio.Task[None]] = set()

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
        previews: int = 0,
        pictures: InputPixels | None = None,
        on_progress: ProgressListener | None = None,
        on_preview: PreviewListener | None = None,
    ) -> "Order":
        """Take an order on, which is painted whether or not somebody waits for it; one sent again is painted once.
        `pictures`: those of `request.images` and its mask, in the size that `price` says.

        Raises ModelNotFound, PermissionDenied, InvalidValue, RateLimited, Overloaded, StorageUnavailable; the rest
        `Order.answer` raises.
        """
        offers = self.offers(caller, request, previews)
        if pictures is not None:
            offers = self._begun_from(offers, pictures)
        await self._limiter.count_request(self._parties(caller))
        commission = _Commission(
            caller=caller,
            offers=tuple(offers),
            ticket=self._gate.admit(self._lane_of(offers[0])),
            generation=self._plan(caller, offers[0], request_id, generation_id, deadline_seconds),
            repeat=repeat,
            previews=previews,
            on_progress=on_progress,
            on_preview=on_preview,
            opened=asyncio.get_running_loop().create_future(),
        )
        task = self._spawn(self._carry_out(commission))
        task.add_done_callback(lambda _: commission.opened.cancel())
        return Order(self, commission, task)

    def price(self, caller: Caller, request: ImageRequest) -> CheckedOrder:
        """What would be painted, and for how much. Raises ModelNotFound, PermissionDenied, InvalidValue."""
        return self.offers(caller, request)[0]

    def offers(self, caller: Caller, request: ImageRequest, previews: int = 0) -> list[CheckedOrder]:
        """The order for each backend that could paint it, in the order in which they are asked; then for those of the
        models to fall back to. Raises ModelNotFound, PermissionDenied, InvalidValue.
        """
        first_seed = draw_seed() if request.seed is None else request.seed
        entry = self._catalog.resolve(request.model, tells_why=caller.is_admin)
        caller.require_model(request.model, entry.id)
        missing: CredentialMissing | None = None
        try:
            offers = self._arranged(caller, entry, request, first_seed)
        except CredentialMissing as error:  # the models to fall back to may do without
            offers, missing = [], error
        for name in request.fallback_models or entry.fallback_models:
            other = self._resolve_fallback(name)
            if name in request.fallback_models:
                caller.require_model(name, other.id)
            elif not caller.may_use_model(name, other.id):
                continue
            # A model that cannot do this order, or that nobody has a credential for, is none to fall back to.
            with suppress(InvalidValue, CredentialMissing):
                offers += self._arranged(caller, other, request, first_seed)
        if missing is not None and not offers:
            raise missing
        if previews and not offers[0].entry.capabilities.streaming:
            raise InvalidValue(f"{entry.id} has no partial pictures.", param="partial_images", allowed=[0])
        return offers

    def _resolve_fallback(self, name: str) -> Entry:
        try:
            return self._catalog.resolve(name)
        except ModelNotFound as error:
            raise ModelNotFound(error.message, param="fallback_models") from error

    def _arranged(self, caller: Caller, entry: Entry, request: ImageRequest, first_seed: int) -> list[CheckedOrder]:
        offers = entry.offers(request, first_seed=first_seed)
        found: list[Ways] = [(offer,) for offer in offers]
        if self._accesses is not None:
            found = self._accesses.ways(caller.account_id, offers)
        if len(found) == 1 and request.routing == ANYWHERE:
            return list(found[0])
        by_key = {candidate_of(ways[0]).key: ways for ways in found}
        candidates = [candidate_of(ways[0]) for ways in by_key.values()]
        sticky_to = request.end_user or caller.key_id or caller.account_id
        arranged = self._router.arrange(candidates, Sort(entry.sort), request.routing, sticky_to=sticky_to)
        most = None if request.routing.allow_fallbacks else 1
        return [offer for candidate in arranged for offer in by_key[candidate.key][:most]]

    def _begun_from(self, offers: Sequence[CheckedOrder], pictures: InputPixels) -> list[CheckedOrder]:
        """The offers of backends that can begin from these pictures, which have the size of the first one."""
        first, begun = offers[0].paint.size, []
        for offer in offers:
            if self.is_remote(offer):
                begun.append(offer.handed_on_with(pictures))
            elif offer.paint.size == first:
                begun.append(offer.painted_from(pictures))
        return begun

    def is_remote(self, offer: CheckedOrder) -> bool:
        """Whether the offer's backend is far away: it gets files as they came."""
        return self._router.is_remote(offer.entry.backend)

    def _lane_of(self, offer: CheckedOrder) -> str:
        """Where the order waits for its turn, wherever it goes from there."""
        return offer.entry.backend if self.is_remote(offer) else HERE

    def standings(self, caller: Caller) -> list[Standing]:
        """What is left of the caller's limits, as far as there are any."""
        return self._limiter.standings(self._parties(caller))

    def _parties(self, caller: Caller) -> tuple[Party, ...]:
        """Who is limited: the key and its account. The command line of this machine is not."""
        account = Party(caller.account_id, "This account", self._account_limits, is_account=True)
        if caller.key is not None:
            return Party(caller.key.id, "This API key", caller.key.options.limits), account
        return () if caller.user_id is None else (account,)

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
                                    commission.work, commission.ticket, commission.live()
                                )
            if not commission.opened.done():
                commission.opened.set_result(found_id)
        try:
            return await self._answer_again(caller, request, found_id)
        except (StillRunning, StorageUnavailable):
            await self._leave_unanswered(commission.repeat, found_id)
            raise

    async def _leave_unanswered(self, repeat: Repeat, generation_id: str) -> None:
        """Whoever took the order over without a key has no answer either: its next try may take it over again."""
        if repeat.key is None:
            await self.abandon(generation_id)

    async def _find_earlier(self, commission: "_Commission") -> str | None:
        """The order that this one repeats: no limit keeps a client from the answer of what it has asked for before."""
        generation, repeat = commission.generation, commission.repeat
        if repeat == ONCE:
            return None
        likely_id = await self._database.read(partial(repository.guess_earlier, generation=generation, repeat=repeat))
        if likely_id is None:
            return None
        try:
            return await self._database.write(partial(repository.find_earlier, generation=generation, repeat=repeat))
        except CommitUnknown:
            await self._leave_unanswered(repeat, likely_id)
            raise

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
            charge=Charge(commission.highest_price_micros, self._is_billed, budgets),
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
            self._endings.fail_later(generation, error)
            raise
        place.confirm()
        return opened_id

    async def _paint_and_settle(self, work: Work, ticket: Ticket, live: Live) -> Generation:
        """Paint what is ours and end it. Raises LeaseLost if it ceased to be ours."""
        generation = work.generation
        self._live[generation.id] = live
        try:
            async with asyncio.timeout(self._seconds_left(generation)):
                await ticket.take_turn(generation.api_key_id or generation.account_id, live.queued)
                started = monotonic()
                painting = await self._studio.paint(work, live)
                live.is_final = True
            settled = await self._endings.settle(work, painting)
            ticket.seconds = monotonic() - started
            log.info("generation_completed", **facts_of(settled), seconds=round(ticket.seconds, 3))
            return settled
        except LeaseLost:
            await self._endings.leave_to_others(generation)
            raise
        except PinxitError as error:
            await self._fail(generation, error)
            raise
        except TimeoutError as late:
            given_up = DeadlineExceeded(
                f"The order {generation.id} took longer than its deadline. Nothing was charged."
            )
            await self._studio.give_up(live)
            await self._fail(generation, given_up)
            raise given_up from late
        except asyncio.CancelledError as cancelled:  # `cancel` does it, and `close`
            stopped: PinxitError = BackendUnavailable(STOPPED)
            may_go_on = self._tenure.is_server and generation.storage_keys
            if live.jobs and live.is_stopping and may_go_on and not live.is_cancelled:
                stopped = BackendUnavailable(GOES_ON)
                await self._leave_to_the_next(generation, live)
                raise stopped from cancelled
            await self._studio.give_up(live)
            if live.is_cancelled:
                stopped = OrderCancelled()
                await self._fail(generation, stopped)
            elif live.sent_to in self._once_only:
                stopped = unknown_outcome(generation)
                await self._fail(generation, stopped)
            elif may_go_on and not live.audience.waiting:
                await self._endings.let_go(generation)
            else:
                await self._fail(generation, stopped)
            raise stopped from cancelled
        except Exception:
            await self._studio.give_up(live)
            await self._fail(generation, PinxitError())
            raise
        finally:
            del self._live[generation.id]
            live.end()

    async def _leave_to_the_next(self, generation: Generation, live: Live) -> None:
        """Whoever waits for it here finds it with the next process, by its key or by asking again."""
        if live.audience.waiting:
            await self.abandon(generation.id)
        await self._endings.let_go(generation)

    async def _fail(self, generation: Generation, error: PinxitError) -> None:
        """End the order without pictures; from now on it is too late to cancel it. Raises LeaseLost."""
        live = self._live.get(generation.id)
        if live is not None:
            live.is_final = True
        await self._endings.fail(generation, error)

    def _seconds_left(self, generation: Generation) -> float | None:
        if generation.deadline_at is None:
            return None
        return (generation.deadline_at - self._now()).total_seconds()

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

    def abandon_soon(self, generation_id: str) -> None:
        """As `abandon`, for whoever cannot wait for it."""
        self._note(self.abandon(generation_id))

    def _note(self, story: Coroutine[Any, Any, None]) -> None:
        note = asyncio.create_task(story)
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

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
        log.info("generation_repeated", **facts_of(found))
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
                with live.audience.watch():
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

    async def search(self, caller: Caller, wanted: Search, *, after: str | None, limit: int) -> Found:
        """Some of the account's orders. Raises NotFound if `after` is none of them."""
        unit = partial(search, account_id=caller.account_id, wanted=wanted, after=after, limit=limit)
        found = await self._database.read(unit)
        if found is None:
            raise NotFound("There is no such generation.", param="after")
        return replace(found, orders=[self._as_it_stands(generation) for generation in found.orders])

    def _as_it_stands(self, found: Generation) -> Generation:
        live = self._live.get(found.id)
        if live is not None and found.status.is_open:
            return replace(found, status=live.progress.status, progress=live.progress)
        return found

    @property
    def load(self) -> Load:
        """How busy this process is."""
        return Load(self._gate.painting, self._gate.waiting, self._gate.room)

    @property
    def lanes(self) -> dict[str, tuple[int, int]]:
        """Backend far away → how many orders are painted there, and how many wait for their turn, in this process."""
        return self._gate.lanes

    async def count_open(self) -> int:
        """Orders of all accounts that have not ended, whichever process has them."""
        return await self._database.read(repository.count_open)

    async def follow(self, caller: Caller, generation_id: str) -> AsyncGenerator[Generation, None]:
        """The order as it stands, again whenever that has changed, until it has ended. Raises NotFound.

        Who is slow to take one misses those in between, never the last.
        """
        while True:
            live = self._live.get(generation_id)
            if live is None:
                found = await self.get(caller, generation_id)
                yield found
                if not found.status.is_open:
                    return
                await asyncio.sleep(LOOK_SECONDS)
                continue
            with live.audience.watch():
                seen = live.version
                found = await self.get(caller, generation_id)
                yield found
                if not found.status.is_open:
                    return
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

    def cancel_unwanted(self, generation_id: str) -> None:
        """Give the order up if nobody waits for it or looks on."""
        live = self._live.get(generation_id)
        if live is not None and not live.audience.waiting and not live.audience.watching:
            live.cancel()

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
            await self._endings.remove_files(failed)
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
        for live in self._live.values():
            live.is_stopping = True
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for tending in self._tending:
            tending.cancel()
        if self._tending or self._notes:
            await asyncio.wait(self._tending | self._notes)
        self._tending.clear()

    async def tend(self) -> None:
        """Renew our leases, end what could not be ended before, go on with what nobody paints any more, and remove
        deleted pictures that could not be removed before.

        Raises StorageUnavailable.
        """
        if self._live:
            begun = [id_ for id_, live in self._live.items() if live.progress.status is Status.IN_PROGRESS]
            unit = partial(leases.renew, owner=self._tenure.owner, ids=list(self._live), begun=begun, now=self._now())
            await self._database.write(unit)
        await self._database.write(partial(repository.forget_old_keys, now=self._now()))
        await self._limiter.tend()
        await self._endings.catch_up()
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
        """Paint it, or ask for what is under way for it, unless somebody wants it to be given up or nobody could have
        its pictures: then it ends.
        """
        generation = taken.generation
        try:
            work = self._work_of(taken)
            ticket = self._gate.admit(self._lane_of(work.order))
        except Overloaded:  # the room that there was is taken meanwhile
            await self._endings.let_go(generation)
            return
        except PinxitError as error:
            if taken.jobs is not None:
                self._note(self._studio.give_up(self._live_of(taken)))
            with suppress(LeaseLost):
                await self._fail(generation, error)
            return
        log.info("generation_resumed", **facts_of(generation), attempt=work.attempt.number)
        self._spawn(self._paint_again(work, ticket, taken))

    def _work_of(self, taken: Taken) -> Work:
        """What is to be done for it. Raises OrderCancelled, OutcomeUnknown, BackendUnavailable: nothing more is."""
        generation, jobs = taken.generation, taken.jobs
        if taken.is_cancelled:
            raise OrderCancelled
        is_once_only = taken.backend in self._once_only
        may_go_on = taken.was_server and generation.storage_keys
        if is_once_only and (jobs is None or not may_go_on or taken.attempts >= MAX_GOINGS_ON):
            raise unknown_outcome(generation)
        if not may_go_on:
            raise BackendUnavailable(STOPPED)
        if taken.attempts >= (MAX_ATTEMPTS if jobs is None else MAX_GOINGS_ON):
            raise BackendUnavailable(
                f"The server stopped {taken.attempts} times while this was being painted. Nothing was charged."
            )
        try:
            order = record.restore(generation, self._catalog, jobs)
            if self._accesses is not None:
                own = record.was_own(generation, jobs)
                order = self._accesses.again(generation.account_id, order, was_own=own)
        except BackendUnavailable as error:
            raise (unknown_outcome(generation) if is_once_only else error) from error
        places = tuple(range(order.request.n))
        is_only_asked_for = jobs is not None and (is_once_only or "input_sha256" in generation.parameters)
        if jobs is not None and is_only_asked_for:
            places = record.places_of(jobs)
        attempt = Attempt(taken.attempts + 1, order.entry.backend, places, jobs)
        return Work((order,), generation, attempt, is_only_asked_for=is_only_asked_for)

    async def _paint_again(self, work: Work, ticket: Ticket, taken: Taken) -> Generation:
        live = self._live_of(taken, work.steps, asyncio.current_task())
        with ticket:
            return await self._paint_and_settle(work, ticket, live)

    def _live_of(self, taken: Taken, steps: int = 1, task: "asyncio.Task[object] | None" = None) -> Live:
        """The order with what is under way for it, so that it can be given up at any time."""
        live = Live(steps, None, task)
        if taken.jobs is not None:
            live.sent_to, live.jobs = taken.backend, record.jobs_of(taken.jobs, record.places_of(taken.jobs))
            if self._accesses is not None:
                own = record.was_own(taken.generation, taken.jobs)
                live.credential = self._accesses.credential(taken.generation.account_id, taken.backend, own=own)
        return live

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

    def __init__(self, service: GenerationService, commission: _Commission, task: "asyncio.Task[Generation]") -> None:
        self._service = service
        self._commission = commission
        self._task = task
        self._opened = commission.opened

    async def answer(self) -> Generation:
        """Wait for the end. Who stops waiting does not stop the painting. Raises as GenerationService.create."""
        if self._task.done():
            return self._task.result()
        with self._commission.audience.wait():
            return await asyncio.shield(self._task)

    async def wait(self, otherwise: "asyncio.Future[Any]", seconds: float | None = None) -> bool:
        """Wait for the end as `answer` does, no longer than for `otherwise` or so many seconds: has the order ended?"""
        with self._commission.audience.wait():
            await asyncio.wait({self._task, otherwise}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return self._task.done()

    def when_ended(self, call: Callable[[], None]) -> None:
        """Have `call` called once nothing more is done for the order."""
        self._task.add_done_callback(lambda _: call())

    async def opened(self) -> str:
        """The order's id, once it is in the database and nothing can lose it. Raises what kept it from there."""
        await asyncio.wait({self._opened})
        if self._opened.cancelled():
            await self.answer()
        return self._opened.result()

    async def seen(self) -> Generation:
        """The order as it is once it is opened: a new one, or what it repeats. Raises as `opened`."""
        opened_id = await self.opened()
        found = await self._service.get(self._commission.caller, opened_id)
        return replace(found, is_replay=opened_id != self._commission.generation.id)

    async def abandon(self) -> None:
        """The client has left; an order that was never opened needs no note."""
        await asyncio.wait({self._opened})
        if not self._opened.cancelled():
            await self._service.abandon(self._opened.result())

    def lost(self) -> None:
        """The answer was sent, and the client had left without reading it."""
        self._service.abandon_soon(self._opened.result())

    async def leave(self) -> None:
        """The client who looked on has left: nothing more is painted, unless somebody else wants it, or it can be asked
        for again by its Idempotency-Key.
        """
        await self.abandon()
        if self._commission.repeat.key is None:
            self._service.cancel_unwanted(self._commission.generation.id)


async def _repeat(look: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Every `seconds`, for ever."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await look()
        except StorageUnavailable as error:
            log.error("orders_not_looked_after", error=error.message)
        except Exception:
            log.exception("looking_after_orders_crashed")  # the next look may go well, and leases must be renewed
