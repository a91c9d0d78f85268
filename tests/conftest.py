"""What all tests share: the house in process behind its front door, and the rule for system programs."""

import asyncio
import gc
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from sqlalchemy import Engine

from databases import MakeEngine
from front import BASE_URL, Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.app import build, create_app
from pinxit.backends.upstream._configured import build_providers
from pinxit.database import opening, sqlite
from pinxit.database.interface import Database
from pinxit.database.opening import DATABASE_FILE
from pinxit.keys.model import KeyOptions
from pinxit.keys.service import local_caller
from pinxit.settings import Settings, load_settings
from pinxit.testing.fake_backend import FakeBackend
from postgres import Cluster, find_program, memory_folder
from receiver import MakeReceiver, Receiver

if TYPE_CHECKING:
    from oidc_provider import MakeOidcProvider


def pytest_configure() -> None:
    """The folders of tests are in memory, where there is enough: what is synced there is synced at once."""
    if (folder := memory_folder()) is not None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", folder)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Spare the collector of cycles what is there for as long as the tests, as a server does once it is built: to look
    through all of it takes a tenth of a second each time, which is longer than most tests.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """After a file, the same for what it has left in caches."""
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `system("chromium")` is skipped, and counted, where the program is missing; CI insists on all."""
    for mark in item.iter_markers("system"):
        missing = [program for program in mark.args if not _has(program)]
        if missing and os.environ.get("PINXIT_REQUIRE_ALL") == "1":
            pytest.fail(f"needs {', '.join(missing)}, and PINXIT_REQUIRE_ALL=1", pytrace=False)
        if missing:
            pytest.skip(f"needs {', '.join(missing)}")
    if item.get_closest_marker("long") and os.environ.get("PINXIT_TEST_LONG") != "1":
        pytest.skip("only in `make test-long`")


def _has(program: str) -> bool:
    if program == "postgres":
        return find_program(program) is not None
    return shutil.which(program) is not None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What is marked `both_databases` runs over SQLite and over PostgreSQL, as far as it uses a database at all."""
    marks = {mark.name for mark in metafunc.definition.iter_markers()}
    if "database_kind" in metafunc.fixturenames and "both_databases" in marks and "sqlite_only" not in marks:
        on_postgres = pytest.param("postgres", marks=pytest.mark.system("postgres"))
        metafunc.parametrize("database_kind", ["sqlite", on_postgres], indirect=True)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """`sqlite`, or also `postgres` where a test is marked `both_databases`."""
    return getattr(request, "param", "sqlite")


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """A PostgreSQL server for all tests of this process, with a database `blank` as its migrations leave it."""
    from pinxit.database import postgres

    with Cluster() as cluster:
        url = cluster.new_database("blank")
        asyncio.run(postgres.open_database(url).close())
        yield cluster


_NUMBERS = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_cluster: Cluster) -> Iterator[str]:
    """A migrated PostgreSQL database of the test's own."""
    name = f"test_{next(_NUMBERS)}"
    yield postgres_cluster.new_database(name, template="blank")
    postgres_cluster.drop_database(name)


@pytest.fixture
def make_engine(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[MakeEngine]:
    """Opens databases that have no tables yet."""
    engines: list[Engine] = []
    urls: dict[str, str] = {}

    def make(name: str) -> Engine:
        if database_kind == "sqlite":
            engines.append(sqlite.open_engine(tmp_path / f"{name}.db"))
            return engines[-1]
        from pinxit.database import postgres

        if name not in urls:
            urls[name] = request.getfixturevalue("postgres_cluster").new_database(f"empty_{name}")
        engines.append(postgres.open_engine(urls[name]))
        return engines[-1]

    yield make
    for engine in engines:
        engine.dispose()
    for name in urls:
        request.getfixturevalue("postgres_cluster").drop_database(f"empty_{name}")


@pytest.fixture
def database_url(database_kind: str, request: pytest.FixtureRequest) -> str | None:
    """What to give as the setting of this name: None for SQLite."""
    return request.getfixturevalue("postgres_url") if database_kind == "postgres" else None


@pytest.fixture
def database_settings(tmp_path: Path, database_url: str | None, request: pytest.FixtureRequest) -> Settings:
    """Settings over a migrated database of the test's own."""
    settings = load_settings(environ={}, overrides={"data_dir": tmp_path, "database_url": database_url})
    if database_url is None:
        opening.sqlite_file(settings).write_bytes(request.getfixturevalue("blank_database"))
    return settings


@pytest.fixture
async def make_database(database_settings: Settings) -> AsyncIterator[Callable[[], Database]]:
    """Opens the test's own database, like a process of its own each time; they are closed behind the test."""
    opened: list[Database] = []

    def make() -> Database:
        opened.append(opening.open_database(database_settings))
        return opened[-1]

    yield make
    for database in opened:
        await database.close()


@pytest.fixture
def database(make_database: Callable[[], Database]) -> Database:
    """The test's own database."""
    return make_database()


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database file as its migrations leave it: to run them for every test would take longer than most tests do."""
    path = tmp_path_factory.mktemp("blank") / DATABASE_FILE
    asyncio.run(sqlite.open_database(path).close())
    return path.read_bytes()


@pytest.fixture
async def make_front(tmp_path: Path, blank_database: bytes, database_url: str | None) -> AsyncIterator[MakeFront]:
    """Builds a house over a folder and a database of the test's own; `backend` and settings, providers among them,
    can be given.
    """
    async with AsyncExitStack() as stack:

        async def make(backend: FakeBackend | None = None, **settings: Any) -> Front:
            painter = backend or FakeBackend()
            own = {"data_dir": tmp_path / "data", "database_url": database_url, "default_model": "fake-1"}
            chosen = load_settings(environ={}, overrides={**own, **settings})
            chosen.data_dir.mkdir(exist_ok=True)
            if database_url is None and not opening.sqlite_file(chosen).exists():
                opening.sqlite_file(chosen).write_bytes(blank_database)
            painters = [painter, *build_providers(chosen.providers, {})]
            house = build(chosen, owns_folder=True, backends=painters)
            app = create_app(house)
            await house.start()
            stack.push_async_callback(house.close, 5)
            client = await stack.enter_async_context(
                httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE_URL, timeout=30)
            )
            key = (await house.services.keys.create(local_caller(DEFAULT_ACCOUNT), KeyOptions(name="test")))[1]
            return Front(client, app, house, painter, key)

        yield make


@pytest.fixture
async def front(make_front: MakeFront) -> Front:
    """A house with the default settings."""
    return await make_front()


@pytest.fixture
async def make_receiver() -> AsyncIterator[MakeReceiver]:
    """Builds receivers of webhooks on loopback."""
    async with AsyncExitStack() as stack:

        async def make(*answers: int | str, **options: Any) -> Receiver:
            receiver = Receiver(list(answers) or [200], **options)
            runner = await receiver.start()
            stack.push_async_callback(runner.cleanup)
            return receiver

        yield make


@pytest.fixture
async def make_oidc_provider() -> "AsyncIterator[MakeOidcProvider]":
    """Builds OpenID Connect providers on loopback."""
    from oidc_provider import OidcProvider

    async with AsyncExitStack() as stack:

        async def make(**options: Any) -> OidcProvider:
            provider = OidcProvider(**options)
            runner = await provider.start()
            stack.push_async_callback(runner.cleanup)
            return provider

        yield make
