"""Which database the settings mean, and what keeps it from being opened: one sentence each, never with a password."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pinxit.cli.main import app
from pinxit.database import opening, postgres
from pinxit.database.postgres import PostgresDatabase
from pinxit.database.sqlite import SqliteDatabase
from pinxit.errors import ConfigurationError, StartupError
from pinxit.settings import Settings, hide_password, load_settings
from postgres import Cluster

on_postgres = pytest.mark.system("postgres")
SECRETS = ("horse", "battery", "hunter2")


def settings_of(url: str | None, folder: Path = Path("nowhere")) -> Settings:
    return load_settings(environ={}, overrides={"database_url": url, "data_dir": folder})


def refusal(url: str) -> str:
    """The sentence with which a database is not opened."""
    with pytest.raises(StartupError) as refused:
        opening.open_database(settings_of(url))
    sentence = refused.value.message
    assert not [secret for secret in SECRETS if secret in sentence]
    assert "\n" not in sentence
    cause: BaseException | None = refused.value
    while cause is not None:  # a traceback shows these too
        assert not [secret for secret in SECRETS if secret in str(cause)]
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return sentence


# --- which ----------------------------------------------------------------------------------------------------------


async def test_without_a_url_it_is_sqlite_in_the_data_folder(tmp_path: Path) -> None:
    database = opening.open_database(settings_of(None, tmp_path))
    assert isinstance(database, SqliteDatabase)
    await database.close()
    assert (tmp_path / "pinxit.db").is_file()


@on_postgres
async def test_with_a_url_it_is_postgresql_and_it_is_brought_up_to_date(
    postgres_cluster: Cluster, tmp_path: Path
) -> None:
    for url in (postgres_cluster.new_database("fresh"), postgres_cluster.url("fresh", by_tcp=True)):
        database = opening.open_database(settings_of(url, tmp_path))
        assert isinstance(database, PostgresDatabase)
        await database.close()
    assert list(tmp_path.iterdir()) == []
    postgres_cluster.drop_database("fresh")


# --- what the URL may be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://pinxit:pa%40ss@db.example:5432/pinxit",
        "postgres://db.example/pinxit",
        "postgresql://pinxit@/pinxit?host=/var/run/postgresql",
        "postgresql:///pinxit",
        "postgresql://u:p@[::1]:5432/pinxit?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://u:p@one:5432,two:5432/pinxit?target_session_attrs=read-write",
        "postgresql://u:p@%2Fvar%2Frun/pinxit",
    ],
)
def test_urls_that_can_be_meant(url: str) -> None:
    settings = settings_of(url)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == url


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2@host/db",
        "postgresql://u:hunter2@host",
        "postgresql://u:hunter2@host/",
        "postgresql://u:hunter2/x@host/db",
        "postgresql://u:hunter2@x@host/db",
        "postgresql://u:hunter2@host:port/db",
        "postgresql://u:hunter2@host/db#x",
        "postgresql://u:hunter2@host/db name",
        "host=h password=hunter2 dbname=x",
        "hunter2",
        " ",
    ],
)
@pytest.mark.parametrize("source", ["environment", "file"])
def test_urls_that_cannot_be_meant_are_refused_unseen(url: str, source: str, tmp_path: Path) -> None:
    file = tmp_path / "pinxit.yaml"
    file.write_text(json.dumps({"settings": {"database_url": url}} if source == "file" else {}))
    environ = {"PINXIT_DATABASE_URL": url} if source == "environment" else {}
    with pytest.raises(ConfigurationError, match="must be a URL like postgresql://") as refused:
        load_settings(file, environ)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("value", ["[postgresql://u:hunter2@host/db]", "{a: hunter2}", "7", "true"])
def test_what_is_no_text_is_refused_unseen(value: str, tmp_path: Path) -> None:
    file = tmp_path / "pinxit.yaml"
    file.write_text(f"settings: {{database_url: {value}}}")
    with pytest.raises(ConfigurationError, match="must be a URL like postgresql://") as refused:
        load_settings(file, {})
    assert "hunter2" not in str(refused.value)


def test_empty_in_the_environment_is_none() -> None:
    assert load_settings(environ={"PINXIT_DATABASE_URL": ""}).database_url is None


# --- the password ---------------------------------------------------------------------------------------------------

URL = "postgresql://pinxit:hunter2@db.example:5432/pinxit?application_name=x&password=hunter2&sslpassword=hunter2"


def test_a_url_is_shown_without_its_password() -> None:
    assert hide_password(URL) == (
        "postgresql://pinxit:***@db.example:5432/pinxit?application_name=x&password=***&sslpassword=***"
    )
    assert hide_password("postgresql://pinxit@/x?host=/run") == "postgresql://pinxit@/x?host=/run"


def test_settings_never_show_it() -> None:
    settings = settings_of(URL)
    shown = [repr(settings), str(settings), str(settings.model_dump()), settings.model_dump_json()]
    assert not [text for text in shown if "hunter2" in text]


def test_pinxit_config_never_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pinxit.logs.configure", lambda *_: None)
    monkeypatch.setenv("PINXIT_DATABASE_URL", URL)
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["--json"]):
        answer = CliRunner().invoke(app, ["config", "check", *arguments])
        assert answer.exit_code == 0
        assert "hunter2" not in answer.output
    assert json.loads(answer.output)["database_url"].startswith("postgresql://pinxit:***@db.example:5432/pinxit?")


# --- what is wrong --------------------------------------------------------------------------------------------------


def test_a_driver_that_is_not_installed() -> None:
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from pinxit.database.opening import open_database\n"
        "from pinxit.settings import load_settings\n"
        "open_database(load_settings(environ={'PINXIT_DATABASE_URL': 'postgresql://u:hunter2@host/db'}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'pinxit[postgres]'" in done.stderr.splitlines()[-1]
    assert "hunter2" not in done.stderr


def test_sqlite_needs_no_driver() -> None:
    code = "import sys; import pinxit.app; assert 'psycopg' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


@on_postgres
def test_a_server_that_is_not_there(postgres_cluster: Cluster) -> None:
    url = postgres_cluster.url("x", by_tcp=True).replace(f":{postgres_cluster.port}/", ":1/")
    assert "Connection refused" in refusal(url)
    assert "Start the server, or correct database_url." in refusal(url)
    assert "nowhere.invalid" in refusal("postgresql://u:horse@nowhere.invalid/x")


@on_postgres
def test_a_wrong_password(postgres_cluster: Cluster) -> None:
    url = postgres_cluster.url("blank", by_tcp=True)
    assert "Correct user and password in database_url." in refusal(url.replace("battery", "batterie"))
    assert "Correct user and password in database_url." in refusal(url.replace(":correct%3Ahorse%2Fbattery@", "@"))


@on_postgres
def test_a_user_that_is_not_there(postgres_cluster: Cluster) -> None:
    assert 'role "nobody" does not exist' in refusal(postgres_cluster.url("blank").replace("pinxit@", "nobody@"))


@on_postgres
def test_a_database_that_is_not_there(postgres_cluster: Cluster) -> None:
    sentence = refusal(postgres_cluster.url("nope", by_tcp=True))
    assert 'database "nope" does not exist. Make it (CREATE DATABASE …), or correct database_url.' in sentence
    assert f"postgresql://pinxit:***@127.0.0.1:{postgres_cluster.port}/nope" in sentence


@on_postgres
def test_an_option_that_libpq_does_not_know(postgres_cluster: Cluster) -> None:
    assert "cannot be opened" in refusal(postgres_cluster.url("blank") + "&odd=1")


@pytest.fixture
def fresh(postgres_cluster: Cluster) -> Iterator[Callable[..., str]]:
    """Makes the database `odd` and gives its url."""
    made = []

    def make(**options: str) -> str:
        made.append("odd")
        return postgres_cluster.new_database("odd", **options)

    yield make
    for name in made:
        postgres_cluster.drop_database(name)


@on_postgres
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_in_another_encoding(fresh: Callable[..., str], encoding: str) -> None:
    assert f"is encoded in {encoding}; make one with CREATE DATABASE" in refusal(fresh(encoding=encoding))


@on_postgres
def test_a_server_that_is_too_old(fresh: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "MIN_VERSION", 99)
    assert "Pinxit needs 99 or newer" in refusal(fresh())


@on_postgres
def test_a_database_of_a_newer_pinxit(fresh: Callable[..., str], postgres_cluster: Cluster) -> None:
    url = fresh(template="blank")
    postgres_cluster.execute("UPDATE alembic_version SET version_num = '9999'", database="odd")
    assert "made by a newer Pinxit" in refusal(url)


@on_postgres
def test_a_user_who_may_not_make_tables(fresh: Callable[..., str], postgres_cluster: Cluster) -> None:
    url = fresh().replace("pinxit@", "guest@")
    postgres_cluster.execute("CREATE ROLE guest LOGIN")
    if postgres_cluster.execute("SHOW server_version_num")[0][0] < "150000":
        postgres_cluster.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC", database="odd")
    sentence = refusal(url)
    postgres_cluster.execute("DROP ROLE guest")
    assert "permission denied for schema public. Make the user of database_url the owner" in sentence


@on_postgres
@pytest.mark.parametrize("whose", ["DATABASE odd", "ROLE pinxit"])
def test_a_database_that_does_not_wait_for_the_disk(
    fresh: Callable[..., str], postgres_cluster: Cluster, whose: str
) -> None:
    url = fresh()
    postgres_cluster.execute(f"ALTER {whose} SET synchronous_commit = off")
    sentence = refusal(url)
    postgres_cluster.execute(f"ALTER {whose} RESET synchronous_commit")
    assert "has synchronous_commit off, and would lose orders and payments" in sentence


@on_postgres
@pytest.mark.parametrize("setting", ["fsync", "full_page_writes"])
def test_a_server_that_is_not_durable(setting: str) -> None:
    with Cluster(settings={setting: "off"}) as cluster:
        assert f"has {setting} off, and would lose" in refusal(cluster.new_database("mine"))


@on_postgres
async def test_a_server_that_is_just_starting_is_waited_for(
    fresh: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a server says that is starting up, shutting down or recovering; then it is there."""
    url, tries, real = fresh(template="blank"), [], postgres.psycopg.connect

    def connect(*arguments: object, **options: object) -> object:
        tries.append(threading.current_thread())
        if len(tries) < 3:
            raise postgres.psycopg.OperationalError("FATAL:  the database system is starting up")
        return real(*arguments, **options)

    monkeypatch.setattr(postgres.psycopg, "connect", connect)
    database = opening.open_database(settings_of(url))
    assert len(tries) >= 3
    await database.close()
