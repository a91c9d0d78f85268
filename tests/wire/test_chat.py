"""POST /v1/chat/completions with the modality image, as OpenRouter's clients send it."""

import base64
import json
from typing import Any

import httpx2
import pytest
from snapshot import check
from test_edits import data_url, png
from test_responses import fails_at_the_second

from front import Front, MakeFront
from pinxit.database.tables import generations
from pinxit.errors import BackendError

SMALL = {"quality": "low", "image_size": "256x256"}


async def chat(front: Front, headers: dict[str, str] | None = None, /, **body: Any) -> httpx2.Response:
    said = [{"role": "user", "content": "a lighthouse"}]
    body = {"model": "fake-1", "messages": said, "modalities": ["image"], "image_config": SMALL, **body}
    return await front.client.post(
        "/v1/chat/completions", json=body, headers={**front.authorization, **(headers or {})}
    )


def user(*pictures: str, text: str = "make it blue") -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": each}} for each in pictures]
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


def urls(answer: httpx2.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["image_url"]["url"] for choice in answer.json()["choices"] for each in choice["message"]["images"]]


def chunks(answer: httpx2.Response) -> list[dict[str, Any]]:
    *lines, last = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert last == "[DONE]"
    return [json.loads(line) for line in lines]


async def test_the_answer(wire: Front):
    answer = await chat(wire, modalities=["image", "text"], seed=3, usage={"include": True})
    check("chat_completion", answer)
    (url,) = urls(answer)
    stored = (await wire.client.get("/v1/images", headers=wire.authorization)).json()["data"][0]["url"]
    kept = await wire.client.get(stored.removeprefix("http://127.0.0.1:8000"))
    assert base64.b64decode(url.removeprefix("data:image/png;base64,"), validate=True) == kept.content


async def test_several_choices_in_another_encoding(wire: Front):
    answer = await chat(wire, n=2, image_config={**SMALL, "output_format": "webp", "output_compression": 50})
    assert [choice["index"] for choice in answer.json()["choices"]] == [0, 1]
    assert [url.partition(",")[0] for url in urls(answer)] == ["data:image/webp;base64"] * 2


@pytest.mark.parametrize(
    ("config", "size"),
    [
        (None, "1024x1024"),
        ({"aspect_ratio": "3:2"}, "1536x1024"),
        ({"aspect_ratio": "1:1", "image_size": "0.5K"}, "512x512"),
        ({"image_size": "1K"}, "1024x1024"),
        ({"aspect_ratio": "2:3", "image_size": "1K"}, "1024x1536"),
        ({"image_size": "512x512"}, "512x512"),
        ({"image_size": "auto"}, "1024x1024"),
    ],
)
async def test_sizes(wire: Front, config: dict[str, Any] | None, size: str):
    assert (await chat(wire, image_config=config)).status_code == 200
    assert str(wire.backend.orders[0].size) == size


async def test_a_picture_is_edited(wire: Front):
    answer = await chat(wire, messages=[user(data_url(png()))], image_config={"image_size": "1K", "strength": 0.4})
    assert answer.headers["x-pinxit-ignored"] == "image_config.image_size"
    (order,) = wire.backend.orders
    assert (order.prompt, len(order.images), order.strength) == ("make it blue", 1, 0.4)


async def test_going_on_from_the_message_before(wire: Front):
    """OpenRouter's clients send the assistant's message back, as it was."""
    before = (await chat(wire)).json()["choices"][0]["message"]
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "a lighthouse"}, before, user()]
    answer = await chat(wire, messages=said)
    assert answer.headers["x-pinxit-ignored"] == "messages[0], messages[1]"
    assert [len(order.images) for order in wire.backend.orders] == [0, 1]


async def test_what_a_chat_model_would_have_heard_is_listed(wire: Front):
    answer = await chat(wire, temperature=1, max_tokens=100, tools=[], stop=None)
    assert answer.headers["x-pinxit-ignored"] == "temperature, max_tokens, tools"
    wire.key = await wire.make_key(strict=True)
    assert (await chat(wire, temperature=1)).json()["error"]["param"] == "temperature"


async def test_an_idempotency_key(wire: Front):
    first = await chat(wire, {"Idempotency-Key": "one"})
    again = await chat(wire, {"Idempotency-Key": "one"})
    assert (again.json(), len(wire.backend.orders)) == (first.json(), 1)


# --- streams --------------------------------------------------------------------------------------------------------


async def test_a_stream(wire: Front):
    answer = await chat(wire, stream=True, seed=1, stream_options={"include_usage": True})
    assert answer.headers["content-type"] == "text/event-stream"
    assert "event:" not in answer.text
    role, picture, end, usage = chunks(answer)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    whole = await chat(wire, seed=1)
    assert [each["image_url"]["url"] for each in picture["choices"][0]["delta"]["images"]] == urls(whole)
    assert (end["choices"][0]["delta"], end["choices"][0]["finish_reason"]) == ({}, "stop")
    assert (usage["choices"], usage["usage"]) == ([], whole.json()["usage"])
    assert {each["id"] for each in chunks(answer)} == {role["id"]}


async def test_usage_in_a_stream_is_for_who_asks(wire: Front):
    assert all("usage" not in chunk for chunk in chunks(await chat(wire, stream=True)))


async def test_a_stream_that_fails(wire: Front):
    wire.backend.failure = lambda _: BackendError()
    last = chunks(await chat(wire, stream=True))[-1]
    assert (last["error"]["type"], last["choices"][0]["finish_reason"]) == ("upstream_error", "error")


# --- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"modalities": None}, 400, "modalities"),
        ({"modalities": ["text"]}, 400, "modalities"),
        ({"modalities": ["image", "audio"]}, 422, "modalities"),
        ({"modalities": "image"}, 400, "modalities"),
        ({"modalities": [["image"], "image"]}, 422, "modalities"),
        ({"messages": None}, 400, "messages"),
        ({"messages": []}, 400, "messages"),
        ({"messages": ["x"]}, 400, "messages[0]"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": ""}]}, 400, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, 422, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, 400, "messages[0].content[0].text"),
        ({"messages": [user("http://127.0.0.1:9/a.png")]}, 422, "messages[0].content[1].image_url"),
        ({"messages": [user(*[data_url(png(8, 8))] * 5)]}, 422, "messages[0]"),
        ({"model": "no-such"}, 404, "model"),
        ({"model": "gpt-5"}, 404, "model"),
        ({"model": 5}, 400, "model"),
        ({"n": 11}, 400, "n"),
        ({"seed": -1}, 422, "seed"),
        ({"stream": 1}, 400, "stream"),
        ({"stream_options": {"include_usage": 1}}, 400, "stream_options.include_usage"),
        ({"tool_choice": "required"}, 422, "tool_choice"),
        ({"provider": {"sort": "throughput"}}, 422, "provider.sort"),
        ({"provider": {"only": ["nobody"]}}, 422, "provider"),
        ({"models": ["a"]}, 404, "models"),
        ({"colour": "red"}, 400, "colour"),
        ({"api_key": "x"}, 400, "api_key"),
        ({"partial_images": 1}, 400, "partial_images"),
        ({"image_config": []}, 400, "image_config"),
        ({"image_config": {"aspect_ratio": "7:3"}}, 422, "image_config.aspect_ratio"),
        ({"image_config": {"aspect_ratio": "7:3", "image_size": "1K"}}, 422, "image_config.aspect_ratio"),
        ({"image_config": {"image_size": "4K"}}, 422, "image_config.image_size"),
        ({"image_config": {"image_size": "123x45"}}, 422, "image_config.image_size"),
        ({"image_config": {"aspect_ratio": "1:1", "image_size": "512x512"}}, 422, "image_config.image_size"),
        ({"image_config": {"image_size": 1}}, 400, "image_config.image_size"),
        ({"image_config": {"quality": "best"}}, 422, "image_config.quality"),
        ({"image_config": {"output_format": "url"}}, 422, "image_config.output_format"),
        ({"image_config": {"font_inputs": []}}, 400, "image_config.font_inputs"),
    ],
)
async def test_what_is_refused(wire: Front, body: dict[str, Any], status: int, param: str):
    answer = await chat(wire, **body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert await wire.rows(generations) == []
    assert wire.house.services.byte_budget.used_bytes == 0


async def test_a_server_without_it(make_wire: MakeFront):
    wire = await make_wire(enable_chat_completions=False)
    assert (await chat(wire)).status_code == 404
    assert "/v1/chat/completions" not in (await wire.client.get("/openapi.json")).json()["paths"]


async def test_what_could_not_be_painted_is_no_choice(wire: Front):
    fails_at_the_second(wire)
    assert len(urls(await chat(wire, n=2))) == 1
    streamed = chunks(await chat(wire, n=2, stream=True))
    assert [chunk["choices"][0]["finish_reason"] for chunk in streamed] == [None, None, None, "stop", "error"]
