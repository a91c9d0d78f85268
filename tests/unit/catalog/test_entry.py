"""Checking a request against what its model can do; what the wire tests cannot reach with their one model."""

from dataclasses import replace
from typing import Any

import pytest

from pinxit.backends.interface import Capabilities, Range
from pinxit.catalog.entry import Entry
from pinxit.errors import InvalidValue
from pinxit.images.request import Encoding, ImageRequest
from pinxit.images.size import Size
from pinxit.testing.fake_backend import FAKE_1

PLAIN = Capabilities(
    sizes=(Size(64, 64), Size(128, 64)),
    default_size=Size(64, 64),
    native_size=Size(64, 64),
    max_n=2,
    seed=False,
    encodings=(Encoding.PNG,),
)


def make_entry(capabilities: Capabilities = FAKE_1.capabilities, **defaults: Any) -> Entry:
    return Entry("model-1", "fake", replace(FAKE_1, capabilities=capabilities), "", defaults)


def ask(**fields: Any) -> ImageRequest:
    return ImageRequest("model-1", "x", **fields)


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("seed", {"seed": 1}),
        ("negative_prompt", {"negative_prompt": "x"}),
        ("negative_prompt", {"negative_prompt": ""}),
        ("num_inference_steps", {"num_inference_steps": 1}),
        ("guidance_scale", {"guidance_scale": 1.0}),
        ("strength", {"strength": 0.5}),
        ("loras", {"loras": ("a",)}),
        ("background", {"background": "transparent"}),
        ("n", {"n": 3}),
        ("output_format", {"encoding": Encoding.WEBP}),
        ("quality", {"quality": "low"}),
        ("style", {"style": "cubist"}),
        ("size", {"size": "1:1"}),
        ("size", {"size": "64x128"}),
    ],
)
def test_what_a_model_cannot_do_is_refused_by_name(param: str, fields: dict[str, Any]):
    with pytest.raises(InvalidValue) as refused:
        make_entry(PLAIN).check(ask(**fields))
    assert refused.value.param == param


def test_a_plain_model_paints_a_plain_request():
    order = make_entry(PLAIN).check(ask(n=2)).paint
    assert (order.size, order.num_inference_steps, order.guidance_scale, order.style) == (Size(64, 64), 1, None, None)


@pytest.mark.parametrize("style", ["vivid", "natural"])
def test_openai_s_styles_are_understood_everywhere(style: str):
    assert make_entry(PLAIN).check(ask(style=style)).paint.style is None
    assert make_entry().check(ask(style=style)).paint.style == style


def test_the_message_says_what_there_is():
    with pytest.raises(InvalidValue, match="Allowed: 64x64, 128x64, auto"):
        make_entry(PLAIN).check(ask(size="1x1"))


@pytest.mark.parametrize(
    ("seed", "n", "seeds"),
    [(0, 3, (0, 1, 2)), (2**32 - 1, 3, (2**32 - 1, 0, 1)), (7, 1, (7,))],
)
def test_each_picture_has_its_own_seed(seed: int, n: int, seeds: tuple[int, ...]):
    assert make_entry().check(ask(seed=seed, n=n)).paint.seeds == seeds


def test_a_seed_that_nobody_chose_is_random():
    firsts = {make_entry().check(ask()).paint.seeds[0] for _ in range(50)}
    assert len(firsts) > 45
    assert all(0 <= seed < 2**32 for seed in firsts)


DEFAULTS = {
    "size": "512x512",
    "quality": "high",
    "guidance_scale": 9,
    "negative_prompt": "blur",
    "style": "natural",
}


def test_an_entry_s_defaults_fill_in_what_is_open():
    checked = make_entry(**DEFAULTS).check(ask())
    assert checked.quality == "high"
    assert checked.paint.size == Size(512, 512)
    assert (checked.paint.guidance_scale, checked.paint.num_inference_steps) == (9.0, 8)
    assert (checked.paint.negative_prompt, checked.paint.style) == ("blur", "natural")


def test_and_nothing_else():
    request = ask(size="256x256", quality="low", guidance_scale=2.0, negative_prompt="", style="vivid")
    checked = make_entry(**DEFAULTS).check(request)
    assert checked.quality == "low"
    assert checked.paint.size == Size(256, 256)
    assert (checked.paint.guidance_scale, checked.paint.num_inference_steps) == (2.0, 2)
    assert (checked.paint.negative_prompt, checked.paint.style) == ("", "vivid")


@pytest.mark.parametrize(
    ("defaults", "fields", "quality", "steps"),
    [
        ({}, {}, "medium", 4),
        ({}, {"quality": "high"}, "high", 8),
        ({}, {"num_inference_steps": 5}, "medium", 5),
        ({}, {"quality": "low", "num_inference_steps": 5}, "low", 5),
        ({"num_inference_steps": 2}, {}, "low", 2),
        ({"num_inference_steps": 7}, {}, "auto", 7),
        ({"num_inference_steps": 7}, {"quality": "high"}, "high", 8),
        ({"quality": "low", "num_inference_steps": 7}, {}, "low", 2),
    ],
)
def test_quality_and_steps(defaults: dict[str, Any], fields: dict[str, Any], quality: str, steps: int):
    checked = make_entry(**defaults).check(ask(**fields))
    assert (checked.quality, checked.paint.num_inference_steps) == (quality, steps)


@pytest.mark.parametrize(
    ("param", "value"), [("guidance_scale", 0.9), ("guidance_scale", 20.1), ("num_inference_steps", 51)]
)
def test_out_of_range_is_refused_with_the_range(param: str, value: float):
    with pytest.raises(InvalidValue, match=r"Allowed: 1 to (20|50)\."):
        make_entry().check(ask(**{param: value}))


def test_the_bounds_belong_to_the_range():
    can = replace(FAKE_1.capabilities, guidance_scale=Range(1.5, 2.5, 2.0))
    for value in (1.5, 2.5):
        assert make_entry(can).check(ask(guidance_scale=value)).paint.guidance_scale == value


def test_jpeg_has_no_transparency():
    with pytest.raises(InvalidValue) as refused:
        make_entry().check(ask(background="transparent", encoding=Encoding.JPEG))
    assert refused.value.param == "background"
