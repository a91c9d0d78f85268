"""POST /v1/responses with the tool image_generation, as OpenAI's clients and langchain send it."""

import asyncio
import base64
import json
from typing import Any

import httpx2
import pytest
from snapshot import check
from test_edits import data_url, half_mask, pixels, png

from asgi import scope_of
from front import Front, MakeFront
from pinxit.database.tables import generations
from pinxit.errors import BackendError
from pinxit.keys.model import Scope
from pinxit.testing.fake_backend import FakeBackend

TOOL = {"type": "image_generation", "size": "256x256"}


async def respond(front: Front, headers: dict[str, str] | None = None, /, **body: Any) -> httpx2.Response:
    body = {"model": "gpt-5", "input": "a lighthouse", "tools": [TOOL], **body}
    return await front.client.post("/v1/responses", json=body, headers={**front.authorization, **(headers or {})})


def with_picture(*pictures: str, text: str = "make it blue") -> list[dict[str, Any]]:
    parts = [{"type": "input_image", "image_url": each, "detail": "auto"} for each in pictures]
    return [{"role": "user", "content": [{"type": "input_text", "text": text}, *parts]}]


def calls(answer: httpx2.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [item for item in answer.json()["output"] if item["type"] == "image_generation_call"]


def events_of(answer: httpx2.Response) -> list[dict[str, Any]]:
    return [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]


# --- answers --------------------------------------------------------------------------------------------------------


async def test_the_answer(wire: Front):
    check("response", await respond(wire, tools=[{**TOOL, "quality": "low", "seed": 3}], metadata={"a": "b"}))


async def test_the_answer_is_the_order(wire: Front):
    answer = await respond(wire)
    order = answer.headers["x-pinxit-generation"].removeprefix("gen_")
    body = answer.json()
    assert (body["id"], body["model"], answer.headers["x-pinxit-model"]) == (f"resp_{order}", "gpt-5", "fake-1")
    (call,) = calls(answer)
    assert (call["id"], call["status"], call["size"]) == (f"ig_{order}00", "completed", "256x256")
    stored = (await wire.client.get("/v1/images", headers=wire.authorization)).json()["data"][0]["url"]
    kept = await wire.client.get(stored.removeprefix("http://127.0.0.1:8000"))
    assert base64.b64decode(call["result"]) == kept.content


async def test_the_settings_of_the_tool_reach_the_painter(wire: Front):
    tool = {
        "type": "image_generation",
        "size": "512x512",
        "quality": "high",
        "background": "transparent",
        "output_format": "webp",
        "output_compression": 50,
        "moderation": "low",
        "seed": 7,
        "n": 2,
    }
    answer = await respond(wire, tools=[tool])
    first, second = calls(answer)
    told = {name: first[name] for name in ("size", "quality", "background", "output_format", "action")}
    assert list(told.values()) == ["512x512", "high", "transparent", "webp", "generate"]
    assert base64.b64decode(first["result"])[8:12] == b"WEBP"
    assert first["result"] != second["result"]
    (order,) = wire.backend.orders
    assert (order.seeds, order.transparent, order.num_inference_steps) == ((7, 8), True, 8)
    assert answer.json()["tools"] == [dict(sorted(tool.items()))]


@pytest.mark.parametrize(
    ("model", "tool_model", "painted", "told"),
    [
        ("gpt-5", None, "fake-1", "gpt-5"),
        ("gpt-4.1-mini", None, "fake-1", "gpt-4.1-mini"),
        ("o3", None, "fake-1", "o3"),
        ("gpt-image-1", None, "fake-1", "gpt-image-1"),
        ("fake-1", None, "fake-1", "fake-1"),
        (None, None, "fake-1", "fake-1"),
        ("gpt-5", "gpt-image-1", "fake-1", "gpt-5"),
        ("anything at all", "fake-1", "fake-1", "anything at all"),
    ],
)
async def test_which_model_paints(wire: Front, model: str | None, tool_model: str | None, painted: str, told: str):
    answer = await respond(wire, model=model, tools=[{**TOOL, "model": tool_model}])
    assert answer.status_code == 200, answer.text
    assert (answer.headers["x-pinxit-model"], answer.json()["model"]) == (painted, told)


async def test_what_a_chat_model_would_have_heard_is_listed(wire: Front):
    answer = await respond(
        wire,
        instructions="You are an artist.",
        temperature=0.5,
        top_p=None,
        reasoning={"effort": "low"},
        text={"format": {"type": "text"}},
        parallel_tool_calls=True,
        tools=[{"type": "web_search"}, {**TOOL, "input_fidelity": "high", "partial_images": 1}],
        input=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a lighthouse"}],
    )
    assert answer.headers["x-pinxit-ignored"].split(", ") == [
        "instructions", "temperature", "reasoning", "text", "parallel_tool_calls", "tools[0]",
        "tools[1].input_fidelity", "tools[1].partial_images", "input[0]",
    ]  # fmt: skip
    assert wire.backend.orders[0].prompt == "a lighthouse"
    assert calls(answer)[0]["revised_prompt"] == "a lighthouse"


async def test_a_strict_key_has_that_refused(wire: Front):
    wire.key = await wire.make_key(strict=True)
    answer = await respond(wire, temperature=0.5)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "temperature")


@pytest.mark.parametrize(
    "choice",
    [
        "auto",
        "required",
        {"type": "image_generation"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "image_generation"}]},
    ],
)
async def test_tool_choices_that_paint(wire: Front, choice: Any):
    assert (await respond(wire, tool_choice=choice)).json()["tool_choice"] == choice


# --- pictures to begin from -----------------------------------------------------------------------------------------


async def test_a_picture_is_edited(wire: Front):
    answer = await respond(wire, input=with_picture(data_url(png())))
    assert calls(answer)[0]["action"] == "edit"
    (order,) = wire.backend.orders
    assert (order.prompt, len(order.images)) == ("make it blue", 1)
    assert order.images[0].data == bytes([200, 30, 30]) * 256 * 256


async def test_a_mask(wire: Front):
    tool = {**TOOL, "input_image_mask": {"image_url": data_url(half_mask())}}
    answer = await respond(wire, input=with_picture(data_url(png())), tools=[tool])
    painted = pixels({"b64_json": calls(answer)[0]["result"]})
    assert (painted[:, 128:] == (200, 30, 30)).all()
    assert not (painted[:, :120] == (200, 30, 30)).all()
    assert "input_image_mask" not in answer.json()["tools"][0]


async def test_an_action_decides(wire: Front):
    answer = await respond(wire, input=with_picture(data_url(png())), tools=[{**TOOL, "action": "generate"}])
    assert calls(answer)[0]["action"] == "generate"
    refused = await respond(wire, tools=[{**TOOL, "action": "edit"}])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "input")


async def test_going_on_from_the_response_before(wire: Front):
    first = await respond(wire)
    answer = await respond(wire, input="now at night", previous_response_id=first.json()["id"])
    assert answer.json()["previous_response_id"] == first.json()["id"]
    began, order = wire.backend.orders
    assert (began.images, order.prompt, len(order.images)) == ((), "now at night", 1)


@pytest.mark.parametrize("by", ["id", "result", "item_reference"])
async def test_going_on_from_the_conversation(wire: Front, by: str):
    """langchain sends `{"type": "image_generation_call", "id": …}` back, the Vercel AI SDK an `item_reference`."""
    (call,) = calls(await respond(wire))
    said = {
        "id": {"type": "image_generation_call", "id": call["id"]},
        "result": call,
        "item_reference": {"type": "item_reference", "id": call["id"]},
    }[by]
    history = [
        {"role": "user", "content": "a lighthouse"},
        said,
        {"type": "message", "role": "assistant", "id": "msg_1", "content": [{"type": "output_text", "text": ""}]},
        {"role": "user", "content": [{"type": "input_text", "text": "now at night"}]},
    ]
    answer = await respond(wire, input=history)
    assert calls(answer)[0]["action"] == "edit"
    assert wire.backend.orders[1].prompt == "now at night"
    assert answer.headers["x-pinxit-ignored"] == "input[0]"


async def test_another_account_s_picture_is_not_there(wire: Front):
    first = await respond(wire)
    await wire.make_account("acct_other")
    wire.key = await wire.make_key(account="acct_other")
    answer = await respond(wire, previous_response_id=first.json()["id"])
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "previous_response_id")
    (call,) = calls(first)
    answer = await respond(
        wire, input=[{"type": "image_generation_call", "id": call["id"]}, *with_picture(text="at night")]
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "input[0].id")


async def test_who_may_not_read_pictures_cannot_begin_from_kept_ones(wire: Front):
    first = await respond(wire)
    wire.key = await wire.make_key(scopes=(Scope.IMAGES_WRITE,))
    assert (await respond(wire, input=with_picture(data_url(png())))).status_code == 200
    assert (await respond(wire, previous_response_id=first.json()["id"])).status_code == 403


async def test_more_without_effect_than_a_header_holds(wire: Front):
    answer = await respond(wire, tools=[*[{"type": "web_search"}] * 2000, TOOL])
    assert answer.status_code == 200
    assert len(answer.headers["x-pinxit-ignored"].split(", ")) == 50


async def test_a_picture_that_was_not_kept_is_not_there(wire: Front):
    first = await respond(wire, store=False)
    assert (await wire.client.get("/v1/images", headers=wire.authorization)).json()["data"] == []
    assert (await respond(wire, previous_response_id=first.json()["id"])).status_code == 404


async def test_memory_is_given_back(wire: Front):
    await respond(wire, input=with_picture(data_url(png())))
    await respond(wire, input=with_picture("data:image/png;base64,AAAA"))
    assert wire.house.services.byte_budget.used_bytes == 0


# --- the same manners as any order ----------------------------------------------------------------------------------


async def test_an_idempotency_key(wire: Front):
    first = await respond(wire, {"Idempotency-Key": "one"})
    again = await respond(wire, {"Idempotency-Key": "one"})
    assert (again.json(), again.headers["idempotent-replayed"]) == (first.json(), "true")
    assert (await respond(wire, {"Idempotency-Key": "one"}, input="another")).status_code == 422
    assert len(wire.backend.orders) == 1


async def test_a_retry_of_openai_s_client_is_one_order(wire: Front):
    await respond(wire)
    order = (await wire.rows(generations))[0].id
    await wire.house.services.generations.abandon(order)
    again = await respond(wire, {"x-stainless-retry-count": "1"})
    assert again.headers["x-pinxit-generation"] == order


async def test_limits_hold_here_too(make_wire: MakeFront):
    wire = await make_wire(requests_per_minute=1)
    assert "x-ratelimit-remaining-requests" in (await respond(wire)).headers
    assert (await respond(wire)).status_code == 429


async def test_a_server_without_it(make_wire: MakeFront):
    wire = await make_wire(enable_responses=False)
    assert (await respond(wire)).status_code == 404
    assert "/v1/responses" not in (await wire.client.get("/openapi.json")).json()["paths"]


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"tools": None}, 400, "tools"),
        ({"tools": []}, 400, "tools"),
        ({"tools": [{"type": "web_search"}]}, 400, "tools"),
        ({"tools": [TOOL, TOOL]}, 400, "tools[1]"),
        ({"tools": ["image_generation"]}, 400, "tools[0]"),
        ({"tools": [{**TOOL, "size": "123x45"}]}, 422, "tools[0].size"),
        ({"tools": [{**TOOL, "size": 5}]}, 400, "tools[0].size"),
        ({"tools": [{"type": "web_search"}, {**TOOL, "quality": "best"}]}, 422, "tools[1].quality"),
        ({"tools": [{**TOOL, "output_format": "svg"}]}, 422, "tools[0].output_format"),
        ({"tools": [{**TOOL, "output_format": "url"}]}, 422, "tools[0].output_format"),
        ({"tools": [{**TOOL, "frame_count": 9}]}, 422, "tools[0].frame_count"),
        ({"tools": [{**TOOL, "partial_images": 4}], "stream": True}, 422, "tools[0].partial_images"),
        ({"tools": [{**TOOL, "model": "no-such"}]}, 404, "tools[0].model"),
        ({"tools": [{**TOOL, "action": "draw"}]}, 422, "tools[0].action"),
        ({"tools": [{**TOOL, "colour": "red"}]}, 400, "tools[0].colour"),
        ({"tools": [{**TOOL, "input_image_mask": {"image_url": "x"}}]}, 400, "tools[0].input_image_mask"),
        ({"tools": [{**TOOL, "strength": 0.5}]}, 422, "tools[0].strength"),
        ({"tool_choice": "none"}, 422, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "f"}}, 422, "tool_choice"),
        ({"tool_choice": 1}, 422, "tool_choice"),
        ({"model": "no-such"}, 404, "model"),
        ({"model": 5}, 400, "model"),
        ({"background": True}, 422, "background"),
        ({"conversation": "conv_1"}, 422, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, 422, "prompt"),
        ({"previous_response_id": "resp_1"}, 400, "previous_response_id"),
        ({"previous_response_id": "resp_" + "0" * 32}, 404, "previous_response_id"),
        ({"stream": "yes"}, 400, "stream"),
        ({"store": 1}, 400, "store"),
        ({"metadata": []}, 400, "metadata"),
        ({"metadata": {"a": 1}}, 422, "metadata"),
        ({"metadata": {"a": "x" * 513}}, 422, "metadata"),
        ({"metadata": {str(number): "" for number in range(17)}}, 422, "metadata"),
        ({"tool_choice": {"type": "image_generation", "x": "x" * 5000}}, 422, "tool_choice"),
        ({"colour": "red"}, 400, "colour"),
        ({"api_base": "http://x"}, 400, "api_base"),
        ({"input": None}, 400, "input"),
        ({"input": ""}, 400, "input"),
        ({"input": 5}, 400, "input"),
        ({"input": []}, 400, "input"),
        ({"input": ["a"]}, 400, "input[0]"),
        ({"input": [{"role": "assistant", "content": "x"}]}, 400, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, 422, "input[0].role"),
        ({"input": [{"content": "x"}]}, 400, "input[0].role"),
        ({"input": [{"type": "file", "role": "user"}]}, 422, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, 422, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, 400, "input[0].content[0].text"),
        ({"input": with_picture("ftp://x/a.png")}, 422, "input[0].content[1].image_url"),
        ({"input": with_picture("http://127.0.0.1:9/a.png")}, 422, "input[0].content[1].image_url"),
        ({"input": with_picture(data_url(png())[:60])}, 422, "input[0].content[1].image_url"),
        ({"input": with_picture(*[data_url(png(8, 8))] * 5)}, 422, "input[0]"),
        ({"input": with_picture(*[data_url(png(8, 8))] * 17)}, 422, "input[0]"),
        ({"input": with_picture(data_url(png()), text=" ")}, 400, "input"),
        ({"input": [{"type": "image_generation_call", "id": "ig_1"}]}, 400, "input[0].id"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
            422,
            "input[0].content[0].file_id",
        ),
    ],
)
async def test_what_is_refused(wire: Front, body: dict[str, Any], status: int, param: str):
    answer = await respond(wire, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert await wire.rows(generations) == []
    assert wire.house.services.byte_budget.used_bytes == 0


async def test_a_key_for_other_models_is_refused(wire: Front):
    wire.key = await wire.make_key(models=("another",))
    answer = await respond(wire)
    assert (answer.status_code, answer.json()["error"]["param"]) == (403, "model")


async def test_names_of_a_client_s_own_make_no_header(wire: Front):
    answer = await respond(wire, **{"evil\r\nx-injected: 1": 1})
    assert answer.status_code == 400
    assert "x-injected" not in answer.headers


async def test_a_body_that_is_too_large(make_front: MakeFront):
    front = await make_front(max_upload_bytes=2000)
    assert (await respond(front, input="x" * 3000)).status_code == 413


# --- streams --------------------------------------------------------------------------------------------------------

STREAM = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.image_generation_call.in_progress",
    "response.image_generation_call.generating",
    "response.image_generation_call.partial_image",
    "response.image_generation_call.partial_image",
    "response.image_generation_call.completed",
    "response.output_item.done",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


async def test_a_stream(wire: Front):
    answer = await respond(wire, stream=True, tools=[{**TOOL, "partial_images": 2}])
    events = events_of(answer)
    assert answer.headers["content-type"] == "text/event-stream"
    assert [each["type"] for each in events] == STREAM
    assert [each["sequence_number"] for each in events] == list(range(len(STREAM)))
    assert [line[7:] for line in answer.text.splitlines() if line.startswith("event: ")] == STREAM
    partial = events[5]
    assert (partial["partial_image_index"], partial["item_id"]) == (0, events[2]["item"]["id"])
    assert pixels({"b64_json": partial["partial_image_b64"]}).shape == (256, 256, 3)
    assert events[8]["item"]["result"] == events[-1]["response"]["output"][0]["result"]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[-1]["response"]["status"] == "completed"


async def test_the_end_of_a_stream_is_the_answer(wire: Front):
    tool = {**TOOL, "seed": 5, "n": 2}
    streamed = events_of(await respond(wire, stream=True, tools=[tool]))[-1]["response"]
    whole = (await respond(wire, tools=[tool])).json()
    differing = {name for name in whole if whole[name] != streamed[name]}
    assert differing <= {"id", "output", "created_at", "completed_at"}
    assert [item.get("result") for item in streamed["output"]] == [item.get("result") for item in whole["output"]]


async def test_a_stream_that_fails(wire: Front):
    wire.backend.failure = lambda _: BackendError()
    events = events_of(await respond(wire, stream=True))
    assert [each["type"] for each in events[-2:]] == ["error", "response.failed"]
    assert events[-2]["error"]["type"] == "upstream_error"
    assert events[-1]["response"]["error"]["code"] == "server_error"


async def test_a_stream_that_cannot_begin_is_an_error(wire: Front):
    answer = await respond(wire, stream=True, tools=[{**TOOL, "size": "1x1"}])
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "tools[0].size")


# --- orders that do not go well -------------------------------------------------------------------------------------


def fails_at_the_second(wire: Front) -> None:
    """The painter fails at the second picture of each order, so that the first one is kept."""
    begun: list[int] = []

    def failure(_: Any) -> Exception | None:
        begun.append(1)
        return BackendError() if len(begun) % 2 == 0 else None

    wire.backend.failure = failure


@pytest.mark.parametrize("is_stream", [False, True])
async def test_what_could_not_be_painted_has_its_place(wire: Front, is_stream: bool):
    fails_at_the_second(wire)
    answer = await respond(wire, stream=is_stream, tools=[{**TOOL, "n": 2}])
    if is_stream:
        events = events_of(answer)
        output = events[-1]["response"]["output"]
        done = [each["item"] for each in events if each["type"] == "response.output_item.done"]
        assert done == output
        assert [each["output_index"] for each in events if each["type"].endswith("call.completed")] == [0]
    else:
        output = answer.json()["output"]
    assert [(item["type"], item["status"], bool(item.get("result"))) for item in output] == [
        ("image_generation_call", "completed", True),
        ("image_generation_call", "failed", False),
        ("message", "completed", False),
    ]


async def test_who_hangs_up_on_a_stream_wants_no_more(make_wire: MakeFront):
    gate, begun = asyncio.Event(), asyncio.Event()
    wire = await make_wire(FakeBackend(gates={2: gate}))
    body = json.dumps({"input": "x", "stream": True, "tools": [TOOL]}).encode()
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if messages:
            return messages.pop()
        await begun.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if b"response.image_generation_call.generating" in message.get("body", b""):
            begun.set()

    headers = [(b"authorization", wire.key.encode()), (b"content-type", b"application/json")]
    async with asyncio.timeout(10):
        await wire.app(scope_of("POST", b"/v1/responses", headers), receive, send)
        while (row := (await wire.rows(generations))[0]).status in ("queued", "in_progress"):
            await asyncio.sleep(0)
    assert row.status == "cancelled"
