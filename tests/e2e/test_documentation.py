"""The examples of the documentation, run as they stand, with only the address and the key replaced."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from running import PINXIT, ROOT, environment, is_png, pinxit

sys.path.append(str(ROOT / "tests" / "docs"))
from pages import PAGES, blocks, name_of

SEPARATELY_TESTED = ("docs/configuration.md",)
RUN = [
    block
    for page in PAGES
    for block in blocks(page)
    if block.language in ("sh", "python")
    and not block.why_not_run
    and name_of(page).startswith(("README", "docs/"))
    and name_of(page) not in SEPARATELY_TESTED
]


def adapted(text, server):
    return text.replace("http://127.0.0.1:8000", server.url).replace("<API_KEY>", server.key)


@pytest.mark.system("curl", "bash")
@pytest.mark.parametrize("block", RUN, ids=str)
def test_it_runs(server, block, tmp_path):
    interpreter = ["bash", "-euc"] if block.language == "sh" else [sys.executable, "-c"]
    done = subprocess.run(
        [*interpreter, adapted(block.text, server)],
        cwd=tmp_path,
        env=environment(PATH=f"{PINXIT.parent}{os.pathsep}{os.environ['PATH']}"),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"error":{' not in done.stdout.replace(" ", "")
    for file in re.findall(r"-o (\S+\.png)", block.text):
        assert is_png((tmp_path / file).read_bytes())
    for url in re.findall(r"^http\S+$", done.stdout, re.MULTILINE):
        assert is_png(server.client.get(url).content)


def test_the_backend_of_the_readme_paints(readme, tmp_path):
    """Found by its entry point, as an installed package is."""
    (code,) = [block.text for block in blocks(ROOT / "README.md") if block.text.startswith("# stripes.py\n")]
    (project,) = [block.text for block in blocks(ROOT / "README.md") if block.text.startswith("# pyproject.toml\n")]
    (tmp_path / "stripes.py").write_text(code)
    installed = tmp_path / "pinxit_stripes-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: pinxit-stripes\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        project.partition("[project.entry-points.")[2]
        .replace('"pinxit.backends"]', "[pinxit.backends]")
        .replace('"', "")
    )
    environ = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    listed = pinxit("models", "--json", cwd=tmp_path, environ=environ)
    assert [model["id"] for model in json.loads(listed.stdout)] == ["otter-1", "stripes-1"]
    painted = pinxit("generate", "anything", "-m", "stripes-1", "-o", "s.png", cwd=tmp_path, environ=environ)
    assert painted.returncode == 0, painted.stderr
    assert is_png((tmp_path / "s.png").read_bytes())


def test_the_pictures_of_the_readme_are_small_enough(readme):
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", readme):
        assert Path(ROOT / picture).stat().st_size <= 300_000
