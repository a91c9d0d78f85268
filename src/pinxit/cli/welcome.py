"""What a server says when it is up: where it is; at its first start a key, a curl line and a link into the console."""

import json
from pathlib import Path

import typer

from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.app import House
from pinxit.console.people import join_url
from pinxit.keys import repository
from pinxit.keys.model import KeyOptions
from pinxit.keys.service import local_caller

EXAMPLE = {"model": "gpt-image-1", "prompt": "A cute baby sea otter", "n": 1, "output_format": "url"}


async def welcome(house: House, port: int) -> None:
    """Print the address; make and print the first API key if there is none yet, and a link into the console while it
    has no user.
    """
    settings = house.services.settings
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 only to show an address
    address = settings.public_url or f"http://{host}:{port}"
    typer.echo(f"Pinxit serves {address} · data in {_shown(settings.data_dir)}")
    if not await house.database.read(repository.any_exists):
        options = KeyOptions(name="first key")
        _, secret = await house.services.keys.create(local_caller(DEFAULT_ACCOUNT), options)
        typer.echo(f"\nYour API key, shown this once:\n\n  {secret}\n")
        typer.echo(f"Your first picture:\n\n{curl(address, secret)}\n")
    token = await house.services.users.first_link() if settings.console else None
    if token is not None:
        typer.echo(f"The console in a browser, by a link that works once, for a day:\n\n  {join_url(address, token)}\n")


def curl(address: str, secret: str) -> str:
    """A command to paste."""
    return (
        f'curl {address}/v1/images/generations -H "Content-Type: application/json" -H "Authorization: {secret}" \\\n'
        f"  -d '{json.dumps(EXAMPLE)}'"
    )


def _shown(folder: Path) -> str:
    return str(folder) if folder.is_absolute() else f"./{folder}"
