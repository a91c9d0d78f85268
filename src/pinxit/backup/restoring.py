"""Putting a backup back into an empty data folder, and no half of one: a folder that is not finished says so."""

import asyncio
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, text

from pinxit import durable
from pinxit.backup import databases
from pinxit.backup.layout import (
    BACKUPS,
    FILES,
    MANIFEST,
    NAME,
    PICTURES,
    BackupDamaged,
    Kind,
    Manifest,
    Picture,
    State,
    list_backups,
    list_pictures,
    prove,
    read_manifest,
)
from pinxit.backup.making import AT_ONCE, is_whole
from pinxit.database.interface import Database
from pinxit.database.migrate import MIGRATIONS
from pinxit.database.opening import open_database
from pinxit.errors import StartupError, StorageUnavailable
from pinxit.settings import Settings
from pinxit.storage.folder import UNFINISHED
from pinxit.storage.interface import StoredFileMissing
from pinxit.storage.local import LocalStorage

HARMLESS = ("pinxit.lock", "lost+found")
"""What may lie in an empty folder."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back. `damaged`: a sentence for each picture that was left out."""

    backup: Path
    manifest: Manifest
    damaged: tuple[str, ...]


def find(source: Path, name: str | None) -> tuple[Path, Path]:
    """The backup, and the folder of its pictures. `source`: where backups were made, or one backup in it; `name`: which
    one, None for the latest. Raises StartupError.
    """
    if name is None and NAME.fullmatch(source.name) and source.parent.name == BACKUPS:
        return source, source.parent.parent / PICTURES
    found = list_backups(source)
    chosen = [backup for backup in found if name in (None, backup.name)]
    if not chosen:
        there = f" It has: {', '.join(backup.name for backup in found)}." if found else ""
        raise StartupError(f"There is no such backup in {source}.{there}")
    return chosen[-1], source / PICTURES


def prepare(settings: Settings) -> None:
    """Begin, or begin anew what was interrupted. The folder must be held by the caller. Raises StartupError."""
    folder = settings.data_dir
    if (folder / UNFINISHED).exists():
        _clear(folder)
    elif any(path.name not in HARMLESS for path in folder.iterdir()):
        raise StartupError(f"The data folder {folder} is not empty: choose another with --data-dir, or empty it.")
    databases.require_empty(settings)


async def restore(
    settings: Settings, backup: Path, pool_folder: Path, pictures_folder: Path, *, allow_damaged: bool, say: Say
) -> Restored:
    """Put `backup` back into the prepared folder of `settings`, and bring its database up to date.

    `allow_damaged`: leave out pictures whose copies are damaged. Raises StartupError, StorageUnavailable; then the
    folder is as empty as before.
    """
    folder = settings.data_dir
    manifest = _read(backup, settings)
    durable.write(folder / UNFINISHED, f"{backup}\n".encode())
    durable.sync(folder)
    try:
        _put_files(backup / FILES, folder)
        damaged = await _put_pictures(backup, pool_folder, pictures_folder, allow_damaged, say)
        say("Rows")
        await asyncio.to_thread(databases.put_back, settings, backup / manifest.database.file)
        database = open_database(settings)
        try:
            await _mark_deleted(database, [each.id for each in list_pictures(backup) if each.state is State.DELETED])
        finally:
            await database.close()
    except BaseException:
        _clear(folder)
        raise
    (folder / UNFINISHED).unlink()
    durable.sync(folder)
    return Restored(backup, manifest, damaged)


def _read(backup: Path, settings: Settings) -> Manifest:
    """What it is, once it is proven and can be put back here. Raises StartupError."""
    if not (backup / MANIFEST).is_file():
        raise BackupDamaged(f"The backup {backup.name} has no {MANIFEST}.")
    prove(backup)
    manifest = read_manifest(backup)
    if not any(path.name.startswith(f"{manifest.schema}_") for path in (MIGRATIONS / "versions").glob("*.py")):
        raise StartupError(
            f"The backup {backup.name} was made by a newer Pinxit ({manifest.pinxit}, schema {manifest.schema}): "
            "install that version."
        )
    if manifest.database is not databases.kind_of(settings):
        remedy = "leave database_url out" if manifest.database is Kind.SQLITE else "name an empty one with database_url"
        raise StartupError(f"The backup {backup.name} is of a {manifest.database.value} database: {remedy}.")
    return manifest


def _clear(folder: Path) -> None:
    """Remove what an interrupted restore has put there; that it was one is forgotten last."""
    for path in folder.iterdir():
        if path.name in (*HARMLESS, UNFINISHED):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    (folder / UNFINISHED).unlink(missing_ok=True)


def _put_files(source: Path, folder: Path) -> None:
    for path in sorted(source.iterdir()) if source.is_dir() else ():
        durable.write(folder / path.name, path.read_bytes())


async def _put_pictures(
    backup: Path, pool_folder: Path, pictures_folder: Path, allow_damaged: bool, say: Say
) -> tuple[str, ...]:
    """A sentence for each that is damaged. Raises BackupDamaged for the first, unless they are allowed."""
    pool, target = LocalStorage(pool_folder), LocalStorage(pictures_folder)
    wanted = [picture for picture in list_pictures(backup) if picture.state is State.KEPT]
    waiting, damaged, done = iter(wanted), list[str](), 0

    async def put(picture: Picture) -> None:
        try:
            data = await pool.get(picture.key)
        except (StoredFileMissing, StorageUnavailable):
            damaged.append(f"The picture {picture.key} of the backup is missing or cannot be read.")
            return
        if not is_whole(picture, data):
            damaged.append(f"The picture {picture.key} of the backup is not as it was written.")
            return
        await target.put(picture.key, data, is_read_soon=False)

    async def work() -> None:
        nonlocal done
        for picture in waiting:
            await put(picture)
            if damaged and not allow_damaged:
                return
            done += 1
            say(f"Pictures: {done} of {len(wanted)}")

    try:
        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    finally:
        pool.close()
        target.close()
    if damaged and not allow_damaged:
        raise BackupDamaged(f"{damaged[0]} With --allow-damaged everything else is put back.")
    return tuple(damaged)


async def _mark_deleted(database: Database, image_ids: list[str]) -> None:
    """They were deleted while the backup was made: their rows were copied, their files were gone."""
    now = int(datetime.now(UTC).timestamp() * 1_000_000)

    def unit(connection: Connection) -> None:
        statement = text("UPDATE images SET deleted_at = :now, purged_at = :now WHERE id = :id")
        for image_id in image_ids:
            connection.execute(statement, {"now": now, "id": image_id})

    await database.write(unit)
