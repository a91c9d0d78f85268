"""What every backend keeps: the fake one and each that is installed (entry points in `pinxit.backends`)."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import replace

import pytest
import pytest_asyncio

from pinxit.backends import registry
from pinxit.backends.interface import (
    MAX_SEED,
    Backend,
    Capabilities,
    Familiarity,
    ModelSpec,
    PaintedImage,
    PaintEvent,
    PaintOrder,
    PaintUsage,
    Progress,
)
from pinxit.errors import BackendUnavailable, ContentPolicyViolation, StartupError
from pinxit.images.encoding import fit
from pinxit.images.pixels import Pixels
from pinxit.images.size import Size
from pinxit.runners.checked import paint_checked
from pinxit.testing.fake_backend import FakeBackend

HEAVY = ("numpy", "onnxruntime", "openvino", "torch", "PIL", "transformers", "diffusers")
NAMES = ["fake", *registry.list_names()]

pytestmark = pytest.mark.asyncio(loop_scope="module")


def make_backend(name: str) -> Backend:
    if name == "fake":
        return FakeBackend()
    try:
        backend = registry.load(name)
        backend.check()
    except StartupError as error:
        if os.environ.get("PINXIT_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"{name} is not complete: {error}")
    return backend


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=NAMES)
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    backend = make_backend(request.param)
    await backend.open()
    yield backend
    await backend.close()


@pytest.fixture
def model(backend: Backend) -> ModelSpec:
    return backend.models()[0]


@pytest.fixture
def order(model: ModelSpec) -> PaintOrder:
    """The least that the model can be asked for: one picture in its own size, in few steps."""
    steps, guidance = model.capabilities.num_inference_steps, model.capabilities.guidance_scale
    return PaintOrder(
        model=model.id,
        prompt="a red fox",
        size=model.capabilities.native_size,
        seeds=(1,),
        num_inference_steps=round(min(max(steps.minimum, 4), steps.maximum)) if steps else 1,
        guidance_scale=guidance.default if guidance else None,
    )


async def events_of(backend: Backend, order: PaintOrder) -> list[PaintEvent]:
    async with aclosing(paint_checked(backend, order)) as events:
        return [event async for event in events]


async def pictures_of(backend: Backend, order: PaintOrder) -> list[bytes]:
    events = await events_of(backend, order)
    images = sorted((event for event in events if isinstance(event, PaintedImage)), key=lambda image: image.index)
    return [image.pixels.data for image in images]


# --- what it says it can do ---


@pytest.mark.parametrize("name", NAMES)
async def test_models_are_told_without_loading_anything(name: str) -> None:
    make_backend(name)
    program = (
        "import sys; from pinxit.backends import registry; from pinxit.testing.fake_backend import FakeBackend;"
        "name = sys.argv[1]; backend = FakeBackend() if name == 'fake' else registry.load(name);"
        "assert backend.models(); backend.check();"
        f"sys.exit(' '.join(module for module in {HEAVY} if module in sys.modules) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program, name], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert done.returncode == 0


async def test_models_describe_themselves(backend: Backend) -> None:
    models = backend.models()

    assert models
    assert len({model.id for model in models}) == len(models)
    for model in models:
        assert model.id.isascii()
        assert model.id.isprintable()
        assert not {" ", "/"} & set(model.id)
        assert model.description
        assert model.owned_by
        assert model.licence
        assert 1_400_000_000 < model.created < time.time()


async def test_what_a_model_can_do_fits_together(backend: Backend) -> None:
    for model in backend.models():
        can: Capabilities = model.capabilities
        assert can.default_size in can.sizes
        assert set(can.aspect_ratios.values()) <= set(can.sizes)
        assert 1 <= can.max_n <= 10
        assert "auto" not in can.qualities
        for wanted in (can.num_inference_steps, can.guidance_scale):
            assert wanted is None or wanted.minimum <= wanted.default <= wanted.maximum
        if can.num_inference_steps:
            assert can.num_inference_steps.minimum >= 1
            for steps in can.qualities.values():
                assert can.num_inference_steps.minimum <= steps <= can.num_inference_steps.maximum
        assert can.encodings
        assert can.edits == (can.max_images > 0)
        assert can.edits or not (can.mask or can.strength)
        if can.strength:
            assert 0 < can.strength.minimum <= can.strength.default <= can.strength.maximum <= 1


# --- how it paints ---


async def test_an_order_brings_each_picture_once(backend: Backend, order: PaintOrder) -> None:
    order = replace(order, seeds=(0, 5, MAX_SEED))

    events = await events_of(backend, order)

    assert sum(isinstance(event, PaintedImage) for event in events) == 3
    assert sum(isinstance(event, PaintUsage) for event in events) <= 1
    assert sum(isinstance(event, Familiarity) for event in events) <= 1


async def test_steps_count_up(backend: Backend, order: PaintOrder) -> None:
    events = await events_of(backend, replace(order, seeds=(1, 2)))

    for index in (0, 1):
        steps = [(event.step, event.steps) for event in events if isinstance(event, Progress) and event.index == index]
        assert steps == sorted(set(steps))
        assert all(1 <= step <= total for step, total in steps)
        assert len({total for _, total in steps}) <= 1


async def test_a_seed_promises_the_picture_alone_or_with_strangers(backend: Backend, order: PaintOrder) -> None:
    [alone] = await pictures_of(backend, replace(order, seeds=(7,)))
    strangers = [replace(order, prompt="a blue whale", seeds=(7, 8)), replace(order, prompt="a house", seeds=(9,))]

    among, *_ = await asyncio.gather(
        pictures_of(backend, replace(order, seeds=(3, 7, 7))), *(pictures_of(backend, other) for other in strangers)
    )

    assert among[1] == alone
    assert among[2] == alone
    assert among[0] != alone


async def test_another_prompt_is_another_picture(backend: Backend, order: PaintOrder) -> None:
    assert await pictures_of(backend, order) != await pictures_of(backend, replace(order, prompt="a green car"))


async def test_it_paints_every_size_it_names(backend: Backend, model: ModelSpec, order: PaintOrder) -> None:
    for size in sorted({*model.capabilities.sizes, model.capabilities.native_size}):
        [picture] = await pictures_of(backend, replace(order, size=size, num_inference_steps=order.num_inference_steps))
        assert len(picture) == size.width * size.height * 3


async def test_transparent_pictures_have_alpha(backend: Backend, model: ModelSpec, order: PaintOrder) -> None:
    if not model.capabilities.transparent:
        pytest.skip("not among its capabilities")

    [image] = [
        event for event in await events_of(backend, replace(order, transparent=True)) if isinstance(event, PaintedImage)
    ]

    assert image.pixels.mode == "RGBA"


async def test_previews_are_as_many_as_ordered(backend: Backend, model: ModelSpec, order: PaintOrder) -> None:
    if not model.capabilities.streaming:
        pytest.skip("not among its capabilities")

    for wanted in (0, 1, 2):
        events = await events_of(backend, replace(order, previews=wanted))
        previews = [event.preview for event in events if isinstance(event, Progress) and event.preview]
        assert len(previews) == wanted


# --- how it edits ---


def scene(size: Size) -> Pixels:
    """A red ball on white, softly lit."""
    small, reach = 64, 24
    rows = []
    for y in range(small):
        for x in range(small):
            inside = (x - small / 2) ** 2 + (y - small / 2) ** 2 < reach**2
            rows.append(bytes((230, 40 + y, 40)) if inside else b"\xff\xff\xff")
    return fit(Pixels(small, small, "RGB", b"".join(rows)), size)


def half(size: Size) -> Pixels:
    """A mask: the left half is kept, the right half painted, with a soft border between."""
    keep, soft = size.width // 2, min(16, size.width // 4)
    row = (
        bytes(keep) + bytes(255 * place // soft for place in range(1, soft + 1)) + b"\xff" * (size.width - keep - soft)
    )
    return Pixels(size.width, size.height, "L", row * size.height)


def distance(one: bytes, other: bytes) -> float:
    """The mean difference of two pictures' bytes."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


@pytest.fixture
def edit(model: ModelSpec, order: PaintOrder) -> PaintOrder:
    if not model.capabilities.edits:
        pytest.skip("not among its capabilities")
    strength = model.capabilities.strength
    return replace(order, images=(scene(order.size),), strength=strength.default if strength else None)


async def test_edits_have_the_size_that_was_ordered(backend: Backend, model: ModelSpec, edit: PaintOrder) -> None:
    for size in sorted({*model.capabilities.sizes, model.capabilities.native_size}):
        wide = replace(edit, size=size, images=(scene(size),), num_inference_steps=edit.num_inference_steps)
        [picture] = await pictures_of(backend, wide)
        assert len(picture) == size.width * size.height * 3


async def test_an_edit_depends_on_its_picture_its_prompt_and_its_seed(backend: Backend, edit: PaintOrder) -> None:
    other = Pixels(edit.size.width, edit.size.height, "RGB", bytes(reversed(edit.images[0].data)))
    orders = [
        edit,
        replace(edit, images=(other,)),
        replace(edit, images=(), strength=None),
        replace(edit, prompt="a car"),
        replace(edit, seeds=(2,)),
    ]

    pictures = [picture for order in orders for picture in await pictures_of(backend, order)]

    assert len(set(pictures)) == len(orders)


async def test_an_edit_is_the_same_alone_or_with_strangers(
    backend: Backend, model: ModelSpec, edit: PaintOrder
) -> None:
    edit = replace(edit, mask=half(edit.size) if model.capabilities.mask else None)
    [alone] = await pictures_of(backend, replace(edit, seeds=(7,)))
    strangers = [
        replace(edit, prompt="a blue whale", images=(), mask=None, strength=None, seeds=(7, 8)),
        replace(edit, prompt="a house", mask=None, seeds=(7,)),
    ]

    among, *_ = await asyncio.gather(
        pictures_of(backend, replace(edit, seeds=(3, 7, 7))), *(pictures_of(backend, other) for other in strangers)
    )

    assert among[1] == alone
    assert among[2] == alone
    assert among[0] != alone


@pytest.mark.parametrize("with_alpha", [False, True])
async def test_what_a_mask_keeps_is_kept_to_the_bit(
    backend: Backend, model: ModelSpec, edit: PaintOrder, with_alpha: bool
) -> None:
    if not model.capabilities.mask:
        pytest.skip("not among its capabilities")

    for size in (edit.size, *[size for size in model.capabilities.sizes if size.width > size.height][:1]):
        kept, mask = scene(size), half(size)
        opaque = b"".join(kept.data[at : at + 3] + b"\xff" for at in range(0, len(kept.data), 3))
        given = Pixels(size.width, size.height, "RGBA", opaque) if with_alpha else kept
        [picture] = await pictures_of(backend, replace(edit, size=size, images=(given,), mask=mask))

        row, left = 3 * size.width, 3 * (size.width // 2)
        for start in range(0, len(picture), row):
            assert picture[start : start + left] == kept.data[start : start + left]
        assert any(
            picture[start + left : start + row] != kept.data[start + left : start + row]
            for start in range(0, len(picture), row)
        )


async def test_a_mask_of_nothing_changes_nothing(backend: Backend, model: ModelSpec, edit: PaintOrder) -> None:
    if not model.capabilities.mask:
        pytest.skip("not among its capabilities")
    nothing = Pixels(edit.size.width, edit.size.height, "L", bytes(edit.size.width * edit.size.height))

    assert await pictures_of(backend, replace(edit, mask=nothing)) == [edit.images[0].data]


async def test_strength_says_how_far_to_go(backend: Backend, model: ModelSpec, edit: PaintOrder) -> None:
    if model.capabilities.strength is None:
        pytest.skip("not among its capabilities")
    least, most = model.capabilities.strength.minimum, model.capabilities.strength.maximum

    [near] = await pictures_of(backend, replace(edit, strength=least))
    [far] = await pictures_of(backend, replace(edit, strength=most))

    assert distance(near, edit.images[0].data) < 12
    assert distance(far, edit.images[0].data) > 2 * distance(near, edit.images[0].data)


async def test_edits_have_previews_too(backend: Backend, model: ModelSpec, edit: PaintOrder) -> None:
    if not (model.capabilities.streaming and model.capabilities.mask):
        pytest.skip("not among its capabilities")
    steps = model.capabilities.num_inference_steps
    order = replace(edit, previews=1, mask=half(edit.size), num_inference_steps=round(steps.default) if steps else 4)

    events = await events_of(backend, order)

    done = [(event.step, event.steps) for event in events if isinstance(event, Progress)]
    assert done[-1][0] == done[-1][1]
    assert sum(isinstance(event, Progress) and event.preview is not None for event in events) == 1


@pytest.mark.parametrize("prompt", ["a", "🦊", "狐", "fox " * 8000, "\n\t.", "a\u0301", "<|endoftext|> [CLS]"])
async def test_any_prompt_is_painted_or_refused(backend: Backend, order: PaintOrder, prompt: str) -> None:
    with suppress(ContentPolicyViolation):
        assert len(await pictures_of(backend, replace(order, prompt=prompt))) == 1


# --- how it stops ---


async def test_closing_the_generator_stops_it(backend: Backend, order: PaintOrder) -> None:
    events = backend.generate(replace(order, seeds=tuple(range(10))))
    await anext(events)
    async with asyncio.timeout(10):
        await events.aclose()

    assert len(await pictures_of(backend, order)) == 1


async def test_cancelling_whoever_waits_for_an_event_stops_it(backend: Backend, order: PaintOrder) -> None:
    for turns in (0, 1, 3):
        waiting = asyncio.create_task(events_of(backend, replace(order, seeds=tuple(range(10)))))
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(asyncio.CancelledError):
                await waiting

    assert len(await pictures_of(backend, order)) == 1


async def test_a_slow_reader_does_not_hold_others_up(backend: Backend, order: PaintOrder) -> None:
    slow = backend.generate(replace(order, seeds=tuple(range(10))))
    await anext(slow)

    async with asyncio.timeout(30):
        assert len(await pictures_of(backend, order)) == 1

    await slow.aclose()


@pytest.mark.parametrize("name", NAMES)
async def test_closing_the_backend_ends_orders_under_way_and_it_can_be_opened_again(name: str) -> None:
    backend = make_backend(name)
    can = backend.models()[0].capabilities
    order = PaintOrder(
        backend.models()[0].id,
        "a red fox",
        can.native_size,
        tuple(range(10)),
        num_inference_steps=round(can.num_inference_steps.default) if can.num_inference_steps else 1,
        guidance_scale=can.guidance_scale.default if can.guidance_scale else None,
    )
    with pytest.raises(BackendUnavailable):
        await events_of(backend, order)
    await backend.open()
    async with aclosing(backend.generate(order)) as events:
        await anext(events)

        await backend.close()

        async with asyncio.timeout(10):
            with pytest.raises((BackendUnavailable, asyncio.CancelledError)):
                async for _ in events:
                    pass
    await backend.open()
    assert len(await pictures_of(backend, replace(order, seeds=(1,)))) == 1
    await backend.close()
    await backend.close()


async def test_the_fake_backend_knows_the_sizes_of_the_wire() -> None:
    assert {Size(1024, 1024), Size(1536, 1024), Size(1024, 1536)} <= set(FakeBackend().models()[0].capabilities.sizes)
