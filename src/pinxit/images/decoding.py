"""Pictures that clients send: looked at by their headers first, then decoded into the size they are wanted in."""

import hashlib
import io
import struct
import warnings
from dataclasses import dataclass

from PIL import ExifTags, Image

from pinxit.images.encoding import MAX_SIDE, inspect
from pinxit.images.pixels import Mode, Pixels
from pinxit.images.request import Encoding, InputPicture
from pinxit.images.size import Size

MAX_PAINTED_SIDE = 8192
"""Pixels of a side of a picture that others have painted for us."""
_BYTES_A_PIXEL = 8
_FIRST_ON_ITS_SIDE = 5
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF's orientation → what makes the picture upright."""


@dataclass(frozen=True, slots=True)
class InputPixels:
    """Pictures to begin from and where to paint, decoded in the order's size."""

    images: tuple[Pixels, ...]
    mask: Pixels | None = None
    files: tuple[InputPicture, ...] = ()
    """As they came, where somebody far away wants to see them."""
    mask_file: InputPicture | None = None

    @property
    def bytes(self) -> int:
        """How much memory they take."""
        everything = (*self.images, self.mask, *self.files, self.mask_file)
        return sum(len(picture.data) for picture in everything if picture is not None)


def read_header(data: bytes) -> InputPicture:
    """Raises ValueError if this is not a picture that could be decoded, as `images.encoding.inspect`."""
    size, orientation = _upright(data, MAX_SIDE)
    return InputPicture(hashlib.sha256(data).hexdigest(), size, data, orientation)


def _upright(data: bytes, max_side: int) -> tuple[Size, int]:
    """The size once it is upright, and EXIF's orientation. Raises ValueError."""
    encoding, stored = inspect(data, max_side=max_side)
    orientation = _orientation(data, encoding)
    return (Size(stored.height, stored.width) if orientation >= _FIRST_ON_ITS_SIDE else stored), orientation


def decoding_bytes(picture: InputPicture) -> int:
    """About how much memory decoding takes at its height: the picture twice, before and behind a step."""
    return picture.size.width * picture.size.height * _BYTES_A_PIXEL


def decode(picture: InputPicture, size: Size) -> Pixels:
    """The picture in another size: as large as fits, in the middle, on a transparent ground where it does not fill it.

    Up to 64 MiB and half a second: call it in a thread. Raises ValueError if the file is damaged.
    """
    image = _open(picture)
    fitted = _contain(image.convert("RGBA"), size)
    if fitted.getchannel("A").getextrema() == (255, 255):
        return Pixels(size.width, size.height, "RGB", fitted.convert("RGB").tobytes())
    return Pixels(size.width, size.height, "RGBA", fitted.tobytes())


def decode_file(data: bytes) -> Pixels:
    """The picture as it is, upright: of somebody who paints for us. Call it in a thread.

    Raises ValueError if the file is damaged.
    """
    size, orientation = _upright(data, MAX_PAINTED_SIDE)
    image = _open(InputPicture("", size, data, orientation))
    mode: Mode = "RGBA" if "A" in image.getbands() or "transparency" in image.info else "RGB"
    return Pixels(image.width, image.height, mode, image.convert(mode).tobytes())


def decode_mask(picture: InputPicture, size: Size) -> Pixels:
    """Where to paint, in mode L: 255 where the mask is fully transparent, 0 where it is opaque, as OpenAI's masks are
    read (https://platform.openai.com/docs/api-reference/images/createEdit). A mask without an alpha channel is read by
    its brightness: white is painted.

    Raises ValueError if the file is damaged.
    """
    image = _open(picture)
    if "A" in image.getbands() or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
        wanted = alpha.point(lambda value: 255 - value)
    else:
        wanted = image.convert("L")
    scaled = wanted.resize(_inner(wanted.size, size), Image.Resampling.BILINEAR)
    whole = Image.new("L", (size.width, size.height), 0)
    whole.paste(scaled, _corner(scaled.size, size))
    return Pixels(size.width, size.height, "L", whole.tobytes())


def _open(picture: InputPicture) -> Image.Image:
    """Decoded, upright. Raises ValueError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd but harmless metadata
            image = Image.open(io.BytesIO(picture.data), formats=("PNG", "JPEG", "WEBP"))
            image.load()
            turn = _TURNS.get(picture.orientation)
            upright = image if turn is None else image.transpose(turn)
            if upright.size != (picture.size.width, picture.size.height):
                raise ValueError("the picture has another size than its header says")
            return upright
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError("the picture is damaged") from error


def _orientation(data: bytes, encoding: Encoding) -> int:
    """What EXIF says (tag 0x0112), without decoding: 1, upright, where it says nothing that can be understood.

    In a PNG it counts only before the pixels: to look behind them would be to decode them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd but harmless metadata
            image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP"))
            if encoding is Encoding.PNG and "exif" not in image.info:
                return 1
            said = image.getexif().get(ExifTags.Base.Orientation)
    except (OSError, SyntaxError, ValueError, struct.error):
        return 1  # a file that is damaged is refused when it is decoded
    return said if isinstance(said, int) and said in _TURNS else 1


def _contain(image: Image.Image, size: Size) -> Image.Image:
    scaled = image.resize(_inner(image.size, size), Image.Resampling.LANCZOS)
    if scaled.size == (size.width, size.height):
        return scaled
    whole = Image.new("RGBA", (size.width, size.height), (0, 0, 0, 0))
    whole.paste(scaled, _corner(scaled.size, size))
    return whole


def _inner(inside: tuple[int, int], size: Size) -> tuple[int, int]:
    """The largest width and height of the same shape that fit."""
    scale = min(size.width / inside[0], size.height / inside[1])
    return max(1, round(inside[0] * scale)), max(1, round(inside[1] * scale))


def _corner(inner: tuple[int, int], size: Size) -> tuple[int, int]:
    return (size.width - inner[0]) // 2, (size.height - inner[1]) // 2
