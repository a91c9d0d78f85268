"""`pinxit accounts`: who pays, what they have paid in, and who signs in to the console; straight in the database."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinxit.accounts.user import Role, User
from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from, utc_now
from pinxit.errors import Conflict, InvalidValue
from pinxit.ledger.dollars import to_micros, to_text
from pinxit.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pinxit.accounts import Account

MAX_REFERENCE_CHARACTERS = 200

app = typer.Typer(help="Accounts and their credits, and who signs in to the console.", no_args_is_help=True)

UserName = Annotated[str, typer.Argument(metavar="NAME", help="What they sign in with, like an e-mail address.")]
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


@app.command("users")
def users(config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List who may sign in to the console."""
    found = asyncio.run(_users(settings_from(config, data_dir=data_dir)))
    if as_json:
        print_json([_user_shape(user) for user in found])
        return
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(Column("name", no_wrap=True), "role", "account", "signed in", box=None, header_style="bold")
    for user in found:
        when = "never" if user.signed_in_at is None else f"{user.signed_in_at:%Y-%m-%d %H:%M}"
        table.add_row(user.name, user.role.value, user.account_id, when)
    Console().print(table)


@app.command()
def create(
    name: UserName,
    role: Annotated[Role, typer.Option(help="What they may do.")] = Role.MEMBER,
    account: Annotated[
        str | None, typer.Option(help="The account they share; without it one of their own.", show_default=False)
    ] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Let somebody sign in to the console. Their password is asked for, or read from standard input."""
    settings = settings_from(config, data_dir=data_dir)
    user = asyncio.run(_create(settings, name, _password(), role, account))
    if as_json:
        print_json(_user_shape(user))
    else:
        typer.echo(f"{user.name} may sign in now, as {user.role.value} of {user.account_id}.")


@app.command()
def passwd(name: UserName, config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Give a user a new password, asked for or read from standard input, and end their sessions."""
    user = asyncio.run(_passwd(settings_from(config, data_dir=data_dir), name, _password()))
    if as_json:
        print_json(_user_shape(user))
    else:
        typer.echo(f"{user.name} has a new password, and is signed out everywhere.")


def _password() -> str:
    """Never an argument: those are in the list of processes and in the shell's history."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


def _user_shape(user: User) -> Any:
    return {
        "id": user.id,
        "object": "user",
        "name": user.name,
        "role": user.role.value,
        "account": user.account_id,
        "created_at": int(user.created_at.timestamp()),
    }


async def _users(settings: Settings) -> list[User]:
    async with _user_service(settings) as service:
        found: list[User] = await service.list()
        return found


async def _create(settings: Settings, name: str, password: str, role: Role, account_id: str | None) -> User:
    async with _user_service(settings) as service:
        created: User = await service.create(name, password, role=role, account_id=account_id)
        return created


async def _passwd(settings: Settings, name: str, password: str) -> User:
    async with _user_service(settings) as service:
        changed: User = await service.set_password(name, password)
        return changed


@asynccontextmanager
async def _user_service(settings: Settings) -> AsyncIterator[Any]:
    from pinxit.accounts.service import UserService
    from pinxit.app import SIGNING_FILE
    from pinxit.library.urls import load_secret

    async with open_rows(settings) as database:
        yield UserService(database, now=utc_now, secret=load_secret(settings.data_dir / SIGNING_FILE))


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
    from pinxit import accounts, audit
    from pinxit.ledger import ledger

    def unit(connection: "Connection") -> Credits:
        accounts.require(connection, account_id)
        ledger.top_up(connection, account_id, micros, reference=reference, now=utc_now(), origin=origin)
        return _credits(connection, account_id)

    async with open_rows(settings) as database:
        origin = audit.current()
        try:
            found: Credits = await database.write(unit)
        except Conflict as error:
            raise Conflict(
                f"The payment {reference!r} has been counted before; nothing was paid in.", param="reference"
            ) from error
        return found
