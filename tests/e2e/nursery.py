"""Commands that start in a tenth of a second: children of one process that has imported everything before.

A child is a real `pinxit` in a session of its own, with its own environment, folder and output; all that it shares with
its parent are the modules, imported and not yet used. How it looks to who started it is like subprocess.Popen. There is
one parent for all tests of a process, which ends, with all its children, when that process does. Run as a program,
this file is the parent.
"""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

START_SECONDS = 60.0
STOP_SECONDS = 45.0
_LARGEST_MESSAGE = 1 << 20


class Child:
    """One command, from its birth."""

    def __init__(self, parent: "Parent", pid: int, pidfd: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        """As subprocess tells it: a signal that ended it is negative."""
        self._parent = parent
        self._pidfd = pidfd

    def has_ended(self, timeout_seconds: float = 0.0) -> bool:
        """Whether it has, within that time."""
        return self.returncode is not None or bool(select.select([self._pidfd], [], [], timeout_seconds)[0])

    def poll(self) -> int | None:
        """The exit status, None as long as it runs."""
        if self.returncode is None and self.has_ended():
            self.returncode = self._parent.status_of(self.pid)
        return self.returncode

    def wait(self, timeout_seconds: float) -> int:
        """The exit status. Raises subprocess.TimeoutExpired."""
        if not self.has_ended(timeout_seconds):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout_seconds)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        """To this process alone."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    def signal(self, number: int) -> None:
        """To it and all that it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """As if the power of these processes failed; returns when it is gone. It goes first: in the moment that one
        blow takes to reach them all, it could see another one die, and tell of that.
        """
        self.send_signal(signal.SIGKILL)
        if not self.has_ended(30):
            raise AssertionError(f"process {self.pid} does not end")
        self.signal(signal.SIGKILL)

    def stop(self) -> None:
        """Ask politely, and wait."""
        self.send_signal(signal.SIGTERM)
        if not self.has_ended(STOP_SECONDS):
            self.kill()

    def close(self) -> None:
        """Make sure that it has ended, and forget it."""
        if not self.has_ended():
            self.kill()
        self.poll()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


class Parent:
    """The process that bears them."""

    def __init__(self) -> None:
        self._door, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._door.settimeout(START_SECONDS)
        self._lock = threading.Lock()
        self._statuses: dict[int, int] = {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        atexit.register(self.close)

    def bear(
        self,
        arguments: list[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        output: IO[bytes],
        log: IO[bytes],
        forgets: str = "",
    ) -> Child:
        """`pinxit` with these arguments. `forgets`: see `Nursery.serve`."""
        wish = {"arguments": arguments, "folder": str(folder), "environ": dict(environ), "forgets": forgets}
        with self._lock, open(os.devnull, "rb") as nothing:
            files = [nothing.fileno(), output.fileno(), log.fileno()]
            socket.send_fds(self._door, [json.dumps(wish).encode()], files)
            while True:
                said, files = self._hear()
                if "born" in said:
                    self._statuses.pop(said["born"], None)  # of one that had this number before
                    return Child(self, said["born"], files[0])

    def status_of(self, pid: int) -> int:
        """The exit status of a child that has ended."""
        with self._lock:
            while pid not in self._statuses:
                self._hear()
            return self._statuses[pid]

    def _hear(self) -> tuple[dict[str, Any], list[int]]:
        message, files, _, _ = socket.recv_fds(self._door, _LARGEST_MESSAGE, 1)
        if not message:
            raise AssertionError("the parent of the servers has ended")
        said = json.loads(message)
        if "ended" in said:
            self._statuses[said["ended"]] = said["status"]
        return said, files

    def close(self) -> None:
        self._door.close()
        self._process.wait(START_SECONDS)


@cache
def parent() -> Parent:
    """The one of this process."""
    return Parent()


class Nursery:
    """Starts servers. `folder` is where they run; their output is added to its files `stdout` and `stderr`."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = folder / "data"
        self._environ = environ
        self._children: list[Child] = []

    def serve(self, *, data: Path | None = None, port: int = 0, forgets: str = "", **environ: str) -> Child:
        """A new server over the data folder. `forgets`: it never syncs its "rows" or its "files" to the disk, the
        mistakes that a test of power cuts has to notice.
        """
        arguments = ["serve", "--data-dir", str(data or self.data), "--port", str(port or self.port)]
        with (self.folder / "stdout").open("ab") as output, (self.folder / "stderr").open("ab") as log:
            child = parent().bear(
                arguments,
                folder=self.folder,
                environ={**self._environ, **environ},
                output=output,
                log=log,
                forgets=forgets,
            )
        self._children.append(child)
        return child

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text()

    @property
    def log(self) -> str:
        file = self.folder / "stderr"
        return file.read_text() if file.exists() else ""

    def close(self) -> None:
        for child in self._children:
            child.close()


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


def _raise_children(door: socket.socket) -> None:
    """Until nobody is there any more who could wish for one."""
    woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    living: set[int] = set()
    while True:
        ready, _, _ = select.select([door, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _bury(door, living)
        if door in ready:
            message, files, _, _ = socket.recv_fds(door, _LARGEST_MESSAGE, 3)
            if not message:
                break
            living.add(_bear(door, json.loads(message), files, [woken, waking]))
    for pid in living:  # the tests were ended before they could end them
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


def _bear(door: socket.socket, wish: dict[str, Any], files: list[int], ours: list[int]) -> int:
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        door.close()
        for descriptor in ours:
            os.close(descriptor)
        _live(wish, files)
    pidfd = os.pidfd_open(pid)
    socket.send_fds(door, [json.dumps({"born": pid}).encode()], [pidfd])
    for descriptor in (pidfd, *files):
        os.close(descriptor)
    return pid


def _bury(door: socket.socket, living: set[int]) -> None:
    while living:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        living.remove(pid)
        with suppress(OSError):  # nobody wants to know any more
            door.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def _live(wish: dict[str, Any], files: list[int]) -> None:
    status = 70
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate(files):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(wish["folder"])
        os.environ.clear()
        os.environ.update(wish["environ"])
        known = set(sys.path)
        path = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        sys.path[:0] = [folder for folder in path if folder and folder not in known]
        if wish["forgets"] == "rows":
            _forget_to_sync_rows()
        if wish["forgets"] == "files":
            os.fsync = lambda _: None
        sys.argv = ["pinxit", *wish["arguments"]]
        from pinxit.cli.main import main

        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as an interpreter does it
        sys.excepthook(*sys.exc_info())
        status = 1
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
    import gc
    import importlib

    for name in (
        "rich.progress", "uvicorn", "uvloop", "pinxit.api.guard", "pinxit.app", "pinxit.cli.main", "pinxit.cli.serving",
        "pinxit.cli.supervisor", "pinxit.cli.welcome", "pinxit.database.migrate", "pinxit.database.postgres",
    ):  # fmt: skip
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    _raise_children(socket.socket(fileno=int(sys.argv[1])))
