"""Masks that say where to paint in another way than OpenAI's."""

import io
import warnings

from PIL import Image

from pinxit.images.request import InputPicture


def from_webui(picture: InputPicture, *, is_inverted: bool) -> bytes:
    """A mask of AUTOMATIC1111's web UI as a PNG file without transparency: white is painted.

    There, opaque is painted in a picture with transparent parts, and white in any other (`create_binary_mask` in
    https://github.com/AUTOMATIC1111/stable-diffusion-webui/blob/master/modules/processing.py, read on 2026-11-22);
    `is_inverted`: the rest is. Takes up to half a second: call it in a thread.

    Raises ValueError if the file is damaged.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd but harmless metadata
            image = Image.open(io.BytesIO(picture.data), formats=("PNG", "JPEG", "WEBP"))
            image.load()
    except (OSError, SyntaxError, EOFError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError("the picture is damaged") from error
    grey = image.convert("L")
    if "A" in image.getbands() or "transparency" in image.info:
        alpha = image.convert("RGBA").getchannel("A")
        if alpha.getextrema() != (255, 255):
            grey = alpha.point(lambda value: 255 if value > 128 else 0)
    if is_inverted:
        grey = grey.point(lambda value: 255 - value)
    file = io.BytesIO()
    grey.save(file, "PNG", compress_level=1)
    return file.getvalue()
