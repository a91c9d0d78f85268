import numpy as np
import pytest
from painting import MakeOrder

from pinxit.images.pixels import Pixels
from pinxit.images.size import Size
from pinxit_otter.beginning import Beginning, begin
from pinxit_otter.enlarge import Picture
from pinxit_otter.sampler import Latents, noise

ENCODED = noise(99)


def pixels(array: Picture) -> Pixels:
    height, width = array.shape[:2]
    mode = "L" if array.ndim == 2 else "RGB" if array.shape[2] == 3 else "RGBA"
    return Pixels(width, height, mode, array.tobytes())  # type: ignore[arg-type]


def noisy(width: int, height: int, channels: int = 3) -> Picture:
    return np.random.default_rng(1).integers(0, 256, (height, width, channels)).astype(np.uint8)


def masked(make_order: MakeOrder, mask: Picture, image: Picture | None = None) -> Beginning:
    height, width = mask.shape
    image = noisy(width, height) if image is None else image
    order = make_order(size=Size(width, height), images=(pixels(image),), mask=pixels(mask), strength=0.5)
    return begin(order, lambda _: ENCODED)


def shares(beginning: Beginning) -> Picture:
    assert beginning.part is not None
    return np.asarray(beginning.part.shares)


def positions(beginning: Beginning) -> Picture:
    assert beginning.part is not None
    return beginning.part.positions.reshape(8, 8)


@pytest.mark.parametrize("size", [Size(256, 256), Size(512, 256), Size(256, 384), Size(128, 128)], ids=str)
def test_the_model_sees_the_square_in_the_middle(make_order: MakeOrder, size: Size) -> None:
    seen: list[Picture] = []
    picture = np.zeros((size.height, size.width, 3), np.uint8)
    side = min(size.width, size.height)
    top, left = (size.height - side) // 2, (size.width - side) // 2
    picture[top : top + side, left : left + side] = (10, 200, 30)

    def encode(small: Picture) -> Latents:
        seen.append(small)
        return ENCODED

    begin(make_order(size=size, images=(pixels(picture),)), encode)

    assert seen[0].shape == (256, 256, 4)
    assert (seen[0] == (10, 200, 30, 255)).all()


def test_what_is_transparent_is_white(make_order: MakeOrder) -> None:
    picture = noisy(256, 256, 4)
    picture[..., 3] = 0
    seen: list[Picture] = []
    nothing = np.zeros((256, 256), np.uint8)
    order = make_order(images=(pixels(picture),), mask=pixels(nothing))

    beginning = begin(order, lambda small: (seen.append(small), ENCODED)[1])

    assert (seen[0] == 0).all(), "the model sees that nothing is there"
    assert set(beginning.put_back(pixels(noisy(256, 256))).data) == {255}


def test_what_is_transparent_stays_so_if_it_is_asked_for(make_order: MakeOrder) -> None:
    picture, painted = noisy(256, 256, 4), noisy(256, 256, 4)
    mask = np.zeros((256, 256), np.uint8)
    mask[:, 128:] = 255
    order = make_order(images=(pixels(picture),), mask=pixels(mask), transparent=True)

    whole = begin(order, lambda _: ENCODED).put_back(pixels(painted))

    assert whole.mode == "RGBA"
    rows = np.frombuffer(whole.data, np.uint8).reshape(256, 256, 4)
    assert np.array_equal(rows[:, :128], picture[:, :128])
    assert np.array_equal(rows[:, 140:], painted[:, 140:])


def test_what_is_clear_does_not_darken_what_is_painted_beside_it(make_order: MakeOrder) -> None:
    clear, red = np.zeros((256, 256, 4), np.uint8), np.full((256, 256, 4), (200, 30, 40, 255), np.uint8)
    mask = np.full((256, 256), 128, np.uint8)
    order = make_order(images=(pixels(clear),), mask=pixels(mask), transparent=True)

    whole = begin(order, lambda _: ENCODED).put_back(pixels(red))

    colours = set(zip(*[iter(whole.data)] * 4, strict=True))
    assert all(np.abs(np.subtract(colour, (200, 30, 40, 128))).max() <= 2 for colour in colours)


def test_noise_comes_over_the_picture_as_time_says() -> None:
    beginning, over = Beginning(ENCODED, None), noise(1)

    assert np.array_equal(beginning.at(0.0, over), ENCODED)
    assert np.array_equal(beginning.at(1.0, over), over)
    assert np.allclose(beginning.at(0.25, over), 0.75 * ENCODED + 0.25 * over)
    assert beginning.at(0.3, over).dtype == np.float32


def test_without_a_mask_all_is_painted() -> None:
    beginning, painted = Beginning(ENCODED, None), pixels(noisy(8, 8))

    assert beginning.put_back(painted) is painted
    assert np.array_equal(beginning.kept_at(0.5, noise(1), noise(2)), noise(2))


def test_positions_without_anything_to_paint_are_the_pictures_own(make_order: MakeOrder) -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[32:64, 95:97] = 1  # the last column of one position and the first of the next
    beginning = masked(make_order, mask)

    free = positions(beginning)
    latents = beginning.kept_at(0.25, noise(1), noise(2)).reshape(8, 8, 32)

    assert np.argwhere(free).tolist() == [[1, 2], [1, 3]]
    assert np.array_equal(latents[free], noise(2).reshape(8, 8, 32)[free])
    assert np.array_equal(latents[~free], beginning.at(0.25, noise(1)).reshape(8, 8, 32)[~free])


def test_a_mask_beside_the_square_frees_no_position(make_order: MakeOrder) -> None:
    mask = np.zeros((256, 512), np.uint8)
    mask[:, :128] = 255
    assert not positions(masked(make_order, mask)).any()
    mask[:, 128] = 255
    assert positions(masked(make_order, mask))[:, 0].all()


def test_kept_pixels_are_kept_and_painted_ones_painted(make_order: MakeOrder) -> None:
    generator = np.random.default_rng(2)
    mask = np.repeat(np.repeat(generator.integers(0, 2, (8, 8)), 32, 0), 64, 1).astype(np.uint8) * 255
    kept, painted = noisy(512, 256), 255 - noisy(512, 256)
    beginning = masked(make_order, mask, kept)

    whole = np.frombuffer(beginning.put_back(pixels(painted)).data, np.uint8).reshape(256, 512, 3)

    assert np.array_equal(whole[mask == 0], kept[mask == 0])
    deep = shares(beginning) == 255
    assert np.array_equal(whole[deep], painted[deep])
    assert deep.sum() > 0.8 * (mask == 255).sum()


def test_between_is_blended_in_proportion(make_order: MakeOrder) -> None:
    for level in (1, 64, 128, 254):
        beginning = masked(make_order, np.full((256, 256), level, np.uint8), np.zeros((256, 256, 3), np.uint8))
        whole = beginning.put_back(pixels(np.full((256, 256, 3), 255, np.uint8)))
        assert set(whole.data) == {level}


def test_the_border_is_soft_within_what_is_painted(make_order: MakeOrder) -> None:
    mask = np.zeros((1024, 1024), np.uint8)
    mask[:, 512:] = 255
    row = shares(masked(make_order, mask))[500]
    assert (row[:512] == 0).all()
    assert (np.diff(row[511:517].astype(int)) > 0).all()
    assert (row[516:] == 255).all()


def test_a_thin_line_is_painted_nevertheless(make_order: MakeOrder) -> None:
    mask = np.zeros((1024, 1024), np.uint8)
    mask[:, 512] = 255
    assert (shares(masked(make_order, mask))[:, 512] > 20).all()
