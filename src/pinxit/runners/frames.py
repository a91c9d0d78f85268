"""Frames between a runner and its painter: a JSON header and, for pixels, the bytes as they are.

4 bytes  length of the header, big endian
4 bytes  length of the payload
header   a JSON object with a "type"
payload  raw bytes
"""

import json
import struct
from dataclasses import dataclass
from typing import Any

MAX_HEADER_BYTES = 1024**2
"""Twice a prompt of 32 000 characters, each escaped to 12 bytes, and room to spare."""
MAX_PAYLOAD_BYTES = 128 * 1024**2
"""Sixteen pictures of 1792x1024 RGBA to begin from, and their mask; a painted one has at most half of it, 4096x4096."""

_LENGTHS = struct.Struct(">II")
LENGTHS_BYTES = _LENGTHS.size


class FrameError(Exception):
    """The other side sent, or this side was about to send, something that is not a frame of ours."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One message."""

    header: dict[str, Any]
    payload: bytes = b""

    @property
    def type(self) -> str:
        return str(self.header["type"])

    @property
    def order_id(self) -> int:
        """The order it is about. Raises FrameError if it names none."""
        order_id = self.header.get("id")
        if type(order_id) is not int:
            raise FrameError(f"a frame {self.type!r} without the id of an order")
        return order_id


def pack(frame: Frame) -> bytes:
    """What goes before the payload: the lengths and the header. Raises FrameError if the frame is too large."""
    header = json.dumps(frame.header).encode("ascii")
    return _LENGTHS.pack(*_checked(len(header), len(frame.payload))) + header


def unpack_lengths(data: bytes | bytearray) -> tuple[int, int]:
    """The bytes of the header and of the payload that follow. Raises FrameError."""
    return _checked(*_LENGTHS.unpack(data))


def unpack(header: bytes, payload: bytes) -> Frame:
    """The frame of this header. Raises FrameError."""
    try:
        parsed = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise FrameError("a frame's header is not JSON") from error
    if not isinstance(parsed, dict) or not isinstance(parsed.get("type"), str):
        raise FrameError("a frame's header has no type")
    return Frame(parsed, payload)


def _checked(header_bytes: int, payload_bytes: int) -> tuple[int, int]:
    if not 0 < header_bytes <= MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise FrameError(f"a frame of {header_bytes} + {payload_bytes} bytes is too large or empty")
    return header_bytes, payload_bytes
