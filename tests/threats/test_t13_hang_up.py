"""T13: nobody gets pictures for nothing by hanging up, and nobody pays for pictures that cannot be fetched."""

import asyncio
import json
import os
from typing import Any

import pytest
from starlette.types import Message

from asgi import scope_of
from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.backends.interface import PaintOrder
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

REPEATS = 50 if os.environ.get("PINXIT_TEST_LONG") == "1" else 1
PICTURES, STEPS, MICROS = 3, 4, 10_000
PRICED: list[dict[str, Any]] = [
    {"model_name": "priced", "params": {"model": "fake/fake-1"}, "prices": [{"usd": MICROS / 1_000_000}]}
]
BEFORE, IN_BODY, AFTER_BODY, AT_START_OF_ANSWER, IN_ANSWER = "before", "in body", "after body", "start", "in answer"
POINTS = [BEFORE, IN_BODY, AFTER_BODY, *range(1, PICTURES * STEPS + 1), AT_START_OF_ANSWER, IN_ANSWER]


class Watched(FakeBackend):
    """Tells which step it is at, counted over all pictures of the one order."""

    def __init__(self, gone: asyncio.Event, at: int | str) -> None:
        super().__init__()
        self._gone = gone
        self._at = at
        self._count = 0

    async def do_step(self, order: PaintOrder, step: int) -> None:
        self._count += 1
        if self._count == self._at:
            self._gone.set()
        await super().do_step(order, step)


class HangingUp:
    """A client that orders, and leaves when `gone` is set or at the point it was told."""

    def __init__(self, gone: asyncio.Event, at: int | str) -> None:
        self._gone = gone
        self._at = at
        self.chunks: list[Message] = []

    def say(self, body: bytes) -> None:
        half = len(body) // 2
        parts = {BEFORE: [], IN_BODY: [body[:half]]}.get(str(self._at), [body[:half], body[half:]])
        last = len(parts) == 2
        self.chunks = [
            {"type": "http.request", "body": part, "more_body": not (last and number == 1)}
            for number, part in enumerate(parts)
        ]
        if self._at in (BEFORE, IN_BODY, AFTER_BODY):
            self._gone.set()

    async def receive(self) -> Message:
        if self.chunks:
            return self.chunks.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if (message["type"] == "http.response.start") == (self._at == AT_START_OF_ANSWER):
            self._gone.set()
        if self._gone.is_set() and self._at in (AT_START_OF_ANSWER, IN_ANSWER):
            raise OSError("the client has gone")


async def order_and_hang_up(front: Front, client: HangingUp) -> None:
    body = json.dumps({"prompt": "a heron", "size": "256x256", "n": PICTURES}).encode()
    client.say(body)
    headers = [
        (b"authorization", f"Bearer {front.key}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    try:
        await front.app(scope_of("POST", b"/v1/images/generations", headers), client.receive, client.send)
    except OSError as gone:
        assert str(gone) == "the client has gone"  # noqa: PT017 - it is no failure that the application lets it pass
    orders = front.house.services.generations._tasks
    if orders:
        await asyncio.wait(orders)


async def fetchable(front: Front) -> int:
    """How many pictures the owner can list, and fetch."""
    listed = (await front.client.get("/v1/images", headers=front.authorization)).json()["data"]
    for image in listed:
        assert (await front.client.get(image["url"])).status_code == 200
    return len(listed)


@pytest.mark.parametrize("time", range(REPEATS))
@pytest.mark.parametrize("point", POINTS)
async def test_paid_is_what_can_be_fetched(make_front: MakeFront, point: int | str, time: int) -> None:
    gone = asyncio.Event()
    front = await make_front(Watched(gone, point), billing="credits", model_list=PRICED, default_model="priced")
    now = front.house.services.now()
    await front.house.database.write(
        lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, 10 * MICROS, reference="cash", now=now)
    )
    await order_and_hang_up(front, HangingUp(gone, point))
    assert gone.is_set()
    assert await front.house.database.read(check) == []
    left, held = await front.house.database.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT))
    count = await fetchable(front)
    assert (10 * MICROS - left, held) == (count * MICROS, 0)
    assert count == (0 if point in (BEFORE, IN_BODY) else PICTURES)
