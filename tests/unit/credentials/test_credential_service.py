"""CredentialService over a real database: whose credential counts, how changes spread, and what a lost key means."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, event, update

from pinxit import accounts
from pinxit.backends.interface import CredentialUse
from pinxit.credentials import repository
from pinxit.credentials.seal import KEY_FILE, KeyLost, Keys
from pinxit.credentials.service import CredentialService
from pinxit.database.interface import Database
from pinxit.database.tables import provider_credentials as table
from pinxit.errors import BackendUnavailable, InvalidValue, NotFound, OwnCredentialFailed

pytestmark = pytest.mark.both_databases

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ACCOUNT = "acct_default"
SECRET = "canary-of-the-tests-0123456789"
OTHER = "another-of-the-tests-9876543210"
NEEDED = CredentialUse(is_needed=True, is_there=False, is_fixed=False, may_be_own=True)
FROM_VARIABLE = CredentialUse(is_needed=True, is_there=True, is_fixed=False, may_be_own=True)
CONFIGURED = CredentialUse(is_needed=True, is_there=True, is_fixed=True, may_be_own=True)
OWN_MACHINE = CredentialUse(is_needed=False, is_there=False, is_fixed=False, may_be_own=False)
USES = {"needed": NEEDED, "variable": FROM_VARIABLE, "configured": CONFIGURED, "machine": OWN_MACHINE, "local": None}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def database(make_database: Callable[[], Database]) -> Database:
    database = make_database()
    await database.write(lambda connection: accounts.ensure_default(connection, NOW))
    return database


@pytest.fixture
def make_service(database: Database, tmp_path: Path, clock: Clock) -> Callable[[], CredentialService]:
    """Services of several processes over one database and one data folder."""

    def make() -> CredentialService:
        service = CredentialService(database, Keys(tmp_path / KEY_FILE), now=clock)
        service.become(USES)
        return service

    return make


@pytest.fixture
async def service(make_service: Callable[[], CredentialService]) -> CredentialService:
    return make_service()


async def test_whose_credential_counts(service: CredentialService):
    assert service.find("local", ACCOUNT) is None
    assert service.find("machine", ACCOUNT) is None
    assert service.find("variable", ACCOUNT) is None
    assert not service.may_use("needed", ACCOUNT)
    for provider in ("needed", "variable", "configured"):
        await service.set(provider, SECRET, account_id=None)
    assert service.may_use("needed", ACCOUNT)
    for provider in ("needed", "variable"):  # what is stored comes before the environment
        access = service.find(provider, ACCOUNT)
        assert access is not None
        assert access.own is None
        assert access.house is not None
        assert access.house.reveal() == SECRET
        assert not access.house.is_own
    assert service.find("configured", ACCOUNT) is None, "the configuration's comes before what is stored"

    await service.set("configured", OTHER, account_id=ACCOUNT)
    access = service.find("configured", ACCOUNT)
    assert access is not None
    assert access.own is not None
    assert (access.own.reveal(), access.own.is_own, access.may_fall_back) == (OTHER, True, False)
    assert (access.house, access.has_house) == (None, True)
    assert service.find("configured", "acct_other") is None
    assert OTHER not in repr(access)


async def test_what_cannot_be_set_is_told_without_showing_it(service: CredentialService):
    with pytest.raises(InvalidValue, match=r"configured, machine, needed, variable\."):
        await service.set("unknown", SECRET, account_id=None)
    with pytest.raises(InvalidValue, match="takes no credentials of accounts"):
        await service.set("machine", SECRET, account_id=ACCOUNT)
    for value in ("short", "", "x" * 5000, "two\nlines of it", "two\r\nx: y", "ключ-ключ-ключ", "nul\0nul\0nul"):
        with pytest.raises(InvalidValue) as told:
            await service.set("needed", value, account_id=None)
        assert not value or value not in told.value.message
    assert await service.list(None) == []
    with pytest.raises(NotFound):
        await service.remove("needed", account_id=None)


async def test_a_change_reaches_other_processes(make_service: Callable[[], CredentialService], clock: Clock):
    one, other = make_service(), make_service()
    await one.look()
    await other.look()
    await one.set("needed", SECRET, account_id=ACCOUNT, may_fall_back=True, by="ada")
    assert other.find("needed", ACCOUNT) is not None, "nobody has it as far as this process knows"
    assert not other.may_use("needed", ACCOUNT)
    await other.look()
    access = other.find("needed", ACCOUNT)
    assert access is not None
    assert access.own is not None
    assert (access.own.reveal(), access.may_fall_back) == (SECRET, True)
    clock.now += timedelta(seconds=5)
    await other.set("needed", OTHER, account_id=ACCOUNT)
    await one.look()
    assert one.reveal("needed", ACCOUNT) == OTHER
    clock.now -= timedelta(seconds=30)  # the clock of another machine
    await one.remove("needed", account_id=ACCOUNT)
    await other.look()
    with pytest.raises(OwnCredentialFailed, match="removed"):
        access.own.reveal()
    (row,) = await one._database.read(lambda connection: repository.list_changed(connection, NOW - timedelta(days=1)))
    assert (row.sealed, row.hint) == (None, ""), "what is removed is gone from the database"
    await one.set("needed", SECRET, account_id=ACCOUNT)
    assert one.reveal("needed", ACCOUNT) == SECRET


async def test_a_house_s_credential_is_one_row(service: CredentialService):
    await service.set("needed", SECRET, account_id=None, by="ada")
    await service.set("needed", OTHER, account_id=None)
    (stored,) = await service.list(None)
    assert (stored.hint, stored.created_by, stored.used_at) == ("3210", None, None)
    assert await service.list(ACCOUNT) == []
    assert SECRET not in repr(stored) + str(stored)


async def test_no_order_asks_the_database(service: CredentialService):
    await service.set("needed", SECRET, account_id=ACCOUNT)
    asked: list[str] = []
    event.listen(Engine, "before_cursor_execute", note := lambda *facts: asked.append(facts[2]))
    try:
        for _ in range(100):
            access = service.find("needed", ACCOUNT)
            assert access is not None
            assert access.own is not None
            access.own.reveal()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert asked == []
    await service.look()
    assert (await service.list(ACCOUNT))[0].used_at == NOW


async def test_rows_cannot_be_swapped(service: CredentialService, database: Database):
    await service.set("needed", SECRET, account_id=None)
    await service.set("needed", OTHER, account_id=ACCOUNT)
    (house,) = await service.list(None)
    swap = update(table).where(table.c.account_id == ACCOUNT).values(sealed=house.sealed)
    await database.write(lambda connection: connection.execute(swap))
    await service.look()
    with pytest.raises(OwnCredentialFailed, match="cannot be opened"):
        service.reveal("needed", ACCOUNT)
    assert service.reveal("needed", None) == SECRET


async def test_a_lost_key_is_told_and_mended(make_service: Callable[[], CredentialService], tmp_path: Path):
    before = make_service()
    await before.set("needed", SECRET, account_id=None)
    await before.set("needed", OTHER, account_id=ACCOUNT)
    (tmp_path / KEY_FILE).rename(tmp_path / "elsewhere")
    service = make_service()
    await service.start()
    try:
        assert not service.is_readable((await service.list(None))[0])
        with pytest.raises(BackendUnavailable, match="cannot be opened") as told:
            service.reveal("needed", None)
        assert SECRET not in told.value.message
        with pytest.raises(OwnCredentialFailed, match="set it again"):
            service.reveal("needed", ACCOUNT)
        await service.set("needed", SECRET, account_id=None)
        assert service.reveal("needed", None) == SECRET
        with pytest.raises(KeyLost, match=rf"needed \(that of {ACCOUNT}\): .* set the credential again\."):
            await service.rotate()
        assert service.reveal("needed", None) == SECRET, "nothing is forgotten then"
    finally:
        await service.close()


async def test_a_new_key_while_servers_run(make_service: Callable[[], CredentialService], tmp_path: Path):
    server, operator = make_service(), make_service()
    await operator.set("needed", SECRET, account_id=None)
    await operator.set("variable", OTHER, account_id=ACCOUNT)
    await server.look()
    assert server.reveal("needed", None) == SECRET
    old = (tmp_path / KEY_FILE).read_text()
    seals = {stored.sealed for stored in await operator.list(None)}
    assert await operator.rotate() == 2
    assert old.strip() not in (tmp_path / KEY_FILE).read_text()
    assert seals.isdisjoint({stored.sealed for stored in await operator.list(None)})
    assert server.reveal("needed", None) == SECRET, "as it was read before"
    await server.look()
    assert server.reveal("needed", None) == SECRET
    assert server.reveal("variable", ACCOUNT) == OTHER
    assert (await server.list(None))[0].hint == "6789"


async def test_changes_are_followed(
    make_service: Callable[[], CredentialService], monkeypatch: pytest.MonkeyPatch, clock: Clock
):
    monkeypatch.setattr("pinxit.credentials.service.LOOK_SECONDS", 0.01)
    one, other = make_service(), make_service()
    await other.start()
    try:
        await one.set("needed", SECRET, account_id=None)
        async with asyncio.timeout(10):
            while not other.may_use("needed", ACCOUNT):
                await asyncio.sleep(0.005)
    finally:
        await other.close()
