"""T9: whoever names an address for the server to go to, a webhook's or a picture's, cannot make it go inside."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web

from front import Front, MakeFront
from pinxit.database.tables import generations
from pinxit.keys.model import Scope


@dataclass
class Inside:
    """Something on loopback that nobody from outside should reach."""

    port: int = 0
    connections: int = 0

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        writer.close()


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    found = Inside()
    server = await asyncio.start_server(found.accept, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await server.wait_closed()


NAMES = [
    "http://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/",
    "https://127.1:{port}/",
    "https://localhost:{port}/",
    "https://LOCALHOST.:{port}/",
    "https://[::1]:{port}/",
    "https://[::ffff:127.0.0.1]:{port}/",
    "https://[64:ff9b::7f00:1]:{port}/",
    "https://0177.0.0.1:{port}/",
    "https://0x7f.0.0.1:{port}/",
    "https://2130706433:{port}/",
    "https://0:{port}/",
    "https://0.0.0.0:{port}/",
    "https://10.0.0.1:{port}/",
    "https://169.254.169.254/latest/meta-data/",
    "https://example.com@127.0.0.1:{port}/",
    "https://127.0.0.1:{port}#example.com",
    "https://127.0.0.1\\@example.com:{port}/",
    "gopher://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "https://127.0.0.1:{port}\r\nx: y/",
]


@pytest.mark.parametrize("name", NAMES)
async def test_no_picture_comes_from_inside(front: Front, inside: Inside, name: str):
    url = name.format(port=inside.port)
    body: dict[str, Any] = {"prompt": "x", "image_urls": [url]}
    answer = await front.client.post("/v1/images/edits", json=body, headers=front.authorization)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "image_urls[0]"), answer.text
    assert inside.connections == 0
    assert await front.rows(generations) == []


@pytest.mark.parametrize("name", NAMES)
async def test_no_webhook_leads_inside(front: Front, inside: Inside, name: str):
    """A name is refused when it is given, or at the latest when it is looked up."""
    front.key = await front.make_key(scopes=(Scope.WEBHOOKS_MANAGE,))
    body = {"url": name.format(port=inside.port)}
    answer = await front.client.post("/v1/webhooks", json=body, headers=front.authorization)
    if answer.status_code == 201:
        sent = f"/v1/webhooks/{answer.json()['id']}/test"
        assert (await front.client.post(sent, headers=front.authorization)).status_code == 201
        await front.house.deliverer.deliver_due()
    else:
        assert (answer.status_code, answer.json()["error"]["param"]) == (422, "url"), answer.text
    assert inside.connections == 0


async def test_no_redirect_leads_inside(make_front: MakeFront, inside: Inside):
    """The operator has admitted one network, and what answers there points at another."""

    async def point_inside(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"http://127.0.0.1:{inside.port}/"})

    application = web.Application()
    application.router.add_get("/a.png", point_inside)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.2", 0).start()
    try:
        front = await make_front(image_allowed_networks="127.0.0.2/32")
        url = f"http://127.0.0.2:{runner.addresses[0][1]}/a.png"
        answer = await front.client.post(
            "/v1/images/edits", json={"prompt": "x", "image_urls": [url]}, headers=front.authorization
        )
        assert answer.status_code == 422
        assert "302" in answer.json()["error"]["message"]
        assert inside.connections == 0
    finally:
        await runner.cleanup()
