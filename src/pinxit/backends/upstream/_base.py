"""The backend over any provider: it sends, polls, downloads, keeps deadlines, and says what surely was not painted.

The provider's file says what to send and how to read what comes; here is everything that waits.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from copy import copy
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network
from time import monotonic
from urllib.parse import urlsplit

import structlog

from pinxit.backends.interface import (
    Asked,
    Backend,
    Credential,
    CredentialUse,
    Job,
    JobBegun,
    ModelSpec,
    PaintedFile,
    PaintEvent,
    PaintOrder,
    PaintUsage,
    Progress,
)
from pinxit.backends.upstream._events import EventReader
from pinxit.backends.upstream._jobs import read_job, write_job
from pinxit.backends.upstream._provider import (
    Again,
    Answer,
    Call,
    Done,
    Partial,
    Pending,
    Picture,
    Proceed,
    Provider,
    Step,
    UpstreamModel,
)
from pinxit.errors import (
    BackendBusy,
    BackendError,
    BackendUnavailable,
    InvalidValue,
    OutcomeUnknown,
    OwnCredentialBusy,
    OwnCredentialFailed,
    PinxitError,
)
from pinxit.images.decoding import MAX_PAINTED_SIDE, decode_file
from pinxit.images.encoding import inspect, is_whole
from pinxit.images.pixels import Pixels
from pinxit.images.request import Encoding
from pinxit.images.size import Size
from pinxit.network.http import GuardedHttp, RequestFailed
from pinxit.network.pooled import AnswerLost, NotReached, PooledHttp, Received
from pinxit.network.target import UrlRefused

log = structlog.get_logger(__name__)

MIB = 1024 * 1024
FEW_BYTES = 128 * 1024
"""So many are read sooner than another thread wakes up."""
_JSON = {"content-type": "application/json"}
MAX_TURNED_AWAY = 5
"""How many polls in a row may be turned away before the job is given up as lost."""
LEAST_POLL_PAUSE = 0.05
LONGEST_POLL_PAUSE = 10.0
"""Seconds between two polls of a provider that does not answer: it is asked less and less often."""
NOT_OF_THE_JOB = frozenset({401, 402, 403, 404, 405})
"""Statuses of a poll that say nothing of the job."""
MAX_NUMBER = 2**53
UNREADABLE = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What the file of a provider raises at an answer that it does not understand."""
A_WORD_BYTES = 1024
"""An event that is shorter holds no picture that takes long."""
DOWNLOAD_TRIES = 3
CANCEL_SECONDS = 5.0
TRY_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one upstream may take. `poll_seconds` None: as the provider says."""

    timeout_seconds: float = 180.0
    connect_seconds: float = 5.0
    max_concurrency: int = 32
    max_waiting: int = 64
    """Calls that wait for one of those; more are turned away at once."""
    max_answer_bytes: int = 64 * MIB
    poll_seconds: float | None = None


class UpstreamBackend(Backend):
    """Paints by way of `provider`. `name` is the operator's own for it."""

    runs_in = "inline"
    is_remote = True

    def __init__(
        self,
        name: str,
        provider: Provider,
        *,
        limits: Limits = Limits(),
        is_repeatable: bool = False,
        allowed_networks: tuple[IPv4Network | IPv6Network, ...] = (),
        credential_use: CredentialUse | None = None,
    ) -> None:
        """`is_repeatable`: its work costs nothing but time; `allowed_networks`: those inside that its pictures may be
        fetched from; `credential_use` None: as its file says, with the credential that it has.
        """
        # Instances differ where classes of other backends do.
        self.name = name  # type: ignore[misc]
        self.is_repeatable = is_repeatable  # type: ignore[misc]
        self.credential_use = credential_use or _fixed_use(provider)
        self._provider = provider
        self._shared = self
        """Whose connections and permits these are."""
        self._is_own = False
        """Whether the credential is that of the order's account."""
        self._limits = limits
        self._models = {model.spec.id: model for model in provider.list_models()}
        self._http = PooledHttp(max_connections=limits.max_concurrency, connect_seconds=limits.connect_seconds)
        self._downloads = GuardedHttp(allowed_networks=allowed_networks, total_seconds=60.0)
        self._slots = asyncio.Semaphore(limits.max_concurrency)
        self._waiting = 0
        self._origin = _origin(provider.access.base_url)

    def models(self) -> Sequence[ModelSpec]:
        """Every encoding can be had of each, those that the provider does not deliver by making a new file of what it
        does; its own come first.
        """
        return [_in_every_encoding(model.spec) for model in self._models.values()]

    async def open(self) -> None:
        self._http.open()

    async def close(self) -> None:
        await self._http.close()

    async def generate(self, order: PaintOrder) -> AsyncGenerator[PaintEvent, None]:
        """One request for every `per_call` pictures, all at once; each picture comes when its request is done. One that
        is shown on its way has a request of its own.
        """
        if order.credential is not None:
            async with aclosing(self._let_in_by(order.credential).generate(replace(order, credential=None))) as painted:
                async for said in painted:
                    yield said
            return
        self._require_credential()
        model = self._models[order.model]
        per_call = 1 if order.previews else model.per_call
        begun = {place for job in order.jobs for place in job.indices}
        places = [place for place in range(len(order.seeds)) if place not in begun]
        batches = [tuple(places[start : start + per_call]) for start in range(0, len(places), per_call)]
        events: asyncio.Queue[PaintEvent | _Announced | None] = asyncio.Queue()
        stories = [self._paint(_Batch(order, batch, events), model) for batch in batches]
        stories += [self._resume(_Batch(order, job.indices, events), job) for job in order.jobs]
        tasks = [asyncio.create_task(story) for story in stories]
        for task in tasks:
            task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            under_way = len(tasks)
            while under_way:
                event = await events.get()
                if event is None:
                    under_way -= 1
                elif isinstance(event, _Announced):
                    yield event.begun
                    event.taken.set()
                else:
                    yield event
            _raise_worst([error for task in tasks if (error := task.exception()) is not None])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _let_in_by(self, credential: Credential) -> "UpstreamBackend":
        """This backend as somebody with another credential sees it, over the same connections, which know nothing of
        credentials: each request carries its own. Raises BackendUnavailable.
        """
        seen = copy(self)
        seen._provider = self._provider.let_in_by(credential.reveal())
        seen._is_own = credential.is_own
        return seen

    def _require_credential(self) -> None:
        """Raises BackendUnavailable."""
        variable = self._provider.credential_variable
        if variable and not self._provider.access.credential:
            raise BackendUnavailable(
                f"The provider {self.name!r} has no credential: set {variable}, `credential` under "
                f"providers.{self.name}, or `pinxit credentials set {self.name}`. Nothing was charged."
            )

    async def try_credential(self, credential: Credential | None) -> bool | None:
        """Whether the provider lets in who shows it (None: the backend's own), without painting; None: it has no way to
        say so that costs nothing. Raises BackendUnavailable if it gives no answer.
        """
        call = self._provider.free_call
        if call is None:
            return None
        seen = self if credential is None else self._let_in_by(credential)
        try:
            answer = await seen._send(call, monotonic() + TRY_SECONDS)
        except (NotReached, AnswerLost) as error:
            raise BackendUnavailable(f"{self._title} gave no answer.") from error
        if answer.status in (400, 401, 403) or answer.status < 400:  # Google turns wrong keys away with 400
            return answer.status < 400
        raise BackendUnavailable(f"{self._title} answered with status {answer.status}.")

    async def _paint(self, batch: "_Batch", model: UpstreamModel) -> None:
        asked = _deliverable(batch.order.asked, model.spec.capabilities.encodings)
        part = replace(batch.part, asked=asked)
        async with _Slot(self._shared):
            for place in batch.places:
                batch.events.put_nowait(Progress(place, 0, 1))
            files, done = await self._job(part, model, batch)
        batch.deliver(files, done)

    async def _resume(self, batch: "_Batch", job: Job) -> None:
        """Ask for a job of an earlier process. It takes no slot: it is under way, whatever else is."""
        deadline = monotonic() + self._limits.timeout_seconds
        try:
            step = read_job(job.upstream_id, job.state)
            self._whole_url(step.call.url)
        except (KeyError, TypeError, ValueError, BackendError) as error:  # the provider has moved
            raise self._lost() from error
        for place in batch.places:
            batch.events.put_nowait(Progress(place, 0, 1))
        try:
            done = await self._poll(step, batch.part, deadline, JobBegun(job, is_kept=True))
            files = await self._files(done, batch.part, deadline)
        except PinxitError as error:
            raise self._cleaned(error) from error
        batch.deliver(files, done)

    async def give_up(self, jobs: Sequence[Job], credential: Credential | None = None) -> None:
        if credential is not None:
            with suppress(BackendUnavailable):  # it is there no more, and without it nobody is listened to
                await self._let_in_by(credential).give_up(jobs)
            return
        steps = []
        for job in jobs:
            with suppress(KeyError, TypeError, ValueError):
                steps.append(read_job(job.upstream_id, job.state))
        await asyncio.gather(*(self._cancel(step) for step in steps))

    async def _job(self, order: PaintOrder, model: UpstreamModel, batch: "_Batch") -> tuple[list[PaintedFile], Done]:
        """The request, the polls after it, and the pictures. What the errors of a provider say is cleaned here."""
        deadline = monotonic() + self._limits.timeout_seconds
        try:
            call = await self._build(order, model)
            if order.previews:
                step = await self._follow(call, order, batch, deadline)
            else:
                step = await self._read(await self._ask(call, deadline), order)
            if isinstance(step, Proceed):
                step = await self._read(await self._ask(step.call, deadline), order)
            if isinstance(step, Again):
                step = await self._poll(step, order, deadline, await self._begin(step, batch))
            if not isinstance(step, Done):
                raise BackendError(f"The answer of {self._title} names no job to ask for.")
            return await self._files(step, order, deadline), step
        except PinxitError as error:
            raise self._cleaned(error) from error

    async def _files(self, done: Done, order: PaintOrder, deadline: float) -> list[PaintedFile]:
        pictures = zip(done.pictures, order.seeds, strict=False)
        return [await self._file(picture, order, seed, deadline) for picture, seed in pictures]

    async def _begin(self, step: Again, batch: "_Batch") -> JobBegun | None:
        """Tell of the job, and go on once that has been heard."""
        state = write_job(step, self._provider.access.credential)
        if state is None:
            log.warning("upstream_job_not_written", backend=self.name, upstream_id=step.upstream_id)
            return None
        announced = _Announced(JobBegun(Job(batch.places, step.upstream_id, state)))
        batch.events.put_nowait(announced)
        try:
            await announced.taken.wait()
        except asyncio.CancelledError:
            await self._leave(step, announced.begun)
            raise
        return announced.begun

    async def _build(self, order: PaintOrder, model: UpstreamModel) -> Call:
        """The request, its JSON written; in a thread if there are pictures to be made part of it, which takes long."""
        if order.asked.images or order.asked.mask is not None:
            return await asyncio.to_thread(self._build_now, order, model)
        return self._build_now(order, model)

    def _build_now(self, order: PaintOrder, model: UpstreamModel) -> Call:
        build = self._provider.stream_request if order.previews else self._provider.build_request
        call = build(order, model)
        if call.json is None:
            return call
        return replace(call, json=None, content=_dump(call.json), headers={**_JSON, **call.headers})

    async def _ask(self, call: Call, deadline: float) -> Answer:
        """The answer to a request that paints. Raises BackendUnavailable, OutcomeUnknown."""
        try:
            return await self._send(call, deadline)
        except NotReached as error:
            raise BackendUnavailable(f"{self._title} cannot be reached. Nothing was charged.") from error
        except AnswerLost as error:
            log.warning("upstream_answer_lost", backend=self.name, reason=error.message)
            raise self._lost() from error

    async def _follow(self, call: Call, order: PaintOrder, batch: "_Batch", deadline: float) -> Step:
        """Send a request that paints and tell what its picture looks like on the way. Who answers at once, without a
        stream, is understood too. Raises as `_ask`, and what an event says went wrong.
        """
        watch = _Watch(batch, order.previews)
        try:
            async with aclosing(self._receive(call, deadline)) as pieces:
                async for piece in pieces:
                    if not _is_stream(piece):
                        watch.whole += piece.body
                        watch.head = piece
                        continue
                    for data in watch.reader.feed(piece.body):
                        if (done := await self._see(data, order, watch)) is not None:
                            return done
        except NotReached as error:
            raise BackendUnavailable(f"{self._title} cannot be reached. Nothing was charged.") from error
        except AnswerLost as error:
            log.warning("upstream_stream_lost", backend=self.name, reason=error.message, shown=watch.shown)
            raise self._lost() from error
        if watch.head is None:
            log.warning("upstream_stream_lost", backend=self.name, reason="no picture at its end", shown=watch.shown)
            raise self._lost()
        head = watch.head
        return await self._read(
            Answer(head.status, head.headers, bytes(watch.whole), self._provider.base64_keys), order
        )

    def _receive(self, call: Call, deadline: float) -> AsyncGenerator[Received, None]:
        return self._http.stream(
            call.method,
            self._whole_url(call.url),
            headers={"accept": "text/event-stream, application/json", **self._provider.authorise(), **call.headers},
            body=call.content,
            form=call.form,
            max_answer_bytes=self._limits.max_answer_bytes,
            seconds=max(0.001, deadline - monotonic()),
        )

    async def _see(self, data: bytes, order: PaintOrder, watch: "_Watch") -> Done | None:
        """One event of a stream. What nobody can read is passed over: the picture may come all the same."""
        try:
            if len(data) < A_WORD_BYTES:
                found = self._see_now(data, order)
            else:
                found = await asyncio.to_thread(self._see_now, data, order)
        except (BackendUnavailable, InvalidValue) as error:
            if watch.shown:  # so work was done, whatever is said of it
                raise BackendError(error.message) from error
            raise
        if isinstance(found, Pixels) and watch.shown < watch.previews:
            watch.shown += 1
            watch.batch.events.put_nowait(Progress(watch.batch.places[0], 0, 1, found))
        return found if isinstance(found, Done) else None

    def _see_now(self, data: bytes, order: PaintOrder) -> Pixels | Done | None:
        event = Answer(200, {}, data, self._provider.base64_keys)
        if not _is_json(event):  # the word at the end of some streams, for example
            return None
        try:
            found = self._provider.read_event(event, order)
            if isinstance(found, Partial):
                return _pixels(event, found.picture)
            return None if found is None else self._whole(_checked_done(found), event, order)
        except UNREADABLE as error:
            log.warning("upstream_event_not_read", backend=self.name, reason=type(error).__name__)
            return None

    def _lost(self) -> PinxitError:
        if self.is_repeatable:
            return BackendUnavailable(f"{self._title} gave no answer. Nothing was charged.")
        return OutcomeUnknown(f"{self._title} gave no answer: it may have painted. Nothing was charged.")

    async def _poll(self, step: Again, order: PaintOrder, deadline: float, begun: JobBegun | None) -> Done:
        """Ask until the job is done. Asking changes nothing, so what fails is asked again: by whatever does not answer
        less and less often until the deadline, by who turns us away a few times.
        """
        silences, refusals, cost_micros = 0, 0, step.cost_micros
        try:
            while refusals < MAX_TURNED_AWAY:
                await asyncio.sleep(self._pause(step, silences))
                if monotonic() >= deadline:
                    break
                try:
                    after = await self._poll_once(step, order, deadline)
                except _TurnedAway:
                    refusals += 1
                    continue
                silences, refusals = (silences + 1, refusals) if after is None else (0, 0)
                if isinstance(after, Pending):
                    step = replace(step, seconds=step.seconds if after.seconds is None else after.seconds)
                elif after is not None:
                    cost_micros = cost_micros if after.cost_micros is None else after.cost_micros
                    if isinstance(after, Done):
                        return replace(after, cost_micros=cost_micros)
                    step = after
        except asyncio.CancelledError:
            await self._leave(step, begun)
            raise
        await self._cancel(step)
        raise self._lost()

    def _pause(self, step: Again, silences: int) -> float:
        pause = step.seconds if self._limits.poll_seconds is None else self._limits.poll_seconds
        if not silences:
            return pause
        return max(pause, min(LEAST_POLL_PAUSE * 2.0 ** min(silences, 16), LONGEST_POLL_PAUSE))

    async def _poll_once(self, step: Again, order: PaintOrder, deadline: float) -> Done | Again | Pending | None:
        """What is said of the job; None: nothing, for nobody answers. Raises _TurnedAway if the poll was not let in, or
        there is no such job; what became of it is open then.
        """
        try:
            answer = await self._send(step.call, deadline)
        except (NotReached, AnswerLost):
            return None
        if answer.status == 429 or answer.status >= 500:
            return None
        try:
            after = await self._read(answer, order)
        except (BackendUnavailable, InvalidValue) as error:
            if answer.status in NOT_OF_THE_JOB:
                raise _TurnedAway from error
            raise
        if isinstance(after, Proceed):
            raise BackendError(f"The answer of {self._title} belongs to no job.")
        return after

    async def _leave(self, step: Again, begun: JobBegun | None) -> None:
        """Nobody listens to us any more: the job is given up, unless somebody else sees to it."""
        if begun is None or not begun.is_kept:
            await self._cancel(step)

    async def _cancel(self, step: Again) -> None:
        """Tell the provider that nobody wants the job any more; that it does not listen is its own affair."""
        if step.cancel is not None:
            with suppress(NotReached, AnswerLost, BackendError):  # the last: its address is not the provider's any more
                await asyncio.shield(self._send(step.cancel, monotonic() + CANCEL_SECONDS))

    async def _send(self, call: Call, deadline: float) -> Answer:
        url = self._whole_url(call.url)
        headers = {"accept": "application/json", **self._provider.authorise(), **call.headers}
        body = call.content
        if call.json is not None:
            body = await asyncio.to_thread(_dump, call.json)
            headers = {**_JSON, **headers}
        received = await self._http.send(
            call.method,
            url,
            headers=headers,
            body=body,
            form=call.form,
            max_answer_bytes=self._limits.max_answer_bytes,
            seconds=max(0.001, deadline - monotonic()),
        )
        return Answer(received.status, received.headers, received.pieces, self._provider.base64_keys)

    def _whole_url(self, url: str) -> str:
        """Raises BackendError for a URL on another host: the credential goes to the provider's own only."""
        if url.startswith("/"):
            return self._provider.access.base_url + url
        scheme, host, _ = origin = _origin(url)
        is_own = scheme == "https" and any(host == own or host.endswith(f".{own}") for own in self._provider.own_hosts)
        if origin != self._origin and not is_own:
            raise BackendError(f"{self._title} names an address that is not its own.")
        return url

    async def _read(self, answer: Answer, order: PaintOrder) -> Step:
        if answer.size <= FEW_BYTES:
            return self._read_now(answer, order)
        return await asyncio.to_thread(self._read_now, answer, order)

    def _read_now(self, answer: Answer, order: PaintOrder) -> Step:
        if answer.status >= 400:
            error = self._provider.read_error(answer, order)
            raise _of_own_credential(error, answer.status, self._title) if self._is_own else error
        if answer.status >= 300:
            raise BackendError(f"{self._title} answered with status {answer.status}.")
        try:
            step = _checked(self._provider.read_response(answer, order))
        except UNREADABLE as error:
            raise BackendError(f"The answer of {self._title} cannot be read ({type(error).__name__}).") from error
        return self._whole(step, answer, order) if isinstance(step, Done) else step

    def _whole(self, done: Done, answer: Answer, order: PaintOrder) -> Done:
        """With the pictures' bytes, in the thread that has the answer: their tokens are known to their own answer."""
        if not 0 < len(done.pictures) <= len(order.seeds):
            raise BackendError(f"{self._title} sent {len(done.pictures)} pictures instead of {len(order.seeds)}.")
        return replace(done, pictures=[_decoded(answer, picture) for picture in done.pictures])

    async def _file(self, picture: Picture, order: PaintOrder, seed: int, deadline: float) -> PaintedFile:
        data = picture.data or await self._download(picture.url, deadline)
        encoding, size = _inspected(data, self._title)
        can_seed = self._models[order.model].spec.capabilities.seed
        return PaintedFile(
            index=0,
            seed=seed if can_seed else None,
            data=data,
            encoding=encoding,
            size=size,
            revised_prompt=picture.revised_prompt,
            is_compressed=self._provider.applies_compression,
            base64=picture.source,
            sha256=picture.sha256,
        )

    async def _download(self, url: str, deadline: float) -> bytes:
        """The picture behind a URL of an answer; without our credential. Raises BackendError."""
        reason = "no URL"
        for _ in range(DOWNLOAD_TRIES):
            if not url or monotonic() >= deadline:
                break
            try:
                received = await self._fetch(url, deadline)
            except UrlRefused as error:
                log.warning("upstream_url_refused", backend=self.name, reason=error.message)
                raise BackendError(f"{self._title} names an address of a picture that is not fetched.") from error
            except (RequestFailed, NotReached, AnswerLost) as error:
                reason = error.message
                continue
            if received.status == 200:
                return received.body
            reason = f"status {received.status}"
            if received.status < 500:
                break
        log.warning("upstream_picture_lost", backend=self.name, reason=reason)
        raise BackendError(f"A picture of {self._title} could not be fetched.")

    async def _fetch(self, url: str, deadline: float) -> Received:
        """Raises UrlRefused, RequestFailed, NotReached, AnswerLost."""
        cap = self._limits.max_answer_bytes
        if _origin(url) == self._origin:
            seconds = max(0.001, deadline - monotonic())
            return await self._http.send("GET", url, headers={}, max_answer_bytes=cap, seconds=seconds)
        answer = await self._downloads.send("GET", url, headers={}, max_answer_bytes=cap)
        return Received(answer.status, answer.headers, (answer.body,))

    @property
    def _title(self) -> str:
        return self._provider.title

    def _cleaned(self, error: PinxitError) -> PinxitError:
        """The error without our credential, whatever the provider has put into its message."""
        credential = self._provider.access.credential
        if len(credential) >= 4 and credential in error.message:
            error.message = error.message.replace(credential, "…")
            error.args = (error.message,)
        return error


class _TurnedAway(Exception):
    """A poll was answered with something that says nothing of the job."""


@dataclass(frozen=True, slots=True)
class _Announced:
    """A job on its way to whoever listens. `taken`: they have heard of it."""

    begun: JobBegun
    taken: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class _Batch:
    """Pictures of an order that are painted together, and where is told of them."""

    order: PaintOrder
    places: tuple[int, ...]
    events: "asyncio.Queue[PaintEvent | _Announced | None]"

    @property
    def part(self) -> PaintOrder:
        """The order for these pictures alone."""
        return replace(self.order, seeds=tuple(self.order.seeds[place] for place in self.places), jobs=())

    def deliver(self, files: Sequence[PaintedFile], done: Done) -> None:
        """If there are fewer than were ordered, the rest is missed at the end."""
        for place, file in zip(self.places, files, strict=False):
            self.events.put_nowait(replace(file, index=place))
        self.events.put_nowait(PaintUsage(done.input_tokens, done.output_tokens, done.cost_micros))


@dataclass(slots=True)
class _Watch:
    """What has come of a request whose picture is shown on its way."""

    batch: _Batch
    previews: int
    shown: int = 0
    reader: EventReader = field(default_factory=EventReader)
    head: Received | None = None
    """Of an answer that is no stream; its body is `whole`."""
    whole: bytearray = field(default_factory=bytearray)


def _fixed_use(provider: Provider) -> CredentialUse:
    variable, is_there = provider.credential_variable, bool(provider.access.credential)
    return CredentialUse(bool(variable), is_there, is_there, bool(variable), variable)


def _of_own_credential(error: PinxitError, status: int, title: str) -> PinxitError:
    """What an answer means that the account's own credential got: that it is turned away says nothing of the provider,
    and what was said is about that account, not about this server's.
    """
    if not isinstance(error, BackendUnavailable) or status >= 500:
        return error
    if isinstance(error, BackendBusy):
        return OwnCredentialBusy(
            f"{title} has too much to do for your own credential. Nothing was charged.",
            retry_after_seconds=error.retry_after_seconds,
        )
    if status == 402:
        return OwnCredentialFailed(f"Your own account at {title} is out of credit. Nothing was charged.")
    if status in (401, 403):
        return OwnCredentialFailed(f"{title} does not accept your own credential. Nothing was charged.")
    said = error.message.replace("this server's", "your own").replace("This server's", "Your own")
    return OwnCredentialFailed(said)


class _Slot:
    """One of the upstream's `max_concurrency`; whoever would wait behind too many, or too long, is turned away."""

    def __init__(self, backend: UpstreamBackend) -> None:
        self._backend = backend

    async def __aenter__(self) -> None:
        backend = self._backend
        if not backend._slots.locked():
            await backend._slots.acquire()  # at once
            return
        too_much = f"{backend._title} is asked for too much at once. Nothing was charged."
        if backend._waiting >= backend._limits.max_waiting:
            raise BackendBusy(too_much)
        backend._waiting += 1
        try:
            async with asyncio.timeout(backend._limits.timeout_seconds):
                await backend._slots.acquire()
        except TimeoutError as error:
            raise BackendBusy(too_much) from error
        finally:
            backend._waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._backend._slots.release()


def _in_every_encoding(spec: ModelSpec) -> ModelSpec:
    own = spec.capabilities.encodings
    encodings = (*own, *(encoding for encoding in Encoding if encoding not in own))
    return replace(spec, capabilities=replace(spec.capabilities, encodings=encodings))


def _deliverable(asked: Asked, own: Sequence[Encoding]) -> Asked:
    """What to ask the provider for: of its encodings the wanted one, or else one without loss if it has any."""
    if asked.encoding in own:
        return asked
    return replace(asked, encoding=Encoding.PNG if Encoding.PNG in own else own[0], compression=None)


def _checked(step: Step) -> Step:
    """The step without numbers that make no sense: a picture is worth more than what is said of its cost. Raises
    TypeError where a provider's file has passed on as a text what is none.
    """
    if isinstance(step, Done):
        return _checked_done(step)
    if isinstance(step, Again):
        texts = [call.url for call in (step.call, step.cancel) if call is not None]
        step = replace(step, cost_micros=_sensible(step.cost_micros))
    else:
        texts = [step.call.url] if isinstance(step, Proceed) else []
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    return step


def _checked_done(done: Done) -> Done:
    """As `_checked`."""
    texts = [text for picture in done.pictures for text in (picture.url, picture.base64, picture.revised_prompt)]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    return replace(
        done,
        input_tokens=_sensible(done.input_tokens) or 0,
        output_tokens=_sensible(done.output_tokens) or 0,
        cost_micros=_sensible(done.cost_micros),
    )


def _sensible(number: object) -> int | None:
    return number if isinstance(number, int) and 0 <= number < MAX_NUMBER else None


def _decoded(answer: Answer, picture: Picture) -> Picture:
    if not picture.base64:
        return picture
    data, source = answer.decoded(picture.base64)
    return replace(picture, data=data, base64="", source=source, sha256=hashlib.sha256(data).hexdigest())


def _is_json(event: Answer) -> bool:
    try:
        return event.json is not None
    except BackendError:
        return False


def _pixels(event: Answer, picture: Picture) -> Pixels | None:
    """Of a picture on its way; None if it is none, for that is no loss."""
    try:
        return decode_file(_decoded(event, picture).data)
    except (BackendError, ValueError):
        return None


def _is_stream(piece: Received) -> bool:
    media_type = piece.headers.get("content-type", "").partition(";")[0].strip().lower()
    return piece.status == 200 and media_type == "text/event-stream"


def _inspected(data: bytes, title: str) -> tuple[Encoding, Size]:
    """Raises BackendError unless this is a whole picture, by its header and its end."""
    try:
        encoding, size = inspect(data, max_side=MAX_PAINTED_SIDE)
    except ValueError as error:
        raise BackendError(f"{title} sent something that is no picture: {error}.") from error
    if not is_whole(data, encoding):
        raise BackendError(f"{title} sent a picture that is cut off.")
    return encoding, size


def _raise_worst(errors: Sequence[BaseException]) -> None:
    """Of several errors, the one that says most about work that may have been done."""
    ranks = (OutcomeUnknown, BackendError, InvalidValue, BackendUnavailable)
    for kind in ranks:
        for error in errors:
            if isinstance(error, kind):
                raise error
    for error in errors:
        raise error


def _dump(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _origin(url: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    except ValueError:
        return "", "", None
    return parts.scheme, parts.hostname or "", port
