"""`pinxit generate` says on standard error what the model does not know."""

import asyncio
import json
from pathlib import Path

import pytest
from commands import run
from structlog.testing import capture_logs

from browser import listening
from front import MakeFront
from pinxit.backends.interface import Familiarity
from pinxit.testing.fake_backend import FakeBackend

SENTENCE = "fake-1 does not know this well; the nearest thing it knows is “große 🦦” (0.41).\n"


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("known", [False, True])
async def test_by_a_server(make_front: MakeFront, tmp_path: Path, known: bool, as_json: bool):
    backend = FakeBackend(familiarity=lambda _: Familiarity("große 🦦", 0.412, known=known))
    front = await make_front(backend)
    wanted = ("generate", "quarterly revenue", "-o", str(tmp_path / "it.png"), "--size", "256x256")
    async with listening(front) as address:
        asked = (*wanted, "--server", address, "--api-key", front.key, *(["--json"] if as_json else []))
        with capture_logs():  # those of the server are not what the command says
            result = await asyncio.to_thread(run, tmp_path, *asked)
    assert (result.exit_code, result.stderr) == (0, "" if known else SENTENCE)
    assert (tmp_path / "it.png").exists()
    if as_json:
        assert json.loads(result.stdout)["model"] == "fake-1"
