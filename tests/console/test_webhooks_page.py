"""Webhooks on their pages."""

import asyncio
import html
import re

import httpx2
import pytest

from front import Front, MakeFront
from pinxit.database.tables import webhook_deliveries, webhook_endpoints
from receiver import MakeReceiver
from visitor import Visitor, visitor_as

EVENTS = ["generation.completed", "generation.failed", "generation.cancelled"]


@pytest.fixture
async def front(make_front: MakeFront) -> Front:
    front = await make_front(webhook_allowed_networks="127.0.0.0/8")
    await front.house.deliverer.start(is_alone=True)
    return front


@pytest.fixture
async def ada(front: Front) -> Visitor:
    return await visitor_as(front, "ada", account_id="acct_default")


async def add(ada: Visitor, url: str, **fields: object) -> httpx2.Response:
    return await ada.post("/console/webhooks", **{"url": url, "events": EVENTS, **fields})


async def only(front: Front) -> str:
    """The path of the only endpoint's page."""
    (row,) = await front.rows(webhook_endpoints)
    return f"/console/webhooks/{row.id}"


async def delivered(front: Front, count: int) -> None:
    """Until so many deliveries are noted as arrived."""
    async with asyncio.timeout(10):
        while sum(row.status == "delivered" for row in await front.rows(webhook_deliveries)) < count:
            await asyncio.sleep(0.01)


async def test_added_told_and_sent_again(front: Front, ada: Visitor, make_receiver: MakeReceiver):
    receiver = await make_receiver()
    assert "No webhooks yet" in (await ada.get("/console/webhooks")).text
    added = await add(ada, receiver.url, description="to my <b>server</b>")
    (secret,) = re.findall(r'<code id="secret">(whsec_[^<]+)</code>', added.text)
    listed = (await ada.get("/console/webhooks")).text
    assert secret not in listed
    assert "to my &lt;b&gt;server&lt;/b&gt;" in listed
    assert (await front.rows(webhook_endpoints))[0].events is None, "all of them is what comes later too"

    await front.generate()
    await receiver.wait_for(1)
    receiver.messages[0].verify(secret)
    await delivered(front, 1)
    path = await only(front)
    page = (await ada.get(path)).text
    assert "An order is completed" in page
    assert re.search(r'data-label="Answer"><span>200', page)
    order = re.findall(r'href="(/console/requests/gen_\w+)"', page)[0]
    assert (await ada.get(order)).status_code == 200
    (again,) = re.findall(rf'action="({path}/deliveries/\w+/replay)"', page)
    assert (await ada.post(again)).headers["location"] == f"{path}?done=again"
    await receiver.wait_for(2)
    assert receiver.ids[0] == receiver.ids[1]

    assert (await ada.post(f"{path}/test")).headers["location"] == f"{path}?done=sent"
    await receiver.wait_for(3)
    assert receiver.types[-1] == "ping"


async def test_what_failed_is_shown_with_its_reason(front: Front, ada: Visitor, make_receiver: MakeReceiver):
    receiver = await make_receiver(410)
    await add(ada, receiver.url)
    await front.generate()
    async with asyncio.timeout(10):
        while (await front.rows(webhook_endpoints))[0].is_active:
            await asyncio.sleep(0.01)
    path = await only(front)
    page = (await ada.get(path)).text
    assert "It was switched off: The receiver answered 410 Gone." in page
    assert "dead" in page
    assert "/replay" not in page, "who is switched off is told nothing"
    assert "No delivered deliveries" in (await ada.get(f"{path}?status=delivered")).text
    assert (await ada.get(f"{path}?status=eaten")).status_code == 404


async def test_changed_switched_and_deleted(front: Front, ada: Visitor):
    added = await add(ada, "https://hooks.example/one")
    (first,) = re.findall(r'<code id="secret">([^<]+)</code>', added.text)
    path = await only(front)
    answer = await ada.post(path, url="https://hooks.example/two", events=EVENTS[:1], description="")
    assert answer.headers["location"] == f"{path}?done=changed"
    (row,) = await front.rows(webhook_endpoints)
    assert (row.url, row.events) == ("https://hooks.example/two", EVENTS[:1])
    for action, is_active in (("disable", False), ("enable", True)):
        await ada.post(f"{path}/{action}")
        assert (await front.rows(webhook_endpoints))[0].is_active is is_active
    (second,) = re.findall(r'<code id="secret">([^<]+)</code>', (await ada.post(f"{path}/new-secret")).text)
    assert first != second
    assert (await ada.post(f"{path}/explode")).status_code == 404
    assert (await ada.post(f"{path}/delete")).headers["location"] == "/console/webhooks?done=deleted"
    assert await front.rows(webhook_endpoints) == []
    assert (await ada.get(path)).status_code == 404


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"url": ""}, "The address must have"),
        ({"url": "https://hooks.example/" + "x" * 2048}, "The address must have"),
        ({"url": "http://10.0.0.1/"}, ""),
        ({"url": "javascript:alert(1)"}, ""),
        ({"events": []}, "at least one event"),
        ({"events": ["ping"]}, "at least one event"),
        ({"description": "d" * 501}, "at most 500"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_lost(
    front: Front, ada: Visitor, fields: dict[str, object], said: str
):
    page = await add(ada, **{"url": "https://hooks.example/x", "description": "kept", **fields})  # type: ignore[arg-type]
    assert page.status_code == 422
    assert re.search(r'<dialog id="create"[^>]* data-shown', page.text)
    assert re.search(r'role="alert">[^<]+<', page.text)
    assert said in html.unescape(page.text)
    assert "kept" in page.text or "description" in fields
    assert await front.rows(webhook_endpoints) == []


async def test_nobody_touches_another_account_s(front: Front, ada: Visitor):
    await add(ada, "https://hooks.example/one")
    await front.generate()
    path = await only(front)
    (delivery,) = await front.rows(webhook_deliveries)
    member = await visitor_as(front, "member")
    assert "No webhooks yet" in (await member.get("/console/webhooks")).text
    assert (await member.get(path)).status_code == 404
    for action in ("", "/test", "/disable", "/enable", "/new-secret", "/delete", f"/deliveries/{delivery.id}/replay"):
        answer = await member.post(f"{path}{action}", url="https://evil.example", events=EVENTS)
        assert answer.status_code == 404, action
    (row,) = await front.rows(webhook_endpoints)
    assert (row.url, row.is_active) == ("https://hooks.example/one", True)
