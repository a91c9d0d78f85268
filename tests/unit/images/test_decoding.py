"""Pictures that clients send: upright, however their files have them."""

import io
from random import Random

import pytest
from PIL import ExifTags, Image, ImageOps

from pinxit.images.decoding import decode, decode_mask, read_header
from pinxit.images.size import Size

COLOURS = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (220, 220, 30)]
"""Of the quarters of the upright picture: top left, top right, bottom left, bottom right."""
UPRIGHT = Size(96, 64)
UNDO = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""Orientation → how the upright picture was turned to be stored."""


def file_of(orientation: int, format_: str = "JPEG") -> bytes:
    """The upright picture, stored as a camera with this orientation stores it."""
    picture = Image.new("RGB", (UPRIGHT.width, UPRIGHT.height))
    for number, colour in enumerate(COLOURS):
        picture.paste(colour, (48 * (number % 2), 32 * (number // 2), 48 * (number % 2) + 48, 32 * (number // 2) + 32))
    if orientation in UNDO:
        picture = picture.transpose(UNDO[orientation])
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    file = io.BytesIO()
    picture.save(file, format_, exif=exif.tobytes(), quality=95)
    return file.getvalue()


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright(orientation: int, format_: str):
    picture = read_header(file_of(orientation, format_))
    assert picture.size == UPRIGHT

    pixels = decode(picture, UPRIGHT)

    image = Image.frombytes(pixels.mode, (pixels.width, pixels.height), pixels.data)
    for colour, place in zip(COLOURS, [(24, 16), (72, 16), (24, 48), (72, 48)], strict=True):
        assert max(abs(a - b) for a, b in zip(image.getpixel(place), colour, strict=True)) < 12, place


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_what_other_readers_see(orientation: int):
    data = file_of(orientation)
    theirs = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    assert decode(read_header(data), UPRIGHT).data == theirs.tobytes()


def test_a_mask_is_turned_too():
    picture = Image.new("L", (64, 96), 0)
    picture.paste(255, (0, 0, 64, 48))  # the upper half as stored; at the right when upright
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    picture.save(file, "JPEG", exif=exif.tobytes(), quality=95)
    mask = read_header(file.getvalue())
    assert mask.size == UPRIGHT
    pixels = decode_mask(mask, UPRIGHT)
    assert pixels.data[32 * 96 + 10] < 10
    assert pixels.data[32 * 96 + 86] > 245


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(orientation: int):
    assert decode(read_header(file_of(orientation)), UPRIGHT).width == UPRIGHT.width


def test_garbled_metadata_is_harmless():
    """Each file is either understood or refused with a sentence; nothing else comes out."""
    random, whole = Random(1), file_of(6)
    place = whole.index(b"Exif\0\0")
    understood = 0
    for _ in range(400):
        data = bytearray(whole)
        for _ in range(random.randint(1, 6)):
            data[place + random.randrange(32)] = random.randrange(256)
        try:
            picture = read_header(bytes(data))
            pixels = decode(picture, picture.size)
        except ValueError:
            continue
        understood += 1
        assert (pixels.width, pixels.height) == (picture.size.width, picture.size.height)
    assert understood > 300
