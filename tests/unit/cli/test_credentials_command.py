"""`pinxit credentials` over a data folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from simulated import beside_this_thread
from simulated_openai import SimulatedOpenai
from typer.testing import CliRunner, Result

from pinxit.cli.main import app
from pinxit.credentials.seal import KeyLost
from pinxit.errors import InvalidValue, NotFound

SECRET = "canary-of-the-tests-0123456789"


@pytest.fixture
def folder(tmp_path: Path, blank_database: bytes) -> Path:
    (tmp_path / "pinxit.db").write_bytes(blank_database)
    (tmp_path / "pinxit.yaml").write_text(
        json.dumps(
            {
                "providers": {
                    "studio": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"},
                    "fixed": {"kind": "openai", "credential": "in-the-configuration"},
                    "basement": {"kind": "a1111", "base_url": "http://127.0.0.1:9", "models": [{"id": "x"}]},
                }
            }
        )
    )
    return tmp_path


def run(folder: Path, *arguments: str, text: str | None = None, **variables: str) -> Result:
    line = ["credentials", *arguments, "--data-dir", str(folder), "--config", str(folder / "pinxit.yaml")]
    empty = {"COLUMNS": "200", "OPENAI_API_KEY": "", **variables}
    result = CliRunner().invoke(app, line, input=text, env=empty)
    assert SECRET not in result.output
    return result


def listed(folder: Path, *arguments: str, **variables: str) -> dict[str, dict[str, object]]:
    return {row["provider"]: row for row in json.loads(run(folder, "list", "--json", *arguments, **variables).stdout)}


def test_set_listed_sealed_anew_and_removed(folder: Path):
    before = listed(folder, OPENAI_API_KEY="in-the-environment")
    assert {name: row["source"] for name, row in before.items()} == {
        "studio": "OPENAI_API_KEY", "fixed": "configuration", "basement": "none needed",
    }  # fmt: skip
    assert listed(folder)["studio"]["source"] == "none"
    assert "ends with …6789" in run(folder, "set", "studio", text=f"  {SECRET}\n").stdout
    assert "configuration names another" in run(folder, "set", "fixed", text=SECRET).stderr
    found = listed(folder, OPENAI_API_KEY="in-the-environment")
    assert (found["studio"]["source"], found["studio"]["hint"]) == ("stored", "…6789")
    assert (found["studio"]["readable"], found["studio"]["created_by"]) == (True, "the command line")
    assert found["fixed"]["source"] == "configuration"
    assert "stored" in run(folder, "list").stdout
    for file in folder.iterdir():
        assert SECRET.encode() not in file.read_bytes(), file.name
    key = (folder / "credentials.key").read_text()
    assert "2 credentials are sealed anew" in run(folder, "rotate").stdout
    assert (folder / "credentials.key").read_text() != key
    assert listed(folder)["studio"]["readable"]
    (folder / "credentials.key").write_text(key)
    assert not listed(folder)["studio"]["readable"]
    assert "cannot be opened" in run(folder, "list").stdout
    assert isinstance(run(folder, "rotate").exception, KeyLost)
    assert "removed" in run(folder, "remove", "studio").stdout
    assert isinstance(run(folder, "remove", "studio").exception, NotFound)
    assert listed(folder)["studio"]["source"] == "none"


def test_an_account_s_own(folder: Path):
    said = run(folder, "set", "studio", "--account", "acct_default", "--fall-back", "--json", text=SECRET).stdout
    shape = json.loads(said[said.index("{\n") :])  # behind the log lines, which the program keeps to itself
    assert (shape["hint"], shape["fall_back"], shape["source"]) == ("…6789", True, "stored")
    assert set(listed(folder, "--account", "acct_default")) == {"studio"}
    assert listed(folder)["studio"]["source"] == "none"
    for arguments in (("list", "--account", "acct_x"), ("set", "studio", "--account", "acct_x")):
        assert isinstance(run(folder, *arguments, text=SECRET).exception, NotFound)
    for arguments in (
        ("set", "basement", "--account", "acct_default"),
        ("set", "unknown"),
        ("set", "studio", "--fall-back"),
        ("test", "unknown"),
    ):
        assert isinstance(run(folder, *arguments, text=SECRET).exception, InvalidValue)
    assert isinstance(run(folder, "set", "studio", text="\n").exception, InvalidValue)


@pytest.fixture
def studio() -> Iterator[SimulatedOpenai]:
    """A provider that serves while commands run loops of their own."""
    with beside_this_thread(SimulatedOpenai()) as studio:
        yield studio


def test_tried_without_painting(folder: Path, studio: SimulatedOpenai):
    config = json.loads((folder / "pinxit.yaml").read_text())
    config["providers"]["studio"]["base_url"] = f"{studio.url}/v1"
    (folder / "pinxit.yaml").write_text(json.dumps(config))
    assert isinstance(run(folder, "test", "studio").exception, NotFound)
    assert isinstance(run(folder, "test", "studio", "--account", "acct_default").exception, NotFound)
    run(folder, "set", "studio", text=SECRET)
    refused = run(folder, "test", "studio")
    assert (refused.exit_code, "does not accept" in refused.stdout) == (1, True)
    run(folder, "set", "studio", "--account", "acct_default", text=studio.credential)
    accepted = run(folder, "test", "studio", "--account", "acct_default", "--json")
    assert (accepted.exit_code, json.loads(accepted.stdout)["accepted"]) == (0, True)
    assert "painting only" in run(folder, "test", "basement").stdout
    assert studio.painted == 0
