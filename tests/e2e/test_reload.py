"""SIGHUP has a server read its providers, models and aliases again."""

import signal
from pathlib import Path

from running import Server, eventually, pinxit, serving

PROVIDER = """
providers:
  basement:
    kind: openai_compatible
    base_url: http://127.0.0.1:9/v1
    models: [{id: flux, sizes: [512x512]}]
"""
BOTH = "model_list:\n  - {model_name: both, backends: [{model: basement/flux}]}\n"
TWO = BOTH + "  - {model_name: two, backends: [{model: basement/flux}]}\n"


def models(server: Server) -> set[str]:
    return {model["id"] for model in server.client.get("/v1/models", headers=server.authorization).json()["data"]}


def test_a_changed_configuration_counts_without_a_restart(tmp_path: Path):
    file = tmp_path / "pinxit.yaml"
    file.write_text("aliases: {sketch: otter-1}\n")
    with serving(tmp_path / "server", "--config", str(file), wait_ready=False) as server:
        assert models(server) == {"otter-1"}

        file.write_text(PROVIDER + BOTH)
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: models(server) == {"otter-1", "basement/flux", "both"}, "the new models")
        answer = server.generate(model="both", size="512x512")
        assert (answer.status_code, answer.json()["error"]["type"]) == (503, "upstream_unavailable")
        assert server.generate(model="sketch").status_code == 404

        file.write_text("providers: {basement: {kind: nobody}}\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "configuration_not_reloaded" in server.log, "the log to say what is wrong")
        assert "There is no provider 'nobody'" in server.log
        assert models(server) == {"otter-1", "basement/flux", "both"}

        file.write_text(PROVIDER + TWO)
        folder = ("--data-dir", str(server.folder), "--config", str(file))
        assert pinxit("models", "both", "--disable", *folder, cwd=tmp_path).stdout == "both is off.\n"
        eventually(lambda: models(server) == {"otter-1", "basement/flux"}, "the model to be off")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: "two" in models(server), "the further model")
        assert "both" not in models(server), "what was changed meanwhile stays"

        file.write_text("{}\n")
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: models(server) == {"otter-1"}, "the providers to be gone")
        server.stop()
        assert "Traceback" not in server.log
