"""`pinxit accounts` over a data folder."""

import json
from pathlib import Path

import pytest
from commands import run

from pinxit.errors import Conflict, InvalidValue, NotFound

pytestmark = pytest.mark.both_databases

ACCOUNT = "acct_default"


def test_money_is_paid_in_exactly(tmp_path: Path) -> None:
    first = run(tmp_path, "accounts", "top-up", ACCOUNT, "0.1", "--reference", "one")
    assert "0.10 US dollars are paid in; acct_default has 0.10 now." in first.output
    assert "billing is off" in first.output
    run(tmp_path, "accounts", "top-up", ACCOUNT, "0.2", "--reference", "two")
    content = json.loads(run(tmp_path, "accounts", "balance", ACCOUNT, "--json").output)
    assert (content["balance_micros"], content["held_micros"], content["available_micros"]) == (300_000, 0, 300_000)
    assert "has 0.30 US dollars" in run(tmp_path, "accounts", "balance", ACCOUNT).output
    assert run(tmp_path, "fsck").exit_code == 0


def test_a_payment_counts_once(tmp_path: Path) -> None:
    assert run(tmp_path, "accounts", "top-up", ACCOUNT, "5", "--reference", "invoice 7").exit_code == 0
    again = run(tmp_path, "accounts", "top-up", ACCOUNT, "5", "--reference", "invoice 7 ")
    assert isinstance(again.exception, Conflict)
    assert "nothing was paid in" in again.exception.message
    assert json.loads(run(tmp_path, "accounts", "list", "--json").output)[0]["balance_micros"] == 5_000_000


def test_accounts_are_listed(tmp_path: Path) -> None:
    table = run(tmp_path, "accounts", "list")
    assert table.output.split() == ["id", "name", "US", "dollars", ACCOUNT, "default", "0.00"]


@pytest.mark.parametrize("usd", ["0", "much", "0.0000001", "NaN", "99999999999"])
def test_odd_amounts_are_refused(tmp_path: Path, usd: str) -> None:
    answer = run(tmp_path, "accounts", "top-up", ACCOUNT, usd, "--reference", "one")
    assert isinstance(answer.exception, InvalidValue)


@pytest.mark.parametrize("reference", ["", "   ", "x" * 201])
def test_odd_references_are_refused(tmp_path: Path, reference: str) -> None:
    answer = run(tmp_path, "accounts", "top-up", ACCOUNT, "1", "--reference", reference)
    assert isinstance(answer.exception, InvalidValue)


@pytest.mark.parametrize("command", [("balance",), ("top-up", "1", "--reference", "one")])
def test_an_account_that_is_not_there(tmp_path: Path, command: tuple[str, ...]) -> None:
    answer = run(tmp_path, "accounts", command[0], "acct_nobody", *command[1:])
    assert isinstance(answer.exception, NotFound)


def test_a_key_with_limits_and_budgets(tmp_path: Path) -> None:
    made = run(
        tmp_path,
        "keys",
        "create",
        *("--requests-per-minute", "60", "--images-per-minute", "100", "--concurrency", "2"),
        *("--budget", "12.34", "--budget-per-day", "0.1", "--budget-per-month", "5", "--json"),
    )
    content = json.loads(made.output[made.output.index("{") :])
    assert content["limits"] == {"requests_per_minute": 60, "images_per_minute": 100, "concurrency": 2}
    assert content["budgets"] == {"total_usd": 12.34, "per_day_usd": 0.1, "per_month_usd": 5}
    odd = run(tmp_path, "keys", "create", "--budget", "-1")
    assert isinstance(odd.exception, InvalidValue)
