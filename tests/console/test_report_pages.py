"""Usage, the log of requests, and health on their pages."""

import csv
import html
import io
import re
from datetime import date

import pytest

from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.console.chart import HEIGHT, OTHER, WIDTH, draw, largest, round_up
from pinxit.console.formats import money, seconds, size
from pinxit.console.health import shown_settings
from pinxit.errors import BackendError
from pinxit.keys.model import Caller
from pinxit.keys.service import local_caller
from pinxit.settings import ModelEntry, Settings
from pinxit.testing.fake_backend import FakeBackend
from visitor import Visitor, visitor_as

DEAR = ModelEntry.model_validate({"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]})
SECRET_WORDS = "a very private lighthouse"


@pytest.fixture
async def front(make_front: MakeFront) -> Front:
    return await make_front(model_list=(DEAR,))


@pytest.fixture
async def ada(front: Front) -> Visitor:
    return await visitor_as(front, "ada", Role.ADMIN, "acct_default")


async def furnish(front: Front) -> None:
    """Two dear pictures, a free one, and one that failed."""
    await front.generate(model="dear", n=2, prompt=SECRET_WORDS)
    await front.generate(prompt=SECRET_WORDS)
    front.backend.failure = lambda _: BackendError("The painter dropped <its> brush.")
    assert (await front.generate(prompt=SECRET_WORDS)).status_code >= 500


def tiles(page: str) -> dict[str, str]:
    found = re.findall(r"<dt>(\w+)[^<]*</dt><dd[^>]*>([^<]*)</dd>", page)
    return dict(found)


async def test_nothing_yet(ada: Visitor):
    assert "Nothing was painted" in (await ada.get("/console/usage")).text
    assert "No requests yet" in (await ada.get("/console/requests")).text


async def test_what_it_adds_up_to(front: Front, ada: Visitor):
    await furnish(front)
    response = await ada.get("/console/usage")
    page = html.unescape(response.text)
    assert tiles(page) == {"cost": "$0.08", "pictures": "3", "orders": "3", "errors": "1"}
    assert "errors, 33.3 %" in page
    bars = re.findall(r"<title>([^<]+)</title></rect>", page)
    assert [bar.partition(" · ")[2] for bar in bars] == ["dear: $0.08", "dear: 2", "fake-1: 1", "fake-1: 1"]
    assert page.index("By model") < page.index(">dear<", page.index("By model")) < page.index("By key")
    assert SECRET_WORDS not in page
    assert " style=" not in page


async def test_filters(front: Front, ada: Visitor):
    await furnish(front)
    await ada.paint()
    key = (await front.house.services.keys.list(front_caller()))[0].id

    async def orders(**query: str) -> str:
        return tiles((await ada.get("/console/usage", params=query)).text).get("orders", "0")

    assert await orders() == "4"
    assert await orders(model="dear") == "1"
    assert await orders(key=key) == "3"
    assert await orders(key="none") == "1"
    assert await orders(model="dear", key="none") == "0"
    assert await orders(model="<no such>") == "0"
    assert await orders(**{"from": "2020-01-01", "to": "2020-01-31"}) == "0"


@pytest.mark.parametrize(
    "days",
    [{"from": "yesterday"}, {"from": "2026-02-30"}, {"from": "2026-02-02", "to": "2026-01-01"}, {"to": "9999-12-31"}],
)
async def test_days_that_are_none_are_said(ada: Visitor, days: dict[str, str]):
    response = await ada.get("/console/usage", params=days)
    assert response.status_code == 422
    assert 'role="alert"' in response.text
    assert (await ada.get("/console/usage.csv", params=days)).status_code == 422


async def test_the_sums_for_a_spreadsheet(front: Front, ada: Visitor):
    await furnish(front)
    link = re.search(r'href="(/console/usage\.csv[^"]*)"', (await ada.get("/console/usage?model=dear")).text)
    assert link is not None
    response = await ada.get(html.unescape(link[1]))
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(
        r'attachment; filename="usage-[\d-]{10}-[\d-]{10}\.csv"', response.headers["content-disposition"]
    )
    (line,) = csv.DictReader(io.StringIO(response.text))
    told = {name: line[name] for name in ("model", "key_name", "orders", "images", "errors", "cost_micros")}
    assert told == {
        "model": "dear",
        "key_name": "test",
        "orders": "1",
        "images": "2",
        "errors": "0",
        "cost_micros": "80000",
    }


async def test_the_log_hides_prompts_until_asked(front: Front, ada: Visitor):
    await furnish(front)
    page = (await ada.get("/console/requests")).text
    assert SECRET_WORDS not in page
    assert page.count("<tr>") == 4
    assert page.index("failed") < page.index("completed"), "the newest first"
    assert "$0.08" in page
    assert "upstream_error" in page
    shown = (await ada.get("/console/requests?prompts=shown")).text
    assert shown.count(SECRET_WORDS) == 3
    newest = re.findall(r"/console/requests/(gen_\w+)", page)[0]
    one = html.unescape((await ada.get(f"/console/requests/{newest}")).text)
    assert SECRET_WORDS not in one
    assert "The painter dropped <its> brush." in one
    assert SECRET_WORDS in (await ada.get(f"/console/requests/{newest}?prompt=shown")).text


async def test_the_log_goes_on_and_has_an_end(front: Front, ada: Visitor, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pinxit.console.requests.PAGE", 2)
    for _ in range(5):
        await front.generate()
    seen: list[str] = []
    path: str | None = "/console/requests?prompts=shown"
    while path:
        page = (await ada.get(path)).text
        seen += re.findall(r"/console/requests/(gen_\w+)", page)
        assert "a lighthouse" in page, "prompts stay shown"
        older = re.search(r'href="([^"]+)">Older', page)
        path = html.unescape(older[1]) if older else None
    assert len(seen) == len(set(seen)) == 5
    assert (await ada.get("/console/requests?after=gen_none")).status_code == 404


async def test_nobody_sees_another_account_s(front: Front, ada: Visitor):
    await furnish(front)
    order = re.findall(r"/console/requests/(gen_\w+)", (await ada.get("/console/requests")).text)[0]
    member = await visitor_as(front, "member")
    assert "No requests yet" in (await member.get("/console/requests")).text
    assert "Nothing was painted" in (await member.get("/console/usage")).text
    assert (await member.get(f"/console/requests/{order}")).status_code == 404
    assert (await member.get(f"/console/requests?after={order}")).status_code == 404
    assert len((await member.get("/console/usage.csv")).text.splitlines()) == 1


async def test_how_the_server_is(make_front: MakeFront):
    front = await make_front(FakeBackend(open_error="The brush <b> is missing."), moderation_words=("terribleword",))
    ada = await visitor_as(front, "ada", Role.ADMIN, "acct_default")
    page = html.unescape((await ada.get("/console/health")).text)
    assert "The brush <b> is missing." in page
    assert re.search(r"<dt>Product</dt><dd>SQLite \d", page)
    assert re.search(r"<dt>Answers in</dt><dd>\d+\.\d ms", page)
    assert re.search(r"disk left</dt><dd[^>]*>[\d.]+ [GTM]iB", page)
    assert "terribleword" not in page
    assert "1 of them" in page


async def test_a_full_disk_is_said(make_front: MakeFront):
    front = await make_front(min_free_disk_bytes=2**60)
    ada = await visitor_as(front, "ada", Role.ADMIN, "acct_default")
    assert "new orders are refused" in (await ada.get("/console/health")).text


def test_secrets_are_no_settings_to_show():
    settings = Settings.model_validate(
        {"database_url": "postgresql://me:hunter2@db/pinxit", "moderation_words": ["hunter2"], "port": 1}
    )
    shown = {name: (value, is_set) for name, value, is_set, _ in shown_settings(settings)}
    assert "hunter2" not in str(shown)
    assert shown["port"] == ("1", True)
    assert shown["host"] == ("127.0.0.1", False)


# --- drawing ---


@pytest.mark.parametrize(
    ("value", "top"),
    [
        (0, 2),
        (1, 2),
        (2, 2),
        (3, 4),
        (5, 6),
        (7, 10),
        (10, 10),
        (11, 20),
        (99, 100),
        (100, 100),
        (101, 200),
        (40_001, 60_000),
    ],
)
def test_the_upper_edge_is_round_and_its_half_is_whole(value: int, top: int):
    assert round_up(value) == top


def test_bars_stand_on_one_another_within_the_drawing():
    days = [date(2026, 11, 1), date(2026, 11, 2), date(2026, 11, 3)]
    values = {(days[0], "a"): 3, (days[0], "b"): 1, (days[2], "b"): 2}
    chart = draw(values, days, ("a", "b"))
    assert (chart.top, chart.total, chart.marks) == (4, 6, (4, 2, 0))
    lower, upper, last = chart.bars
    assert (lower.y, lower.height) == (HEIGHT / 4, HEIGHT * 3 / 4)
    assert (upper.y, upper.height) == (0, HEIGHT / 4)
    assert last.x + last.width <= WIDTH
    assert lower.x == upper.x
    assert chart.shown_days == tuple(days)


def test_the_smallest_series_are_one():
    names = largest({f"m{number}": number for number in range(9)})
    assert names == ("m8", "m7", "m6", "m5", "m4", OTHER)
    assert largest({"b": 1, "a": 1}) == ("a", "b")


def test_numbers_as_people_write_them():
    assert [seconds(each) for each in (None, 0.44, 12.2, 200)] == ["–", "0.44 s", "12 s", "3 min 20 s"]
    assert [size(each) for each in (None, 10, 1536, 5 * 2**40, 5000 * 2**40)] == [
        "–",
        "10 bytes",
        "1.5 KiB",
        "5.0 TiB",
        "5000.0 TiB",
    ]

    assert [money(each) for each in (0, 2, 999_999, 1_004_999, 1_005_000, 1_234_567_890)] == [
        "$0.00",
        "$0.000002",
        "$0.999999",
        "$1.00",
        "$1.01",
        "$1\u202f234.57",
    ]


def front_caller() -> Caller:
    return local_caller("acct_default")
