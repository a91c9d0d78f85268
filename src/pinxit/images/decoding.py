"""Pictures that clients send: looked at by their headers first, then decoded into the size they are wanted in."""

import hashlib
import io
import warnings
from dataclasses import dataclass

from PIL import Image, ImageOps

from pinxit.images.encoding import inspect
from pinxit.images.pixels import Mode, Pixels
from pinxit.images.request import InputPicture
from pinxit.images.size import Size

MAX_PAINTED_SIDE = 8192
"""Pixels of a side of a picture that others have painted for us."""


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
    _, size = inspect(data)
    return InputPicture(hashlib.sha256(data).hexdigest(), size, data)


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
    _, size = inspect(data, max_side=MAX_PAINTED_SIDE)
    image = _open(InputPicture("", size, data))
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
            if image.size != (picture.size.width, picture.size.height):
                raise ValueError("the picture has another size than its header says")
            return ImageOps.exif_transpose(image)
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError("the picture is damaged") from error


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
