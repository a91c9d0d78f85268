"""`pinxit accounts`: who pays, and what they have paid in, straight in the database."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from
from pinxit.errors import Conflict, InvalidValue
from pinxit.ledger.dollars import to_micros, to_text
from pinxit.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pinxit.accounts import Account

MAX_REFERENCE_CHARACTERS = 200

app = typer.Typer(help="List accounts, see their credits and top them up.", no_args_is_help=True)

AccountId = Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account's id, like acct_default.")]


@dataclass(frozen=True, slots=True)
class Credits:
    """What an account has, in micro-dollars. `unbilled`: what it used while nobody was billed."""

    balance: int
    held: int
    unbilled: int


@app.command("list")
def list_(config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the accounts, the oldest first."""
    found = asyncio.run(_list(settings_from(config, data_dir=data_dir)))
    if as_json:
        print_json([_shape(account.id, credits_, account.name, account.created_at) for account, credits_ in found])
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(
        Column("id", no_wrap=True), "name", Column("US dollars", justify="right"), box=None, header_style="bold"
    )
    for account, credits_ in found:
        table.add_row(account.id, account.name, to_text(credits_.balance))
    Console().print(table)


@app.command()
def balance(account: AccountId, config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show what an account has paid in and not yet spent."""
    found = asyncio.run(_balance(settings_from(config, data_dir=data_dir), account))
    if as_json:
        print_json(_shape(account, found))
        return
    typer.echo(
        f"{account} has {to_text(found.balance)} US dollars, of which {to_text(found.held)} are held for open orders."
    )
    if found.unbilled:
        typer.echo(f"It used {to_text(found.unbilled)} US dollars while billing was off; nobody pays them.")


@app.command("top-up")
def top_up(
    account: AccountId,
    usd: Annotated[str, typer.Argument(metavar="USD", help="US dollars, like 12.50.")],
    reference: Annotated[
        str, typer.Option(help="What names this payment, like an invoice's number; each counts once.")
    ],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Pay money in for an account. The same reference again is refused and pays nothing."""
    if not 1 <= len(reference.strip()) <= MAX_REFERENCE_CHARACTERS:
        raise InvalidValue(f"A reference has 1 to {MAX_REFERENCE_CHARACTERS} characters.", param="reference")
    micros = to_micros(usd, param="USD")
    settings = settings_from(config, data_dir=data_dir)
    found = asyncio.run(_top_up(settings, account, micros, reference.strip()))
    if as_json:
        print_json({**_shape(account, found), "paid_in_micros": micros, "reference": reference.strip()})
        return
    typer.echo(f"{to_text(micros)} US dollars are paid in; {account} has {to_text(found.balance)} now.")
    if settings.billing == "off":
        typer.echo("billing is off: orders are counted, not paid from credits.", err=True)


def _shape(account_id: str, found: Credits, name: str | None = None, created_at: datetime | None = None) -> Any:
    facts = {} if created_at is None else {"name": name, "created_at": int(created_at.timestamp())}
    return {
        "id": account_id,
        "object": "account",
        **facts,
        "balance_micros": found.balance,
        "held_micros": found.held,
        "available_micros": found.balance - found.held,
        "unbilled_micros": found.unbilled,
    }


def _credits(connection: "Connection", account_id: str) -> Credits:
    from pinxit.ledger import ledger

    return Credits(*ledger.balance(connection, account_id), ledger.unbilled(connection, account_id))


async def _list(settings: Settings) -> "list[tuple[Account, Credits]]":
    from pinxit import accounts

    async with open_rows(settings) as database:
        found: list[tuple[Account, Credits]] = await database.read(
            lambda connection: [
                (account, _credits(connection, account.id)) for account in accounts.list_all(connection)
            ]
        )
        return found


async def _balance(settings: Settings, account_id: str) -> Credits:
    from pinxit import accounts

    def unit(connection: "Connection") -> Credits:
        accounts.require(connection, account_id)
        return _credits(connection, account_id)

    async with open_rows(settings) as database:
        found: Credits = await database.read(unit)
        return found


async def _top_up(settings: Settings, account_id: str, micros: int, reference: str) -> Credits:
    from pinxit import accounts
    from pinxit.app import utc_now
    from pinxit.ledger import ledger

    def unit(connection: "Connection") -> Credits:
        accounts.require(connection, account_id)
        ledger.top_up(connection, account_id, micros, reference=reference, now=utc_now())
        return _credits(connection, account_id)

    async with open_rows(settings) as database:
        try:
            found: Credits = await database.write(unit)
        except Conflict as error:
            raise Conflict(
                f"The payment {reference!r} has been counted before; nothing was paid in.", param="reference"
            ) from error
        return found
