"""The ledger against a model of twenty lines: money that is held, posted, given back and paid in, in any order."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulated_world import EPOCH, open_blank_database

from pinxit.database.tables import accounts, api_keys, generations, key_spend
from pinxit.errors import BudgetExceeded, Conflict, InsufficientCredits, PinxitError
from pinxit.keys.model import ApiKey, KeyOptions
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from simulation import key_row

IS_LONG = os.environ.get("PINXIT_TEST_LONG") == "1"
ACCOUNTS = ("acct_one", "acct_two")
BUDGETS = {"total": 400, "day": 150}

account_ids = st.sampled_from(ACCOUNTS)
amounts = st.integers(0, 120)


@dataclass
class Model:
    """Credits, and the holds on them."""

    balance: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACCOUNTS, 0))
    paid: set[str] = field(default_factory=set)
    holds: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    """Open holds: order → account, micro-dollars, day."""
    spent: dict[tuple[str, int], int] = field(default_factory=dict)
    """Account (each has one key) and day → what was posted."""

    def held(self, account: str) -> int:
        return sum(micros for owner, micros, _ in self.holds.values() if owner == account)

    def used(self, account: str, day: int | None = None) -> int:
        """What counts against the budget of the account's key: of one day, or of all."""
        held = sum(m for owner, m, begun in self.holds.values() if owner == account and day in (None, begun))
        return held + sum(m for (owner, begun), m in self.spent.items() if owner == account and day in (None, begun))

    def refusal(self, account: str, micros: int, day: int) -> type[PinxitError] | None:
        if self.balance[account] - self.held(account) < micros:
            return InsufficientCredits
        if self.used(account) + micros > BUDGETS["total"] or self.used(account, day) + micros > BUDGETS["day"]:
            return BudgetExceeded if micros else None
        return None

    def end(self, order: str, posted: int) -> None:
        account, _, day = self.holds.pop(order)
        self.balance[account] -= posted
        self.spent[account, day] = self.spent.get((account, day), 0) + posted


class Ledger(RuleBasedStateMachine):
    """Moves money in the real ledger and in the model."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.connection = self.stack.enter_context(open_blank_database())
        self.model = Model()
        self.day = 0
        self.orders: list[str] = []

    def teardown(self) -> None:
        self.stack.close()

    @initialize()
    def open_accounts(self) -> None:
        for account in ACCOUNTS:
            self.connection.execute(accounts.insert().values(id=account, name="", created_at=EPOCH))
            key = ApiKey(f"key_{account}", account, "sk-", "0000", KeyOptions(), EPOCH)
            self.connection.execute(api_keys.insert().values(key_row(key)))

    @rule(account=account_ids, micros=st.integers(1, 300), reference=st.sampled_from(["a", "b", "c", "d", "e"]))
    def top_up(self, account: str, micros: int, reference: str) -> None:
        expected = Conflict if reference in self.model.paid else None
        self._do(
            expected, lambda: ledger.top_up(self.connection, account, micros, reference=reference, now=self._now())
        )
        if expected is None:
            self.model.paid.add(reference)
            self.model.balance[account] += micros

    @rule(account=account_ids, micros=amounts)
    def hold(self, account: str, micros: int) -> None:
        expected = self.model.refusal(account, micros, self.day)
        order = f"gen_{len(self.orders)}"
        self._do(expected, lambda: self._begin(order, account, micros))
        if expected is None:
            self.orders.append(order)
            self.model.holds[order] = (account, micros, self.day)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), part=st.integers(0, 4))
    def post(self, data: st.DataObject, part: int) -> None:
        order = data.draw(st.sampled_from(self.orders))
        is_open = order in self.model.holds
        micros = self.model.holds[order][1] * part // 4 if is_open else 1
        now = self._now()
        assert ledger.post(self.connection, order, micros, now=now) is is_open
        if is_open:
            self.model.end(order, micros)
            self._end(order, "completed", micros)

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def void(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.orders))
        is_open = order in self.model.holds
        assert ledger.void(self.connection, order, now=self._now()) is is_open
        if is_open:
            self.model.end(order, 0)
            self._end(order, "failed", 0)

    @rule()
    def a_day_passes(self) -> None:
        self.day += 1

    @invariant()
    def it_agrees(self) -> None:
        assert check(self.connection) == []
        for account in ACCOUNTS:
            assert ledger.balance(self.connection, account) == (self.model.balance[account], self.model.held(account))
            assert self._used(account) == self.model.used(account)

    def _now(self) -> Any:
        return EPOCH + timedelta(days=self.day)

    def _do(self, expected: type[PinxitError] | None, act: Callable[[], None]) -> None:
        """In a transaction of its own, which is undone if it is refused."""
        self.connection.exec_driver_sql("BEGIN IMMEDIATE")
        refused = None
        try:
            act()
        except PinxitError as error:
            refused = type(error)
        self.connection.exec_driver_sql("ROLLBACK" if refused else "COMMIT")
        assert refused is expected

    def _begin(self, order: str, account: str, micros: int) -> None:
        row = {
            "id": order,
            "account_id": account,
            "api_key_id": f"key_{account}",
            "request_id": "req",
            "status": "queued",
            "model": "m",
            "requested_model": "m",
            "prompt": "",
            "parameters": {},
            "storage_keys": [],
            "cost_micros": 0,
            "input_tokens": 0,
            "output_tokens": 0,
            "created_at": self._now(),
        }
        self.connection.execute(generations.insert().values(row))
        ledger.hold(
            self.connection,
            order,
            account,
            micros,
            billed=True,
            now=self._now(),
            api_key_id=f"key_{account}",
            spending_limits=BUDGETS,
        )

    def _end(self, order: str, status: str, micros: int) -> None:
        same = generations.c.id == order
        self.connection.execute(generations.update().where(same).values(status=status, cost_micros=micros))

    def _used(self, account: str) -> int:
        total = (key_spend.c.api_key_id == f"key_{account}", key_spend.c.period == "total")
        row = self.connection.execute(key_spend.select().where(*total)).first()
        return 0 if row is None else row.spent_micros + row.held_micros


Ledger.TestCase.settings = settings(
    max_examples=2000 if IS_LONG else 60,
    stateful_step_count=30,
    derandomize=not IS_LONG,
    deadline=None,
    database=None,
)
TestLedger = pytest.mark.timeout(3600 if IS_LONG else 600)(Ledger.TestCase)
