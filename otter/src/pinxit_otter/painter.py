"""The painter: one thread that takes all orders' pictures through their steps together.

A picture is painted on one sheet, or on several, one for each part of its scene, which are laid over one another when
all are done. Before each step the painter looks who is there: sheets of new orders join, those of cancelled orders have
left. Up to `max_batch` sheets are on the easel at once, each at its own time. A free place goes to the orders in turn,
one sheet each, first come first served, so that an order of ten does not keep an order of one waiting for all its ten.
"""

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from pinxit.backends.interface import PaintedImage, PaintEvent, PaintOrder, PaintUsage, Progress
from pinxit.errors import BackendError, BackendUnavailable, PinxitError
from pinxit.images.pixels import Pixels
from pinxit_otter.beginning import Beginning, begin
from pinxit_otter.enlarge import Picture as PaintedPicture
from pinxit_otter.enlarge import enlarge
from pinxit_otter.familiarity import KnownCaptions
from pinxit_otter.layers import compose
from pinxit_otter.network import Network, StepInput, Text
from pinxit_otter.sampler import Latents, noise, preview_steps, steps_from, time_at
from pinxit_otter.scene import Scene, SceneReader
from pinxit_otter.spec import DEFAULT_STYLE, LATENT_TOKENS, OTTER_1, STYLE_WORDS
from pinxit_otter.wordpiece import WordPieces

MAX_UNTAKEN = 2
"""So many painted pictures wait for a slow caller; more stay latents (8 KiB a sheet) until he has taken one."""

_KEPT_TEXTS = 256

_log = logging.getLogger(__name__)

Message = PaintEvent | PinxitError | None
"""What an order's owner hears: events, or the error that ended it, or None when all is done."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What an order asks for: its scene, and a text for each of its parts."""

    scene: Scene
    wanted: tuple[Text, ...]
    unwanted: Text


@dataclass(eq=False, slots=True)
class Work:
    """An order in the painter's hands."""

    order: PaintOrder
    deliver: Callable[[Message], None]
    style_words: str
    input_tokens: int
    """Word pieces of what the caller said."""
    guidance: float
    start: float
    """The time at which its pictures begin: 1, or the strength of an edit."""
    steps: int
    """From there to the end."""
    previews_after: frozenset[int]
    unpainted: int
    untaken: int = 0
    reading: Reading | None = None
    """Once it has been read, before its first sheet begins."""
    unstarted: "deque[Sheet]" = field(default_factory=deque)
    beginning: Beginning | None = None
    """Of an edit, once its first picture has begun."""


@dataclass(eq=False, slots=True)
class Picture:
    """One picture on its way; its sheets have `done` of its `steps` behind them in the mean."""

    work: Work
    index: int
    sheets: "tuple[Sheet, ...]" = ()
    """None once it is painted or given up: its order's memory is then free at once."""
    done: int = 0


@dataclass(eq=False, slots=True)
class Sheet:
    """One part of a picture on its way, `done` of its `steps` behind it."""

    picture: Picture
    part: int
    latents: Latents | None = None
    done: int = 0
    end: Latents | None = None
    """Where a straight line led at its latest preview."""

    @property
    def work(self) -> Work:
        return self.picture.work

    @property
    def time(self) -> float:
        return time_at(self.done, self.work.steps, self.work.start)

    @property
    def noise(self) -> Latents:
        return noise(self.work.order.seeds[self.picture.index], self.part)


class Painter:
    """Paints in a thread of its own from `start` to `close`.

    `submit`, `cancel` and `taken` may be called in any thread.
    """

    def __init__(self, network: Network, max_batch: int, known: KnownCaptions | None = None) -> None:
        """`known`: by which each order is told how near its prompt is, and prompts are read in parts; None: neither."""
        self.max_batch = max_batch
        self._network = network
        self._known = known
        self._reader = None if known is None else SceneReader(known.captions, self._likeness)
        self._pieces = network.word_pieces
        self._texts: OrderedDict[tuple[int, ...], Text] = OrderedDict()
        self._wake = threading.Condition()
        self._closing = False
        self._orders: dict[Work, None] = {}
        self._turns: deque[Work] = deque()
        self._easel: list[Sheet] = []
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
        work = _work(self._network.word_pieces, order, deliver)
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
        while self._wait_for_work():
            self._do_a_round()

    def _wait_for_work(self) -> bool:
        """Whether there is any; there will be none when closing."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._turns or self._easel or self._takeable())
            return not self._closing

    def _do_a_round(self) -> None:
        """A step of all sheets on the easel, and what is around it. No order outlives it in a variable."""
        with self._wake:
            unread = self._unread()
        if unread is not None:
            with self._answering_for([unread]):
                self._read(unread)
        with self._wake:
            self._fill_easel()
            easel, finished = list(self._easel), self._take_finished()
        for sheet in easel:
            if sheet.latents is None:
                with self._answering_for([sheet.work]):
                    self._begin(sheet)
        begun = [sheet for sheet in easel if sheet.latents is not None]
        if begun:
            with self._answering_for({sheet.work for sheet in begun}):
                self._step(begun)
        for picture in finished:
            with self._answering_for([picture.work]):
                self._finish(picture)

    def _unread(self) -> Work | None:
        """The next order to be read, if there is room for it: one before each step, so that nobody waits for many."""
        if len(self._easel) >= self.max_batch:
            return None
        return next((work for work in self._turns if work.reading is None), None)

    def _read(self, work: Work) -> None:
        """Read the prompt, say how near it is, and lay out the sheets."""
        order = work.order
        scene = Scene((order.prompt,)) if self._reader is None or order.images else self._reader.read(order.prompt)
        sentences = [self._pieces.sentence(thing + scene.manner, work.style_words) for thing in scene.things]
        sentences += [self._pieces.sentence(ground) for ground in scene.parts[len(scene.things) :]]
        unwanted = self._pieces.sentence(order.negative_prompt) if order.negative_prompt else None
        if self._known is not None:
            # Without any words of style; of several things the one that is known least tells.
            plain = [self._pieces.sentence(thing) for thing in scene.things]
            nearness = [self._known.judge(sentence, self._text(sentence)) for sentence in plain]
            work.deliver(min(nearness, key=lambda one: one.similarity))
        reading = Reading(
            scene,
            tuple(map(self._text, sentences)),
            self._network.null_text if unwanted is None else self._text(unwanted),
        )
        with self._wake:
            if work not in self._orders:
                return
            work.reading = reading
            for index in range(len(order.seeds)):
                picture = Picture(work, index)
                picture.sheets = tuple(Sheet(picture, part) for part in range(len(sentences)))
                work.unstarted += picture.sheets

    def _likeness(self, phrase: str) -> float:
        assert self._known is not None
        sentence = self._pieces.sentence(phrase)
        return self._known.judge(sentence, self._text(sentence)).similarity

    def _fill_easel(self) -> None:
        """Give free places to the orders in turn."""
        while self._turns and self._turns[0].reading is not None and len(self._easel) < self.max_batch:
            work = self._turns.popleft()
            self._easel.append(work.unstarted.popleft())
            if work.unstarted:
                self._turns.append(work)

    def _begin(self, sheet: Sheet) -> None:
        work = sheet.work
        if work.order.images and work.beginning is None:
            work.beginning = begin(work.order, self._network.encode_picture)
        sheet.latents = sheet.noise if work.beginning is None else work.beginning.at(work.start, sheet.noise)

    def _text(self, sentence: tuple[int, ...]) -> Text:
        text = self._texts.pop(sentence, None) or self._network.encode(sentence)
        self._texts[sentence] = text
        if len(self._texts) > _KEPT_TEXTS:
            self._texts.popitem(last=False)
        return text

    def _step(self, batch: Sequence[Sheet]) -> None:
        previewed = [sheet.done + 1 in sheet.work.previews_after for sheet in batch]
        after, ends = self._network.step([_step_input(sheet) for sheet in batch], ends=any(previewed))
        for place, sheet in enumerate(batch):
            sheet.done += 1
            # Copies, since a row would keep the whole batch.
            sheet.latents = _held(sheet, after[place].copy(), sheet.time)
            if ends is not None and previewed[place]:
                sheet.end = _held(sheet, ends[place].copy(), 0.0)
        for picture in dict.fromkeys(sheet.picture for sheet in batch):
            with self._answering_for([picture.work]):
                self._tell(picture)
        with self._wake:
            self._finished += [
                picture
                for picture in dict.fromkeys(sheet.picture for sheet in self._easel)
                if picture.done == picture.work.steps
            ]
            self._easel = [sheet for sheet in self._easel if sheet.done < sheet.work.steps]

    def _tell(self, picture: Picture) -> None:
        """That the picture is one step further, if it is, and at times what it will look like."""
        work, sheets, preview = picture.work, picture.sheets, None
        done = sum(sheet.done for sheet in sheets) // max(1, len(sheets))
        if done == picture.done or work not in self._orders:
            return
        picture.done = done
        if done in work.previews_after:
            ends = [sheet.latents if sheet.done == work.steps else sheet.end for sheet in sheets]
            preview = self._show(work, ends)
        work.deliver(Progress(picture.index, done, work.steps, preview))

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
        work, sheets = picture.work, picture.sheets
        picture.sheets = ()
        if not sheets or work not in self._orders:
            return
        pixels = self._show(work, [sheet.latents for sheet in sheets])
        work.deliver(PaintedImage(picture.index, work.order.seeds[picture.index], pixels))
        work.unpainted -= 1
        if work.unpainted == 0:
            work.deliver(PaintUsage(work.input_tokens, LATENT_TOKENS * len(work.order.seeds)))
            self._end(work, None)

    def _show(self, work: Work, sheets: Sequence[Latents | None]) -> Pixels:
        """The latents as a picture in the order's size; a sheet without any has not come that far, and is left out."""
        size = work.order.size
        assert work.reading is not None
        scene, pictures = work.reading.scene, [self._decode(latents) for latents in sheets]
        picture = pictures[0] if scene.is_whole else compose(scene, pictures, size)
        assert picture is not None
        pixels = enlarge(picture, size, transparent=work.order.transparent)
        return pixels if work.beginning is None else work.beginning.put_back(pixels)

    def _decode(self, latents: Latents | None) -> PaintedPicture | None:
        if latents is None:
            return None
        if not np.isfinite(latents).all():
            raise BackendError
        return self._network.decode(latents)

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
        sheets = [*work.unstarted, *(sheet for sheet in self._easel if sheet.work is work)]
        for picture in [*(sheet.picture for sheet in sheets), *(one for one in self._finished if one.work is work)]:
            picture.sheets = ()
        work.unstarted.clear()
        self._easel = [sheet for sheet in self._easel if sheet.work is not work]
        self._finished = [picture for picture in self._finished if picture.work is not work]


def _work(pieces: WordPieces, order: PaintOrder, deliver: Callable[[Message], None]) -> Work:
    can = OTTER_1.capabilities
    assert can.guidance_scale is not None
    assert can.strength is not None
    strength = can.strength.default if order.strength is None else order.strength
    start = strength if order.images else 1.0
    steps = steps_from(start, order.num_inference_steps)
    return Work(
        order=order,
        deliver=deliver,
        style_words=STYLE_WORDS.get(_style_of(order), ""),
        input_tokens=len(pieces.sentence(order.prompt, STYLE_WORDS.get(order.style or "", ""))) - 2,
        guidance=can.guidance_scale.default if order.guidance_scale is None else order.guidance_scale,
        start=start,
        steps=steps,
        previews_after=preview_steps(order.previews, steps),
        unpainted=len(order.seeds),
    )


def _style_of(order: PaintOrder) -> str:
    """An edit without one keeps to the manner of its picture."""
    if order.style is not None and order.style in STYLE_WORDS:
        return order.style
    return "" if order.images or "style" in order.prompt.lower() else DEFAULT_STYLE


def _held(sheet: Sheet, painted: Latents, time: float) -> Latents:
    """What was painted, without the positions that a mask keeps."""
    beginning = sheet.work.beginning
    return painted if beginning is None else beginning.kept_at(time, sheet.noise, painted)


def _step_input(sheet: Sheet) -> StepInput:
    work = sheet.work
    assert sheet.latents is not None
    assert work.reading is not None
    return StepInput(
        latents=sheet.latents,
        t=sheet.time,
        t_next=time_at(sheet.done + 1, work.steps, work.start),
        guidance=work.guidance,
        wanted=work.reading.wanted[sheet.part],
        unwanted=work.reading.unwanted,
    )
