"""Files of pictures: they hold the pixels and the texts, are the same twice, and are sized up without being decoded."""

import io
import json
import random
import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from pinxit.images.encoding import MAX_SIDE, encode, inspect
from pinxit.images.pixels import Pixels
from pinxit.images.request import Encoding
from pinxit.images.size import Size

ALL = list(Encoding)
LOSSY = [Encoding.JPEG, Encoding.WEBP]
PROMPT = "a sea otter — ラッコ 🦦 with a “pearl”\nand \\ back"


def smooth(width=96, height=64, mode="RGB") -> Pixels:
    """A picture like painted ones: broad gradients."""
    few = Image.frombytes(mode, (6, 4), random.Random(1).randbytes(6 * 4 * len(mode)))
    return Pixels(width, height, mode, few.resize((width, height), Image.Resampling.BICUBIC).tobytes())


def decoded(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def texts_of(data: bytes) -> dict[str, str]:
    """The metadata as any reader of the format gets at it."""
    image = decoded(data)
    if image.format == "PNG":
        return image.text
    comment = image.getexif().get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment]
    return json.loads(comment[8:].decode({b"ASCII\0\0\0": "ascii", b"UNICODE\0": "utf-16-be"}[comment[:8]]))


def difference(pixels: Pixels, image: Image.Image) -> float:
    """Mean absolute difference of the samples, 0..255."""
    other = image.convert(pixels.mode).tobytes()
    return sum(abs(a - b) for a, b in zip(pixels.data, other, strict=True)) / len(other)


# --- encode ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_png_is_exact(mode):
    image = decoded(encode(smooth(mode=mode), Encoding.PNG))
    assert (image.format, image.mode, image.tobytes()) == ("PNG", mode, smooth(mode=mode).data)


@pytest.mark.parametrize("encoding", LOSSY)
def test_lossy_is_close(encoding):
    image = decoded(encode(smooth(), encoding))
    assert (image.format, image.size) == (encoding.value.upper(), (96, 64))
    assert difference(smooth(), image) < 3


@pytest.mark.parametrize("encoding", LOSSY)
def test_100_is_the_best_and_largest(encoding):
    files = [encode(smooth(), encoding, compression) for compression in (0, 50, 100)]
    assert len(files[0]) < len(files[1]) < len(files[2])
    differences = [difference(smooth(), decoded(file)) for file in files]
    assert differences[0] > differences[1] > differences[2]


def test_png_has_no_compression_to_choose():
    assert encode(smooth(), Encoding.PNG, 0) == encode(smooth(), Encoding.PNG, 100)


def test_jpeg_keeps_colours_sharp_when_good():
    def sampling(compression: int) -> object:
        return decoded(encode(smooth(), Encoding.JPEG, compression)).layer[0][1:3]

    assert (sampling(90), sampling(89)) == ((1, 1), (2, 2))


def test_jpeg_puts_transparency_on_white():
    pixels = Pixels(16, 16, "RGBA", bytes((200, 0, 0, 0)) * 128 + bytes((0, 0, 200, 255)) * 128)
    image = decoded(encode(pixels, Encoding.JPEG, 100))
    assert all(channel > 250 for channel in image.getpixel((8, 1)))
    assert image.getpixel((8, 14))[2] > 190
    assert image.getpixel((8, 14))[0] < 10


def test_webp_keeps_transparency():
    image = decoded(encode(smooth(mode="RGBA"), Encoding.WEBP))
    assert image.getchannel("A").tobytes() == smooth(mode="RGBA").data[3::4]


@pytest.mark.parametrize("encoding", ALL)
def test_equal_orders_give_equal_bytes(encoding):
    metadata = {"Software": "Pinxit", "prompt": PROMPT, "seed": "7"}
    assert encode(smooth(), encoding, None, metadata) == encode(smooth(), encoding, None, dict(metadata))


@pytest.mark.parametrize("encoding", ALL)
@pytest.mark.parametrize("prompt", ["plain", PROMPT, "café", "", "\x01\x7f\r\n", '{"a": "b"}'])
def test_texts_come_back(encoding, prompt):
    metadata = {"Software": "Pinxit 1.0", "prompt": prompt, "seed": "7"}
    assert list(texts_of(encode(smooth(), encoding, None, metadata)).items()) == list(metadata.items())


@pytest.mark.parametrize("encoding", LOSSY)
def test_software_is_an_exif_tag(encoding):
    exif = decoded(encode(smooth(), encoding, None, {"Software": "Pinxit ü", "seed": "7"})).getexif()
    assert exif[ExifTags.Base.Software] == "Pinxit ?"


@pytest.mark.parametrize("encoding", ALL)
def test_no_metadata_leaves_none(encoding):
    image = decoded(encode(smooth(), encoding))
    assert not image.getexif()
    assert not getattr(image, "text", {})


@pytest.mark.parametrize("encoding", ALL)
def test_what_no_file_can_hold_is_replaced(encoding):
    data = encode(smooth(), encoding, None, {"prompt": "a\0b\ud800c"})
    assert texts_of(data) == {"prompt": "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"}


def test_png_texts_follow_the_specification():
    """Latin-1 without NUL in tEXt, all else as UTF-8 in iTXt; before the pixels."""
    data = encode(smooth(), Encoding.PNG, None, {"seed": "é7", "prompt": PROMPT})
    kinds, position = [], 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kinds.append(data[position + 4 : position + 8])
        position += 12 + length
    assert kinds == [b"IHDR", b"tEXt", b"iTXt", b"IDAT", b"IEND"]
    assert b"iTXtprompt\0\0\0\0\0" + PROMPT.encode() in data


@pytest.mark.parametrize("encoding", ALL)
@pytest.mark.parametrize("character", ["x", "\N{OTTER}", "語", '"', "\x01"])
def test_the_longest_prompt_fits(encoding, character):
    prompt = character * 32_000
    data = encode(smooth(), encoding, None, {"Software": "Pinxit", "prompt": prompt, "seed": "4294967295"})
    texts = texts_of(data)
    assert texts["seed"] == "4294967295"
    if encoding is Encoding.PNG or character == "x":
        assert texts["prompt"] == prompt
    else:
        kept = texts["prompt"].removesuffix("...")
        assert prompt.startswith(kept)
        assert len(json.dumps(kept, ensure_ascii=False).encode("utf-16-be")) > 60_000 or character == '"'
        assert len(kept) > 10_000 or character == "\x01"


@pytest.mark.parametrize("encoding", LOSSY)
def test_two_long_texts_share_the_room(encoding):
    metadata = {"prompt": "語" * 32_000, "negative_prompt": "x" * 32_000, "style": "vivid"}
    texts = texts_of(encode(smooth(), encoding, None, metadata))
    assert len(texts["prompt"]) == len(texts["negative_prompt"]) > 15_000
    assert texts["style"] == "vivid"


@pytest.mark.parametrize("compression", [-1, 101])
def test_compression_has_bounds(compression):
    with pytest.raises(ValueError, match="0 to 100"):
        encode(smooth(), Encoding.JPEG, compression)


@pytest.mark.parametrize("name", ["", "x" * 80, "ä", " x", "x\0y", "x\ny"])
def test_names_of_texts_fit_every_format(name):
    with pytest.raises(ValueError, match="cannot name"):
        encode(smooth(), Encoding.PNG, None, {name: "x"})


# --- inspect --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ALL)
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("metadata", [{}, {"prompt": PROMPT}])
@pytest.mark.parametrize(("width", "height"), [(96, 64), (1, 1), (1, 300)])
def test_own_files_are_understood(encoding, mode, metadata, width, height):
    data = encode(smooth(width, height, mode), encoding, None, metadata)
    assert inspect(data) == (encoding, Size(width, height))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"format": "JPEG", "progressive": True}, Encoding.JPEG),
        ({"format": "JPEG", "comment": b"hello", "icc_profile": b"x" * 100_000}, Encoding.JPEG),
        ({"format": "WEBP", "lossless": True}, Encoding.WEBP),
        ({"format": "WEBP", "lossless": True, "icc_profile": b"x" * 10}, Encoding.WEBP),
        ({"format": "PNG", "interlace": True}, Encoding.PNG),
    ],
)
def test_files_of_others_are_understood(options, expected):
    file = io.BytesIO()
    Image.new("RGB", (120, 80), "teal").save(file, **options)
    assert inspect(file.getvalue()) == (expected, Size(120, 80))


def test_fill_bytes_between_segments_are_understood():
    data = encode(smooth(), Encoding.JPEG)
    assert inspect(data[:2] + b"\xff\xff\xff" + data[2:]) == (Encoding.JPEG, Size(96, 64))


@pytest.mark.parametrize("format_name", ["GIF", "BMP", "TIFF", "ICO", "PPM"])
def test_other_formats_are_refused(format_name):
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, format_name)
    with pytest.raises(ValueError, match="not a PNG, JPEG or WebP"):
        inspect(file.getvalue())


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"<svg/>", b"RIFF\0\0\0\0WAVEfmt ", b"\xff\xd8", b"GIF89a"])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(ValueError):
        inspect(data)


@pytest.mark.parametrize("format_name", ["PNG", "WEBP"])
def test_animations_are_refused(format_name):
    file = io.BytesIO()
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(file, format_name, save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match="animated"):
        inspect(file.getvalue())


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int) -> bytes:
    return png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def test_a_bomb_is_refused_without_being_decoded():
    """17 KB of PNG that would be 144 million pixels."""
    pixels = zlib.compress(bytes(17_000_000), 9)
    data = SIGNATURE + png_header(12_000, 12_000) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")
    assert 16_000 < len(data) < 18_000
    tracemalloc.start()
    with pytest.raises(ValueError, match="12000x12000 pixels is not within 4096x4096"):
        inspect(data)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 100_000


def test_a_second_header_cannot_hide():
    rest = png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="two headers"):
        inspect(SIGNATURE + png_header(8, 8) + png_header(30_000, 30_000) + rest)
    jpeg = encode(smooth(8, 8), Encoding.JPEG)
    frame = jpeg.index(b"\xff\xc0")
    huge = b"\xff\xc0\0\x11\x08\x75\x30\x75\x30\x03\x01\x11\0\x02\x11\x01\x03\x11\x01"
    with pytest.raises(ValueError, match="2 frame headers"):
        inspect(jpeg[:frame] + huge + jpeg[frame:])


@pytest.mark.parametrize("encoding", ALL)
@pytest.mark.parametrize("size", [(MAX_SIDE + 1, 1), (1, MAX_SIDE + 1)])
def test_too_large_is_refused(encoding, size):
    file = io.BytesIO()
    Image.new("L", size).save(file, encoding.value)
    with pytest.raises(ValueError, match="not within"):
        inspect(file.getvalue())


def test_the_largest_is_allowed():
    data = SIGNATURE + png_header(MAX_SIDE, MAX_SIDE) + png_chunk(b"IDAT", b"")
    assert inspect(data) == (Encoding.PNG, Size(4096, 4096))
    with pytest.raises(ValueError, match="0x5"):
        inspect(SIGNATURE + png_header(0, 5) + png_chunk(b"IDAT", b""))


@pytest.mark.parametrize("encoding", ALL)
def test_cut_off_headers_are_refused(encoding):
    data = encode(smooth(8, 8), encoding, None, {"prompt": "x"})
    end = {Encoding.PNG: data.find(b"IDAT"), Encoding.JPEG: data.find(b"\xff\xda"), Encoding.WEBP: 30}[encoding]
    for length in range(end):
        with pytest.raises(ValueError):
            inspect(data[:length])


@given(
    st.sampled_from([SIGNATURE, b"\xff\xd8\xff", b"RIFF....WEBP", b"RIFF....WEBPVP8X", b""]), st.binary(max_size=200)
)
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_judged_or_refused(start, rest):
    try:
        _, size = inspect(start + rest)
    except ValueError:
        return
    assert max(size.width, size.height) <= MAX_SIDE
