"""A server at work is backed up, and its copy goes on elsewhere; both commands are killed in the middle."""

import hashlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from books import damaged_files, read_books
from running import PINXIT, Server, environment, eventually, pinxit, serving

from pinxit.backup.layout import State, list_backups, list_pictures, prove
from pinxit.errors import StartupError
from pinxit.storage.folder import prepare_data_folder


def done(result: subprocess.CompletedProcess[str]) -> dict:
    assert result.returncode == 0, result.stderr + result.stdout
    return json.loads(result.stdout)


def backed_up(server: Server, backups: Path) -> dict:
    return done(pinxit("backup", str(backups), "--data-dir", str(server.folder), "--json", cwd=backups.parent))


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups") / "of-the-server"


def test_a_server_at_work_goes_on_elsewhere_from_its_backup(server: Server, backups: Path, tmp_path: Path):
    """Orders are under way all the time; the copy has the same pictures and balances, and the same key opens it."""
    elsewhere = tmp_path / "elsewhere"
    first = server.generate().json()["data"][0]
    top_up = ("accounts", "top-up", "acct_default", "7.25", "--reference", f"backup-{tmp_path.name}")
    assert pinxit(*top_up, "--data-dir", str(server.folder), cwd=tmp_path).returncode == 0
    with orders_under_way(server):
        made = backed_up(server, backups)
    restored = pinxit("restore", str(backups), "--data-dir", str(elsewhere / "data"), "--json", cwd=tmp_path)
    assert done(restored)["ok"]
    assert "Pictures: " in restored.stderr

    kept = [each for each in list_pictures(Path(made["backup"])) if each.state is State.KEPT]
    before = read_books(elsewhere / "data")
    assert (before.problems, damaged_files(elsewhere / "data", before)) == ([], [])
    assert {each.id for each in kept} <= set(before.pictures)
    assert before.balance_micros >= 7_250_000
    with serving(elsewhere, key=server.key) as other:
        for each in kept:
            shown = other.client.get(f"/v1/images/{each.id}", headers=other.authorization).json()
            path = shown["url"].partition("/image/")
            picture = other.client.get(f"/image/{path[2]}")
            assert hashlib.sha256(picture.content).hexdigest() == each.sha256
        assert first["id"] in {each.id for each in kept}
        assert other.generate().status_code == 200
        open_orders = [order for order in before.open_orders if other.find_generation(order) is not None]
        for order in open_orders:
            eventually(lambda order=order: (other.find_generation(order) or {})["status"] == "completed", "its end", 60)
    after = read_books(elsewhere / "data")
    assert (after.problems, damaged_files(elsewhere / "data", after), after.open_orders) == ([], [], [])


@contextmanager
def orders_under_way(server: Server) -> Iterator[None]:
    """From before the block begins until after it has ended."""
    enough, painted = threading.Event(), threading.Semaphore(0)
    failures: list[str] = []

    def work() -> None:
        while not enough.is_set():
            answer = server.generate(num_inference_steps=4)
            if answer.status_code != 200:
                failures.append(answer.text)
            painted.release()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    try:
        assert painted.acquire(timeout=60)
        yield
    finally:
        enough.set()
        for worker in workers:
            worker.join(60)
    assert failures == []


def test_kill_9_in_the_middle(server: Server, backups: Path, tmp_path: Path):
    """A picture that is a pipe holds either command up just there. What was whole before stays so."""
    elsewhere, before = tmp_path / "elsewhere", list_backups(backups)
    new = server.generate().json()["data"][0]
    file = next(path for path in (server.folder / "pictures").rglob("*.*") if path.name in new["url"])
    with held_up_at(file):
        killed(
            ("backup", str(backups), "--data-dir", str(server.folder)),
            lambda: list((backups / "backups").glob("*.part/database.sqlite3")),
        )
    assert list_backups(backups) == before
    for backup in before:
        prove(backup)
    assert backed_up(server, backups)["problems"] == []
    assert list_backups(backups)[:-1] == before
    assert not list(backups.rglob("*.part"))

    with held_up_at(next(path for path in (backups / "pictures").rglob("*.*") if path.name == file.name)):
        killed(("restore", str(backups), "--data-dir", str(elsewhere)), lambda: (elsewhere / "signing.key").exists())
    with pytest.raises(StartupError, match="run `pinxit restore` again"):
        prepare_data_folder(elsewhere)  # as a server does at its start
    assert done(pinxit("restore", str(backups), "--data-dir", str(elsewhere), "--json", cwd=tmp_path))["ok"]


@contextmanager
def held_up_at(file: Path) -> Iterator[None]:
    """Who reads `file` waits, until the end of the block."""
    aside = file.with_name(f"{file.name}.aside")
    file.rename(aside)
    os.mkfifo(file)
    try:
        yield
    finally:
        aside.replace(file)


def killed(arguments: tuple[str, ...], when) -> None:
    """Run the command, and kill it as soon as `when` is true. It must not have ended by then."""
    process = subprocess.Popen(
        [str(PINXIT), *arguments], env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(when, "the command to be in the middle")
        assert process.poll() is None
    finally:
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
