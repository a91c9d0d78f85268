"""`stream: true`: OpenAI's events, true partial pictures, and what happens to who leaves or is slow."""

import asyncio
import base64
import io
import json
from typing import Any

import httpx2
import pytest
import snapshot
from PIL import Image

from asgi import scope_of
from front import Front, MakeFront
from painting_house import DyingRunner, assert_whole, until
from pinxit.api import streaming
from pinxit.database.tables import generations, holds, images
from pinxit.errors import BackendError
from pinxit.keys.service import local_caller
from pinxit.testing.fake_backend import FakeBackend


def events_of(response: httpx2.Response) -> list[dict[str, Any]]:
    """What an event stream says; every event is called as its `type`, or is an error."""
    found = []
    for block in response.text.removesuffix("\n\n").split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        content = json.loads(data.removeprefix("data: "))
        assert name == f"event: {content.get('type', 'error')}"
        found.append(content)
    return found


def picture(event: dict[str, Any]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(event["b64_json"])))


async def test_partial_pictures_and_then_the_picture(wire: Front):
    response = await wire.generate(stream=True, partial_images=3, seed=7, quality="high")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-store"
    *partials, completed = events_of(response)
    assert [event["type"] for event in partials] == ["image_generation.partial_image"] * 3
    assert [event["partial_image_index"] for event in partials] == [0, 1, 2]
    assert {picture(event).size for event in [*partials, completed]} == {(256, 256)}
    assert completed["type"] == "image_generation.completed"
    kept = (await wire.client.get(completed["url"])).content
    assert base64.b64decode(completed["b64_json"]) == kept
    assert (completed["seed"], completed["usage"]["total_tokens"]) == (7, 10)
    assert "image_index" not in completed
    (hold,) = await wire.rows(holds)
    assert hold.status == "posted"


async def test_what_an_event_looks_like(wire: Front):
    response = await wire.generate(stream=True, partial_images=1, seed=7)
    for event in events_of(response):
        name = event["type"].replace(".", "_")
        shown = {**event, "b64_json": f"<{picture(event).format} {picture(event).size}>"}
        shown |= {key: f"<{key}>" for key in ("created_at", "id", "url") if key in event}
        snapshot.compare(f"stream_{name}.json", json.dumps(shown, indent=2) + "\n")


async def test_several_pictures_say_which_they_are(wire: Front):
    response = await wire.generate(stream=True, partial_images=2, n=3, seed=7, response_format="b64_json")
    events = events_of(response)
    partials = [
        (event["image_index"], event["partial_image_index"]) for event in events if "partial_image_index" in event
    ]
    assert sorted(partials) == [(index, number) for index in range(3) for number in range(2)]
    completed = [event for event in events if event["type"].endswith("completed")]
    assert [(event["image_index"], event["seed"]) for event in completed] == [(0, 7), (1, 8), (2, 9)]
    order = (await wire.rows(generations))[0]
    assert sum(event["usage"]["input_tokens"] for event in completed) == order.input_tokens
    assert sum(event["usage"]["output_tokens"] for event in completed) == order.output_tokens


async def test_without_partial_pictures_only_the_end_comes(wire: Front):
    assert [event["type"] for event in events_of(await wire.generate(stream=True))] == ["image_generation.completed"]


async def test_a_model_with_few_steps_has_fewer(wire: Front):
    events = events_of(await wire.generate(stream=True, partial_images=3, num_inference_steps=2))
    assert len(events) == 2


@pytest.mark.parametrize("encoding", ["png", "jpeg", "webp"])
async def test_partial_pictures_are_encoded_as_the_picture(wire: Front, encoding: str):
    events = events_of(await wire.generate(stream=True, partial_images=1, output_format=encoding))
    assert {(event["output_format"], picture(event).format) for event in events} == {(encoding, encoding.upper())}


async def test_a_picture_that_is_not_stored_has_no_url(wire: Front):
    (event,) = events_of(await wire.generate(stream=True, store=False, response_format="b64_json"))
    assert event["url"] == ""
    assert await wire.rows(images) == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"partial_images": 1}, "partial_images"),
        ({"stream": True, "partial_images": 4}, "partial_images"),
        ({"stream": True, "partial_images": "1"}, "partial_images"),
        ({"stream": "yes"}, "stream"),
        ({"stream": True, "async": True}, "stream"),
        ({"stream": True, "size": "1x1"}, "size"),
    ],
)
async def test_what_cannot_be_is_an_ordinary_error(wire: Front, body: dict[str, Any], param: str):
    response = await wire.generate(**body)
    assert response.status_code in (400, 422)
    assert response.json()["error"]["param"] == param
    assert await wire.rows(generations) == []


async def test_what_fails_later_is_an_event(make_front: MakeFront):
    front = await make_front(FakeBackend(failure=lambda _: BackendError("All black."), failure_step=3))
    response = await front.generate(stream=True, partial_images=3)
    *partials, error = events_of(response)
    assert response.status_code == 200
    assert len(partials) == 2
    assert error == {"error": {"message": "All black.", "type": "upstream_error", "param": "", "code": 502}}
    assert [hold.status for hold in await front.rows(holds)] == ["voided"]


async def test_a_dry_run_is_no_stream(wire: Front):
    assert (await wire.generate(stream=True, dry_run=True)).json()["object"] == "generation.estimate"


async def test_a_stream_sent_again_is_the_same_picture(wire: Front):
    headers = {"Idempotency-Key": "one"}
    answers = [await wire.generate(headers, stream=True, partial_images=count) for count in (0, 2)]
    (first,), (again,) = map(events_of, answers)
    assert again == first
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
    answer = (await wire.generate(headers)).json()["data"][0]
    assert answer["url"] == first["url"]


async def test_it_says_that_it_lives(make_front: MakeFront, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "KEEP_ALIVE_SECONDS", 0.005)
    front = await make_front(FakeBackend(step_delay_seconds=0.02))
    text = (await front.generate(stream=True)).text
    assert ": keepalive\n\n" in text
    assert text.rindex(": keepalive") < text.index("event:")


# --- who leaves, and who is slow ------------------------------------------------------------------------------------


class Reader:
    """A client whose connection is in the test's hands: `go_on` lets one message through, `hang_up` closes it."""

    def __init__(self, front: Front, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self.messages: list[dict[str, Any]] = []
        self.takes = asyncio.Event()
        self.takes.set()
        self._gone = asyncio.Event()
        self._body = json.dumps({"prompt": "x", "size": "256x256", "stream": True, **body}).encode()
        self._is_read = False
        sent = {**front.authorization, "content-type": "application/json", **(headers or {})}
        pairs = [(name.lower().encode(), value.encode()) for name, value in sent.items()]
        scope = scope_of("POST", b"/v1/images/generations", pairs)
        self.task = asyncio.create_task(front.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._is_read:
            self._is_read = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self.takes.wait()
        self.messages.append(message)

    async def hang_up(self) -> None:
        self._gone.set()
        await self.task

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.messages).decode()


async def the_end(front: Front) -> Any:
    """The one order, once it has ended."""
    async with asyncio.timeout(10):
        while (rows := await front.rows(generations)) and rows[0].status in ("queued", "in_progress"):
            await asyncio.sleep(0.002)
    return rows[0]


async def first_partial(reader: Reader) -> None:
    await until(lambda: "partial_image" in reader.text)


async def test_who_leaves_wants_no_more(make_front: MakeFront):
    front = await make_front(FakeBackend(gates={4: asyncio.Event()}))
    reader = Reader(front, {"partial_images": 2})
    await first_partial(reader)
    await reader.hang_up()
    order = await the_end(front)
    assert (order.status, order.cost_micros) == ("cancelled", 0)
    await assert_whole(front)


async def test_unless_somebody_else_looks_on(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={4: gate}))
    reader = Reader(front, {"partial_images": 2})
    await first_partial(reader)
    (row,) = await front.rows(generations)
    following = front.house.services.generations.follow(local_caller(row.account_id), row.id)
    await anext(following)
    looking = asyncio.create_task(anext(following))
    await asyncio.sleep(0)
    await reader.hang_up()
    gate.set()
    assert (await the_end(front)).status == "completed"
    await looking
    await following.aclose()


async def test_or_it_can_be_asked_for_again(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={4: gate}))
    key = {"Idempotency-Key": "mine"}
    reader = Reader(front, {"partial_images": 2}, key)
    await first_partial(reader)
    await reader.hang_up()
    gate.set()
    (row,) = await front.rows(generations)
    answer = await front.generate(key, prompt="x")
    assert answer.headers["x-pinxit-generation"] == row.id
    assert len(front.backend.orders) == 1


async def test_a_slow_reader_misses_nothing_and_holds_nobody_up(make_front: MakeFront):
    front = await make_front()
    reader = Reader(front, {"partial_images": 3, "n": 2})
    await until(lambda: reader.messages)
    reader.takes.clear()
    assert (await the_end(front)).status == "completed"
    assert "completed" not in reader.text
    reader.takes.set()
    await reader.task
    assert reader.text.count("event: image_generation.partial_image") == 6
    assert reader.text.count("event: image_generation.completed") == 2


async def test_a_painter_that_dies_shows_nothing_twice(front: Front):
    runners = front.house.services.runners
    runners["fake"] = DyingRunner(runners["fake"], [1, 3])
    events = events_of(await front.generate(stream=True, partial_images=3, n=2, num_inference_steps=4))
    partials = [
        (event["image_index"], event["partial_image_index"]) for event in events if "partial_image_index" in event
    ]
    assert sorted(partials) == sorted(set(partials)) == [(index, number) for index in range(2) for number in range(3)]
