"""The painter with a network that paints nothing but remembers everything."""

import asyncio
import gc
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from painting import MakeOrder, all_events

from pinxit.backends.interface import PaintedImage, PaintUsage, Progress, Queued
from pinxit.errors import BackendError, BackendUnavailable
from pinxit.images.pixels import Pixels
from pinxit_otter.arrangement import Placed
from pinxit_otter.backend import OtterBackend
from pinxit_otter.enlarge import Picture
from pinxit_otter.manifest import VOCABULARY, WEIGHTS
from pinxit_otter.network import StepInput, Text
from pinxit_otter.painter import MAX_UNTAKEN, Painter, Work
from pinxit_otter.sampler import Latents, noise
from pinxit_otter.scene import Scene
from pinxit_otter.spec import OTTER_1
from pinxit_otter.wordpiece import WordPieces


class FakeNetwork:
    """Each step waits at a gate; `batches` are the guidance scales seen, which tell the orders apart."""

    def __init__(self) -> None:
        self.word_pieces = WordPieces.read(WEIGHTS / VOCABULARY)
        self.null_text = self.encode(())
        self.gate = threading.Semaphore(0)
        self.arrived = threading.Semaphore(0)
        self.batches: list[list[float]] = []
        self.times: list[list[float]] = []
        self.encoded: list[tuple[int, ...]] = []
        self.decoded = 0
        self.pictures_encoded = 0
        self.inputs: list[Latents] = []
        """The latents of the first picture of each batch."""
        self.all_inputs: list[list[Latents]] = []
        self.decodings_to_fail = 0
        self.fails: Exception | None = None
        self.answer = 0.0

    def encode(self, sentence: tuple[int, ...]) -> Text:
        if sentence:
            self.encoded.append(sentence)
        return Text(np.zeros((20, 384), np.float32), np.zeros(384, np.float32), np.ones(20, np.float32))

    def step(self, inputs: Sequence[StepInput], *, ends: bool = False) -> tuple[Latents, Latents | None]:
        self.batches.append([one.guidance for one in inputs])
        self.times.append([one.t for one in inputs])
        self.inputs.append(inputs[0].latents)
        self.all_inputs.append([one.latents for one in inputs])
        self.arrived.release()
        self.gate.acquire()
        if self.fails is not None:
            raise self.fails
        after = np.full((len(inputs), 64, 32), self.answer, np.float32)
        return after, after if ends else None

    def decode(self, latents: Latents) -> Picture:
        self.decoded += 1
        if self.decodings_to_fail:
            self.decodings_to_fail -= 1
            raise RuntimeError("decoding failed")
        return np.broadcast_to(np.array((0, 0, 0, 255), np.uint8), (256, 256, 4))

    def encode_picture(self, picture: Picture) -> Latents:
        self.pictures_encoded += 1
        return np.ones((64, 32), np.float32)

    def open_gate(self) -> None:
        self.gate.release(10_000)

    async def arrival(self) -> None:
        """Wait until the painter stands at the gate."""
        await asyncio.to_thread(self.arrived.acquire)


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


@pytest.fixture
async def backend(network: FakeNetwork):
    backend = OtterBackend()
    painter = Painter(network, max_batch=4)  # type: ignore[arg-type]
    painter.start()
    backend._painter = painter
    yield backend
    network.open_gate()
    await backend.close()


def in_hand(backend: OtterBackend) -> int:
    assert backend._painter is not None
    return backend._painter.orders_in_hand


async def test_events_of_one_order(backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder) -> None:
    network.open_gate()
    events = await all_events(backend.generate(make_order(seeds=(5, 6), num_inference_steps=2)))
    assert events[:4] == [Progress(0, 1, 2), Progress(1, 1, 2), Progress(0, 2, 2), Progress(1, 2, 2)]
    assert [(event.index, event.seed) for event in events[4:6] if isinstance(event, PaintedImage)] == [(0, 5), (1, 6)]
    assert events[6:] == [PaintUsage(input_tokens=2, output_tokens=128)]
    assert in_hand(backend) == 0


async def test_new_orders_join_between_steps(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    first = asyncio.create_task(all_events(backend.generate(make_order(guidance_scale=1.0))))
    await network.arrival()
    second = asyncio.create_task(all_events(backend.generate(make_order(guidance_scale=2.0, num_inference_steps=2))))
    while in_hand(backend) < 2:
        await asyncio.sleep(0)
    network.open_gate()
    await asyncio.gather(first, second)
    assert network.batches == [[1.0], [1.0, 2.0], [1.0, 2.0]]
    assert network.times[1] == [pytest.approx(2 / 3), 1.0]


async def test_a_small_order_gets_the_next_free_place(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    big = make_order(guidance_scale=1.0, seeds=tuple(range(10)), num_inference_steps=1)
    big_done = asyncio.create_task(all_events(backend.generate(big)))
    await network.arrival()
    small = make_order(guidance_scale=2.0, num_inference_steps=1)
    small_done = asyncio.create_task(all_events(backend.generate(small)))
    while in_hand(backend) < 2:
        await asyncio.sleep(0)
    network.open_gate()
    events = await small_done
    await big_done
    assert events[0] == Queued(1)
    assert network.batches == [[1.0] * 4, [1.0, 2.0, 1.0, 1.0], [1.0] * 3]


async def test_an_order_that_finds_room_is_not_queued(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    network.open_gate()
    for _ in range(3):
        events = await all_events(backend.generate(make_order()))
        assert not any(isinstance(event, Queued) for event in events)


async def test_a_cancelled_order_leaves_between_steps(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    stays = asyncio.create_task(all_events(backend.generate(make_order(guidance_scale=1.0))))
    await network.arrival()
    leaves = backend.generate(make_order(guidance_scale=2.0, seeds=tuple(range(10)), num_inference_steps=50))
    begun = asyncio.ensure_future(anext(leaves))
    while in_hand(backend) < 2:
        await asyncio.sleep(0)
    network.gate.release(2)
    assert await begun == Progress(0, 1, 50)
    await leaves.aclose()
    assert in_hand(backend) == 1
    network.open_gate()
    await stays
    # At most the step that was under way when it left still had it.
    assert sum(2.0 in batch for batch in network.batches) <= 2
    assert in_hand(backend) == 0


async def test_a_cancelled_task_frees_its_place(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    task = asyncio.create_task(all_events(backend.generate(make_order())))
    await network.arrival()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert in_hand(backend) == 0
    network.open_gate()
    assert len(await all_events(backend.generate(make_order()))) == 5
    assert network.decoded == 1


async def test_an_order_cancelled_before_its_turn_is_never_painted(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    first = asyncio.create_task(all_events(backend.generate(make_order(guidance_scale=1.0, seeds=(1, 2, 3, 4)))))
    await network.arrival()
    waiting = backend.generate(make_order(guidance_scale=2.0))
    assert await anext(waiting) == Queued(1)
    await waiting.aclose()
    network.open_gate()
    await first
    assert all(2.0 not in batch for batch in network.batches)


async def test_a_slow_caller_holds_few_pictures(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    network.open_gate()
    events = backend.generate(make_order(seeds=tuple(range(10)), num_inference_steps=1))
    first = [await anext(events)]
    while not isinstance(first[-1], PaintedImage):
        first.append(await anext(events))
    # A second order goes all its way while the first one's caller stands still.
    await all_events(backend.generate(make_order()))
    assert network.decoded <= MAX_UNTAKEN + 1
    rest = await all_events(events)
    assert sum(isinstance(event, PaintedImage) for event in rest) == 9


async def test_a_text_is_encoded_once(backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder) -> None:
    network.open_gate()
    for _ in range(3):
        await all_events(backend.generate(make_order(seeds=(1, 2), negative_prompt="a cat")))
    assert len(network.encoded) == 2


@pytest.mark.parametrize(
    ("prompt", "order", "read"),
    [
        ("a robot", {}, "a robot, 3d style"),
        ("a robot", {"style": "flat"}, "a robot, flat style"),
        ("a robot in Twemoji style", {}, "a robot in Twemoji style"),
        ("a robot", {"images": (Pixels(256, 256, "RGB", bytes(3 * 256 * 256)),)}, "a robot"),
    ],
)
async def test_what_is_not_to_be_in_a_style_is_in_the_usual_one(
    backend: OtterBackend,
    network: FakeNetwork,
    make_order: MakeOrder,
    prompt: str,
    order: dict[str, object],
    read: str,
) -> None:
    network.open_gate()
    events = await all_events(backend.generate(make_order(prompt, **order)))
    assert network.encoded == [network.word_pieces.sentence(read)]
    said = f"{prompt}, {order['style']} style" if "style" in order else prompt
    assert events[-1] == PaintUsage(len(network.word_pieces.sentence(said)) - 2, 64)


async def test_what_goes_wrong_ends_the_orders_and_not_the_painter(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder, caplog: pytest.LogCaptureFixture
) -> None:
    network.open_gate()
    network.fails = RuntimeError("no memory")
    with pytest.raises(BackendError):
        await all_events(backend.generate(make_order()))
    assert "no memory" in caplog.text
    network.fails = None
    assert len(await all_events(backend.generate(make_order()))) == 5
    assert in_hand(backend) == 0


@pytest.mark.usefixtures("caplog")
async def test_numbers_that_are_none_are_no_picture(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    network.open_gate()
    network.answer = float("nan")
    with pytest.raises(BackendError):
        await all_events(backend.generate(make_order()))


async def test_closing_ends_the_orders_under_way(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    task = asyncio.create_task(all_events(backend.generate(make_order(num_inference_steps=50))))
    await network.arrival()
    painter = backend._painter
    assert painter is not None
    closing = asyncio.create_task(backend.close())
    while not painter._closing:
        await asyncio.sleep(0)
    network.gate.release()
    await closing
    with pytest.raises(BackendUnavailable):
        await task
    with pytest.raises(BackendUnavailable):
        await all_events(backend.generate(make_order()))


async def test_previews_come_with_the_progress(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    network.open_gate()
    events = await all_events(backend.generate(make_order(num_inference_steps=8, previews=3)))
    shown = [event for event in events if isinstance(event, Progress) and event.preview is not None]
    assert [event.step for event in shown] == [2, 4, 6]
    assert {(event.preview.width, event.preview.height) for event in shown if event.preview} == {(256, 256)}


IMAGE = Pixels(256, 256, "RGB", b"\x07" * (3 * 256 * 256))
RIGHT = Pixels(256, 256, "L", (bytes(128) + b"\xff" * 128) * 256)


async def test_an_edit_does_its_share_of_the_steps_and_says_so(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    network.open_gate()
    order = make_order(images=(IMAGE,), strength=0.5, num_inference_steps=8, seeds=(1, 2), previews=1)
    events = await all_events(backend.generate(order))
    steps = [event for event in events if isinstance(event, Progress)]
    assert [(event.step, event.steps) for event in steps if event.index == 1] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [event.step for event in steps if event.preview] == [2, 2]
    assert network.times == [[pytest.approx(time)] * 2 for time in (0.5, 0.375, 0.25, 0.125)]
    assert np.array_equal(network.inputs[0], (np.float32(0.5) + np.float32(0.5) * noise(1)))
    assert network.pictures_encoded == 1


async def test_an_edit_without_strength_has_the_usual_one(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    network.open_gate()
    await all_events(backend.generate(make_order(images=(IMAGE,))))
    strength = OTTER_1.capabilities.strength
    assert strength is not None
    assert network.times[0] == [strength.default]


async def test_what_the_mask_keeps_is_put_back_after_each_step(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    network.open_gate()
    network.answer = 5.0
    order = make_order(images=(IMAGE,), mask=RIGHT, strength=1.0, num_inference_steps=4)
    [*_, painted, _] = await all_events(backend.generate(order))
    for time, seen in zip((0.75, 0.5, 0.25), network.inputs[1:], strict=True):
        left, right = np.split(seen.reshape(8, 8, 32), 2, axis=1)
        assert (right == 5.0).all()
        assert np.allclose(left, (1 - time) + time * noise(1).reshape(8, 8, 32)[:, :4])
    assert isinstance(painted, PaintedImage)
    rows = np.frombuffer(painted.pixels.data, np.uint8).reshape(256, 256, 3)
    assert (rows[:, :128] == 7).all()
    assert (rows[:, 130:] == 0).all()


async def test_previews_of_a_masked_edit_have_what_is_kept(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    network.open_gate()
    order = make_order(images=(IMAGE,), mask=RIGHT, strength=1.0, num_inference_steps=4, previews=2)
    shown = [event.preview for event in await all_events(backend.generate(order)) if isinstance(event, Progress)]
    previews = [np.frombuffer(one.data, np.uint8).reshape(256, 256, 3) for one in shown if one]
    assert len(previews) == 2
    assert all((preview[:, :128] == 7).all() for preview in previews)


async def test_a_cancelled_edit_leaves_between_steps(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    order = make_order(images=(IMAGE,), mask=RIGHT, strength=1.0, num_inference_steps=50)
    task = asyncio.create_task(all_events(backend.generate(order)))
    await network.arrival()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert in_hand(backend) == 0
    network.open_gate()
    assert len(await all_events(backend.generate(make_order()))) == 5
    assert (network.pictures_encoded, network.decoded) == (1, 1)


async def test_an_edit_whose_picture_cannot_be_read_ends_alone(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(picture: Picture) -> Latents:
        raise RuntimeError("no memory")

    monkeypatch.setattr(network, "encode_picture", refuse)
    network.open_gate()
    plain = asyncio.create_task(all_events(backend.generate(make_order())))
    with pytest.raises(BackendError):
        await all_events(backend.generate(make_order(images=(IMAGE,))))
    assert isinstance((await plain)[-1], PaintUsage)
    assert in_hand(backend) == 0


# --- pictures of several sheets ---------------------------------------------------------------------------------------


class TwoThings:
    """Reads every prompt as two things, one above the other."""

    def read(self, prompt: str) -> Scene:
        return Scene((prompt, "a hat"), (Placed(0, 0.5, 0.7, 0.4), Placed(1, 0.5, 0.3, 0.4)))


def read_in_two(backend: OtterBackend) -> None:
    assert backend._painter is not None
    backend._painter._reader = TwoThings()  # type: ignore[assignment]


async def test_sheets_go_on_the_easel_as_pictures_do_and_count_as_one(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    read_in_two(backend)
    network.open_gate()
    events = await all_events(backend.generate(make_order(seeds=(5, 6), num_inference_steps=2, previews=1)))
    steps = [(event.index, event.step, event.preview is not None) for event in events if isinstance(event, Progress)]
    assert steps == [(0, 1, True), (1, 1, True), (0, 2, False), (1, 2, False)]
    assert [len(batch) for batch in network.batches] == [4, 4]
    assert sum(isinstance(event, PaintedImage) for event in events) == 2
    assert events[-1] == PaintUsage(input_tokens=2, output_tokens=128)


async def test_sheets_begin_with_noise_of_their_own(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    read_in_two(backend)
    network.open_gate()
    await all_events(backend.generate(make_order(seeds=(5,), num_inference_steps=1)))
    (first, second) = network.all_inputs[0]
    assert np.array_equal(first, noise(5))
    assert np.array_equal(second, noise(5, 1))
    assert not np.array_equal(noise(5, 1), noise(5, 2))
    assert not np.array_equal(noise(5, 1), noise(5 + 2**32))


async def test_with_less_room_than_sheets_progress_is_told_all_the_way(
    network: FakeNetwork, make_order: MakeOrder
) -> None:
    backend = OtterBackend()
    backend._painter = Painter(network, max_batch=1)  # type: ignore[arg-type]
    backend._painter.start()
    read_in_two(backend)
    network.open_gate()
    events = await all_events(backend.generate(make_order(num_inference_steps=4, previews=1)))
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]
    previews = [event.preview for event in events if isinstance(event, Progress) and event.preview]
    assert len(previews) == 1, "of the sheets that have come so far"
    assert network.batches == [[3.0]] * 8
    await backend.close()


async def test_what_goes_wrong_in_one_order_s_preview_ends_that_order_only(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder
) -> None:
    bad = asyncio.create_task(all_events(backend.generate(make_order(seeds=(1,), previews=1))))
    await network.arrival()
    good = asyncio.create_task(all_events(backend.generate(make_order(seeds=(2,), num_inference_steps=6))))
    while in_hand(backend) < 2:
        await asyncio.sleep(0)
    network.decodings_to_fail = 1
    network.open_gate()
    with pytest.raises(BackendError):
        await bad
    assert isinstance((await good)[-1], PaintUsage)


@pytest.mark.parametrize("leaves_after", [0, 1, 99])
async def test_an_order_s_memory_is_free_at_once(
    backend: OtterBackend, network: FakeNetwork, make_order: MakeOrder, leaves_after: int
) -> None:
    """Without the collector of cycles, which may come late. The painter's thread may still hold its last one."""
    read_in_two(backend)
    network.open_gate()
    gc.collect()
    gc.disable()
    try:
        for _ in range(6):
            events = backend.generate(make_order(seeds=tuple(range(6)), num_inference_steps=2))
            for _ in range(leaves_after):
                if await anext(events, None) is None:
                    break
            await events.aclose()
        await all_events(backend.generate(make_order(num_inference_steps=1)))
        assert sum(isinstance(each, Work) for each in gc.get_objects()) <= 1
    finally:
        gc.enable()
