"""`pinxit usage`: what was painted and what it cost, straight from the database."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from
from pinxit.errors import InvalidValue
from pinxit.settings import Settings

if TYPE_CHECKING:
    from pinxit.usage.usage import Query, Usage


def usage(
    from_: Annotated[str | None, typer.Option("--from", help="First day, like 2026-11-01.", show_default=False)] = None,
    to: Annotated[str | None, typer.Option(help="Last day, included.", show_default="today")] = None,
    group_by: Annotated[str, typer.Option(help="Some of day, model and key, with commas.")] = "day",
    account: Annotated[str, typer.Option(help="Whose; `pinxit accounts list` shows them.")] = "acct_default",
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV for spreadsheets.")] = False,
) -> None:
    """Add up orders, pictures, errors and costs; without dates, of the last 30 days."""
    from pinxit.api import shapes
    from pinxit.usage.csv import to_csv
    from pinxit.usage.usage import Group

    if as_json and as_csv:
        raise InvalidValue("Choose one of --json and --csv.", param="csv")
    wanted, sums = asyncio.run(_add_up(settings_from(config, data_dir=data_dir), from_, to, group_by, account))
    if as_json:
        print_json(shapes.usage(wanted, sums))
        return
    if as_csv:
        typer.echo(to_csv(sums, wanted.groups), nl=False)
        return
    from rich.console import Console
    from rich.table import Column, Table

    from pinxit.ledger.dollars import to_text
    from pinxit.usage.usage import add_up

    amounts = [Column(name, justify="right") for name in ("orders", "images", "errors", "US dollars")]
    table = Table(*wanted.groups, *amounts, box=None, header_style="bold")
    total = add_up(sums)
    for each in [*sums, total]:
        facts = {Group.DAY: each.day, Group.MODEL: each.model, Group.KEY: each.key_name or each.key_id}
        told = ["" if facts[group] is None else str(facts[group]) for group in wanted.groups]
        if each is total:
            told[0] = "all"
        table.add_row(*told, str(each.orders), str(each.images), str(each.errors), to_text(each.cost_micros))
    Console().print(table)


async def _add_up(
    settings: Settings, from_: str | None, to: str | None, group_by: str, account: str
) -> "tuple[Query, list[Usage]]":
    """The query and its sums."""
    from pinxit.accounts import require
    from pinxit.api.usage_query import read_day, read_groups
    from pinxit.app import utc_now
    from pinxit.usage.usage import UsageService

    async with open_rows(settings) as database:
        await database.read(lambda connection: require(connection, account))
        service = UsageService(database, now=utc_now)
        wanted = service.query(read_day(from_, param="from"), read_day(to, param="to"), read_groups(group_by))
        return wanted, await service.list(account, wanted)
