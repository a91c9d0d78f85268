"""A real `pinxit serve` in a process of its own, and the few ways tests have to look at it from outside.

Servers and commands are born by the nursery, which spares each of them the second in which it would import everything.
With `fresh` the installed program is run as a user runs it; so it is for what the documentation shows, too.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar

import httpx2
from nursery import STOP_SECONDS, Child, parent

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
PINXIT = Path(sys.executable).with_name("pinxit")
COMMAND_SECONDS = 90.0
_HELLO = re.compile(r"^Pinxit serves (\S+) · data in", re.MULTILINE)
_KEY = re.compile(r"^ {2}(sk-\S+)$", re.MULTILINE)


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of Pinxit's own, so that nothing set here reaches the server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PINXIT_")} | more


def eventually(look: Callable[[], T], what: str, timeout_seconds: float = 30.0) -> T:
    """The first true value of `look`, asked again and again until the time is over."""
    deadline = time.monotonic() + timeout_seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_seconds:g} seconds in vain for {what}")
        time.sleep(0.01)
    return found


@dataclass
class Server:
    """A server under test. `key` is the one it printed at its first start over the folder, empty at later ones."""

    process: subprocess.Popen[bytes] | Child
    folder: Path
    started_at: float
    url: str = ""
    key: str = ""
    client: httpx2.Client = field(init=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return (self.folder.parent / "stdout").read_text()

    @property
    def log(self) -> str:
        return (self.folder.parent / "stderr").read_text()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def painter_pid(self) -> int:
        """The painter process; waits until there is one."""
        return eventually(lambda: find_painter(self.pid), "a painter process")

    def is_ready(self) -> bool:
        return bool(self.client.get("/health/ready").status_code == 200)

    def wait_ready(self) -> None:
        eventually(self.is_ready, "the server to be ready", 60.0)

    def generate(self, headers: Mapping[str, str] | None = None, /, **body: Any) -> httpx2.Response:
        """POST /v1/images/generations with the server's key."""
        body = {"prompt": "a red apple", "size": "256x256", **body}
        return self.client.post("/v1/images/generations", json=body, headers=self.authorization | dict(headers or {}))

    def make_key(self, **options: Any) -> str:
        """A further key, by the command line as an operator would."""
        arguments = [f"--{name}={value}" for name, values in options.items() for value in values]
        made = pinxit("keys", "create", "--data-dir", str(self.folder), *arguments, cwd=self.folder.parent)
        return made.stdout.strip()

    def find_generation(self, generation_id: str) -> dict[str, Any] | None:
        response = self.client.get(f"/v1/generations/{generation_id}", headers=self.authorization)
        return response.json() if response.status_code == 200 else None

    @property
    def authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def picture_files(self) -> set[str]:
        """The names of all files below the folder of pictures, unfinished ones too."""
        return {file.name for file in (self.folder / "pictures").rglob("*") if file.is_file()}

    def kill(self) -> None:
        """As if the power of this one process failed."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def stop(self) -> int:
        """Ask politely. Returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)


@contextmanager
def serving(
    folder: Path,
    *arguments: str,
    key: str = "",
    environ: Mapping[str, str] | None = None,
    wait_ready: bool = True,
    fresh: bool = False,
) -> Iterator[Server]:
    """A server over `folder`/data on a free port, until the end of the block. Its output is beside the data."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["serve", "--data-dir", str(folder / "data"), "--port", "0", *arguments]
    with (folder / "stdout").open("wb") as output, (folder / "stderr").open("wb") as log:
        started_at = time.monotonic()
        process = _begin(command, folder, environment(**(environ or {})), output, log, fresh=fresh)
    server = Server(process, folder / "data", started_at, key=key)
    try:
        server.url = eventually(lambda: _address(server), "the server to say where it is")
        with httpx2.Client(base_url=server.url, timeout=90) as server.client:
            if wait_ready:
                server.wait_ready()
            if not key:
                server.key = eventually(lambda: _KEY.search(server.output), "the server to print a key")[1]
            yield server
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(STOP_SECONDS)
        if isinstance(process, Child):
            process.close()


def _begin(
    arguments: list[str], folder: Path, environ: Mapping[str, str], output: IO[bytes], log: IO[bytes], *, fresh: bool
) -> subprocess.Popen[bytes] | Child:
    if not fresh:
        return parent().bear(arguments, folder=folder, environ=environ, output=output, log=log)
    return subprocess.Popen(
        [str(PINXIT), *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=log, cwd=folder, env=environ
    )


def _address(server: Server) -> str:
    if server.process.poll() is not None:
        raise AssertionError(f"the server ended with {server.process.returncode}:\n{server.log}")
    found = _HELLO.search(server.output)
    return found[1] if found else ""


def pinxit(
    *arguments: str, cwd: Path, environ: Mapping[str, str] | None = None, fresh: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command of the program to its end."""
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
        process = _begin(list(arguments), cwd, environment(**(environ or {})), output, log, fresh=fresh)
        try:
            status = process.wait(COMMAND_SECONDS)
        finally:
            process.kill()
            if isinstance(process, Child):
                process.close()
        output.seek(0)
        log.seek(0)
        return subprocess.CompletedProcess(arguments, status, output.read().decode(), log.read().decode())


def find_painter(server_pid: int) -> int:
    """The process id of the server's painter, 0 if there is none now."""
    return next(iter(find_children(server_pid, "pinxit-painter")), 0)


def find_children(pid: int, name: str) -> list[int]:
    """The process ids of its children that are called so and have not ended, the oldest first."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text()
        except OSError:  # it has just ended
            continue
        its_name, rest = status[status.index("(") + 1 :].rsplit(")", 1)
        fields = rest.split()
        if int(fields[1]) == pid and its_name == name and fields[0] != "Z":
            found.append((int(fields[19]), int(folder.name)))
    return [child for _, child in sorted(found)]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def resident_mebibytes(pid: int) -> float:
    """VmRSS of a process."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


def is_png(data: bytes) -> bool:
    return data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")


def png_size(data: bytes) -> tuple[int, int]:
    """Width and height, from the header."""
    assert is_png(data)
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
