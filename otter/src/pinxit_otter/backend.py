"""otter-1 as a backend of Pinxit. onnxruntime, numpy and Pillow are imported in `open()`, not before."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pinxit.backends.interface import Backend, ModelSpec, PaintedImage, PaintEvent, PaintOrder, Queued
from pinxit.errors import BackendUnavailable, PinxitError, StartupError
from pinxit_otter.manifest import KNOWN, WEIGHTS, Manifest
from pinxit_otter.spec import OTTER_1

if TYPE_CHECKING:
    from pinxit_otter.painter import Message, Painter

_log = logging.getLogger(__name__)


class OtterBackend(Backend):
    """Paints with the weights in the package, all orders of the process together.

    Previews have the order's size, as its pictures have. `style` adds the words that the training captions used; a
    style the model does not know changes nothing. Usage counts the word pieces that were read of the prompt and its
    style words (at most 18), and 64 latent tokens for each picture. Each order is told how near its prompt is to what
    the model knows.

    Memory: an order has at most two painted pictures waiting for its caller, beside its progress events.
    """

    name: ClassVar[str] = "otter"
    runs_in: ClassVar[Literal["process", "inline"]] = "process"

    def __init__(self, weights: Path = WEIGHTS, *, threads: int | None = None, max_batch: int | None = None) -> None:
        """`threads` and `max_batch` of None mean: as many as there are cores, and as many as are proven harmless."""
        self._weights = weights
        self._threads = threads
        self._max_batch = max_batch
        self._painter: Painter | None = None

    def models(self) -> Sequence[ModelSpec]:
        return (OTTER_1,)

    def check(self) -> None:
        Manifest.read(self._weights).check_sizes()

    async def open(self) -> None:
        if self._painter is None:
            painter = await asyncio.to_thread(self._load)
            painter.start()
            self._painter = painter

    def _load(self) -> "Painter":
        files = Manifest.read(self._weights)
        files.check_sizes()
        try:
            from pinxit_otter.familiarity import KnownCaptions
            from pinxit_otter.network import MAX_BATCH, Network
            from pinxit_otter.painter import Painter

            network = Network(files, self._threads)
            known = KnownCaptions.read(files.read_verified(KNOWN), network.word_pieces)
            proven = network.prove_batch_size(min(MAX_BATCH, self._max_batch or MAX_BATCH))
        except StartupError:
            raise
        except Exception as error:
            raise StartupError(
                f"The model otter-1 cannot be loaded ({type(error).__name__}: {error}); install Pinxit again."
            ) from error
        _log.info("otter-1 paints up to %d pictures at once on %d threads", proven, network.threads)
        return Painter(network, proven, known)

    async def generate(self, order: PaintOrder) -> AsyncGenerator[PaintEvent, None]:
        painter = self._painter
        if painter is None:
            raise BackendUnavailable
        loop = asyncio.get_running_loop()
        messages: asyncio.Queue[Message] = asyncio.Queue()

        def deliver(message: "Message") -> None:
            loop.call_soon_threadsafe(messages.put_nowait, message)

        work, before = painter.submit(order, deliver)
        try:
            if before:
                yield Queued(before)
            while (message := await messages.get()) is not None:
                if isinstance(message, PinxitError):
                    raise message
                yield message
                if isinstance(message, PaintedImage):
                    painter.taken(work)
        finally:
            painter.cancel(work)

    async def close(self) -> None:
        painter, self._painter = self._painter, None
        if painter is not None:
            await asyncio.to_thread(painter.close)
