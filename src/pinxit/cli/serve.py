"""`pinxit serve`: the server."""

import asyncio
import errno
import fcntl
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import IO, Annotated, Any

import typer

from pinxit.cli.common import ConfigFile, DataDir, settings_from
from pinxit.cli.malloc import keep_large_buffers
from pinxit.errors import StartupError
from pinxit.settings import Settings

LOCK_FILE = "pinxit.lock"
BACKLOG = 2048
ANSWER_SECONDS = 5
"""How long clients have, once their orders have ended, to read the answers before a stopping server hangs up."""


def serve(
    config: ConfigFile = None,
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].", show_default=False)] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [8000].", show_default=False)] = None,
) -> None:
    """Start the server."""
    settings = settings_from(config, is_server=True, data_dir=data_dir, host=host, port=port)
    from pinxit.app import build, create_app, prepare_data_folder

    keep_large_buffers()
    prepare_data_folder(settings.data_dir)
    with lock_folder(settings.data_dir), listen(settings.host, settings.port) as listener:
        house = build(settings, owns_folder=True)
        _run(create_app(house), house, settings, listener)


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


def _run(app: Any, house: Any, settings: Settings, listener: socket.socket) -> None:
    import uvicorn

    from pinxit.api.guard import GuardLimits, guarded_protocol
    from pinxit.cli.welcome import welcome

    class Server(uvicorn.Server):
        """Says hello once it listens, and ends the orders under way before the connections that wait for them."""

        loop: asyncio.AbstractEventLoop

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop = asyncio.get_running_loop()
            await super().startup(sockets)
            if self.started:
                await welcome(house, listener.getsockname()[1])

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            orders = asyncio.create_task(end_orders(settings.shutdown_grace_seconds))
            await super().shutdown(sockets)
            await orders

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            """The second Ctrl+C ends the orders under way; uvicorn's own way would drop everything as it is."""
            super().handle_exit(sig, frame)
            if self.force_exit:
                self.force_exit = False
                self.loop.call_soon_threadsafe(asyncio.ensure_future, end_orders(0))

    async def end_orders(grace_seconds: float) -> None:
        await house.services.generations.close(grace_seconds)

    limits = GuardLimits(
        header_timeout_seconds=settings.header_timeout_seconds,
        body_timeout_seconds=settings.body_timeout_seconds,
        min_body_bytes_per_second=settings.min_body_bytes_per_second,
        max_connections=settings.max_connections,
        max_connections_per_client=settings.max_connections_per_ip,
    )
    server = Server(
        uvicorn.Config(
            app,
            http=guarded_protocol(limits),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=settings.keep_alive_seconds,
            timeout_graceful_shutdown=settings.shutdown_grace_seconds + ANSWER_SECONDS,
        )
    )
    server.run(sockets=[listener])
    if not server.started:
        raise StartupError("The server could not start; the log above says why.")
