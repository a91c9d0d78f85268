"""`pinxit models`: what can be asked for, and switching it on and off; a running server notices within seconds."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from
from pinxit.errors import InvalidValue
from pinxit.settings import Settings

BY = "the command line"


def models(
    model: Annotated[str | None, typer.Argument(help="Show this one in full.", show_default=False)] = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Switch it on or off.", show_default=False)
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Have it paint what names no model.")] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Have it as it is configured.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """List the models, show one, or change one."""
    settings = settings_from(config, data_dir=data_dir)
    wanted = [name for name, is_wanted in (("default", default), ("reset", reset)) if is_wanted]
    if enable is not None:
        wanted.append("enable" if enable else "disable")
    if not wanted:
        asyncio.run(_show(settings, model, as_json=as_json))
        return
    if model is None or len(wanted) > 1:
        raise InvalidValue("Name one model, and one thing to do with it.", param="model")
    done = asyncio.run(_change(settings, model, wanted[0]))
    if as_json:
        print_json(done)
    else:
        typer.echo(f"{done['id']} is {'on' if done['enabled'] else 'off'}{', the default' if done['default'] else ''}.")


async def _change(settings: Settings, model: str, action: str) -> dict[str, Any]:
    async with _service(settings) as service:
        id_ = service.get(model).entry.id
        match action:
            case "default":
                await service.make_default(id_, by=BY)
            case "reset":
                await service.reset(id_, seen=None, by=BY)
            case _:
                await service.switch(id_, is_off=action == "disable", seen=None, by=BY)
        now = service.get(id_)
        return {"id": id_, "enabled": not now.is_off, "default": now.is_default}


async def _show(settings: Settings, model: str | None, *, as_json: bool) -> None:
    from pinxit.api import shapes
    from pinxit.api.images import terms

    catalog = await as_kept(settings)
    if model is not None:
        entry = catalog.resolve(model, tells_why=True)
        print_json({**shapes.model(entry), **shapes.request_schemas(entry, terms(settings, None), catalog)})
    elif as_json:
        print_json([shapes.model(entry) for entry in catalog.list()])
    else:
        _print_table(catalog)


def _print_table(catalog: Any) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    on = {entry.id for entry in catalog.list()}
    table = Table("model", "state", "description", "sizes", "aliases", box=None, header_style="bold")
    for entry in catalog.list_all():
        can = entry.capabilities
        state = "off" if entry.id not in on else "default" if entry.id == catalog.default.id else "on"
        sizes = f"{can.default_size} (of {len(can.sizes)})"
        table.add_row(entry.id, state, Text(entry.description), sizes, " ".join(entry.aliases))
    Console().print(table)


async def as_kept(settings: Settings) -> Any:
    """The catalogue of these settings, with what admins have changed if there is a database; a look makes none."""
    from pinxit.app import all_backends, build_catalog
    from pinxit.database.opening import sqlite_file

    if settings.database_url is None and not sqlite_file(settings).exists():
        return build_catalog(settings, all_backends(settings))
    async with _service(settings) as service:
        return service.catalog


@asynccontextmanager
async def _service(settings: Settings) -> AsyncIterator[Any]:
    """The models of this machine, as a server over the same rows has them."""
    from pinxit.app import all_backends, build_catalog, utc_now
    from pinxit.catalog.service import CatalogService

    catalog = build_catalog(settings, all_backends(settings))
    async with open_rows(settings) as database:
        service = CatalogService(database, catalog, now=utc_now)
        await service.start(watches=False)
        yield service
