"""What a painter says of how near a prompt is: in the record, for whoever asks, and of the try that painted."""

import asyncio
from datetime import timedelta

import pytest
from test_recovery import an_earlier_server, ended, leave_behind, restart

from front import Front, MakeFront
from painting_house import MakeDying
from pinxit.backends.interface import Familiarity, PaintOrder
from pinxit.database.tables import generations
from pinxit.errors import BackendError
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

HEADER = "x-pinxit-familiarity"
KEY = {"Idempotency-Key": "one"}
FAR = Familiarity("große 🦦", 0.412, known=False)
NEAR = Familiarity("lighthouse", 0.93, known=True)


@pytest.fixture
async def front(make_front: MakeFront) -> Front:
    return await make_front(FakeBackend(familiarity=lambda order: FAR if "far" in order.prompt else NEAR))


async def kept(front: Front, generation_id: str) -> object:
    """As the record has it: not among the parameters."""
    order = (await front.client.get(f"/v1/generations/{generation_id}", headers=front.authorization)).json()
    assert "familiarity" not in order["parameters"]
    return order["familiarity"]


@pytest.mark.parametrize(("prompt", "said"), [("a lighthouse", NEAR), ("far away", FAR)])
async def test_the_record_has_what_was_said(front: Front, prompt: str, said: Familiarity):
    answer = await front.generate(prompt=prompt, n=2)
    assert await kept(front, answer.headers["x-pinxit-generation"]) == {
        "nearest": said.nearest,
        "similarity": said.similarity,
        "known": said.known,
    }
    assert (HEADER in answer.headers) is not said.known


async def test_a_model_that_does_not_say_has_none(front: Front):
    front.backend.familiarity = None
    answer = await front.generate(prompt="far away")
    assert HEADER not in answer.headers
    assert await kept(front, answer.headers["x-pinxit-generation"]) is None


async def test_it_changes_neither_picture_nor_price(front: Front):
    hashes = []
    for said in (FAR, NEAR, None):
        front.backend.familiarity = None if said is None else lambda _, said=said: said
        order = (await front.generate(seed=7)).headers["x-pinxit-generation"]
        shown = (await front.client.get(f"/v1/generations/{order}", headers=front.authorization)).json()
        image = (await front.client.get(f"/v1/images/{shown['images'][0]['id']}", headers=front.authorization)).json()
        hashes.append((image["sha256"], shown["cost_micros"], shown["usage"]["input_tokens"]))
    assert len(set(hashes)) == 1


async def test_an_order_sent_again_is_told_the_same(front: Front):
    first = await front.generate(KEY, prompt="far away")
    front.backend.familiarity = lambda _: NEAR
    second = await front.generate(KEY, prompt="far away")
    assert second.headers["idempotent-replayed"] == "true"
    assert second.headers[HEADER] == first.headers[HEADER]
    assert second.json() == first.json()


async def test_the_record_of_an_order_for_later_has_it(front: Front):
    accepted = await front.generate(**{"async": True, "prompt": "far away"})
    assert accepted.status_code == 202
    assert HEADER not in accepted.headers
    await ended(front, accepted.json()["id"])
    assert (await kept(front, accepted.json()["id"]))["nearest"] == FAR.nearest


async def test_an_order_that_failed_has_none(front: Front):
    front.backend.failure = lambda _: BackendError("The brush broke.")
    assert (await front.generate(prompt="far away")).status_code == 502
    (order,) = await front.rows(generations)
    assert await kept(front, order.id) is None


async def test_after_a_crash_the_try_that_painted_counts(front: Front):
    """The next process paints with what it has: what an earlier one said is not what this picture shows."""
    left = await leave_behind(front, an_earlier_server(front), timedelta(seconds=-30))
    for said in (FAR, None):
        front.backend.familiarity = None if said is None else lambda _, said=said: said
        await restart(front)
        await ended(front, left)
        found = await kept(front, left)
        assert found is None if said is None else found["nearest"] == said.nearest
        left = await leave_behind(front, an_earlier_server(front), timedelta(seconds=-30))


async def test_when_the_painter_dies_the_last_word_counts(front: Front, make_dying: MakeDying):
    said = [NEAR, FAR]

    def next_(_: PaintOrder) -> Familiarity:
        return said.pop(0)

    front.backend.familiarity = next_
    make_dying(front, 1, -1)
    answer = await front.generate(n=3)
    assert (answer.status_code, said) == (200, [])
    assert (await kept(front, answer.headers["x-pinxit-generation"]))["known"] is False
    assert HEADER in answer.headers


async def test_two_orders_at_once_do_not_mix(front: Front):
    answers = await asyncio.gather(*(front.generate(prompt=prompt) for prompt in ("near", "far", "near", "far")))
    assert [HEADER in answer.headers for answer in answers] == [False, True, False, True]
