"""`pinxit serve`: the server."""

import errno
import fcntl
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated

import typer

from pinxit.cli.common import ConfigFile, DataDir, settings_from
from pinxit.cli.malloc import keep_large_buffers
from pinxit.errors import StartupError
from pinxit.settings import Settings, load_settings
from pinxit.storage.folder import prepare_data_folder

LOCK_FILE = "pinxit.lock"
BACKLOG = 2048


def serve(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [8000].", show_default=False)] = None,
    workers: Annotated[
        int | None, typer.Option(help="API processes, more than one only with PostgreSQL [1].", show_default=False)
    ] = None,
) -> None:
    """Start the server."""
    settings = settings_from(config, is_server=True, data_dir=data_dir, host=host, port=port, workers=workers)
    keep_large_buffers()
    prepare_data_folder(settings.data_dir)
    with lock_folder(settings.data_dir), listen(settings.host, settings.port) as listener:
        flags = {"data_dir": data_dir, "host": host, "port": port, "workers": workers}

        def read_anew() -> Settings:
            return load_settings(config, overrides=flags)

        if settings.workers > 1:
            from pinxit.cli.supervisor import supervise

            supervise(settings, listener, read_anew)
        else:
            _serve_alone(settings, listener, read_anew)


def _serve_alone(settings: Settings, listener: socket.socket, read_anew: Callable[[], Settings]) -> None:
    from pinxit.app import build
    from pinxit.cli.serving import run_server
    from pinxit.cli.welcome import welcome

    house = build(settings, owns_folder=True)
    run_server(house, listener, lambda: welcome(house, listener.getsockname()[1]), read_anew)


def lock_folder(folder: Path) -> IO[str]:
    """Hold the data folder for this one server until the file is closed.

    Raises StartupError if another server holds it.
    """
    lock = (folder / LOCK_FILE).open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read(100).strip() or "unknown"
        lock.close()
        raise StartupError(
            f"Another Pinxit server (process {holder}) uses the data folder {folder}: stop it, or choose another "
            "with --data-dir."
        ) from error
    with suppress(OSError):  # the number is for people only, and a full disk has no room for it
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), f"{os.getpid()}\n".encode())
    return lock


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises StartupError, saying what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror as error:
        raise StartupError(f"The host {host!r} to listen on is not known: {error.strerror}.") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise StartupError(_why_not(error, host, port)) from error
    listener.listen(BACKLOG)
    listener.set_inheritable(False)
    return listener


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is taken: stop what listens there, or choose another with --port."
    if error.errno == errno.EACCES:
        return f"Port {port} on {host} is not for this user: choose one above 1023 with --port."
    return f"Pinxit cannot listen on {host}, port {port}: {error.strerror}. Choose another with --host and --port."
