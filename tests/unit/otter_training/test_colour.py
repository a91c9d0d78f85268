"""Colours by name, measured and painted."""

from collections.abc import Callable

import numpy as np
import pytest
from otter.training.data import colour
from otter.training.data.colour import COLOURS, Pixels


@pytest.mark.parametrize("name", COLOURS)
def test_every_paint_is_measured_as_what_it_is_called(name: str, disc: Callable[[str], Pixels]) -> None:
    assert colour.main_colour(disc(name)) == name


@pytest.mark.parametrize("origin", ["red", "gray", "yellow"])
@pytest.mark.parametrize("name", COLOURS)
def test_a_thing_painted_over_has_the_colour_asked_for(origin: str, name: str, disc: Callable[[str], Pixels]) -> None:
    assert colour.main_colour(colour.recolour(disc(origin), name)) == name


def test_painting_over_keeps_alpha_and_other_colours(disc: Callable[[str], Pixels]) -> None:
    picture = disc("red")
    picture[120:136, 120:136] = disc("green")[128, 128]
    picture[100:110] //= 2
    painted = colour.recolour(picture, "blue")
    np.testing.assert_array_equal(painted[..., 3], picture[..., 3])
    np.testing.assert_allclose(painted[128, 128].astype(int), picture[128, 128].astype(int), atol=3)
    assert (painted[..., :3] <= painted[..., 3:]).all()


def test_colours_survive_the_way_through_oklab() -> None:
    rgb = np.random.default_rng(0).random((1000, 3)).astype(np.float32)
    np.testing.assert_allclose(colour.from_lch(*colour.to_lch(rgb)), rgb, atol=2e-3)


def test_an_empty_picture_has_no_colour() -> None:
    empty = np.zeros((8, 8, 4), np.uint8)
    assert colour.main_colour(empty) is None
    assert not colour.is_recolourable(empty)
    np.testing.assert_array_equal(colour.recolour(empty, "red"), empty)
