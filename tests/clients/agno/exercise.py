"""Agno's tools for pictures, which have no setting for an address: OpenAI's client below them reads the environment."""

import os
import urllib.request

from exercises import KEY, SERVER, exercise, png_size, run

# Configured:
os.environ["OPENAI_BASE_URL"] = f"{SERVER}/v1"
os.environ["OPENAI_API_KEY"] = KEY
# Used:


@exercise("`OpenAITools.generate_image`")
def openai_tools():
    from agno.tools.openai import OpenAITools

    for model in ("gpt-image-1", "otter-1"):
        answer = OpenAITools(image_model=model, image_size="256x256", image_quality="low").generate_image("a red apple")
        assert answer.images, answer.content
        assert png_size(answer.images[0].content) == (256, 256)


@exercise("`DalleTools.create_image`")
def dalle_tools():
    from agno.tools.dalle import DalleTools

    for quality in ("standard", "hd"):
        answer = DalleTools(size="256x256", quality=quality, style="vivid").create_image("a lemon")
        assert answer.images, answer.content
        with urllib.request.urlopen(answer.images[0].url) as picture:
            assert png_size(picture.read()) == (256, 256)


run()
