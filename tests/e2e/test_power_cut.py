"""The power fails under load.

The data folder is an ext4 file system in a file, mounted through a loop device. What a process has written and nobody
has synced is in the kernel's memory, not in that file: a copy of the file, taken while the server stands still, is
the disk as a power cut at that moment would leave it, the journal's replay at the next mount included. It models a
disk that keeps what it was told to flush; one that lies about it would lose more.

The two controls prove that this notices a mistake: servers that leave out the sync of their rows, or of their files,
must lose what they promised.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from books import damaged_files, files_below, read_books
from customers import Customers, Wanted
from disks import copy_disk, ext4
from nursery import Child, free_port
from running import eventually, pinxit
from shop import Shop, assert_fetchable, open_shop

pytestmark = [pytest.mark.system("mkfs.ext4", "mount", "umount", "cp"), pytest.mark.timeout(3600)]

SEED = int(os.environ.get("PINXIT_TEST_SEED", "1"))
CUTS = 100 if os.environ.get("PINXIT_TEST_LONG") == "1" else 5
CONTROLS = 5
PROMPTLY_SECONDS = 20.0
"""Less than the 45 seconds of a lease."""


@contextmanager
def shop_on_a_disk(folder: Path) -> Iterator[tuple[Shop, Path]]:
    """A shop whose data folder is on a disk of its own, and the file that is this disk."""
    image = folder / "image"
    with ext4(image, folder / "disk") as disk:
        (folder / "shop").mkdir()
        (disk / "data").mkdir()
        (folder / "shop" / "data").symlink_to(disk / "data")
        with open_shop(folder / "shop", PINXIT_MIN_FREE_DISK_BYTES="1000000") as shop:
            yield shop, image


@contextmanager
def loaded(shop: Shop, **options: str) -> Iterator[tuple[Child, Customers]]:
    """A server, and clients who order all the time."""
    child = shop.nursery.serve(**options)
    eventually(shop.is_ready, "the server to be ready", 60)
    customers = Customers(shop.nursery.url, shop.key, seed=SEED)
    customers.start()
    try:
        yield child, customers
    finally:
        customers.stop()
        child.stop()
    assert customers.surprises == []


def cut_power(child: Child, customers: Customers, image: Path, copy: Path) -> list[Wanted]:
    """Copy the disk as it is now. Returns what was promised before."""
    child.signal(signal.SIGSTOP)
    promised = customers.acknowledged
    copy_disk(image, copy)
    child.signal(signal.SIGCONT)
    return promised


def test_nothing_is_lost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chance = random.Random(SEED)
    kept = 0
    with shop_on_a_disk(tmp_path) as (shop, image), loaded(shop) as (child, customers):
        port = free_port()
        for number in range(CUTS):
            time.sleep(chance.uniform(0.2, 1.2))
            copy = tmp_path / f"copy-{number}"
            promised = cut_power(child, customers, image, copy)
            kept = len(promised)
            with customers.resting(), ext4(copy, tmp_path / f"cut-{number}") as disk:
                check_after_cut(shop, disk / "data", port, promised)
            copy.unlink()
        assert kept > 2 * CUTS
    with capsys.disabled():
        print(f"\n{CUTS} power cuts, seed {SEED}: 0 of {kept} promises lost")


def check_after_cut(shop: Shop, data: Path, port: int, promised: list[Wanted]) -> None:
    """A server over what is left has all that was promised, and nothing else."""
    before = read_books(data)
    assert before.problems == []
    child = shop.nursery.serve(data=data, port=port)
    with httpx2.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {shop.key}"}, timeout=60
    ) as client:
        eventually(lambda: answers(client), "a server over the disk that is left", 60)
        for wanted in promised[-30:]:
            wanted_here = Wanted(wanted.kind, wanted.prompt, pictures=wanted.pictures)
            assert_fetchable(client, wanted_here)
        # It knows them for those of its predecessor, and does not wait until their leases have run out.
        eventually(lambda: not read_books(data).open_orders, "the last order to end", PROMPTLY_SECONDS)
    child.stop()
    books = read_books(data)
    assert books.problems == []
    assert lost(promised, data) == []
    assert [wanted for wanted in promised if not books.charged[wanted.prompt]] == []
    assert books.files == files_below(data)
    assert books.held_micros == 0
    done = pinxit("fsck", "--data-dir", str(data), cwd=shop.folder, environ=shop.environ)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def answers(client: httpx2.Client) -> bool:
    try:
        return client.get("/health/ready").status_code == 200
    except httpx2.TransportError:
        return False


def lost(promised: list[Wanted], data: Path) -> list[Wanted]:
    """Promises without a row, or without the bytes."""
    books = read_books(data)
    damaged = set(damaged_files(data, books))
    return [
        wanted
        for wanted in promised
        for id_, sha in wanted.pictures.items()
        if id_ not in books.pictures or id_ in damaged or sha not in ("", books.pictures[id_][1])
    ]


@pytest.mark.parametrize("forgotten", ["rows", "files"])
def test_a_server_that_forgets_to_sync_loses_them(
    tmp_path: Path, forgotten: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The control. Rows: `synchronous=NORMAL`. Files: no fsync of pictures and folders."""
    losses = []
    with shop_on_a_disk(tmp_path) as (shop, image), loaded(shop, forgets=forgotten) as (child, customers):
        for number in range(CONTROLS):
            time.sleep(0.4)
            copy = tmp_path / f"copy-{number}"
            promised = cut_power(child, customers, image, copy)
            with ext4(copy, tmp_path / f"cut-{number}") as disk:
                losses.append(len(lost(promised, disk / "data")))
            copy.unlink()
    assert sum(losses) > 0, "a control that loses nothing proves nothing"
    with capsys.disabled():
        print(f"\nwithout the sync of {forgotten}: {losses} of the promises lost after {CONTROLS} power cuts")
