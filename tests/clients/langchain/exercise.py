"""LangChain: the picture tool of langchain-community."""

import urllib.request

from exercises import KEY, SERVER, exercise, png_size, run

# Configured:
from langchain_community.utilities.dalle_image_generator import DallEAPIWrapper

dalle = DallEAPIWrapper(base_url=f"{SERVER}/v1", api_key=KEY)
# Used:


def fetched(url):
    with urllib.request.urlopen(url) as answer:
        return png_size(answer.read())


@exercise("`DallEAPIWrapper`")
def wrapper():
    dalle.size = "256x256"
    assert fetched(dalle.run("a red apple")) == (256, 256)


@exercise("`DallEAPIWrapper` with several pictures")
def several():
    several = DallEAPIWrapper(
        base_url=f"{SERVER}/v1", api_key=KEY, model="dall-e-3", n=2, size="256x256", quality="standard"
    )
    assert [fetched(url) for url in several.run("a lemon").split("\n")] == [(256, 256)] * 2


@exercise("`OpenAIDALLEImageGenerationTool`")
def tool():
    from langchain_community.tools.openai_dalle_image_generation import OpenAIDALLEImageGenerationTool

    dalle.size = "256x256"
    assert fetched(OpenAIDALLEImageGenerationTool(api_wrapper=dalle).invoke("a robot")) == (256, 256)


run()
