"""`pinxit models` over a data folder."""

import json
from pathlib import Path

import pytest
from commands import run as run_command
from typer.testing import Result

from pinxit.errors import InvalidValue, ModelNotFound, PinxitError

pytestmark = pytest.mark.both_databases


def run(folder: Path, *arguments: str) -> Result:
    return run_command(folder, "models", *arguments)


@pytest.fixture
def two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a second model in its configuration."""
    file = tmp_path / "pinxit.yaml"
    file.write_text("model_list:\n  - {model_name: icons, params: {model: otter/otter-1}}\naliases: {small: icons}\n")
    monkeypatch.setenv("PINXIT_CONFIG", str(file))
    return tmp_path / "data"


def ids(folder: Path) -> list[str]:
    return [model["id"] for model in json.loads(run(folder, "--json").output)]


def said(result: Result) -> str:
    """The last line, below what is logged here."""
    return result.output.splitlines()[-1]


def test_off_and_on_and_the_default(two: Path) -> None:
    assert ids(two) == ["otter-1", "icons"]
    assert said(run(two, "small", "--disable")) == "icons is off."
    assert ids(two) == ["otter-1"]
    states = [line.split()[:2] for line in run(two).output.splitlines()]
    assert ["otter-1", "default"] in states
    assert ["icons", "off"] in states
    shown = run(two, "icons").exception
    assert isinstance(shown, ModelNotFound)
    assert "icons is switched off" in str(shown)
    assert said(run(two, "icons", "--enable")) == "icons is on."
    assert said(run(two, "icons", "--default")) == "icons is on, the default."
    assert json.loads("{" + run(two, "otter-1", "--disable", "--json").output.rpartition("{")[2]) == {
        "id": "otter-1",
        "enabled": False,
        "default": False,
    }
    assert ids(two) == ["icons"]
    assert said(run(two, "otter-1", "--reset")) == "otter-1 is on."


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("otter-1", "--disable"), InvalidValue),
        (("icons", "--disable", "--default"), InvalidValue),
        (("--enable",), InvalidValue),
        (("nothing", "--disable"), ModelNotFound),
    ],
)
def test_what_is_wrong_is_said(two: Path, arguments: tuple[str, ...], error: type[PinxitError]) -> None:
    assert isinstance(run(two, *arguments).exception, error)
