"""Runs the program's commands in process."""

from pathlib import Path

from typer.testing import CliRunner, Result

from pinxit.cli.main import app


def run(folder: Path, *arguments: str) -> Result:
    """What the command says over this data folder; what it raises is in `exception`."""
    return CliRunner().invoke(app, [*arguments, "--data-dir", str(folder)], env={"COLUMNS": "200"})
