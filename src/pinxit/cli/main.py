"""`pinxit`: what is said wrong ends in one sentence on standard error, never in a traceback."""

import sys
from typing import Annotated

import typer

from pinxit import __version__
from pinxit.cli import (
    accounts,
    audit,
    backup,
    config,
    credentials,
    fsck,
    generate,
    keys,
    models,
    providers,
    serve,
    usage,
    webhooks,
)
from pinxit.errors import PinxitError

app = typer.Typer(
    name="pinxit",
    help="One text-to-image API for the models you run and the models you rent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="serve")(serve.serve)
app.command(name="generate")(generate.generate)
app.command(name="models")(models.models)
app.command(name="providers")(providers.providers)
app.command(name="usage")(usage.usage)
app.command(name="audit")(audit.audit)
app.command(name="backup")(backup.backup)
app.command(name="restore")(backup.restore)
app.command(name="fsck")(fsck.fsck)
app.add_typer(accounts.app, name="accounts")
app.add_typer(keys.app, name="keys")
app.add_typer(webhooks.app, name="webhooks")
app.add_typer(credentials.app, name="credentials")
app.add_typer(config.app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pinxit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """One text-to-image API for the models you run and the models you rent."""


def main() -> None:
    """The entry point of the program."""
    try:
        app()
    except PinxitError as error:
        typer.secho(f"pinxit: {error.message}", err=True, fg=typer.colors.RED if sys.stderr.isatty() else None)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
