"""The official client for Python: every method of its images and models, and every class of its errors."""

import base64
import os
import socket
import urllib.request
import warnings

import openai
from exercises import KEY, MASK, ROBOT, SERVER, exercise, png_size, run

# Configured:
from openai import OpenAI

client = OpenAI(base_url=f"{SERVER}/v1", api_key=KEY)
# Used:

SMALL = {"size": "256x256", "quality": "low"}


def fetched(url):
    with urllib.request.urlopen(url) as answer:
        return png_size(answer.read())


@exercise("generate")
def generate():
    answer = client.images.generate(model="gpt-image-1", prompt="A cute baby sea otter", n=2, **SMALL)
    assert [fetched(picture.url) for picture in answer.data] == [(256, 256)] * 2
    assert answer.size == "256x256"
    assert answer.usage.total_tokens > 0


@exercise("`response_format`")
def response_format():
    answer = client.images.generate(model="dall-e-3", prompt="a lemon", response_format="b64_json", **SMALL)
    assert png_size(base64.b64decode(answer.data[0].b64_json)) == (256, 256)


@exercise("`quality` of DALL·E")
def quality():
    for quality in ("standard", "hd"):
        assert client.images.generate(model="dall-e-3", prompt="a lemon", size="256x256", quality=quality).data


@exercise("`extra_body`")
def extra_body():
    answer = client.images.generate(prompt="a lemon", extra_body={"output_format": "url", "seed": 7}, **SMALL)
    assert fetched(answer.data[0].url) == (256, 256)
    assert answer.data[0].seed == 7


@exercise("stream with partial images")
def stream():
    events = list(client.images.generate(prompt="a red apple", stream=True, partial_images=3, size="256x256"))
    assert [event.type for event in events] == [
        *["image_generation.partial_image"] * 3, "image_generation.completed",
    ]  # fmt: skip
    assert all(png_size(base64.b64decode(event.b64_json)) == (256, 256) for event in events)


@exercise("edit with a list and a mask")
def edit():
    with ROBOT.open("rb") as robot, MASK.open("rb") as mask:
        answer = client.images.edit(image=[robot], mask=mask, prompt="a robot, 3d style", **SMALL)
    assert fetched(answer.data[0].url) == (256, 256)


@exercise("edit as a stream")
def edit_stream():
    with ROBOT.open("rb") as robot:
        events = list(client.images.edit(image=robot, prompt="a robot", stream=True, partial_images=1, size="256x256"))
    assert [event.type for event in events] == ["image_edit.partial_image", "image_edit.completed"]


@exercise("variations")
def variations():
    warnings.simplefilter("ignore", DeprecationWarning)
    with ROBOT.open("rb") as robot:
        answer = client.images.create_variation(image=robot, n=2, size="256x256")
    assert len({picture.url for picture in answer.data}) == 2


@exercise("models")
def models():
    assert "otter-1" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-image-1").id == "otter-1"


@exercise("`with_raw_response`")
def raw_response():
    answer = client.images.with_raw_response.generate(prompt="a lemon", **SMALL)
    assert answer.headers["x-pinxit-model"] == "otter-1"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.parse().data[0].url


@exercise("async client")
def async_client():
    import asyncio

    async def paint():
        async with openai.AsyncOpenAI(base_url=f"{SERVER}/v1", api_key=KEY) as client:
            return await client.images.generate(prompt="a lemon", **SMALL)

    assert asyncio.run(paint()).data[0].url


@exercise("`responses` with `image_generation`")
def responses():
    tool = {"type": "image_generation", **SMALL}
    answer = client.responses.create(model="gpt-5", input="a red apple", tools=[tool])
    (call,) = [item for item in answer.output if item.type == "image_generation_call"]
    assert png_size(base64.b64decode(call.result)) == (256, 256)
    again = client.responses.create(model="gpt-5", previous_response_id=answer.id, input="a green one", tools=[tool])
    assert [item.type for item in again.output].count("image_generation_call") == 1


@exercise("`chat.completions` with `modalities`")
def chat():
    answer = client.chat.completions.create(
        model="otter-1", messages=[{"role": "user", "content": "a lemon"}], modalities=["image", "text"]
    )
    (picture,) = answer.choices[0].message.images
    assert png_size(base64.b64decode(picture["image_url"]["url"].partition("base64,")[2]))


def refusal(error, client=client, **request):
    """The error of this very class that an order raises."""
    try:
        client.images.generate(**{"prompt": "a lemon", **SMALL, **request})
    except error as caught:
        refused = caught
    else:
        raise AssertionError(f"no {error.__name__}")
    assert type(refused) is error, repr(refused)
    return refused


@exercise("every class of error")
def errors():
    once = client.with_options(max_retries=0)
    assert refusal(openai.BadRequestError, prompt=" ").param == "prompt"
    refusal(openai.AuthenticationError, client.with_options(api_key="sk-" + "x" * 43))
    refusal(openai.PermissionDeniedError, client.with_options(api_key=os.environ["PINXIT_READING_KEY"]))
    assert refusal(openai.NotFoundError, model="no-such-model").type == "model_not_found"
    taken = {"x-pinxit-generation": "gen_" + os.urandom(16).hex()}
    client.images.generate(prompt="a lemon", extra_headers=taken, **SMALL)
    refusal(openai.ConflictError, once, extra_headers=taken)
    assert refusal(openai.UnprocessableEntityError, size="123x45").param == "size"
    hasty = once.with_options(api_key=os.environ["PINXIT_HASTY_KEY"])
    hasty.images.generate(prompt="a lemon", n=2, **SMALL)
    assert int(refusal(openai.RateLimitError, hasty).response.headers["retry-after"]) > 0
    late = refusal(openai.InternalServerError, once, n=10, extra_body={"deadline_seconds": 0.001})
    assert (late.status_code, late.type) == (504, "upstream_timeout")
    refusal(openai.APITimeoutError, once.with_options(timeout=0.001))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        refusal(openai.APIConnectionError, once.with_options(base_url=f"http://127.0.0.1:{nobody.getsockname()[1]}/v1"))


@exercise("sent again after a timeout, painted once")
def sent_again():
    hasty = client.with_options(timeout=0.15, max_retries=10)
    prompt = "a lemon for somebody in a hurry"
    answer = hasty.images.with_raw_response.generate(prompt=prompt, extra_body={"num_inference_steps": 50})
    assert answer.headers["idempotent-replayed"] == "true"
    assert int(answer.http_request.headers["x-stainless-retry-count"]) >= 1
    kept = client.get("/images?limit=100", cast_to=dict)["data"]
    assert sum(image["prompt"] == prompt for image in kept) == 1


run()
