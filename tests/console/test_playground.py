"""Orders from the playground: the API's own, by session."""

import json
import re
from pathlib import Path

import pytest

from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.console import rendering
from pinxit.database.tables import generations
from pinxit.settings import ModelEntry
from visitor import Visitor, visitor_as


async def test_the_answer_is_the_api_s(front: Front):
    visitor = await visitor_as(front, "ada", account_id="acct_default")
    by_session, by_key = await visitor.paint(seed=7), await front.generate(seed=7)
    assert by_session.status_code == 200
    assert set(by_session.json()) == set(by_key.json())
    assert by_session.json()["data"][0]["seed"] == 7
    orders = await front.rows(generations)
    assert {order.account_id for order in orders} == {"acct_default"}
    assert [order.api_key_id is None for order in sorted(orders, key=lambda order: order.created_at)] == [True, False]


async def test_a_stream_is_the_api_s(front: Front):
    visitor = await visitor_as(front, "ada")
    answer = await visitor.paint(stream=True, partial_images=2, n=2)
    assert answer.headers["content-type"] == "text/event-stream"
    names = re.findall(r"^event: (.+)$", answer.text, re.MULTILINE)
    assert names.count("image_generation.completed") == 2
    assert names[-1] == "image_generation.completed"


async def test_a_member_s_pictures_are_in_their_account(front: Front):
    visitor, other = await visitor_as(front, "ada"), await visitor_as(front, "bob")
    await visitor.paint(prompt="only hers")
    assert "only hers" in (await visitor.get("/console/playground")).text
    assert "only hers" not in (await other.get("/console/playground")).text


@pytest.mark.parametrize(
    ("body", "status", "type_"),
    [
        ({"prompt": ""}, 400, "invalid_request_error"),
        ({"size": "1x1"}, 422, "invalid_value"),
        ({"model": "no-such"}, 404, "model_not_found"),
        ({"api_key": "x"}, 400, "invalid_request_error"),
    ],
)
async def test_errors_are_the_api_s(front: Front, body: dict[str, object], status: int, type_: str):
    answer = await (await visitor_as(front, "ada")).paint(**body)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, type_)


async def test_who_is_signed_out_paints_nothing(front: Front):
    answer = await Visitor(front).paint()
    assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")
    visitor = await visitor_as(front, "ada")
    for headers in ({"x-csrf-token": "0" * 64}, {"x-csrf-token": ""}, {"origin": "https://evil.example"}):
        assert (await visitor.paint(headers)).status_code == 403
    assert front.backend.orders == []


async def test_the_account_s_limits_hold_for_people_too(make_front: MakeFront):
    front = await make_front(images_per_minute=2)
    visitor = await visitor_as(front, "ada", Role.ADMIN, "acct_default")
    assert (await visitor.paint(n=2)).status_code == 200
    assert (await visitor.paint()).status_code == 429
    assert (await front.generate()).status_code == 429, "and are shared with its keys"


async def test_credits_are_needed_by_people_too(make_front: MakeFront):
    dear = {"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]}
    front = await make_front(billing="credits", model_list=(ModelEntry.model_validate(dear),))
    answer = await (await visitor_as(front, "ada")).paint(model="dear")
    assert (answer.status_code, answer.json()["error"]["type"]) == (402, "insufficient_credits")


async def test_the_form_knows_every_model(front: Front):
    visitor = await visitor_as(front, "ada")
    page = (await visitor.get("/console/playground?model=fake-1&prompt=%3C/script%3E%3Cb%3E")).text
    (text,) = re.findall(r'<script type="application/json" id="facts">(.*?)</script>', page)
    facts = json.loads(text)["models"]["fake-1"]
    entry = front.house.services.catalog.resolve("fake-1")
    assert facts["sizes"] == [str(size) for size in entry.capabilities.sizes]
    assert set(facts["prices"]) == set(entry.capabilities.qualities or {"auto"})
    assert "&lt;/script&gt;&lt;b&gt;" in page


def test_scripts_are_small():
    folder = Path(rendering.__file__).parent / "static"
    sizes = {file.name: file.stat().st_size for file in folder.glob("*.js")}
    assert sum(sizes.values()) <= 60_000, sizes
