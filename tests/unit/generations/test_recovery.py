"""What a process that died left behind: the next start ends its orders and removes its files, and nobody else's."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from painting_house import assert_whole
from sqlalchemy import Connection

from front import Front, MakeFront
from pinxit.database.tables import attempts, generations, images
from pinxit.generations import service
from pinxit.ids import new_id, new_image_name
from pinxit.testing.fake_backend import FakeBackend

SOON, LONG_AGO = timedelta(seconds=30), timedelta(seconds=-30)
AN_EARLIER_SERVER, A_COMMAND = "server_" + "a" * 32, "command_" + "b" * 32


async def leave_behind(front: Front, owner: str, lease: timedelta, **columns: Any) -> str:
    """An open order as a dead process leaves it: row, attempt, one whole file and half of another. Its id."""
    generation_id, keys = new_id("gen"), [new_image_name("png") for _ in range(2)]
    now = datetime.now(UTC)
    row: dict[str, Any] = {
        "id": generation_id,
        "account_id": "acct_default",
        "request_id": "req_1",
        "status": "in_progress",
        "model": "fake-1",
        "requested_model": "fake-1",
        "prompt": "x",
        "parameters": {"n": 2},
        "storage_keys": keys,
        "cost_micros": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "lease_owner": owner,
        "lease_until": now + lease,
        "created_at": now,
        **columns,
    }
    attempt = {"generation_id": generation_id, "number": 1, "account_id": "acct_default", "backend": "fake"}
    attempt |= {"image_indices": [0, 1], "status": "started", "sent_at": now, "cost_micros": 0}

    def unit(connection: Connection) -> None:
        connection.execute(generations.insert().values(row))
        connection.execute(attempts.insert().values(attempt))

    await front.house.database.write(unit)
    await front.house.storage.put(keys[0], b"whole")
    half = place(front, keys[1])
    half.parent.mkdir(parents=True, exist_ok=True)
    half.with_name(f"{half.name}.part").write_bytes(b"half")
    return generation_id


def place(front: Front, key: str) -> Path:
    folder, _, name = key.partition("/")
    return front.house.services.settings.data_dir / "pictures" / folder / name.partition("_")[2][:2] / name


async def find(front: Front, generation_id: str) -> Any:
    return next(row for row in await front.rows(generations) if row.id == generation_id)


async def restart(front: Front) -> None:
    """What the start of a server does."""
    generations_service = front.house.services.generations
    await generations_service.close(5)
    await generations_service.start()


@pytest.mark.parametrize("lease", [SOON, LONG_AGO])
@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_orders_of_an_earlier_server_end_at_the_start(front: Front, lease: timedelta, status: str):
    """There is one server of a folder, so an earlier one is dead, whatever its lease says."""
    left = await leave_behind(front, AN_EARLIER_SERVER, lease, status=status)
    assert len(front.files()) == 2
    await restart(front)
    order = await find(front, left)
    assert (order.status, order.error_class, order.error_message) == ("failed", "BackendUnavailable", service.STOPPED)
    assert (order.storage_keys, order.lease_owner, order.cost_micros) == ([], None, 0)
    assert [attempt.status for attempt in await front.rows(attempts)] == ["failed"]
    assert front.files() == []
    await assert_whole(front)


async def test_a_command_s_order_is_left_alone_while_its_lease_lives(front: Front):
    left = await leave_behind(front, A_COMMAND, SOON)
    before = await find(front, left)
    await restart(front)
    await front.house.services.generations.tend()
    assert await find(front, left) == before
    assert len(front.files()) == 2


async def test_and_ended_when_it_ran_out(front: Front):
    left = await leave_behind(front, A_COMMAND, LONG_AGO)
    await restart(front)
    assert (await find(front, left)).status == "failed"
    await assert_whole(front)


async def test_also_by_a_server_that_runs(front: Front):
    left = await leave_behind(front, A_COMMAND, LONG_AGO)
    await front.house.services.generations.tend()
    assert (await find(front, left)).status == "failed"
    await assert_whole(front)


async def test_a_server_that_runs_leaves_live_leases_alone(front: Front):
    left = await leave_behind(front, AN_EARLIER_SERVER, SOON)
    await front.house.services.generations.tend()
    assert (await find(front, left)).status == "in_progress"


async def test_it_looks_again_and_again(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "TEND_SECONDS", 0.01)
    await restart(front)
    left = await leave_behind(front, A_COMMAND, LONG_AGO)
    async with asyncio.timeout(10):
        while (await find(front, left)).status != "failed":
            await asyncio.sleep(0.01)


async def test_an_order_under_way_keeps_its_lease(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    painting = asyncio.create_task(front.generate())
    async with asyncio.timeout(10):
        while not front.backend.orders:
            await asyncio.sleep(0)
    (opened,) = await front.rows(generations)
    assert opened.lease_owner.startswith("server_")
    assert opened.lease_until == opened.created_at + timedelta(seconds=60)
    await front.house.services.generations.tend()
    (renewed,) = await front.rows(generations)
    assert (renewed.lease_owner, renewed.status) == (opened.lease_owner, opened.status)
    assert renewed.lease_until > opened.lease_until
    gate.set()
    assert (await painting).status_code == 200
    await assert_whole(front)


async def test_what_has_ended_is_left_alone(front: Front):
    done = (await front.generate()).headers["x-pinxit-generation"]
    before = await find(front, done)
    await restart(front)
    assert await find(front, done) == before
    await assert_whole(front)


async def test_files_of_a_failed_order_that_nobody_removed_go(front: Front):
    left = await leave_behind(front, AN_EARLIER_SERVER, SOON)
    await front.house.database.write(
        lambda connection: connection.execute(generations.update().values(status="failed", lease_owner=None))
    )
    await restart(front)
    assert (await find(front, left)).storage_keys == []
    assert front.files() == []


async def test_files_of_deleted_pictures_that_nobody_removed_go(front: Front):
    """The process ended between the row and the file."""
    await front.generate(n=2)
    first = (await front.rows(images))[0]
    deleted = images.update().where(images.c.id == first.id).values(deleted_at=datetime.now(UTC))
    await front.house.database.write(lambda connection: connection.execute(deleted))
    await restart(front)
    assert len(front.files()) == 1
    assert all(row.purged_at for row in await front.rows(images) if row.id == first.id)
    await assert_whole(front)


async def test_a_disk_that_fails_at_the_start_is_tried_again(front: Front, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    left = await leave_behind(front, AN_EARLIER_SERVER, SOON)
    with monkeypatch.context() as patch:
        patch.setattr("pinxit.storage.local._delete", fail)
        await front.house.services.generations.close(5)
        with pytest.raises(Exception, match="cannot store"):
            await front.house.services.generations.start()
    await restart(front)
    assert (await find(front, left)).status == "failed"
    assert front.files() == []
