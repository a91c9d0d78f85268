"""The parent of a server's API processes: it starts them, replaces those that die, and has the painters they share.

It answers no request and has no connection to the database. Its first worker brings that up to date, alone; the others
come when it listens.
"""

import asyncio
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import structlog
import uvloop

from pinxit.backends import registry
from pinxit.cli.post import Post
from pinxit.errors import StartupError
from pinxit.limits.gate import Gate
from pinxit.runners.channel import Channel
from pinxit.runners.frames import Frame
from pinxit.runners.hub import Hub
from pinxit.runners.process import STEADY_SECONDS, ProcessRunner
from pinxit.runners.readiness import backoff_seconds
from pinxit.settings import Settings

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What ends a server."""
RELOADED = ("providers", "model_list", "aliases", "default_model")
"""The settings that workers take over while they run (`House.reload`)."""
LAST_SECONDS = 15.0
"""How much longer than its orders' grace a stopping worker may take, before it is killed."""

log = structlog.get_logger(__name__)


def supervise(settings: Settings, listener: socket.socket, read_anew: Callable[[], Settings]) -> None:
    """Serve with `settings.workers` processes until a signal ends it; then this process gets it, as if nobody had
    waited for it. `read_anew` reads the settings at SIGHUP. Raises StartupError.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    number = uvloop.run(Supervisor(settings, listener, read_anew).run())
    signal.signal(number, before[number])
    signal.raise_signal(number)


class Supervisor:
    """The workers, each in a slot with a number, and the painters."""

    def __init__(self, settings: Settings, listener: socket.socket, read_anew: Callable[[], Settings]) -> None:
        self._settings = settings
        self._read_anew = read_anew
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._listener = listener
        self._painters = _painters(settings)
        # Its queue is the workers' own affair; how many are painted at once is one number for all of them.
        gate = Gate(sys.maxsize, settings.max_painting_generations)
        self._hubs = {name: Hub(painter, gate) for name, painter in self._painters.items()}
        self._workers: dict[int, Worker] = {}
        self._up: set[int] = set()
        """The slots whose worker has listened."""
        self._first_is_up = asyncio.Event()
        self._signal: signal.Signals | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> signal.Signals:
        """Serve until a signal comes, and return it. Raises StartupError if a worker cannot start for the first time;
        one that cannot be replaced later is tried again and again, for the others go on.
        """
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self._pass_on, number)
        loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self._reload()))
        stopping = asyncio.create_task(self._stopping.wait())
        first_is_up = asyncio.create_task(self._first_is_up.wait())
        keepers: list[asyncio.Task[None]] = []
        try:
            for painter in self._painters.values():
                await painter.start()
            keepers.append(asyncio.create_task(self._keep(1)))
            await asyncio.wait({*keepers, first_is_up, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if first_is_up.done():
                keepers += [asyncio.create_task(self._keep(slot)) for slot in range(2, self._settings.workers + 1)]
            await asyncio.wait({*keepers, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            first_is_up.cancel()
            stopping.cancel()
            await self._end(keepers)
        for keeper in keepers:
            keeper.result()
        assert self._signal is not None
        return self._signal

    def _pass_on(self, number: signal.Signals) -> None:
        """Nobody is let in any more, and the workers end their orders: those wait for them, or not, as they would
        without us.
        """
        self._signal = self._signal or number
        self._stopping.set()
        self._listener.close()
        for worker in self._workers.values():
            worker.stop(number)

    def _begin(self, reload: Coroutine[Any, Any, None]) -> None:
        reloading = asyncio.create_task(reload)
        self._reloads.add(reloading)
        reloading.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        """Have all workers take over what is read anew, one after the other: what the first cannot take, none is given.
        Workers that start later begin with it.
        """
        async with self._reloading:
            try:
                fresh = await asyncio.to_thread(self._read_anew)
            except StartupError as error:
                log.error("configuration_not_reloaded", reason=error.message)
                return
            kept = {name: getattr(fresh, name) for name in RELOADED}
            settings = self._settings.model_copy(update=kept)
            for worker in [one for one in self._workers.values() if one.is_up]:
                is_taken = await worker.reload(settings)
                if is_taken:
                    self._settings = settings
                elif is_taken is False and self._settings is not settings:
                    return

    async def _bring_up_to_date(self, worker: "Worker") -> None:
        """For one that was still starting when the others took over new settings."""
        async with self._reloading:
            if worker.settings is not self._settings:
                await worker.reload(self._settings)

    async def _keep(self, slot: int) -> None:
        """Have a worker in this slot until the server stops. Raises StartupError if its first one cannot start."""
        loop = asyncio.get_running_loop()
        delays = backoff_seconds()
        while not self._stopping.is_set():
            began_at = loop.time()
            try:
                ending = await self._live_one_life(slot)
            except StartupError as error:
                if self._stopping.is_set():
                    return
                if slot not in self._up:
                    raise
                ending = f"could not start: {error.message}"
            if self._stopping.is_set():
                return
            if loop.time() - began_at >= STEADY_SECONDS:
                delays = backoff_seconds()
            delay = next(delays)
            log.error("worker_died", worker=slot, ending=ending, retry_seconds=delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def _live_one_life(self, slot: int) -> str:
        """Start a worker and wait until it has ended. Returns how. Raises StartupError if it never listened."""
        worker = self._workers[slot] = await Worker.spawn(
            slot, self._settings, self._hubs, self._listener, is_first=not self._up
        )
        if self._stopping.is_set():  # the signal came while it was started
            worker.stop(signal.SIGTERM)
        try:
            await worker.listening()
            log.info("worker_started", worker=slot, pid=worker.pid)
            self._up.add(slot)
            self._first_is_up.set()
            self._begin(self._bring_up_to_date(worker))
            return await worker.ended()
        finally:
            await worker.close()
            del self._workers[slot]

    async def _end(self, keepers: list["asyncio.Task[None]"]) -> None:
        """The workers first, for their orders need the painters."""
        self._stopping.set()
        if self._signal is None:
            for worker in self._workers.values():
                worker.stop(signal.SIGTERM)
        left = {keeper for keeper in keepers if not keeper.done()}
        if left:
            _, left = await asyncio.wait(left, timeout=self._settings.shutdown_grace_seconds + LAST_SECONDS)
        for slot, worker in self._workers.items():
            log.error("worker_hangs", worker=slot, pid=worker.pid)
            worker.kill()
        if left:
            await asyncio.wait(left)
        for painter in self._painters.values():
            await painter.close()


class Worker:
    """One worker process, from its start to its end, as the supervisor sees it."""

    def __init__(
        self,
        slot: int,
        settings: Settings,
        process: asyncio.subprocess.Process,
        lifeline: Channel,
        serving: list["asyncio.Task[None]"],
    ) -> None:
        self.pid = process.pid
        self.settings = settings
        self.is_up = False
        self._slot = slot
        self._process = process
        self._lifeline = lifeline
        self._serving = serving

    @classmethod
    async def spawn(
        cls, slot: int, settings: Settings, hubs: Mapping[str, Hub], listener: socket.socket, *, is_first: bool
    ) -> "Worker":
        """Raises StartupError."""
        with ExitStack() as ends:
            ours, theirs = socket.socketpair()
            ends.enter_context(theirs)
            lifeline = await Channel.open(ours)
            undo = ends.enter_context(ExitStack())
            undo.callback(lifeline.abort)
            at_hubs: dict[str, socket.socket] = {}
            at_workers: dict[str, socket.socket] = {}
            for name in hubs:
                at_hubs[name], at_workers[name] = socket.socketpair()
                ends.enter_context(at_workers[name])
                undo.enter_context(at_hubs[name])
            numbers = {name: end.fileno() for name, end in at_workers.items()}
            post = Post(settings, slot, is_first, listener.fileno(), theirs.fileno(), numbers)
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-P", "-m", "pinxit.cli.worker",
                    stdin=asyncio.subprocess.PIPE,
                    pass_fds=[post.listener, post.lifeline, *numbers.values()],
                    start_new_session=True,  # Ctrl+C reaches the whole group, and we pass it on
                )  # fmt: skip
            except (OSError, ValueError) as error:
                raise StartupError(f"A worker process cannot be started ({error}).") from error
            undo.pop_all()
        serving = [asyncio.create_task(hub.serve(at_hubs[name], str(slot))) for name, hub in hubs.items()]
        worker = cls(slot, settings, process, lifeline, serving)
        await worker._tell(post)
        return worker

    async def listening(self) -> None:
        """Return when it accepts connections. Raises StartupError with the reason why it never will."""
        frame = await self._lifeline.receive()
        if frame is None:
            raise StartupError(f"A worker {await self.ended()} while it was starting; the log above may say why.")
        if frame.type == "failed":
            raise StartupError(str(frame.header.get("reason")))
        self.is_up = True

    async def ended(self) -> str:
        """Wait for its end. Returns how that was."""
        status = await self._process.wait()
        if status < 0:
            return f"was killed by signal {-status} ({signal.strsignal(-status)})"
        return f"ended with exit status {status}"

    async def reload(self, settings: Settings) -> bool | None:
        """Have it, which listens, take over these settings. Returns whether it has; None if it ended meanwhile."""
        self._lifeline.send(Frame({"type": "settings"}, pickle.dumps(settings)))
        frame = await self._lifeline.receive()
        if frame is None:
            return None
        if frame.type == "reloaded":
            self.settings = settings
        return frame.type == "reloaded"

    def stop(self, number: signal.Signals) -> None:
        """Pass the signal on. Before it listens, a worker has no way to be interrupted without a traceback."""
        self._send(number if self.is_up else signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has ended already
            self._process.send_signal(number)

    async def close(self) -> None:
        """Wait for its end, and until what it ordered has been cancelled."""
        await self._process.wait()
        self._lifeline.abort()
        await self._lifeline.wait_closed()
        for result in await asyncio.gather(*self._serving, return_exceptions=True):
            if isinstance(result, BaseException):
                log.error("hub_crashed", worker=self._slot, exc_info=result)

    async def _tell(self, post: Post) -> None:
        assert self._process.stdin is not None
        with suppress(ConnectionError):  # it has ended already
            self._process.stdin.write(pickle.dumps(post))
            await self._process.stdin.drain()
        self._process.stdin.close()


def _painters(settings: Settings) -> dict[str, ProcessRunner]:
    """A runner for every backend that is installed and wants a process. Raises StartupError."""
    backends = [registry.load(name) for name in registry.list_names()]
    return {
        backend.name: ProcessRunner(backend.name, ready_timeout_seconds=settings.painter_ready_timeout_seconds)
        for backend in backends
        if backend.runs_in == "process"
    }
