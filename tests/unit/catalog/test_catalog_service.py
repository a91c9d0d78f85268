"""Changes of models are kept, seen by every process, and made by one admin at a time."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection

from pinxit.catalog import repository, service
from pinxit.catalog.catalog import Catalog, ConfiguredBackend, ConfiguredModel
from pinxit.catalog.changes import BackendChoice, ModelChange, Wish
from pinxit.catalog.service import CatalogService
from pinxit.database.interface import Database
from pinxit.errors import Conflict, InvalidValue, ModelNotFound
from pinxit.testing.fake_backend import FAKE_1

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ADA = "ada@example.com"


def configured(*more: str, default: str = "a") -> Catalog:
    mine = ConfiguredModel("mine", [ConfiguredBackend("fake", "a"), ConfiguredBackend("fake", "b")])
    return Catalog(
        {"fake": [replace(FAKE_1, id=name) for name in ("a", "b", *more)]},
        default_model=default,
        configured=[mine],
        aliases={"sketch": "mine"},
    )


class Process:
    """One of several that use the database."""

    def __init__(self, database: Database) -> None:
        self.catalog = configured()
        self.models = CatalogService(database, self.catalog, now=lambda: NOW)

    async def wish(self, *, seen: int | None = None, **facts: object) -> None:
        managed = self.models.get("mine")
        wish = replace(managed.wish, **facts)  # type: ignore[arg-type]
        await self.models.change("mine", wish, seen=managed.version if seen is None else seen, by=ADA)

    def names(self) -> list[str]:
        return [entry.id for entry in self.catalog.list()]


@pytest.fixture
async def process(make_database: Callable[[], Database]) -> Process:
    made = Process(make_database())
    await made.models.start(watches=False)
    return made


@pytest.fixture
async def other(make_database: Callable[[], Database]) -> Process:
    made = Process(make_database())
    await made.models.start(watches=False)
    return made


async def test_a_change_counts_at_once_and_after_a_restart(process: Process, make_database):
    await process.wish(sort="weight", aliases=("banner",), backends=(BackendChoice("fake/b", 2.0), ALONE))
    await process.models.switch("b", is_off=True, seen=None, by=ADA)
    restarted = Process(make_database())
    await restarted.models.start(watches=False)
    for each in (process, restarted):
        entry = each.catalog.resolve("banner")
        assert (entry.id, entry.sort, entry.painter, entry.weight) == ("mine", "weight", "fake/b", 2.0)
        assert each.names() == ["a", "mine"]
        managed = each.models.get("mine")
        assert managed.kept is not None
        assert (managed.kept.changed_by, managed.kept.changed_at, managed.is_changed) == (ADA, NOW, True)
        assert (managed.configured.sort, managed.configured_aliases) == ("order", ("sketch",))


ALONE = BackendChoice("fake/a", is_left_out=True)


async def test_another_process_sees_it_when_it_looks(process: Process, other: Process):
    await process.models.switch("b", is_off=True, seen=None, by=ADA)
    assert "b" in other.names()
    await other.models.look()
    assert "b" not in other.names()
    await other.models.switch("b", is_off=False, seen=None, by=ADA)
    await process.models.look()
    assert "b" in process.names()


async def test_it_looks_by_itself(process: Process, other: Process, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.0)
    seen, become = asyncio.Event(), other.catalog.become

    def noted(catalog: Catalog) -> None:
        become(catalog)
        seen.set()

    monkeypatch.setattr(other.catalog, "become", noted)
    await other.models.start(watches=True)
    try:
        assert not seen.is_set()
        await process.models.switch("b", is_off=True, seen=None, by=ADA)
        async with asyncio.timeout(20):
            await seen.wait()
        assert "b" not in other.names()
    finally:
        await other.models.close()


async def test_an_older_look_undoes_nothing(process: Process, make_database):
    old = await make_database().read(repository.read)
    await process.models.switch("b", is_off=True, seen=None, by=ADA)
    process.models._take(old)
    assert "b" not in process.names()


async def test_of_two_admins_the_later_is_told(process: Process, other: Process):
    seen = other.models.get("mine").version
    await process.wish(aliases=("one",))
    with pytest.raises(Conflict, match="meanwhile"):
        await other.wish(aliases=("two",), seen=seen)
    await other.models.look()
    assert other.models.get("mine").aliases == ("one",)
    await other.wish(aliases=("two",))
    assert other.catalog.resolve("two").id == "mine"


async def test_of_many_at_once_one_is_heard(process: Process, other: Process):
    changes = [each.wish(aliases=(f"x{number}",)) for number, each in enumerate([process, other] * 3)]
    results = await asyncio.gather(*changes, return_exceptions=True)
    assert [type(result) for result in results].count(Conflict) == 5
    await process.models.look()
    await other.models.look()
    assert process.models.get("mine").aliases == other.models.get("mine").aliases
    assert len(process.models.get("mine").aliases) == 1


async def test_who_changes_something_has_it_to_himself(make_database: Callable[[], Database]):
    inside, has_read = threading.Event(), threading.Event()

    def first(connection: Connection) -> None:
        before = repository.read_to_change(connection)
        inside.set()
        assert not has_read.wait(0.3), "the second has not waited for the first"
        repository.keep(connection, before, "mine", ModelChange(is_off=True), NOW, ADA)

    def second(connection: Connection) -> int:
        before = repository.read_to_change(connection)
        has_read.set()
        return before.version

    writing = asyncio.create_task(make_database().write(first))
    assert await asyncio.to_thread(inside.wait, 20)
    assert await make_database().write(second) == 1
    await writing


async def test_two_models_cannot_get_the_same_alias(process: Process, other: Process):
    await process.wish(aliases=("sketch", "x"))
    wish = Wish("order", (BackendChoice("fake/b"),), ("x",))
    with pytest.raises(InvalidValue, match="x is an alias of mine") as refused:
        await other.models.change("b", wish, seen=0, by=ADA)
    assert refused.value.param == "aliases"
    assert "b" not in (await process.models._database.read(repository.read)).models


async def test_reset_is_as_configured(process: Process, other: Process):
    await process.wish(sort="price", aliases=())
    await process.models.reset("mine", seen=None, by=ADA)
    await other.models.look()
    for each in (process, other):
        assert each.catalog.resolve("sketch").sort == "order"
        assert not each.models.get("mine").is_changed


async def test_a_reload_keeps_what_was_changed(process: Process):
    await process.wish(sort="price", aliases=("sketch", "x"))
    await process.models.make_default("b", by=ADA)
    process.models.configure(configured("c"))
    assert process.names() == ["b", "a", "c", "mine"]
    assert process.catalog.resolve("x").sort == "price"
    await process.models.reset("mine", seen=None, by=ADA)
    await process.models.make_default(None, by=ADA)
    assert process.names() == ["a", "b", "c", "mine"]


async def test_the_default_is_never_off(process: Process, other: Process):
    with pytest.raises(InvalidValue, match="default model"):
        await process.models.switch("a", is_off=True, seen=None, by=ADA)
    await other.models.make_default("b", by=ADA)
    await process.models.switch("a", is_off=True, seen=None, by=ADA)
    assert (process.catalog.default_name, process.names()) == ("b", ["b", "mine"])
    for name in ("a", None):
        with pytest.raises(InvalidValue, match="a is switched off"):
            await other.models.make_default(name, by=ADA)
    with pytest.raises(InvalidValue, match="default model"):
        await other.models.switch("b", is_off=True, seen=None, by=ADA)


async def test_a_model_that_is_off_keeps_its_settings(process: Process):
    await process.wish(aliases=("x",))
    await process.models.switch("mine", is_off=True, seen=None, by=ADA)
    await process.wish(sort="price")
    assert process.models.get("mine").is_off
    await process.models.switch("mine", is_off=False, seen=None, by=ADA)
    assert process.catalog.resolve("x").sort == "price"


async def test_what_is_not_there_cannot_be_changed(process: Process):
    for change in (
        process.models.switch("gone", is_off=True, seen=None, by=ADA),
        process.models.reset("gone", seen=None, by=ADA),
        process.models.make_default("gone", by=ADA),
    ):
        with pytest.raises(ModelNotFound):
            await change


async def test_an_alias_that_was_given_away_must_be_given_back(process: Process):
    await process.wish(aliases=())
    wish = Wish("order", (BackendChoice("fake/b"),), ("sketch",))
    await process.models.change("b", wish, seen=0, by=ADA)
    assert process.catalog.resolve("sketch").id == "b"
    with pytest.raises(InvalidValue, match="sketch is an alias of b"):
        await process.wish(aliases=("sketch",))
    await process.models.reset("mine", seen=None, by=ADA)
    assert process.catalog.resolve("sketch").id == "b"
    await process.models.reset("b", seen=None, by=ADA)
    assert process.catalog.resolve("sketch").id == "mine"
