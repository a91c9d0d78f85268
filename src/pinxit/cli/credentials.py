"""`pinxit credentials`: what upstream providers are shown, sealed in the database; a running server notices within
seconds.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from
from pinxit.errors import InvalidValue, NotFound
from pinxit.settings import Settings

if TYPE_CHECKING:
    from pinxit.backends.interface import CredentialUse
    from pinxit.credentials.model import StoredCredential
    from pinxit.credentials.service import CredentialService

MAX_READ_CHARACTERS = 16_384

app = typer.Typer(
    help="Credentials of upstream providers: the server's own and those of accounts.", no_args_is_help=True
)

ProviderName = Annotated[str, typer.Argument(metavar="PROVIDER", help="Its name in the configuration.")]
AccountId = Annotated[
    str | None,
    typer.Option("--account", metavar="ACCOUNT", help="Of this account; the server's own without.", show_default=False),
]


@app.command("set")
def set_(
    provider: ProviderName,
    account: AccountId = None,
    fall_back: Annotated[
        bool, typer.Option("--fall-back", help="Go on with the server's, at the full price, when it is not accepted.")
    ] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Keep a credential, sealed. It is asked for, or read from standard input; never an argument, which others see."""
    if fall_back and account is None:
        raise InvalidValue("--fall-back is for credentials of accounts.", param="fall-back")
    settings = settings_from(config, data_dir=data_dir)
    shape = asyncio.run(_set(settings, provider, _read(provider), account, fall_back))
    if as_json:
        print_json(shape)
    else:
        typer.echo(f"The credential for {provider} is kept; it ends with {shape['hint']}.")
        if account is None and shape["source"] == "configuration":
            typer.echo("The configuration names another one, which is used as long as it does.", err=True)


@app.command("list")
def list_(
    account: AccountId = None, config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False
) -> None:
    """List the providers and where the server's credential for each is from; or an account's own."""
    shapes = asyncio.run(_list(settings_from(config, data_dir=data_dir), account))
    if as_json:
        print_json(shapes)
        return
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(Column("provider", no_wrap=True), "from", "ends with", "set", "used", box=None, header_style="bold")
    for shape in shapes:
        source = shape["source"] if shape["readable"] else "stored, and cannot be opened"
        moments = [_moment(shape["created_at"]), _moment(shape["used_at"])]
        table.add_row(*(Text(cell) for cell in (shape["provider"], source, shape["hint"], *moments)))
    Console().print(table)


@app.command()
def remove(
    provider: ProviderName,
    account: AccountId = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Remove a stored credential for good."""
    asyncio.run(_remove(settings_from(config, data_dir=data_dir), provider, account))
    if as_json:
        print_json({"provider": provider, "account": account, "removed": True})
    else:
        typer.echo(f"The credential for {provider} is removed.")


@app.command()
def rotate(config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Seal all stored credentials with a new key, while servers go on; with `credentials_key`: with its first one."""
    count = asyncio.run(_rotate(settings_from(config, data_dir=data_dir)))
    if as_json:
        print_json({"sealed": count})
    else:
        typer.echo(f"{count} credentials are sealed anew.")


@app.command("test")
def try_(
    provider: ProviderName,
    account: AccountId = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Ask the provider something that costs nothing, where it has such a thing, with the credential."""
    result = asyncio.run(_test(settings_from(config, data_dir=data_dir), provider, account))
    if as_json:
        print_json({"provider": provider, "account": account, "accepted": result})
    elif result is None:
        typer.echo(f"There is a credential for {provider}. It can be tried by painting only: that costs something.")
    else:
        typer.echo(f"{provider} {'accepts' if result else 'does not accept'} the credential.")
    if result is False:
        raise typer.Exit(1)


def _read(provider: str) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(f"Credential for {provider}", hide_input=True))
    return sys.stdin.read(MAX_READ_CHARACTERS)


def _moment(seconds: int | None) -> str:
    from datetime import UTC, datetime

    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


@asynccontextmanager
async def _service(settings: Settings) -> AsyncIterator["CredentialService"]:
    from pinxit.app import credential_keys, credential_uses, utc_now
    from pinxit.backends.upstream._configured import build_providers
    from pinxit.credentials.service import CredentialService

    async with open_rows(settings) as database:
        service = CredentialService(database, credential_keys(settings), now=utc_now)
        service.become(credential_uses(build_providers(settings.providers, os.environ)))
        await service.look()
        yield service
        await service.look()


async def _require_account(service: "CredentialService", account: str | None) -> None:
    if account is not None and not await service.has_account(account):
        raise NotFound(f"There is no account {account!r}; `pinxit accounts list` shows them.")


async def _set(settings: Settings, provider: str, value: str, account: str | None, fall_back: bool) -> dict[str, Any]:
    async with _service(settings) as service:
        await _require_account(service, account)
        stored = await service.set(provider, value, account_id=account, may_fall_back=fall_back, by="the command line")
        return _shape(provider, service.providers[provider], stored, service, is_house=account is None)


async def _list(settings: Settings, account: str | None) -> list[dict[str, Any]]:
    async with _service(settings) as service:
        await _require_account(service, account)
        stored = {each.provider: each for each in await service.list(account)}
        names = sorted({*stored, *service.providers}) if account is None else sorted(stored)
        return [
            _shape(name, service.providers.get(name), stored.get(name), service, is_house=account is None)
            for name in names
        ]


async def _remove(settings: Settings, provider: str, account: str | None) -> None:
    async with _service(settings) as service:
        await service.remove(provider, account_id=account)


async def _rotate(settings: Settings) -> int:
    async with _service(settings) as service:
        return await service.rotate()


async def _test(settings: Settings, provider: str, account: str | None) -> bool | None:
    """Whether it is accepted; None: it can be opened, and nobody asked. Raises what keeps it from being sent."""
    from pinxit.backends.upstream._configured import build_providers

    async with _service(settings) as service:
        if provider not in service.providers:
            allowed = sorted(service.providers) or ["none"]
            raise InvalidValue(f"There is no provider {provider[:64]!r}.", param="provider", allowed=allowed)
        if account is None:
            access = service.find(provider, "")
            credential = access.house if access is not None else None
            if access is not None and not access.has_house:
                raise NotFound(f"This server has no credential for {provider}.")
        else:
            access = service.find(provider, account)
            credential = access.own if access is not None else None
            if credential is None:
                raise NotFound(f"The account {account!r} has no credential for {provider}.")
        entry = {provider: settings.providers[provider]}
        (backend,) = build_providers(entry, os.environ)
        await backend.open()
        try:
            return await backend.try_credential(credential)
        finally:
            await backend.close()


def _shape(
    provider: str,
    use: "CredentialUse | None",
    stored: "StoredCredential | None",
    service: "CredentialService",
    *,
    is_house: bool,
) -> dict[str, Any]:
    from pinxit.api.shapes import unix

    source = "stored" if stored is not None else "none"
    if is_house and use is not None and use.is_there and (use.is_fixed or stored is None):
        source = "configuration" if use.is_fixed else use.variable
    elif use is not None and not use.is_needed and stored is None:
        source = "none needed"
    return {
        "provider": provider,
        "source": source,
        "hint": f"…{stored.hint}" if stored is not None else "",
        "fall_back": None if stored is None or is_house else stored.may_fall_back,
        "readable": stored is None or service.is_readable(stored),
        "created_by": None if stored is None else stored.created_by,
        "created_at": None if stored is None else unix(stored.created_at),
        "used_at": None if stored is None else unix(stored.used_at),
    }
