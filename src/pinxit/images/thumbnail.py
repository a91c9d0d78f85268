"""Pictures made small, for pages that show many."""

import io

from PIL import Image, JpegImagePlugin, PngImagePlugin, WebPImagePlugin  # noqa: F401 - as in images.encoding

SIDE = 480
"""Pixels of the longer side: enough for a column of a page on a screen of two device pixels a pixel."""
_QUALITY = 80


def thumbnail(data: bytes) -> bytes:
    """A WebP of one of our own pictures, without its metadata. Up to 64 MiB and half a second: call it in a thread.

    Raises ValueError if the file is damaged.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as image:
            has_ground = "A" in image.getbands() or "transparency" in image.info
            image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS, reducing_gap=2.0)
            small = image.convert("RGBA" if has_ground else "RGB")
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError("the picture is damaged") from error
    file = io.BytesIO()
    small.save(file, "WEBP", quality=_QUALITY, method=2)
    return file.getvalue()
