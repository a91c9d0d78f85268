"""What keys spend, against a reference that adds up by hand."""

import calendar
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text

from databases import open_engine
from pinxit import accounts
from pinxit.database.tables import api_keys, generations
from pinxit.errors import BudgetExceeded, InvalidValue
from pinxit.ledger import ledger
from pinxit.ledger.budgets import Period, spans
from pinxit.ledger.dollars import to_micros, to_text
from pinxit.ledger.invariants import check
from pinxit.settings import Settings

pytestmark = pytest.mark.both_databases

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
KEY = "key_1"


@contextmanager
def books(database_settings: Settings) -> Iterator[Connection]:
    """A database with one key, in one transaction that is not kept."""
    engine = open_engine(database_settings)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        accounts.ensure_default(connection, NOON)
        for key in (KEY, "key_2"):
            connection.execute(
                api_keys.insert().values(
                    id=key,
                    account_id=accounts.DEFAULT_ACCOUNT,
                    name="",
                    prefix="",
                    last4="",
                    secret_sha256=key,
                    scopes=[],
                    strict=False,
                    created_at=NOON,
                )
            )
        yield connection
        connection.exec_driver_sql("ROLLBACK")
    engine.dispose()


@pytest.fixture
def connection(database_settings: Settings) -> Iterator[Connection]:
    with books(database_settings) as open_books:
        yield open_books


def order(
    connection: Connection, id_: str, micros: int, *, now: datetime = NOON, key: str = KEY, **limits: int
) -> None:
    """Open an order; what is refused is undone."""
    connection.exec_driver_sql("SAVEPOINT unit")
    try:
        connection.execute(
            generations.insert().values(
                id=id_,
                account_id=accounts.DEFAULT_ACCOUNT,
                api_key_id=key,
                request_id="req",
                status="queued",
                model="m",
                requested_model="m",
                prompt="p",
                parameters={},
                storage_keys=[],
                cost_micros=0,
                input_tokens=0,
                output_tokens=0,
                created_at=now,
            )
        )
        ledger.hold(
            connection,
            id_,
            accounts.DEFAULT_ACCOUNT,
            micros,
            billed=False,
            now=now,
            api_key_id=key,
            spending_limits=limits,
        )
    except BudgetExceeded:
        connection.exec_driver_sql("ROLLBACK TO unit")
        raise
    finally:
        connection.exec_driver_sql("RELEASE unit")


def end(connection: Connection, id_: str, posted: int | None) -> None:
    status = "failed" if posted is None else "completed"
    connection.execute(
        generations.update().where(generations.c.id == id_).values(status=status, cost_micros=posted or 0)
    )
    if posted is None:
        ledger.void(connection, id_, now=NOON)
    else:
        ledger.post(connection, id_, posted, now=NOON)


def spend(connection: Connection, period: str = "total", key: str = KEY) -> tuple[int, int]:
    query = text(
        "SELECT spent_micros, held_micros FROM key_spend WHERE api_key_id = :key AND period = :period "
        "ORDER BY period_start DESC"
    )
    row = connection.execute(query, {"key": key, "period": period}).first()
    return (row.spent_micros, row.held_micros) if row else (0, 0)


def test_what_is_held_is_spent_or_freed(connection: Connection) -> None:
    order(connection, "one", 30)
    order(connection, "two", 40)
    assert [spend(connection, period) for period in Period] == [(0, 70)] * 3
    end(connection, "one", 10)
    end(connection, "two", None)
    assert [spend(connection, period) for period in Period] == [(10, 0)] * 3
    assert check(connection) == []


@pytest.mark.parametrize(
    ("period", "name", "resets"),
    [
        ("total", "total_usd", None),
        ("day", "per_day_usd", datetime(2026, 12, 1, tzinfo=UTC)),
        ("month", "per_month_usd", datetime(2026, 12, 1, tzinfo=UTC)),
    ],
)
def test_a_budget_is_spent_to_the_last_and_no_further(
    connection: Connection, period: str, name: str, resets: datetime | None
) -> None:
    order(connection, "one", 60, **{period: 100})
    order(connection, "two", 40, **{period: 100})
    with pytest.raises(BudgetExceeded) as refused:
        order(connection, "three", 1, **{period: 100})
    assert (refused.value.budget, refused.value.starts_anew_at) == (name, resets)
    assert name in refused.value.message
    assert "0.0001 US dollars, of which 0.00 are left; the order costs 0.000001." in refused.value.message
    assert ("2026-12-01T00:00:00Z" in refused.value.message) == (resets is not None)
    assert spend(connection) == (0, 100)
    end(connection, "one", None)
    order(connection, "three", 60, **{period: 100})
    assert check(connection) == []


def test_days_and_months_start_anew_and_the_whole_does_not(connection: Connection) -> None:
    order(connection, "one", 50, day=50, month=80, total=120)
    end(connection, "one", 50)
    with pytest.raises(BudgetExceeded):
        order(connection, "two", 1, now=NOON.replace(hour=23, minute=59, second=59), day=50)
    december = NOON + timedelta(hours=12)
    order(connection, "three", 50, now=december, day=50, month=80, total=120)
    end(connection, "three", 50)
    with pytest.raises(BudgetExceeded) as refused:
        order(connection, "four", 50, now=december + timedelta(days=1), day=50, month=80, total=120)
    assert refused.value.budget == "total_usd"
    with pytest.raises(BudgetExceeded) as refused:
        order(connection, "five", 40, now=december + timedelta(days=1), day=50, month=80)
    assert refused.value.budget == "per_month_usd"
    assert check(connection) == []


def test_an_order_counts_for_the_day_it_was_begun_on(connection: Connection) -> None:
    order(connection, "late", 10, now=NOON.replace(hour=23))
    order(connection, "next", 10, now=NOON + timedelta(hours=12))
    end(connection, "late", 10)
    assert spend(connection, "day") == (0, 10)
    assert spend(connection, "total") == (10, 10)
    assert check(connection) == []


def test_a_budget_below_what_is_spent_just_refuses(connection: Connection) -> None:
    order(connection, "one", 100)
    end(connection, "one", 100)
    with pytest.raises(BudgetExceeded, match=r"of which 0\.00 are left"):
        order(connection, "two", 1, total=50)
    order(connection, "free", 0, total=50)
    assert spend(connection) == (100, 0)


def test_keys_do_not_spend_from_each_other(connection: Connection) -> None:
    order(connection, "one", 100, total=100)
    order(connection, "two", 100, key="key_2", total=100)
    assert check(connection) == []


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE key_spend SET spent_micros = spent_micros + 1 WHERE period = 'day'", "has spent in a period"),
        ("UPDATE key_spend SET held_micros = held_micros + 1 WHERE period = 'month'", "holds in a period"),
        ("DELETE FROM key_spend WHERE period = 'total'", "costs something counts"),
        ("UPDATE generations SET api_key_id = 'key_2'", "counts for the key"),
    ],
)
def test_damage_is_found(connection: Connection, damage: str, told: str) -> None:
    order(connection, "one", 10)
    connection.execute(text(damage))
    (problem,) = check(connection)
    assert told in problem


@settings(deadline=None)
@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)))
def test_every_moment_lies_in_one_span_of_each_period(moment: datetime) -> None:
    moment = moment.replace(tzinfo=UTC)
    micros = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    total, day, month = spans(moment)
    for span in (total, day, month):
        assert span.start <= micros < span.end
    assert day.end - day.start == 86_400_000_000
    assert (month.end - month.start) // 86_400_000_000 == calendar.monthrange(moment.year, moment.month)[1]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["order", "post", "void"]),
        st.sampled_from([KEY, "key_2"]),
        st.integers(0, 60),
        st.integers(0, 70),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_no_key_ever_spends_more_than_its_budgets(
    database_settings: Settings, actions: list[tuple[str, str, int, int]]
) -> None:
    limits = {"total": 150, "day": 60, "month": 100}
    with books(database_settings) as connection:
        held: dict[str, tuple[str, int, datetime]] = {}
        used: list[tuple[str, int, datetime]] = []
        for number, (action, key, micros, hours) in enumerate(actions):
            if action == "order":
                now = NOON + timedelta(hours=hours)
                mine = [(amount, at) for owner, amount, at in [*held.values(), *used] if owner == key]
                fits = (
                    sum(amount for amount, _ in mine) + micros <= 150
                    and sum(amount for amount, at in mine if at.date() == now.date()) + micros <= 60
                    and sum(amount for amount, at in mine if at.month == now.month) + micros <= 100
                )
                try:
                    order(connection, str(number), micros, now=now, key=key, **limits)
                except BudgetExceeded:
                    assert not fits
                else:
                    assert fits or micros == 0
                    held[str(number)] = (key, micros, now)
            elif held:
                id_, (owner, amount, at) = held.popitem()
                posted = min(micros, amount)
                end(connection, id_, None if action == "void" else posted)
                if action == "post":
                    used.append((owner, posted, at))
            assert check(connection) == []


# --- dollars ---


@pytest.mark.parametrize(
    ("written", "micros"),
    [
        ("0.1", 100_000),
        (0.1, 100_000),
        (12, 12_000_000),
        ("12.50", 12_500_000),
        ("0.000001", 1),
        (1e-6, 1),
        (0.3, 300_000),
    ],
)
def test_dollars_are_exact(written: object, micros: int) -> None:
    assert to_micros(written, param="usd") == micros


@pytest.mark.parametrize(
    "written", [0, -1, "", "much", "NaN", "Infinity", float("nan"), "1e400", "0.0000001", True, None, "9" * 30, [1]]
)
def test_what_is_no_amount_is_refused(written: object) -> None:
    with pytest.raises(InvalidValue) as refused:
        to_micros(written, param="usd")
    assert refused.value.param == "usd"


@settings(deadline=None)
@given(st.integers(1, 2**53))
def test_amounts_survive_being_written(micros: int) -> None:
    assert to_micros(to_text(micros), param="usd") == micros


@pytest.mark.parametrize(
    ("micros", "written"), [(0, "0.00"), (12_500_000, "12.50"), (1, "0.000001"), (-3_000_000, "-3.00")]
)
def test_amounts_have_cents(micros: int, written: str) -> None:
    assert to_text(micros) == written
