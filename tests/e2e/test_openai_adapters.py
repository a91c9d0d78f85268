"""The official OpenAI client's Responses API and chat against a real server: what they answer are its own classes."""

import base64
import io

import openai
import pytest
from openai.types.responses import Response
from PIL import Image
from running import is_png

TOOL = {"type": "image_generation", "size": "256x256", "quality": "low"}


def size_of(data: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True))).size


def call_of(response: Response):
    (call,) = [item for item in response.output if item.type == "image_generation_call"]
    return call


def test_a_response(client):
    response = client.responses.create(model="gpt-5", input="a red apple", tools=[TOOL])
    call = call_of(response)
    assert (call.status, call.size, call.revised_prompt) == ("completed", "256x256", "a red apple")
    assert is_png(base64.b64decode(call.result))
    assert (response.status, response.model, response.output_text) == ("completed", "gpt-5", "")
    assert response.usage.total_tokens > 0


def test_a_conversation(client):
    first = client.responses.create(model="gpt-5", input="a red apple", tools=[TOOL])
    by_id = client.responses.create(model="gpt-5", input="a green apple", previous_response_id=first.id, tools=[TOOL])
    assert call_of(by_id).to_dict()["action"] == "edit"
    by_input = client.responses.create(
        model="gpt-5",
        input=[{"role": "user", "content": "a red apple"}, *first.output, {"role": "user", "content": "a green apple"}],
        tools=[TOOL],
    )
    assert call_of(by_input).to_dict()["action"] == "edit"


def test_a_streamed_response(client):
    """Its accumulated response is the one at the end."""
    with client.responses.stream(model="gpt-5", input="a red apple", tools=[{**TOOL, "partial_images": 2}]) as stream:
        events = list(stream)
        final = stream.get_final_response()
    partials = [event for event in events if event.type == "response.image_generation_call.partial_image"]
    assert [event.partial_image_index for event in partials] == [0, 1]
    assert size_of(partials[0].partial_image_b64) == (256, 256)
    done = next(event for event in events if event.type == "response.output_item.done")
    assert done.item.result == call_of(final).result
    assert size_of(done.item.result) == (256, 256)


def test_a_response_without_the_tool(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="gpt-5", input="hello")
    assert caught.value.param == "tools"


def test_a_chat(client):
    """The pictures are beyond what OpenAI's classes know, as they are at OpenRouter."""
    answer = client.chat.completions.create(
        model="otter-1",
        messages=[{"role": "user", "content": "a red apple"}],
        extra_body={"modalities": ["image", "text"], "image_config": {"aspect_ratio": "1:1", "image_size": "0.5K"}},
    )
    (image,) = answer.choices[0].message.model_extra["images"]
    assert size_of(image["image_url"]["url"].removeprefix("data:image/png;base64,")) == (512, 512)
    assert answer.usage.total_tokens > 0


def test_a_streamed_chat(client):
    stream = client.chat.completions.create(
        model="otter-1",
        messages=[{"role": "user", "content": "a red apple"}],
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"modalities": ["image"], "image_config": {"image_size": "256x256"}},
    )
    *chunks, last = list(stream)
    (image,) = [image for chunk in chunks for image in (chunk.choices[0].delta.model_extra or {}).get("images", [])]
    assert size_of(image["image_url"]["url"].removeprefix("data:image/png;base64,")) == (256, 256)
    assert last.usage.total_tokens > 0


def test_a_chat_without_pictures(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="otter-1", messages=[{"role": "user", "content": "hello"}])
    assert caught.value.param == "modalities"
