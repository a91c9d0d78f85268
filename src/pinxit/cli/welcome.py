"""What a server says when it is up: where it is, and at its first start a key and a curl line that work."""

import json
from pathlib import Path

import typer

from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.app import House
from pinxit.keys import repository
from pinxit.keys.model import KeyOptions
from pinxit.keys.service import local_caller

EXAMPLE = {"model": "gpt-image-1", "prompt": "A cute baby sea otter", "n": 1, "output_format": "url"}


async def welcome(house: House, port: int) -> None:
    """Print the address; make and print the first API key if there is none yet."""
    settings = house.services.settings
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.host, settings.host)  # noqa: S104 only to show an address
    address = settings.public_url or f"http://{host}:{port}"
    typer.echo(f"Pinxit serves {address} · data in {_shown(settings.data_dir)}")
    if await house.database.read(repository.any_exists):
        return
    options = KeyOptions(name="first key")
    _, secret = await house.services.keys.create(local_caller(DEFAULT_ACCOUNT), options)
    typer.echo(f"\nYour API key, shown this once:\n\n  {secret}\n\nYour first picture:\n\n{curl(address, secret)}\n")


def curl(address: str, secret: str) -> str:
    """A command to paste."""
    return (
        f'curl {address}/v1/images/generations -H "Content-Type: application/json" -H "Authorization: {secret}" \\\n'
        f"  -d '{json.dumps(EXAMPLE)}'"
    )


def _shown(folder: Path) -> str:
    return str(folder) if folder.is_absolute() else f"./{folder}"
