"""Usage, the log of requests, and health on their pages."""

import csv
import html
import io
import re
from datetime import UTC, date, datetime

import pytest

from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.backends.interface import Familiarity
from pinxit.console.chart import HEIGHT, OTHER, WIDTH, draw, draw_lines, largest, round_up
from pinxit.console.formats import money, seconds, size, span
from pinxit.console.health import shown_settings
from pinxit.database.tables import generations
from pinxit.errors import BackendError
from pinxit.keys.model import Caller
from pinxit.keys.service import local_caller
from pinxit.routing.breaker import FAILURES_IN_A_ROW
from pinxit.routing.router import Candidate, LeftAlone
from pinxit.settings import ModelEntry, Settings
from pinxit.testing.fake_backend import FakeBackend
from visitor import Visitor, visitor_as

DEAR = ModelEntry.model_validate({"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]})
FAR = [{"id": name, "sizes": ["512x512"]} for name in ("far-1", "far-2")]
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
    *bars, times = re.findall(r"<title>([^<]+)</title></rect>", page)
    assert re.fullmatch(r"\d+ \w+: half in [\d.]+ s, 95 % in [\d.]+ s", times)
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
    assert 0 < float(line["median_seconds"]) == float(line["p95_seconds"]) < 60
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
    table = page[page.index("<tbody>") :]
    assert table.index("failed") < table.index("completed"), "the newest first"
    assert "$0.08" in page
    assert "upstream_error" in page
    shown = (await ada.get("/console/requests?prompts=shown")).text
    assert shown.count(SECRET_WORDS) == 3
    newest = re.findall(r"/console/requests/(gen_\w+)", page)[0]
    one = html.unescape((await ada.get(f"/console/requests/{newest}")).text)
    assert SECRET_WORDS not in one
    assert "The painter dropped <its> brush." in one
    assert SECRET_WORDS in (await ada.get(f"/console/requests/{newest}?prompt=shown")).text


async def test_what_the_model_does_not_know_is_said_with_the_prompt(front: Front, ada: Visitor):
    pages = {}
    for known in (True, False):
        front.backend.familiarity = lambda _, known=known: Familiarity("<b>otter</b>", 0.412, known=known)
        order = (await front.generate()).headers["x-pinxit-generation"]
        pages[known] = [(await ada.get(f"/console/requests/{order}{query}")).text for query in ("", "?prompt=shown")]
    assert not [page for page in pages[True] if "does not know this well" in page]
    hidden, shown = pages[False]
    assert "fake-1 does not know this well.<" in hidden
    assert "otter" not in hidden, "it would tell of the prompt"
    nearest = "the nearest thing it knows is “&lt;b&gt;otter&lt;/b&gt;” (0.41)."
    assert f"fake-1 does not know this well; {nearest}" in shown


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


def log_of(page: str) -> list[str]:
    """The orders on a page of the log."""
    return re.findall(r'<a href="/console/requests/(gen_\w+)"', page)


@pytest.mark.both_databases
async def test_what_the_log_is_looked_through_for(front: Front, ada: Visitor):
    await furnish(front)
    front.backend.failure = lambda _: None
    await ada.paint(prompt="A 100% Ä-shaped tower")
    key = (await front.house.services.keys.list(front_caller()))[0].id
    tower, failed, free, dear = log_of((await ada.get("/console/requests")).text)
    await front.house.database.write(
        lambda connection: connection.execute(
            generations.update()
            .where(generations.c.id == dear)
            .values(created_at=datetime(2026, 1, 31, 23, tzinfo=UTC))
        )
    )

    async def found(**query: str) -> list[str]:
        response = await ada.get("/console/requests", params=query)
        assert response.status_code == 200
        return log_of(response.text)

    assert await found() == [tower, failed, free, dear]
    assert await found(status="completed") == [tower, free, dear]
    assert await found(status="failed") == [failed]
    assert await found(status="open") == await found(status="cancelled") == []
    assert (
        await found(model="dear")
        == await found(to="2026-01-31")
        == await found(to="2026-01-31", model="dear")
        == [dear]
    )
    assert await found(model="<no such>") == await found(to="2026-01-30") == []
    assert await found(**{"from": "2026-02-01"}) == [tower, failed, free]
    assert await found(**{"from": "2026-01-31", "to": "2026-01-31", "key": key}) == [dear]
    assert await found(key="none") == [tower]
    assert await found(key=key, status="completed") == [free, dear]
    assert await found(error="upstream_error") == [failed]
    assert await found(error="upstream_timeout") == await found(error="internal_error") == []
    assert await found(prompts="shown", q="ä-SHAPED 100%") == [tower]
    assert await found(prompts="shown", q="private 100%") == await found(prompts="shown", q="_") == []
    assert await found(q="tower") == [tower, failed, free, dear], "prompts are looked through only where they are shown"
    await front.house.database.write(
        lambda connection: connection.execute(
            generations.update().where(generations.c.id == failed).values(error_class="OfTheFuture")
        )
    )
    assert await found(error="internal_error") == [failed], "a class that this version does not know"


NO_FILTERS = [
    {"status": "done"},
    {"error": "not_found_error"},
    {"from": "yesterday"},
    {"to": "9999-12-31"},
    {"from": "2026-02-02", "to": "2026-02-01"},
]


async def test_a_filter_that_is_none_is_said(ada: Visitor):
    for query in NO_FILTERS:
        response = await ada.get("/console/requests", params=query)
        assert (response.status_code, 'role="alert"' in response.text) == (422, True), query


async def test_filters_stay_from_page_to_page(front: Front, ada: Visitor, monkeypatch: pytest.MonkeyPatch):
    """Also where one look does not go through everything."""
    monkeypatch.setattr("pinxit.console.requests.PAGE", 2)
    monkeypatch.setattr("pinxit.generations.search.LOOKED_THROUGH", 3)
    for number in range(9):
        await front.generate(model="dear" if number in (0, 1, 2, 3, 7) else "fake-1", prompt=f"wanted {number}")
    seen: list[str] = []
    pages = 0
    path: str | None = "/console/requests?model=dear&prompts=shown&q=wanted&status=completed&from=2026-01-01"
    while path:
        page = (await ada.get(path)).text
        pages += 1
        seen += re.findall(r"wanted (\d)</span>", page)
        onward = re.search(r'href="([^"]+)">(Older|Look further back)', page)
        path = html.unescape(onward[1]) if onward else None
        assert path is None or ("model=dear" in path and "q=wanted" in path and "status=completed" in path)
    assert seen == ["7", "3", "2", "1", "0"]
    assert pages > 3


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


async def test_how_providers_are(make_front: MakeFront):
    """One that fails is left alone, and an admin has it tried again."""
    there = {"kind": "openai_compatible", "base_url": "http://127.0.0.1:9/v1", "models": FAR}
    front = await make_front(providers={"far": there})
    ada = await visitor_as(front, "ada", Role.ADMIN, "acct_default")

    async def health() -> str:
        return html.unescape((await ada.get("/console/health")).text)

    page = await health()
    assert ("0 being painted, 0 waiting" in page, "not asked" in page, "Try again now" in page) == (True, True, False)
    router, candidate = front.house.services.router, Candidate("far/far-1", "far", 0)
    for _ in range(FAILURES_IN_A_ROW):
        router.failed(candidate, router.admit(candidate), "It said <sk-abcdefghijklmnop> and hung up.")
    page = await health()
    for told in ("left alone", "3 orders in a row failed", "It said <sk-…> and hung up.", "next try in"):
        assert told in page
    with pytest.raises(LeftAlone):
        router.admit(candidate)
    assert (await ada.post("/console/health/try", painter="far/far-1")).status_code == 303
    page = await health()
    assert ("on trial" in page, "Try again now" in page) == (True, False)
    router.succeeded(candidate, router.admit(candidate), 1.5)
    page = await health()
    assert (">well<" in page, "1.5 s" in page) == (True, True)
    assert (await ada.post("/console/health/try", painter="nobody")).status_code == 404


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


def test_lines_end_where_there_was_nothing():
    days = [date(2026, 11, number) for number in range(1, 6)]
    values = {days[0]: (0.5, 1.0), days[1]: (1.0, 2.0), days[3]: (0.25, 0.5)}
    chart = draw_lines(values, days, ("half", "most"))
    assert (chart.top, chart.marks, chart.slot_width) == (2.0, (2.0, 1.0, 0), 200)
    half, most = chart.lines
    assert half.paths == ("M100.00 150.00L300.00 100.00",), "a day alone has a dot only"
    assert [round(y) for _, y in most.dots] == [100, 0, 150]
    assert [(day, left) for day, left, _ in chart.slots] == [(days[0], 0), (days[1], 200), (days[3], 600)]


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
    assert [span(each) for each in (0.2, 1, 89, 90, 7200, 4 * 86_400)] == [
        "0 seconds",
        "1 second",
        "89 seconds",
        "2 minutes",
        "2 hours",
        "4 days",
    ]
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
