"""Haystack's image generator, alone and in a pipeline. It says nothing about how pictures come and reads `b64_json`."""

import asyncio
import base64

from exercises import KEY, SERVER, exercise, png_size, run

# Configured:
from haystack.components.generators import OpenAIImageGenerator
from haystack.utils import Secret

generator = OpenAIImageGenerator(api_base_url=f"{SERVER}/v1", api_key=Secret.from_token(KEY))
# Used:


def size_of(answer):
    (picture,) = answer["images"]
    return png_size(base64.b64decode(picture))


@exercise("`OpenAIImageGenerator`")
def generate():
    assert size_of(generator.run("a red apple")) == (1024, 1024)


@exercise("`size` and `quality`")
def options():
    assert size_of(generator.run("a lemon", size="auto", quality="low")) == (512, 512)


@exercise("async")
def generate_async():
    async def paint():
        try:
            return await generator.run_async("a lemon", size="auto", quality="low")
        finally:
            await generator.close_async()

    assert size_of(asyncio.run(paint())) == (512, 512)


@exercise("in a pipeline")
def pipeline():
    from haystack import Pipeline
    from haystack.components.builders import PromptBuilder

    whole = Pipeline()
    whole.add_component("words", PromptBuilder("a {{ colour }} apple", required_variables=["colour"]))
    whole.add_component("painter", OpenAIImageGenerator(
        api_base_url=f"{SERVER}/v1", api_key=Secret.from_token(KEY), size="auto", quality="low",
    ))  # fmt: skip
    whole.connect("words.prompt", "painter.prompt")
    assert size_of(whole.run({"words": {"colour": "green"}})["painter"]) == (512, 512)


run()
