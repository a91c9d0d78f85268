"""What lies where in a backup.

DESTINATION/
  pictures/generated/3f/…       of all backups here; a picture never changes, so it is kept once
  backups/2026-11-22T03-00-00Z/
    manifest.json               versions, counts
    database.sqlite3            or database.pgdump
    pictures.jsonl              a line for each picture: its name, size and SHA-256
    files/…                     the small files of the data folder: secrets
    SHA256SUMS                  of all of the above; `sha256sum -c SHA256SUMS` proves it too
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pinxit import durable
from pinxit.errors import StartupError

FORMAT = 1
BACKUPS, PICTURES, FILES = "backups", "pictures", "files"
MANIFEST, LIST, SUMS = "manifest.json", "pictures.jsonl", "SHA256SUMS"
PART = ".part"
"""Ends the name of what is not finished."""
NAME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z(?:-[0-9]+)?", re.ASCII)
_BLOCK_BYTES = 1024 * 1024


class BackupDamaged(StartupError):
    """The backup is not as it was written."""


class Kind(StrEnum):
    """Of the database; each has a file of its own kind."""

    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"

    @property
    def file(self) -> str:
        return "database.sqlite3" if self is Kind.SQLITE else "database.pgdump"


class State(StrEnum):
    """What became of a picture."""

    KEPT = "kept"
    DELETED = "deleted"
    """Between the copy of its row and that of its file."""
    MISSING = "missing"
    """It should have been there, and was not, or was damaged."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One line of the list."""

    id: str
    key: str
    bytes: int
    sha256: str
    state: State = State.KEPT


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is. `schema`: the migration that its database was at. `pictures`: how many, and their bytes."""

    format: int
    pinxit: str
    made_at: str
    database: Kind
    schema: str
    counts: dict[str, int]
    pictures: int
    picture_bytes: int


def list_backups(destination: Path) -> list[Path]:
    """The finished ones, the oldest first."""
    folder = destination / BACKUPS
    return sorted(path for path in folder.glob("*") if NAME.fullmatch(path.name)) if folder.is_dir() else []


def read_manifest(backup: Path) -> Manifest:
    """Raises BackupDamaged; StartupError if a newer Pinxit has made it."""
    content = _read_json((backup / MANIFEST).read_text("utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("format"), int):
        raise BackupDamaged(f"{backup / MANIFEST} is no manifest of a backup.")
    if content["format"] > FORMAT:
        raise StartupError(f"The backup {backup.name} was made by a newer Pinxit ({content.get('pinxit')}). Use that.")
    try:
        return Manifest(**{**content, "database": Kind(content["database"])})
    except (TypeError, ValueError, KeyError) as error:
        raise BackupDamaged(f"{backup / MANIFEST} is no manifest of a backup.") from error


def list_pictures(backup: Path) -> Iterator[Picture]:
    """Raises BackupDamaged."""
    with (backup / LIST).open(encoding="utf-8") as lines:
        for line in lines:
            try:
                fields = _read_json(line)
                yield Picture(**{**fields, "state": State(fields["state"])})
            except (TypeError, ValueError, KeyError) as error:
                raise BackupDamaged(f"{backup / LIST} is damaged.") from error


def _read_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BackupDamaged("The backup is damaged: what should be JSON is not.") from error


# --- writing ---


def write_manifest(folder: Path, manifest: Manifest, pictures: list[Picture]) -> None:
    """All that is said about the files that lie in `folder` already; it is on the disk when this returns."""
    lines = "".join(json.dumps(asdict(picture), ensure_ascii=False) + "\n" for picture in pictures)
    durable.write(folder / LIST, lines.encode())
    durable.write(folder / MANIFEST, (json.dumps(asdict(manifest), indent=2) + "\n").encode())
    sums = "".join(f"{sha256_of(folder / name)}  {name}\n" for name in sorted(_files_in(folder)))
    durable.write(folder / SUMS, sums.encode())
    durable.sync(folder)


# --- proving ---


def prove(backup: Path) -> None:
    """Every file is as it was written, and none is missing or too many. Raises BackupDamaged, naming the first."""
    try:
        lines = (backup / SUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BackupDamaged(f"{backup / SUMS} cannot be read.") from error
    told = {name: sum_ for sum_, _, name in (line.partition("  ") for line in lines)}
    there = _files_in(backup)
    for name in sorted(set(told) ^ there):
        what = "is missing" if name in told else "does not belong there"
        raise BackupDamaged(f"The backup {backup.name} is damaged: {name} {what}.")
    for name in sorted(told):
        if sha256_of(backup / name) != told[name]:
            raise BackupDamaged(f"The backup {backup.name} is damaged: {name} is not as it was written.")


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _files_in(backup: Path) -> set[str]:
    """Names below `backup`, without that of the sums."""
    found = {path.relative_to(backup).as_posix() for path in backup.rglob("*") if not path.is_dir()}
    return found - {SUMS}
