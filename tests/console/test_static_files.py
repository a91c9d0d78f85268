"""The files beside the pages: kept for ever where their address says what is in them, and nothing else is given out."""

import re

import pytest

from front import Front
from pinxit.console.rendering import Static

FILES = (
    "console.css",
    "console.js",
    "gallery.css",
    "gallery.js",
    "playground.css",
    "playground.js",
    "theme.js",
    "logo.svg",
    "otter-1.webp",
)


@pytest.mark.parametrize("name", FILES)
async def test_a_file_is_asked_for_again_only_when_it_changed(front: Front, name: str):
    first = await front.client.get(f"/console/static/{name}")
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    again = await front.client.get(f"/console/static/{name}", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    pinned = await front.client.get(Static().url(name))
    expected = "no-cache" if name.endswith(".js") else "public, max-age=31536000, immutable"
    assert pinned.headers["cache-control"] == expected
    other = await front.client.get(f"/console/static/{name}?v=another")
    assert other.headers["cache-control"] == "no-cache"


TRICKS = [
    "../door.py",
    "..%2fdoor.py",
    "%2e%2e/door.py",
    "..\\door.py",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "console.css%00",
    "console.css/",
    "CONSOLE.CSS",
    "",
    ".",
    "x" * 5000,
]


@pytest.mark.parametrize("name", TRICKS, ids=lambda name: name[:20])
async def test_nothing_else_is_there(front: Front, name: str):
    response = await front.client.get(f"/console/static/{name}")
    assert response.status_code in (303, 404), "303: to the sign-in, for a page that is not there either"
    assert "import" not in response.text


async def test_the_pages_are_the_only_ones_to_name_scripts(front: Front):
    page = (await front.client.get("/console/sign-in")).text
    assert re.findall(r'<script[^>]*src="([^"]+)"', page) == ["/console/static/theme.js", "/console/static/console.js"]
    assert not re.search(r"<script(?![^>]*src=)|<style| style=| on\w+=", page)
