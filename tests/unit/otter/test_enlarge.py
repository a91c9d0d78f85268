import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.images.pixels import Pixels
from pinxit.images.size import Size
from pinxit_otter.enlarge import Picture, _median, as_pixels, enlarge
from pinxit_otter.spec import OTTER_1

SIZES = OTTER_1.capabilities.sizes


def plain(colour: tuple[int, int, int]) -> Picture:
    return np.broadcast_to(np.array(colour, np.uint8), (128, 128, 3)).copy()


def with_disc(ground: tuple[int, int, int], disc: tuple[int, int, int]) -> Picture:
    picture = plain(ground)
    rows, columns = np.mgrid[:128, :128]
    picture[(rows - 63.5) ** 2 + (columns - 63.5) ** 2 < 50**2] = disc
    return picture


def array(pixels: Pixels) -> Picture:
    return np.frombuffer(pixels.data, np.uint8).reshape(pixels.height, pixels.width, 3)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_is_had(size: Size) -> None:
    pixels = enlarge(with_disc((255, 255, 255), (200, 30, 40)), size)
    assert (pixels.width, pixels.height, pixels.mode) == (size.width, size.height, "RGB")


@given(colour=st.tuples(*[st.integers(0, 255)] * 3), size=st.sampled_from([Size(256, 256), Size(384, 256)]))
def test_one_colour_stays_that_colour(colour: tuple[int, int, int], size: Size) -> None:
    assert (array(enlarge(plain(colour), size)) == colour).all()


@pytest.mark.parametrize("size", [Size(1536, 1024), Size(1024, 1536)], ids=str)
@pytest.mark.parametrize("ground", [(255, 255, 255), (60, 120, 230)])
def test_the_ground_goes_on_without_streaks(ground: tuple[int, int, int], size: Size) -> None:
    picture = with_disc(ground, (200, 30, 40))
    generator = np.random.default_rng(1)
    picture = np.clip(picture + generator.integers(-4, 5, picture.shape), 0, 255).astype(np.uint8)
    wide = array(enlarge(picture, size))
    wide = wide if size.width > size.height else wide.transpose(1, 0, 2)
    for band in (wide[:, :200], wide[:, -200:]):
        assert np.abs(band.astype(int) - ground).max() <= 5
        assert (band == band[0, 0]).all()


def test_a_ground_of_two_colours_goes_on_softly() -> None:
    picture = plain((40, 60, 200))
    picture[64:] = (60, 180, 70)
    band = array(enlarge(picture, Size(1536, 1024)))[:, :200].astype(int)
    assert np.abs(band[0, 0] - (40, 60, 200)).max() < 25
    assert np.abs(band[-1, 0] - (60, 180, 70)).max() < 25
    assert np.abs(np.diff(band[:, 0], axis=0)).max() <= 2


def test_the_thing_is_in_the_middle() -> None:
    wide = array(enlarge(with_disc((255, 255, 255), (200, 30, 40)), Size(1536, 1024))).astype(int)
    assert np.abs(wide - wide[:, ::-1]).max() <= 6
    assert tuple(wide[512, 768]) == (200, 30, 40)


def test_enlarging_keeps_the_picture() -> None:
    """Shrunk again, it is the same but for the median and the unsharp mask at edges."""
    picture = with_disc((255, 255, 255), (200, 30, 40))
    large = array(enlarge(picture, Size(1024, 1024))).astype(float)
    again = large.reshape(128, 8, 128, 8, 3).mean(axis=(1, 3))
    assert np.abs(again - picture).mean() < 1.5


def test_median_is_the_median_of_nine() -> None:
    picture = np.random.default_rng(2).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(
        np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge"), (3, 3), (0, 1)
    )
    assert np.array_equal(_median(picture), np.median(windows, axis=(-1, -2)))


def test_as_pixels_keeps_every_byte() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    assert as_pixels(picture).data == picture.tobytes()
