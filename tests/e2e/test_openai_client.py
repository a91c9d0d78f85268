"""The official OpenAI client against a real server: what it sends works, and what is refused raises its own errors."""

import base64
import io

import numpy as np
import openai
import pytest
from openai.types import ImageGenCompletedEvent
from PIL import Image
from running import is_png, png_size


def test_the_default_delivery_is_a_url(client, server):
    answer = client.images.generate(model="gpt-image-1", prompt="A cute baby sea otter", n=1)
    assert answer.data[0].b64_json == ""
    assert is_png(server.client.get(answer.data[0].url).content)
    assert (answer.output_format, answer.background, answer.quality, answer.size) == (
        "png", "opaque", "medium", "512x512",
    )  # fmt: skip
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens > 0


def test_the_other_dialect_in_extra_body(client):
    answer = client.images.generate(
        model="gpt-image-1", prompt="A cute baby sea otter", n=1, extra_body={"output_format": "url"}
    )
    assert answer.data[0].url.startswith("http")


@pytest.mark.parametrize("name", ["response_format", "output_format"])
def test_base64(client, name):
    answer = client.images.generate(model="dall-e-3", prompt="a lemon", extra_body={name: "b64_json"}, size="1024x1024")
    assert answer.data[0].url == ""
    assert is_png(base64.b64decode(answer.data[0].b64_json, validate=True))


@pytest.mark.parametrize(("encoding", "begin"), [("jpeg", b"\xff\xd8\xff"), ("webp", b"RIFF")])
def test_other_encodings(client, encoding, begin):
    answer = client.images.generate(
        prompt="a lemon", output_format=encoding, output_compression=80, extra_body={"response_format": "b64_json"}
    )
    assert answer.output_format == encoding
    assert base64.b64decode(answer.data[0].b64_json).startswith(begin)


@pytest.mark.parametrize("encoding", ["png", "webp"])
def test_a_transparent_ground(client, encoding):
    answer = client.images.generate(
        prompt="a red apple",
        background="transparent",
        output_format=encoding,
        size="512x512",
        extra_body={"response_format": "b64_json", "seed": 1},
    )
    assert answer.background == "transparent"
    with Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json))) as picture:
        assert (picture.mode, picture.size) == ("RGBA", (512, 512))
        alpha = np.asarray(picture.getchannel("A"))
    assert alpha[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 10, "nothing is in the corners"
    assert alpha[206:306, 206:306].min() > 245, "nothing shines through the apple"


def test_the_raw_response_names_the_order(client, server):
    answer = client.images.with_raw_response.generate(prompt="a lemon", quality="low")
    order = server.find_generation(answer.headers["x-pinxit-generation"])
    assert order["status"] == "completed"
    assert order["images"][0]["url"] == answer.parse().data[0].url
    assert answer.headers["x-request-id"] == order["request_id"]


def test_the_models(client):
    assert [model.id for model in client.models.list()] == ["otter-1"]
    assert client.models.retrieve("otter-1").owned_by == "pinxit"
    assert client.models.retrieve("gpt-image-1").id == "otter-1"


@pytest.mark.parametrize(
    ("body", "error", "type_", "param"),
    [
        ({"prompt": " "}, openai.BadRequestError, "invalid_request_error", "prompt"),
        ({"n": 11}, openai.BadRequestError, "invalid_request_error", "n"),
        ({"extra_body": {"base_url": "http://x"}}, openai.BadRequestError, "invalid_request_error", "base_url"),
        ({"model": "no-such"}, openai.NotFoundError, "model_not_found", "model"),
        ({"size": "123x45"}, openai.UnprocessableEntityError, "invalid_value", "size"),
        (
            {"background": "transparent", "output_format": "jpeg"},
            openai.UnprocessableEntityError,
            "invalid_value",
            "background",
        ),
        ({"stream": True, "partial_images": 4}, openai.UnprocessableEntityError, "invalid_value", "partial_images"),
        ({"partial_images": 2}, openai.UnprocessableEntityError, "invalid_value", "partial_images"),
    ],
)
def test_refusals_are_its_own_errors(client, body, error, type_, param):
    with pytest.raises(error) as caught:
        client.images.generate(**{"prompt": "a lemon", **body})
    assert (caught.value.type, caught.value.param) == (type_, param)
    assert caught.value.code == str(caught.value.status_code)
    assert caught.value.request_id.startswith("req_")


def test_a_stream_comes_closer_to_the_picture(client, server):
    """Its events are the client's own classes; the partial pictures are true ones."""
    stream = client.images.generate(prompt="a red apple", stream=True, partial_images=3, quality="high", size="512x512")
    *partials, completed = list(stream)
    assert [event.partial_image_index for event in partials] == [0, 1, 2]
    assert isinstance(completed, ImageGenCompletedEvent)
    final = pixels(completed)
    distances = [float(np.abs(pixels(event) - final).mean()) for event in partials]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.5 * distances[0]
    kept = server.client.get(completed.url.replace(server.url, "")).content
    assert kept == base64.b64decode(completed.b64_json)


def pixels(event) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(event.b64_json))).convert("RGB"), float)


def test_what_goes_wrong_in_a_stream_is_its_own_error(client, server):
    """The order begins, and misses its deadline."""
    with pytest.raises(openai.APIError) as caught:
        list(client.images.generate(prompt="a lemon", stream=True, n=10, extra_body={"deadline_seconds": 0.01}))
    assert caught.value.type == "upstream_timeout"


def test_a_wrong_key(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="sk-" + "x" * 43).images.generate(prompt="a lemon")
    assert caught.value.type == "authentication_error"


def test_a_key_without_the_scope(client, server):
    key = server.make_key(scope=["models:read"])
    reader = client.with_options(api_key=key)
    assert reader.models.list().data
    with pytest.raises(openai.PermissionDeniedError):
        reader.images.generate(prompt="a lemon")


def a_picture(client, prompt) -> bytes:
    answer = client.images.generate(
        prompt=prompt, size="256x256", extra_body={"response_format": "b64_json", "seed": 3}
    )
    return base64.b64decode(answer.data[0].b64_json)


def left_half() -> bytes:
    """A mask: what is transparent is painted."""
    mask = Image.new("RGBA", (256, 256), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 128, 256))
    file = io.BytesIO()
    mask.save(file, "PNG")
    return file.getvalue()


def decoded(data) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float)


def test_an_edit_with_a_mask(client):
    before = a_picture(client, "a smiling face")
    answer = client.images.edit(
        image=("face.png", before), mask=("mask.png", left_half()), prompt="a crying face", response_format="b64_json"
    )
    after = base64.b64decode(answer.data[0].b64_json)
    assert png_size(after) == (512, 512)
    answer = client.images.edit(
        image=[("face.png", before)], mask=("mask.png", left_half()), prompt="a crying face", size="256x256",
        response_format="b64_json", extra_body={"strength": 0.9},
    )  # fmt: skip
    after = decoded(base64.b64decode(answer.data[0].b64_json))
    assert (after[:, 128:] == decoded(before)[:, 128:]).all()
    assert np.abs(after[:, :128] - decoded(before)[:, :128]).mean() > 2


def test_an_edit_as_a_stream(client):
    stream = client.images.edit(
        image=("robot.png", a_picture(client, "a robot")),
        prompt="a robot",
        stream=True,
        partial_images=2,
        size="256x256",
    )
    kinds = [type(event).__name__ for event in stream]
    assert kinds == ["ImageEditPartialImageEvent"] * 2 + ["ImageEditCompletedEvent"]


def test_a_variation(client):
    with pytest.warns(DeprecationWarning, match="deprecated"):  # OpenAI's own model for it is gone
        answer = client.images.create_variation(image=("robot.png", a_picture(client, "a robot")), n=2, size="256x256")
    assert len({datum.url for datum in answer.data}) == 2


def test_more_pictures_than_the_model_takes(client):
    robot = a_picture(client, "a robot")
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.images.edit(image=[("a.png", robot), ("b.png", robot)], prompt="two robots")
    assert (caught.value.type, caught.value.param) == ("invalid_value", "image")


def test_too_much_is_its_own_error(client, server):
    hasty = client.with_options(api_key=server.make_key(**{"images-per-minute": [2]}))
    answer = hasty.images.with_raw_response.generate(prompt="a lemon", n=2, quality="low")
    assert answer.headers["x-ratelimit-limit-images"] == "2"
    with pytest.raises(openai.RateLimitError) as caught:
        hasty.images.generate(prompt="a lemon")
    assert caught.value.type == "rate_limit_error"
    assert 0 < int(caught.value.response.headers["retry-after-ms"]) <= 30_000


def test_what_was_painted_is_in_the_usage(client, server):
    client.images.generate(prompt="a lemon", quality="low")
    answer = server.client.get("/v1/usage", params={"group_by": "model"}, headers=server.authorization)
    (usage,) = answer.json()["data"]
    assert usage["model"] == "otter-1"
    assert usage["images"] >= 1


def test_a_client_that_gives_up_too_early_pays_for_one_order(client, server):
    """Its own retries, without a key: each takes the one order over, and the last one has its answer."""
    hasty = client.with_options(timeout=0.5, max_retries=100)
    prompt = "a lemon for somebody in a hurry"
    answer = hasty.images.with_raw_response.generate(prompt=prompt, n=4, extra_body={"num_inference_steps": 50})
    assert answer.headers["idempotent-replayed"] == "true"
    assert int(answer.http_request.headers["x-stainless-retry-count"]) >= 1
    found = server.client.get("/v1/images?limit=100", headers={"Authorization": server.key}).json()["data"]
    painted = [image["id"] for image in found if image["prompt"] == prompt]
    assert sorted(painted) == sorted(image.id for image in answer.parse().data)
