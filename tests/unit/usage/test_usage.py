"""What usage adds up to, and through the front door."""

import csv
import io
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from sqlalchemy import Connection, text

from front import Front, MakeFront
from pinxit import accounts
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.database.interface import Database
from pinxit.database.tables import accounts as accounts_table
from pinxit.database.tables import api_keys, generations
from pinxit.errors import BackendError, InvalidValue
from pinxit.keys.model import Scope
from pinxit.testing.fake_backend import FakeBackend
from pinxit.usage.csv import to_csv
from pinxit.usage.usage import Group, Usage, UsageService, _Days, query

pytestmark = pytest.mark.both_databases

TODAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
async def database(make_database: Callable[[], Database]) -> Database:
    found = make_database()
    await found.write(fill)
    return found


def fill(connection: Connection) -> None:
    accounts.ensure_default(connection, NOON)
    connection.execute(accounts_table.insert().values(id="acct_other", name="", created_at=NOON))
    for number, (account, name) in enumerate(
        ((DEFAULT_ACCOUNT, "web"), (DEFAULT_ACCOUNT, "batch"), ("acct_other", "x"))
    ):
        connection.execute(
            api_keys.insert().values(
                id=f"key_{number}",
                account_id=account,
                name=name,
                prefix="",
                last4="",
                secret_sha256=str(number),
                scopes=[],
                strict=False,
                created_at=NOON,
            )
        )
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    orders = [
        (midnight - timedelta(microseconds=1), "key_0", "one", "completed", 2, 20),
        (midnight, "key_0", "one", "completed", 3, 30),
        (midnight, "key_1", "two", "completed", 1, 5),
        (NOON, "key_1", "two", "failed", 0, 0),
        (NOON, "key_1", "two", "cancelled", 0, 0),
        (NOON, "key_1", "two", "unknown", 0, 0),
        (NOON, None, "one", "queued", 0, 0),
        (NOON - timedelta(days=40), "key_0", "one", "completed", 7, 70),
        (NOON, "key_2", "one", "completed", 9, 90),
    ]
    for number, (at, key, model, status, images, cost) in enumerate(orders):
        connection.execute(
            generations.insert().values(
                id=f"gen_{number}",
                account_id="acct_other" if key == "key_2" else DEFAULT_ACCOUNT,
                api_key_id=key,
                request_id="req",
                status=status,
                model=model,
                requested_model=model,
                prompt="p",
                parameters={},
                storage_keys=[],
                cost_micros=cost,
                image_count=images,
                input_tokens=0,
                output_tokens=0,
                created_at=at,
            )
        )


async def add_up(database: Database, *groups: Group, first: date | None = None) -> list[Usage]:
    service = UsageService(database, now=lambda: NOON)
    return await service.list(DEFAULT_ACCOUNT, service.query(first, None, groups))


async def test_by_day(database: Database) -> None:
    assert await add_up(database) == [
        Usage(1, 2, 0, 20, day=date(2026, 11, 21)),
        Usage(6, 4, 2, 35, day=date(2026, 11, 22), unfinished=1),
    ]


async def test_by_model(database: Database) -> None:
    assert await add_up(database, Group.MODEL) == [
        Usage(3, 5, 0, 50, model="one", unfinished=1),
        Usage(4, 1, 2, 5, model="two"),
    ]


async def test_by_key_and_model(database: Database) -> None:
    assert await add_up(database, Group.KEY, Group.MODEL) == [
        Usage(1, 0, 0, 0, model="one", unfinished=1),
        Usage(2, 5, 0, 50, model="one", key_id="key_0", key_name="web"),
        Usage(4, 1, 2, 5, model="two", key_id="key_1", key_name="batch"),
    ]


async def test_days_that_are_over_are_added_up_once(database: Database) -> None:
    now = NOON
    service = UsageService(database, now=lambda: now)

    async def orders(first: date, last: date) -> list[tuple[int, int, str | None]]:
        found = await service.list_all(DEFAULT_ACCOUNT, first, last)
        return [(each.day.day if each.day else 0, each.orders, each.key_name) for each in found]

    async def add(at: datetime, status: str = "completed") -> None:
        def insert(connection: Connection) -> None:
            row = dict(connection.execute(generations.select().where(generations.c.id == "gen_0")).mappings().one())
            row |= {"id": f"gen_{at}", "created_at": at, "status": status}
            connection.execute(generations.insert().values(row))

        await database.write(insert)

    yesterday = TODAY - timedelta(days=1)
    before = [(21, 1, "web")]
    assert await orders(yesterday, yesterday) == before
    await add(NOON - timedelta(days=1))
    assert await orders(yesterday, yesterday) == before, "it was remembered"
    today = await orders(yesterday, TODAY)
    assert today == [*before, (22, 1, None), (22, 1, "web"), (22, 4, "batch")]
    await add(NOON)
    assert (22, 2, "web") in await orders(TODAY, TODAY), "today is still to change"
    now = NOON + timedelta(days=2)
    assert (22, 1, None) in await orders(TODAY, TODAY)
    await database.write(lambda connection: connection.execute(text("UPDATE generations SET image_count = 7")))
    (open_order, *_) = await service.list_all(DEFAULT_ACCOUNT, TODAY, TODAY)
    assert (open_order.unfinished, open_order.images) == (1, 7), "while one is open, a day is not remembered"


async def test_a_day_that_ended_just_now_is_not_remembered(database: Database) -> None:
    service = UsageService(database, now=lambda: datetime(2026, 11, 22, 0, 30, tzinfo=UTC))
    yesterday = TODAY - timedelta(days=1)
    await service.list_all(DEFAULT_ACCOUNT, yesterday, yesterday)
    await database.write(lambda connection: connection.execute(text("UPDATE generations SET image_count = 7")))
    assert [each.images for each in await service.list_all(DEFAULT_ACCOUNT, yesterday, yesterday)] == [7]


def test_what_is_remembered_is_bounded() -> None:
    days = _Days(10)
    for number in range(20):
        days.keep("acct", TODAY + timedelta(days=number), [Usage(1, 1, 0, 1)] * 3)
    kept = [number for number in range(20) if days.find("acct", TODAY + timedelta(days=number)) is not None]
    assert kept == [18, 19]
    assert days.find("acct_other", TODAY + timedelta(days=19)) is None


async def test_the_first_and_the_last_day_are_included(database: Database) -> None:
    service = UsageService(database, now=lambda: NOON)
    one_day = service.query(date(2026, 11, 21), date(2026, 11, 21), [Group.MODEL])
    assert await service.list(DEFAULT_ACCOUNT, one_day) == [Usage(1, 2, 0, 20, model="one")]
    long_ago = await add_up(database, Group.MODEL, first=TODAY - timedelta(days=40))
    assert long_ago[0] == Usage(4, 12, 0, 120, model="one", unfinished=1)


async def test_another_account_sees_its_own(database: Database) -> None:
    service = UsageService(database, now=lambda: NOON)
    sums = await service.list("acct_other", service.query(None, None, [Group.KEY]))
    assert sums == [Usage(1, 9, 0, 90, key_id="key_2", key_name="x")]


async def test_it_goes_by_an_index(database: Database) -> None:
    query = (
        "SELECT count(*) FROM generations "
        "WHERE account_id = 'a' AND created_at >= 1 AND created_at < 2 GROUP BY created_at / 86400000000"
    )

    def explain(connection: Connection) -> str:
        if connection.dialect.name == "sqlite":
            return str(connection.execute(text(f"EXPLAIN QUERY PLAN {query}")).all())
        connection.execute(text("SET LOCAL enable_seqscan = off"))  # it is faster, while there are so few rows
        return str(connection.execute(text(f"EXPLAIN {query}")).all())

    assert "ix_generations_account_newest" in await database.read(explain)


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (None, None, (date(2026, 10, 24), TODAY)),
        (date(2026, 11, 1), None, (date(2026, 11, 1), TODAY)),
        (None, date(2026, 1, 30), (date(2026, 1, 1), date(2026, 1, 30))),
        (date(2027, 1, 1), None, (date(2027, 1, 1), date(2027, 1, 1))),
        (None, date(1970, 1, 2), (date(1970, 1, 1), date(1970, 1, 2))),
        (date(2025, 11, 22), None, (date(2025, 11, 22), TODAY)),
    ],
)
def test_what_is_left_open(first: date | None, last: date | None, expected: tuple[date, date]) -> None:
    found = query(first, last, [], today=TODAY)
    assert (found.first, found.last, found.groups) == (*expected, (Group.DAY,))


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (date(2026, 11, 2), date(2026, 11, 1)),
        (date(2025, 11, 21), TODAY),
        (date(1969, 1, 1), date(1969, 2, 1)),
        (None, date.max),
    ],
)
def test_days_that_cannot_be(first: date | None, last: date | None) -> None:
    with pytest.raises(InvalidValue):
        query(first, last, [], today=TODAY)


def test_a_spreadsheet_finds_no_formula() -> None:
    written = to_csv([Usage(1, 1, 0, 5, key_id="key_1", key_name='=HYPERLINK("x")')], [Group.KEY])
    rows = list(csv.reader(io.StringIO(written)))
    assert rows == [
        ["key", "key_name", "orders", "images", "errors", "cost_micros"],
        ["key_1", '\'=HYPERLINK("x")', "1", "1", "0", "5"],
    ]


# --- through the front door ---

PRICED: list[dict[str, Any]] = [{"model_name": "priced", "params": {"model": "fake/fake-1"}, "prices": [{"usd": 0.01}]}]


async def fetch(front: Front, accept: str = "application/json", **parameters: str) -> Any:
    headers = {**front.authorization, "Accept": accept}
    return await front.client.get("/v1/usage", params=parameters, headers=headers)


async def test_what_was_painted_is_counted(make_front: MakeFront) -> None:
    painter = FakeBackend(failure=lambda order: BackendError("broken") if order.prompt == "bad" else None)
    front = await make_front(painter, model_list=PRICED, default_model="priced")
    assert (await front.generate(n=2)).status_code == 200
    assert (await front.generate(store=False, output_format="b64_json")).status_code == 200
    assert (await front.generate(prompt="bad")).status_code == 502
    answer = await fetch(front, group_by="day,model,key")
    content = answer.json()
    document = json.loads((await front.client.get("/openapi.json")).content)
    schema = document["paths"]["/v1/usage"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(content)
    amounts = {"orders": 3, "images": 3, "errors": 1, "cost_micros": 30_000}
    assert content["total"] == amounts
    (only,) = content["data"]
    assert only == {**only, **amounts, "model": "priced", "key_name": "test"}
    assert only["day"] == content["to"]
    assert only["key"].startswith("key_")


@pytest.mark.parametrize(
    ("accept", "parameters", "is_csv"),
    [
        ("text/csv", {}, True),
        ("text/csv, application/json", {}, True),
        ("application/json, text/csv", {}, False),
        ("*/*", {}, False),
        ("*/*", {"format": "csv"}, True),
        ("text/csv", {"format": "json"}, False),
    ],
)
async def test_csv_by_accept_or_by_format(front: Front, accept: str, parameters: dict[str, str], is_csv: bool) -> None:
    await front.generate(n=2)
    answer = await fetch(front, accept, **parameters)
    assert answer.headers["content-type"] == ("text/csv; charset=utf-8" if is_csv else "application/json")
    if is_csv:
        assert answer.headers["content-disposition"].endswith('.csv"')
        names, row = csv.reader(io.StringIO(answer.text))
        assert (names[0], row[1:]) == ("day", ["1", "2", "0", "0"])


@pytest.mark.parametrize(
    ("parameters", "status", "param"),
    [
        ({"from": "yesterday"}, 422, "from"),
        ({"to": "2026-02-30"}, 422, "to"),
        ({"from": "20261122"}, 422, "from"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, 422, "from"),
        ({"group_by": "prompt"}, 422, "group_by"),
        ({"format": "xml"}, 422, "format"),
        ({"account": "acct_other"}, 400, "account"),
    ],
)
async def test_odd_questions_are_refused(front: Front, parameters: dict[str, str], status: int, param: str) -> None:
    answer = await fetch(front, **parameters)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


async def test_it_needs_its_scope(front: Front) -> None:
    key = await front.make_key(scopes=(Scope.IMAGES_READ,))
    answer = await front.client.get("/v1/usage", headers={"Authorization": key})
    assert answer.status_code == 403
