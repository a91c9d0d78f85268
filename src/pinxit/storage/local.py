"""Files on a local disk, durable and whole.

A picture is written to `<name>.part`, fsynced, renamed, and its folder fsynced: after a crash there is the whole file
or
none (rename is atomic, and a new name is only safe once its folder is: fsync(2), "Calling fsync() does not necessarily
ensure that the entry in the directory … has also reached disk").
"""

import asyncio
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import structlog

from pinxit.errors import StorageUnavailable
from pinxit.storage.interface import Storage, StoredFileMissing

T = TypeVar("T")
log = structlog.get_logger(__name__)

_KEY = re.compile(r"([a-z]+)/([a-z]+_([0-9a-f]{2})[0-9a-f-]{34}\.[a-z]{2,5})", re.ASCII)
_PART = ".part"
THREADS = 8


class LocalStorage(Storage):
    """Keeps files under `root`, 256 folders of them by the first byte of their random name."""

    def __init__(self, root: Path) -> None:
        """`root` is made if it is missing. Raises OSError."""
        self._root = root
        root.mkdir(parents=True, exist_ok=True)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="storage")

    async def put(self, key: str, data: bytes) -> None:
        await self._run(lambda: _write_durably(self._path(key), data))

    async def get(self, key: str) -> bytes:
        return await self._run(lambda: _read(self._path(key)))

    async def delete(self, key: str) -> None:
        await self._run(lambda: _delete(self._path(key)))

    async def list_keys(self) -> set[str]:
        return await self._run(lambda: {self._key(path) for path in self._root.rglob("*") if not path.is_dir()})

    async def free_bytes(self) -> int | None:
        return await self._run(lambda: shutil.disk_usage(self._root).free)

    def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown()

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except OSError as error:
            log.error("storage_failed", error=error.strerror, errno=error.errno)
            raise StorageUnavailable from error

    def _key(self, path: Path) -> str:
        """The key that lives at `path`; what is not ours has its path for a name."""
        relative = path.relative_to(self._root)
        key = f"{relative.parts[0]}/{path.name}"
        return key if _KEY.fullmatch(key) and self._path(key) == path else str(relative)

    def _path(self, key: str) -> Path:
        """Where `key` lives. A key of another form than ours is a bug of the caller: ValueError."""
        parts = _KEY.fullmatch(key)
        if parts is None:
            raise ValueError("not a storage key")
        return self._root / parts[1] / parts[3] / parts[2]


def _write_durably(path: Path, data: bytes) -> None:
    _make_durable_folder(path.parent)
    part = path.with_name(path.name + _PART)
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
        try:
            _write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        part.rename(path)
        _sync_folder(path.parent)
    except OSError:
        _delete(path)
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _make_durable_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_durable_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise StoredFileMissing from error
    with os.fdopen(descriptor, "rb") as file:
        return file.read()


def _delete(path: Path) -> None:
    path.with_name(path.name + _PART).unlink(missing_ok=True)
    path.unlink(missing_ok=True)
