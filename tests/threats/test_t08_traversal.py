"""T8: no name in a path leads to a file: paths come from rows, and nothing outside the data folder is opened."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest

from asgi import call
from front import Front
from pinxit.keys.model import Scope

DOTS = ["..", "%2e%2e", "%252e%252e", ".%2e", "..%00", "....//", "..;", "%c0%ae%c0%ae", "%uff0e%uff0e", "․․"]
SLASHES = ["/", "%2f", "%252f", "\\", "%5c", "%255c", "//", "/./", "%c0%af", "%ef%bc%8f"]
TARGETS = ["etc/passwd", "pinxit.db", "signing.key"]
ABSOLUTE = [
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "/proc/self/environ",
    "/proc/self/fd/3",
    "/dev/stdin",
    "C:\\windows\\win.ini",
    "C:%5cwindows%5cwin.ini",
    "\\\\localhost\\c$\\x",
    "//localhost/c$/x",
    "file:///etc/passwd",
    "file:%2f%2f%2fetc%2fpasswd",
    "file://localhost/etc/passwd",
    "http://127.0.0.1/",
    "~/.ssh/id_rsa",
    "~root/x",
    "$HOME/x",
    "${HOME}/x",
    "`id`",
    "$(id)",
    "|id",
    ";id",
    "%00",
    "%00/etc/passwd",
    "generated",
    "generated/",
    "generated%2F",
    "generated/.",
    "generated/..",
    "generated/../generated",
    "generated/pinxit_",
    "generated/*",
    "generated/pinxit_*.png",
    "generated/pinxit_%25.png",
    "generated/%",
    "generated/pinxit_00000000-0000-4000-8000-000000000000.png.part",
    "generated/pinxit_00000000-0000-4000-8000-000000000000.png/../x",
    "generated/00/pinxit_00000000-0000-4000-8000-000000000000.png",
    "con",
    "nul",
    "aux.png",
    "x.png:stream",
    ".",
    "..",
    "...",
    ".write-probe",
    "pinxit.db-wal",
    "pinxit.lock",
    "a" * 5_000,
    "../" * 1_500,
    "%2e%2e%2f" * 500,
    "%ff%fe",
    "%ed%a0%80",
    "%",
    "%2",
    "%zz",
    "é/../è",
    "\u202e../x",
]
CORPUS = [
    *[dots + slash + target for dots, slash, target in product(DOTS, SLASHES, TARGETS)],
    *[(dots + slash) * 6 + "etc/passwd" for dots, slash in product(DOTS[:4], SLASHES)],
    *ABSOLUTE,
]
ROUTES = [
    "/image/{}",
    "/image/generated%2F{}",
    "/v1/models/{}",
    "/v1/images/{}",
    "/v1/generations/{}",
    "/v1/keys/{}",
]


def test_the_corpus_is_large():
    assert len(set(CORPUS)) >= 390


_opened: list[str] | None = None


def _note_opens(event: str, arguments: tuple[object, ...]) -> None:
    if _opened is not None and event == "open":
        _opened.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else str(arguments[0]))


sys.addaudithook(_note_opens)  # there is no way to take it away again


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """The names of all files that this process opens meanwhile."""
    global _opened
    _opened = seen = []
    try:
        yield seen
    finally:
        _opened = None


def inside(name: str, folder: Path) -> bool:
    return name.isdecimal() or Path(name).resolve().is_relative_to(folder.resolve())


@pytest.mark.parametrize("route", ROUTES)
async def test_no_name_leads_anywhere(front: Front, route: str):
    front.key = await front.make_key(scopes=tuple(Scope))
    header = (b"authorization", front.key.encode())
    url = (await front.generate()).json()["data"][0]["url"]
    folder = front.house.services.settings.data_dir
    with opened_files() as opened:
        for text in CORPUS:
            for method in ("GET", "DELETE"):
                answer = await call(front.app, method, route.format(text).encode(), [header])
                assert answer.status in (404, 405), f"{method} {text}: {answer.status}"
                assert answer.json()["error"]["code"] == answer.status
        assert (await front.client.get(url)).status_code == 200
    assert any("generated" in name for name in opened), "the hook saw nothing"
    assert [name for name in opened if not inside(name, folder)] == []
    assert len(front.files()) == 1


async def test_names_in_a_body_lead_nowhere(front: Front):
    with opened_files() as opened:
        for text in CORPUS:
            assert (await front.generate(model=text)).status_code == 404
            assert (await front.generate(size=text)).status_code == 422
    assert [name for name in opened if not inside(name, front.house.services.settings.data_dir)] == []
    assert front.files() == []


@pytest.mark.parametrize(
    "proposed", ["gen_../../x", "gen_" + "0" * 31, "gen_" + "0" * 33, "gen_" + "A" * 32, "", "img_" + "0" * 32]
)
async def test_an_order_s_proposed_id_has_one_form(front: Front, proposed: str):
    response = await front.generate({"x-pinxit-generation": proposed})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "x-pinxit-generation")
