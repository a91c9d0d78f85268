"""What clients are told of a prompt that is far from what the model knows; of any other, nothing but in the record."""

import base64
import json
import re
from typing import Any

import pytest

from front import Front, MakeFront
from pinxit.api.familiarity import read_header_value
from pinxit.backends.interface import Familiarity
from pinxit.testing.fake_backend import FakeBackend

HEADER = "x-pinxit-familiarity"
FAR = Familiarity("otter", 0.412, known=False)
NEAR = Familiarity("lighthouse", 0.93, known=True)
DOORS = {
    "/v1/images/generations": {"prompt": "a lighthouse"},
    "/v1/responses": {"model": "gpt-5", "input": "a lighthouse", "tools": [{"type": "image_generation"}]},
    "/v1/chat/completions": {
        "model": "fake-1",
        "modalities": ["image"],
        "messages": [{"role": "user", "content": "a lighthouse"}],
    },
    "/sdapi/v1/txt2img": {"prompt": "a lighthouse"},
}


@pytest.fixture
async def far(make_wire: Any) -> Front:
    return await make_wire(FakeBackend(familiarity=lambda _: FAR))


@pytest.mark.parametrize("door", DOORS)
async def test_every_door_has_the_header(far: Front, door: str):
    answer = await far.client.post(door, json=DOORS[door], headers=far.authorization)
    assert answer.status_code == 200, answer.text
    assert answer.headers[HEADER] == 'far; nearest="otter"; similarity=0.412'
    far.backend.familiarity = lambda _: NEAR
    answer = await far.client.post(door, json=DOORS[door], headers=far.authorization)
    assert HEADER not in answer.headers


async def test_so_has_an_edit(far: Front):
    data = (await far.generate(response_format="b64_json")).json()["data"][0]["b64_json"]
    answer = await far.client.post(
        "/v1/images/edits",
        data={"prompt": "a lighthouse"},
        files={"image": ("picture.png", base64.b64decode(data))},
        headers=far.authorization,
    )
    assert read_header_value(answer.headers[HEADER]) == FAR


async def test_the_body_is_what_it_always_is(far: Front):
    bodies = []
    for said in (FAR, NEAR, None):
        far.backend.familiarity = None if said is None else lambda _, said=said: said
        body = (await far.generate(seed=7)).json()
        bodies.append([*body, *body["data"][0]])
    assert bodies[0] == bodies[1] == bodies[2]


@pytest.mark.parametrize("said", [FAR, NEAR, None])
async def test_a_stream_says_it_at_the_end(far: Front, said: Familiarity | None):
    far.backend.familiarity = None if said is None else lambda _: said
    answer = await far.generate(stream=True, partial_images=1, n=2)
    assert HEADER not in answer.headers, "nobody knows when it begins"
    events = [json.loads(data) for data in re.findall(r"^data: (.+)$", answer.text, re.MULTILINE)]
    told = [event.get("familiarity") for event in events]
    expected = {"nearest": "otter", "similarity": 0.412, "known": False} if said is FAR else None
    assert told == [None, None, expected, expected]


async def test_a_stream_sent_again_says_the_same(far: Front):
    key = {"Idempotency-Key": "one"}
    first = await far.generate(key, stream=True)
    second = await far.generate(key, stream=True)
    assert HEADER not in second.headers
    assert '"familiarity":' in first.text
    assert second.text == first.text


async def test_scripts_of_other_pages_may_read_the_header(make_front: MakeFront):
    front = await make_front(FakeBackend(familiarity=lambda _: FAR), cors_origins=("https://example.org",))
    answer = await front.generate({"origin": "https://example.org"})
    assert HEADER in answer.headers["access-control-expose-headers"]
