"""Takes the pictures of the console anew, with real ones in it: `make screenshots` (needs Debian's chromium)."""

import io
import json
import random
import re
import sqlite3
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, StorageState, sync_playwright

HERE = Path(__file__).parent
PINXIT = Path(sys.executable).with_name("pinxit")
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
PASSWORD = "only for these pictures"  # noqa: S105 - of a server that lives for a minute
PICTURES = [
    ("a slice of pizza", 1),
    ("a fox on a snowy night", 7),
    ("a sunflower", 1),
    ("a hamburger", 1),
    ("a glass of red wine", 2),
    ("three rockets in space", 7),
]
KEYS = [
    {"name": "website", "budget_per_month": "25", "requests_per_minute": "60"},
    {"name": "newsletter", "budget": "5", "expires_in_days": "90"},
    {"name": "notebooks", "concurrency": "2"},
]
MODELS = """
providers:
  basement:
    kind: openai_compatible
    base_url: http://127.0.0.1:9/v1
    models: [{id: flux-dev, sizes: [1024x1024], seed: true, prices: [{usd: 0.002}]}]
model_list:
  - model_name: posters
    description: Large pictures, wherever there is room
    backends: [{model: basement/flux-dev, weight: 3}, {model: otter/otter-1}]
  - model_name: icons
    description: Small pictures, quickly
    params: {model: otter/otter-1, num_inference_steps: 16, size: 256x256}
    prices: [{usd: 0.001}, {usd: 0.002, quality: high}]
"""


@dataclass
class Server:
    """A server that has been started for the first time."""

    url: str
    key: str
    link: str


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """`pinxit serve` over a new folder, until the end of the block."""
    (folder / "pinxit.yaml").write_text(MODELS)
    command = [PINXIT, "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        said = ""
        while "/console/join" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        try:
            yield Server(
                re.search(r"serves (\S+)", said)[1],  # type: ignore[index]
                re.search(r"^  (sk-\S+)$", said, re.M)[1],  # type: ignore[index]
                re.search(r"http\S+/console/join\S+", said)[0],  # type: ignore[index]
            )
        finally:
            process.terminate()


def furnish(server: Server, folder: Path) -> None:
    """Some pictures and keys, as people would have them."""
    for key in KEYS:
        options = [f"--{name.replace('_', '-')}={value}" for name, value in key.items()]
        subprocess.run([PINXIT, "keys", "create", *options], cwd=folder, check=True, capture_output=True)  # noqa: S603
    for model, (prompt, seed) in zip(["otter-1"] * 5 + ["icons"], PICTURES, strict=True):
        body = {"model": model, "prompt": prompt, "seed": seed, "quality": "high", "size": "512x512"}
        request = urllib.request.Request(  # noqa: S310 - our own server
            f"{server.url}/v1/images/generations",
            json.dumps(body).encode(),
            {"authorization": server.key, "content-type": "application/json"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310
            answer.read()


def age(folder: Path) -> None:
    """A month's worth of orders like those that were painted, so that there is something to see in the charts."""
    chance = random.Random(1)  # noqa: S311 - for looks
    with closing(sqlite3.connect(folder / "data" / "pinxit.db", timeout=30)) as database, database:
        database.row_factory = sqlite3.Row
        kept = [dict(row) for row in database.execute("SELECT * FROM generations")]
        icons = [order for order in kept if order["model"] == "icons"]
        keys = [row["id"] for row in database.execute("SELECT id FROM api_keys")]
        for number in range(1200):
            back = int(86_400_000_000 * (29 * chance.random() ** 1.4 + 0.1))
            order = chance.choice([*kept, *icons * 8])
            failed = chance.random() < 0.02
            new = order | {
                "id": f"gen_{number:032x}",
                "api_key_id": chance.choice(keys),
                "created_at": order["created_at"] - back,
                "finished_at": order["finished_at"] - back,
                "status": "failed" if failed else "completed",
                "storage_keys": "[]",
                "cost_micros": 0 if failed else order["cost_micros"],
                "image_count": 0 if failed else order["image_count"],
            }
            columns, places = ", ".join(new), ", ".join("?" * len(new))
            database.execute(f"INSERT INTO generations ({columns}) VALUES ({places})", list(new.values()))  # noqa: S608


def join(page: Page, link: str) -> None:
    page.goto(link)
    page.fill("[name=name]", "ada@example.com")
    page.fill("[name=password]", PASSWORD)
    page.fill("[name=again]", PASSWORD)
    page.click("button.primary")
    page.wait_for_url("**/console/playground")


def paint(page: Page, prompt: str, seed: int, n: int = 1) -> None:
    page.fill("[name=prompt]", prompt)
    page.fill("[name=seed]", str(seed))
    page.fill("[name=n]", str(n))
    before = page.locator("#results .result").count()
    page.keyboard.press("Control+Enter")
    page.locator("#results .result:not(.busy)").nth(before + n - 1).wait_for()


def brush_over(page: Page) -> None:
    """Begin from the newest picture, and brush over the rocket's window."""
    page.locator("#results").get_by_role("button", name="Edit").first.click()
    page.locator(".chip", has_text="Only where I brush").click()
    page.locator("#easel").scroll_into_view_if_needed()
    box = page.locator("#mask").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.62, box["y"] + box["height"] * 0.32)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.68, box["y"] + box["height"] * 0.38)
    page.mouse.up()
    page.locator("#mask-undo:not([disabled])").wait_for()


def take(page: Page, name: str) -> None:
    """Few colours are enough, and keep the repository small."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(192, dither=Image.Dither.NONE).save(HERE / f"console-{name}.png", optimize=True)


def take_reports(browser: Browser, server: Server, state: StorageState, folder: Path) -> None:
    age(folder)
    light = browser.new_context(viewport=DESKTOP, storage_state=state).new_page()
    light.goto(f"{server.url}/console/usage", wait_until="networkidle")
    take(light, "usage")
    light.goto(f"{server.url}/console/webhooks")
    light.get_by_role("button", name="Add a webhook").first.click()
    light.fill("dialog [name=url]", "https://photos.example.com/hooks/pictures")
    light.fill("dialog [name=description]", "The photo booth")
    light.get_by_role("button", name="Add", exact=True).click()
    light.locator("#created").wait_for()
    take(light, "webhook-created")
    dark = browser.new_context(viewport=DESKTOP, color_scheme="dark", storage_state=state).new_page()
    dark.goto(f"{server.url}/console/health", wait_until="networkidle")
    take(dark, "health-dark")
    phone = browser.new_context(viewport=PHONE, storage_state=state, device_scale_factor=2).new_page()
    phone.goto(f"{server.url}/console/requests", wait_until="networkidle")
    take(phone, "requests-phone")


def take_all(browser: Browser, server: Server, folder: Path) -> None:
    first = browser.new_context(viewport=DESKTOP)
    page = first.new_page()
    join(page, server.link)
    paint(page, "a fox, flat style", 2)
    paint(page, "a rocket, 3d style", 1, n=2)
    page.locator("h1").click()
    page.locator("#tab-form").scroll_into_view_if_needed()
    take(page, "playground")
    brush_over(page)
    take(page, "playground-edit")
    page.goto(f"{server.url}/console/gallery", wait_until="networkidle")
    take(page, "gallery")
    page.locator(".tile").first.click()
    page.wait_for_load_state("networkidle")
    take(page, "picture")
    page.goto(f"{server.url}/console/keys")
    take(page, "keys")
    page.get_by_role("button", name="Create a key").click()
    page.fill("dialog [name=name]", "photo booth")
    page.get_by_role("button", name="Create", exact=True).click()
    page.locator("#created").wait_for()
    take(page, "key-created")
    state = first.storage_state()
    dark = browser.new_context(viewport=DESKTOP, color_scheme="dark", storage_state=state).new_page()
    dark.goto(f"{server.url}/console/models", wait_until="networkidle")
    take(dark, "models-dark")
    page.goto(f"{server.url}/console/models/about?model=posters", wait_until="networkidle")
    page.select_option("[name=sort]", "weight")
    page.locator("[name='weight:basement/flux-dev']").fill("7")
    page.locator("[name=aliases]").fill("large-*\nbanner")
    page.get_by_role("button", name="Save").click()
    page.locator(".toast").wait_for()
    page.locator("#model-settings").scroll_into_view_if_needed()
    page.evaluate("scrollTo(0, document.querySelector('#model-settings').offsetTop - 16)")
    take(page, "model-settings")
    phone = browser.new_context(viewport=PHONE, storage_state=state, device_scale_factor=2).new_page()
    phone.goto(f"{server.url}/console/playground", wait_until="networkidle")
    take(phone, "playground-phone")
    night = browser.new_context(
        viewport=PHONE, color_scheme="dark", storage_state=state, device_scale_factor=2
    ).new_page()
    night.goto(f"{server.url}/console/gallery", wait_until="networkidle")
    take(night, "gallery-phone-dark")
    night.goto(f"{server.url}/console/keys", wait_until="networkidle")
    take(night, "keys-phone-dark")
    take_reports(browser, server, state, folder)


def main() -> None:
    with tempfile.TemporaryDirectory() as name, serving(Path(name)) as server, sync_playwright() as playwright:
        furnish(server, Path(name))
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        take_all(browser, server, Path(name))
        browser.close()


if __name__ == "__main__":
    main()
