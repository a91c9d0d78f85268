"""File systems of a test's own, in a file: what a power cut would leave of them can be looked at any time."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEBIBYTES = 256


@contextmanager
def mounted(kind: str, options: str, source: Path | str, folder: Path) -> Iterator[Path]:
    """`source` mounted at the new `folder`. A counted skip where this user has no right to mount anything."""
    folder.mkdir(parents=True)
    done = subprocess.run(
        ["mount", "-t", kind, "-o", options, str(source), str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = f"needs the right to mount a file system: {done.stderr.strip()}"
        if os.environ.get("PINXIT_REQUIRE_ALL") == "1":
            pytest.fail(said, pytrace=False)
        pytest.skip(said)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextmanager
def ext4(image: Path, folder: Path) -> Iterator[Path]:
    """An ext4 file system in the file `image`, made if it is not there, with a journal that hardly ever writes by
    itself: what nobody syncs stays in memory.
    """
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(MEBIBYTES * 2**20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    with mounted("ext4", "loop,commit=300", image, folder) as disk:
        yield disk


def copy_disk(image: Path, to: Path) -> None:
    """What is on the disk now, and not what the kernel keeps in memory for it."""
    subprocess.run(["cp", "--sparse=always", str(image), str(to)], check=True)
