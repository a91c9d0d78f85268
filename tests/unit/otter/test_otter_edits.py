"""Edits with the real weights."""

import asyncio

import numpy as np
import pytest
from painting import MakeOrder, all_events, paint

from pinxit.backends.interface import Progress
from pinxit.images.pixels import Pixels
from pinxit_otter.backend import OtterBackend
from pinxit_otter.enlarge import Picture


def as_array(data: bytes) -> Picture:
    return np.frombuffer(data, np.uint8).reshape(256, 256, 3)


async def painted(otter: OtterBackend, make_order: MakeOrder, prompt: str) -> Pixels:
    [data] = await paint(otter, make_order(prompt, seeds=(3,), num_inference_steps=8))
    return Pixels(256, 256, "RGB", data)


@pytest.mark.parametrize("prompt", ["a red apple", "a robot", "a rocket on a blue background"])
async def test_a_picture_survives_the_way_to_latents_and_back(
    otter: OtterBackend, make_order: MakeOrder, prompt: str
) -> None:
    image = await painted(otter, make_order, prompt)
    small = np.dstack([as_array(image.data), np.full((256, 256), 255, np.uint8)])
    assert otter._painter is not None
    network = otter._painter._network

    latents = network.encode_picture(small)
    back = network.decode(latents)

    assert latents.shape == (64, 32)
    assert latents.dtype == np.float32
    assert 0.7 < latents.std() < 1.4, "as the denoiser knows them"
    error = np.mean((back.astype(float) - small) ** 2)
    assert 10 * np.log10(255**2 / error) > 24


async def test_a_red_apple_becomes_a_green_one(otter: OtterBackend, make_order: MakeOrder) -> None:
    red = await painted(otter, make_order, "a red apple")
    order = make_order("a green apple", images=(red,), strength=0.9, num_inference_steps=8)
    [green] = await paint(otter, order)

    was, now = (as_array(data)[96:200, 64:192].reshape(-1, 3).mean(axis=0) for data in (red.data, green))
    assert was[0] > was[1] + 100
    assert now[1] > now[0] + 20


async def test_edits_are_the_same_pictures_alone_and_among_strangers(
    otter: OtterBackend, make_order: MakeOrder
) -> None:
    image = await painted(otter, make_order, "a robot")
    mask = Pixels(256, 256, "L", (bytes(100) + b"\xff" * 156) * 256)
    orders = [
        make_order("a robot", images=(image,), strength=0.5, num_inference_steps=8, style="3d"),
        make_order("a ghost", seeds=(4, 5), num_inference_steps=7),
        make_order("an owl", images=(image,), mask=mask, strength=0.8, seeds=(1, 2), num_inference_steps=9),
        make_order("an owl", images=(image,), strength=1.0),
    ]
    alone = [await paint(otter, order) for order in orders]

    assert await asyncio.gather(*(paint(otter, order) for order in orders)) == alone


async def test_all_the_way_without_a_mask_is_a_picture_from_noise(otter: OtterBackend, make_order: MakeOrder) -> None:
    image = await painted(otter, make_order, "a robot")
    edited = await paint(otter, make_order(images=(image,), strength=1.0, style="3d"))
    assert edited == await paint(otter, make_order(style="3d"))


@pytest.mark.parametrize("transparent", [True, False])
async def test_alpha_is_kept_or_laid_on_white(otter: OtterBackend, make_order: MakeOrder, transparent: bool) -> None:
    clear = np.zeros((256, 256, 4), np.uint8)
    clear[64:192, 64:192] = (200, 30, 40, 255)
    image = Pixels(256, 256, "RGBA", clear.tobytes())
    mask = Pixels(256, 256, "L", bytes(256 * 128) + b"\xff" * (256 * 128))

    [data] = await paint(
        otter, make_order("a robot", images=(image,), mask=mask, strength=0.8, transparent=transparent)
    )

    kept = np.frombuffer(data, np.uint8).reshape(256, 256, -1)[:128]
    on_white = np.where(clear[:128, :, 3:] == 255, clear[:128, :, :3], 255)
    assert np.array_equal(kept, clear[:128] if transparent else on_white)


async def test_closing_an_edit_frees_everything(otter: OtterBackend, make_order: MakeOrder) -> None:
    image = await painted(otter, make_order, "a robot")
    events = otter.generate(make_order(images=(image,), strength=1.0, seeds=(1, 2), num_inference_steps=50))
    while not isinstance(await anext(events), Progress):
        pass
    await events.aclose()
    assert otter._painter is not None
    assert otter._painter.orders_in_hand == 0
    assert len(await all_events(otter.generate(make_order(images=(image,), strength=0.5)))) == 5
