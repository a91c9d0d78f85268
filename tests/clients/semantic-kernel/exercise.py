"""Semantic Kernel's text to image service, for OpenAI's client pointed at Pinxit."""

import asyncio
import urllib.request

from exercises import KEY, MASK, ROBOT, SERVER, exercise, png_size, run
from semantic_kernel.connectors.ai.open_ai import OpenAITextToImageExecutionSettings

# Configured:
from openai import AsyncOpenAI
from semantic_kernel.connectors.ai.open_ai import OpenAITextToImage

client = AsyncOpenAI(base_url=f"{SERVER}/v1", api_key=KEY)
service = OpenAITextToImage(ai_model_id="gpt-image-1", async_client=client)
# Used:

loop = asyncio.new_event_loop()


def fetched(url):
    with urllib.request.urlopen(url) as answer:
        return png_size(answer.read())


def sizes(pictures):
    return [fetched(picture) for picture in pictures]


def small(**options):
    return OpenAITextToImageExecutionSettings(width=256, height=256, quality="low", **options)


@exercise("`generate_images`")
def generate_images():
    assert sizes(loop.run_until_complete(service.generate_images("a red apple", small(n=2)))) == [(256, 256)] * 2


@exercise("`generate_image`")
def generate_image():
    picture = loop.run_until_complete(service.generate_image("a lemon", settings=small()))
    assert sizes([picture]) == [(256, 256)]


@exercise("`edit_image` with a list and a mask")
def edit_image():
    edited = service.edit_image(
        "a robot, 3d style", image_paths=[str(ROBOT)], mask_path=str(MASK), settings=small(ai_model_id="gpt-image-1")
    )
    assert sizes(loop.run_until_complete(edited)) == [(256, 256)]


@exercise("in a kernel")
def kernel():
    from semantic_kernel import Kernel
    from semantic_kernel.connectors.ai.text_to_image_client_base import TextToImageClientBase

    whole = Kernel()
    whole.add_service(service)
    painter = whole.get_service(type=TextToImageClientBase)
    assert sizes(loop.run_until_complete(painter.generate_images("a robot", small()))) == [(256, 256)]


run()
