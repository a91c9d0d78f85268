"""Parts set on one another."""

import numpy as np
import pytest

from pinxit.images.size import Size
from pinxit_otter.arrangement import Placed
from pinxit_otter.enlarge import Picture
from pinxit_otter.layers import compose
from pinxit_otter.scene import Scene

RED, BLUE = (200, 0, 0, 255), (0, 0, 200, 255)


def square(side: int) -> Size:
    return Size(side, side)


def drawn(colour: tuple[int, ...], height: int, width: int) -> Picture:
    """A block somewhere on a clear picture, with a haze around it that is nearly nothing."""
    picture = np.full((256, 256, 4), (0, 0, 0, 9), np.uint8)
    picture[20 : 20 + height, 90 : 90 + width] = colour
    return picture


def extent(picture: Picture, colour: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what has this colour."""
    rows, columns = np.nonzero((picture == colour).all(axis=2))
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize("side", [100, 256, 512])
def test_a_thing_is_set_where_it_belongs_in_its_size(side: int) -> None:
    scene = Scene(("a",), (Placed(0, 0.25, 0.5, 0.4),))
    picture = compose(scene, [drawn(RED, 80, 40)], square(side))
    assert picture.shape == (side, side, 4)
    top, bottom, left, right = extent(picture, RED)
    assert (top / side, bottom / side) == (pytest.approx(0.3, abs=0.02), pytest.approx(0.7, abs=0.02))
    assert (left / side, right / side) == (pytest.approx(0.15, abs=0.02), pytest.approx(0.35, abs=0.02))
    assert picture[:, side // 2 :].max() == 0, "what is nearly nothing is left out"


def test_what_stands_has_its_lowest_point_there() -> None:
    picture = compose(Scene(("a",), (Placed(0, 0.5, 0.9, 0.5, True),)), [drawn(RED, 50, 100)], square(256))
    top, bottom, _, _ = extent(picture, RED)
    assert (bottom, bottom - top) == (pytest.approx(0.9 * 256, abs=2), pytest.approx(64, abs=2))


def test_later_things_cover_earlier_ones_and_all_cover_the_ground() -> None:
    ground = np.broadcast_to(np.array((10, 120, 10, 255), np.uint8), (256, 256, 4))
    scene = Scene(("a", "b", "ground"), (Placed(0, 0.4, 0.5, 0.5), Placed(1, 0.6, 0.5, 0.5)), has_ground=True)
    picture = compose(scene, [drawn(RED, 80, 80), drawn(BLUE, 80, 80), ground], square(256))
    assert tuple(picture[128, 60]) == RED
    assert tuple(picture[128, 128]) == BLUE
    assert tuple(picture[5, 5]) == (10, 120, 10, 255)
    assert (picture[..., 3] == 255).all()
    assert tuple(ground[128, 128]) == (10, 120, 10, 255), "the parts stay as they are"


def test_half_clear_things_let_the_ground_through() -> None:
    ground = np.full((256, 256, 4), (100, 100, 100, 255), np.uint8)
    glass = drawn((64, 0, 0, 128), 100, 100)
    picture = compose(
        Scene(("a", "ground"), (Placed(0, 0.5, 0.5, 0.5),), has_ground=True), [glass, ground], square(256)
    )
    assert picture[128, 128].tolist() == pytest.approx([114, 50, 50, 255], abs=2)


def test_what_reaches_over_the_border_is_cut() -> None:
    for x, y in ((0.05, 0.05), (0.95, 0.95), (0.05, 0.95)):
        picture = compose(Scene(("a",), (Placed(0, x, y, 0.5),)), [drawn(RED, 80, 80)], square(128))
        assert (picture == RED).all(axis=2).sum() == pytest.approx((0.3 * 128) ** 2, rel=0.1)


def test_nothing_drawn_is_nothing_shown() -> None:
    clear = np.full((256, 256, 4), (0, 0, 0, 9), np.uint8)
    assert compose(Scene(("a",), (Placed(0, 0.5, 0.5, 0.5),)), [clear], square(64)).max() == 0


def test_colours_never_exceed_alpha() -> None:
    dice = np.random.default_rng(1)
    alpha = dice.integers(0, 256, (256, 256, 1), dtype=np.uint8)
    noisy = np.concatenate([dice.integers(0, 256, (256, 256, 3), dtype=np.uint8), alpha], axis=2)
    np.minimum(noisy[..., :3], noisy[..., 3:], out=noisy[..., :3])
    picture = compose(Scene(("a",), (Placed(0, 0.5, 0.5, 0.7), Placed(0, 0.4, 0.6, 0.9))), [noisy], square(300))
    assert (picture[..., :3] <= picture[..., 3:]).all()


@pytest.mark.parametrize(("width", "height"), [(300, 200), (200, 300)])
def test_a_ground_that_covers_all_is_stretched_and_things_are_not(width: int, height: int) -> None:
    ground = np.full((256, 256, 4), (10, 120, 10, 255), np.uint8)
    scene = Scene(("a", "ground"), (Placed(0, 0.5, 0.9, 0.5, True),), has_ground=True, level=0.9)
    picture = compose(scene, [drawn(RED, 80, 80), ground], Size(width, height))
    assert picture.shape == (height, width, 4)
    assert (picture[..., 3] == 255).all()
    top, bottom, left, right = extent(picture, RED)
    assert (bottom - top, right - left) == (pytest.approx(100, abs=3), pytest.approx(100, abs=3))
    assert (bottom, (left + right) / 2) == (pytest.approx(0.9 * height, abs=2), pytest.approx(width / 2, abs=2))


def test_a_ground_that_is_a_shape_keeps_it() -> None:
    disc = np.zeros((256, 256, 4), np.uint8)
    disc[20:236, 20:236] = (10, 120, 10, 255)
    scene = Scene(("a", "ground"), (Placed(0, 0.5, 0.5, 0.5),), has_ground=True)
    assert compose(scene, [drawn(RED, 80, 80), disc], Size(300, 200)).shape == (200, 200, 4)
