"""`pinxit webhooks`: straight in the database; a running server delivers what is to be delivered within seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from
from pinxit.errors import InvalidValue
from pinxit.settings import Settings
from pinxit.webhooks.model import ORDER_EVENTS, DeliveryStatus, EndpointOptions, EventType

app = typer.Typer(
    help="Create, list and delete webhooks; see what was delivered and send it again.", no_args_is_help=True
)

WebhookId = Annotated[str, typer.Argument(help="The webhook's id, wh_….")]


@app.command()
def create(
    url: Annotated[str, typer.Argument(help="Where to; https, unless the address is in webhook_allowed_networks.")],
    event: Annotated[
        list[EventType] | None,
        typer.Option(help="What to hear of; repeat for several. All of them if none is named.", show_default=False),
    ] = None,
    description: Annotated[str, typer.Option(help="What it is for.")] = "",
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook and print its signing secret, which is never shown again."""
    if EventType.PING in (event or ()):
        raise InvalidValue(
            "A webhook hears pings anyway.", param="event", allowed=[type_.value for type_ in ORDER_EVENTS]
        )
    options = EndpointOptions(url, tuple(dict.fromkeys(event)) if event else None, description)
    shape, secret = asyncio.run(_create(settings_from(config, data_dir=data_dir), options))
    if as_json:
        print_json({**shape, "secret": secret})
    else:
        typer.echo(secret)
        typer.echo(f"{shape['id']}: keep the secret above, it is not shown again.", err=True)


@app.command("list")
def list_(config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the webhooks, newest first."""
    shapes = asyncio.run(_list(settings_from(config, data_dir=data_dir)))
    if as_json:
        print_json(shapes)
        return
    _print_table(
        ("id", "url", "events", "state"),
        [
            (
                shape["id"],
                shape["url"],
                ", ".join(name.partition(".")[2] for name in shape["events"]),
                "active" if shape["active"] else shape["disabled_reason"] or "inactive",
            )
            for shape in shapes
        ],
    )


@app.command()
def delete(webhook: WebhookId, config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Delete a webhook and its deliveries."""
    asyncio.run(_delete(settings_from(config, data_dir=data_dir), webhook))
    if as_json:
        print_json({"id": webhook, "object": "webhook", "deleted": True})
    else:
        typer.echo(f"{webhook} is deleted.")


@app.command()
def deliveries(
    webhook: WebhookId,
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only those.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=1000)] = 20,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List what was sent to a webhook and what came of it, newest first."""
    shapes = asyncio.run(_deliveries(settings_from(config, data_dir=data_dir), webhook, status, limit))
    if as_json:
        print_json(shapes)
        return
    _print_table(
        ("id", "event", "subject", "status", "tries", "last answer"),
        [
            (
                shape["id"],
                shape["event"]["type"],
                shape["event"]["subject"],
                shape["status"],
                str(shape["attempts"]),
                shape["error"] or str(shape["answered_status"] or ""),
            )
            for shape in shapes
        ],
    )


@app.command()
def replay(
    webhook: WebhookId,
    delivery: Annotated[str, typer.Argument(help="The delivery's id, del_….")],
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Send an event again, with the same id. A running server does it, or the next one."""
    shape = asyncio.run(_replay(settings_from(config, data_dir=data_dir), webhook, delivery))
    if as_json:
        print_json(shape)
    else:
        typer.echo(f"{delivery} will be sent again.")


@asynccontextmanager
async def _service(settings: Settings) -> AsyncIterator[tuple[Any, str]]:
    """The webhooks of this machine, and the account whose they are."""
    from pinxit.accounts import DEFAULT_ACCOUNT
    from pinxit.app import SIGNING_FILE, utc_now
    from pinxit.library.urls import load_secret
    from pinxit.network.http import GuardedHttp
    from pinxit.webhooks.secret import WebhookSecrets
    from pinxit.webhooks.service import WebhookService

    async with open_rows(settings) as database:
        http = GuardedHttp(allowed_networks=settings.webhook_allowed_networks)
        secrets = WebhookSecrets(load_secret(settings.data_dir / SIGNING_FILE))
        yield WebhookService(database, http, secrets, now=utc_now, wake=lambda: None), DEFAULT_ACCOUNT


async def _create(settings: Settings, options: EndpointOptions) -> tuple[dict[str, Any], str]:
    from pinxit.api import shapes

    async with _service(settings) as (webhooks, account_id):
        endpoint, secret = await webhooks.create(account_id, options)
        return shapes.webhook(endpoint), secret


async def _list(settings: Settings) -> list[dict[str, Any]]:
    from pinxit.api import shapes

    async with _service(settings) as (webhooks, account_id):
        return [shapes.webhook(endpoint) for endpoint in await webhooks.list(account_id)]


async def _delete(settings: Settings, webhook: str) -> None:
    async with _service(settings) as (webhooks, account_id):
        await webhooks.delete(account_id, webhook)


async def _deliveries(
    settings: Settings, webhook: str, status: DeliveryStatus | None, limit: int
) -> list[dict[str, Any]]:
    from pinxit.api import shapes

    async with _service(settings) as (webhooks, account_id):
        found = await webhooks.list_deliveries(account_id, webhook, status=status, after=None, limit=limit)
        return [shapes.webhook_delivery(delivery) for delivery in found]


async def _replay(settings: Settings, webhook: str, delivery: str) -> dict[str, Any]:
    from pinxit.api import shapes

    async with _service(settings) as (webhooks, account_id):
        return shapes.webhook_delivery(await webhooks.replay(account_id, webhook, delivery))


def _print_table(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(Column(columns[0], no_wrap=True), *columns[1:], box=None, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
