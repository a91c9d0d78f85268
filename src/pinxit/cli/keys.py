"""`pinxit keys`: API keys, straight in the database; a running server notices within a second."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, key_service, print_json, settings_from
from pinxit.errors import InvalidValue, NotFound
from pinxit.images.request import Delivery
from pinxit.keys.model import ApiKey, Budgets, KeyOptions, Limits, Scope
from pinxit.ledger.dollars import to_micros
from pinxit.settings import Settings

app = typer.Typer(help="Create, list and revoke API keys.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; repeat for several.", show_default=False)
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model it may use; every model if none is named.")] = None,
    delivery: Annotated[
        Delivery | None, typer.Option(help="How pictures come back when a request does not say.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse every unknown field.")] = False,
    expires_in_days: Annotated[float | None, typer.Option(help="Days until it expires.", min=0)] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Orders it may send a minute.", min=1)] = None,
    images_per_minute: Annotated[int | None, typer.Option(help="Pictures it may ask for a minute.", min=1)] = None,
    concurrency: Annotated[int | None, typer.Option(help="Orders it may have open at once.", min=1)] = None,
    budget: Annotated[str | None, typer.Option(help="US dollars it may spend in all, like 12.50.")] = None,
    budget_per_day: Annotated[str | None, typer.Option(help="US dollars it may spend on a day of UTC.")] = None,
    budget_per_month: Annotated[str | None, typer.Option(help="US dollars it may spend in a month of UTC.")] = None,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key and print it; it is never shown again."""
    settings = settings_from(config, data_dir=data_dir)
    options = KeyOptions(
        name=name,
        models=tuple(model) if model else None,
        default_delivery=delivery,
        strict=strict,
        expires_at=None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days),
        limits=Limits(requests_per_minute, images_per_minute, concurrency),
        budgets=Budgets(
            _micros(budget, "budget"),
            _micros(budget_per_day, "budget-per-day"),
            _micros(budget_per_month, "budget-per-month"),
        ),
    )
    if scope:
        options = replace(options, scopes=tuple(dict.fromkeys(scope)))
    key, secret = asyncio.run(_create(settings, options))
    if as_json:
        print_json({**_shape(key), "key": secret})
    else:
        typer.echo(secret)
        typer.echo(f"{key.id}: keep the key above, it is not shown again.", err=True)


@app.command("list")
def list_(config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the API keys, newest first."""
    found = asyncio.run(_list(settings_from(config, data_dir=data_dir)))
    if as_json:
        print_json([_shape(key) for key in found])
        return
    from rich.console import Console
    from rich.table import Column, Table

    columns = ("name", "key", "last used", "state")
    table = Table(Column("id", no_wrap=True), *columns, box=None, header_style="bold")
    for key in found:
        shape = _shape(key)
        table.add_row(
            key.id,
            key.options.name,
            f"{key.prefix}…{key.last4}",
            "never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}",
            str(shape["state"]),
        )
    Console().print(table)


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The key's id, or the key itself.")],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Revoke an API key for good."""
    revoked = asyncio.run(_revoke(settings_from(config, data_dir=data_dir), key))
    if as_json:
        print_json(_shape(revoked))
    else:
        typer.echo(f"{revoked.id} is revoked.")


def _state(key: ApiKey, now: datetime) -> str:
    if key.is_valid(now):
        return "valid"
    if key.revoked_at is not None:
        return "revoked"
    return "disabled" if key.options.disabled else "expired"


def _micros(dollars: str | None, option: str) -> int | None:
    return None if dollars is None else to_micros(dollars, param=option)


async def _create(settings: Settings, options: KeyOptions) -> tuple[ApiKey, str]:
    from pinxit.accounts import DEFAULT_ACCOUNT
    from pinxit.cli.models import as_kept
    from pinxit.keys.service import local_caller

    if options.models:
        catalog = await as_kept(settings)
        for name in options.models:
            catalog.get(name)
    async with key_service(settings) as keys:
        created: tuple[ApiKey, str] = await keys.create(local_caller(DEFAULT_ACCOUNT), options)
        return created


async def _list(settings: Settings) -> list[ApiKey]:
    from pinxit.accounts import DEFAULT_ACCOUNT
    from pinxit.keys.service import local_caller

    async with key_service(settings) as keys:
        found: list[ApiKey] = await keys.list(local_caller(DEFAULT_ACCOUNT))
        return found


async def _revoke(settings: Settings, name: str) -> ApiKey:
    from pinxit.accounts import DEFAULT_ACCOUNT
    from pinxit.keys.service import local_caller

    caller = local_caller(DEFAULT_ACCOUNT)
    async with key_service(settings) as keys:
        key_id = (await keys.verify(name)).key_id if name.startswith("sk-") else name
        if not key_id:
            raise InvalidValue("Name the key to revoke.", param="key")
        try:
            revoked: ApiKey = await keys.revoke(caller, key_id)
        except NotFound as error:
            raise NotFound(f"There is no API key {key_id!r}; `pinxit keys list` shows them.") from error
        return revoked


def _shape(key: ApiKey) -> dict[str, object]:
    from pinxit.api import shapes

    now = datetime.now(UTC)
    state = _state(key, now)
    return {**shapes.key(key), "state": state}
