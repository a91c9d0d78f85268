import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pinxit import durable


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is brought to the disk, in its order: files and folders."""
    real, found = os.fsync, []

    def fsync(descriptor: int) -> None:
        real(descriptor)
        found.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", fsync)
    return found


@pytest.mark.parametrize("unless_there", [False, True])
def test_content_is_on_the_disk_before_its_name(tmp_path: Path, synced: list[str], unless_there: bool) -> None:
    durable.put(tmp_path / "key", b"secret", unless_there=unless_there)
    assert (tmp_path / "key").read_bytes() == b"secret"
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["key"]
    assert synced == ["file", "folder"]


def test_what_was_there_is_replaced_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"old")
    durable.put(path, b"new", unless_there=True)
    assert path.read_bytes() == b"old"
    durable.put(path, b"new")
    assert path.read_bytes() == b"new"


def without_links(*paths: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", without_links)
    durable.put(tmp_path / "key", b"secret", unless_there=True)
    assert (tmp_path / "key").read_bytes() == b"secret"


def full(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("work", [durable.put, lambda path, data: durable.put(path, data, unless_there=True)])
def test_nothing_half_done_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: Callable[[Path, bytes], None]
) -> None:
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        work(tmp_path / "key", b"secret")
    assert os.listdir(tmp_path) == []
