"""LangChain: `ChatOpenAI` of langchain-openai with the tool `image_generation`, and the picture tool of
langchain-community."""

import base64
import urllib.request

from exercises import KEY, ROBOT, SERVER, exercise, png_size, run

# Configured:
from langchain_openai import ChatOpenAI

chat = ChatOpenAI(model="gpt-5", base_url=f"{SERVER}/v1", api_key=KEY)
painter = chat.bind_tools([{"type": "image_generation", "size": "256x256", "quality": "low"}])
# Used:
from langchain_community.tools.openai_dalle_image_generation import OpenAIDALLEImageGenerationTool
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper


def fetched(url):
    with urllib.request.urlopen(url) as answer:
        return png_size(answer.read())


def sizes(message):
    """Of the pictures in a message, as LangChain's documentation takes them out."""
    pictures = [block for block in message.content_blocks if block["type"] == "image"]
    return [png_size(base64.b64decode(picture["base64"])) for picture in pictures]


@exercise("`bind_tools` with `image_generation`")
def bind_tools():
    message = painter.invoke("Paint a red apple.")
    assert sizes(message) == [(256, 256)]
    assert message.usage_metadata["total_tokens"] > 0


@exercise("stream")
def stream():
    whole = None
    for chunk in painter.stream("Paint a lemon."):
        whole = chunk if whole is None else whole + chunk
    assert sizes(whole) == [(256, 256)]


@exercise("edit a picture in a message")
def edit():
    picture = base64.b64encode(ROBOT.read_bytes()).decode()
    message = {
        "role": "user",
        "content": [
            {"type": "text", "text": "a robot, 3d style"},
            {"type": "image", "base64": picture, "mime_type": "image/png"},
        ],
    }
    assert sizes(painter.invoke([message])) == [(256, 256)]


@exercise("go on from an earlier answer")
def conversation():
    first = painter.invoke("Paint a robot.")
    told = [{"role": "user", "content": "Paint a robot."}, first, {"role": "user", "content": "Make it green."}]
    assert sizes(painter.invoke(told)) == [(256, 256)]


@exercise("`DallEAPIWrapper`")
def wrapper():
    dalle = DallEAPIWrapper(base_url=f"{SERVER}/v1", api_key=KEY, size="256x256")
    assert fetched(dalle.run("a red apple")) == (256, 256)


@exercise("`DallEAPIWrapper` with several pictures")
def several():
    dalle = DallEAPIWrapper(base_url=f"{SERVER}/v1", api_key=KEY, model="dall-e-3", n=2, size="256x256", quality="hd")
    assert [fetched(url) for url in dalle.run("a lemon").split("\n")] == [(256, 256)] * 2


@exercise("`OpenAIDALLEImageGenerationTool`")
def tool():
    dalle = DallEAPIWrapper(base_url=f"{SERVER}/v1", api_key=KEY, size="256x256")
    assert fetched(OpenAIDALLEImageGenerationTool(api_wrapper=dalle).invoke("a robot")) == (256, 256)


run()
