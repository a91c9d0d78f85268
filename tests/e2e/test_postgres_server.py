"""`pinxit serve` and the commands over a real PostgreSQL server: the same as over SQLite, a kill in between too."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Server, eventually, is_png, pinxit, serving

from postgres import Cluster

pytestmark = pytest.mark.system("postgres")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with Cluster() as cluster:
        cluster.new_database("pinxit")
        yield cluster.url("pinxit", by_tcp=True)


def picture(server: Server) -> str:
    """The path of a new picture."""
    answer = server.generate()
    assert answer.status_code == 200, answer.text
    return str(answer.json()["data"][0]["url"]).removeprefix(server.url)


def test_orders_keys_books_and_a_kill(url: str, tmp_path: Path) -> None:
    environ = {"PINXIT_DATABASE_URL": url, "PINXIT_LOG_LEVEL": "debug"}

    def command(*arguments: str) -> str:
        done = pinxit(*arguments, "--data-dir", str(tmp_path / "data"), cwd=tmp_path, environ=environ)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with serving(tmp_path, environ=environ) as server:
        first, key = picture(server), server.key
        assert is_png(server.client.get(first).content)
        another = command("keys", "create", "--name", "another").strip().splitlines()[-1].strip()
        authorization = {"Authorization": f"Bearer {another}"}
        eventually(
            lambda: server.client.get("/v1/models", headers=authorization).status_code == 200, "the new key to work"
        )
        assert "Everything is in order." in command("fsck")
        begun = server.client.post(
            "/v1/images/generations",
            json={"prompt": "a red apple", "size": "512x512", "n": 4, "async": True},
            headers=server.authorization,
        ).json()["id"]
        server.kill()
        assert "battery" not in server.log
        assert "battery" not in server.output
    assert not list((tmp_path / "data").glob("pinxit.db*"))

    with serving(tmp_path, environ=environ, key=key) as server:
        assert is_png(server.client.get(first).content)
        ended = eventually(
            lambda: (found := server.find_generation(begun)) and found["status"] == "completed" and found,
            "the order to be finished by the second server",
            60,
        )
        assert len(ended["images"]) == 4
        server.stop()
    assert json.loads(command("usage", "--json"))["total"]["orders"] == 2
    assert "Everything is in order." in command("fsck")
    shown = pinxit("config", "check", "--json", cwd=tmp_path, environ=environ).stdout
    assert "battery" not in shown
    assert "pinxit:***@127.0.0.1" in shown


def test_a_server_that_cannot_reach_its_database_says_so_in_one_sentence(url: str, tmp_path: Path) -> None:
    for wrong in (url.replace("battery", "batterie"), url.replace("/pinxit", "/nothing"), "postgresql://horse"):
        environ = {"PINXIT_DATABASE_URL": wrong}
        done = pinxit("serve", "--port", "0", "--data-dir", "data", cwd=tmp_path, environ=environ)
        assert (done.returncode, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("pinxit: ")
        assert line.endswith(".") or "must be a URL" in line
        assert "horse" not in line
