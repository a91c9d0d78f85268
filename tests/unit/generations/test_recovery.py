"""What a process that died left behind: the next one paints its orders again, from their seeds and under new names, and
nobody ends up with two pictures, two charges or a file too many.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from sqlalchemy import Connection

from front import Front, MakeFront
from painting_house import assert_whole, until
from pinxit.app import INSTANCE_FILE
from pinxit.database.tables import attempts, generations, holds, images
from pinxit.generations import leases, repository, service
from pinxit.generations.generation import AttemptStatus, Status
from pinxit.generations.live import Live
from pinxit.generations.painting import Studio, Work
from pinxit.generations.record import restore
from pinxit.generations.repeat import Repeat
from pinxit.generations.repository import Attempt, Charge, Lease
from pinxit.ids import new_id, new_image_name
from pinxit.ledger.invariants import check
from pinxit.routing.router import Router
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

SOON, LONG_AGO = timedelta(seconds=30), timedelta(seconds=-30)
ANOTHER_SERVER, A_COMMAND = "server_" + "a" * 16 + "_" + "b" * 32, "command_" + "b" * 32


def an_earlier_server(front: Front) -> str:
    """The name of a server that this folder had before."""
    folder = front.house.services.settings.data_dir
    return f"server_{(folder / INSTANCE_FILE).read_text()}_{'c' * 32}"


async def leave_behind(front: Front, owner: str, lease: timedelta, *, attempts: int = 1, **columns: Any) -> str:
    """An open order for two pictures as a dead process leaves it: rows, one whole file and half of another. Its id."""
    database = front.house.database
    done = (await front.generate(n=2, seed=5)).headers["x-pinxit-generation"]
    example = await database.read(partial(repository.find, account_id="acct_default", generation_id=done))
    assert example is not None
    now, keys = datetime.now(UTC), tuple(new_image_name("png") for _ in range(2))
    left = replace(
        example, id=new_id("gen"), status=Status.QUEUED, storage_keys=keys, created_at=now, images=(), finished_at=None
    )

    def unit(connection: Connection) -> None:
        first, lease_ = Attempt(1, "fake", (0, 1)), Lease(owner, now + lease)
        repository.open_(connection, left, first, Charge(20, False, {}), Repeat(), lease_)
        for number in range(2, attempts + 1):
            again = Attempt(number, "fake", (0, 1))
            repository.start_attempt(connection, left, again, lease_owner=owner, before=AttemptStatus.LOST, now=now)
        if columns:
            connection.execute(generations.update().where(generations.c.id == left.id).values(columns))

    await front.house.storage.put(keys[0], b"whole")
    half = place(front, keys[1])
    half.parent.mkdir(parents=True, exist_ok=True)
    half.with_name(f"{half.name}.part").write_bytes(b"half")
    await database.write(unit)  # from here on whoever looks after leases may come
    return left.id


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


async def ended(front: Front, generation_id: str) -> Any:
    """The order's row once it has ended."""
    async with asyncio.timeout(10):
        while (row := await find(front, generation_id)).status in repository.OPEN:
            await asyncio.sleep(0.002)
    return row


async def assert_painted(front: Front, generation_id: str) -> None:
    """Both its pictures are there, of its seeds, under names that no earlier process knew; it was charged for once."""
    order = await ended(front, generation_id)
    assert (order.status, order.lease_owner, order.cost_micros) == ("completed", None, 0)
    kept = [row for row in await front.rows(images) if row.generation_id == generation_id]
    assert sorted(row.seed for row in kept) == [5, 6]
    assert {row.storage_key for row in kept} == set(order.storage_keys)
    assert [hold.status for hold in await front.rows(holds) if hold.generation_id == generation_id] == ["posted"]
    assert await front.house.database.read(check) == []
    await assert_whole(front)


@pytest.mark.parametrize("lease", [SOON, LONG_AGO])
@pytest.mark.parametrize("status", ["queued", "in_progress"])
async def test_orders_of_an_earlier_server_are_painted_again(front: Front, lease: timedelta, status: str):
    """There is one server of a folder, so an earlier one is dead, whatever its lease says."""
    left = await leave_behind(front, an_earlier_server(front), lease, status=status)
    before = (await find(front, left)).storage_keys
    await restart(front)
    await assert_painted(front, left)
    assert not {*before} & {*(await find(front, left)).storage_keys}
    tries = [row for row in await front.rows(attempts) if row.generation_id == left]
    assert [(row.number, row.status) for row in tries] == [(1, "lost"), (2, "succeeded")]


async def test_the_same_bytes_come_of_it(front: Front):
    left = await leave_behind(front, an_earlier_server(front), SOON)
    await restart(front)
    await assert_painted(front, left)
    hashes = {row.seed: set() for row in await front.rows(images)}
    for row in await front.rows(images):
        hashes[row.seed].add(row.sha256)
    assert [len(found) for found in hashes.values()] == [1, 1]


async def test_an_order_that_stopped_the_server_three_times_is_given_up(front: Front):
    left = await leave_behind(front, an_earlier_server(front), SOON, attempts=3)
    await restart(front)
    order = await ended(front, left)
    assert (order.status, order.error_class, order.storage_keys) == ("failed", "BackendUnavailable", [])
    assert "3 times" in order.error_message
    assert front.backend.orders[-1].seeds == (5, 6)  # of the example only
    await assert_whole(front)


async def test_an_order_that_nobody_could_have_is_given_up(front: Front):
    """It was not to be stored, and whoever waited for it is gone."""
    left = await leave_behind(front, an_earlier_server(front), SOON, storage_keys=[])
    await restart(front)
    order = await ended(front, left)
    assert (order.status, order.error_message) == ("failed", service.STOPPED)


async def test_so_is_one_of_a_model_that_is_not_there_any_more(front: Front):
    left = await leave_behind(front, an_earlier_server(front), SOON, model="gone-1")
    await restart(front)
    order = await ended(front, left)
    assert (order.status, order.error_message) == ("failed", "The model 'gone-1' is not there any more.")
    await assert_whole(front)


async def test_so_is_one_of_an_earlier_version_that_kept_less(front: Front):
    left = await leave_behind(front, an_earlier_server(front), SOON, parameters={"n": 2, "seeds": [5, 6]})
    await restart(front)
    assert "earlier version" in (await ended(front, left)).error_message
    await assert_whole(front)


async def test_so_is_one_whose_deadline_is_over(front: Front):
    left = await leave_behind(front, an_earlier_server(front), SOON, deadline_at=datetime.now(UTC) + LONG_AGO)
    await restart(front)
    assert (await ended(front, left)).error_class == "DeadlineExceeded"
    await assert_whole(front)


async def test_so_is_one_that_cannot_be_repeated_and_its_outcome_is_unknown(make_front: MakeFront):
    class OnceOnly(FakeBackend):
        is_repeatable = False

    front = await make_front(OnceOnly())
    left = await leave_behind(front, an_earlier_server(front), SOON)
    await restart(front)
    order = await ended(front, left)
    assert (order.status, order.error_class, order.cost_micros) == ("unknown", "OutcomeUnknown", 0)
    assert len(front.backend.orders) == 1  # the example
    await assert_whole(front)


async def test_one_that_was_to_be_cancelled_is_cancelled(front: Front):
    left = await leave_behind(front, an_earlier_server(front), SOON, cancel_requested_at=datetime.now(UTC))
    await restart(front)
    assert (await ended(front, left)).status == "cancelled"
    await assert_whole(front)


async def test_a_retry_of_the_client_gets_the_picture(front: Front):
    """Its first try died with the server; the client says with its count that it tries again."""
    left = await leave_behind(front, an_earlier_server(front), SOON)
    await restart(front)
    answer = await front.generate({"x-stainless-retry-count": "1"}, n=2, seed=5)
    assert answer.status_code == 200
    assert answer.headers["x-pinxit-generation"] == left
    await assert_painted(front, left)


async def test_a_command_s_order_is_left_alone_while_its_lease_lives(front: Front):
    left = await leave_behind(front, A_COMMAND, SOON)
    before = await find(front, left)
    await restart(front)
    await front.house.services.generations.tend()
    assert await find(front, left) == before


async def test_and_ended_when_it_ran_out(front: Front):
    """Whoever called the command has ended it, or has seen it die."""
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
    """Also its start does: the server of another folder over the same database lives."""
    left = await leave_behind(front, ANOTHER_SERVER, SOON)
    await restart(front)
    await front.house.services.generations.tend()
    assert (await find(front, left)).lease_owner == ANOTHER_SERVER


async def test_and_takes_over_those_that_ran_out(front: Front):
    left = await leave_behind(front, ANOTHER_SERVER, LONG_AGO)
    await front.house.services.generations.tend()
    await assert_painted(front, left)


async def test_a_command_leaves_servers_orders_to_servers(front: Front):
    left = await leave_behind(front, ANOTHER_SERVER, LONG_AGO)
    command = leases.Tenure(A_COMMAND)
    unit = partial(leases.take_over, tenure=command, now=datetime.now(UTC), except_for=[], limit=10)
    assert await front.house.database.write(unit) == []
    assert (await find(front, left)).lease_owner == ANOTHER_SERVER


async def test_more_are_open_than_there_is_room_for(make_front: MakeFront):
    front = await make_front(max_queued_generations=2)
    left = [await leave_behind(front, ANOTHER_SERVER, LONG_AGO) for _ in range(5)]
    for _ in range(5):
        await front.house.services.generations.tend()
        await until(lambda: front.house.services.generations.live_count == 0)
    for generation_id in left:
        await assert_painted(front, generation_id)


async def test_it_looks_again_and_again(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "TEND_SECONDS", 0.01)
    await restart(front)
    left = await leave_behind(front, A_COMMAND, LONG_AGO)
    assert (await ended(front, left)).status == "failed"


async def test_an_order_under_way_keeps_its_lease(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    painting = asyncio.create_task(front.generate())
    await until(lambda: front.backend.orders)
    (opened,) = await front.rows(generations)
    assert opened.lease_owner.startswith("server_")
    assert opened.lease_until == opened.created_at + leases.LEASE
    await front.house.services.generations.tend()
    (renewed,) = await front.rows(generations)
    assert (renewed.lease_owner, renewed.status) == (opened.lease_owner, "in_progress")
    assert renewed.lease_until > opened.lease_until
    gate.set()
    assert (await painting).status_code == 200
    await assert_whole(front)


async def test_who_lost_its_lease_answers_with_the_new_owner_s_pictures(make_front: MakeFront):
    """The process stood still for longer than its lease; another has taken the order over; then it goes on."""
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    painting = asyncio.create_task(front.generate(seed=5, n=2))
    await until(lambda: front.backend.orders)
    other = leases.Tenure(ANOTHER_SERVER)
    later = datetime.now(UTC) + timedelta(hours=1)
    take = partial(leases.take_over, tenure=other, now=later, except_for=[], limit=10)
    (taken,) = await front.house.database.write(take)
    gate.set()
    await until(lambda: front.backend.active == 0)
    await finish(front, taken)
    answer = await painting
    assert answer.status_code == 200
    assert {datum["url"].rpartition("%2F")[2] for datum in answer.json()["data"]} == {
        key.rpartition("/")[2] for key in taken.generation.storage_keys
    }
    order = await ended(front, taken.generation.id)
    assert [hold.status for hold in await front.rows(holds)] == ["posted"]
    assert order.image_count == 2
    assert {path.name for path in front.files()} == {key.rpartition("/")[2] for key in taken.generation.storage_keys}


async def finish(front: Front, taken: leases.Taken) -> None:
    """What the new owner does: it paints and settles under its own names."""
    house = front.house.services
    order = restore(taken.generation, house.catalog)
    studio = Studio(
        database=front.house.database,
        runners=house.runners,
        library=house.library,
        now=house.now,
        lease_owner=ANOTHER_SERVER,
        router=Router(monotonic, remote=lambda _: False),
    )
    work = Work((order,), taken.generation, Attempt(2, "fake", (0, 1)))
    painting = await studio.paint(work, Live(work.steps, None, None))
    settled = replace(
        taken.generation,
        status=Status.COMPLETED,
        images=tuple(painting.images.values()),
        finished_at=datetime.now(UTC),
    )
    await front.house.database.write(
        partial(repository.settle, generation=settled, record=lambda *_: False, lease_owner=ANOTHER_SERVER)
    )


async def test_an_order_of_another_process_is_cancelled_through_the_database(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    painting = asyncio.create_task(front.generate())
    await until(lambda: front.backend.orders)
    (row,) = await front.rows(generations)
    await front.house.database.write(
        partial(leases.request_cancel, account_id="acct_default", generation_id=row.id, now=datetime.now(UTC))
    )
    await front.house.services.generations.look_for_cancellations()
    assert (await painting).status_code == 400
    assert (await find(front, row.id)).status == "cancelled"
    await assert_whole(front)


async def test_stopping_leaves_an_order_that_nobody_waits_for_to_the_next_server(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    accepted = await front.generate(n=2, seed=5, **{"async": True})
    assert accepted.status_code == 202
    await until(lambda: front.backend.orders)
    await front.house.services.generations.close(0)
    left = await find(front, accepted.json()["id"])
    assert left.status in repository.OPEN
    gate.set()
    await front.house.services.generations.start()
    await assert_painted(front, left.id)


async def test_what_has_ended_is_left_alone(front: Front):
    done = (await front.generate()).headers["x-pinxit-generation"]
    before = await find(front, done)
    await restart(front)
    assert await find(front, done) == before
    await assert_whole(front)


async def test_files_of_a_failed_order_that_nobody_removed_go(front: Front):
    left = await leave_behind(front, an_earlier_server(front), SOON)
    this = generations.update().where(generations.c.id == left)
    await front.house.database.write(
        lambda connection: connection.execute(this.values(status="failed", lease_owner=None, lease_until=None))
    )
    await restart(front)
    assert (await find(front, left)).storage_keys == []
    assert len(front.files()) == 2  # of the example


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

    left = await leave_behind(front, an_earlier_server(front), SOON)
    with monkeypatch.context() as patch:
        patch.setattr("pinxit.storage.local._delete", fail)
        await front.house.services.generations.close(5)
        with pytest.raises(Exception, match="cannot store"):
            await front.house.services.generations.start()
    await restart(front)
    await assert_painted(front, left)
