import asyncio
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from pinxit.runners.channel import MAX_FRAMES_WAITING, Channel
from pinxit.runners.frames import MAX_HEADER_BYTES, MAX_PAYLOAD_BYTES, Frame, FrameError


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, Channel]]:
    here, there = [await Channel.open(end) for end in socket.socketpair()]
    yield here, there
    for channel in (here, there):
        channel.abort()
        await channel.wait_closed()


@pytest.fixture
async def raw() -> AsyncIterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    channel = await Channel.open(ours)
    with theirs:
        yield channel, theirs
    channel.abort()
    await channel.wait_closed()


async def test_frames_arrive_whole_and_in_order(ends: tuple[Channel, Channel]) -> None:
    here, there = ends
    frames = [Frame({"type": "a", "n": n}, bytes([n]) * (n * 300_000)) for n in range(20)]

    async def send() -> None:
        for frame in frames:
            here.send(frame)
            await here.drain()

    sending = asyncio.create_task(send())
    assert [await there.receive() for _ in frames] == frames
    await sending


async def test_a_reader_that_does_not_read_holds_the_sender_up(ends: tuple[Channel, Channel]) -> None:
    here, there = ends
    sent = 0

    async def send() -> None:
        nonlocal sent
        for sent in range(100):
            here.send(Frame({"type": "a", "n": sent}, bytes(1_000_000)))
            await here.drain()

    sending = asyncio.create_task(send())
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(there._frames) <= MAX_FRAMES_WAITING
    assert sent <= MAX_FRAMES_WAITING + 2

    for n in range(100):
        frame = await there.receive()
        assert frame is not None
        assert frame.header["n"] == n
    await sending


@pytest.mark.parametrize(
    "bytes_received",
    [
        b"Loading model: 100%|#####| 3/3\n",
        struct.pack(">II", MAX_HEADER_BYTES + 1, 0),
        struct.pack(">II", 2, MAX_PAYLOAD_BYTES + 1),
        struct.pack(">II", 0, 0),
        struct.pack(">II", 2, 0) + b"no",
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 2, 0) + b"{}",
        struct.pack(">II", 10, 0) + b'{"type":1}',
        struct.pack(">II", 4, 0) + b"\xff\xfe\x00\x00",
        struct.pack(">II", 100_000, 0) + b"[" * 100_000,
    ],
    ids=["print", "header", "payload", "empty", "no JSON", "array", "no type", "type", "no text", "nested"],
)
async def test_nonsense_is_refused(raw: tuple[Channel, socket.socket], bytes_received: bytes) -> None:
    channel, other = raw
    other.sendall(bytes_received)

    with pytest.raises(FrameError):
        await channel.receive()


@pytest.mark.parametrize("bytes_received", [b"", b"\0\0", struct.pack(">II", 9, 0) + b"{"], ids=["0", "2", "9"])
async def test_the_end_is_the_end_also_within_a_frame(
    raw: tuple[Channel, socket.socket], bytes_received: bytes
) -> None:
    channel, other = raw
    other.sendall(bytes_received)
    other.close()

    assert await channel.receive() is None
    channel.send(Frame({"type": "too late"}))
    await channel.drain()


async def test_a_frame_that_is_too_large_is_not_sent(ends: tuple[Channel, Channel]) -> None:
    here, there = ends
    with pytest.raises(FrameError):
        here.send(Frame({"type": "a"}, bytes(MAX_PAYLOAD_BYTES + 1)))
    with pytest.raises(FrameError):
        here.send(Frame({"type": "a" * MAX_HEADER_BYTES}))

    here.send(Frame({"type": "b"}))

    assert await there.receive() == Frame({"type": "b"})
