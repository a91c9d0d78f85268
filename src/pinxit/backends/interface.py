"""The public interface of a backend: one door for a 0.2 s local picture and a two-minute job far away.

A plugin is a class with these members, named by an entry point in the group `pinxit.backends`:

    [project.entry-points."pinxit.backends"]
    acme = "acme_pinxit:AcmeBackend"

Its module is imported in the API process to read `models()`, so heavy libraries are imported in `open()`, which runs
where the backend paints (for `runs_in = "process"`, in the painter process).
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pinxit.images.pixels import Pixels
from pinxit.images.price import FREE, PriceList
from pinxit.images.request import Encoding, InputPicture
from pinxit.images.size import Size

MAX_SEED = 2**32 - 1
MAX_NEAREST_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Range:
    """What a number may be, both ends included, and what it is when nobody says."""

    minimum: float
    maximum: float
    default: float


@dataclass(frozen=True, slots=True)
class SizeRange:
    """Any width and height from `min_side` to `max_side` that are multiples of `multiple_of`, of at most `max_pixels`
    together.
    """

    min_side: int
    max_side: int
    multiple_of: int = 1
    max_pixels: int | None = None

    def __post_init__(self) -> None:
        if not (1 <= self.min_side <= self.max_side <= 99_999 and self.multiple_of >= 1 and self.sides):
            raise ValueError(f"no side is a multiple of {self.multiple_of} from {self.min_side} to {self.max_side}")
        if not self.has(Size(self.sides[0], self.sides[0])):
            raise ValueError(f"no size has at most {self.max_pixels} pixels")

    @property
    def sides(self) -> range:
        """What a side can be."""
        first = -(-self.min_side // self.multiple_of) * self.multiple_of
        return range(first, self.max_side + 1, self.multiple_of)

    def has(self, size: Size) -> bool:
        """Whether a picture can have this size."""
        is_small = self.max_pixels is None or size.width * size.height <= self.max_pixels
        return is_small and size.width in self.sides and size.height in self.sides

    def __str__(self) -> str:
        """As a refusal says it: `256x256 to 2048x2048 in steps of 16, at most 4194304 pixels`."""
        low, high = self.sides[0], self.sides[-1]
        steps = f" in steps of {self.multiple_of}" if self.multiple_of > 1 else ""
        pixels = f", at most {self.max_pixels} pixels" if self.max_pixels is not None else ""
        return f"{low}x{low} to {high}x{high}{steps}{pixels}"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model can do. A request outside of it is refused with what is here; None means "cannot"."""

    sizes: tuple[Size, ...]
    default_size: Size
    native_size: Size
    aspect_ratios: Mapping[str, Size] = field(default_factory=dict)
    size_range: SizeRange | None = None
    """Sizes beyond those that have names."""
    max_n: int = 10
    qualities: Mapping[str, int] = field(default_factory=dict)
    """Quality name → number of inference steps, of no meaning where `num_inference_steps` is None; `auto` is always
    understood and means `num_inference_steps.default`, or what a model far away thinks best.
    """
    num_inference_steps: Range | None = None
    guidance_scale: Range | None = None
    seed: bool = True
    negative_prompt: bool = False
    styles: tuple[str, ...] = ()
    """Values of `style` that change the picture."""
    encodings: tuple[Encoding, ...] = (Encoding.PNG, Encoding.JPEG, Encoding.WEBP)
    transparent: bool = False
    streaming: bool = False
    edits: bool = False
    """Whether it paints from pictures; `max_images` of them at most."""
    mask: bool = False
    max_images: int = 0
    strength: Range | None = None


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model of a backend as the catalogue shows it. `id` is what a client sends as `model`."""

    id: str
    description: str
    capabilities: Capabilities
    owned_by: str
    licence: str
    created: int
    """Unix seconds of the weights."""
    prices: PriceList = FREE
    """What a picture costs us where it is painted; and its customer, as long as nobody sets another price."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the client said in its own words, for backends that hand it on to others; those that run in a process of
    their own do not see it.
    """

    quality: str = "auto"
    background: str = "auto"
    moderation: str = "auto"
    encoding: Encoding = Encoding.PNG
    compression: int | None = None
    end_user: str | None = None
    """A hash."""
    images: tuple[InputPicture, ...] = ()
    """The files as they came, of any size."""
    mask: InputPicture | None = None
    strength: float | None = None


class Credential(ABC):
    """What a backend far away is to be shown instead of its configured credential, for one order."""

    @property
    @abstractmethod
    def is_own(self) -> bool:
        """Whether it is the account's own: what is painted with it is on that account's bill there."""

    @abstractmethod
    def reveal(self) -> str:
        """The credential itself, to be sent and forgotten. Raises BackendUnavailable if it is there no more."""


@dataclass(frozen=True, slots=True)
class CredentialUse:
    """How a backend far away is let in at its upstream."""

    is_needed: bool
    """Whether it lets nobody in without."""
    is_there: bool
    """Whether the configuration or the environment has one."""
    is_fixed: bool
    """Whether the configuration names it, so that a stored one does not count."""
    may_be_own: bool
    """Whether accounts may give one of their own."""
    variable: str = ""
    """The environment variable that has it by convention."""


@dataclass(frozen=True, slots=True)
class Job:
    """Work far away that goes on without us. `indices`: the order's pictures that come of it; `state`: what its backend
    needs to ask for it later, as JSON without a credential.
    """

    indices: tuple[int, ...]
    upstream_id: str
    state: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PaintOrder:
    """What to paint, nothing left open: one picture per seed. `guidance_scale` is None where the model has none.

    A seed promises the same pixels, painted alone or together with strangers. Raises ValueError if `images`, `mask` and
    `strength` do not fit together.
    """

    model: str
    prompt: str
    size: Size
    seeds: tuple[int, ...]
    num_inference_steps: int
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    style: str | None = None
    transparent: bool = False
    previews: int = 0
    """How many previews to send with the progress of each picture, spread evenly over its steps: each shows what the
    picture looks like so far, best in its size.
    """
    images: tuple[Pixels, ...] = ()
    """Pictures to begin from, each in the order's size; none: from noise."""
    mask: Pixels | None = None
    """Where to paint: mode L in the order's size, 255 paint, 0 keep, between: blend; None: everywhere. Only with
    images: where it says keep, what is painted has the first picture's pixels.
    """
    strength: float | None = None
    """How far from the first picture to go, above 0 to 1; only with images. None where the model has none."""
    asked: Asked = Asked()
    jobs: tuple[Job, ...] = ()
    """Under way since an earlier process: their pictures are asked for there, and only the others are painted."""
    credential: Credential | None = field(default=None, repr=False, compare=False)
    """Only for backends far away; None: the backend's own."""

    def __post_init__(self) -> None:
        pictures = self.images if self.mask is None else (*self.images, self.mask)
        if any((picture.width, picture.height) != (self.size.width, self.size.height) for picture in pictures):
            raise ValueError(f"every picture to begin from, and the mask, is in the order's size, {self.size}")
        if any(picture.mode == "L" for picture in self.images) or (self.mask is not None and self.mask.mode != "L"):
            raise ValueError("a picture to begin from is RGB or RGBA, a mask is L")
        if not self.images and (self.mask is not None or self.strength is not None):
            raise ValueError("a mask and a strength are only for orders with pictures to begin from")
        if self.strength is not None and not 0 < self.strength <= 1:
            raise ValueError(f"strength is above 0 to 1, not {self.strength}")


@dataclass(frozen=True, slots=True)
class Queued:
    """The order waits; `position` orders are before it."""

    position: int


@dataclass(frozen=True, slots=True)
class Familiarity:
    """How near the order's prompt is to what the model has learnt; sent once, if at all. It is information: nothing is
    refused or painted otherwise for it. Raises ValueError for what cannot be shown in a line.
    """

    nearest: str
    """What it knows that is nearest, in a few words."""
    similarity: float
    """From -1 to 1, which is the same; how it is measured is the model's own affair."""
    known: bool
    """Whether that is near enough for the picture to show what was asked for."""

    def __post_init__(self) -> None:
        if not (0 < len(self.nearest) <= MAX_NEAREST_CHARACTERS and self.nearest.isprintable()):
            raise ValueError(f"nearest is a line of 1 to {MAX_NEAREST_CHARACTERS} characters")
        if not -1 <= self.similarity <= 1:
            raise ValueError(f"similarity is from -1 to 1, not {self.similarity}")


@dataclass(frozen=True, slots=True)
class Progress:
    """Picture `index` (0-based) has done `step` of `steps`."""

    index: int
    step: int
    steps: int
    preview: Pixels | None = None


@dataclass(frozen=True, slots=True)
class PaintedImage:
    """Picture `index` is done: `pixels` has the order's size."""

    index: int
    seed: int
    pixels: Pixels


@dataclass(frozen=True, slots=True)
class PaintedFile:
    """Picture `index` is done, as a file that somebody else made: its bytes are kept as they are where that is what was
    asked for, so that marks of origin in it stay valid.
    """

    index: int
    seed: int | None
    """None where the painter does not say."""
    data: bytes = field(repr=False)
    encoding: Encoding
    size: Size
    """What its header says, which may differ from the order's."""
    revised_prompt: str = ""
    is_compressed: bool = False
    """Whether `asked.compression` has been heeded."""
    base64: memoryview | None = field(default=None, repr=False)
    """`data` in base64 as it came, if that is how it is written everywhere: it need not be written anew."""
    sha256: str = ""
    """Of `data`, in hex, where the backend has computed it already."""


@dataclass(frozen=True, slots=True)
class PaintUsage:
    """What the order took, in the model's own tokens; sent once or in parts, before the end. `cost_micros`: what it
    costs us, if the painter says so.
    """

    input_tokens: int
    output_tokens: int
    cost_micros: int | None = None


@dataclass(slots=True)
class JobBegun:
    """A job has begun far away, and is not asked for before this event has been taken.

    Whoever sets `is_kept` has written it down for good and sees to its end: from then on closing the generator leaves
    the job under way, to be asked for by `PaintOrder.jobs` or ended by `Backend.give_up`.
    """

    job: Job
    is_kept: bool = False


PaintEvent = Queued | Familiarity | Progress | PaintedImage | PaintedFile | PaintUsage | JobBegun


class Backend(ABC):
    """Paints the models it lists."""

    name: ClassVar[str]
    runs_in: ClassVar[Literal["process", "inline"]] = "process"
    is_repeatable: ClassVar[bool] = True
    """Whether painting an order a second time costs nothing but time. Where it costs more, an order whose answer was
    lost is never sent again: its outcome is unknown, and its customer pays nothing.
    """
    is_remote: ClassVar[bool] = False
    """Whether it paints far away: then it is left alone for a while after it has failed repeatedly."""
    credential_use: CredentialUse | None = None
    """None: it needs no credential, and heeds none."""

    @abstractmethod
    def models(self) -> Sequence[ModelSpec]:
        """The models, without loading any. Called in the API process: quick, no heavy import."""

    def check(self) -> None:
        """Look whether what the backend needs is there, without loading it (files, their sizes).

        Raises StartupError, saying in one sentence what is wrong and what to do.
        """
        return

    @abstractmethod
    async def open(self) -> None:
        """Load what painting needs. Raises StartupError, saying in one sentence what is wrong and what to do."""

    @abstractmethod
    def generate(self, order: PaintOrder) -> AsyncGenerator[PaintEvent, None]:
        """Paint the order. Several orders may be under way at once. Closing the generator cancels between two steps.

        Raises:
            ContentPolicyViolation: the model refuses the prompt.
            InvalidValue: it cannot do this order, which its capabilities did not tell.
            BackendUnavailable: it surely did no work; BackendBusy: because it has too much.
            BackendError: it did, and the result is unusable; OutcomeUnknown: it may have, the answer was lost.
        """

    async def give_up(self, jobs: Sequence[Job], credential: Credential | None = None) -> None:
        """Tell those who paint them that nobody wants these jobs any more, as whoever ordered them; None: the backend's
        own credential. Whether they listen is their own affair.
        """
        return

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; orders under way are cancelled."""
