"""`pinxit backup` and `pinxit restore`, in process: what is in a backup, what is found when it is harmed, what is
refused.
"""

import asyncio
import hashlib
import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from databases import open_engine
from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.backup import layout
from pinxit.backup.making import make
from pinxit.cli.main import app
from pinxit.database import migrate
from pinxit.database.opening import DATABASE_FILE
from pinxit.errors import StartupError
from pinxit.ledger import ledger
from pinxit.settings import load_settings


def pinxit(*arguments: str | Path) -> Any:
    """What the command says as JSON. Raises what it raises."""
    result = CliRunner().invoke(app, [*map(str, arguments), "--json"], env={"COLUMNS": "200"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    said = json.loads(result.stdout[result.stdout.index("\n{") + 1 if not result.stdout.startswith("{") else 0 :])
    return {**said, "exit": result.exit_code}


@pytest.fixture
async def house(make_front: MakeFront) -> Front:
    """Three pictures, one of them deleted again; and money."""
    front = await make_front()
    painted = [(await front.generate(prompt=f"picture {number}")).json()["data"][0] for number in range(3)]
    await front.house.services.library.delete(DEFAULT_ACCOUNT, painted[0]["id"])
    now = front.house.services.now()
    await front.house.database.write(
        lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, 5_000_000, reference="invoice-1", now=now)
    )
    return front


def data_of(front: Front) -> Path:
    return front.house.services.settings.data_dir


def sums_below(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


async def run(*arguments: str | Path) -> Any:
    """Beside the house, which goes on."""
    return await asyncio.to_thread(pinxit, *arguments)


async def test_there_and_back(house: Front, tmp_path: Path):
    data, backups, elsewhere = data_of(house), tmp_path / "backups", tmp_path / "elsewhere"
    made = await run("backup", backups, "--data-dir", data)
    assert (made["exit"], made["pictures"], made["copied_pictures"], made["problems"]) == (0, 2, 2, [])
    assert made["counts"]["transfers"] == 1
    restored = await run("restore", backups, "--data-dir", elsewhere)
    assert (restored["exit"], restored["ok"], restored["problems"]) == (0, True, [])
    assert sums_below(elsewhere / "pictures") == sums_below(data / "pictures")
    for name in ("signing.key", "instance.id"):
        assert (elsewhere / name).read_bytes() == (data / name).read_bytes()
    assert stat.S_IMODE((elsewhere / "signing.key").stat().st_mode) == 0o600
    balances = [pinxit_balance(folder) for folder in (data, elsewhere)]
    assert balances[0] == balances[1] == 5_000_000


def pinxit_balance(folder: Path) -> int:
    with sqlite3.connect(folder / DATABASE_FILE) as connection:
        return connection.execute("SELECT balance_micros FROM ledger_accounts WHERE kind = 'credits'").fetchone()[0]


async def test_nobody_else_can_read_it(house: Front, tmp_path: Path):
    made = await run("backup", tmp_path / "backups", "--data-dir", data_of(house))
    folder = Path(made["backup"])
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "backups").stat().st_mode) == 0o700


async def test_pictures_are_copied_once_and_forgotten_with_their_last_backup(house: Front, tmp_path: Path):
    data, backups = data_of(house), tmp_path / "backups"
    await run("backup", backups, "--data-dir", data)
    new = (await house.generate(prompt="a fourth")).json()["data"][0]
    assert (await run("backup", backups, "--data-dir", data))["copied_pictures"] == 1
    await house.house.services.library.delete(DEFAULT_ACCOUNT, new["id"])
    third = await run("backup", backups, "--data-dir", data, "--keep", "2")
    assert (third["copied_pictures"], third["removed_backups"], third["pictures"]) == (0, 1, 2)
    assert len(sums_below(backups / "pictures")) == 3, "the second one still has it"
    await run("backup", backups, "--data-dir", data, "--keep", "1")
    assert len(sums_below(backups / "pictures")) == 2
    assert len(layout.list_backups(backups)) == 1


async def test_an_earlier_backup_can_be_put_back(house: Front, tmp_path: Path):
    data, backups = data_of(house), tmp_path / "backups"
    first = Path((await run("backup", backups, "--data-dir", data))["backup"])
    await house.generate(prompt="a fourth")
    await run("backup", backups, "--data-dir", data)
    assert (await run("restore", backups, "--data-dir", tmp_path / "latest"))["pictures"] == 3
    assert (await run("restore", backups, "--backup", first.name, "--data-dir", tmp_path / "a"))["pictures"] == 2
    assert (await run("restore", first, "--data-dir", tmp_path / "b"))["pictures"] == 2
    with pytest.raises(StartupError, match="There is no such backup"):
        await run("restore", backups, "--backup", "2020-01-01T00-00-00Z", "--data-dir", tmp_path / "c")


async def test_every_flipped_byte_is_found(house: Front, tmp_path: Path):
    made = await run("backup", tmp_path / "backups", "--data-dir", data_of(house))
    elsewhere = tmp_path / "elsewhere"
    files = [path for path in (tmp_path / "backups").rglob("*") if path.is_file() and path.name != ".lock"]
    assert len(files) == 8  # three about it, the rows, two secrets, two pictures
    for path in files:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        whole = path.read_bytes()
        path.write_bytes(data)
        with pytest.raises(StartupError):
            await run("restore", made["backup"], "--data-dir", elsewhere)
        assert [each.name for each in elsewhere.iterdir()] in ([], ["pinxit.lock"]), path.name
        path.write_bytes(whole)
    assert (await run("restore", made["backup"], "--data-dir", elsewhere))["ok"]


async def test_what_is_missing_or_too_many_is_found(house: Front, tmp_path: Path):
    made = Path((await run("backup", tmp_path / "backups", "--data-dir", data_of(house)))["backup"])
    (made / "files" / "more").write_text("x")
    with pytest.raises(StartupError, match="files/more does not belong there"):
        await run("restore", made, "--data-dir", tmp_path / "elsewhere")
    (made / "files" / "more").unlink()
    (made / "files" / "instance.id").unlink()
    with pytest.raises(StartupError, match=r"instance\.id is missing"):
        await run("restore", made, "--data-dir", tmp_path / "elsewhere")


async def test_what_is_left_of_a_damaged_one_can_be_put_back(house: Front, tmp_path: Path):
    backups, elsewhere = tmp_path / "backups", tmp_path / "elsewhere"
    await run("backup", backups, "--data-dir", data_of(house))
    victim = next(path for path in (backups / "pictures").rglob("*.*") if path.is_file())
    victim.write_bytes(b"x")
    assert not (await run("backup", backups, "--data-dir", data_of(house)))["problems"]
    with pytest.raises(StartupError, match="--allow-damaged"):
        await run("restore", backups, "--data-dir", elsewhere)
    left = await run("restore", backups, "--data-dir", elsewhere, "--allow-damaged")
    assert (left["exit"], left["ok"], len(left["problems"])) == (1, False, 2)  # the copy is; and so fsck misses a file
    healed = await run("backup", backups, "--data-dir", data_of(house), "--verify")
    assert healed["copied_pictures"] == 1
    assert (await run("restore", backups, "--data-dir", tmp_path / "again"))["ok"]


async def test_a_picture_that_is_deleted_meanwhile_is_no_error(house: Front, tmp_path: Path):
    """Its row is in the copy of the rows already."""
    data, backups, elsewhere = data_of(house), tmp_path / "backups", tmp_path / "elsewhere"
    (victim, _) = await house.house.services.library.list(DEFAULT_ACCOUNT, after=None, limit=5)
    loop, words = asyncio.get_running_loop(), []

    def delete(said: str) -> None:
        if not words:
            deleting = house.house.services.library.delete(DEFAULT_ACCOUNT, victim.image.id)
            asyncio.run_coroutine_threadsafe(deleting, loop).result(30)
        words.append(said)

    settings = house.house.services.settings
    made = await make(settings, backups, data / "pictures", verify=False, keep=None, say=delete)
    assert words[0].startswith("Rows")
    states = {each.id: each.state for each in layout.list_pictures(made.folder)}
    assert states[victim.image.id] is layout.State.DELETED
    assert (made.problems, made.manifest.pictures) == ((), 1)
    restored = await run("restore", backups, "--data-dir", elsewhere)
    assert (restored["ok"], restored["problems"]) == (True, [])


async def test_a_picture_that_is_lost_or_damaged_is_told_and_the_rest_is_kept(house: Front, tmp_path: Path):
    lost, damaged = [path for path in (data_of(house) / "pictures").rglob("*.*") if path.is_file()]
    lost.unlink()
    damaged.write_bytes(b"x")
    made = await run("backup", tmp_path / "backups", "--data-dir", data_of(house))
    assert (made["exit"], made["pictures"], len(made["problems"])) == (1, 0, 2)
    restored = await run("restore", tmp_path / "backups", "--data-dir", tmp_path / "elsewhere")
    assert (restored["exit"], len(restored["problems"])) == (1, 2)
    assert restored["counts"]["images"] == 3


async def test_what_is_refused(house: Front, tmp_path: Path):
    data, backups = data_of(house), tmp_path / "backups"
    for inside in (data / "backups", tmp_path):
        with pytest.raises(StartupError, match="does not belong in"):
            await run("backup", inside, "--data-dir", data)
    with pytest.raises(StartupError, match="There is no database"):
        await run("backup", backups, "--data-dir", tmp_path / "nowhere")
    await run("backup", backups, "--data-dir", data)
    full = tmp_path / "full"
    full.mkdir()
    (full / "something").touch()
    with pytest.raises(StartupError, match="not empty"):
        await run("restore", backups, "--data-dir", full)
    assert [path.name for path in full.iterdir() if path.name != "pinxit.lock"] == ["something"]
    from pinxit.cli.serve import lock_folder

    used = tmp_path / "used"
    used.mkdir()
    with lock_folder(used), pytest.raises(StartupError, match="Another Pinxit server"):
        await run("restore", backups, "--data-dir", used)


async def test_a_second_backup_at_the_same_time_waits_for_nobody(house: Front, tmp_path: Path):
    import fcntl

    backups = tmp_path / "backups"
    backups.mkdir()
    with (backups / ".lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StartupError, match="Another backup is being made"):
            await run("backup", backups, "--data-dir", data_of(house))


async def test_an_older_backup_is_brought_up_to_date_and_a_newer_one_refused(house: Front, tmp_path: Path):
    made = Path((await run("backup", tmp_path / "backups", "--data-dir", data_of(house)))["backup"])
    rows = made / "database.sqlite3"
    with sqlite3.connect(rows) as connection:  # as it was before jobs far away were written down
        connection.execute("ALTER TABLE attempts DROP COLUMN jobs")
        connection.execute("UPDATE alembic_version SET version_num = '0012'")
    connection.close()
    forge(made, schema="0012")
    assert (await run("restore", made, "--data-dir", tmp_path / "older"))["ok"]
    with open_engine(load_settings(environ={}, overrides={"data_dir": tmp_path / "older"})).connect() as connection:
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one()
    assert found == migrate.HEAD
    forge(made, schema="9999")
    with pytest.raises(StartupError, match="newer Pinxit"):
        await run("restore", made, "--data-dir", tmp_path / "newer")
    forge(made, schema="0012", format=2)
    with pytest.raises(StartupError, match="newer Pinxit"):
        await run("restore", made, "--data-dir", tmp_path / "newer")
    forge(made, schema="0012", format=1, database="postgresql")
    with pytest.raises(StartupError, match="of a postgresql database"):
        await run("restore", made, "--data-dir", tmp_path / "other")


def forge(backup: Path, **fields: Any) -> None:
    """The backup with other words in its manifest, and right sums."""
    manifest = json.loads((backup / "manifest.json").read_text())
    (backup / "manifest.json").write_text(json.dumps({**manifest, **fields}))
    names = sorted(path.relative_to(backup).as_posix() for path in backup.rglob("*") if path.is_file())
    sums = [f"{layout.sha256_of(backup / name)}  {name}\n" for name in names if name != "SHA256SUMS"]
    (backup / "SHA256SUMS").write_text("".join(sums))


async def test_what_others_dropped_on_the_way_is_swept(house: Front, tmp_path: Path):
    backups = tmp_path / "backups"
    (backups / "backups" / "2020-01-01T00-00-00Z.part" / "files").mkdir(parents=True)
    (backups / "pictures" / "generated" / "aa").mkdir(parents=True)
    (backups / "pictures" / "generated" / "aa" / "pinxit_x.png.part").touch()
    await run("backup", backups, "--data-dir", data_of(house))
    assert not list(backups.rglob("*.part"))


@pytest.mark.system("postgres")
async def test_there_and_back_on_postgresql(
    make_database: Any, postgres_cluster: Any, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Rows by pg_dump and pg_restore; pictures as ever. The database to restore into must be empty."""
    data, backups, elsewhere = tmp_path / "data", tmp_path / "backups", tmp_path / "elsewhere"
    data.mkdir()
    monkeypatch.setenv("PINXIT_DATABASE_URL", postgres_url)
    await run("accounts", "top-up", DEFAULT_ACCOUNT, "3.50", "--reference", "r", "--data-dir", data)
    made = await run("backup", backups, "--data-dir", data)
    assert (made["database"], made["counts"]["transfers"]) == ("postgresql", 1)
    with pytest.raises(StartupError, match="The database is not empty"):
        await run("restore", backups, "--data-dir", elsewhere)
    name = f"restored_{os.getpid()}"
    monkeypatch.setenv("PINXIT_DATABASE_URL", postgres_cluster.new_database(name))
    try:
        assert (await run("restore", backups, "--data-dir", elsewhere))["ok"]
        balance = await run("accounts", "balance", DEFAULT_ACCOUNT, "--data-dir", elsewhere)
        assert balance["balance_micros"] == 3_500_000
    finally:
        postgres_cluster.drop_database(name)
