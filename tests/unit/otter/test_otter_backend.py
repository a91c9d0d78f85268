"""The real weights. What is promised about them is promised of every picture, so each test paints few."""

import asyncio
import subprocess
import sys

import numpy as np
import pytest
from painting import MakeOrder, all_events, paint

from pinxit.backends.interface import Familiarity, PaintedImage, PaintUsage, Progress
from pinxit.images.size import Size
from pinxit_otter.backend import OtterBackend
from pinxit_otter.spec import OTTER_1


def test_the_catalogue_is_read_without_heavy_imports() -> None:
    program = (
        "import sys; from pinxit_otter.backend import OtterBackend; backend = OtterBackend(); "
        "backend.models(); backend.check(); "
        "print([name for name in ('numpy', 'onnxruntime', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_what_it_can_do_hangs_together() -> None:
    can = OTTER_1.capabilities
    assert can.default_size in can.sizes
    assert set(can.aspect_ratios.values()) <= set(can.sizes)
    assert can.num_inference_steps is not None
    for steps in can.qualities.values():
        assert can.num_inference_steps.minimum <= steps <= can.num_inference_steps.maximum
    for ratio, size in can.aspect_ratios.items():
        width, height = map(int, ratio.split(":"))
        assert size.width * height == size.height * width


async def test_a_picture(otter: OtterBackend, make_order: MakeOrder) -> None:
    order = make_order("a robot", seeds=(42,), size=Size(512, 512), num_inference_steps=8)
    events = await all_events(otter.generate(order))
    assert [type(event) for event in events] == [Familiarity, *[Progress] * 8, PaintedImage, PaintUsage]
    assert events[-1] == PaintUsage(input_tokens=2, output_tokens=64)
    painted = events[-2]
    assert isinstance(painted, PaintedImage)
    picture = np.frombuffer(painted.pixels.data, np.uint8).reshape(512, 512, 3)
    corners = picture[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.min() > 235, "the ground is white"
    assert picture[128:384, 128:384].std() > 30, "there is something in the middle"


async def test_a_seed_is_the_same_picture_alone_and_among_strangers(otter: OtterBackend, make_order: MakeOrder) -> None:
    order = make_order("an owl", seeds=(7,), num_inference_steps=8)
    alone = await paint(otter, order)
    strangers = [
        make_order("a ghost", seeds=(1, 2, 3), num_inference_steps=5, guidance_scale=7.0),
        order,
        make_order("a rocket", seeds=(4,), num_inference_steps=11, negative_prompt="red", previews=2),
        make_order("otter", seeds=(7, 8), style="3d"),
    ]
    together = await asyncio.gather(*(paint(otter, stranger) for stranger in strangers))
    assert together[1] == alone
    assert await paint(otter, make_order("an owl", seeds=(3, 7), num_inference_steps=8)) == [
        *await paint(otter, make_order("an owl", seeds=(3,), num_inference_steps=8)),
        *alone,
    ]


async def test_several_things_are_the_same_alone_and_among_strangers(
    otter: OtterBackend, make_order: MakeOrder
) -> None:
    order = make_order("two owls and a ghost on the beach", seeds=(7, 8))
    alone = await paint(otter, order)
    strangers = [make_order("a ghost", seeds=(1, 2)), order, make_order("a cat and a dog", seeds=(7,))]
    assert (await asyncio.gather(*(paint(otter, stranger) for stranger in strangers)))[1] == alone
    assert await paint(otter, make_order("two owls and a ghost on the beach", seeds=(8,))) == alone[1:]
    one_at_a_time = OtterBackend(max_batch=1)
    await one_at_a_time.open()
    assert await paint(one_at_a_time, order) == alone
    await one_at_a_time.close()


async def test_several_things_are_one_picture_to_the_caller(otter: OtterBackend, make_order: MakeOrder) -> None:
    order = make_order("an owl and a ghost on the beach", seeds=(7, 8), previews=1)
    events = await all_events(otter.generate(order))
    steps = [(event.index, event.step, event.preview is not None) for event in events if isinstance(event, Progress)]
    assert sorted(steps) == [(index, step, step == 2) for index in (0, 1) for step in (1, 2, 3)]
    (said,) = [event for event in events if isinstance(event, Familiarity)]
    assert said.known
    assert sum(isinstance(event, PaintedImage) for event in events) == 2
    assert events[-1] == PaintUsage(input_tokens=8, output_tokens=128)


async def test_of_several_things_the_least_known_tells(otter: OtterBackend, make_order: MakeOrder) -> None:
    async def said(prompt: str) -> Familiarity:
        (said,) = [
            event
            for event in await all_events(otter.generate(make_order(prompt, num_inference_steps=1)))
            if isinstance(event, Familiarity)
        ]
        return said

    assert await said("an otter and a rockets") == await said("a rockets")
    assert await said("a quarterly spreadsheet on the beach") == await said("a quarterly spreadsheet")


async def test_several_things_in_a_size_that_is_not_square(otter: OtterBackend, make_order: MakeOrder) -> None:
    data = (await paint(otter, make_order("three ghosts", size=Size(1024, 768), num_inference_steps=8)))[0]
    picture = np.frombuffer(data, np.uint8).reshape(768, 1024, 3)
    assert picture[:, :100].min() > 235, "the ground goes on at the sides"
    assert picture[:, 300:700].std() > 30, "there is something in the middle"


async def test_four_seeds_are_four_pictures(otter: OtterBackend, make_order: MakeOrder) -> None:
    assert len(set(await paint(otter, make_order("a ghost", seeds=(1, 2, 3, 4))))) == 4


@pytest.mark.parametrize(
    "change",
    [
        {"negative_prompt": "red"},
        {"guidance_scale": 1.0},
        {"num_inference_steps": 4},
        {"style": "twemoji"},
        {"prompt": "a ghost"},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_what_is_asked_for_changes_the_picture(
    otter: OtterBackend, make_order: MakeOrder, change: dict[str, object]
) -> None:
    plain = await paint(otter, make_order("a rocket"))
    changed = await paint(otter, make_order(**{"prompt": "a rocket", **change}))
    difference = np.abs(np.frombuffer(plain[0], np.uint8).astype(int) - np.frombuffer(changed[0], np.uint8))
    assert difference.mean() > 0.5


async def test_unset_fields_mean_the_default(otter: OtterBackend, make_order: MakeOrder) -> None:
    plain = await paint(otter, make_order("a rocket", guidance_scale=3.0))
    assert await paint(otter, make_order("a rocket", guidance_scale=None)) == plain
    assert await paint(otter, make_order("a rocket", negative_prompt="")) == plain
    assert await paint(otter, make_order("a rocket", style="vivid")) == plain


async def test_style_words_are_never_cut_off(otter: OtterBackend, make_order: MakeOrder) -> None:
    long = "a rocket " * 3_000
    flat, noto = [await paint(otter, make_order(long, style=style)) for style in ("flat", "noto")]
    assert flat != noto


@pytest.mark.parametrize("prompt", ["", "水獺", "[PAD]" * 8, "\x00", "{prompt} %s %(x)s", "🦦" * 500])
async def test_any_prompt_is_painted(otter: OtterBackend, make_order: MakeOrder, prompt: str) -> None:
    events = await all_events(otter.generate(make_order(prompt, num_inference_steps=1)))
    assert isinstance(events[-1], PaintUsage)
    assert events[-1].input_tokens <= 18


async def test_previews_come_closer_to_the_picture(otter: OtterBackend, make_order: MakeOrder) -> None:
    steps = 8
    order = make_order("a ghost", num_inference_steps=steps, previews=steps - 1)
    shown: list[np.ndarray] = []
    final = None
    async for event in otter.generate(order):
        if isinstance(event, Progress) and event.preview is not None:
            shown.append(np.frombuffer(event.preview.data, np.uint8).astype(float))
        elif isinstance(event, PaintedImage):
            final = np.frombuffer(event.pixels.data, np.uint8).astype(float)
    assert final is not None
    errors = [float(np.abs(preview - final).mean()) for preview in shown]
    assert len(errors) == steps - 1
    assert errors[-1] < errors[len(errors) // 2] < errors[0]


async def test_closing_a_real_painting_frees_everything(otter: OtterBackend, make_order: MakeOrder) -> None:
    events = otter.generate(make_order(seeds=(1, 2, 3), num_inference_steps=50))
    assert isinstance(await anext(events), Familiarity)
    assert isinstance(await anext(events), Progress)
    await events.aclose()
    assert otter._painter is not None
    assert otter._painter.orders_in_hand == 0


async def test_it_can_be_closed_and_opened_again(make_order: MakeOrder) -> None:
    backend = OtterBackend(threads=1, max_batch=1)
    await backend.close()
    pictures = []
    for _ in range(2):
        await backend.open()
        pictures += await paint(backend, make_order(num_inference_steps=1))
        await backend.close()
    assert pictures[0] == pictures[1]
