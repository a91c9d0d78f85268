"""`pinxit config`: is the configuration right, and what does it say?"""

from pathlib import Path
from typing import Annotated

import typer

from pinxit.cli.common import AsJson, print_json, settings_from

app = typer.Typer(help="Check the configuration.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Check the configuration."""


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="Configuration file; ./pinxit.yaml if it is there.", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read the configuration as `pinxit serve` would, and say what is wrong with it, by file and line."""
    from pinxit.app import all_backends, build_catalog

    settings = settings_from(file)
    catalog = build_catalog(settings, all_backends(settings))
    if as_json:
        print_json(settings.model_dump(mode="json"))
        return
    names = ", ".join(entry.id for entry in catalog.list())
    typer.echo(f"The configuration is right. Models: {names}. Data: {settings.data_dir}.")
