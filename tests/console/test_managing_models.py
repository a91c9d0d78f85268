"""What admins do on a model's page, and what everybody else then sees."""

import html
import re
from typing import Any

import httpx2
import pytest

from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.database.tables import generations
from pinxit.keys.model import Scope
from pinxit.routing.router import Candidate
from pinxit.testing.fake_backend import FakeBackend
from visitor import Visitor, visitor_as

ABOUT = "/console/models/about"
CONFIGURATION = {
    "providers": {
        "far": {
            "kind": "openai_compatible",
            "base_url": "http://127.0.0.1:9/v1",
            "models": [{"id": "flux", "sizes": ["256x256"], "prices": [{"usd": 0.002}]}],
        }
    },
    "model_list": [
        {"model_name": "both", "backends": [{"model": "fake/fake-1", "weight": 3}, {"model": "far/flux"}]},
        {"model_name": "spare", "params": {"model": "fake/fake-1"}, "fallback_models": ["both"]},
    ],
    "aliases": {"pair": "both"},
}


@pytest.fixture
async def furnished(make_front: MakeFront) -> Front:
    return await make_front(**CONFIGURATION)


@pytest.fixture
async def admin(furnished: Front) -> Visitor:
    return await visitor_as(furnished, "ada@example.com", Role.ADMIN)


async def page_of(visitor: Visitor, model: str = "both") -> str:
    return (await visitor.get(ABOUT, params={"model": model})).text


def version_on(page: str) -> str:
    (version,) = set(re.findall(r'name="version" value="(\d+)"', page))
    return version


async def act(visitor: Visitor, action: str, model: str = "both", **fields: Any) -> httpx2.Response:
    """Press a button of the model's page as it is now."""
    seen = {} if "version" in fields else {"version": version_on(await page_of(visitor, model))}
    return await visitor.post(ABOUT, model=model, action=action, **seen, **fields)


SAVED = {
    "painter": ["far/flux", "fake/fake-1"],
    "in": ["far/flux", "fake/fake-1"],
    "weight:far/flux": "1,5",
    "weight:fake/fake-1": "3",
    "sort": "weight",
    "aliases": "pair\r\nbanner-*, wide\r\n",
}


async def ids(front: Front) -> set[str]:
    answer = await front.client.get("/v1/models", headers=front.authorization)
    return {model["id"] for model in answer.json()["data"]}


async def test_a_model_that_is_off_is_there_for_admins_only(furnished: Front, admin: Visitor):
    member = await visitor_as(furnished, "member")
    done = await act(admin, "off")
    assert (done.status_code, done.headers["location"]) == (303, f"{ABOUT}?model=both&done=off")

    assert await ids(furnished) == {"fake-1", "far/flux", "spare"}
    for name in ("both", "pair"):
        refused = await furnished.generate(model=name)
        assert (refused.status_code, refused.json()["error"]["type"]) == (404, "model_not_found")
        assert "switched off" not in refused.text
        key = await furnished.make_key(scopes=(Scope.ADMIN,))
        told = await furnished.generate({"Authorization": f"Bearer {key}"}, model=name)
        assert (told.status_code, told.json()["error"]["type"]) == (404, "model_not_found")
        assert told.json()["error"]["message"].startswith("both is switched off.")
    assert (await furnished.client.get("/v1/models/both", headers=furnished.authorization)).status_code == 404
    assert (await furnished.generate(model="spare")).status_code == 200, "what falls back to it goes on"

    assert (await member.get(ABOUT, params={"model": "both"})).status_code == 404
    assert ">both</a></h2>" not in (await member.get("/console/models")).text
    assert ">both</a></h2>" in (await admin.get("/console/models")).text
    page = await page_of(admin)
    assert "It is switched off" in page
    assert "Changed here by" in page
    assert "ada@example.com" in page

    await act(admin, "on")
    assert (await furnished.generate(model="pair")).status_code == 200
    assert ">both</a></h2>" in (await member.get("/console/models")).text


async def test_an_order_under_way_ends_where_it_is(make_front: MakeFront):
    painter = FakeBackend()
    front = await make_front(painter, **CONFIGURATION)
    admin = await visitor_as(front, "ada", Role.ADMIN)

    async def switch_off(*_: object) -> None:
        await act(admin, "off", "spare")

    original = painter.generate

    async def generate(order: Any) -> Any:
        await switch_off()
        async for event in original(order):
            yield event

    painter.generate = generate  # type: ignore[method-assign]
    assert (await front.generate(model="spare")).status_code == 200
    painter.generate = original  # type: ignore[method-assign]
    assert (await front.generate(model="spare")).status_code == 404
    assert [row.status for row in await front.rows(generations)] == ["completed"]


async def test_settings_of_a_model(furnished: Front, admin: Visitor):
    assert "As configured" in await page_of(admin)
    done = await act(admin, "save", **SAVED)
    assert (done.status_code, done.headers["location"]) == (303, f"{ABOUT}?model=both&done=save")
    entry = furnished.house.services.catalog.resolve("banner-1")
    assert (entry.id, entry.sort, entry.painter, entry.weight) == ("both", "weight", "far/flux", 1.5)
    assert entry.aliases == ("pair", "banner-*", "wide")
    page = html.unescape(await page_of(admin))
    assert page.index('value="far/flux"') < page.index('value="fake/fake-1"')
    assert "Configured: as they stand" in page
    assert "configured: 1<" in page
    assert "Configured: pair." in page
    assert ">pair\nbanner-*\nwide</textarea>" in page

    left_out = {**SAVED, "in": "fake/fake-1", "aliases": ""}
    assert (await act(admin, "save", **left_out)).status_code == 303
    entry = furnished.house.services.catalog.resolve("both")
    assert (entry.painter, entry.others, entry.aliases) == ("fake/fake-1", (), ())
    assert (await furnished.generate(model="pair")).status_code == 404

    assert (await act(admin, "reset")).status_code == 303
    assert "As configured" in await page_of(admin)
    entry = furnished.house.services.catalog.resolve("pair")
    assert (entry.sort, entry.painter, len(entry.others)) == ("order", "fake/fake-1", 1)


async def test_a_model_with_one_backend(furnished: Front, admin: Visitor):
    page = await page_of(admin, "spare")
    fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.partition("<fieldset>")[2]))
    assert fields == {"in": "fake/fake-1", "painter": "fake/fake-1", "weight:fake/fake-1": "1", "sort": "order"}
    assert (await act(admin, "save", "spare", **fields, aliases="extra")).status_code == 303
    assert furnished.house.services.catalog.resolve("extra").id == "spare"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"weight:far/flux": "heavy"}, "The weight of far/flux must be a number."),
    ({"weight:far/flux": "0"}, "The weight of far/flux must be more than 0 and at most 1000."),
    ({"weight:far/flux": "nan"}, "The weight of far/flux must be more than 0"),
    ({"weight:far/flux": None}, "The weight of far/flux must be a number."),
    ({"sort": "best"}, "There is no such way to choose a backend. Allowed: order, weight"),
    ({"in": None}, "At least one backend must be left."),
    ({"painter": "far/flux"}, "These are not the backends that the model has."),
    ({"painter": None}, "These are not the backends that the model has."),
    ({"aliases": "fine\nnot fine"}, "'not fine' cannot be an alias"),
    ({"aliases": "spare"}, "spare is a model of its own"),
    ({"aliases": "<script>alert(1)</script>"}, "'<script>alert(1)</script>' cannot be an alias"),
]


async def test_what_is_wrong_is_said_and_what_was_typed_stays(furnished: Front, admin: Visitor):
    before = furnished.house.services.catalog.resolve("both")
    for wrong, said in WRONG:
        answer = await act(admin, "save", **{**SAVED, **wrong})
        assert (answer.status_code, said in html.unescape(answer.text)) == (422, True), wrong
        assert "<script>alert" not in answer.text
        assert '<option value="weight" selected>' in answer.text or "sort" in wrong
        assert answer.text.count('name="painter"') == 2
    assert furnished.house.services.catalog.resolve("both") == before


async def test_of_two_admins_the_later_sees_what_the_first_did(furnished: Front, admin: Visitor):
    other = await visitor_as(furnished, "grace", Role.ADMIN)
    seen = version_on(await page_of(other))
    await act(admin, "save", **SAVED)
    late = await act(other, "save", version=seen, **{**SAVED, "aliases": "mine"})
    assert late.status_code == 409
    assert "Somebody has changed this meanwhile" in late.text
    assert ">pair\nbanner-*\nwide</textarea>" in late.text
    again = await act(other, "save", version=version_on(late.text), **{**SAVED, "aliases": "mine"})
    assert again.status_code == 303
    assert furnished.house.services.catalog.resolve("mine").id == "both"
    for odd in ("", "x", "-1", "9" * 30, "²"):
        assert (await act(other, "off", version=odd)).status_code == 409


async def test_another_default(furnished: Front, admin: Visitor):
    refused = await act(admin, "off", "fake-1")
    assert (refused.status_code, "Make another one the default first" in refused.text) == (422, True)
    await act(admin, "off", "spare")
    assert (await act(admin, "default", "spare")).status_code == 422
    assert (await act(admin, "default", "both")).status_code == 303
    for order in ({}, {"model": "gpt-image-1"}):
        assert (await furnished.generate(**order)).headers["x-pinxit-model"] == "both"
    (row, *_) = await furnished.rows(generations)
    assert (row.model, row.requested_model) == ("both", "both")
    assert (await act(admin, "off", "fake-1")).status_code == 303
    assert await ids(furnished) == {"both", "far/flux"}


async def test_how_its_backends_are(furnished: Front, admin: Visitor):
    assert "not asked yet" in await page_of(admin)
    router, far = furnished.house.services.router, Candidate("far/flux", "far", price_micros=0)
    for _ in range(3):
        router.failed(far, router.admit(far))
    page = await page_of(admin)
    assert "left alone" in page
    assert "3 of 3 failed" in page
    assert page.count("ready</span>") == 1


async def test_what_is_no_button(furnished: Front, admin: Visitor):
    for action in ("", "delete", "SAVE"):
        assert (await act(admin, action)).status_code == 404
    assert (await act(admin, "off", "nothing", version="0")).status_code == 404


async def test_members_see_no_settings(furnished: Front):
    page = await page_of(await visitor_as(furnished, "member"))
    assert "Parameters" in page
    assert "Settings" not in page
    assert ABOUT not in page.partition("<main")[2].replace(f"{ABOUT}?model=", "")


async def test_keys_keep_models_that_are_off(furnished: Front, admin: Visitor):
    await act(admin, "off")
    answer = await furnished.client.post(
        "/v1/keys",
        json={"models": ["both"]},
        headers={"Authorization": f"Bearer {await furnished.make_key(scopes=(Scope.ADMIN,))}"},
    )
    assert answer.status_code == 201
