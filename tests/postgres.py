"""A PostgreSQL cluster of the tests' own: made with the system's programs in a temporary folder, and ended by its pid.

with Cluster() as cluster:              # initdb and start; `Cluster(Path("/on/a/disk"))` to choose the folder
    url = cluster.new_database("mine")  # postgresql://pinxit@/mine?host=…, over a socket
    cluster.stop("immediate")           # as if it had crashed; `start` recovers
    cluster.start()
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg import sql

USER = "pinxit"
PASSWORD = "correct:horse/battery"
"""Over TCP a password is asked for; over the socket none is. Its `:` and `/` must be written as %3A and %2F."""
START_SECONDS = 60.0
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
ENOUGH_MEMORY = 1 << 30

CLEAN_UP = 'cat >/dev/null; kill -QUIT "$1"; while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; rm -rf "$2"'
"""Waits for the end of its input, which is the end of the tests, however they end."""

Mode = Literal["smart", "fast", "immediate"]


def find_program(name: str) -> Path | None:
    """A program of PostgreSQL's server. Debian keeps them out of the PATH; of several versions the newest counts."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = [str(folder / name) for folder in folders if (folder / name).exists()] or [shutil.which(name)]
    return Path(found[0]) if found[0] else None


class Cluster:
    """One PostgreSQL server over a folder. It is durable (fsync is on) like a real one, if the folder is on a disk."""

    def __init__(self, folder: Path | None = None, *, settings: dict[str, str] | None = None) -> None:
        """`folder`: made, and removed by `close`; else one in memory if there is enough. `settings`: more `-c`."""
        self.folder = folder or Path(tempfile.mkdtemp(prefix="pinxit-postgres-", dir=memory_folder()))
        self.folder.mkdir(exist_ok=True)
        self.port = _free_port()
        self.log = self.folder / "log"
        self._data = self.folder / "data"
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
            "max_connections": "200",
            "shared_buffers": "32MB",
            "lc_messages": "C",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._initialise()
        self.start()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        program = find_program("postgres")
        assert program is not None
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, "-D", self._data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                **_as_user(),
            )
        guard = ["sh", "-c", CLEAN_UP, "sh", str(self.pid), str(self.folder)]
        self._guard = subprocess.Popen(guard, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        self._wait_until_it_answers()

    def stop(self, mode: Mode = "fast") -> None:
        """End it and wait. `immediate` is like a crash: the next start recovers from the write-ahead log."""
        if self._process is None or self._guard is None:
            return
        self._process.send_signal(SIGNALS[mode])
        self._process.wait(START_SECONDS)
        self._process = None
        assert self._guard.stdin is not None
        self._guard.kill()
        self._guard.stdin.close()
        self._guard.wait()
        self._guard = None

    def restart(self, mode: Mode = "fast") -> None:
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """End it and remove the folder."""
        self.stop("immediate")
        shutil.rmtree(self.folder)

    def url(self, name: str, *, by_tcp: bool = False) -> str:
        """Of a database, over the socket (no password) or over TCP (with it)."""
        if by_tcp:
            return f"postgresql://{USER}:correct%3Ahorse%2Fbattery@127.0.0.1:{self.port}/{name}"
        return f"postgresql://{USER}@/{name}?host={self.folder}&port={self.port}"

    def new_database(self, name: str, *, template: str = "template0", encoding: str = "UTF8") -> str:
        """Make a database, and return its url. `template`: one to copy, that nobody is connected to."""
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING {}")
        self.execute(made.format(sql.Identifier(name), sql.Identifier(template), sql.Literal(encoding)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove it, whoever is connected."""
        self.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(self, statement: "str | sql.Composed", *values: Any, database: str = "postgres") -> list[Any]:
        """Run one statement on a connection of its own; the rows, if there are any."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            query = statement if isinstance(statement, sql.Composed) else sql.SQL(statement)  # type: ignore[arg-type]
            cursor = connection.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def _initialise(self) -> None:
        program = find_program("initdb")
        assert program is not None
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            account = pwd.getpwnam("postgres")
            for path in (self.folder, password):
                os.chown(path, account.pw_uid, account.pw_gid)
        # The folder holds the socket, so that everybody may enter; what is in `data` is for its owner only.
        self.folder.chmod(0o755)
        options = ["--no-sync", "--no-locale", "--encoding=UTF8", "--auth-local=trust", "--auth-host=scram-sha-256"]
        done = subprocess.run(
            [program, "-D", self._data, "-U", USER, "--pwfile", password, *options],
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
            **_as_user(),
        )
        assert done.returncode == 0, done.stderr.decode()

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
                return
            except psycopg.OperationalError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise AssertionError(f"PostgreSQL did not start:\n{self.log.read_text()}") from None
                time.sleep(0.02)  # there is no event to wait for


def memory_folder() -> str | None:
    """Memory, where there is enough: a database of a test must be durable for the server, not for us."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ENOUGH_MEMORY
    return str(memory) if has_room and not os.statvfs(memory).f_flag & os.ST_NOEXEC else None


def _as_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root."""
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
