"""What all tests share: the house in process behind its front door, and the rule for system programs."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest

from front import BASE_URL, Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.app import DATABASE_FILE, build, create_app
from pinxit.database.sqlite import open_database
from pinxit.keys.model import KeyOptions
from pinxit.keys.service import local_caller
from pinxit.settings import load_settings
from pinxit.testing.fake_backend import FakeBackend
from receiver import MakeReceiver, Receiver


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `system("chromium")` is skipped, and counted, where the program is missing; CI insists on all."""
    for mark in item.iter_markers("system"):
        missing = [program for program in mark.args if shutil.which(program) is None]
        if missing and os.environ.get("PINXIT_REQUIRE_ALL") == "1":
            pytest.fail(f"needs {', '.join(missing)}, and PINXIT_REQUIRE_ALL=1", pytrace=False)
        if missing:
            pytest.skip(f"needs {', '.join(missing)}")
    if item.get_closest_marker("long") and os.environ.get("PINXIT_TEST_LONG") != "1":
        pytest.skip("only in `make test-long`")


@pytest.fixture(scope="session")
def blank_database(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A database file as its migrations leave it: to run them for every test would take longer than most tests do."""
    path = tmp_path_factory.mktemp("blank") / DATABASE_FILE
    asyncio.run(open_database(path).close())
    return path.read_bytes()


@pytest.fixture
async def make_front(tmp_path: Path, blank_database: bytes) -> AsyncIterator[MakeFront]:
    """Builds a house over a folder of the test's own; `backend` and settings can be given."""
    async with AsyncExitStack() as stack:

        async def make(backend: FakeBackend | None = None, **settings: Any) -> Front:
            painter = backend or FakeBackend()
            chosen = load_settings(
                environ={}, overrides={"data_dir": tmp_path / "data", "default_model": "fake-1", **settings}
            )
            chosen.data_dir.mkdir(exist_ok=True)
            if not (chosen.data_dir / DATABASE_FILE).exists():
                (chosen.data_dir / DATABASE_FILE).write_bytes(blank_database)
            house = build(chosen, owns_folder=True, backends=[painter])
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
