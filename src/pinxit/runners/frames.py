"""Frames between a runner and its painter: a JSON header and, for pixels, the bytes as they are.

4 bytes  length of the header, big endian
4 bytes  length of the payload
header   a JSON object with a "type"
payload  raw bytes
"""

import asyncio
import json
import struct
from dataclasses import dataclass
from typing import Any

MAX_HEADER_BYTES = 1024**2
"""Twice a prompt of 32 000 characters, each escaped to 12 bytes, and room to spare."""
MAX_PAYLOAD_BYTES = 64 * 1024**2
"""4096x4096 RGBA."""

_LENGTHS = struct.Struct(">II")


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


def write_frame(writer: asyncio.StreamWriter, frame: Frame) -> None:
    """Put the whole frame into the writer's buffer. Raises FrameError, and writes nothing, if it is too large."""
    header = json.dumps(frame.header).encode("ascii")
    _check_lengths(len(header), len(frame.payload))
    writer.write(_LENGTHS.pack(len(header), len(frame.payload)) + header)
    if frame.payload:
        writer.write(frame.payload)


async def read_frame(reader: asyncio.StreamReader) -> Frame | None:
    """The next frame, or None when the other side has gone, be it in the middle of one. Raises FrameError."""
    try:
        header_bytes, payload_bytes = _LENGTHS.unpack(await reader.readexactly(_LENGTHS.size))
        _check_lengths(header_bytes, payload_bytes)
        text = await reader.readexactly(header_bytes)
        payload = await reader.readexactly(payload_bytes)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Frame(_parse(text), payload)


def _check_lengths(header_bytes: int, payload_bytes: int) -> None:
    if header_bytes > MAX_HEADER_BYTES or payload_bytes > MAX_PAYLOAD_BYTES:
        raise FrameError(f"a frame of {header_bytes} + {payload_bytes} bytes is too large")


def _parse(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FrameError("a frame's header is not JSON") from error
    if not isinstance(header, dict) or not isinstance(header.get("type"), str):
        raise FrameError("a frame's header has no type")
    return header
