"""A house behind its door: uvicorn, told how a server of ours begins and ends."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from types import FrameType

import structlog
import uvicorn

from pinxit.api.guard import GuardLimits, guarded_protocol
from pinxit.app import House, create_app
from pinxit.cli.malloc import collect_less_often
from pinxit.errors import StartupError
from pinxit.settings import Settings

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 5
"""How long clients have, once their orders have ended, to read the answers before a stopping server hangs up."""


async def reload(house: House, read: Callable[[], Settings]) -> bool:
    """Have the house take over settings that are read in a thread; the log says what is wrong with them. Returns
    whether it has.
    """
    try:
        await house.reload(await asyncio.to_thread(read))
    except StartupError as error:
        log.error("configuration_not_reloaded", reason=error.message)
        return False
    return True


def run_server(
    house: House,
    listener: socket.socket,
    hello: Callable[[], Awaitable[None]],
    read_anew: Callable[[], Settings] | None = None,
) -> None:
    """Serve until a signal ends it. `hello` is awaited once it listens; `read_anew` reads the settings at SIGHUP.

    Raises StartupError.
    """
    settings = house.services.settings

    class Server(uvicorn.Server):
        """Says hello once it listens, and ends the orders under way before the connections that wait for them."""

        loop: asyncio.AbstractEventLoop

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop = asyncio.get_running_loop()
            if read_anew is not None:
                self.loop.add_signal_handler(signal.SIGHUP, lambda: asyncio.ensure_future(reload(house, read_anew)))
            await super().startup(sockets)
            if self.started:
                await hello()

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
            create_app(house),
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
    collect_less_often()
    server.run(sockets=[listener])
    if not server.started:
        raise StartupError("The server could not start; the log above says why.")
