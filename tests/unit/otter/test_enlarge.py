import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.images.pixels import Pixels
from pinxit.images.size import Size
from pinxit_otter.enlarge import Picture, as_pixels, enlarge, on_white
from pinxit_otter.spec import OTTER_1

SIZES = OTTER_1.capabilities.sizes


CLEAR = (0, 0, 0, 0)


def plain(colour: tuple[int, ...]) -> Picture:
    return np.broadcast_to(np.array((*colour, 255)[:4], np.uint8), (256, 256, 4)).copy()


def with_disc(ground: tuple[int, ...], disc: tuple[int, int, int]) -> Picture:
    picture = plain(ground)
    rows, columns = np.mgrid[:256, :256]
    picture[(rows - 127.5) ** 2 + (columns - 127.5) ** 2 < 100**2] = (*disc, 255)
    return picture


def array(pixels: Pixels) -> Picture:
    return np.frombuffer(pixels.data, np.uint8).reshape(pixels.height, pixels.width, len(pixels.mode))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_size_is_had(size: Size) -> None:
    picture = with_disc(CLEAR, (200, 30, 40))
    pixels = enlarge(picture, size)
    assert (pixels.width, pixels.height, pixels.mode) == (size.width, size.height, "RGB")
    pixels = enlarge(picture, size, transparent=True)
    assert (pixels.width, pixels.height, pixels.mode) == (size.width, size.height, "RGBA")


@given(colour=st.tuples(*[st.integers(0, 255)] * 3), size=st.sampled_from([Size(256, 256), Size(384, 256)]))
def test_one_colour_stays_that_colour(colour: tuple[int, int, int], size: Size) -> None:
    assert (array(enlarge(plain(colour), size)) == colour).all()


@pytest.mark.parametrize("size", [Size(1536, 1024), Size(1024, 1536)], ids=str)
@pytest.mark.parametrize("ground", [(255, 255, 255), (60, 120, 230)])
def test_the_ground_goes_on_without_streaks(ground: tuple[int, int, int], size: Size) -> None:
    picture = with_disc(ground, (200, 30, 40))
    generator = np.random.default_rng(1)
    picture[..., :3] = np.clip(picture[..., :3] + generator.integers(-4, 5, (256, 256, 3)), 0, 255)
    wide = array(enlarge(picture, size))
    wide = wide if size.width > size.height else wide.transpose(1, 0, 2)
    for band in (wide[:, :200], wide[:, -200:]):
        assert np.abs(band.astype(int) - ground).max() <= 5
        assert (band == band[0, 0]).all()


def test_a_ground_of_two_colours_goes_on_softly() -> None:
    picture = plain((40, 60, 200))
    picture[128:] = (60, 180, 70, 255)
    band = array(enlarge(picture, Size(1536, 1024)))[:, :200].astype(int)
    assert np.abs(band[0, 0] - (40, 60, 200)).max() < 25
    assert np.abs(band[-1, 0] - (60, 180, 70)).max() < 25
    assert np.abs(np.diff(band[:, 0], axis=0)).max() <= 2


def test_the_thing_is_in_the_middle() -> None:
    wide = array(enlarge(with_disc((255, 255, 255), (200, 30, 40)), Size(1536, 1024))).astype(int)
    assert np.abs(wide - wide[:, ::-1]).max() <= 6
    assert tuple(wide[512, 768]) == (200, 30, 40)


def test_enlarging_keeps_the_picture() -> None:
    """Shrunk again, it is the same but for the unsharp mask at edges."""
    picture = with_disc((255, 255, 255), (200, 30, 40))
    large = array(enlarge(picture, Size(1024, 1024))).astype(float)
    again = large.reshape(256, 4, 256, 4, 3).mean(axis=(1, 3))
    assert np.abs(again - picture[..., :3]).mean() < 1.5


def test_its_own_size_is_the_models_picture_itself() -> None:
    picture = np.random.default_rng(3).integers(0, 256, (256, 256, 4)).astype(np.uint8)
    picture[..., 3] = 255
    assert (array(enlarge(picture, Size(256, 256))) == picture[..., :3]).all()
    assert (array(enlarge(picture, Size(256, 256), transparent=True)) == picture).all()


def test_on_white_and_transparent_are_the_same_picture() -> None:
    """What is transparent, laid on white, is what comes without asking for transparency."""
    picture = with_disc(CLEAR, (200, 30, 40))
    picture[100:150] //= 3
    clear = array(enlarge(picture, Size(512, 512), transparent=True)).astype(float)
    alpha = clear[..., 3:] / 255
    laid = clear[..., :3] * alpha + 255 * (1 - alpha)
    assert np.abs(laid - array(enlarge(picture, Size(512, 512)))).mean() < 1
    assert (clear[0, 0] == 0).all()
    assert tuple(clear[340, 256]) == (200, 30, 40, 255)


def test_colours_are_divided_by_alpha_again() -> None:
    picture = np.full((2, 2, 4), (60, 30, 0, 120), np.uint8)
    assert (
        as_pixels(picture).data == bytes((127, 63, 0, 120)) * 4
        or as_pixels(picture).data == bytes((128, 64, 0, 120)) * 4
    )
    assert tuple(on_white(picture)[0, 0]) == (195, 165, 135)


def test_a_transparent_ground_goes_on_transparent() -> None:
    wide = array(enlarge(with_disc(CLEAR, (200, 30, 40)), Size(1536, 1024), transparent=True))
    assert (wide[:, :250] == 0).all()
    assert (wide[:, -250:] == 0).all()
    assert tuple(wide[512, 768]) == (200, 30, 40, 255)
