"""Servers that start in a tenth of a second: children of one process that has imported everything before.

A child is a real `pinxit serve` in a process group of its own, with its own environment, folder and output; all that it
shares with its parent are the modules, imported and not yet used. Run as a program, this file is the parent.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

START_SECONDS = 60.0


@dataclass
class Child:
    """One server, from its birth."""

    pid: int
    pidfd: int

    def has_ended(self, timeout_seconds: float = 0.0) -> bool:
        return bool(select.select([self.pidfd], [], [], timeout_seconds)[0])

    def signal(self, number: int) -> None:
        """To the server and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """As if the power of these processes failed; returns when they are gone."""
        self.signal(signal.SIGKILL)
        if not self.has_ended(30):
            raise AssertionError(f"process {self.pid} does not end")

    def stop(self) -> None:
        """Ask politely, and wait."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        if not self.has_ended(45):
            self.kill()


class Nursery:
    """Starts servers. `folder` is where they run; their output is added to its files `stdout` and `stderr`."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        self._children: list[Child] = []
        self._parent = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=dict(environ), cwd=folder
        )
        self._line()

    def serve(self, *, data: Path | None = None, port: int = 0, forgets: str = "", **environ: str) -> Child:
        """A new server over the data folder. `forgets`: it never syncs its "rows" or its "files" to the disk, the
        mistakes that a test of power cuts has to notice.
        """
        wish = {
            "arguments": ["serve", "--data-dir", str(data or self.data), "--port", str(port or self.port)],
            "environ": environ,
            "forgets": forgets,
        }
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps(wish).encode() + b"\n")
        self._parent.stdin.flush()
        pid = int(self._line())
        child = Child(pid, os.pidfd_open(pid))
        self._children.append(child)
        return child

    def _line(self) -> str:
        assert self._parent.stdout is not None
        ready, _, _ = select.select([self._parent.stdout], [], [], START_SECONDS)
        line = self._parent.stdout.readline() if ready else b""
        if not line:
            raise AssertionError("the parent of the servers has ended: " + self.log)
        return line.decode()

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def log(self) -> str:
        file = self.folder / "stderr"
        return file.read_text() if file.exists() else ""

    def close(self) -> None:
        for child in self._children:
            if not child.has_ended():
                child.kill()
            os.close(child.pidfd)
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.close()
        self._parent.wait(30)
        self._parent.stdout.close()


@contextmanager
def nursery(folder: Path, environ: Mapping[str, str]) -> Iterator[Nursery]:
    folder.mkdir(parents=True, exist_ok=True)
    opened = Nursery(folder, environ)
    try:
        yield opened
    finally:
        opened.close()


def free_port() -> int:
    """A port below those that the kernel gives to clients, lest one of them has it while its server is dead."""
    for number in range(20_000 + os.getpid() % 5000, 32_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", number))
                return number
    raise AssertionError("no free port")


# --- the parent ---


def _raise_children(wishes: IO[bytes], answers: IO[bytes]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries them
    answers.write(b"ready\n")
    answers.flush()
    children = []
    for line in wishes:
        wish = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _live(wish)
        children.append(pid)
        answers.write(b"%d\n" % pid)
        answers.flush()
    for pid in children[-2:]:  # the test was ended before it could end them
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _live(wish: dict[str, Any]) -> None:
    status = 70
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.environ.update(wish["environ"])
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        for number, opened in enumerate(
            (os.open("/dev/null", os.O_RDONLY), os.open("stdout", flags, 0o600), os.open("stderr", flags, 0o600))
        ):
            os.dup2(opened, number)
            os.close(opened)
        if wish["forgets"] == "rows":
            _forget_to_sync_rows()
        if wish["forgets"] == "files":
            os.fsync = lambda _: None
        sys.argv = ["pinxit", *wish["arguments"]]
        from pinxit.cli.main import main

        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _forget_to_sync_rows() -> None:
    """As if somebody had left `synchronous=FULL` out: SQLite's own default in WAL mode is NORMAL."""
    from sqlalchemy import event

    from pinxit.database import sqlite

    open_engine = sqlite.open_engine

    def careless(*arguments: Any, **options: Any) -> Any:
        engine = open_engine(*arguments, **options)
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=NORMAL"))
        return engine

    sqlite.open_engine = careless


if __name__ == "__main__":
    import uvicorn  # noqa: F401

    import pinxit.api.guard
    import pinxit.app
    import pinxit.cli.main
    import pinxit.cli.welcome
    import pinxit.database.migrate  # noqa: F401

    _raise_children(sys.stdin.buffer, sys.stdout.buffer)
