"""In whose name the workers of servers hold orders, and whose orders they may take for dead."""

import asyncio
from pathlib import Path

import pytest

from front import Front, MakeFront
from pinxit.app import Workplace, _instance, build
from pinxit.generations.leases import Tenure
from pinxit.limits.memory import MemoryLimiter
from pinxit.limits.shared import SharedLimiter
from pinxit.settings import load_settings
from pinxit.testing.fake_backend import FakeBackend


async def tenure_of(folder: Path, workplace: Workplace | None) -> Tenure:
    settings = load_settings(environ={}, overrides={"data_dir": folder, "default_model": "fake-1"})
    house = build(settings, owns_folder=True, backends=[FakeBackend()], workplace=workplace)
    await house.close(0)
    return house.services.generations._tenure


def place(slot: int, *, is_first: bool = False) -> Workplace:
    return Workplace(slot, is_first, {})


def may_take(one: Tenure, other: Tenure) -> bool:
    assert one.predecessors is not None
    return other.owner.startswith(one.predecessors)


async def test_the_first_worker_takes_over_from_all_that_were_before_it_in_its_folder(tmp_path: Path) -> None:
    earlier = [await tenure_of(tmp_path, workplace) for workplace in (None, place(1), place(2), place(11))]
    elsewhere = await tenure_of(tmp_path / "other", place(1))
    first = await tenure_of(tmp_path, place(1, is_first=True))
    assert [may_take(first, tenure) for tenure in earlier] == [True] * 4
    assert not may_take(first, elsewhere)
    assert may_take(await tenure_of(tmp_path, None), earlier[3])


async def test_a_worker_that_replaces_another_takes_over_from_its_own_slot_only(tmp_path: Path) -> None:
    others = [await tenure_of(tmp_path, workplace) for workplace in (None, place(2), place(11), place(12))]
    dead = await tenure_of(tmp_path, place(1))
    replacing = await tenure_of(tmp_path, place(1))
    assert may_take(replacing, dead)
    assert [may_take(replacing, tenure) for tenure in others] == [False] * 4


async def test_two_workers_never_have_one_name(tmp_path: Path) -> None:
    names = [(await tenure_of(tmp_path, place(1))).owner for _ in range(3)]
    assert len(set(names)) == 3


@pytest.mark.both_databases
async def test_limits_are_kept_where_all_processes_see_them(front: Front, database_kind: str) -> None:
    kept = front.house.services.generations._limiter
    assert isinstance(kept, SharedLimiter if database_kind == "postgres" else MemoryLimiter)


@pytest.mark.parametrize("database_kind", [pytest.param("postgres", marks=pytest.mark.system("postgres"))])
async def test_servers_of_two_folders_leave_each_others_orders_alone(make_front: MakeFront, tmp_path: Path) -> None:
    """On one database: the second one starts, and looks, while the first one paints."""
    gate = asyncio.Event()
    one = await make_front(FakeBackend(gates={1: gate}), data_dir=tmp_path / "one")
    order = (await one.generate(**{"async": True})).json()["id"]
    async with asyncio.timeout(30):
        while not one.backend.orders:
            await asyncio.sleep(0)

    other = await make_front(data_dir=tmp_path / "two")
    await other.house.services.generations.tend()

    assert other.backend.orders == []
    gate.set()
    followed = await one.client.get(
        f"/v1/generations/{order}", headers={**one.authorization, "Accept": "text/event-stream"}
    )
    assert "event: generation.completed" in followed.text
    assert len(one.backend.orders) == 1


def test_an_installation_keeps_its_name(tmp_path: Path) -> None:
    """Also one whose file was left empty by a power cut, from the next start on."""
    for file in (tmp_path / "new", tmp_path / "empty"):
        if file.name == "empty":
            file.touch()
        name = _instance(file)
        assert len(name) == 16
        assert _instance(file) == name
    assert {file.name for file in tmp_path.iterdir()} == {"new", "empty"}
