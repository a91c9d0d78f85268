"""The console as people see it, in a real browser. Whatever the browser complains of fails the test."""

import json
import re
import subprocess
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import pytest
from running import environment, serving

from browser import PHONE, Browser, Window, chromium, listening
from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.keys.model import Budgets, KeyOptions, Limits
from pinxit.keys.service import local_caller
from pinxit.testing.fake_backend import FakeBackend
from quick_passwords import _quick_passwords
from scripts import INJECTIONS
from visitor import PASSWORD, make_user

__all__ = ["_quick_passwords"]

pytestmark = pytest.mark.system("chromium")

PAGES = ("playground", "gallery", "models", "models/about?model=fake-1", "keys", "credentials", "people", "profile")


@pytest.fixture
async def front(make_front: MakeFront) -> Front:
    """With a provider that there are credentials for."""
    studio = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "models": ["gpt-image-1-mini"]}
    return await make_front(providers={"studio": studio})


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
async def address(front: Front) -> AsyncIterator[str]:
    await make_user(front, "ada@example.com", Role.ADMIN, "acct_default")
    async with listening(front) as url:
        yield url


async def sign_in(window: Window, address: str, name: str = "ada@example.com") -> None:
    await window.open(f"{address}/console/sign-in")
    await window.page.get_by_label("E-mail or name").fill(name)
    await window.page.get_by_label("Password").fill(PASSWORD)
    await window.page.keyboard.press("Enter")
    await window.page.wait_for_url("**/console/playground")
    await window.page.wait_for_load_state("load")  # by then scripts have run


async def test_from_the_printed_link_to_a_picture_a_key_and_a_working_curl(browser: Browser, tmp_path):
    """With the keyboard only."""
    with serving(tmp_path / "server") as server:
        (link,) = re.findall(r"^  (http\S+/console/join\?token=\S+)$", server.output, re.MULTILINE)
        window = await browser.window()
        page = window.page
        await window.open(link)
        for text in ("ada@example.com", PASSWORD, PASSWORD):
            await page.keyboard.type(text)
            await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/console/playground")

        await page.keyboard.type("a red apple")
        await page.keyboard.press("Control+Enter")
        await page.wait_for_selector("#results .busy img:not([hidden])")  # a partial picture
        done = page.locator("#results .result:not(.busy)")
        await done.wait_for()
        assert re.search(r"otter-1 · seed \d+ · \d+\.\d s · free", await done.inner_text())
        assert await window.run("document.querySelector('#results img').naturalWidth") == 512
        href = await done.get_by_text("Download").get_attribute("href")
        assert server.client.get(href).content[:4] == b"\x89PNG"

        await page.get_by_role("link", name="API keys").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name="Create a key").first.focus()
        await page.keyboard.press("Enter")
        await page.keyboard.type("website")
        await page.keyboard.press("Enter")
        await page.get_by_text("Your new key").wait_for()
        curl = await page.locator("#try-code-1").inner_text()
        answer = subprocess.run(
            ["bash", "-c", f"{curl} --silent"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert json.loads(answer.stdout)["data"][0]["url"].startswith(server.url)
        await page.keyboard.press("Enter")  # Done
        assert not await page.locator("#created").is_visible()
        await page.reload()
        assert await page.get_by_text("Your new key").count() == 0, "nothing is made again by a reload"
        assert await page.locator("tbody tr").count() == 2
        assert window.complaints == []


async def furnish(front: Front) -> None:
    """Something of everything, with long words."""
    for prompt in ("a lighthouse", "x" * 300):
        await front.generate(prompt=prompt)
    options = KeyOptions(
        name="long " + "n" * 190,
        limits=Limits(60, 100, 2),
        budgets=Budgets(25_000_000, 1_000_000, 5_000_000),
        models=("fake-1",),
        disabled=True,
    )
    await front.house.services.keys.create(local_caller("acct_default"), options)
    await make_user(front, "somebody.with.a.long.name@a.long.domain.example.com")
    await front.house.services.users.invite(Role.MEMBER, account_id=None, note="Grace " + "g" * 100)


@pytest.mark.parametrize(
    "look",
    [
        "light",
        "dark phone",
        pytest.param("dark", marks=pytest.mark.long),
        pytest.param("phone", marks=pytest.mark.long),
    ],
)
async def test_every_page_is_readable(front: Front, browser: Browser, address: str, look: str):
    await furnish(front)
    options: dict[str, Any] = {"color_scheme": "dark" if "dark" in look else "light"}
    if "phone" in look:
        options.update(viewport=PHONE, has_touch=True, is_mobile=True)
    window = await browser.window(**options)
    await window.open(f"{address}/console/sign-in")
    assert await window.violations() == []
    await sign_in(window, address)
    key = (await front.house.services.keys.list(local_caller("acct_default")))[0]
    for path in (*PAGES, f"keys/{key.id}"):
        await window.open(f"{address}/console/{path}")
        assert await window.violations() == [], path
        for dialog in ("create", "invite", "own-1", "server-1"):
            if await window.page.locator(f"[data-opens={dialog}]").count():
                await window.page.locator(f"[data-opens={dialog}]").first.click()
                assert await window.violations() == [], f"{path}: {dialog}"
                await window.page.keyboard.press("Escape")
        assert not await window.is_wider_than_the_window(), path
    assert window.complaints == []
    await window.open(f"{address}/console/nowhere")
    assert await window.violations() == []
    assert window.complaints == ["Failed to load resource: the server responded with a status of 404 (Not Found)"]


async def test_what_people_write_never_runs(make_front: MakeFront, browser: Browser):
    """As prompts, names of keys, users and invitations, and in addresses."""
    front = await make_front(max_queued_generations=100)
    assert len(INJECTIONS) >= 60
    await make_user(front, "ada@example.com", Role.ADMIN, "acct_default")
    for text in INJECTIONS:
        assert (await front.generate(prompt=text)).status_code == 200
        await front.house.services.keys.create(local_caller("acct_default"), KeyOptions(name=text[:200]))
        await front.house.services.users.invite(Role.MEMBER, account_id=None, note=text[:200])
        name = "".join(character for character in text[:150] if character.isprintable() and not character.isspace())
        await make_user(front, f"{INJECTIONS.index(text)}{name}", account_id="acct_default")
    async with listening(front) as address:
        window = await browser.window()
        await window.context.add_init_script(
            "for (const name of ['alert', 'prompt', 'confirm']) window[name] = () => { throw new Error('ran') };"
        )
        await sign_in(window, address)
        for path in PAGES:
            await window.open(f"{address}/console/{path}")
            assert await window.run(
                "[...document.scripts].every((each) => each.src || each.type == 'application/json')"
            )
            assert (
                await window.run("document.querySelectorAll('[onerror], [onload], [style], iframe, object').length")
                == 0
            )
        body = await window.page.locator("body").inner_text()
        assert "ada@example.com" in body
        await window.open(f"{address}/console/playground")
        for text in INJECTIONS[::10]:  # and in what scripts put on the page
            await window.page.get_by_label("Prompt").fill(text)
            await window.page.keyboard.press("Control+Enter")
            await window.page.locator("#paint:not([disabled])").wait_for()
        assert await window.page.locator("#results .result").count() == len(INJECTIONS[::10])
        for text in INJECTIONS[::10]:
            await window.page.goto(f"{address}/console/playground?prompt={quote(text)}&model={quote(text)}")
            assert (await window.page.get_by_label("Prompt").input_value()).strip() == text.replace("\r", "\n").strip()
        assert window.complaints == []


async def test_the_playground_follows_the_model_and_says_what_is_wrong(make_front: MakeFront, browser: Browser):
    front = await make_front(FakeBackend(), moderation_words=("forbidden",))
    await make_user(front, "ada@example.com", Role.ADMIN, "acct_default")
    async with listening(front) as address:
        window = await browser.window()
        page = window.page
        await sign_in(window, address)
        await page.get_by_label("Prompt").fill("a forbidden thing")
        await page.get_by_role("button", name="Paint").click()
        await page.locator("#problem", has_text="refused").wait_for()
        assert await page.locator("#results .result").count() == 0

        await page.get_by_role("button", name="Roll a seed").click()
        seed = await page.get_by_label("Seed", exact=True).input_value()
        assert seed.isdigit()
        await page.get_by_label("Prompt").fill("a lighthouse")
        await page.locator(".chip", has_text="256 × 256").click()
        await page.get_by_role("tab", name="JSON").click()
        shown = json.loads(await page.locator("#as-json").inner_text())
        assert shown == {"model": "fake-1", "prompt": "a lighthouse", "size": "256x256", "seed": int(seed)}
        await page.keyboard.press("ArrowRight")
        curl = await page.locator("#as-curl").inner_text()
        assert json.loads(curl.partition("-d '")[2].rpartition("'")[0]) == shown
        python = await page.locator("#as-python").inner_text()
        assert f'extra_body={{"seed":{seed}}}' in python
        compile(python, "as shown", "exec")
        await page.get_by_role("tab", name="Form").click()
        await page.keyboard.press("Control+Enter")
        await page.locator("#results .result:not(.busy)").wait_for()
        assert front.backend.orders[-1].seeds == (int(seed),)

        await page.get_by_label("Seed", exact=True).fill("7")
        await page.get_by_label("Prompt").fill("something else")
        await page.get_by_role("button", name="Use again").click()
        assert await page.get_by_label("Prompt").input_value() == "a lighthouse"
        assert await page.get_by_label("Seed", exact=True).input_value() == seed
        (complaint,) = window.complaints
        assert complaint.startswith("Failed to load resource: the server responded with a status of 422")


TWO_BACKENDS = {
    "providers": {
        "far": {
            "kind": "openai_compatible",
            "base_url": "http://127.0.0.1:9/v1",
            "models": [{"id": "long-" + "n" * 90}],
        }
    },
    "model_list": [
        {"model_name": "both", "backends": [{"model": "fake/fake-1"}, {"model": "far/long-" + "n" * 90}]},
    ],
}


async def test_an_admin_changes_a_model(make_front: MakeFront, browser: Browser):
    front = await make_front(**TWO_BACKENDS)
    await make_user(front, "ada@example.com", Role.ADMIN, "acct_default")
    async with listening(front) as address:
        window = await browser.window(viewport=PHONE, color_scheme="dark")
        page = window.page
        await sign_in(window, address)
        await window.open(f"{address}/console/models")
        await page.get_by_role("link", name="both", exact=True).click()
        await page.get_by_role("button", name="Move far").first.click()
        assert await window.run("document.activeElement.ariaLabel") == "Move far/long-" + "n" * 90 + " down"
        await page.get_by_label("Aliases").fill("banner\nnot fine")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_text("'not fine' cannot be an alias").wait_for()
        assert await page.locator("[name=painter]").first.input_value() == "far/long-" + "n" * 90
        await page.get_by_label("Aliases").fill("banner")
        await page.get_by_role("button", name="Save").click()
        await page.locator(".toast", has_text="saved").wait_for()
        assert page.url == f"{address}/console/models/about?model=both"
        assert front.house.services.catalog.resolve("banner").backend == "far"
        assert await window.violations() == []
        assert not await window.is_wider_than_the_window()

        await page.get_by_role("button", name="Switch off").click()
        await page.locator("dialog.confirm").get_by_role("button", name="Switch off").click()
        await page.get_by_text("It is switched off").wait_for()
        assert await window.violations() == []
        (complaint,) = window.complaints
        assert complaint.startswith("Failed to load resource: the server responded with a status of 422")


async def test_signed_out_elsewhere(front: Front, browser: Browser, address: str):
    window = await browser.window()
    await sign_in(window, address)
    other = await window.context.new_page()
    await other.goto(f"{address}/console/profile")
    await other.get_by_role("button", name="Sign out everywhere").click()
    await other.wait_for_url("**/console/sign-in")
    await window.page.get_by_label("Prompt").fill("a lighthouse")
    await window.page.keyboard.press("Control+Enter")
    await window.page.locator("#problem", has_text="signed out").wait_for()
    assert front.backend.orders == []


async def test_a_link_of_another_site_finds_who_is_signed_in(browser: Browser, address: str):
    window = await browser.window()
    await sign_in(window, address)
    await window.open(address.replace("127.0.0.1", "localhost") + "/console/sign-in")
    await window.run(f"location.href = '{address}/console/keys'")
    await window.page.wait_for_url(f"{address}/console/keys")
    assert await window.page.get_by_role("heading", name="API keys").is_visible()
    assert window.complaints == []


async def test_the_menu_of_a_phone_the_theme_and_a_question(front: Front, browser: Browser, address: str):
    window = await browser.window(viewport=PHONE, has_touch=True, is_mobile=True)
    page = window.page
    await sign_in(window, address)
    assert not await page.get_by_role("link", name="Models").is_visible()
    await page.get_by_role("button", name="Open the menu").click()
    assert await window.run("document.activeElement.closest('#sidebar') !== null")
    await page.keyboard.press("Escape")
    assert not await page.get_by_role("link", name="Models").is_visible()
    await page.get_by_role("button", name="Open the menu").click()
    await page.get_by_role("button", name="Theme").click(click_count=2, delay=10)
    assert await window.run("document.documentElement.dataset.theme") == "dark"
    await page.get_by_role("link", name="API keys").click()
    await page.wait_for_url("**/console/keys")
    await page.wait_for_load_state("load")
    assert await window.run("document.documentElement.dataset.theme") == "dark"
    dark = await window.run("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", dark)[:3])) < 150

    await page.get_by_role("button", name="Revoke test").click()
    await page.get_by_role("button", name="Cancel").last.click()
    assert await page.get_by_text("Revoked keys").count() == 0
    await page.get_by_role("button", name="Revoke test").click()
    await page.locator("dialog.confirm").get_by_role("button", name="Revoke").click()
    await page.get_by_text("Revoked keys (1)").wait_for()
    assert await page.locator(".toast", has_text="revoked").is_visible()
    assert "done=" not in page.url
    assert window.complaints == []
