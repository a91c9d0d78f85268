"""A backend that paints plain gradients at once, and misbehaves on demand."""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pinxit.backends.interface import (
    Backend,
    Capabilities,
    Familiarity,
    ModelSpec,
    PaintedImage,
    PaintEvent,
    PaintOrder,
    PaintUsage,
    Progress,
    Queued,
    Range,
)
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation, StartupError
from pinxit.images.pixels import Mode, Pixels
from pinxit.images.size import Size

_DEFAULT_STRENGTH = 0.7

SIZES = tuple(Size.parse(text) for text in ("256x256", "512x512", "1024x1024", "1024x1536", "1536x1024"))

FAKE_1 = ModelSpec(
    id="fake-1",
    description="Gradients whose colours come from the order: for tests.",
    capabilities=Capabilities(
        sizes=SIZES,
        default_size=Size(1024, 1024),
        native_size=Size(256, 256),
        aspect_ratios={"1:1": Size(1024, 1024), "2:3": Size(1024, 1536), "3:2": Size(1536, 1024)},
        max_n=10,
        qualities={"low": 2, "medium": 4, "high": 8},
        num_inference_steps=Range(1, 50, 4),
        guidance_scale=Range(1.0, 20.0, 3.0),
        negative_prompt=True,
        styles=("vivid", "natural"),
        transparent=True,
        streaming=True,
        edits=True,
        mask=True,
        max_images=4,
        strength=Range(0.01, 1.0, _DEFAULT_STRENGTH),
    ),
    owned_by="pinxit",
    licence="Apache-2.0",
    created=1_750_000_000,
)

Failure = Callable[[PaintOrder], Exception | None]


class FakeBackend(Backend):
    """Paints the model `fake-1`: every size up to 1536x1024, transparency, previews, negative prompts, two styles,
    edits with masks.

    Args:
        open_error: the sentence of the StartupError that open() raises; empty: it opens.
        failure: asked for each order which error to raise, at the end of step `failure_step` of the first picture.
        gates: step → event: every picture waits for the event before it does that step (1-based).
        step_delay_seconds: how long a step takes.
        familiarity: asked for each order what to tell of how near its prompt is.
    """

    name: ClassVar[str] = "fake"
    runs_in: ClassVar[Literal["process", "inline"]] = "inline"

    def __init__(
        self,
        *,
        open_error: str = "",
        failure: Failure | None = None,
        failure_step: int = 1,
        gates: Mapping[int, asyncio.Event] | None = None,
        step_delay_seconds: float = 0.0,
        familiarity: Callable[[PaintOrder], Familiarity] | None = None,
    ) -> None:
        self.open_error = open_error
        self.failure = failure
        self.failure_step = failure_step
        self.gates = dict(gates or {})
        self.step_delay_seconds = step_delay_seconds
        self.familiarity = familiarity
        self.is_open = False
        self.orders: list[PaintOrder] = []
        """Every order it was given."""
        self.active = 0
        """How many orders are being painted."""

    def models(self) -> Sequence[ModelSpec]:
        return [FAKE_1]

    async def open(self) -> None:
        if self.open_error:
            raise StartupError(self.open_error)
        self.is_open = True

    async def generate(self, order: PaintOrder) -> AsyncGenerator[PaintEvent, None]:
        if not self.is_open:
            raise BackendUnavailable
        self.orders.append(order)
        self.active += 1
        try:
            yield Queued(self.active - 1)
            if self.familiarity is not None:
                yield self.familiarity(order)
            for index, seed in enumerate(order.seeds):
                picture = paint(order, seed)
                for step in range(1, order.num_inference_steps + 1):
                    await self.do_step(order, step)
                    yield Progress(index, step, order.num_inference_steps, self._preview(order, seed, step))
                yield PaintedImage(index, seed, picture)
            yield PaintUsage(len(order.prompt.split()), len(order.seeds) * order.num_inference_steps)
        finally:
            self.active -= 1

    async def do_step(self, order: PaintOrder, step: int) -> None:
        """One step of one picture, 1-based. Raises BackendUnavailable once the backend is closed."""
        if step in self.gates:
            await self.gates[step].wait()
        await asyncio.sleep(self.step_delay_seconds)
        if not self.is_open:
            raise BackendUnavailable
        if self.failure is not None and step == self.failure_step:
            error = self.failure(order)
            if error is not None:
                raise error

    async def close(self) -> None:
        self.is_open = False
        for gate in self.gates.values():
            gate.set()

    def _preview(self, order: PaintOrder, seed: int, step: int) -> Pixels | None:
        if step not in preview_steps(order):
            return None
        return gradient(Size(64, 64), "RGB", _colours(order, seed))


class FakeProcessBackend(FakeBackend):
    """A FakeBackend that is told by environment variables how to misbehave, for a painter process.

    The last three name a file: each makes step 2 misbehave while the file is there.

    PINXIT_TEST_FAKE_OPEN_ERROR  the sentence of open()'s StartupError
    PINXIT_TEST_FAKE_FAILURE     refused, unavailable, unusable or bug: how every order fails
    PINXIT_TEST_FAKE_HOLD        the step waits until the file is gone
    PINXIT_TEST_FAKE_CRASH       the process removes the file and kills itself
    PINXIT_TEST_FAKE_HANG        the process removes the file and blocks its event loop for ever
    """

    runs_in = "process"

    def __init__(self) -> None:
        failure = os.environ.get("PINXIT_TEST_FAKE_FAILURE")
        super().__init__(
            open_error=os.environ.get("PINXIT_TEST_FAKE_OPEN_ERROR", ""),
            failure=(lambda _: FAILURES[failure]()) if failure else None,
        )
        self._hold = _file("PINXIT_TEST_FAKE_HOLD")
        self._crash = _file("PINXIT_TEST_FAKE_CRASH")
        self._hang = _file("PINXIT_TEST_FAKE_HANG")

    async def do_step(self, order: PaintOrder, step: int) -> None:
        await super().do_step(order, step)
        if step != 2:
            return
        while self._hold and self._hold.exists():  # noqa: ASYNC110 - a file has no event to wait for
            await asyncio.sleep(0.005)
        if self._crash and self._crash.exists():
            self._crash.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        if self._hang and self._hang.exists():
            self._hang.unlink()
            while True:
                time.sleep(3600)  # noqa: ASYNC251 - to block the event loop is the point


FAILURES: Mapping[str, Callable[[], Exception]] = {
    "refused": lambda: ContentPolicyViolation("Not this.", stage="model", categories=["violence"]),
    "unavailable": lambda: BackendUnavailable("Not now.", retry_after_seconds=7.0),
    "unusable": lambda: BackendError("The picture is all black."),
    "bug": lambda: ZeroDivisionError("about: a prompt"),
}
"""What PINXIT_TEST_FAKE_FAILURE can name."""


def paint(order: PaintOrder, seed: int) -> Pixels:
    """The picture that `fake-1` paints: from the order and this seed alone.

    An edit is the first picture with so much of the gradient over it as `strength` says, where the mask lets it.
    """
    painted = gradient(order.size, "RGBA" if order.transparent else "RGB", _colours(order, seed))
    return edit(order, painted) if order.images else painted


def edit(order: PaintOrder, painted: Pixels) -> Pixels:
    """`painted` over the first picture of the order, as strongly as it says and where its mask lets it."""
    from PIL import Image  # here, not above: models() is asked without loading anything heavy

    def image_of(pixels: Pixels) -> Image.Image:
        return Image.frombytes(pixels.mode, (pixels.width, pixels.height), pixels.data)

    first = image_of(order.images[0])
    if first.mode == "RGBA" and painted.mode == "RGB":
        first = Image.alpha_composite(Image.new("RGBA", first.size, "white"), first)
    first = first.convert(painted.mode)
    strength = _DEFAULT_STRENGTH if order.strength is None else order.strength
    blended = Image.blend(first, image_of(painted), strength)
    if order.mask is not None:
        blended = Image.composite(blended, first, image_of(order.mask))
    return Pixels(painted.width, painted.height, painted.mode, blended.tobytes())


def gradient(size: Size, mode: Mode, colours: bytes) -> Pixels:
    """A vertical gradient between two colours of four bytes each."""
    channels = len(mode)
    top, bottom = colours[:channels], colours[4 : 4 + channels]
    last = max(size.height - 1, 1)
    rows = (
        bytes(a + (b - a) * y // last for a, b in zip(top, bottom, strict=True)) * size.width
        for y in range(size.height)
    )
    return Pixels(size.width, size.height, mode, b"".join(rows))


def preview_steps(order: PaintOrder) -> set[int]:
    """The steps that carry a preview: `order.previews` of them, spread evenly, none at the last."""
    wanted = min(order.previews, order.num_inference_steps - 1)
    return {(number * order.num_inference_steps) // (wanted + 1) for number in range(1, wanted + 1)}


def _colours(order: PaintOrder, seed: int) -> bytes:
    words = (order.model, order.prompt, order.negative_prompt, order.style, order.num_inference_steps)
    others = [hashlib.sha256(image.data).hexdigest() for image in order.images[1:]]
    return hashlib.sha256(repr((*words, order.guidance_scale, seed, *others)).encode()).digest()


def _file(variable: str) -> Path | None:
    name = os.environ.get(variable)
    return Path(name) if name else None
