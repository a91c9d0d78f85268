"""Orders from the playground: the API's own, by session."""

import asyncio
import io
import json
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from PIL import Image

from asgi import scope_of
from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.backends.interface import Familiarity
from pinxit.console import rendering
from pinxit.console.painting import until_ended
from pinxit.database.tables import generations, holds
from pinxit.keys.model import Caller
from pinxit.keys.service import local_caller
from pinxit.settings import ModelEntry
from pinxit.testing.fake_backend import FakeBackend
from visitor import Visitor, visitor_as


async def test_the_answer_is_the_api_s(front: Front):
    visitor = await visitor_as(front, "ada", account_id="acct_default")
    by_session, by_key = await visitor.paint(seed=7), await front.generate(seed=7)
    assert by_session.status_code == 200
    assert set(by_session.json()) == set(by_key.json())
    assert by_session.json()["data"][0]["seed"] == 7
    orders = await front.rows(generations)
    assert {order.account_id for order in orders} == {"acct_default"}
    assert [order.api_key_id is None for order in sorted(orders, key=lambda order: order.created_at)] == [True, False]


async def test_a_stream_is_the_api_s(front: Front):
    visitor = await visitor_as(front, "ada")
    answer = await visitor.paint(stream=True, partial_images=2, n=2)
    assert answer.headers["content-type"] == "text/event-stream"
    names = re.findall(r"^event: (.+)$", answer.text, re.MULTILINE)
    assert names.count("image_generation.completed") == 2
    assert names[-1] == "image_generation.completed"


async def test_a_far_prompt_is_said_of_each_picture(make_front: MakeFront):
    front = await make_front(FakeBackend(familiarity=lambda _: Familiarity("otter", 0.412, known=False)))
    answer = await (await visitor_as(front, "ada")).paint(stream=True, n=2)
    events = [json.loads(data) for data in re.findall(r"^data: (.+)$", answer.text, re.MULTILINE)]
    said = [event["far"] for event in events if event["type"] == "image_generation.completed"]
    assert said == ["fake-1 does not know this well; the nearest thing it knows is “otter” (0.41)."] * 2


async def test_a_member_s_pictures_are_in_their_account(front: Front):
    visitor, other = await visitor_as(front, "ada"), await visitor_as(front, "bob")
    await visitor.paint(prompt="only hers")
    assert "only hers" in (await visitor.get("/console/playground")).text
    assert "only hers" not in (await other.get("/console/playground")).text


@pytest.mark.parametrize(
    ("body", "status", "type_"),
    [
        ({"prompt": ""}, 400, "invalid_request_error"),
        ({"size": "1x1"}, 422, "invalid_value"),
        ({"model": "no-such"}, 404, "model_not_found"),
        ({"api_key": "x"}, 400, "invalid_request_error"),
    ],
)
async def test_errors_are_the_api_s(front: Front, body: dict[str, object], status: int, type_: str):
    answer = await (await visitor_as(front, "ada")).paint(**body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, type_)


async def test_who_is_signed_out_paints_nothing(front: Front):
    answer = await Visitor(front).paint()
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    visitor = await visitor_as(front, "ada")
    for headers in ({"x-csrf-token": "0" * 64}, {"x-csrf-token": ""}, {"origin": "https://evil.example"}):
        assert (await visitor.paint(headers)).status_code == 403
    assert front.backend.orders == []


async def test_the_account_s_limits_hold_for_people_too(make_front: MakeFront):
    front = await make_front(images_per_minute=2)
    visitor = await visitor_as(front, "ada", Role.ADMIN, "acct_default")
    assert (await visitor.paint(n=2)).status_code == 200
    assert (await visitor.paint()).status_code == 429
    assert (await front.generate()).status_code == 429, "and are shared with its keys"


async def test_credits_are_needed_by_people_too(make_front: MakeFront):
    dear = {"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]}
    front = await make_front(billing="credits", model_list=(ModelEntry.model_validate(dear),))
    answer = await (await visitor_as(front, "ada")).paint(model="dear")
    assert (answer.status_code, answer.json()["error"]["type"]) == (402, "insufficient_credits")


async def test_the_form_knows_every_model(front: Front):
    visitor = await visitor_as(front, "ada")
    page = (await visitor.get("/console/playground?model=fake-1&prompt=%3C/script%3E%3Cb%3E")).text
    (text,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page)
    facts = json.loads(text)["models"]["fake-1"]
    entry = front.house.services.catalog.resolve("fake-1")
    assert facts["sizes"] == [str(size) for size in entry.capabilities.sizes]
    assert set(facts["prices"]) == set(entry.capabilities.qualities or {"auto"})
    assert "&lt;/script&gt;&lt;b&gt;" in page


# --- how far it is ---------------------------------------------------------------------------------------------------


async def stepped(front: Front, order_id: str, step: int) -> Caller:
    """Wait until the order, which is to be the only one, has done so many steps. A caller who may see it."""
    async with asyncio.timeout(10):
        while not (rows := await front.rows(generations)):
            pass
        caller = local_caller(rows[0].account_id)
        async with aclosing(front.house.services.generations.follow(caller, order_id)) as orders:
            async for order in orders:
                if order.progress is not None and order.progress.step >= step:
                    break
    return caller


def progress_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(data) for data in re.findall(r"^event: pinxit.progress\ndata: (.+)$", text, re.MULTILINE)]


async def look_on(
    visitor: Visitor, request: httpx2.Request, at: bytes, then: asyncio.Event, *, leaves: bool = False
) -> str:
    """The events of an order as its browser reads them; at the first that has `at` in it, `then` is set."""
    waiting: list[Any] = [{"type": "http.request", "body": await request.aread(), "more_body": False}]
    read: list[bytes] = []

    async def receive() -> Any:
        if waiting:
            return waiting.pop()
        await (then if leaves else asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        read.append(message.get("body", b""))
        if at in read[-1]:
            then.set()

    headers = [(name.lower(), value) for name, value in request.headers.raw]
    async with asyncio.timeout(10):
        await visitor.front.app(scope_of("POST", request.url.raw_path, headers), receive, send)
    return b"".join(read).decode()


async def test_a_stream_says_how_far_each_picture_is(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={3: gate}))
    visitor = await visitor_as(front, "ada")
    request = await visitor.painting(stream=True, n=2, quality="medium")
    told = progress_of(await look_on(visitor, request, b'"done":[2,0]', gate))
    assert {each["steps"] for each in told} == {4}
    assert {each["status"] for each in told} <= {"queued", "in_progress"}
    sums = [sum(each["done"]) for each in told]
    assert sums == sorted(sums)


async def test_one_s_place_in_the_queue_is_told(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={1: gate}), max_painting_generations=1)
    first = asyncio.create_task(front.generate())
    visitor = await visitor_as(front, "ada")
    await look_on(visitor, await visitor.painting(stream=True), b'"status":"queued","queue_position":1', gate)
    await first


async def test_streams_of_the_api_have_no_events_of_ours(front: Front):
    assert "pinxit.progress" not in (await front.generate(stream=True)).text


async def test_what_is_beside_ends_with_the_main_thing():
    ended = asyncio.Event()

    async def main():
        yield b"one"
        await asyncio.sleep(0)
        yield b"two"

    async def beside():
        try:
            yield b"beside"
            await asyncio.Event().wait()
        finally:
            ended.set()

    found = [item async for item in until_ended(main(), beside())]
    assert [item for item in found if item != b"beside"] == [b"one", b"two"]
    assert ended.is_set()


async def test_giving_up(make_front: MakeFront):
    dear = {"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]}
    front = await make_front(FakeBackend(gates={2: asyncio.Event()}), model_list=(ModelEntry.model_validate(dear),))
    ada, bob = await visitor_as(front, "ada"), await visitor_as(front, "bob")
    order_id = f"gen_{'b' * 32}"
    painting = asyncio.create_task(ada.paint({"x-pinxit-generation": order_id}, stream=True, model="dear"))
    await stepped(front, order_id, 1)
    path, headers = f"/console/playground/generations/{order_id}/cancel", {"accept": "application/json"}
    assert (await bob.post(path, headers)).status_code == 404, "it is not his"
    assert (await ada.post(path, headers, csrf="0" * 64)).status_code == 403
    assert (await ada.post(path, headers)).json() == {"status": "cancelled", "cost_micros": 0}
    assert "event: error" in (await painting).text
    (order,) = await front.rows(generations)
    (hold,) = await front.rows(holds)
    assert (order.status, order.cost_micros, hold.status) == ("cancelled", 0, "voided")
    assert (await ada.post(path, headers)).json()["status"] == "cancelled", "once more changes nothing"


async def test_who_hangs_up_gives_up(make_front: MakeFront):
    """The stream follows its own order, which must not keep it alive."""
    front = await make_front(FakeBackend(gates={2: asyncio.Event()}))
    visitor = await visitor_as(front, "ada")
    await look_on(visitor, await visitor.painting(stream=True), b'"done":[1]', asyncio.Event(), leaves=True)
    (order,) = await front.rows(generations)
    caller = local_caller(order.account_id)
    async with asyncio.timeout(10):
        async for seen in front.house.services.generations.follow(caller, order.id):
            last = seen
    assert last.status == "cancelled"


# --- from pictures ---------------------------------------------------------------------------------------------------


def png(side: int = 64, colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(data, "PNG")
    return data.getvalue()


async def test_an_edit_is_the_api_s(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    visitor = await visitor_as(front, "ada")
    request = await visitor.editing(png(), stream="true", partial_images="1", strength="0.5")
    names = re.findall(r"^event: (.+)$", await look_on(visitor, request, b'"done":[1]', gate), re.MULTILINE)
    assert names[-1] == "image_edit.completed"
    assert {"image_edit.partial_image", "pinxit.progress"} <= set(names)
    (order,) = front.backend.orders
    assert (len(order.images), order.strength) == (1, 0.5)


@pytest.mark.parametrize(
    ("picture", "fields", "status", "param"),
    [
        (b"<svg/>", {}, 422, "image"),
        (png()[:60], {}, 422, "image"),
        (png(), {"strength": "7"}, 422, "strength"),
        (png(), {"prompt": ""}, 400, "prompt"),
        (png() + b"x" * 70_000, {}, 413, ""),
    ],
    ids=["no picture", "damaged", "strength", "no prompt", "too large"],
)
async def test_errors_of_edits_are_the_api_s(
    make_front: MakeFront, picture: bytes, fields: dict[str, str], status: int, param: str
):
    front = await make_front(max_upload_bytes=65_536)
    answer = await (await visitor_as(front, "ada")).edit(picture, **fields)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert front.backend.orders == []


async def test_nobody_edits_for_somebody_else(front: Front):
    visitor = await visitor_as(front, "ada")
    for headers in ({"x-csrf-token": "0" * 64}, {"x-csrf-token": ""}, {"origin": "https://evil.example"}):
        assert (await visitor.edit(png(), headers)).status_code == 403
    await visitor.post("/console/sign-out")
    assert (await visitor.edit(png())).status_code == 401
    assert front.backend.orders == []


# --- the page --------------------------------------------------------------------------------------------------------


def page_facts(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page)
    facts: dict[str, Any] = json.loads(text)
    return facts


async def test_the_latest_pictures_of_one_s_own_account(front: Front):
    ada, bob = await visitor_as(front, "ada"), await visitor_as(front, "bob")
    for number in range(14):
        await ada.paint(prompt=f"picture {number}", seed=number, quality="low")
    (latest,) = [(await ada.get("/console/playground/latest")).json()["pictures"]]
    assert [picture["prompt"] for picture in latest] == [f"picture {number}" for number in range(13, 1, -1)]
    assert latest == page_facts((await ada.get("/console/playground")).text)["latest"]
    settings = {"model": "fake-1", "prompt": "picture 13", "seed": 13, "size": "256x256", "quality": "low"}
    assert latest[0]["settings"] == settings
    assert (await bob.get("/console/playground/latest")).json() == {"pictures": []}
    assert page_facts((await bob.get("/console/playground")).text)["latest"] == []


async def test_a_picture_to_begin_from_is_one_s_own(front: Front):
    ada, bob = await visitor_as(front, "ada"), await visitor_as(front, "bob")
    image_id = (await ada.paint()).json()["data"][0]["id"]
    for way in ("edit", "again"):
        path = f"/console/playground?{way}={image_id}"
        mine, others = page_facts((await ada.get(path)).text), page_facts((await bob.get(path)).text)
        assert (bool(mine[way]), mine["missing"]) == (True, False)
        assert (others[way], others["missing"]) == (None, True)
    assert page_facts((await ada.get("/console/playground")).text)["missing"] is False


def test_scripts_are_small():
    folder = Path(rendering.__file__).parent / "static"
    sizes = {file.name: file.stat().st_size for file in folder.glob("*.js")}
    assert sum(sizes.values()) <= 60_000, sizes
