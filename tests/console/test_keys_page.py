"""API keys on their page."""

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.database.tables import api_keys
from pinxit.keys.model import Budgets, KeyOptions, Limits, Scope
from pinxit.keys.service import local_caller
from pinxit.settings import ModelEntry
from visitor import Visitor, visitor_as

BASIC: dict[str, Any] = {"name": "website", "scopes": ["images:write", "images:read"]}


@pytest.fixture
async def ada(front: Front) -> Visitor:
    return await visitor_as(front, "ada", Role.ADMIN, "acct_default")


async def made(front: Front) -> Any:
    """The row of the newest key."""
    return max(await front.rows(api_keys), key=lambda row: row.created_at)


async def test_a_new_key_is_shown_once_and_works(front: Front, ada: Visitor):
    page = await ada.post("/console/keys", **BASIC)
    assert page.status_code == 200
    (secret,) = re.findall(r'<code id="secret">(sk-[\w-]{43})</code>', page.text)
    answer = await front.client.post(
        "/v1/images/generations",
        json={"prompt": "x", "size": "256x256"},
        headers={"authorization": f"Bearer {secret}"},
    )
    assert answer.status_code == 200
    assert html.unescape(page.text).count(secret) == 4, "beside itself in three ways to call"
    assert secret not in (await ada.get("/console/keys")).text
    row = await made(front)
    assert (row.name, row.scopes, row.models) == ("website", BASIC["scopes"], None)
    assert row.account_id == "acct_default"


async def test_everything_that_can_be_chosen(front: Front, ada: Visitor):
    last_day = (datetime.now(UTC) + timedelta(days=9)).date()
    choices = {
        "name": "  all of it ",
        "scopes": ["admin", "usage:read"],
        "which_models": "some",
        "models": ["fake-1"],
        "total": "12.5",
        "per_day": "1",
        "per_month": "0.000001",
        "requests_per_minute": "60",
        "images_per_minute": "100",
        "concurrency": "2",
        "default_delivery": "both",
        "expires_on": last_day.isoformat(),
        "strict": "on",
    }
    assert (await ada.post("/console/keys", **choices)).status_code == 200
    row = await made(front)
    key = await front.house.services.keys.get(local_caller("acct_default"), row.id)
    assert key.options.name == "all of it"
    assert key.options.scopes == (Scope.USAGE_READ, Scope.ADMIN)
    assert key.options.models == ("fake-1",)
    assert key.options.budgets == Budgets(12_500_000, 1_000_000, 1)
    assert key.options.limits == Limits(60, 100, 2)
    assert key.options.strict
    assert key.options.expires_at is not None
    assert key.options.expires_at.date() == last_day + timedelta(days=1)
    edit = (await ada.get(f"/console/keys/{key.id}")).text
    for shown in ('value="all of it"', 'value="12.50"', 'value="0.000001"', 'value="60"', f'value="{last_day}"'):
        assert shown in edit
    again = await ada.post(f"/console/keys/{key.id}", **{**choices, "name": "renamed"})
    assert again.headers["location"] == "/console/keys?done=changed"
    changed = await front.house.services.keys.get(local_caller("acct_default"), key.id)
    assert (changed.options.name, changed.options.expires_at) == ("renamed", key.options.expires_at)


async def test_what_the_form_has_no_field_for_stays(front: Front, ada: Visitor):
    moment = datetime(2030, 1, 31, 12, 34, 56, tzinfo=UTC)
    options = KeyOptions(name="old", url_ttl_seconds=60, disabled=True, expires_at=moment)
    key, _ = await front.house.services.keys.create(local_caller("acct_default"), options)
    assert (await ada.post(f"/console/keys/{key.id}", **BASIC, expires_on="2030-01-31")).status_code == 303
    after = (await front.house.services.keys.get(local_caller("acct_default"), key.id)).options
    assert (after.name, after.url_ttl_seconds, after.disabled) == ("website", 60, True)
    assert after.expires_at == moment, "the same day is no change of the hour"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"scopes": []}, "may do nothing"),
        ({"scopes": ["root"]}, "no such scope"),
        ({"which_models": "some"}, "Choose the models"),
        ({"which_models": "some", "models": ["no-such"]}, "no model"),
        ({"requests_per_minute": "0"}, "Orders a minute: a whole number"),
        ({"requests_per_minute": "1.5"}, "a whole number"),
        ({"concurrency": "99999999"}, "a whole number"),
        ({"concurrency": "١"}, "a whole number"),
        ({"total": "free"}, "The budget in all"),
        ({"per_day": "-1"}, "The budget a day"),
        ({"per_month": "NaN"}, "The budget a month"),
        ({"default_delivery": "pigeon"}, "no such delivery"),
        ({"expires_on": "2020-01-01"}, "must not be over"),
        ({"expires_on": "tomorrow"}, "a date like"),
        ({"expires_on": "9999-12-31"}, "a date like"),
        ({"name": "n" * 201}, "at most 200"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_lost(front: Front, ada: Visitor, fields: dict[str, Any], said: str):
    before = len(await front.rows(api_keys))
    page = await ada.post("/console/keys", **{**BASIC, "total": "77.77", **fields})
    assert page.status_code in (404, 422)
    assert said in html.unescape(page.text)
    assert re.search(r'<dialog id="create"[^>]* data-shown', page.text)
    assert f'value="{fields.get("total", "77.77")}"' in page.text
    assert len(await front.rows(api_keys)) == before


async def test_off_on_and_revoked(front: Front, ada: Visitor):
    key_id = (await made(front)).id

    async def status() -> int:
        return (await front.client.get("/v1/models", headers=front.authorization)).status_code

    for action, expected in (("disable", 401), ("enable", 200), ("revoke", 401)):
        response = await ada.post(f"/console/keys/{key_id}/{action}")
        assert response.headers["location"] == f"/console/keys?done={action}d"
        assert await status() == expected
    assert "Revoked keys (1)" in (await ada.get("/console/keys")).text
    for action in ("enable", "disable", "revoke"):
        assert (await ada.post(f"/console/keys/{key_id}/{action}")).status_code == 400
    assert (await ada.post(f"/console/keys/{key_id}/explode")).status_code == 400


async def test_a_button_that_is_not_there(front: Front, ada: Visitor):
    assert (await ada.post(f"/console/keys/{(await made(front)).id}/explode")).status_code == 404


async def test_spending_and_use_are_shown(make_front: MakeFront):
    dear = {"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]}
    front = await make_front(model_list=(ModelEntry.model_validate(dear),))
    ada = await visitor_as(front, "ada", account_id="acct_default")
    assert "$0.00" in (await ada.get("/console/keys")).text
    await front.generate(model="dear", n=2)
    page = (await ada.get("/console/keys")).text
    assert "just now" in page
    assert "$0.08" in page


async def test_a_member_makes_no_admin(front: Front):
    member = await visitor_as(front, "member", account_id="acct_default")
    page = await member.post("/console/keys", name="x", scopes=["admin"])
    assert (page.status_code, "beyond its own" in page.text) == (403, True)
    assert "Everything (admin)" not in (await member.get("/console/keys")).text
    stronger = await made_by_operator(front)
    for action in ("disable", "revoke"):
        assert (await member.post(f"/console/keys/{stronger}/{action}")).status_code == 403


async def made_by_operator(front: Front) -> str:
    options = KeyOptions(name="strong", scopes=(Scope.ADMIN,))
    return (await front.house.services.keys.create(local_caller("acct_default"), options))[0].id


async def test_another_account_s_keys_are_not_there(front: Front):
    stranger = await visitor_as(front, "stranger", Role.ADMIN)
    row = await made(front)
    page = await stranger.get("/console/keys")
    assert "No keys yet" in page.text
    assert row.name not in page.text
    for path in ("", "/disable", "/revoke"):
        assert (await stranger.post(f"/console/keys/{row.id}{path}", **BASIC)).status_code == 404
    assert (await stranger.get(f"/console/keys/{row.id}")).status_code == 404
    after = await made(front)
    assert (after.name, after.disabled, after.revoked_at) == (row.name, False, None)
