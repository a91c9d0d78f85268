"""LocalStorage over a real disk: whole files or none, wherever it fails. Its order of calls is tested elsewhere."""

import asyncio
import errno
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinxit.errors import StorageUnavailable
from pinxit.ids import new_image_name
from pinxit.storage.interface import StoredFileMissing
from pinxit.storage.local import LocalStorage

KEY = "generated/pinxit_3f0a6b1c-0000-4000-8000-000000000000.png"
PLACE = "generated/3f/pinxit_3f0a6b1c-0000-4000-8000-000000000000.png"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def storage(root: Path) -> Iterator[LocalStorage]:
    storage = LocalStorage(root)
    yield storage
    storage.close()


def files(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink() or not path.is_dir()]


async def test_what_is_put_can_be_got(storage: LocalStorage, root: Path):
    data = os.urandom(100_000)
    await storage.put(KEY, data)
    assert await storage.get(KEY) == data
    assert files(root) == [PLACE]
    assert (root / PLACE).stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("length", [1, 256 * 1024 - 1, 256 * 1024, 1024 * 1024 + 1, 5 * 1024 * 1024 + 4095])
async def test_what_is_not_read_soon_is_kept_just_so(storage: LocalStorage, length: int):
    data = random.Random(length).randbytes(length)
    await storage.put(KEY, data, is_read_soon=False)
    assert await storage.get(KEY) == data
    await storage.put(KEY, data[::-1], is_read_soon=False)
    assert await storage.get(KEY) == data[::-1]


@pytest.mark.parametrize("written", [None, 0, 4096, 128 * 1024])
async def test_a_disk_that_takes_no_whole_blocks(
    storage: LocalStorage, monkeypatch: pytest.MonkeyPatch, written: int | None
):
    """The first write is refused, or takes less than it was given."""
    data, real, first = random.Random(1).randbytes(500_000), os.write, [True]

    def reluctant(descriptor: int, view: memoryview) -> int:
        if not first:
            return real(descriptor, view)
        first.clear()
        if written is None:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(descriptor, view[:written])

    monkeypatch.setattr(os, "write", reluctant)
    await storage.put(KEY, data, is_read_soon=False)
    assert await storage.get(KEY) == data


async def test_an_empty_file_is_a_file(storage: LocalStorage):
    await storage.put(KEY, b"")
    assert await storage.get(KEY) == b""


async def test_a_second_put_replaces_the_whole(storage: LocalStorage):
    await storage.put(KEY, b"long" * 1000)
    await storage.put(KEY, b"short")
    assert await storage.get(KEY) == b"short"


async def test_files_are_spread_over_folders(storage: LocalStorage, root: Path):
    keys = [new_image_name("png") for _ in range(64)]
    await asyncio.gather(*[storage.put(key, key.encode()) for key in keys])
    assert len(list((root / "generated").iterdir())) > 20
    assert [await storage.get(key) for key in keys] == [key.encode() for key in keys]


async def test_what_is_not_there_is_missing(storage: LocalStorage):
    with pytest.raises(StoredFileMissing):
        await storage.get(KEY)


async def test_deleting_is_no_error_where_nothing_is(storage: LocalStorage, root: Path):
    await storage.delete(KEY)
    await storage.put(KEY, b"x")
    await storage.delete(KEY)
    await storage.delete(KEY)
    assert files(root) == []


async def test_deleting_also_removes_what_an_interrupted_put_left(storage: LocalStorage, root: Path):
    await storage.put(KEY, b"x")
    (root / f"{PLACE}.part").write_bytes(b"half")
    await storage.delete(KEY)
    assert files(root) == []


async def test_what_an_interrupted_put_left_is_in_nobody_s_way(storage: LocalStorage, root: Path):
    (root / PLACE).parent.mkdir(parents=True)
    (root / f"{PLACE}.part").write_bytes(b"half of something longer")
    with pytest.raises(StoredFileMissing):
        await storage.get(KEY)
    await storage.put(KEY, b"whole")
    assert await storage.get(KEY) == b"whole"
    assert files(root) == [PLACE]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../x",
        "generated/../x",
        "generated/pinxit_3f.png",
        KEY + "/",
        KEY + "\n",
        KEY + "\0",
        KEY.upper(),
        KEY.replace("/", "//"),
        KEY.replace("generated", "gen.erated"),
        KEY.replace(".png", ".png.part"),
        KEY.replace(".png", ""),
        "x/" + KEY,
        KEY.replace("3f0a", "éf0a"),
    ],
    ids=ascii,
)
async def test_a_key_of_another_form_is_a_bug_of_the_caller(storage: LocalStorage, root: Path, key: str):
    for call in (storage.put(key, b"x"), storage.get(key), storage.delete(key)):
        with pytest.raises(ValueError, match="not a storage key"):
            await call
    assert files(root) == []


# --- what can go wrong ----------------------------------------------------------------------------------------------


async def test_a_full_disk_leaves_nothing(storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch):
    """The real call, and then no room for the rest."""
    real = os.write

    def no_room_after_a_while(descriptor: int, data: memoryview) -> int:
        if len(data) < 5_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data[:1_000])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", no_room_after_a_while)
        with pytest.raises(StorageUnavailable) as refused:
            await storage.put(KEY, b"x" * 10_000)
    assert isinstance(refused.value.__cause__, OSError)
    assert files(root) == []
    await storage.put(KEY, b"there is room again")
    assert await storage.get(KEY) == b"there is room again"


@pytest.mark.parametrize("call", ["fsync", "open", "close"])
async def test_a_disk_that_fails_leaves_nothing(
    storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch, call: str
):
    (root / PLACE).parent.mkdir(parents=True)
    real = getattr(os, call)

    def broken(*arguments, **options):
        if call == "close":
            real(*arguments)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        with pytest.raises(StorageUnavailable):
            await storage.put(KEY, b"x")
    assert files(root) == []


async def test_a_folder_in_the_file_s_place_leaves_no_part(storage: LocalStorage, root: Path):
    (root / PLACE).mkdir(parents=True)
    with pytest.raises(StorageUnavailable):
        await storage.put(KEY, b"x")
    assert files(root) == []
    with pytest.raises(StorageUnavailable):
        await storage.get(KEY)


async def test_a_file_in_a_folder_s_place_is_unavailable(storage: LocalStorage, root: Path):
    (root / "generated").write_bytes(b"")
    with pytest.raises(StorageUnavailable):
        await storage.put(KEY, b"x")


async def test_a_symlink_is_not_followed(storage: LocalStorage, root: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (root / PLACE).parent.mkdir(parents=True)
    (root / PLACE).symlink_to(secret)
    with pytest.raises(StorageUnavailable):
        await storage.get(KEY)

    (root / f"{PLACE}.part").symlink_to(secret)
    with pytest.raises(StorageUnavailable):
        await storage.put(KEY, b"overwritten")
    assert secret.read_bytes() == b"secret"

    (root / PLACE).symlink_to(secret)
    await storage.delete(KEY)
    assert files(root) == []
    assert secret.read_bytes() == b"secret"


async def test_a_put_replaces_a_symlink_and_not_what_it_leads_to(storage: LocalStorage, root: Path, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (root / PLACE).parent.mkdir(parents=True)
    (root / PLACE).symlink_to(secret)
    await storage.put(KEY, b"picture")
    assert (secret.read_bytes(), await storage.get(KEY)) == (b"secret", b"picture")


async def test_nobody_reads_half_of_a_file(storage: LocalStorage, root: Path, monkeypatch: pytest.MonkeyPatch):
    """While the bytes are on their way to the disk there is nothing under the key."""
    syncing, go_on = threading.Event(), threading.Event()
    real = os.fsync

    def slow(descriptor: int) -> None:
        syncing.set()
        assert go_on.wait(10)
        real(descriptor)

    (root / PLACE).parent.mkdir(parents=True)
    monkeypatch.setattr(os, "fsync", slow)
    putting = asyncio.create_task(storage.put(KEY, b"whole"))
    await asyncio.to_thread(syncing.wait, 10)
    with pytest.raises(StoredFileMissing):
        await storage.get(KEY)
    go_on.set()
    await putting
    assert await storage.get(KEY) == b"whole"


async def test_free_bytes(storage: LocalStorage, root: Path):
    free = await storage.free_bytes()
    assert free is not None
    assert free > 0
    root.rmdir()
    with pytest.raises(StorageUnavailable):
        await storage.free_bytes()


async def test_closing_waits_for_what_is_under_way(root: Path):
    storage = LocalStorage(root)
    putting = [asyncio.create_task(storage.put(new_image_name("png"), b"x")) for _ in range(20)]
    await asyncio.sleep(0)
    storage.close()
    await asyncio.gather(*putting)
    assert len(files(root)) == 20
