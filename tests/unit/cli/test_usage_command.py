"""`pinxit usage` over a data folder."""

import json
from pathlib import Path

import pytest
from commands import run as run_command
from typer.testing import Result

from pinxit.errors import InvalidValue, NotFound

pytestmark = pytest.mark.both_databases


def run(folder: Path, *arguments: str) -> Result:
    return run_command(folder, "usage", *arguments)


def test_as_a_table_as_json_and_as_csv(tmp_path: Path) -> None:
    table = run(tmp_path)
    assert table.exit_code == 0
    assert table.output.split() == ["day", "orders", "images", "errors", "US", "dollars", "all", "0", "0", "0", "0.00"]
    content = json.loads(run(tmp_path, "--json", "--from", "2026-11-01", "--to", "2026-11-02").output)
    assert (content["from"], content["to"], content["data"]) == ("2026-11-01", "2026-11-02", [])
    written = run(tmp_path, "--csv", "--group-by", "model,key").output
    assert written.split() == ["model,key,key_name,orders,images,errors,cost_micros"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--from", "soon"), InvalidValue),
        (("--group-by", "prompt"), InvalidValue),
        (("--json", "--csv"), InvalidValue),
        (("--account", "acct_nobody"), NotFound),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, arguments: tuple[str, ...], error: type[Exception]) -> None:
    assert isinstance(run(tmp_path, *arguments).exception, error)
