"""Files that are on the disk when a function returns, whatever happens to the machine the moment after.

The content of a file and its name in the folder are two things to bring to the disk (fsync(2)).
"""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """What was written to a file is on the disk when this returns; of a folder, the names in it. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(path: Path, data: bytes) -> None:
    """A file for its owner's eyes only. Its name is safe after `sync` of the folder. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def put(path: Path, data: bytes, *, unless_there: bool = False) -> None:
    """A small file for its owner's eyes only, whole or not at all, in place of what was there.

    `unless_there`: of two processes that make it, the first wins. Raises OSError.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.unlink(missing_ok=True)
        write(part, data)
        if unless_there:
            _link(part, path)
        else:
            part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _link(part: Path, path: Path) -> None:
    try:
        os.link(part, path)
    except FileExistsError:
        pass
    except OSError:  # a file system without hard links
        part.replace(path)
