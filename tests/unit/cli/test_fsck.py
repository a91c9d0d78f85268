"""`pinxit fsck`: every kind of damage is found, and nothing else."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import run
from sqlalchemy import text
from typer.testing import Result

from front import Front, MakeFront
from pinxit.errors import StartupError
from pinxit.library.proof import check_files
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases


async def fsck(front: Front, *arguments: str) -> Result:
    """Beside the running house, as another process would."""
    return await asyncio.to_thread(run, front.house.services.settings.data_dir, "fsck", *arguments)


async def execute(front: Front, statement: str) -> None:
    await front.house.database.write(lambda connection: connection.execute(text(statement)))


async def test_a_house_in_order(front: Front) -> None:
    await front.generate(n=3)
    await front.generate(store=False, output_format="b64_json")
    image = (await front.client.get("/v1/images", headers=front.authorization)).json()["data"][0]["id"]
    await front.client.delete(f"/v1/images/{image}", headers=front.authorization)
    answer = await fsck(front)
    assert (answer.exit_code, answer.output) == (0, "Everything is in order.\n")
    assert json.loads((await fsck(front, "--json")).output) == {"ok": True, "problems": []}


async def test_an_open_order_is_in_order(make_front: MakeFront) -> None:
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={1: gate}))
    assert (await front.generate(**{"async": True})).status_code == 202
    assert (await fsck(front)).exit_code == 0
    gate.set()


def remove(file: Path) -> None:
    file.unlink()


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def change(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(("damage", "told"), [(remove, "has no file"), (shorten, "bytes, not"), (change, "SHA-256")])
async def test_damaged_files_are_found(front: Front, damage: Callable[[Path], None], told: str) -> None:
    await front.generate(n=2)
    damage(front.files()[0])
    answer = await fsck(front, "--json")
    (problem,) = json.loads(answer.output)["problems"]
    assert answer.exit_code == 1
    assert told in problem


@pytest.mark.parametrize("name", ["note.txt", "generated/ab/pinxit_ab.png", "generated/ab/more/x"])
async def test_files_that_belong_to_nothing_are_found(front: Front, name: str) -> None:
    file = front.house.services.settings.data_dir / "pictures" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    answer = await fsck(front)
    assert (answer.exit_code, answer.output) == (1, f"The file {name} belongs to no picture.\n")


async def test_a_picture_whose_row_is_gone_is_found(front: Front) -> None:
    await front.generate()
    await execute(front, "DELETE FROM images")
    answer = await fsck(front)
    assert answer.exit_code == 1
    assert "belongs to no picture" in answer.output


async def test_broken_books_are_found(front: Front) -> None:
    await front.generate()
    await execute(front, "UPDATE holds SET status = 'held'")
    answer = await fsck(front)
    assert answer.exit_code == 1
    assert "It does not hold that an open order's money is held" in answer.output


async def test_many_pictures_are_read_page_by_page(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.library.proof.PAGE", 2)
    await front.generate(n=5)
    for file in front.files():
        change(file)
    assert len(await check_files(front.house.database, front.house.storage)) == 5


async def test_what_a_server_changes_meanwhile_is_looked_at_again(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    await front.generate()
    storage = front.house.storage
    looks = 0

    async def list_keys() -> set[str]:
        nonlocal looks
        looks += 1
        return {"generated/just-now"} if looks == 1 else set()

    monkeypatch.setattr(storage, "list_keys", list_keys)
    assert await check_files(front.house.database, storage) == []
    assert looks == 2


@pytest.mark.sqlite_only
def test_a_folder_without_a_database_is_a_mistake(tmp_path: Path) -> None:
    answer = run(tmp_path, "fsck")
    assert isinstance(answer.exception, StartupError)
    assert list(tmp_path.iterdir()) == []
