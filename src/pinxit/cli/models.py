"""`pinxit models`: what can be asked for."""

from typing import Annotated

import typer

from pinxit.cli.common import AsJson, ConfigFile, print_json, settings_from


def models(
    model: Annotated[str | None, typer.Argument(help="Show this one in full.", show_default=False)] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """List the models, or show one."""
    from pinxit.api import shapes
    from pinxit.api.images import terms
    from pinxit.app import all_backends, build_catalog

    settings = settings_from(config)
    catalog = build_catalog(settings, all_backends(settings))
    if model is not None:
        entry = catalog.resolve(model)
        print_json({**shapes.model(entry), **shapes.request_schemas(entry, terms(settings, None), catalog)})
        return
    if as_json:
        print_json([shapes.model(entry) for entry in catalog.list()])
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "description", "sizes", "aliases", box=None, header_style="bold")
    for entry in catalog.list():
        can = entry.capabilities
        sizes = f"{can.default_size} (of {len(can.sizes)})"
        table.add_row(entry.id, entry.description, sizes, " ".join(entry.aliases))
    Console().print(table)
