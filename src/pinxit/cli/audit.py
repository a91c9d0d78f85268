"""`pinxit audit`: who changed what, straight from the database."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from
from pinxit.errors import InvalidValue
from pinxit.settings import Settings

if TYPE_CHECKING:
    from pinxit.audit import Event, Filters


def audit(
    action: Annotated[str, typer.Option(help="Only this, like key.revoked; or all of a kind, like key.")] = "",
    actor: Annotated[str, typer.Option(help="Only what they did: a name or an id.")] = "",
    account: Annotated[str | None, typer.Option(help="Only what concerns this account.", show_default=False)] = None,
    from_: Annotated[str | None, typer.Option("--from", help="First day, like 2026-11-01.", show_default=False)] = None,
    to: Annotated[str | None, typer.Option(help="Last day, included.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="At most so many.", min=1, max=100_000)] = 50,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV for spreadsheets.")] = False,
) -> None:
    """List who changed what, newest first."""
    from pinxit.api.usage_query import read_day
    from pinxit.audit import Filters
    from pinxit.audit.csv import shape, to_csv
    from pinxit.audit.service import days

    if as_json and as_csv:
        raise InvalidValue("Choose one of --json and --csv.", param="csv")
    since, until = days(read_day(from_, param="from"), read_day(to, param="to"))
    wanted = Filters(account, actor, action, since, until)
    events = asyncio.run(_list(settings_from(config, data_dir=data_dir), wanted, limit))
    if as_json:
        print_json([shape(event) for event in events])
    elif as_csv:
        typer.echo(to_csv(events), nl=False)
    else:
        _print_table(events)


def _print_table(events: "Sequence[Event]") -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(Column("when", no_wrap=True), "who", "action", "what", "changed", box=None, header_style="bold")
    for event in events:
        actor = event.actor
        changes = ", ".join(f"{name}: {before} → {after}" for name, (before, after) in event.changes.items())
        cells = (
            f"{event.at:%Y-%m-%d %H:%M:%S}",
            f"{actor.name} ({actor.kind.value})" if actor.name else actor.kind.value,
            event.action,
            event.thing.label or event.thing.id,
            changes,
        )
        table.add_row(*(Text(cell) for cell in cells))
    Console().print(table)


async def _list(settings: Settings, wanted: "Filters", limit: int) -> "Sequence[Event]":
    from pinxit.audit.service import AuditService

    async with open_rows(settings) as database:
        return await AuditService(database).list(wanted, limit=limit)
