"""`pinxit accounts` over a data folder."""

import asyncio
import json
from pathlib import Path

import pytest
from commands import run
from typer.testing import CliRunner, Result

from pinxit.cli.accounts import _user_service
from pinxit.cli.main import app
from pinxit.errors import AuthenticationFailed, Conflict, InvalidValue, NotFound
from pinxit.settings import load_settings

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


def run_with(folder: Path, password: str, *arguments: str) -> Result:
    """As `run`, with the password on standard input."""
    return CliRunner().invoke(app, [*arguments, "--data-dir", str(folder)], input=password + "\n")


def test_a_user_who_lost_the_password(tmp_path: Path) -> None:
    made = run_with(tmp_path, "four words make one", "accounts", "create", "Ada@example.com", "--role", "admin")
    assert "ada@example.com may sign in now, as admin of acct_" in made.output
    assert "four words" not in made.output
    changed = run_with(tmp_path, "another four words", "accounts", "passwd", "ADA@example.com")
    assert "has a new password" in changed.output
    assert asyncio.run(signs_in(tmp_path, "four words make one")) is False
    assert asyncio.run(signs_in(tmp_path, "another four words")) is True
    listed = json.loads(run(tmp_path, "accounts", "users", "--json").output)
    assert [(user["name"], user["role"]) for user in listed] == [("ada@example.com", "admin")]
    assert "ada@example.com  admin" in run(tmp_path, "accounts", "users").output


async def signs_in(folder: Path, password: str) -> bool:
    async with _user_service(load_settings(overrides={"data_dir": folder})) as users:
        try:
            await users.sign_in("ada@example.com", password, address="127.0.0.1", device=None)
        except AuthenticationFailed:
            return False
        return True


def test_a_user_of_an_account_that_is_there(tmp_path: Path) -> None:
    made = run_with(tmp_path, "four words make one", "accounts", "create", "bob", "--account", ACCOUNT, "--json")
    content = json.loads(made.output)
    assert (content["account"], content["role"]) == (ACCOUNT, "member")
    own = json.loads(run_with(tmp_path, "four words make one", "accounts", "create", "eve", "--json").output)
    accounts = json.loads(run(tmp_path, "accounts", "list", "--json").output)
    assert [(account["id"], account["name"]) for account in accounts] == [(ACCOUNT, "default"), (own["account"], "eve")]


@pytest.mark.parametrize(
    ("password", "arguments", "error"),
    [
        ("short", ("create", "ada"), InvalidValue),
        ("", ("create", "ada"), InvalidValue),
        ("four words make one", ("create", "two words"), InvalidValue),
        ("four words make one", ("create", "ada", "--account", "acct_nobody"), NotFound),
        ("four words make one", ("passwd", "nobody"), NotFound),
        ("short", ("passwd", "nobody"), InvalidValue),
    ],
)
def test_users_that_cannot_be(tmp_path: Path, password: str, arguments: tuple[str, ...], error: type) -> None:
    answer = run_with(tmp_path, password, "accounts", *arguments)
    assert isinstance(answer.exception, error)


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    assert run_with(tmp_path, "four words make one", "accounts", "create", "ada").exit_code == 0
    assert isinstance(run_with(tmp_path, "four words make one", "accounts", "create", "Ada").exception, Conflict)
