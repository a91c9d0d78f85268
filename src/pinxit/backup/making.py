"""Making a backup: rows first, as of one moment; then every file that they name; then the words about it all."""

import asyncio
import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pinxit import __version__, durable
from pinxit.backup import databases
from pinxit.backup.layout import (
    BACKUPS,
    FILES,
    FORMAT,
    NAME,
    PART,
    PICTURES,
    Manifest,
    Picture,
    State,
    list_backups,
    list_pictures,
    write_manifest,
)
from pinxit.database.opening import DATABASE_FILE
from pinxit.errors import StartupError, StorageUnavailable
from pinxit.settings import Settings
from pinxit.storage.interface import Storage, StoredFileMissing
from pinxit.storage.local import LocalStorage

AT_ONCE = 8
"""Pictures that are copied at the same time."""
NOT_KEPT = ("pinxit.lock", ".write-probe", ".restoring")
"""Files of the data folder that belong to whoever uses it now."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """A finished backup. `problems`: a sentence for each picture that should be in it and could not be."""

    folder: Path
    manifest: Manifest
    copied: int
    """Pictures that no earlier backup here had."""
    removed: int
    """Earlier backups that were not to be kept."""
    problems: tuple[str, ...]


async def make(
    settings: Settings, destination: Path, pictures_folder: Path, *, verify: bool, keep: int | None, say: Say
) -> Made:
    """A further backup in `destination`. A server may be running.

    `verify`: read the pictures that are there already as well, and copy those anew that are not as they were.
    `keep`: how many backups, this one included, stay. `say`: told how far it is. Raises StartupError,
    StorageUnavailable; then the earlier backups are as they were.
    """
    _require_apart(destination, settings.data_dir)
    with _alone(destination), _storage(pictures_folder) as source, _storage(destination / PICTURES) as pool:
        _sweep(destination)
        part = _begin(destination)
        snapshot = await asyncio.to_thread(databases.copy_rows, settings, part / databases.kind_of(settings).file, say)
        _copy_files(settings.data_dir, part / FILES)
        copying = _Copying(settings, source, pool, await pool.list_keys(), verify, say)
        pictures = await copying.copy(snapshot.pictures)
        kept = [picture for picture in pictures if picture.state is State.KEPT]
        manifest = Manifest(
            FORMAT,
            __version__,
            datetime.now(UTC).isoformat(timespec="seconds"),
            databases.kind_of(settings),
            snapshot.schema,
            snapshot.counts,
            len(kept),
            sum(picture.bytes for picture in kept),
        )
        write_manifest(part, manifest, pictures)
        folder = part.with_suffix("")
        part.rename(folder)  # from here on it is there
        durable.sync(folder.parent)
        removed = 0 if keep is None else await _forget(destination, keep, pool)
    problems = tuple(f"The picture {each.id} is not in it: {copying.why[each.id]}" for each in pictures if _lacks(each))
    return Made(folder, manifest, copying.copied, removed, problems)


def _lacks(picture: Picture) -> bool:
    return picture.state is State.MISSING


def _require_apart(destination: Path, data: Path) -> None:
    one, other = destination.resolve(), data.resolve()
    if one.is_relative_to(other) or other.is_relative_to(one):
        raise StartupError(f"A backup of {data} does not belong in {destination}: choose another disk or folder.")


@contextmanager
def _alone(destination: Path) -> Iterator[None]:
    """Makes the folder. Raises StartupError while another backup is made there, or if it cannot be written."""
    try:
        destination.mkdir(parents=True, exist_ok=True, mode=0o700)
        (destination / ".lock").touch(0o600)
    except OSError as error:
        raise StartupError(f"The folder {destination} cannot be written: {error.strerror}.") from error
    with (destination / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StartupError(f"Another backup is being made in {destination}: wait for it.") from error
        yield


@contextmanager
def _storage(folder: Path) -> Iterator[LocalStorage]:
    storage = LocalStorage(folder)
    try:
        yield storage
    finally:
        storage.close()


def _sweep(destination: Path) -> None:
    """Remove what a backup that was interrupted has left."""
    for left in (destination / BACKUPS).glob(f"*{PART}"):
        shutil.rmtree(left)
    for left in (destination / PICTURES).rglob(f"*{PART}"):
        left.unlink()


def _begin(destination: Path) -> Path:
    """The folder of the new backup, under a name that no backup has."""
    time, number = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ"), 1
    while (destination / BACKUPS / (name := time if number == 1 else f"{time}-{number}")).exists():
        number += 1
    assert NAME.fullmatch(name)
    part = destination / BACKUPS / f"{name}{PART}"
    part.mkdir(parents=True, mode=0o700)
    durable.sync(destination)
    return part


def _copy_files(data: Path, target: Path) -> None:
    """The small files of the data folder, secrets among them; of the database there is a better copy."""
    target.mkdir(mode=0o700)
    for path in sorted(data.iterdir()):
        if path.is_file() and not _is_left_out(path.name):
            durable.write(target / path.name, path.read_bytes())
    durable.sync(target)


def _is_left_out(name: str) -> bool:
    return name in NOT_KEPT or name.startswith(DATABASE_FILE) or name.endswith(PART)


class _Copying:
    """The pictures of one backup on their way."""

    def __init__(
        self, settings: Settings, source: Storage, pool: Storage, there: set[str], verify: bool, say: Say
    ) -> None:
        self._settings = settings
        self._source = source
        self._pool = pool
        self._there = there
        self._verify = verify
        self._say = say
        self._done = 0
        self.copied = 0
        self.why: dict[str, str] = {}
        """Picture's id → why it is not in the backup."""

    async def copy(self, pictures: list[Picture]) -> list[Picture]:
        """Each with what became of it."""
        waiting = iter(pictures)
        states: dict[str, State] = {}

        async def work() -> None:
            for picture in waiting:  # each takes the next one
                states[picture.id] = await self._keep(picture)
                self._done += 1
                self._say(f"Pictures: {self._done} of {len(pictures)}, {self.copied} of them new")

        async with asyncio.TaskGroup() as workers:
            for _ in range(AT_ONCE):
                workers.create_task(work())
        return [replace(picture, state=states[picture.id]) for picture in pictures]

    async def _keep(self, picture: Picture) -> State:
        if picture.key in self._there and not (self._verify and await self._is_harmed(picture)):
            return State.KEPT
        try:
            data = await self._source.get(picture.key)
        except StoredFileMissing:
            if await asyncio.to_thread(databases.is_deleted, self._settings, picture.id):
                return State.DELETED
            self.why[picture.id] = f"there is no file {picture.key}."
            return State.MISSING
        except StorageUnavailable as error:
            self.why[picture.id] = f"its file {picture.key} cannot be read: {error.message}"
            return State.MISSING
        if not is_whole(picture, data):
            self.why[picture.id] = f"its file {picture.key} is not as it was written."
            return State.MISSING
        await self._pool.put(picture.key, data, is_read_soon=False)
        self.copied += 1
        return State.KEPT

    async def _is_harmed(self, picture: Picture) -> bool:
        try:
            return not is_whole(picture, await self._pool.get(picture.key))
        except (StoredFileMissing, StorageUnavailable):
            return True


def is_whole(picture: Picture, data: bytes) -> bool:
    return len(data) == picture.bytes and hashlib.sha256(data).hexdigest() == picture.sha256


async def _forget(destination: Path, keep: int, pool: Storage) -> int:
    """Remove all backups but the latest, and the pictures that none of those names. Returns how many it removed."""
    backups = list_backups(destination)
    old, kept = backups[:-keep], backups[-keep:]
    for backup in old:
        doomed = backup.with_name(backup.name + PART)  # half removed, it is none any more
        backup.rename(doomed)
        shutil.rmtree(doomed)
    named = {picture.key for backup in kept for picture in list_pictures(backup)}
    for key in await pool.list_keys() - named:
        await pool.delete(key)
    return len(old)
