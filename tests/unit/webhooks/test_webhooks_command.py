"""`pinxit webhooks`, run in this process."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection
from typer.testing import CliRunner

from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.app import utc_now
from pinxit.cli.common import open_rows
from pinxit.cli.main import app
from pinxit.errors import InvalidValue, NotFound, PinxitError
from pinxit.network.target import UrlRefused
from pinxit.settings import load_settings
from pinxit.webhooks import outbox
from pinxit.webhooks.model import EventType

pytestmark = pytest.mark.both_databases

URL = "https://hooks.example/a"


class Pinxit:
    """The program over a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str) -> str:
        """Standard output. Raises what the program ends with."""
        result = CliRunner().invoke(app, ["webhooks", *arguments, "--data-dir", str(self.folder)])
        if result.exception is not None:
            raise result.exception
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def pinxit(tmp_path: Path, database_url: str | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pinxit]:
    """Its log lines go nowhere, and the next test's are as before."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PINXIT_DATABASE_URL", database_url or "")
    monkeypatch.setattr(
        "pinxit.logs.configure", lambda *_: structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    )
    before = structlog.get_config()
    yield Pinxit(tmp_path / "data")
    structlog.configure(**before)


def test_made_listed_deleted(pinxit: Pinxit) -> None:
    made = pinxit.json("create", URL, "--event", "generation.failed", "--description", "mine")
    assert made.pop("secret").startswith("whsec_")
    assert (made["url"], made["events"], made["description"]) == (URL, ["generation.failed"], "mine")
    assert pinxit.json("list") == [made]
    assert made["id"] in pinxit("list")
    assert pinxit("delete", made["id"]) == f"{made['id']} is deleted.\n"
    assert pinxit.json("list") == []


def test_the_secret_stands_alone_on_standard_output(pinxit: Pinxit) -> None:
    (line,) = pinxit("create", URL).splitlines()
    assert line.startswith("whsec_")


async def fill(folder: Path) -> None:
    settings = load_settings(overrides={"data_dir": folder})

    def append(connection: Connection) -> None:
        outbox.append(
            connection,
            account_id=DEFAULT_ACCOUNT,
            subject_id="gen_1",
            type_=EventType.COMPLETED,
            data=dict,
            now=utc_now(),
        )

    async with open_rows(settings) as database:
        await database.write(append)


def test_deliveries_are_shown_and_sent_again(pinxit: Pinxit) -> None:
    made = pinxit.json("create", URL)
    asyncio.run(fill(pinxit.folder))
    (delivery,) = pinxit.json("deliveries", made["id"])
    assert (delivery["event"]["subject"], delivery["status"]) == ("gen_1", "pending")
    assert delivery["id"] in pinxit("deliveries", made["id"], "--status", "pending")
    assert pinxit.json("deliveries", made["id"], "--status", "dead") == []
    assert pinxit.json("replay", made["id"], delivery["id"])["id"] == delivery["id"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("create", "https://127.0.0.1/"), UrlRefused),
        (("create", URL, "--event", "ping"), InvalidValue),
        (("delete", "wh_0"), NotFound),
        (("deliveries", "wh_0"), NotFound),
        (("replay", "wh_0", "del_0"), NotFound),
    ],
)
def test_what_is_said_wrong(pinxit: Pinxit, arguments: tuple[str, ...], error: type[PinxitError]) -> None:
    with pytest.raises(error):
        pinxit(*arguments)
