"""Edits and variations, in every shape that clients send them in."""

import base64
import io
import json
from typing import Any

import httpx2
import numpy as np
import pytest
from PIL import ExifTags, Image

from front import Front, MakeFront
from pinxit.database.tables import generations

EDITS, VARIATIONS = "/v1/images/edits", "/v1/images/variations"


def png(width: int = 256, height: int = 256, colour: tuple[int, ...] = (200, 30, 30), kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGBA" if len(colour) == 4 else "RGB", (width, height), colour).save(file, kind)
    return file.getvalue()


def half_mask(width: int = 256, height: int = 256) -> bytes:
    """The left half is to be painted: it is transparent."""
    mask = Image.new("RGBA", (width, height), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, width // 2, height))
    file = io.BytesIO()
    mask.save(file, "PNG")
    return file.getvalue()


def data_url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


async def edit(front: Front, path: str = EDITS, **request: Any) -> httpx2.Response:
    return await front.client.post(path, headers=front.authorization, **request)


def pixels(datum: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(datum["b64_json"]))).convert("RGB"), float)


FORM = {"prompt": "make it blue", "size": "256x256", "seed": "7", "response_format": "b64_json"}
BODY = {"prompt": "make it blue", "size": "256x256", "seed": 7, "response_format": "b64_json"}
SHAPES = {
    "a file": {"data": FORM, "files": {"image": ("a.png", png())}},
    "a file in a list": {"data": FORM, "files": [("image[]", ("a.png", png()))]},
    "a numbered file": {"data": FORM, "files": [("image[0]", ("a.png", png()))]},
    "a data URL in a form": {"data": {**FORM, "image": data_url(png())}},
    "images with image_url": {"json": {**BODY, "images": [{"image_url": data_url(png())}]}},
    "image_url as chat has it": {"json": {**BODY, "images": [{"image_url": {"url": data_url(png())}}]}},
    "image_urls": {"json": {**BODY, "image_urls": [data_url(png())]}},
    "image": {"json": {**BODY, "image": data_url(png())}},
}


def as_form(fields: dict[str, str], files: list[tuple[str, tuple[str, bytes]]]) -> dict[str, Any]:
    """A multipart body made by hand, for what a client library would never send."""
    boundary = "0f3a1c5d7e9b"
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'.encode()
        for name, text in fields.items()
    ]
    for name, (file_name, data) in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n'
        parts.append(f"{head}Content-Type: application/octet-stream\r\n\r\n".encode() + data + b"\r\n")
    content = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return {"content": content, "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"}}


async def send_form(
    front: Front, fields: dict[str, str], *files: tuple[str, bytes], path: str = EDITS
) -> httpx2.Response:
    made = as_form(fields, [(name, ("a.png", data)) for name, data in files])
    return await front.client.post(path, content=made["content"], headers={**made["headers"], **front.authorization})


@pytest.mark.parametrize("shape", SHAPES)
async def test_every_shape_is_the_same_order(wire: Front, shape: str):
    if shape == "a data URL in a form":  # a client library would send it as a form of another kind
        answer = await send_form(wire, SHAPES[shape]["data"])
    else:
        answer = await edit(wire, **SHAPES[shape])
    assert answer.status_code == 200, answer.text
    (order,) = wire.backend.orders
    assert (order.prompt, order.seeds, len(order.images), order.mask) == ("make it blue", (7,), 1, None)
    assert order.images[0].data == bytes([200, 30, 30]) * 256 * 256
    assert order.strength == 0.7
    (row,) = await wire.rows(generations)
    assert len(row.parameters["input_sha256"]) == 1
    assert row.parameters["strength"] == 0.7


async def test_only_what_the_mask_says_is_painted(wire: Front):
    answer = await send_form(wire, FORM, ("image", png()), ("mask", half_mask()))
    painted = pixels(answer.json()["data"][0])
    assert (painted[:, 128:] == (200, 30, 30)).all()
    assert not (painted[:, :120] == (200, 30, 30)).all()


async def test_several_pictures_in_their_order(wire: Front):
    files = [("image[]", png(colour=(value, 0, 0))) for value in (10, 20, 30)]
    assert (await send_form(wire, FORM, *files)).status_code == 200
    (order,) = wire.backend.orders
    assert [picture.data[0] for picture in order.images] == [10, 20, 30]


@pytest.mark.parametrize(
    ("width", "height", "expected"), [(512, 512, "1024x1024"), (600, 900, "1024x1536"), (90, 60, "1536x1024")]
)
async def test_the_size_follows_the_picture(wire: Front, width: int, height: int, expected: str):
    fields = {"prompt": "x", "response_format": "b64_json"}
    answer = await send_form(wire, fields, ("image", png(width, height)))
    assert answer.json()["size"] == expected


async def test_another_shape_lies_in_the_middle(wire: Front):
    await send_form(wire, FORM, ("image", png(128, 64)))
    picture = wire.backend.orders[0].images[0]
    rows = np.frombuffer(picture.data, np.uint8).reshape(256, 256, 4)
    assert picture.mode == "RGBA"
    assert (rows[:63, :, 3] == 0).all()
    assert (rows[66:190] == (200, 30, 30, 255)).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_pictures_of_every_kind(wire: Front, kind: str):
    assert (await send_form(wire, FORM, ("image", png(kind=kind)))).status_code == 200


async def test_a_form_says_numbers_and_truths_in_text(wire: Front):
    fields = {
        **FORM,
        "n": "2",
        "strength": "0.25",
        "stream": "false",
        "usage": '{"include": true}',
        "output_format": "webp",
    }
    answer = await send_form(wire, fields, ("image", png()))
    assert answer.status_code == 200, answer.text
    assert (len(answer.json()["data"]), answer.json()["usage"]["cost"]) == (2, 0)
    assert wire.backend.orders[0].strength == 0.25


async def test_a_stream_of_an_edit(wire: Front):
    answer = await send_form(wire, {**FORM, "stream": "true", "partial_images": "1"}, ("image", png()))
    events = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert events == ["image_edit.partial_image", "image_edit.completed"]


async def test_a_variation_says_nothing(wire: Front):
    answer = await send_form(wire, {"n": "2", "size": "256x256"}, ("image", png()), path=VARIATIONS)
    assert (answer.status_code, len(answer.json()["data"])) == (200, 2)
    assert wire.backend.orders[0].prompt == ""


async def test_an_edit_sent_again_is_painted_once(wire: Front):
    request = {"json": {**BODY, "image": data_url(png())}}
    headers = {**wire.authorization, "Idempotency-Key": "one"}
    first = await wire.client.post(EDITS, headers=headers, **request)
    again = await wire.client.post(EDITS, headers=headers, **request)
    assert again.json() == first.json()
    other = {"json": {**BODY, "image": data_url(png(colour=(1, 2, 3)))}}
    assert (await wire.client.post(EDITS, headers=headers, **other)).status_code == 422
    assert len(wire.backend.orders) == 1


async def test_what_it_would_cost(wire: Front):
    answer = await edit(wire, json={**BODY, "image": data_url(png()), "dry_run": True})
    assert answer.json()["object"] == "generation.estimate"
    assert wire.house.services.byte_budget.used_bytes == 0


async def test_memory_is_given_back(wire: Front):
    assert (await send_form(wire, FORM, ("image", png()))).status_code == 200
    assert (await send_form(wire, {**FORM, "n": "11"}, ("image", png()))).status_code == 400
    assert (await send_form(wire, FORM, ("image", b"no picture"))).status_code == 422
    assert wire.house.services.byte_budget.used_bytes == 0


# --- what is refused ------------------------------------------------------------------------------------------------

CUT = png()[:200]
GIF = b"GIF89a" + b"\0" * 100
BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\1\0\0\0\1\0\0\x08\x02\0\0\0" + b"\0" * 100


@pytest.mark.parametrize(
    ("files", "fields", "status", "param"),
    [
        ([], FORM, 400, "image"),
        ([("image", b"")], FORM, 422, "image"),
        ([("image", CUT)], FORM, 422, "image"),
        ([("image", GIF)], FORM, 422, "image"),
        ([("image", BOMB)], FORM, 422, "image"),
        ([("image", png())] * 5, FORM, 422, "image"),  # the model takes four
        ([("image", png())] * 17, FORM, 422, "image"),
        ([("image", png()), ("mask", half_mask(128, 128))], FORM, 422, "mask"),
        ([("image", png()), ("mask", CUT)], FORM, 422, "mask"),
        ([("image", png()), ("picture", png())], FORM, 400, "picture"),
        ([("image", png())], {**FORM, "strength": "0"}, 422, "strength"),
        ([("image", png())], {**FORM, "strength": "1.5"}, 422, "strength"),
        ([("image", png())], {**FORM, "n": "two"}, 400, "n"),
        ([("image", png())], {**FORM, "api_base": "http://127.0.0.1/"}, 400, "api_base"),
        ([("image", png())], {name: text for name, text in FORM.items() if name != "prompt"}, 400, "prompt"),
        ([("image", png())], {**FORM, "prompt": " "}, 400, "prompt"),
        ([("image", png())], {**FORM, "usage": "{"}, 400, ""),
        ([("image", png())], {**FORM, "image": "ftp://example.com/a.png"}, 422, "image"),
        ([("image", png())], {**FORM, "image": "http://127.0.0.1:9/a.png"}, 422, "image"),
        ([("image", png())], {**FORM, "image": "data:text/html;base64,AAAA"}, 422, "image"),
        ([("image", png())], {**FORM, "image": "data:image/png;base64,%%%"}, 422, "image"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    wire: Front, files: list[Any], fields: dict[str, str], status: int, param: str
):
    answer = await send_form(wire, fields, *files)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert await wire.rows(generations) == []
    assert wire.house.services.byte_budget.used_bytes == 0


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "image"),
        ({"images": []}, 400, "image"),
        ({"images": [{"file_id": "file-1"}]}, 422, "images[0].file_id"),
        ({"images": [{}]}, 400, "images[0].image_url"),
        ({"image_urls": [7]}, 400, "image_urls[0]"),
        ({"image_urls": ["file:///etc/passwd"]}, 422, "image_urls[0]"),
        ({"image_urls": ["data:image/png;base64,é"]}, 422, "image_urls[0]"),
        ({"image_urls": ["data:image/png;base64,\ud800"]}, 422, "image_urls[0]"),
        ({"image_urls": ["https://[::1]/a.png"]}, 422, "image_urls[0]"),
        ({"image_urls": ["https://169.254.169.254/a.png"]}, 422, "image_urls[0]"),
        ({"image": data_url(png()), "mask": data_url(CUT)}, 422, "mask"),
        ({"image": data_url(png()), "mask": 1}, 400, "mask"),
    ],
)
async def test_what_json_cannot_say(wire: Front, body: dict[str, Any], status: int, param: str):
    headers = {**wire.authorization, "Content-Type": "application/json"}
    answer = await wire.client.post(EDITS, content=json.dumps({**BODY, **body}), headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("multipart/form-data", b"--x--", 400),
        ("multipart/form-data; boundary=" + "x" * 71, b"", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n", 400),
        ("multipart/form-data; boundary=x", b"", 400),
        ("multipart/form-data; boundary=x", b"--y--\r\n", 400),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", 400),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="n"\r\n\r\n\xff\r\n--x--\r\n',
            400,
        ),
        ("multipart/mixed; boundary=x", b"--x--", 415),
        ("text/plain", b"x", 415),
        ("application/x-www-form-urlencoded", b"prompt=x", 415),
    ],
)
async def test_bodies_that_are_no_forms(wire: Front, content_type: str, content: bytes, status: int):
    headers = {**wire.authorization, "Content-Type": content_type}
    answer = await wire.client.post(EDITS, content=content, headers=headers)
    assert answer.status_code == status, answer.text


async def test_too_many_parts(wire: Front):
    answer = await send_form(wire, {f"field{number}": "x" for number in range(100)}, ("image", png()))
    assert answer.status_code == 400


async def test_a_body_that_is_too_large(make_front: MakeFront):
    front = await make_front(max_upload_bytes=2000)
    answer = await send_form(front, FORM, ("image", b"\0" * 3000))
    assert answer.status_code == 413


async def test_a_variation_has_no_mask(wire: Front):
    answer = await send_form(wire, {}, ("image", png()), ("mask", half_mask()), path=VARIATIONS)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "mask")


async def test_a_server_may_fetch_nothing(make_front: MakeFront):
    front = await make_front(fetch_image_urls=False)
    answer = await edit(front, json={**BODY, "image_urls": ["https://example.com/a.png"]})
    assert "data URL" in answer.json()["error"]["message"]
    assert (await edit(front, json={**BODY, "image_urls": [data_url(png())]})).status_code == 200


# --- pictures by URL ------------------------------------------------------------------------------------------------


async def test_a_picture_is_fetched(make_front: MakeFront):
    """From this very server, as a client does that edits what it has just had painted."""
    from aiohttp import web

    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=png(), content_type="image/png")

    application = web.Application()
    application.router.add_get("/a.png", serve)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        front = await make_front(image_allowed_networks="127.0.0.0/8")
        answer = await edit(front, json={**BODY, "image_urls": [f"http://127.0.0.1:{port}/a.png"]})
        assert answer.status_code == 200, answer.text
        missing = await edit(front, json={**BODY, "image_urls": [f"http://127.0.0.1:{port}/b.png"]})
        assert (missing.status_code, missing.json()["error"]["param"]) == (422, "image_urls[0]")
        assert "404" in missing.json()["error"]["message"]
        assert front.house.services.byte_budget.used_bytes == 0
    finally:
        await runner.cleanup()


# --- pictures that a camera turned, and how much memory they take ---------------------------------------------------


def turned(width: int, height: int) -> bytes:
    """A JPEG that is stored `width` by `height` and looked at on its side."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    file = io.BytesIO()
    Image.new("RGB", (width, height), (200, 30, 30)).save(file, "JPEG", exif=exif.tobytes())
    return file.getvalue()


@pytest.mark.parametrize(("mask", "status"), [((300, 200), 200), ((200, 300), 422)])
async def test_the_mask_of_a_turned_picture_is_as_large_as_it_looks(wire: Front, mask: tuple[int, int], status: int):
    body = {**BODY, "image": data_url(turned(200, 300), "jpeg"), "mask": data_url(half_mask(*mask))}
    answer = await edit(wire, json=body)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]["param"] == "mask"


async def test_the_size_of_a_turned_picture_is_chosen_by_how_it_looks(wire: Front):
    body = {**BODY, "size": "auto", "image": data_url(turned(200, 300), "jpeg")}
    assert (await edit(wire, json=body)).json()["size"] == "1536x1024"


async def test_what_decoding_takes_is_part_of_the_budget(make_wire: MakeFront):
    wire = await make_wire(request_memory_bytes=2**22)
    assert (await edit(wire, json={**BODY, "image": data_url(png(600, 600))})).status_code == 200
    refused = await edit(wire, json={**BODY, "image": data_url(png(800, 800))})
    assert (refused.status_code, refused.json()["error"]["type"]) == (503, "overloaded_error")
    assert wire.house.services.byte_budget.used_bytes == 0
