"""What usage adds up to, and through the front door."""

import asyncio
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
from pinxit.database.tables import api_keys, generations, usage_days, usage_marks
from pinxit.errors import BackendError, InvalidValue
from pinxit.keys.model import Scope
from pinxit.testing.fake_backend import FakeBackend
from pinxit.usage import books
from pinxit.usage.csv import to_csv
from pinxit.usage.times import NO_TIMES, Times, add_up_times
from pinxit.usage.usage import Group, Usage, UsageService, query

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


async def add(database: Database, at: datetime, status: str = "completed", seconds: float = 1.0) -> None:
    """One more order by key_0 for the model one."""

    def insert(connection: Connection) -> None:
        row = dict(connection.execute(generations.select().where(generations.c.id == "gen_0")).mappings().one())
        end = at + timedelta(seconds=seconds)
        row |= {"id": f"gen_{at}_{seconds}", "created_at": at, "status": status, "finished_at": end}
        connection.execute(generations.insert().values(row))

    await database.write(insert)


async def everything(database: Database) -> list[Usage]:
    service = UsageService(database, now=lambda: NOON)
    return list(await service.list_all(DEFAULT_ACCOUNT, TODAY - timedelta(days=50), TODAY))


async def end_all(database: Database) -> None:
    """No order is open any more."""

    def end(connection: Connection) -> None:
        connection.execute(text("UPDATE generations SET finished_at = created_at + 2500000 WHERE finished_at IS NULL"))
        connection.execute(text("UPDATE generations SET status = 'completed' WHERE status = 'queued'"))

    await database.write(end)


async def test_books_that_are_kept_say_the_same(database: Database) -> None:
    await database.write(
        lambda connection: connection.execute(
            generations.update().where(generations.c.status == "completed").values(finished_at=NOON)
        )
    )
    before = await everything(database)
    assert [(each.orders, each.unfinished) for each in before if each.key_id is None] == [(1, 1)]
    for hours in (-30, -12, 0, 1, 2, 36):
        service = UsageService(database, now=lambda hours=hours: NOON + timedelta(hours=hours))
        await service.bring_books_up_to_date()
        assert await everything(database) == before
        await service.bring_books_up_to_date()
        assert await everything(database) == before


async def test_what_is_in_the_books_is_added_up_once(database: Database) -> None:
    await end_all(database)
    await UsageService(database, now=lambda: NOON).bring_books_up_to_date()
    before = await everything(database)
    await database.write(lambda connection: connection.execute(text("UPDATE generations SET image_count = 7")))
    after = await everything(database)
    morning = {(each.model, each.key_id) for each in after if each not in before}
    assert morning == {("two", "key_1"), ("one", None)}, (
        "what was begun in the last hour is added up when it is asked for"
    )
    await add(database, NOON - timedelta(minutes=59))
    assert sum(each.orders for each in await everything(database)) == sum(each.orders for each in before) + 1


async def test_an_open_order_is_waited_for(database: Database) -> None:
    later = UsageService(database, now=lambda: NOON + timedelta(days=3))
    await later.bring_books_up_to_date()
    open_one = [each for each in await everything(database) if each.unfinished]
    assert [(each.model, each.key_id, each.cost_micros) for each in open_one] == [("one", None, 0)]
    await end_all(database)
    await database.write(
        lambda connection: connection.execute(
            generations.update().where(generations.c.api_key_id.is_(None)).values(cost_micros=3, image_count=1)
        )
    )
    for _ in range(2):
        found = [each for each in await everything(database) if each.key_id is None]
        assert [(each.orders, each.images, each.cost_micros, each.unfinished) for each in found] == [(1, 1, 3, 0)]
        await later.bring_books_up_to_date()


async def test_two_processes_that_keep_the_books_count_once(database: Database) -> None:
    await end_all(database)
    before = await everything(database)
    addition = await database.read(lambda connection: books.find_addition(connection, DEFAULT_ACCOUNT, NOON))
    assert addition is not None
    for _ in range(2):
        await database.write(lambda connection: books.enter(connection, addition))
    assert await everything(database) == before
    await UsageService(database, now=lambda: NOON + timedelta(days=1)).bring_books_up_to_date()
    await database.write(lambda connection: books.enter(connection, addition))
    assert await everything(database) == before
    assert await database.read(lambda connection: books.find_addition(connection, DEFAULT_ACCOUNT, NOON)) is None


async def test_a_day_is_added_to_bit_by_bit(database: Database) -> None:
    await end_all(database)
    for hour in range(12):
        at = datetime(2026, 11, 22, hour, 30, tzinfo=UTC)
        await add(database, at, seconds=1 + hour)
        await UsageService(database, now=lambda at=at: at + timedelta(hours=1, minutes=1)).bring_books_up_to_date()
    found = [each for each in await everything(database) if (each.day, each.key_id) == (TODAY, "key_0")]
    (today,) = found
    assert today.orders == 13
    assert sum(today.times.counts.values()) == 13
    assert today.times.quantile(1) == pytest.approx(12, rel=0.05)


async def test_the_books_are_kept_by_the_server(front: Front) -> None:
    await front.generate()
    found = await front.rows(usage_marks)
    assert found == [], "nothing is an hour old yet"
    await front.house.database.write(
        lambda connection: connection.execute(
            generations.update().values(created_at=front.house.services.now() - timedelta(hours=2))
        )
    )
    usage = front.house.services.usage
    keeping = asyncio.create_task(usage.keep_books())
    while not await front.rows(usage_marks):
        await asyncio.sleep(0)
    keeping.cancel()
    assert [row.orders for row in await front.rows(usage_days)] == [1]


async def test_times_are_right_to_within_a_twentieth(database: Database) -> None:
    lasted = (0.012, 0.4, 1, 7.77, 100, 3000)
    for number, seconds in enumerate(lasted):
        await add(database, NOON - timedelta(days=10 + number), seconds=seconds)
    found = {each.day: each.times.quantile(0.01) for each in await everything(database)}
    for number, seconds in enumerate(lasted):
        assert found[TODAY - timedelta(days=10 + number)] == pytest.approx(seconds, rel=0.05)


def test_quantiles_are_by_the_nearest_rank() -> None:
    assert NO_TIMES.quantile(0.5) is None
    times = add_up_times([Times({40: 1, 50: 1}), Times({60: 2})])
    ranks = [times.quantile(share) for share in (0.01, 0.25, 0.26, 0.5, 0.51, 0.95, 1)]
    one, two, three = (Times({bucket: 1}).quantile(1) for bucket in (40, 50, 60))
    assert ranks == [one, one, two, two, three, three, three]


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
