"""The playground as people use it, in a real browser. Whatever the browser complains of fails the test."""

import asyncio
import base64
import io
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from running import environment, serving

from browser import PHONE, Browser, Window, chromium, listening
from front import MakeFront
from pinxit.backends.interface import Familiarity
from pinxit.database.tables import generations, holds
from pinxit.testing.fake_backend import FakeBackend
from quick_passwords import _quick_passwords
from scripts import INJECTIONS
from visitor import PASSWORD, Visitor, visitor_as

__all__ = ["_quick_passwords"]

pytestmark = pytest.mark.system("chromium")


def png(size: tuple[int, int] = (64, 48), colour: str = "white", **options: Any) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", size, colour).save(data, "PNG", **options)
    return data.getvalue()


async def window_of(browser: Browser, visitor: Visitor, address: str, **options: Any) -> Window:
    """A window at the playground, in which this visitor is signed in already."""
    cookie = {"name": "pinxit_session", "value": visitor.session, "url": address, "sameSite": "Strict"}
    window = await browser.window(**options)
    await window.context.add_cookies([cookie])
    await window.open(f"{address}/console/playground")
    return window


async def bring(window: Window, how: str, data: bytes, name: str = "mine.png", type_: str = "image/png") -> None:
    """Let go a file over the page (`drop`), or press Ctrl+V (`paste`)."""
    text = json.dumps([base64.b64encode(data).decode(), name, type_])
    event = (
        "new DragEvent('drop', {dataTransfer: carried, bubbles: true, cancelable: true})"
        if how == "drop"
        else "new ClipboardEvent('paste', {clipboardData: carried, bubbles: true, cancelable: true})"
    )
    await window.run(
        f"{{ const [data, name, type] = {text}; const carried = new DataTransfer();"
        "carried.items.add(new File([Uint8Array.from(atob(data), (each) => each.charCodeAt(0))], name, {type}));"
        f"document.querySelector('main').dispatchEvent({event}); undefined }}"
    )


async def brush(window: Window, *places: tuple[float, float]) -> None:
    """One stroke through places of the picture, each side of which is 1 long."""
    await window.page.locator("#easel").scroll_into_view_if_needed()
    box = await window.page.locator("#mask").bounding_box()
    assert box is not None
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    await window.page.mouse.move(*points[0])
    await window.page.mouse.down()
    for point in points[1:]:
        await window.page.mouse.move(*point)
    await window.page.mouse.up()


async def test_a_part_of_a_picture_is_painted_anew(tmp_path: Path):
    """By otter-1: dropped, brushed, ordered, and sent once more as the Code tab says."""
    with serving(tmp_path / "server") as server:
        (link,) = re.findall(r"^  (http\S+/console/join\?token=\S+)$", server.output, re.MULTILINE)
        async with chromium() as browser:
            window = await browser.window()
            page = window.page
            await window.open(link)
            for name, text in (("name", "ada@example.com"), ("password", PASSWORD), ("again", PASSWORD)):
                await page.fill(f"[name={name}]", text)
            await page.keyboard.press("Enter")
            await page.wait_for_url("**/console/playground")
            await page.get_by_text("Nothing painted yet").wait_for()
            before = Image.effect_noise((256, 256), 64).convert("RGB")
            before.save(tmp_path / "noise.png")
            await bring(window, "drop", (tmp_path / "noise.png").read_bytes(), "noise.png")
            await page.get_by_text("256 × 256 · noise.png").wait_for()
            await page.locator(".chip", has_text="Only where I brush").click()
            await brush(window, (0.25, 0.3), (0.3, 0.3))
            await brush(window, (0.7, 0.7), (0.9, 0.8))
            await page.get_by_role("button", name="Undo").click()
            await brush(window, (0.25, 0.7), (0.75, 0.7))
            await page.locator(".chip", has_text="Eraser").click()
            await brush(window, (0.25, 0.3), (0.3, 0.3))
            await page.get_by_label("Prompt").fill("it's a red apple")
            await page.get_by_label("Strength").fill("1")
            await page.locator(".chip", has_text="256 × 256").click()
            assert await window.violations() == []
            await page.get_by_role("button", name="Paint").click()
            done = page.locator("#results .result:not(.busy)")
            await done.wait_for()
            after = Image.open(io.BytesIO(server.client.get(await href_of(done, "Download")).content)).convert("RGB")
            assert changes(before, after, (64, 168, 192, 190)) > 0.99, "where it was brushed"
            assert changes(before, after, (0, 0, 256, 150)) == 0, "where it was brushed and erased, and elsewhere"
            assert changes(before, after, (0, 210, 256, 256)) == 0
            assert await page.locator(".thumb").count() == 1

            await page.get_by_role("tab", name="Code").click()
            shown = {name: await page.locator(f"#as-{name}").inner_text() for name in ("json", "curl", "python")}
            compile(shown["python"], "as shown", "exec")
            assert 'image=open("noise.png", "rb")' in shown["python"]
            Image.new("LA", (256, 256)).save(tmp_path / "mask.png")
            curl = shown["curl"].replace("<API_KEY>", server.key) + " --silent"
            ran = subprocess.run(
                ["bash", "-c", curl], env=environment(), cwd=tmp_path, capture_output=True, timeout=60, check=True
            )
            assert json.loads(ran.stdout)["data"][0]["url"].startswith(server.url)
            assert window.complaints == []


async def href_of(place: Any, text: str) -> str:
    found: str = await place.get_by_text(text).get_attribute("href")
    return found


def changes(before: Image.Image, after: Image.Image, box: tuple[int, int, int, int]) -> float:
    """The share of the box's pixels that are others now."""
    old, new = (image.crop(box).tobytes() for image in (before, after))
    return sum(old[place : place + 3] != new[place : place + 3] for place in range(0, len(old), 3)) / (len(old) // 3)


async def test_true_steps_giving_up_and_the_latest_pictures(make_front: MakeFront):
    gates = {3: asyncio.Event()}
    far = Familiarity("<b>house</b>", 0.412, known=False)
    near = Familiarity("lighthouse", 1.0, known=True)
    front = await make_front(FakeBackend(gates=gates, familiarity=lambda order: far if order.seeds == (12,) else near))
    ada = await visitor_as(front, "ada")
    async with listening(front) as address, chromium() as browser:
        window = await window_of(browser, ada, address)
        page = window.page
        await page.get_by_label("Prompt").fill("a lighthouse")
        await page.locator(".chip", has_text="256 × 256").click()
        await page.get_by_role("spinbutton", name="Pictures").fill("2")
        await page.keyboard.press("Control+Enter")
        busy = page.locator("#results .busy")
        await busy.first.get_by_text("step 2 of 4").wait_for()
        await busy.last.get_by_text("step 0 of 4").wait_for()
        bars = "[...document.querySelectorAll('#results progress')].map((each) => each.value)"
        assert await window.run(bars) == [0.5, 0]
        await page.get_by_role("button", name="Cancel").click()
        await page.locator(".toast", has_text="Cancelled. Nothing was charged.").wait_for()
        await page.locator("#paint:not([disabled])").wait_for()
        assert await page.locator("#results .result").count() == 0
        (order,) = await front.rows(generations)
        (hold,) = await front.rows(holds)
        assert (order.status, hold.status, front.files()) == ("cancelled", "voided", [])

        gates[3].set()
        await page.get_by_role("spinbutton", name="Pictures").fill("1")
        for seed in ("11", "12"):
            await page.get_by_label("Seed", exact=True).fill(seed)
            await page.keyboard.press("Control+Enter")
            await page.locator("#results .result:not(.busy)", has_text=f"seed {seed}").wait_for()
            await page.locator("#paint:not([disabled])").wait_for()
        said = await page.locator("#results .result .far").all_inner_texts()
        assert said == ["fake-1 does not know this well; the nearest thing it knows is “<b>house</b>” (0.41)."]
        await page.locator(".thumb").nth(1).wait_for()
        await page.reload()
        assert await page.locator("#results .result").count() == 0
        await page.locator(".thumb").nth(1).click()
        facts = page.locator("#lightbox .facts")
        assert "11" in await facts.inner_text()
        assert await window.violations() == []
        await page.keyboard.press("ArrowLeft")
        assert "12" in await facts.inner_text()
        await page.keyboard.press("ArrowRight")
        await page.get_by_role("link", name="Use these settings again").click()
        assert await page.get_by_label("Seed", exact=True).input_value() == "11"
        await page.locator(".thumb").first.click()
        await page.get_by_role("link", name="Edit", exact=True).click()
        await page.get_by_text("256 × 256 · a-lighthouse-12.png").wait_for()
        assert window.complaints == []


async def test_what_cannot_be_begun_from_is_said_in_place(make_front: MakeFront):
    """And pictures come by each way; the brush is moved with the keyboard."""
    front = await make_front(max_upload_bytes=65_536)
    ada, bob = await visitor_as(front, "ada"), await visitor_as(front, "bob")
    image_id = (await bob.paint()).json()["data"][0]["id"]
    async with listening(front) as address, chromium() as browser:
        window = await window_of(browser, ada, address)
        page = window.page

        async def complains(said: str) -> None:
            await page.locator("#file-problem", has_text=said).wait_for()

        for data, type_, said in (
            (b"%PDF-1.7", "application/pdf", "no PNG, JPEG or WebP"),
            (b"\x89PNG\r\n\x1a\n and no more", "image/png", "damaged"),
            (b"x" * 60_000, "image/png", "0.1 MB can be sent"),
            (png((4097, 1)), "image/png", "4097 × 1 pixels; 4096"),
        ):
            await bring(window, "drop", data, type_=type_)
            await complains(said)
        assert not await page.locator("#begun").is_visible()
        for text in INJECTIONS[::12]:
            await bring(window, "paste", png(), f"{text}.png")
            await page.locator("#begun-name", has_text="64 × 48").wait_for()
            assert not await page.locator("#file-problem").is_visible()
            await page.get_by_role("button", name="Remove").click()
        moving = io.BytesIO()
        frames = [Image.new("RGB", (9, 9), colour) for colour in ("red", "blue")]
        frames[0].save(moving, "WEBP", save_all=True, append_images=frames[1:])
        file: Any = {"name": "moving.webp", "mimeType": "image/webp", "buffer": moving.getvalue()}
        await page.set_input_files("#file", file)
        await page.get_by_label("Prompt").fill("a lighthouse")
        await page.get_by_role("button", name="Paint").click()
        await complains("animated")
        assert front.backend.orders[1:] == []
        await bring(window, "paste", png())
        await page.get_by_text("64 × 48 · mine.png").wait_for()
        await page.locator(".chip", has_text="Only where I brush").click()
        await page.get_by_role("button", name="Paint").click()
        await complains("Brush over what is to change")
        await page.locator("#mask").focus()
        for key in ("ArrowLeft", "ArrowUp", "Space"):
            await page.keyboard.press(key)
        await page.keyboard.press("Control+Enter")
        await page.locator("#results .result:not(.busy)").wait_for()
        assert not await page.locator("#file-problem").is_visible()
        mask = front.backend.orders[-1].mask
        assert mask is not None
        assert (min(mask.data), max(mask.data)) == (0, 255)
        complaints = {each.partition(":")[0] for each in window.complaints}
        assert complaints <= {"Failed to load resource"}, window.complaints

        phone = await window_of(
            browser, ada, address, viewport=PHONE, has_touch=True, is_mobile=True, color_scheme="dark"
        )
        await phone.open(f"{address}/console/playground?edit={image_id}")
        await phone.page.locator(".toast.bad", has_text="not there any more").wait_for()
        assert not await phone.page.locator("#begun").is_visible()
        own = (await ada.get("/console/playground/latest")).json()["pictures"][0]
        await phone.open(address + own["edit"])
        await phone.page.locator(".chip", has_text="Only where I brush").tap()
        await phone.page.locator("#easel").scroll_into_view_if_needed()
        await phone.page.locator("#mask").tap()
        await phone.page.locator("#mask-undo:not([disabled])").wait_for()
        assert await phone.violations() == []
        assert not await phone.is_wider_than_the_window()
        assert phone.complaints == []
