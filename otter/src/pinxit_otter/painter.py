"""The painter: one thread that takes all orders' pictures through their steps together.

Before each step it looks who is there: pictures of new orders join, pictures of cancelled orders have left. Up to
`max_batch` pictures are on the easel at once, each at its own time. A free place goes to the orders in turn, one
picture each, first come first served, so that an order of ten does not keep an order of one waiting for all its ten.
"""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import numpy as np

from pinxit.backends.interface import PaintedImage, PaintEvent, PaintOrder, PaintUsage, Progress
from pinxit.errors import BackendError, BackendUnavailable, PinxitError
from pinxit.images.pixels import Pixels
from pinxit_otter.beginning import Beginning, begin
from pinxit_otter.enlarge import enlarge
from pinxit_otter.familiarity import KnownCaptions
from pinxit_otter.network import Network, StepInput, Text
from pinxit_otter.sampler import Latents, noise, preview_steps, steps_from, time_at
from pinxit_otter.spec import DEFAULT_STYLE, LATENT_TOKENS, OTTER_1, STYLE_WORDS

MAX_UNTAKEN = 2
"""So many painted pictures wait for a slow caller; more stay latents (8 KiB) until he has taken one."""

_KEPT_TEXTS = 256

_log = logging.getLogger(__name__)

Message = PaintEvent | PinxitError | None
"""What an order's owner hears: events, or the error that ended it, or None when all is done."""


@dataclass(eq=False, slots=True)
class Work:
    """An order in the painter's hands."""

    order: PaintOrder
    deliver: Callable[[Message], None]
    sentence: tuple[int, ...]
    unwanted_sentence: tuple[int, ...] | None
    input_tokens: int
    """Word pieces of what the caller said."""
    guidance: float
    start: float
    """The time at which its pictures begin: 1, or the strength of an edit."""
    steps: int
    """From there to the end."""
    previews_after: frozenset[int]
    unstarted: deque[int]
    unpainted: int
    untaken: int = 0
    texts: tuple[Text, Text] | None = None
    beginning: Beginning | None = None
    """Of an edit, once its first picture has begun."""


@dataclass(eq=False, slots=True)
class Picture:
    """One picture on its way, `done` of its `steps` behind it."""

    work: Work
    index: int
    latents: Latents | None = None
    done: int = 0

    @property
    def time(self) -> float:
        return time_at(self.done, self.work.steps, self.work.start)

    @property
    def noise(self) -> Latents:
        return noise(self.work.order.seeds[self.index])


class Painter:
    """Paints in a thread of its own from `start` to `close`.

    `submit`, `cancel` and `taken` may be called in any thread.
    """

    def __init__(self, network: Network, max_batch: int, known: KnownCaptions | None = None) -> None:
        """`known`: by which each order is told how near its prompt is; None: it is not told."""
        self.max_batch = max_batch
        self._network = network
        self._known = known
        self._texts: OrderedDict[tuple[int, ...], Text] = OrderedDict()
        self._wake = threading.Condition()
        self._closing = False
        self._orders: dict[Work, None] = {}
        self._turns: deque[Work] = deque()
        self._easel: list[Picture] = []
        self._finished: list[Picture] = []
        self._thread = threading.Thread(target=self._run, name="otter-painter", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop after the step under way; orders still here end with BackendUnavailable.

        Blocks until the thread is gone.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    @property
    def orders_in_hand(self) -> int:
        """Orders taken on that have neither ended nor been cancelled."""
        return len(self._orders)

    def submit(self, order: PaintOrder, deliver: Callable[[Message], None]) -> tuple[Work, int]:
        """Take on an order, which has at least one seed.

        Returns it, and how many orders are before it, or 0 if it need not wait. `deliver` is called in the painter's
        thread and must not block. Raises BackendUnavailable while closing.
        """
        work = self._read(order, deliver)
        with self._wake:
            if self._closing:
                raise BackendUnavailable
            before = 0 if len(self._easel) < self.max_batch and not self._turns else len(self._orders)
            self._orders[work] = None
            self._turns.append(work)
            self._wake.notify()
        return work, before

    def cancel(self, work: Work) -> None:
        """Forget an order; a step under way is its last. Does nothing if it has ended."""
        with self._wake:
            self._forget(work)
            self._wake.notify()

    def taken(self, work: Work) -> None:
        """The caller has taken one of the order's painted pictures away."""
        with self._wake:
            work.untaken -= 1
            self._wake.notify()

    def _read(self, order: PaintOrder, deliver: Callable[[Message], None]) -> Work:
        pieces = self._network.word_pieces
        can = OTTER_1.capabilities
        assert can.guidance_scale is not None
        assert can.strength is not None
        strength = can.strength.default if order.strength is None else order.strength
        start = strength if order.images else 1.0
        steps = steps_from(start, order.num_inference_steps)
        return Work(
            order=order,
            deliver=deliver,
            sentence=pieces.sentence(order.prompt, STYLE_WORDS.get(_style_of(order), "")),
            unwanted_sentence=pieces.sentence(order.negative_prompt) if order.negative_prompt else None,
            input_tokens=len(pieces.sentence(order.prompt, STYLE_WORDS.get(order.style or "", ""))) - 2,
            guidance=can.guidance_scale.default if order.guidance_scale is None else order.guidance_scale,
            start=start,
            steps=steps,
            previews_after=preview_steps(order.previews, steps),
            unstarted=deque(range(len(order.seeds))),
            unpainted=len(order.seeds),
        )

    # What follows runs in the painter's thread.

    def _run(self) -> None:
        try:
            self._paint_until_closed()
        finally:
            with self._wake:
                self._closing = True
            for work in list(self._orders):
                self._end(work, BackendUnavailable())

    def _paint_until_closed(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._closing or self._turns or self._easel or self._takeable())
                if self._closing:
                    return
                self._fill_easel()
                easel, finished = list(self._easel), self._take_finished()
            for picture in easel:
                if picture.latents is None:
                    with self._answering_for([picture.work]):
                        self._begin(picture)
            begun = [picture for picture in easel if picture.latents is not None]
            if begun:
                with self._answering_for({picture.work for picture in begun}):
                    self._step(begun)
            for picture in finished:
                with self._answering_for([picture.work]):
                    self._finish(picture)

    def _fill_easel(self) -> None:
        """Give free places to the orders in turn."""
        while self._turns and len(self._easel) < self.max_batch:
            work = self._turns.popleft()
            self._easel.append(Picture(work, work.unstarted.popleft()))
            if work.unstarted:
                self._turns.append(work)

    def _begin(self, picture: Picture) -> None:
        work = picture.work
        if work.texts is None:
            unwanted = work.unwanted_sentence
            work.texts = (
                self._text(work.sentence),
                self._network.null_text if unwanted is None else self._text(unwanted),
            )
            if self._known is not None:
                plain = self._network.word_pieces.sentence(work.order.prompt)  # without the words of its style
                work.deliver(self._known.judge(plain, self._text(plain)))
        if work.order.images and work.beginning is None:
            work.beginning = begin(work.order, self._network.encode_picture)
        picture.latents = picture.noise if work.beginning is None else work.beginning.at(work.start, picture.noise)

    def _text(self, sentence: tuple[int, ...]) -> Text:
        text = self._texts.pop(sentence, None) or self._network.encode(sentence)
        self._texts[sentence] = text
        if len(self._texts) > _KEPT_TEXTS:
            self._texts.popitem(last=False)
        return text

    def _step(self, batch: Sequence[Picture]) -> None:
        previewed = [picture.done + 1 in picture.work.previews_after for picture in batch]
        after, ends = self._network.step([_step_input(picture) for picture in batch], ends=any(previewed))
        for place, picture in enumerate(batch):
            picture.done += 1
            picture.latents = _held(picture, after[place], picture.time)
            preview = None
            if ends is not None and previewed[place]:
                preview = self._show(picture.work, _held(picture, ends[place], 0.0))
            picture.work.deliver(Progress(picture.index, picture.done, picture.work.steps, preview))
        with self._wake:
            done = [picture for picture in self._easel if picture.done == picture.work.steps]
            self._easel = [picture for picture in self._easel if picture not in done]
            self._finished += done

    def _takeable(self) -> bool:
        return any(picture.work.untaken < MAX_UNTAKEN for picture in self._finished)

    def _take_finished(self) -> list[Picture]:
        taken = []
        for picture in self._finished:
            if picture.work.untaken < MAX_UNTAKEN:
                picture.work.untaken += 1
                taken.append(picture)
        self._finished = [picture for picture in self._finished if picture not in taken]
        return taken

    def _finish(self, picture: Picture) -> None:
        """Decode, enlarge, hand over; with its last picture the order ends."""
        work = picture.work
        if work not in self._orders:
            return
        if picture.latents is None or not np.isfinite(picture.latents).all():
            raise BackendError
        pixels = self._show(work, picture.latents)
        work.deliver(PaintedImage(picture.index, work.order.seeds[picture.index], pixels))
        work.unpainted -= 1
        if work.unpainted == 0:
            work.deliver(PaintUsage(work.input_tokens, LATENT_TOKENS * len(work.order.seeds)))
            self._end(work, None)

    def _show(self, work: Work, latents: Latents) -> Pixels:
        """The latents as a picture in the order's size."""
        pixels = enlarge(self._network.decode(latents), work.order.size, transparent=work.order.transparent)
        return pixels if work.beginning is None else work.beginning.put_back(pixels)

    @contextmanager
    def _answering_for(self, works: Iterable[Work]) -> Iterator[None]:
        """Whatever goes wrong inside ends these orders, and not the thread."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - the boundary of an order's work: reported, and the order ends
            _log.exception("otter-1 could not paint")
            for work in works:
                self._end(work, error if isinstance(error, PinxitError) else BackendError())

    def _end(self, work: Work, last: PinxitError | None) -> None:
        with self._wake:
            self._forget(work)
        with suppress(RuntimeError):  # the owner's event loop is gone
            work.deliver(last)

    def _forget(self, work: Work) -> None:
        """Leave nothing of the order behind. The lock is held."""
        self._orders.pop(work, None)
        if work in self._turns:
            self._turns.remove(work)
        self._easel = [picture for picture in self._easel if picture.work is not work]
        self._finished = [picture for picture in self._finished if picture.work is not work]


def _style_of(order: PaintOrder) -> str:
    """An edit without one keeps to the manner of its picture."""
    if order.style is not None and order.style in STYLE_WORDS:
        return order.style
    return "" if order.images or "style" in order.prompt.lower() else DEFAULT_STYLE


def _held(picture: Picture, painted: Latents, time: float) -> Latents:
    """What was painted, without the positions that a mask keeps."""
    beginning = picture.work.beginning
    return painted if beginning is None else beginning.kept_at(time, picture.noise, painted)


def _step_input(picture: Picture) -> StepInput:
    work = picture.work
    assert picture.latents is not None
    assert work.texts is not None
    return StepInput(
        latents=picture.latents,
        t=picture.time,
        t_next=time_at(picture.done + 1, work.steps, work.start),
        guidance=work.guidance,
        wanted=work.texts[0],
        unwanted=work.texts[1],
    )
