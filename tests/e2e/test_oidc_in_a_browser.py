"""Signing in by a provider of another site, in a real browser: which cookies come along, and what its history keeps."""

from collections.abc import AsyncIterator

import pytest

from browser import PHONE, Browser, chromium, listening
from front import MakeFront
from oidc_provider import MakeOidcProvider
from pinxit.accounts.user import Role
from quick_passwords import _quick_passwords
from visitor import make_user

__all__ = ["_quick_passwords"]

pytestmark = pytest.mark.system("chromium")


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


async def test_out_and_back_in(make_front: MakeFront, make_oidc_provider: MakeOidcProvider, browser: Browser):
    """The console is at `localhost` and the provider at `127.0.0.1`: two sites, as they are in real life."""
    provider = await make_oidc_provider(asks=True)
    front = await make_front(oidc=provider.options(title="Example & Sons"))
    await make_user(front, "first", Role.ADMIN, "acct_default")
    async with listening(front) as url:
        home = url.replace("127.0.0.1", "localhost")
        window = await browser.window(viewport=PHONE)
        page, seen = window.page, []
        page.on("framenavigated", lambda frame: seen.append(frame.url))
        await window.open(f"{home}/console/keys")
        assert await window.violations() == []
        await page.get_by_role("link", name="Sign in with Example & Sons").click()
        await page.get_by_role("button", name="Yes").click()
        await page.wait_for_url(f"{home}/console/keys")
        await page.wait_for_load_state("load")
        assert await page.get_by_role("heading", level=1).inner_text() == "API keys"
        assert not [address for address in seen if "code=" in address], "no page was ever shown at such an address"
        assert f"{home}/console/oidc/landing?next=%2Fconsole%2Fkeys" in seen
        cookies = {cookie["name"]: cookie for cookie in await window.context.cookies(home)}
        assert set(cookies) == {"pinxit_session", "pinxit_device", "pinxit_visit"}
        assert {cookie["sameSite"] for cookie in cookies.values()} == {"Strict"}

        provider.claims = {"email": "ada@example.org"}
        await window.open(f"{home}/console/profile")
        assert await page.get_by_text(provider.issuer).is_visible()
        await page.get_by_role("button", name="Open the menu").click()
        await page.get_by_role("button", name="Sign out", exact=True).click()
        await page.wait_for_url("**/console/sign-in")
        assert window.complaints == []
        await page.get_by_role("link", name="Sign in with Example & Sons").click()
        await page.get_by_role("button", name="Yes").click()
        await page.get_by_role("alert").wait_for()
        assert "you may not sign in here" in await page.get_by_role("alert").inner_text()
        await page.wait_for_load_state("load")
        assert await window.violations() == []
        assert not await window.is_wider_than_the_window()
        assert not [address for address in seen if "code=" in address]
