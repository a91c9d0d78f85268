"""The gallery as people use it, in a real browser. Whatever the browser complains of fails the test."""

import json
from typing import Any

import pytest

from browser import PHONE, Browser, Window, chromium, listening
from filled import fill
from front import Front
from quick_passwords import _quick_passwords
from visitor import Visitor, visitor_as

__all__ = ["_quick_passwords"]

pytestmark = pytest.mark.system("chromium")


async def window_of(browser: Browser, ada: Visitor, address: str, **options: Any) -> Window:
    """A window in which this visitor is signed in already."""
    cookie = {"name": "pinxit_session", "value": ada.session, "url": address, "sameSite": "Strict"}
    window = await browser.window(**options)
    await window.context.add_cookies([cookie])
    return window


async def test_looking_through_looking_at_and_taking_away(front: Front):
    ada = await visitor_as(front, "ada", account_id="acct_default")
    await front.generate(prompt="the very first", seed=77)
    for number in range(6):
        await front.generate(prompt=f"picture {number}", n=10)
    async with listening(front) as address, chromium() as browser:
        window = await window_of(browser, ada, address)
        page = window.page
        await window.open(f"{address}/console/gallery")
        tiles = page.locator(".tile")
        assert await tiles.count() == 48
        # The way on fails once, and says so.
        await page.route("**/console/gallery/pictures*", lambda route: route.abort())
        await window.run("scrollTo(0, document.body.scrollHeight)")
        await page.get_by_role("link", name="Try again").wait_for()
        await page.unroute("**/console/gallery/pictures*")
        (complaint,) = {*window.complaints}
        assert complaint == "Failed to load resource: net::ERR_FAILED"
        window.complaints.clear()
        await page.get_by_role("link", name="Try again").click()
        await tiles.nth(60).wait_for()
        assert await tiles.count() == 61
        assert not await page.locator("#onward").is_visible()

        # With the keyboard: the last picture, the one before it, and away with that.
        await tiles.nth(60).focus()
        await page.keyboard.press("Enter")
        large = page.locator("#large")
        await window.run("document.querySelector('#large').decode()")
        assert await large.get_attribute("alt") == "the very first"
        assert await page.get_by_role("button", name="Older picture").is_disabled()
        assert "77" in await page.locator("#lightbox .facts").inner_text()
        assert await window.violations() == []
        await page.keyboard.press("ArrowLeft")
        assert await large.get_attribute("alt") == "picture 0"
        await page.locator("#delete-button").click()
        await page.keyboard.press("Escape")  # no
        await page.locator("#delete-button").click()
        await page.locator("dialog.confirm").get_by_role("button", name="Delete").click()
        await page.locator(".toast", has_text="deleted").wait_for()
        assert await large.get_attribute("alt") == "the very first", "the next one takes its place"
        assert await tiles.count() == 60
        await page.keyboard.press("Escape")
        assert await window.run("document.activeElement === [...document.querySelectorAll('.tile')].at(-1)")
        assert len(front.files()) == 60

        await page.get_by_label("Words of the prompt").fill("VERY first")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/console/gallery?q=VERY+first*")
        assert await tiles.count() == 1
        await tiles.click()
        await page.get_by_role("link", name="Use these settings again").click()
        await page.wait_for_url("**/console/playground?again=*")
        await page.wait_for_load_state("load")
        await page.get_by_role("tab", name="JSON").click()
        shown = json.loads(await page.locator("#as-json").inner_text())
        assert (shown["prompt"], shown["seed"], shown["size"]) == ("the very first", 77, "256x256")
        assert window.complaints == []

        # On a phone, in the dark, with as long a prompt as people write.
        await front.generate(prompt="a long prompt " * 40, size="1024x1024")
        options = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
        phone = await window_of(browser, ada, address, **options)
        await phone.open(f"{address}/console/gallery")
        href = await phone.page.locator(".tile").first.get_attribute("href")
        await phone.page.locator(".tile").first.tap()
        assert await phone.violations() == []
        assert not await phone.is_wider_than_the_window()
        await phone.open(f"{address}{href}")
        assert await phone.violations() == []
        assert not await phone.is_wider_than_the_window()
        assert phone.complaints == []


@pytest.mark.long
async def test_however_far_one_scrolls_few_pictures_are_on_the_page(front: Front):
    """What is far out of sight is taken off it, and comes back."""
    await front.generate()
    await front.house.database.write(fill)
    (file,) = front.files()
    painted = file.read_bytes()

    async def read(_: object) -> bytes:
        return painted

    front.house.services.library.read = read  # type: ignore[method-assign]  # of pictures that are rows only
    ada = await visitor_as(front, "ada", account_id="acct_default")
    async with listening(front) as address, chromium() as browser:
        window = await window_of(browser, ada, address)
        await window.open(f"{address}/console/gallery")
        while await window.run("document.querySelectorAll('.masonry').length") < 10:
            await window.run("scrollTo(0, document.body.scrollHeight)")
        first = window.page.locator(".masonry").first
        await first.locator(".tile").first.wait_for(state="detached")
        assert await window.page.locator(".tile").count() < 1000
        await window.run("scrollTo(0, 0)")
        await first.locator(".tile").nth(239).wait_for(state="attached")
        assert window.complaints == []
