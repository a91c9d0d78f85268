"""T16: a small file that would be a huge picture is refused by its header; nothing of it is decoded."""

import io
import struct
import zlib

import pytest
from PIL import Image

from front import Front
from pinxit.database.tables import generations


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """A few kilobytes that inflate to `width` x `height` black pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compressobj(9)
    data = b"".join(rows.compress(bytes(1 + 3 * width)) for _ in range(min(height, 200))) + rows.flush()
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def animated(kind: str) -> bytes:
    file = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in range(50)]
    frames[0].save(file, kind, save_all=True, append_images=frames[1:])
    return file.getvalue()


def text_bomb() -> bytes:
    """A picture with a compressed text of 64 MiB."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    text = chunk(b"zTXt", b"bomb\0\0" + zlib.compress(bytes(64 * 1024 * 1024), 9))
    data = zlib.compress(bytes((1 + 24) * 8))
    return b"\x89PNG\r\n\x1a\n" + header + text + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff_called_png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "TIFF")
    return file.getvalue()


BOMBS = {
    "too wide": png_bomb(65_000, 10_000),
    "too many pixels": png_bomb(4097, 4097),
    "an animated png": animated("PNG"),
    "an animated webp": animated("WEBP"),
    "a gif": animated("GIF"),
    "a compressed text": text_bomb(),
    "a tiff": tiff_called_png(),
    "a postscript file": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9999 9999\n",
    "a drawing": b'<svg xmlns="http://www.w3.org/2000/svg" width="9999" height="9999"/>',
}


@pytest.mark.parametrize("field", ["image", "mask"])
@pytest.mark.parametrize("name", BOMBS)
async def test_it_is_refused(front: Front, name: str, field: str):
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    files = {"image": ("a.png", file.getvalue()), field: ("a.png", BOMBS[name])}
    answer = await front.client.post("/v1/images/edits", data={"prompt": "x"}, files=files, headers=front.authorization)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, field), answer.text
    assert await front.rows(generations) == []
    assert front.house.services.byte_budget.used_bytes == 0
