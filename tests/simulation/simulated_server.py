"""One process with all of the order core in it: the real services over the simulated parts."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from simulated_parts import FarRunner, SimulatedDatabase, SimulatedHttp, SimulatedRunner, SimulatedStorage
from simulated_world import World
from virtual_loop import Process

from pinxit import accounts
from pinxit.app import _recorder
from pinxit.backends.interface import Capabilities, ModelSpec, Range
from pinxit.catalog.catalog import Catalog, ConfiguredBackend, ConfiguredModel
from pinxit.errors import StorageUnavailable
from pinxit.generations.announcing import Announcer
from pinxit.generations.leases import SERVER, Tenure
from pinxit.generations.service import GenerationService
from pinxit.ids import new_id
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.size import Size
from pinxit.keys.model import Limits
from pinxit.library.library import Library
from pinxit.library.urls import ImageUrls
from pinxit.limits.gate import Gate
from pinxit.limits.memory import MemoryLimiter
from pinxit.moderation.word_list import WordListModerator
from pinxit.routing.router import Router
from pinxit.settings import Settings, load_settings
from pinxit.webhooks.deliverer import Deliverer
from pinxit.webhooks.secret import WebhookSecrets

T = TypeVar("T")

SECRET = b"s" * 32
MICROS, MICROS_WIDE = 10_000, 25_000
SMALL, WIDE = Size(8, 8), Size(16, 8)
MODEL = "priced"


@dataclass(frozen=True, slots=True)
class Plan:
    """How the servers of a run are set."""

    is_billed: bool = True
    max_orders: int = 8
    max_painting: int = 2
    servers: int = 1
    knows_predecessors: bool = True
    account_limits: Limits = field(default_factory=Limits)
    is_far: bool = False
    """Whether a provider far away paints, whose work is paid."""


@cache
def catalog() -> Catalog:
    can = Capabilities(
        sizes=(SMALL, WIDE), default_size=SMALL, native_size=SMALL, max_n=3, num_inference_steps=Range(1, 4, 2)
    )
    prices = PriceList((PriceRule(MICROS), PriceRule(MICROS_WIDE, size=str(WIDE))))
    return Catalog(
        {"simulated": [ModelSpec("simulated-1", "", can, "nobody", "none", 0)]},
        default_model=MODEL,
        configured=[ConfiguredModel(MODEL, [ConfiguredBackend("simulated", "simulated-1")], prices=prices)],
    )


@cache
def settings() -> Settings:
    return load_settings(environ={}, overrides={"data_dir": Path("nowhere"), "default_model": MODEL})


@cache
def moderator() -> WordListModerator:
    return WordListModerator({})


class Server:
    """A process and what runs in it; it is started anew with a new one."""

    def __init__(self, world: World, plan: Plan, name: str) -> None:
        self.process = Process(world.loop, name)
        self.is_alone = plan.servers == 1
        self.is_open = False
        """Whether clients can reach it."""
        self._world = world
        self.database = SimulatedDatabase(world)
        self.storage = SimulatedStorage(world)
        self.runner = FarRunner(world) if plan.is_far else SimulatedRunner(world)
        self.process.context.run(self._build, plan)

    def _build(self, plan: Plan) -> None:
        world = self._world
        urls = ImageUrls(SECRET)
        self.library = Library(self.database, self.storage, urls, min_free_bytes=1, now=world.now)
        self.deliverer = Deliverer(
            self.database, SimulatedHttp(world), WebhookSecrets(SECRET), now=world.now, chance=world.random.random
        )
        self.gate = Gate(plan.max_orders, plan.max_painting)
        self.limiter = MemoryLimiter(world.nanoseconds)
        self.generations = GenerationService(
            database=self.database,
            catalog=catalog(),
            runners={"simulated": self.runner},
            moderator=moderator(),
            library=self.library,
            gate=self.gate,
            limiter=self.limiter,
            account_limits=plan.account_limits,
            now=world.now,
            tenure=self._tenure(plan),
            is_billed=plan.is_billed,
            router=Router(monotonic, remote=lambda _: False),
            once_only={"simulated"} if plan.is_far else (),
            announcer=Announcer(_recorder(settings(), urls), self.deliverer.wake),
        )

    def _tenure(self, plan: Plan) -> Tenure:
        """A server that is started anew may know that the one before it is dead; the others wait for its leases."""
        servers = f"{SERVER}_{self.process.name[-1]}"
        return Tenure(new_id(servers), predecessors=f"{servers}_" if plan.knows_predecessors else None)

    @property
    def is_up(self) -> bool:
        return not self.process.is_dead

    async def start(self) -> bool:
        """As `House.start` does. False if the database would not have it; then the process has ended. Raises Killed."""
        self._world.trace.note(f"{self.process.name} starts")
        try:
            await self.process.run(self._start())
        except StorageUnavailable:
            self._world.trace.note(f"{self.process.name} cannot start")
            self.kill()
            return False
        return True

    async def _start(self) -> None:
        now = self._world.now()
        await self.database.write(lambda connection: accounts.ensure_default(connection, now))
        await self.generations.start()
        await self.deliverer.start(is_alone=self.is_alone)

    def kill(self) -> None:
        self._world.trace.note(f"{self.process.name} killed")
        self.process.kill()

    async def close(self) -> None:
        await self.process.run(self._close())
        self.kill()

    async def _close(self) -> None:
        await self.generations.close(2.0)
        await self.deliverer.close(2.0)

    async def ask(self, work: Callable[["Server"], Coroutine[Any, Any, T]]) -> T:
        """Have this process do something. Raises Killed."""
        return await self.process.run(work(self))

    def leaks(self) -> list[str]:
        """What an idle process still holds of orders that have ended."""
        service = self.generations
        held = {
            "gate.admitted": self.gate.admitted,
            "gate.painting": self.gate.painting,
            "gate.waiting": self.gate.waiting,
            "limiter": len(self.limiter._open),
            "live": len(service._live),
            "tasks": service.live_count,
            "opening": len(service._opening),
            "endings": service._endings.pending,
        }
        return [f"{self.process.name} still has {name} = {count}" for name, count in held.items() if count]


def close_all(servers: list[Server]) -> None:
    """The run is over: nothing that is torn down may reach the world."""
    for server in servers:
        server.database.is_closed = server.storage.is_closed = True
