"""What a provider's file says: how an order is written as a request, and how answers are read. No I/O.

    class Acme(Provider):
        name = "acme"
        ...
        def build_request(self, order): return Call("POST", "/v1/paint", json={...})
        def read_response(self, answer, order): return Done([Picture.of_url(answer.json["url"])])

`_base.py` sends, polls, downloads, keeps deadlines and translates what went wrong. All methods here are pure: they are
called in worker threads and may take their time, but must not wait for anything.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from math import log
from typing import Any, ClassVar, Self

import pybase64

from pinxit.backends.interface import ModelSpec, PaintOrder
from pinxit.backends.upstream._answers import Answer
from pinxit.errors import (
    BackendBusy,
    BackendError,
    BackendUnavailable,
    ConfigurationError,
    ContentPolicyViolation,
    InvalidValue,
    OutcomeUnknown,
    PinxitError,
)
from pinxit.images.decoding import decode_mask
from pinxit.images.encoding import encode
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding, InputPicture
from pinxit.images.size import Size
from pinxit.network.pooled import Part

__all__ = [
    "Access",
    "Again",
    "Answer",
    "Call",
    "Done",
    "Part",
    "Partial",
    "Pending",
    "Picture",
    "Proceed",
    "Provider",
    "Step",
    "UpstreamModel",
    "cost_of",
    "data_url",
    "error_of_status",
    "file_part",
    "mask_part",
    "media_type",
    "micros",
    "nearest_ratio",
    "price_by_megapixel",
    "refusal",
    "retry_after",
    "seed_field",
    "seed_within",
]

DOUBTFUL = frozenset({408, 502, 504, 520, 521, 522, 523, 524})
"""A gateway says that it has lost the answer: what is behind it may have painted."""
MAX_RETRY_AFTER_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class UpstreamModel:
    """One model of a provider. `per_call`: how many pictures one request may ask for."""

    spec: ModelSpec
    per_call: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What its file wants to know of it beyond."""


@dataclass(frozen=True, slots=True)
class Access:
    """How the operator reaches the provider. `options`: the provider's own, checked by its file."""

    base_url: str
    credential: str = field(default="", repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request. `url`: a path below the base URL, or a whole URL on the same host.

    The body is `json`, or the multipart `form`, or `content`.
    """

    method: str
    url: str
    json: Any = None
    form: tuple[Part, ...] = ()
    content: bytes = field(default=b"", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Picture:
    """One painted picture: its bytes, its base64 text (or data URL) out of `Answer.json`, or its URL."""

    data: bytes = field(default=b"", repr=False)
    base64: str = field(default="", repr=False)
    url: str = ""
    seed: int | None = None
    """None where the provider does not say which it used."""
    revised_prompt: str = ""
    source: memoryview | None = field(default=None, repr=False)
    """The base64 that `data` was decoded from, if it is written as everybody writes it; not for providers."""
    sha256: str = ""
    """Of `data`, where it has been computed; not for providers."""


@dataclass(frozen=True, slots=True)
class Done:
    """All pictures of the request, in order. `cost_micros`: of all of them, where the answer says it."""

    pictures: Sequence[Picture]
    input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int | None = None


@dataclass(frozen=True, slots=True)
class Proceed:
    """What was sent has prepared the way, a picture that was uploaded for example: now `call` paints."""

    call: Call


@dataclass(frozen=True, slots=True)
class Again:
    """A job is under way: ask for it by `call` after `seconds`. `cancel`: how it is given up."""

    call: Call
    upstream_id: str
    seconds: float = 1.0
    cancel: Call | None = None
    progress: float = 0.0
    """0 to 1, where the provider says."""
    cost_micros: int | None = None
    """Of the whole job, where this answer says it and the last one does not."""


@dataclass(frozen=True, slots=True)
class Pending:
    """The job that was asked for is still under way: ask for it as before, after `seconds` (None: as before, too)."""

    seconds: float | None = None
    progress: float = 0.0
    """0 to 1, where the provider says."""


Step = Done | Proceed | Again | Pending


@dataclass(frozen=True, slots=True)
class Partial:
    """What the picture looks like so far."""

    picture: Picture


class Provider(ABC):
    """One kind of upstream. A new instance is made for each entry under `providers`."""

    name: ClassVar[str]
    title: ClassVar[str]
    """Its own name, as it writes it."""
    documentation: ClassVar[Sequence[str]]
    """The pages it is written from and when they were read: "https://… (2026-11-22)"."""
    base_url: ClassVar[str] = ""
    """Where its API is; empty: the operator has to say."""
    credential_variable: ClassVar[str] = ""
    """The environment variable that holds the credential by convention; empty: it needs none."""
    models: ClassVar[Sequence[UpstreamModel]] = ()
    base64_keys: ClassVar[tuple[str, ...]] = ()
    """The names in its JSON whose values are pictures in base64."""
    applies_compression: ClassVar[bool] = False
    """Whether its pictures have the `asked.encoding` and `asked.compression` already."""
    own_hosts: ClassVar[tuple[str, ...]] = ()
    """Domains that its credential may be sent to besides the base URL's host, over https: for jobs kept elsewhere."""
    has_jobs: ClassVar[bool] = False
    """Whether it takes jobs that are asked for: they outlive this process."""
    free_call: ClassVar[Call | None] = None
    """A request that costs nothing and is answered below 400 only to who may paint; None: there is none."""
    option_names: ClassVar[frozenset[str]] = frozenset()
    """What may stand under `options` in the configuration."""

    def __init__(self, access: Access) -> None:
        """Raises ConfigurationError, saying in one sentence what is wrong with `access`."""
        self.access = access
        self._offered: Sequence[UpstreamModel] | None = None
        unknown = sorted(set(access.options) - self.option_names)
        if unknown:
            there = ", ".join(sorted(self.option_names)) or "none"
            raise ConfigurationError(f"{self.name} has no option {unknown[0]!r}. There are: {there}.")

    def let_in_by(self, credential: str) -> Self:
        """The same provider, shown another credential."""
        other = copy(self)
        other.access = replace(self.access, credential=credential)
        return other

    def list_models(self) -> Sequence[UpstreamModel]:
        """The models it has as it is configured."""
        return self.models if self._offered is None else self._offered

    def offer(self, models: Sequence[UpstreamModel]) -> None:
        """Have these instead of those that the file knows."""
        self._offered = models

    def authorise(self) -> Mapping[str, str]:
        """The headers that carry the credential, sent with every call."""
        return {"authorization": f"Bearer {self.access.credential}"} if self.access.credential else {}

    @abstractmethod
    def build_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        """The request for all pictures of `order` (at most `model.per_call`).

        Raises InvalidValue, naming the parameter, if it cannot be written.
        """

    @abstractmethod
    def read_response(self, answer: Answer, order: PaintOrder) -> Step:
        """Read an answer below 400: to the request, or to a poll. A job that has failed is an error to raise.

        A KeyError, IndexError, TypeError or ValueError means that the answer cannot be read.

        Raises:
            ContentPolicyViolation: the prompt, or what was painted, is refused.
            BackendUnavailable: it surely did no work that is paid.
            BackendError: it did, or says nothing that can be read.
        """

    def stream_request(self, order: PaintOrder, model: UpstreamModel) -> Call:
        """The request for one picture that is to be shown `order.previews` times on its way: its answer is a stream of
        server-sent events, or what `read_response` reads. Overridden where models have the capability `streaming`.
        """
        return self.build_request(order, model)

    def read_event(self, event: Answer, order: PaintOrder) -> Partial | Done | None:
        """Read the data of one event; None: it is of no interest. Raises what the event says went wrong.

        A KeyError, IndexError, TypeError or ValueError means that it cannot be read; it is passed over then.
        """
        return None

    def read_error(self, answer: Answer, order: PaintOrder) -> PinxitError:
        """Read an answer of 400 and above. Overridden where the provider says more than the status does."""
        return error_of_status(self.title, answer)


def error_of_status(title: str, answer: Answer) -> PinxitError:
    """What a status means where the provider's documentation says nothing else (RFC 9110 §15)."""
    status, said = answer.status, answer.message()
    tail = f": {said}" if said else "."
    if status in (401, 403):
        return BackendUnavailable(f"{title} does not accept this server's credential. Nothing was charged.")
    if status == 402:
        return BackendUnavailable(f"This server's account at {title} is out of credit. Nothing was charged.")
    if status == 429:
        return BackendBusy(f"{title} has too much to do. Nothing was charged.", retry_after_seconds=retry_after(answer))
    if status in DOUBTFUL:
        return OutcomeUnknown(f"{title} has lost the answer (status {status}). Nothing was charged.")
    if status >= 500:
        return BackendUnavailable(f"{title} is not there (status {status}). Nothing was charged.")
    if status in (400, 404, 405, 413, 415, 422):
        return InvalidValue(f"{title} does not accept this order{tail}")
    return BackendError(f"{title} answered with status {status}{tail}")


def retry_after(answer: Answer, default: float = 2.0) -> float:
    """Seconds, from `retry-after-ms` or `Retry-After`; a date there is not read."""
    try:
        if "retry-after-ms" in answer.headers:
            seconds = float(answer.headers["retry-after-ms"]) / 1000
        else:
            seconds = float(answer.headers["retry-after"])
    except (KeyError, ValueError):
        return default
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS) if seconds == seconds else default


def refusal(title: str, said: str = "", *, stage: str = "input", categories: Sequence[str] = ()) -> PinxitError:
    """The order is refused by the provider's policy. `stage`: input (the prompt) or output (what was painted)."""
    tail = f": {said}" if said else "."
    message = f"{title} refuses this order by its content policy{tail}"
    return ContentPolicyViolation(message, stage=stage, categories=categories)


def micros(usd: float | str) -> int:
    """US dollars as published, in micro-dollars."""
    return round(float(usd) * 1_000_000)


def cost_of(said: Any, unit_micros: int) -> int | None:
    """What an answer says that the work cost, in micro-dollars; None where it says nothing that is a number."""
    try:
        return round(float(said) * unit_micros)
    except (TypeError, ValueError, OverflowError):
        return None


def price_by_megapixel(first: str, further: str) -> PriceList:
    """Prices in US dollars of the first megapixel and of each further one begun."""
    return PriceList((PriceRule(micros(first), further_micros=micros(further)),))


def nearest_ratio(size: Size, ratios: Mapping[str, Size]) -> str:
    """The ratio whose size has the most similar shape."""
    shape = log(size.width / size.height)
    return min(ratios, key=lambda ratio: abs(log(ratios[ratio].width / ratios[ratio].height) - shape))


def seed_field(name: str, order: PaintOrder, model: UpstreamModel, largest: int | None = None) -> dict[str, int]:
    """The field with the seed, if the model takes one; `largest`: that the provider takes, if that is not ours."""
    if not model.spec.capabilities.seed:
        return {}
    return {name: order.seeds[0] if largest is None else seed_within(order.seeds[0], 0, largest)}


def seed_within(seed: int, minimum: int, maximum: int) -> int:
    """The seed if the provider takes it, or one that it takes instead, always the same for the same seed."""
    return seed if minimum <= seed <= maximum else minimum + seed % (maximum - minimum + 1)


def media_type(data: bytes) -> str:
    """Of a PNG, JPEG or WebP file that has been looked at before."""
    return (
        "image/png" if data.startswith(b"\x89PNG") else "image/jpeg" if data.startswith(b"\xff\xd8") else "image/webp"
    )


def file_part(name: str, data: bytes) -> Part:
    """A picture as a file of a form."""
    kind = media_type(data)
    return Part(name, data, f"image.{kind.removeprefix('image/')}", kind)


def mask_part(mask: InputPicture, size: Size, *, is_painted_white: bool = True) -> Part:
    """A mask in black and white, in the size of the picture it is for, as a file of a form."""
    pixels = decode_mask(mask, size)
    painted, kept = (255, 0) if is_painted_white else (0, 255)
    table = bytes(painted if value >= 128 else kept for value in range(256))
    return file_part("mask", encode(replace(pixels, data=pixels.data.translate(table)), Encoding.PNG))


def data_url(data: bytes) -> str:
    """A picture as a data URL, for JSON."""
    return f"data:{media_type(data)};base64,{pybase64.b64encode(data).decode()}"
