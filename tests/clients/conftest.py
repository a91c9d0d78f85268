"""One server for all clients, with a painter, and for each client a folder, keys and an environment of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

sys.path.append(str(Path(__file__).parents[1] / "e2e"))
from environments import CannotInstall, node_of, python_of
from page import write_page
from registry import PAGE, Client, clients
from running import ROOT, Server, environment, serving

HERE = Path(__file__).parent
RUN_SECONDS = 120.0
# Nothing leaves this machine: what honours a proxy finds none there, and what would report home is told not to.
QUIET = {
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "NO_PROXY": "127.0.0.1",
    "AGNO_TELEMETRY": "false",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "DO_NOT_TRACK": "1",
}
FOREIGN = re.compile(
    r"^(?:OPENAI|AZURE|LITELLM|LANGCHAIN|LANGSMITH|AGNO|LLM|NODE|NPM_CONFIG)_|PROXY$|^PYTHON", re.IGNORECASE
)
_LINE = re.compile(r'^\{"exercised": ?.*\}$', re.MULTILINE)


@dataclass(frozen=True)
class Run:
    """What a client's program did: each thing it exercised and whether that passed, its exit status, all it printed."""

    passed: dict[str, bool]
    status: int
    output: str


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def manager(server: Server) -> str:
    """A key that makes keys."""
    return server.make_key(scope=["admin"])


@pytest.fixture
def make_key(server: Server, manager: str) -> Callable[..., str]:
    def make(**options: object) -> str:
        made = server.client.post("/v1/keys", json=options, headers={"Authorization": f"Bearer {manager}"})
        assert made.status_code == 201, made.text
        return str(made.json()["key"])

    return make


@pytest.fixture
def exercise(server: Server, make_key: Callable[..., str], tmp_path: Path) -> Callable[[Client], Run]:
    """Runs a client's program in the client's environment."""

    def run(client: Client) -> Run:
        lay_out(tmp_path, client)
        own = {
            "PINXIT_SERVER": server.url,
            "PINXIT_KEY": make_key(name=client.name, default_delivery=client.delivery),
            "PINXIT_READING_KEY": make_key(name="reading", scopes=["models:read"]),
            "PINXIT_HASTY_KEY": make_key(name="hasty", limits={"images_per_minute": 2}),
            "PINXIT_REPOSITORY": str(ROOT),
            "HOME": str(tmp_path),
        }
        command, path = installed(client, tmp_path)
        foreign = [name for name in os.environ if FOREIGN.search(name)]
        environ = {
            name: value for name, value in environment(**QUIET, **own).items() if name not in foreign or name in QUIET
        }
        environ["PATH"] = os.pathsep.join([*path, os.environ["PATH"]])
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=RUN_SECONDS, check=False,
        )  # fmt: skip
        lines = [json.loads(line) for line in _LINE.findall(done.stdout)]
        return Run({line["exercised"]: line["passed"] for line in lines}, done.returncode, done.stdout + done.stderr)

    return run


def lay_out(folder: Path, client: Client) -> None:
    """The program, what programs share, and two pictures."""
    for file in (client.program, HERE / "shared" / f"exercises{client.program.suffix}"):
        (folder / file.name).write_bytes(file.read_bytes())
    robot = Image.new("RGB", (256, 256), "white")
    ImageDraw.Draw(robot).rectangle((64, 64, 192, 192), fill="grey", outline="black", width=6)
    robot.save(folder / "robot.png")
    mask = Image.new("RGBA", (256, 256), "black")
    mask.paste((0, 0, 0, 0), (0, 0, 128, 256))
    mask.save(folder / "mask.png")


def installed(client: Client, folder: Path) -> tuple[list[str], list[str]]:
    """`command_of`; where a client cannot be installed its test is skipped, and counted, unless all are insisted on."""
    try:
        return command_of(client, folder)
    except CannotInstall as error:
        if os.environ.get("PINXIT_REQUIRE_ALL") == "1":
            raise
        pytest.skip(f"{client.name} cannot be installed here: {error}")


def command_of(client: Client, folder: Path) -> tuple[list[str], list[str]]:
    """What to run, and what comes first in PATH."""
    program = client.program.name
    if client.language == "js":
        node, modules = node_of(client.folder)
        (folder / "node_modules").symlink_to(modules / "node_modules")
        return [str(node), program], []
    if not client.packages:
        return ["bash", program], []
    python = python_of(client.folder)
    return [str(python) if client.language == "python" else "bash", program], [str(python.parent)]


@pytest.fixture(scope="session")
def results() -> Iterator[dict[str, dict[str, bool]]]:
    """What every client exercised. With PINXIT_WRITE_CLIENTS=1 it is written down, if all clients have run."""
    gathered: dict[str, dict[str, bool]] = {}
    yield gathered
    if os.environ.get("PINXIT_WRITE_CLIENTS") == "1" and set(gathered) == {client.name for client in clients()}:
        PAGE.write_text(write_page(gathered), encoding="utf-8")
