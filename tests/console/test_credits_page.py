"""Credits on their page: whose they are, what moved them, and money that is paid in once."""

import asyncio
import html
import re
from datetime import UTC, datetime, timedelta

import pytest

from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.database.tables import accounts, ledger_accounts, transfers
from pinxit.errors import BackendError
from pinxit.ledger.invariants import check
from pinxit.settings import ModelEntry
from scripts import INJECTIONS
from visitor import Visitor, visitor_as

DEAR = ModelEntry.model_validate({"model_name": "dear", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.04}]})
TRANSFER = "tr_" + "5" * 32


@pytest.fixture
async def front(make_front: MakeFront) -> Front:
    return await make_front(model_list=(DEAR,), billing="credits")


@pytest.fixture
async def ada(front: Front) -> Visitor:
    return await visitor_as(front, "ada", Role.ADMIN, "acct_default")


def tiles(page: str) -> dict[str, str]:
    return dict(re.findall(r"<dt>([^<]*)</dt><dd[^>]*>([^<]*)</dd>", page))


def moves(page: str) -> list[str]:
    return re.findall(r"[+−]\$[\d.]+", page)


async def pay_in(visitor: Visitor, usd: str = "12.50", **fields: str) -> str:
    """As the two forms of the page do. Where the answer leads."""
    review = await visitor.post("/console/credits/review", usd=usd, **fields)
    assert review.status_code == 200, review.text
    sent = dict(re.findall(r'<input type="hidden" name="(transfer|account|usd|note)" value="([^"]*)">', review.text))
    answer = await visitor.post("/console/credits/top-up", **{name: html.unescape(each) for name, each in sent.items()})
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])


@pytest.mark.both_databases
async def test_what_was_paid_in_and_what_was_spent(front: Front, ada: Visitor):
    assert "No money has moved yet" in (await ada.get("/console/credits")).text
    assert await pay_in(ada, note="Invoice <7>") == "/console/credits?done=paid"
    await front.generate(model="dear", n=2)
    front.backend.failure = lambda _: BackendError("It broke.")
    await front.generate(model="dear")
    page = (await ada.get("/console/credits")).text
    assert tiles(page) == {
        "to spend": "$12.42",
        "held for open orders": "$0.00",
        "spent this month": "$0.08",
    }
    assert moves(page) == ["−$0.08", "+$12.50"], "the newest first, and nothing for what failed"
    assert "Invoice &lt;7&gt;" in page
    order = re.search(r"/console/requests/gen_\w+", page)
    assert order is not None
    assert (await ada.get(order[0])).status_code == 200
    assert await front.house.database.read(check) == []


@pytest.mark.both_databases
async def test_a_form_sent_twice_pays_once(front: Front, ada: Visitor):
    fields = {"account": "acct_default", "usd": "5", "transfer": TRANSFER}
    answers = await asyncio.gather(*(ada.post("/console/credits/top-up", **fields) for _ in range(5)))
    answers.append(await ada.post("/console/credits/top-up", **fields))
    assert [answer.status_code for answer in answers] == [303] * 6
    assert [(row.id, row.amount_micros) for row in await front.rows(transfers)] == [(TRANSFER, 5_000_000)]
    for other in ({"usd": "6"}, {"account": await front.make_account()}):
        refused = await ada.post("/console/credits/top-up", **{**fields, **other})
        assert (refused.status_code, "has been made already" in refused.text) == (409, True)
    assert len(await front.rows(transfers)) == 1
    assert tiles((await ada.get("/console/credits")).text)["to spend"] == "$5.00"


async def test_looking_it_over_pays_nothing(front: Front, ada: Visitor):
    page = (await ada.post("/console/credits/review", usd="7.5", note="x")).text
    assert "Pay in $7.50?" in page
    assert await front.rows(transfers) == []
    pages = [(await ada.post("/console/credits/review", usd="7")).text for _ in range(2)]
    first, second = (re.findall(r'name="transfer" value="(tr_[0-9a-f]{32})"', page) for page in pages)
    assert first != second, "the same sum again, by another form, is another payment"


AMOUNTS = [
    "",
    "-1",
    "0",
    "0.0000001",
    "1e3",
    "1,50",
    "12.50 $",
    "NaN",
    "Infinity",
    "1000000.01",
    "9" * 24,
    "٣",
    "0x10",
    "1_000",
]


async def test_what_is_no_amount(front: Front, ada: Visitor):
    for usd in AMOUNTS:
        for form, fields in (("review", {}), ("top-up", {"transfer": TRANSFER})):
            answer = await ada.post(f"/console/credits/{form}", usd=usd, **fields)
            assert (answer.status_code, 'role="alert"' in answer.text) == (422, True), usd
    assert await front.rows(transfers) == []
    assert {row.balance_micros for row in await front.rows(ledger_accounts)} <= {0}


NOT_OURS = [
    {"transfer": ""},
    {"transfer": "tr_1"},
    {"transfer": "gen_" + "5" * 32},
    {"transfer": TRANSFER.upper()},
    {"transfer": TRANSFER, "note": "x" * 201},
]


async def test_a_form_that_is_not_ours(front: Front, ada: Visitor):
    for fields in NOT_OURS:
        assert (await ada.post("/console/credits/top-up", usd="1", **fields)).status_code == 422, fields
    assert await front.rows(transfers) == []


@pytest.mark.both_databases
async def test_members_see_their_own_and_pay_nothing_in(front: Front, ada: Visitor):
    member = await visitor_as(front, "member")
    theirs = next(row.id for row in await front.rows(accounts) if row.id != "acct_default")
    assert await pay_in(ada, "3", account=theirs, note="a present") == f"/console/credits?account={theirs}&done=paid"
    await pay_in(ada, "4")
    page = (await member.get("/console/credits")).text
    assert (moves(page), "a present" in page) == (["+$3.00"], True)
    assert 'action="/console/credits/' not in page
    for path in ("/console/credits?account=acct_default", "/console/credits?account=acct_none"):
        assert (await member.get(path)).status_code == 403
    for form in ("review", "top-up"):
        answer = await member.post(f"/console/credits/{form}", usd="1", account=theirs, transfer=TRANSFER)
        assert answer.status_code == 403
    assert len(await front.rows(transfers)) == 2
    shown = (await ada.get(f"/console/credits?account={theirs}")).text
    assert (moves(shown), tiles(shown)["to spend"]) == (["+$3.00"], "$3.00")
    assert "member" in shown
    mine = next(row.id for row in await front.rows(transfers) if row.credit_id == "credits:acct_default")
    assert (await member.get(f"/console/credits?after={mine}")).status_code == 404


async def test_no_such_account(ada: Visitor):
    assert (await ada.get("/console/credits?account=acct_none")).status_code == 404
    assert (await ada.post("/console/credits/review", usd="1", account="acct_none")).status_code == 404
    assert (
        await ada.post("/console/credits/top-up", usd="1", account="acct_none", transfer=TRANSFER)
    ).status_code == 404


@pytest.mark.both_databases
async def test_transfers_go_on_from_page_to_page(front: Front, ada: Visitor, monkeypatch: pytest.MonkeyPatch):
    """Also those of one moment; what was spent before this month is not of this month."""
    monkeypatch.setattr("pinxit.console.credits.PAGE", 3)
    credits_, now = front.house.services.credits, front.house.services.now()
    for number in range(1, 9):
        credits_._now = lambda number=number: now - timedelta(days=40 - number // 3)
        await credits_.top_up("acct_default", number * 1_000_000, transfer_id=credits_.new_transfer(), note="")
    credits_._now = lambda: datetime.now(UTC)
    await front.generate(model="dear")
    seen: list[str] = []
    path: str | None = "/console/credits"
    while path:
        page = (await ada.get(path)).text
        seen += moves(page)
        older = re.search(r'href="([^"]+)">Older', page)
        path = html.unescape(older[1]) if older else None
    assert seen[0] == "−$0.04"
    assert sorted(seen[1:]) == [f"+${number}.00" for number in range(1, 9)]
    assert (await ada.get(f"/console/credits?after={TRANSFER}")).status_code == 404


async def test_where_nobody_is_billed_it_is_said(make_front: MakeFront):
    front = await make_front(model_list=(DEAR,))
    ada = await visitor_as(front, "ada", Role.ADMIN, "acct_default")
    await front.generate(model="dear")
    page = (await ada.get("/console/credits")).text
    assert "Nobody is billed" in page
    assert "not billed" in page
    assert (tiles(page)["used while nobody was billed"], tiles(page)["to spend"], moves(page)) == (
        "$0.04",
        "$0.00",
        ["−$0.04"],
    )


async def test_notes_are_text(front: Front, ada: Visitor):
    note = INJECTIONS[0]
    await pay_in(ada, note=note)
    page = (await ada.get("/console/credits")).text
    assert note not in page
    assert note in html.unescape(page)
    assert len(await front.rows(transfers)) == 1
