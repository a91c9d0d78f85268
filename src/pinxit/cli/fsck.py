"""`pinxit fsck`: whether books, rows and files agree."""

import asyncio

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from
from pinxit.errors import StartupError
from pinxit.settings import Settings


def fsck(config: ConfigFile = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Prove the books and every stored picture; a server may be running. Ends with 1 if something is wrong."""
    problems = asyncio.run(check(settings_from(config, data_dir=data_dir)))
    if as_json:
        print_json({"ok": not problems, "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        if not problems:
            typer.echo("Everything is in order.")
    if problems:
        raise typer.Exit(1)


async def check(settings: Settings) -> list[str]:
    """What is wrong, a sentence each. Raises StartupError."""
    from pinxit.database.opening import sqlite_file
    from pinxit.ledger.invariants import check
    from pinxit.library.proof import check_files
    from pinxit.storage.folder import PICTURES_FOLDER
    from pinxit.storage.local import LocalStorage

    if settings.database_url is None and not sqlite_file(settings).is_file():
        raise StartupError(f"There is no database in {settings.data_dir}: name its folder with --data-dir.")
    async with open_rows(settings) as database:
        storage = LocalStorage(settings.data_dir / PICTURES_FOLDER)
        try:
            return [*await database.read(check), *await check_files(database, storage)]
        finally:
            storage.close()
