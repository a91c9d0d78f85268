"""LiteLLM's SDK: pictures, edits and its own classes of errors, synchronous and not."""

import asyncio
import base64
import urllib.request

import openai
from exercises import KEY, MASK, ROBOT, SERVER, exercise, png_size, run

# Configured:
import litellm

PINXIT = {"model": "openai/otter-1", "api_base": f"{SERVER}/v1", "api_key": KEY}
# Used:


def size_of(answer):
    with urllib.request.urlopen(answer.data[0].url) as picture:
        return png_size(picture.read())


@exercise("`image_generation`")
def image_generation():
    answer = litellm.image_generation(**PINXIT, prompt="a red apple", n=2, size="256x256", quality="low")
    assert len(answer.data) == 2
    assert size_of(answer) == (256, 256)
    assert answer.usage.total_tokens > 0


@exercise("`response_format`")
def response_format():
    answer = litellm.image_generation(
        **PINXIT | {"model": "openai/dall-e-3"}, prompt="a lemon", size="256x256", response_format="b64_json"
    )
    assert png_size(base64.b64decode(answer.data[0].b64_json)) == (256, 256)


@exercise("`aimage_generation`")
def aimage_generation():
    assert size_of(asyncio.run(litellm.aimage_generation(**PINXIT, prompt="a lemon", size="256x256"))) == (256, 256)


@exercise("`image_edit` with a list and a mask")
def image_edit():
    with ROBOT.open("rb") as robot, MASK.open("rb") as mask:
        answer = litellm.image_edit(**PINXIT, image=[robot], mask=mask, prompt="a robot, 3d style", size="256x256")
    assert size_of(answer) == (256, 256)


@exercise("`aimage_edit`")
def aimage_edit():
    with ROBOT.open("rb") as robot:
        answer = asyncio.run(litellm.aimage_edit(**PINXIT, image=robot, prompt="a robot", size="256x256"))
    assert size_of(answer) == (256, 256)


@exercise("`image_variation`")
def image_variation():
    with ROBOT.open("rb") as robot:
        answer = litellm.image_variation(**PINXIT, image=robot)
    assert size_of(answer) == (512, 512)


@exercise("`completion` with `modalities`")
def completion():
    answer = litellm.completion(
        **PINXIT, messages=[{"role": "user", "content": "a lemon"}], modalities=["image", "text"]
    )
    (picture,) = answer.choices[0].message.images
    assert png_size(base64.b64decode(picture["image_url"]["url"].partition("base64,")[2]))


def kind_of_refusal(**wrong):
    """The class of the error that an order raises."""
    try:
        litellm.image_generation(**{**PINXIT, "prompt": "a lemon", "max_retries": 0, **wrong})
    except openai.APIError as refused:  # LiteLLM's errors are kinds of these
        return type(refused)
    raise AssertionError(f"no error: {wrong}")


@exercise("errors")
def errors():
    assert kind_of_refusal(prompt=" ") is litellm.BadRequestError
    assert kind_of_refusal(api_key="sk-" + "x" * 43) is litellm.AuthenticationError
    assert kind_of_refusal(model="openai/no-such-model") is litellm.NotFoundError
    assert kind_of_refusal(size="123x45") is litellm.BadRequestError  # 422: LiteLLM has it so


run()
