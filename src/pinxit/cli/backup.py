"""`pinxit backup` and `pinxit restore`: a copy of everything, and back."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pinxit.cli.common import AsJson, ConfigFile, DataDir, open_rows, print_json, settings_from, utc_now
from pinxit.settings import Settings

if TYPE_CHECKING:
    from pinxit.audit import Action
    from pinxit.backup.layout import Manifest
    from pinxit.backup.making import Made
    from pinxit.backup.restoring import Restored

SECONDS_BETWEEN_WORDS = 2.0


def backup(
    destination: Annotated[Path, typer.Argument(help="Folder of the backups, on another disk.")],
    keep: Annotated[
        int | None, typer.Option(help="Keep so many backups there; remove older ones.", min=1, show_default=False)
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Read pictures that are there already as well.")] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Copy everything to a folder; a server may be running. Ends with 1 if a picture could not be copied."""
    settings = settings_from(config, data_dir=data_dir)
    made = asyncio.run(_make(settings, destination, verify, keep))
    _clear_line()
    if as_json:
        print_json(
            {
                **_shape(made.folder, made.manifest),
                "copied_pictures": made.copied,
                "removed_backups": made.removed,
                "problems": list(made.problems),
            }
        )
    else:
        for problem in made.problems:
            typer.echo(problem)
        typer.echo(f"{made.folder}: {_words(made.manifest)}, {made.copied} copied now.")
    if made.problems:
        raise typer.Exit(1)


def restore(
    source: Annotated[Path, typer.Argument(help="Folder of the backups, or one backup in it.")],
    name: Annotated[
        str | None, typer.Option("--backup", help="Which one, by its name; the latest.", show_default=False)
    ] = None,
    allow_damaged: Annotated[
        bool, typer.Option("--allow-damaged", help="Leave out pictures whose copies are damaged.")
    ] = False,
    config: ConfigFile = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup back into an empty data folder, and prove it. Ends with 1 if something is wrong with it."""
    settings = settings_from(config, data_dir=data_dir)
    restored, problems = asyncio.run(_restore(settings, source, name, allow_damaged))
    _clear_line()
    if as_json:
        print_json({**_shape(restored.backup, restored.manifest), "ok": not problems, "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        typer.echo(f"{restored.backup.name} is in {settings.data_dir}: {_words(restored.manifest)}.")
    if problems:
        raise typer.Exit(1)


async def _make(settings: Settings, destination: Path, verify: bool, keep: int | None) -> "Made":
    from pinxit.audit import Action
    from pinxit.backup.making import make
    from pinxit.database.migrate import HEAD
    from pinxit.storage.folder import PICTURES_FOLDER

    pictures = settings.data_dir / PICTURES_FOLDER
    made = await make(settings, destination, pictures, verify=verify, keep=keep, say=_teller())
    if made.manifest.schema == HEAD:  # an older database is left as it is: its own version may be running
        await _note(settings, Action.BACKUP_MADE, made.folder, made.manifest)
    return made


async def _restore(
    settings: Settings, source: Path, name: str | None, allow_damaged: bool
) -> "tuple[Restored, list[str]]":
    """What was put back, and everything that is wrong with it."""
    from pinxit.audit import Action
    from pinxit.backup import restoring
    from pinxit.cli.fsck import check
    from pinxit.cli.serve import lock_folder
    from pinxit.storage.folder import PICTURES_FOLDER

    found, pool = restoring.find(source, name)
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    with lock_folder(settings.data_dir):
        restoring.prepare(settings)
        pictures = settings.data_dir / PICTURES_FOLDER
        restored = await restoring.restore(settings, found, pool, pictures, allow_damaged=allow_damaged, say=_teller())
        await _note(settings, Action.BACKUP_RESTORED, found, restored.manifest)
        return restored, [*restored.damaged, *await check(settings)]


async def _note(settings: Settings, action: "Action", folder: Path, manifest: "Manifest") -> None:
    from pinxit import audit

    thing = audit.Thing("backup", folder.name, str(folder.parent.parent))
    after = {"pictures": manifest.pictures, **manifest.counts}
    async with open_rows(settings) as database:
        origin, now = audit.current(), utc_now()
        await database.write(
            lambda connection: audit.note(connection, origin, action, thing, account_id=None, at=now, after=after)
        )


def _teller() -> Callable[[str], None]:
    """Says how far it is on standard error: often to people, now and then to a log."""
    is_terminal, said_at = sys.stderr.isatty(), 0.0

    def say(words: str) -> None:
        nonlocal said_at
        if time.monotonic() - said_at < (0.1 if is_terminal else SECONDS_BETWEEN_WORDS):
            return
        said_at = time.monotonic()
        typer.echo(f"\r\033[K{words}" if is_terminal else words, err=True, nl=not is_terminal)

    return say


def _clear_line() -> None:
    if sys.stderr.isatty():
        typer.echo("\r\033[K", err=True, nl=False)


def _shape(folder: Path, manifest: "Manifest") -> dict[str, Any]:
    return {
        "backup": str(folder),
        "made_at": manifest.made_at,
        "pinxit": manifest.pinxit,
        "database": manifest.database.value,
        "schema": manifest.schema,
        "counts": manifest.counts,
        "pictures": manifest.pictures,
        "picture_bytes": manifest.picture_bytes,
    }


def _words(manifest: "Manifest") -> str:
    return f"{manifest.counts.get('generations', 0)} orders, {manifest.pictures} pictures"
