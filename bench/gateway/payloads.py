"""The pictures that the upstream answers with, the same bytes every time.

large: 1024x1024, a PNG of 1.6 MB, 2.1 MB of JSON. small: 144x144, 33 KB, 44 KB of JSON.
"""

import base64
import json
import random
import struct
import zlib
from pathlib import Path

SIDES = {"large": 1024, "small": 144}


def write(folder: Path) -> dict[str, bytes]:
    """Write `<name>.json` for each. Returns the picture of each."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {}
    for name, side in SIDES.items():
        pictures[name] = _png(side)
        (folder / f"{name}.json").write_bytes(_answer(pictures[name], side))
    return pictures


def _png(side: int) -> bytes:
    """Noise of twelve grey levels: it compresses to a little over half, as grainy pictures do."""
    levels = bytes(64 + (value * 12 >> 8) * 8 for value in range(256))
    noise = random.Random(1).randbytes(side * side * 3).translate(levels)
    rows = b"".join(b"\0" + noise[start : start + side * 3] for start in range(0, len(noise), side * 3))
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(rows, 6)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _answer(picture: bytes, side: int) -> bytes:
    """As OpenAI's GPT image models answer."""
    answer = {
        "created": 1760000000,
        "background": "opaque",
        "output_format": "png",
        "quality": "medium",
        "size": f"{side}x{side}",
        "data": [{"b64_json": base64.b64encode(picture).decode()}],
        "usage": {
            "input_tokens": 12,
            "output_tokens": 1056,
            "total_tokens": 1068,
            "input_tokens_details": {"text_tokens": 12, "image_tokens": 0},
        },
    }
    return json.dumps(answer, separators=(",", ":")).encode()
