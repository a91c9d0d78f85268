"""Makes files of pixels, and looks at the headers of files without decoding them.

Equal pixels, options and metadata give equal bytes: nothing here depends on the time or the machine's settings.
"""

import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

# The plugins are imported so that `Image.save` does not import every format that Pillow knows when it is first called.
from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401

from pinxit.images.pixels import Pixels
from pinxit.images.request import Encoding
from pinxit.images.size import Size

MAX_SIDE = 4096
"""Pixels; a picture has at most 4096 x 4096, 16 Mpx, which take 64 MiB decoded."""

# Measured on two cores, smooth pictures without and with grain, 1024x1024 (512x512 takes a quarter of the time):
#   Z_RLE                    0.9 to 1.5 MB in  55 to  75 ms
#   zlib level 1             1.1 to 1.7 MB in  60 to  90 ms
#   zlib level 6 (Pillow's)  0.8 to 1.5 MB in 325 to 390 ms
# PNG's filters leave nothing in such pictures but runs and a skewed histogram, which is what Z_RLE looks for.
_PNG_STRATEGY = zlib.Z_RLE

# Measured likewise, with the difference from the pixels:
#   JPEG  95  270 to  360 kB, 42 to 50 dB, 4 ms    100  790 to 1420 kB, 50 to 51 dB
#   WebP  95   90 to  170 kB, 40 to 45 dB, 36 ms   100  180 to  400 kB, 41 to 47 dB
_DEFAULT_QUALITY = 95

# WebP's method 4 makes such files smaller by a tenth at most, in twice the time.
_WEBP_METHOD = 2

# From here on colours keep the resolution of brightness: red on blue would bleed otherwise.
_FULL_COLOUR_QUALITY = 90

_MAX_EXIF_BYTES = 65_533
"""A JPEG segment counts its length in 16 bits, the two of the count included; WebP gets the same block."""
_EXIF_OVERHEAD_BYTES = 1024
"""More than the tags around the comment take."""
_ELLIPSIS = "..."


def encode(
    pixels: Pixels, encoding: Encoding, compression: int | None = None, metadata: Mapping[str, str] | None = None
) -> bytes:
    """The file of a picture. Takes up to half a second of processor time: call it in a thread.

    Args:
        compression: OpenAI's `output_compression`, 0..100, for jpeg and webp. Called a compression level, it is the
            quality: 100, the default there, is the best (https://platform.openai.com/docs/api-reference/images/create).
            None is 95: hard to tell from 100 by eye, in less than half the bytes.
        metadata: names and texts to keep in the file, in this order. PNG: one text chunk each
            (https://www.w3.org/TR/png-3/#11textinfo). JPEG and WebP: EXIF, `Software` as that tag and everything as one
            JSON object in UserComment (CIPA DC-008); texts that do not fit its 64 KiB end in `...`.

    Raises:
        ValueError: `compression` is out of range, or a name in `metadata` is not 1 to 79 printable ASCII characters.
    """
    if compression is not None and not 0 <= compression <= 100:
        raise ValueError(f"compression is 0 to 100, not {compression}")
    texts = {_checked_name(name): _clean(text) for name, text in (metadata or {}).items()}
    image = Image.frombytes(pixels.mode, (pixels.width, pixels.height), pixels.data)
    quality = _DEFAULT_QUALITY if compression is None else compression
    return _ENCODERS[encoding](image, quality, texts)


def fit(pixels: Pixels, size: Size) -> Pixels:
    """The picture in another size, stretched if need be; as it is if it has that size. Call it in a thread."""
    if (pixels.width, pixels.height) == (size.width, size.height):
        return pixels
    image = Image.frombytes(pixels.mode, (pixels.width, pixels.height), pixels.data)
    stretched = image.resize((size.width, size.height), Image.Resampling.LANCZOS)
    return Pixels(size.width, size.height, pixels.mode, stretched.tobytes())


def inspect(data: bytes, *, max_side: int = MAX_SIDE) -> tuple[Encoding, Size]:
    """What a file says it is, from its header alone: nothing is decoded, so a small file cannot take much memory.

    Headers are read strictly, so that no decoder could see another size in the same bytes.

    Raises:
        ValueError: it is not a PNG, JPEG or WebP picture of at most `max_side` pixels each way, or it is animated.
    """
    for encoding, signature, read_size in _READERS:
        if data.startswith(signature):
            try:
                size = read_size(data)
            except IndexError as error:
                raise ValueError(f"the {encoding.value} header is cut off") from error
            if not (1 <= size.width <= max_side and 1 <= size.height <= max_side):
                raise ValueError(f"a picture of {size} pixels is not within {max_side}x{max_side}")
            return encoding, size
    raise ValueError("this is not a PNG, JPEG or WebP picture")


def is_whole(data: bytes, encoding: Encoding) -> bool:
    """Whether a file ends as its format wants: what broke off on its way does not. Nothing is decoded."""
    match encoding:
        case Encoding.PNG:  # https://www.w3.org/TR/png-3/#11IEND; some writers add a few bytes
            return b"IEND\xae\x42\x60\x82" in data[-64:]
        case Encoding.JPEG:  # ITU-T T.81 B.1.1.3
            return b"\xff\xd9" in data[-64:]
        case Encoding.WEBP:
            return len(data) >= _number(data, 4, 4, "little") + 8


# --- encoding -------------------------------------------------------------------------------------------------------


def _encode_png(image: Image.Image, quality: int, texts: Mapping[str, str]) -> bytes:
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    return _save(image, "PNG", compress_type=_PNG_STRATEGY, compress_level=1, pnginfo=chunks)


def _encode_jpeg(image: Image.Image, quality: int, texts: Mapping[str, str]) -> bytes:
    subsampling = "4:4:4" if quality >= _FULL_COLOUR_QUALITY else "4:2:0"
    return _save(_on_white(image), "JPEG", quality=quality, subsampling=subsampling, exif=_exif(texts))


def _encode_webp(image: Image.Image, quality: int, texts: Mapping[str, str]) -> bytes:
    return _save(image, "WEBP", quality=quality, method=_WEBP_METHOD, exif=_exif(texts))


_ENCODERS: Mapping[Encoding, Callable[[Image.Image, int, Mapping[str, str]], bytes]] = {
    Encoding.PNG: _encode_png,
    Encoding.JPEG: _encode_jpeg,
    Encoding.WEBP: _encode_webp,
}


def _save(image: Image.Image, format_name: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)
    return file.getvalue()


def _on_white(image: Image.Image) -> Image.Image:
    if image.mode != "RGBA":
        return image
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image.getchannel("A"))
    return white


def _checked_name(name: str) -> str:
    if not (1 <= len(name) <= 79 and name.isascii() and name.isprintable() and name == name.strip()):
        raise ValueError(f"{name!r} cannot name a text in a picture")
    return name


def _clean(text: str) -> str:
    """`text` without what no file can hold: NUL and lone surrogates."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _exif(texts: Mapping[str, str]) -> bytes:
    """An EXIF block of at most 64 KiB, or nothing if there are no texts."""
    if not texts:
        return b""
    exif = Image.Exif()
    exif.endian = ">"
    software = texts.get("Software")
    if software is not None:
        exif[ExifTags.Base.Software] = _shortened(software, 256).encode("ascii", "replace").decode("ascii")
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = _comment(texts)
    return exif.tobytes()


def _comment(texts: Mapping[str, str]) -> bytes:
    """All texts as JSON, each cut to the same length if need be: the longest that fits."""
    room = _MAX_EXIF_BYTES - _EXIF_OVERHEAD_BYTES
    fits, does_not_fit = len(_ELLIPSIS), max(len(text) for text in texts.values()) + 1
    while does_not_fit - fits > 1:
        limit = (fits + does_not_fit) // 2
        if len(_comment_of(texts, limit)) <= room:
            fits = limit
        else:
            does_not_fit = limit
    return _comment_of(texts, fits)


def _comment_of(texts: Mapping[str, str], max_characters: int) -> bytes:
    """UserComment with its character code: ASCII if that is enough, else UTF-16 in the block's byte order."""
    shortened = {name: _shortened(text, max_characters) for name, text in texts.items()}
    text = json.dumps(shortened, ensure_ascii=False)
    return b"ASCII\0\0\0" + text.encode("ascii") if text.isascii() else b"UNICODE\0" + text.encode("utf-16-be")


def _shortened(text: str, max_characters: int) -> str:
    return text if len(text) <= max_characters else text[: max_characters - len(_ELLIPSIS)] + _ELLIPSIS


# --- headers --------------------------------------------------------------------------------------------------------


def _png_size(data: bytes) -> Size:
    """https://www.w3.org/TR/png-3/#11IHDR; chunks are walked so that a second header cannot hide before the pixels."""
    if data[8:16] != b"\0\0\0\rIHDR":
        raise ValueError("the png header is not in its place")
    size = Size(_number(data, 16, 4, "big"), _number(data, 20, 4, "big"))
    position = 33
    while (kind := data[position + 4 : position + 8]) != b"IDAT":
        if kind in (b"IHDR", b"acTL", b"IEND"):
            raise ValueError("the png is animated, has no pixels or has two headers")
        position += 12 + _number(data, position, 4, "big")
    return size


def _jpeg_size(data: bytes) -> Size:
    """ITU-T T.81 annex B: segments up to the first scan, of which exactly one is a frame header."""
    sizes: list[Size] = []
    for marker, position in _jpeg_segments(data):
        if marker in _FRAME_HEADERS:
            sizes.append(Size(_number(data, position + 7, 2, "big"), _number(data, position + 5, 2, "big")))
        elif marker not in _OTHER_SEGMENTS:
            raise ValueError("the jpeg is of a rare kind or damaged")
    if len(sizes) != 1:
        raise ValueError(f"the jpeg has {len(sizes)} frame headers")
    return sizes[0]


_START_OF_SCAN = 0xDA
_FRAME_HEADERS = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive."""
_OTHER_SEGMENTS = (0xC4, *range(0xDB, 0xF0), 0xFE)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of each segment before the first scan."""
    position = 2
    while True:
        while data[position] == data[position + 1] == 0xFF:
            position += 1
        marker, length = data[position + 1], _number(data, position + 2, 2, "big")
        if data[position] != 0xFF or length < 2:
            raise ValueError("the jpeg header is not a row of segments")
        if marker == _START_OF_SCAN:
            return
        yield marker, position
        position += 2 + length


def _webp_size(data: bytes) -> Size:
    """https://developers.google.com/speed/webp/docs/riff_container and RFC 6386 section 9.1."""
    if data[8:12] != b"WEBP":
        raise ValueError("this is not a PNG, JPEG or WebP picture")
    kind = data[12:16]
    if kind == b"VP8 " and data[20] & 1 == 0 and data[23:26] == b"\x9d\x01\x2a":
        return Size(_number(data, 26, 2, "little") & 0x3FFF, _number(data, 28, 2, "little") & 0x3FFF)
    if kind == b"VP8L" and data[20] == 0x2F:
        packed = _number(data, 21, 4, "little")
        return Size((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X" and data[20] & 2 == 0:
        return Size(_number(data, 24, 3, "little") + 1, _number(data, 27, 3, "little") + 1)
    raise ValueError("the webp is animated or its header cannot be read")


def _number(data: bytes, position: int, length: int, order: Literal["big", "little"]) -> int:
    """An unsigned number. Raises IndexError if the data ends before it does."""
    field = data[position : position + length]
    if len(field) < length:
        raise IndexError(position)
    return int.from_bytes(field, order)


_READERS: tuple[tuple[Encoding, bytes, Callable[[bytes], Size]], ...] = (
    (Encoding.PNG, b"\x89PNG\r\n\x1a\n", _png_size),
    (Encoding.JPEG, b"\xff\xd8\xff", _jpeg_size),
    (Encoding.WEBP, b"RIFF", _webp_size),
)
