"""The backend over any provider: it sends, polls, downloads, keeps deadlines, and says what surely was not painted.

The provider's file says what to send and how to read what comes; here is everything that waits.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from copy import copy
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network
from time import monotonic
from urllib.parse import urlsplit

import structlog

from pinxit.backends.interface import (
    Asked,
    Backend,
    Credential,
    CredentialUse,
    ModelSpec,
    PaintedFile,
    PaintEvent,
    PaintOrder,
    PaintUsage,
    Progress,
)
from pinxit.backends.upstream._provider import (
    Again,
    Answer,
    Call,
    Done,
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
from pinxit.images.decoding import MAX_PAINTED_SIDE
from pinxit.images.encoding import inspect, is_whole
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
MAX_POLL_FAILURES = 5
"""How many polls in a row may fail before the job is given up as lost."""
NOT_OF_THE_JOB = frozenset({401, 402, 403, 404, 405})
"""Statuses of a poll that say nothing of the job."""
MAX_NUMBER = 2**53
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
        """One request for every `per_call` pictures, all at once; each picture comes when its request is done."""
        if order.credential is not None:
            async with aclosing(self._let_in_by(order.credential).generate(replace(order, credential=None))) as painted:
                async for said in painted:
                    yield said
            return
        self._require_credential()
        model = self._models[order.model]
        places = range(len(order.seeds))
        batches = [tuple(places[start : start + model.per_call]) for start in places[:: model.per_call]]
        events: asyncio.Queue[PaintEvent | None] = asyncio.Queue()
        tasks = [asyncio.create_task(self._paint(order, model, batch, events)) for batch in batches]
        for task in tasks:
            task.add_done_callback(lambda _: events.put_nowait(None))
        try:
            under_way = len(tasks)
            while under_way:
                event = await events.get()
                if event is None:
                    under_way -= 1
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

    async def _paint(
        self,
        order: PaintOrder,
        model: UpstreamModel,
        places: tuple[int, ...],
        events: "asyncio.Queue[PaintEvent | None]",
    ) -> None:
        asked = _deliverable(order.asked, model.spec.capabilities.encodings)
        part = replace(order, seeds=tuple(order.seeds[place] for place in places), asked=asked)
        async with _Slot(self._shared):
            for place in places:
                events.put_nowait(Progress(place, 0, 1))
            files, done = await self._job(part, model)
        for place, file in zip(places, files, strict=False):  # if there are fewer, the rest is missed at the end
            events.put_nowait(replace(file, index=place))
        events.put_nowait(PaintUsage(done.input_tokens, done.output_tokens, done.cost_micros))

    async def _job(self, order: PaintOrder, model: UpstreamModel) -> tuple[list[PaintedFile], Done]:
        """The request, the polls after it, and the pictures. What the errors of a provider say is cleaned here."""
        deadline = monotonic() + self._limits.timeout_seconds
        try:
            call = await self._build(order, model)
            step = await self._read(await self._ask(call, deadline), order)
            if isinstance(step, Proceed):
                step = await self._read(await self._ask(step.call, deadline), order)
            if isinstance(step, Again):
                step = await self._poll(step, order, deadline)
            if not isinstance(step, Done):
                raise BackendError(f"The answer of {self._title} names no job to ask for.")
            pictures = zip(step.pictures, order.seeds, strict=False)
            return [await self._file(picture, order, seed, deadline) for picture, seed in pictures], step
        except PinxitError as error:
            raise self._cleaned(error) from error

    async def _build(self, order: PaintOrder, model: UpstreamModel) -> Call:
        """The request, its JSON written; in a thread if there are pictures to be made part of it, which takes long."""
        if order.asked.images or order.asked.mask is not None:
            return await asyncio.to_thread(self._build_now, order, model)
        return self._build_now(order, model)

    def _build_now(self, order: PaintOrder, model: UpstreamModel) -> Call:
        call = self._provider.build_request(order, model)
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

    def _lost(self) -> PinxitError:
        if self.is_repeatable:
            return BackendUnavailable(f"{self._title} gave no answer. Nothing was charged.")
        return OutcomeUnknown(f"{self._title} gave no answer: it may have painted. Nothing was charged.")

    async def _poll(self, step: Again, order: PaintOrder, deadline: float) -> Done:
        """Ask until the job is done. Asking changes nothing, so what fails is asked again."""
        failures, cost_micros = 0, step.cost_micros
        try:
            while failures < MAX_POLL_FAILURES:
                await asyncio.sleep(step.seconds if self._limits.poll_seconds is None else self._limits.poll_seconds)
                if monotonic() >= deadline:
                    break
                after = await self._poll_once(step, order, deadline)
                failures = failures + 1 if after is None else 0
                if isinstance(after, Pending):
                    step = replace(step, seconds=step.seconds if after.seconds is None else after.seconds)
                elif after is not None:
                    cost_micros = cost_micros if after.cost_micros is None else after.cost_micros
                    if isinstance(after, Done):
                        return replace(after, cost_micros=cost_micros)
                    step = after
        except asyncio.CancelledError:
            await self._cancel(step)
            raise
        await self._cancel(step)
        raise self._lost()

    async def _poll_once(self, step: Again, order: PaintOrder, deadline: float) -> Done | Again | Pending | None:
        """What is said of the job. None: nothing, for the poll was lost, or not let in, or there is no such job; what
        became of it is open then.
        """
        try:
            answer = await self._send(step.call, deadline)
        except (NotReached, AnswerLost):
            return None
        if answer.status == 429 or answer.status >= 500:
            return None
        try:
            after = await self._read(answer, order)
        except (BackendUnavailable, InvalidValue):
            if answer.status in NOT_OF_THE_JOB:
                return None
            raise
        if isinstance(after, Proceed):
            raise BackendError(f"The answer of {self._title} belongs to no job.")
        return after

    async def _cancel(self, step: Again) -> None:
        """Tell the provider that nobody wants the job any more; that it does not listen is its own affair."""
        if step.cancel is not None:
            with suppress(NotReached, AnswerLost):
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
        return Answer(received.status, received.headers, received.body, self._provider.base64_keys)

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
        if len(answer.body) <= FEW_BYTES:
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
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BackendError(f"The answer of {self._title} cannot be read ({type(error).__name__}).") from error
        if isinstance(step, Done):
            if not 0 < len(step.pictures) <= len(order.seeds):
                raise BackendError(f"{self._title} sent {len(step.pictures)} pictures instead of {len(order.seeds)}.")
            # Decoded here, in the thread that has the answer: the token of a picture is known to its own answer only.
            return replace(step, pictures=[_decoded(answer, picture) for picture in step.pictures])
        return step

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
        return Received(answer.status, answer.headers, answer.body)

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
        too_much = f"{backend._title} is asked for too much at once. Nothing was charged."
        if backend._slots.locked() and backend._waiting >= backend._limits.max_waiting:
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
        texts = [text for picture in step.pictures for text in (picture.url, picture.base64, picture.revised_prompt)]
        step = replace(
            step,
            input_tokens=_sensible(step.input_tokens) or 0,
            output_tokens=_sensible(step.output_tokens) or 0,
            cost_micros=_sensible(step.cost_micros),
        )
    elif isinstance(step, Again):
        texts = [call.url for call in (step.call, step.cancel) if call is not None]
        step = replace(step, cost_micros=_sensible(step.cost_micros))
    else:
        texts = [step.call.url] if isinstance(step, Proceed) else []
    if not all(isinstance(text, str) for text in texts):
        raise TypeError
    return step


def _sensible(number: object) -> int | None:
    return number if isinstance(number, int) and 0 <= number < MAX_NUMBER else None


def _decoded(answer: Answer, picture: Picture) -> Picture:
    if not picture.base64:
        return picture
    return replace(picture, data=answer.picture(picture.base64), base64="")


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
