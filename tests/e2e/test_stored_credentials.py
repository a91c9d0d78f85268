"""A running server takes a credential that the command line keeps."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import PINXIT, Server, environment, eventually, is_png, serving
from simulated import beside_this_thread
from simulated_openai import SimulatedOpenai

MODEL = "gpt-image-1-mini"


@pytest.fixture
def studio() -> Iterator[SimulatedOpenai]:
    """A provider beside this thread, which waits for programs."""
    with beside_this_thread(SimulatedOpenai()) as studio:
        yield studio


def has_model(server: Server) -> bool:
    listed = server.client.get("/v1/models", headers=server.authorization).json()["data"]
    return f"studio/{MODEL}" in {model["id"] for model in listed}


def test_a_credential_counts_without_a_restart(tmp_path: Path, studio: SimulatedOpenai):
    file = tmp_path / "pinxit.yaml"
    entry = {"kind": "openai", "base_url": f"{studio.url}/v1", "models": [MODEL]}
    file.write_text(json.dumps({"providers": {"studio": entry}}))
    order = {"model": f"studio/{MODEL}", "size": "1024x1024"}

    with serving(tmp_path / "server", "--config", str(file), wait_ready=False) as server:
        refused = server.generate(**order)
        assert (refused.status_code, refused.json()["error"]["type"]) == (403, "credential_error")
        assert not has_model(server)
        line = [PINXIT, "credentials", "set", "studio", "--config", file, "--data-dir", server.folder]
        subprocess.run(line, input=studio.credential.encode(), env=environment(), timeout=60, check=True)
        eventually(lambda: has_model(server), "the credential to be noticed")
        answer = server.generate(**order)
        assert answer.status_code == 200, answer.text
        assert is_png(server.client.get(answer.json()["data"][0]["url"]).content)
        assert studio.painted == 1
        server.stop()
        assert "provider_without_credential" in server.log
        assert studio.credential not in server.log + server.output
        assert "Traceback" not in server.log
