"""Small files that can be made again: written whole or not at all, and no harm done if they cannot be."""

import os
import re
import secrets
from pathlib import Path

import structlog

log = structlog.get_logger(__name__)

_NAME = re.compile(r"[a-z]+_([0-9a-f]{2})[0-9a-f]{30}\.[a-z]{2,5}", re.ASCII)


class FileCache:
    """Files under `root`, 256 folders of them by the first byte of their random name, like `img_<32 hex>.webp`.

    Several processes may write the same name at once: each writes a file of its own and renames it. It blocks: call
    it in a thread.
    """

    def __init__(self, root: Path) -> None:
        """`root` is made with the first file."""
        self._root = root

    def find(self, name: str) -> bytes | None:
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            log.warning("cache_not_read", name=name, error=error.strerror)
            return None

    def keep(self, name: str, data: bytes) -> None:
        """What cannot be kept is made again the next time."""
        path = self._path(name)
        part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())  # else a power cut could leave the name with nothing in it
                part.rename(path)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            log.warning("cache_not_written", name=name, error=error.strerror)

    def forget(self, name: str) -> None:
        """It is no error if there is none. Raises OSError."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        for part in path.parent.glob(f"{path.name}.*.part"):  # of a process that was killed
            part.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        parts = _NAME.fullmatch(name)
        if parts is None:
            raise ValueError("not a name of the cache")
        return self._root / parts[1] / name
