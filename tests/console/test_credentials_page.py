"""Credentials of providers on their page: kept, never shown again, and nobody else's."""

import json

import pytest

from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.database.tables import provider_credentials
from visitor import Visitor, visitor_as

PAGE = "/console/credentials"
SECRET = "canary-of-the-tests-0123456789"


@pytest.fixture
async def front(make_front: MakeFront) -> Front:
    provider = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
    basement = {"kind": "a1111", "base_url": "http://127.0.0.1:9", "models": [{"id": "x"}]}
    fixed = {**provider, "credential": "in-the-configuration"}
    return await make_front(providers={"studio": provider, "fixed": fixed, "basement": basement}, byok_fee_percent=5)


@pytest.fixture
async def ada(front: Front) -> Visitor:
    return await visitor_as(front, "ada", Role.ADMIN, account_id="acct_default")


async def test_an_account_s_own_is_kept_and_removed(front: Front, ada: Visitor):
    before = (await ada.get(PAGE)).text
    assert "costs 5 % of the price here" in before
    assert 'action="/console/credentials/own/studio"' in before
    assert "own/basement" not in before, "what needs no credential takes none of accounts"
    kept = await ada.post(f"{PAGE}/own/studio", credential=f" {SECRET}\n", fall_back="yes")
    assert (kept.status_code, kept.headers["location"]) == (303, f"{PAGE}?done=kept")
    shown = (await ada.get(PAGE)).text
    assert "…6789" in shown
    assert "then the server" in shown
    assert "by ada" in shown
    assert SECRET not in shown
    assert front.house.services.credentials.reveal("studio", "acct_default") == SECRET
    removed = await ada.post(f"{PAGE}/own/studio/remove")
    assert removed.headers["location"] == f"{PAGE}?done=removed"
    assert "…6789" not in (await ada.get(PAGE)).text
    assert (await ada.post(f"{PAGE}/own/studio/remove")).status_code == 422


async def test_what_cannot_be_kept_is_told_and_not_shown(front: Front, ada: Visitor):
    for provider, value in (("studio", "short"), ("studio", f"{SECRET}\nx: y"), ("basement", SECRET), ("no", SECRET)):
        refused = await ada.post(f"{PAGE}/own/{provider}", credential=value)
        assert refused.status_code == 422
        assert 'role="alert"' in refused.text
        assert SECRET not in refused.text
    assert await front.rows(provider_credentials) == []


async def test_the_server_s_is_for_admins(front: Front, ada: Visitor):
    first = (await ada.get(PAGE)).text
    assert "Only accounts with one of their own can paint there" in first
    assert "from the configuration" in first
    assert "it needs none" in first
    for provider in ("studio", "fixed"):
        assert (await ada.post(f"{PAGE}/server/{provider}", credential=SECRET)).status_code == 303
    shown = (await ada.get(PAGE)).text
    assert "not used: the configuration comes first" in shown
    assert front.house.services.credentials.has_house("studio")
    member = await visitor_as(front, "bob")
    assert "The server" not in (await member.get(PAGE)).text.partition("<main")[2].replace("the server's", "")
    assert (await member.post(f"{PAGE}/server/studio", credential=SECRET)).status_code == 403
    assert (await member.post(f"{PAGE}/server/studio/remove")).status_code == 403
    assert (await ada.post(f"{PAGE}/server/studio/remove")).status_code == 303


async def test_accounts_do_not_see_each_other_s(front: Front, ada: Visitor):
    await ada.post(f"{PAGE}/own/studio", credential=SECRET)
    bob = await visitor_as(front, "bob")
    assert "…6789" not in (await bob.get(PAGE)).text
    assert (await bob.post(f"{PAGE}/own/studio/remove")).status_code == 422
    assert len(await front.house.services.credentials.list("acct_default")) == 1


async def test_one_that_cannot_be_opened_is_told(front: Front, ada: Visitor):
    await ada.post(f"{PAGE}/own/studio", credential=SECRET)
    (front.house.services.settings.data_dir / "credentials.key").unlink()
    front.house.services.credentials._ring = None
    page = await ada.get(PAGE)
    assert (page.status_code, "cannot be opened" in page.text) == (200, True)
    assert (await ada.post(f"{PAGE}/own/studio", credential=SECRET)).status_code == 303
    assert "cannot be opened" not in (await ada.get(PAGE)).text


async def test_the_key_is_on_no_page(make_front: MakeFront):
    key = "q83vEjRWeJASNFZ4kBI0VniQEjRWeJASNFZ4kBI0Vng="
    front = await make_front(credentials_key=key)
    admin = await visitor_as(front, "ada", Role.ADMIN, account_id="acct_default")
    assert key not in (await admin.get("/console/health")).text
    assert key not in json.dumps(front.house.services.settings.model_dump(mode="json"))
