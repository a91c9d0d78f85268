"""Usage, requests, credits, webhooks and health in a real browser. Whatever the browser complains of fails the test."""

from collections.abc import AsyncIterator

import pytest

from browser import PHONE, Browser, Window, chromium, listening
from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.routing.breaker import FAILURES_IN_A_ROW
from pinxit.routing.router import Candidate
from pinxit.settings import ModelEntry
from quick_passwords import _quick_passwords
from receiver import MakeReceiver
from scripts import INJECTIONS
from visitor import visitor_as

__all__ = ["_quick_passwords"]

pytestmark = pytest.mark.system("chromium")

DEAR = ModelEntry.model_validate({"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]})

FAR = [{"id": name, "sizes": ["512x512"]} for name in ("far-1", "far-2")]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
async def front(make_front: MakeFront) -> Front:
    far = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "models": FAR}
    front = await make_front(providers={"far": far}, model_list=(DEAR,), webhook_allowed_networks="127.0.0.0/8")
    await front.house.deliverer.start(is_alone=True)
    return front


async def signed_in(front: Front, browser: Browser, address: str, **options: object) -> Window:
    visitor = await visitor_as(front, "ada", Role.ADMIN, "acct_default")
    window = await browser.window(**options)
    await window.context.add_cookies([{"name": "pinxit_session", "value": visitor.session, "url": address}])
    return window


async def test_from_the_bill_to_the_order_to_its_message(front: Front, browser: Browser, make_receiver: MakeReceiver):
    """On a phone in the dark; every page on the way is readable."""
    receiver = await make_receiver()
    async with listening(front) as address:
        window = await signed_in(
            front, browser, address, viewport=PHONE, color_scheme="dark", has_touch=True, is_mobile=True
        )
        page = window.page

        async def is_fine() -> None:
            assert await window.violations() == [], page.url
            assert not await window.is_wider_than_the_window(), page.url

        await window.open(f"{address}/console/webhooks")
        await is_fine()
        await page.get_by_role("button", name="Add a webhook").first.click()
        await page.get_by_label("Address").fill(receiver.url)
        await page.get_by_role("button", name="Add", exact=True).click()
        await page.get_by_text("Copy it now").wait_for()
        await is_fine()
        secret = await page.locator("#secret").inner_text()
        await page.get_by_role("button", name="Done").click()
        await front.generate(model="dear", prompt=INJECTIONS[0], n=2)
        await receiver.wait_for(1)
        receiver.messages[0].verify(secret)

        await window.open(f"{address}/console/usage")
        assert await page.get_by_role("img", name="Cost a day").count() == 1
        assert await page.locator(".tiles dd").all_inner_texts() == ["$0.08", "2", "1", "0"]
        assert await window.run("document.querySelector('.chart rect').getBoundingClientRect().height") > 50
        await is_fine()
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download CSV").click()
        assert (await download.value).suggested_filename.endswith(".csv")

        await page.get_by_role("button", name="Open the menu").click()
        await page.get_by_role("link", name="Requests").click()
        await page.wait_for_url("**/console/requests")
        assert INJECTIONS[0] not in await page.content()
        await page.get_by_role("link", name="Show prompts").click()
        await page.wait_for_url("**prompts=shown")
        assert await page.locator("tbody .prompt").inner_text() == INJECTIONS[0]
        await is_fine()
        await page.get_by_role("link", name="The order of").click()
        await page.get_by_role("link", name="Show the prompt").click()
        await page.wait_for_url("**prompt=shown")
        await is_fine()

        await window.open(f"{address}/console/webhooks")
        await page.get_by_role("link", name="127.0.0.1").first.click()
        await page.get_by_role("button", name="Send again").click()
        await receiver.wait_for(2)
        assert receiver.ids[0] == receiver.ids[1]
        await page.locator(".toast", has_text="sent again").wait_for()
        await is_fine()
        await page.get_by_role("button", name="Delete this webhook").click()
        await page.locator("dialog.confirm").get_by_role("button", name="Delete").click()
        await page.get_by_text("No webhooks yet").wait_for()

        await window.open(f"{address}/console/requests")
        await page.get_by_label("Status").select_option("failed")
        await page.get_by_role("button", name="Show", exact=True).click()
        await page.get_by_text("No such requests").wait_for()
        await is_fine()

        await window.open(f"{address}/console/credits")
        await page.get_by_role("button", name="Top up").click()
        await page.get_by_label("US dollars").fill("12.50")
        await page.get_by_label("Note").fill(INJECTIONS[0])
        await is_fine()
        await page.get_by_role("button", name="Go on").click()
        await page.get_by_role("heading", name="Pay in $12.50?").wait_for()
        await is_fine()
        await page.get_by_role("button", name="Pay in $12.50").click()
        await page.locator(".toast", has_text="paid in").wait_for()
        assert await page.locator(".transfers td:nth-child(3)").first.inner_text() == INJECTIONS[0]
        assert await page.locator(".transfers td:last-child").all_inner_texts() == ["+$12.50", "−$0.08"]
        assert page.url == f"{address}/console/credits", "a reload says nothing again"
        await is_fine()

        await window.open(f"{address}/console/audit")
        assert await page.locator("tbody tr", has_text="deleted a webhook").count() == 1
        await is_fine()

        router, candidate = front.house.services.router, Candidate("far/far-1", "far", 0)
        for _ in range(FAILURES_IN_A_ROW):
            router.failed(candidate, router.admit(candidate), INJECTIONS[0])
        await window.open(f"{address}/console/health")
        await is_fine()
        await page.get_by_role("button", name="Try again now").click()
        await page.get_by_text("on trial").wait_for()
        await page.get_by_text("Settings", exact=True).click()
        await is_fine()
        assert window.complaints == []
