"""The ledger against a real database, and against a reference model that is a few lines long."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from pinxit import accounts
from pinxit.database.interface import Database
from pinxit.database.sqlite import open_database, open_engine
from pinxit.database.tables import generations
from pinxit.errors import Conflict, InsufficientCredits, InvalidValue
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from postgres import memory_folder

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ACCOUNT = accounts.DEFAULT_ACCOUNT


def insert_order(connection: Connection, id_: str, status: str = "queued", cost_micros: int = 0) -> None:
    connection.execute(
        generations.insert().values(
            id=id_,
            account_id=ACCOUNT,
            request_id="req",
            status=status,
            model="m",
            requested_model="m",
            prompt="p",
            parameters={},
            storage_keys=[],
            cost_micros=cost_micros,
            input_tokens=0,
            output_tokens=0,
            created_at=NOW,
        )
    )


def end_order(connection: Connection, id_: str, status: str, cost_micros: int = 0) -> None:
    connection.execute(
        generations.update().where(generations.c.id == id_).values(status=status, cost_micros=cost_micros)
    )


def order(id_: str, micros: int, *, billed: bool = True) -> Any:
    """A unit that opens an order and holds its price."""

    def unit(connection: Connection) -> None:
        insert_order(connection, id_)
        ledger.hold(connection, id_, ACCOUNT, micros, billed=billed, now=NOW)

    return unit


@pytest.fixture
async def database(make_database: Callable[[], Database]) -> AsyncIterator[Database]:
    opened = make_database()
    await opened.write(lambda connection: accounts.ensure_default(connection, NOW))
    yield opened
    assert await opened.read(check) == []


async def top_up(database: Database, micros: int, reference: str = "payment 1") -> None:
    await database.write(lambda connection: ledger.top_up(connection, ACCOUNT, micros, reference=reference, now=NOW))


async def balance(database: Database) -> tuple[int, int]:
    return await database.read(lambda connection: ledger.balance(connection, ACCOUNT))


async def test_a_hold_takes_nothing_until_it_is_posted(database: Database) -> None:
    await top_up(database, 100)
    await database.write(order("gen_1", 30))
    assert await balance(database) == (100, 30)

    def settle(connection: Connection) -> bool:
        end_order(connection, "gen_1", "completed", 20)
        return ledger.post(connection, "gen_1", 20, now=NOW)

    assert await database.write(settle)
    assert await balance(database) == (80, 0)


async def test_a_voided_hold_costs_nothing(database: Database) -> None:
    await top_up(database, 100)
    await database.write(order("gen_1", 30))

    def fail(connection: Connection) -> bool:
        end_order(connection, "gen_1", "failed")
        return ledger.void(connection, "gen_1", now=NOW)

    assert await database.write(fail)
    assert await balance(database) == (100, 0)


async def test_a_hold_is_resolved_once(database: Database) -> None:
    await top_up(database, 100)
    await database.write(order("gen_1", 30))

    def settle(connection: Connection) -> list[bool]:
        end_order(connection, "gen_1", "completed", 30)
        return [
            ledger.post(connection, "gen_1", 30, now=NOW),
            ledger.post(connection, "gen_1", 30, now=NOW),
            ledger.void(connection, "gen_1", now=NOW),
        ]

    assert await database.write(settle) == [True, False, False]
    assert await balance(database) == (70, 0)


async def test_who_has_too_little_is_refused_and_nothing_is_kept(database: Database) -> None:
    await top_up(database, 29)
    with pytest.raises(InsufficientCredits):
        await database.write(order("gen_1", 30))
    assert await balance(database) == (29, 0)
    assert (
        await database.read(lambda connection: connection.execute(text("SELECT count(*) FROM generations")).scalar())
        == 0
    )


async def test_where_nobody_is_billed_use_is_metered(database: Database) -> None:
    await database.write(order("gen_1", 30, billed=False))

    def settle(connection: Connection) -> None:
        end_order(connection, "gen_1", "completed", 30)
        ledger.post(connection, "gen_1", 30, now=NOW)

    await database.write(settle)
    rows = await database.read(
        lambda connection: {
            row[0]: row[1] for row in connection.execute(text("SELECT id, balance_micros FROM ledger_accounts"))
        }
    )
    assert rows == {f"unbilled:{ACCOUNT}": -30, "revenue": 30}


async def test_a_payment_counts_once(database: Database) -> None:
    await top_up(database, 100, "payment 1")
    with pytest.raises(Conflict):
        await top_up(database, 100, "payment 1")
    assert await balance(database) == (100, 0)


@pytest.mark.parametrize("micros", [0, -1, 2**53 + 1, True, 1.5])
async def test_odd_amounts_are_refused(database: Database, micros: int) -> None:
    with pytest.raises(InvalidValue):
        await top_up(database, micros)


async def test_more_than_was_held_cannot_be_charged(database: Database) -> None:
    await top_up(database, 100)
    await database.write(order("gen_1", 30))
    with pytest.raises(InvalidValue):
        await database.write(lambda connection: ledger.post(connection, "gen_1", 31, now=NOW))


@pytest.mark.parametrize("statement", ["UPDATE transfers SET amount_micros = 1", "DELETE FROM transfers"])
async def test_a_transfer_is_never_changed(database: Database, statement: str) -> None:
    await top_up(database, 100)
    with pytest.raises((IntegrityError, DBAPIError), match="never changed"):
        await database.write(lambda connection: connection.execute(text(statement)).rowcount)


async def test_of_two_hundred_orders_on_a_balance_for_seven_seven_are_taken(database: Database) -> None:
    await top_up(database, 7)
    results = await asyncio.gather(
        *(database.write(order(f"gen_{number}", 1)) for number in range(200)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 7
    assert sum(isinstance(result, InsufficientCredits) for result in results) == 193


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE ledger_accounts SET balance_micros = balance_micros + 1 WHERE id = 'funding'",
        "UPDATE ledger_accounts SET held_micros = held_micros + 1 WHERE kind = 'credits'",
        "UPDATE holds SET amount_micros = amount_micros + 1",
        "UPDATE generations SET status = 'completed'",
        "DELETE FROM holds",
    ],
)
async def test_damage_is_found(make_database: Callable[[], Database], damage: str) -> None:
    database = make_database()
    await database.write(lambda connection: accounts.ensure_default(connection, NOW))
    await top_up(database, 100)
    await database.write(order("gen_1", 30))
    await database.write(lambda connection: connection.execute(text(damage)).rowcount)
    assert await database.read(check)


@cache
def blank() -> bytes:
    """A database file as its migrations leave it."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        path = Path(folder) / "pinxit.db"
        asyncio.run(open_database(path).close())
        return path.read_bytes()


class LedgerMachine(RuleBasedStateMachine):
    """Any sequence of moves leaves the ledger as the reference model has it, and all invariants true."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(dir=memory_folder())
        path = Path(self.folder.name) / "pinxit.db"
        path.write_bytes(blank())
        self.engine = open_engine(path)
        self.connection = self.engine.connect()
        self.connection.exec_driver_sql("PRAGMA synchronous=OFF")
        accounts.ensure_default(self.connection, NOW)
        self.balance = 0
        self.held: dict[str, int] = {}
        self.count = 0

    @rule(micros=st.integers(1, 100))
    def top_up(self, micros: int) -> None:
        self.count += 1
        ledger.top_up(self.connection, ACCOUNT, micros, reference=str(self.count), now=NOW)
        self.balance += micros

    @rule(micros=st.integers(0, 60))
    def open(self, micros: int) -> None:
        self.count += 1
        id_ = f"gen_{self.count}"
        self.connection.exec_driver_sql("SAVEPOINT unit")
        try:
            order(id_, micros)(self.connection)
        except InsufficientCredits:
            self.connection.exec_driver_sql("ROLLBACK TO unit")
            assert micros > self.balance - sum(self.held.values())
        else:
            assert micros <= self.balance - sum(self.held.values())
            self.held[id_] = micros
        self.connection.exec_driver_sql("RELEASE unit")

    @rule(data=st.data(), share=st.floats(0, 1))
    def settle(self, data: st.DataObject, share: float) -> None:
        if not self.held:
            return
        id_ = data.draw(st.sampled_from(sorted(self.held)))
        posted = int(self.held.pop(id_) * share)
        end_order(self.connection, id_, "completed", posted)
        assert ledger.post(self.connection, id_, posted, now=NOW)
        assert not ledger.void(self.connection, id_, now=NOW)
        self.balance -= posted

    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        if not self.held:
            return
        id_ = data.draw(st.sampled_from(sorted(self.held)))
        del self.held[id_]
        end_order(self.connection, id_, "failed")
        assert ledger.void(self.connection, id_, now=NOW)
        assert not ledger.post(self.connection, id_, 0, now=NOW)

    @invariant()
    def agrees(self) -> None:
        assert ledger.balance(self.connection, ACCOUNT) == (self.balance, sum(self.held.values()))
        assert check(self.connection) == []

    def teardown(self) -> None:
        self.connection.close()
        self.engine.dispose()
        self.folder.cleanup()


LedgerMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedgerMachine = LedgerMachine.TestCase
