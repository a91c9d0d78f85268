"""A headless Chromium (Debian's), and what it says of a page: errors, violations of its policy, axe's findings."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import axe_playwright_python
import uvicorn
from playwright.async_api import BrowserContext, Page, async_playwright

from front import Front

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text("utf-8")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}


@dataclass
class Window:
    """One browser with its own cookies. `complaints`: what it found wrong with any page."""

    context: BrowserContext
    page: Page
    complaints: list[str] = field(default_factory=list)

    async def open(self, url: str) -> None:
        await self.page.goto(url, wait_until="load")

    async def run(self, expression: str) -> Any:
        """The value of an expression, by the debugger: a page's own policy forbids `eval`."""
        session = await self.context.new_cdp_session(self.page)
        try:
            found = await session.send(
                "Runtime.evaluate", {"expression": expression, "awaitPromise": True, "returnByValue": True}
            )
        finally:
            await session.detach()
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def violations(self) -> list[str]:
        """What axe finds that is serious or critical, with the place."""
        await self.run(AXE)
        found = json.loads(await self.run("axe.run().then((results) => JSON.stringify(results.violations))"))
        return [
            f"{rule['id']}: {node['target']} {node['failureSummary']}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]

    async def is_wider_than_the_window(self) -> bool:
        return bool(await self.run("document.scrollingElement.scrollWidth > innerWidth"))


class Browser:
    """Opens windows."""

    def __init__(self, chromium: Any) -> None:
        self._chromium = chromium

    async def window(self, **options: Any) -> Window:
        """`options`: of a context, like viewport, color_scheme and storage_state."""
        context = await self._chromium.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
        context.set_default_timeout(15_000)
        page = await context.new_page()
        window = Window(context, page)
        page.on("pageerror", lambda error: window.complaints.append(f"error: {error}"))
        page.on(
            "console",
            lambda message: window.complaints.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("dialog", lambda dialog: window.complaints.append(f"a dialog: {dialog.message}"))
        return window


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield Browser(running)
        finally:
            await running.close()


@asynccontextmanager
async def listening(front: Front) -> AsyncIterator[str]:
    """The front on a port of loopback. Its address."""
    server = uvicorn.Server(uvicorn.Config(front.app, port=0, lifespan="off", log_config=None, access_log=False))
    config = server.config
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    port = server.servers[0].sockets[0].getsockname()[1]
    ticking = asyncio.create_task(server.main_loop())
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await ticking
        await server.shutdown()
