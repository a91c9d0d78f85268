"""One run of the order core under a virtual clock, with everything that happens in it drawn by its seed."""

import asyncio
import gc
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest
import structlog
from simulated_customers import Customers
from simulated_server import MICROS, SECRET, Plan, Server, close_all
from simulated_truth import LOST_BY_WHO_IS_WELL, is_quiet, wrong_after_a_restart, wrong_at_the_end, wrong_now
from simulated_world import Ambush, Dangers, Trace, World, open_blank_database
from virtual_loop import Killed, VirtualLoop, current_process, settle_down

import pinxit.catalog.entry
import pinxit.generations.painting
import pinxit.generations.service
import pinxit.ids
import pinxit.webhooks.secret
from pinxit.database.tables import accounts, api_keys
from pinxit.keys.model import ApiKey, Budgets, Caller, KeyOptions, Limits, Scope
from pinxit.ledger import ledger
from pinxit.webhooks import repository as webhooks
from pinxit.webhooks.model import Endpoint, EndpointOptions
from pinxit.webhooks.secret import WebhookSecrets, new_salt

ACCOUNTS = ("acct_one", "acct_two")
HAS_WEBHOOK = {"acct_one"}
MOMENTS = (
    ("", 160),
    ("commit", 60),
    ("commit open_", 6),
    ("commit settle", 4),
    ("commit fail", 4),
    ("commit take_over", 6),
    ("painted", 6),
    ("file", 6),
)
"""When something can happen: how a note begins, and at which such note at the latest."""
FAR_MOMENTS = (*MOMENTS, ("commit note_jobs", 6), ("job", 12))
SHARE_FAR_AWAY = 0.25
"""Of the runs, those in which a provider far away paints."""
CALM_SECONDS = 2000.0
"""How long, in virtual seconds, everything may take to end once nothing goes wrong any more."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a run."""

    seed: int
    problems: tuple[str, ...]
    digest: str
    steps: int
    last: tuple[str, ...]
    orders: int = 0

    def __str__(self) -> str:
        lines = "\n".join(self.last)
        found = "\n".join(self.problems)
        return f"seed {self.seed}, after {self.steps} steps:\n{lines}\n\nseed {self.seed} breaks:\n{found}"


class _Secrets:
    """What `secrets` has, from the seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(f"secrets {seed}")

    def token_bytes(self, count: int) -> bytes:
        return self._random.randbytes(count)

    def token_hex(self, count: int) -> str:
        return self._random.randbytes(count).hex()

    def randbelow(self, limit: int) -> int:
        return self._random.randrange(limit)


def run(seed: int, *, keep_everything: bool = False) -> Outcome:
    """Play the run of `seed` to its end. It never raises for what it finds: that is in the outcome."""
    loop = VirtualLoop(Random(f"order {seed}"), is_shuffled=seed % 4 != 0)
    trace = Trace(loop)
    trace.everything = [] if keep_everything else None
    problems: list[str] = []
    with determined(seed, loop, trace) as marks, open_blank_database() as connection:
        world = World(seed, Random(f"world {seed}"), loop, connection, trace, marks=marks)
        loop.set_exception_handler(
            lambda _, context: problems.append(f"{context['message']}: {context.get('exception')!r}")
        )
        story = _Story(world)
        try:
            problems += loop.run_until_complete(story.play())
        except Exception as error:  # noqa: BLE001 - it is what the run found
            problems.append(f"{type(error).__name__}: {error}")
            trace.note(problems[-1])
        steps = loop.steps
        loop.set_exception_handler(lambda _, context: None)
        trace.is_closed = True
        close_all(story.all_servers)
        loop.bury([server.process for server in story.all_servers])
    last = tuple(trace.everything if trace.everything is not None else trace.last)
    return Outcome(seed, tuple(problems), trace.digest(), steps, last, len(story.customers.wishes))


@contextmanager
def determined(seed: int, loop: VirtualLoop, trace: Trace) -> Iterator[set[tuple[str, str]]]:
    """Names, clocks and the log come from the run. Yields what the log says that a check wants to know."""
    marks: set[tuple[str, str]] = set()

    def to_trace(_: Any, __: str, event: Any) -> Any:
        if "generation_id" in event:
            marks.add((event["event"], event["generation_id"]))
            process = current_process()
            if event["event"] == "generation_lost" and process is not None and not process.was_stalled:
                marks.add((LOST_BY_WHO_IS_WELL, event["generation_id"]))
        if event.get("exc_info"):
            trace.note(f"log {event['event']} {event['exc_info']!r}")
        else:
            trace.note(f"log {event['event']} {str(event.get('generation_id', ''))[-6:]}")
        raise structlog.DropEvent

    before = structlog.get_config()
    was_collecting = gc.isenabled()
    gc.disable()
    structlog.configure(processors=[to_trace])
    try:
        with pytest.MonkeyPatch.context() as patch:
            secrets = _Secrets(seed)
            for module in (pinxit.ids, pinxit.catalog.entry, pinxit.webhooks.secret):
                patch.setattr(module, "secrets", secrets)
            for module in (pinxit.generations.service, pinxit.generations.painting):
                patch.setattr(module, "monotonic", loop.time)
            yield marks
    finally:
        structlog.configure(**before)
        if was_collecting:
            gc.enable()


class _Story:
    """The run itself: customers come, things go wrong, it becomes calm, and everything has to be as it should."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.servers: list[Server] = []
        self.all_servers: list[Server] = []
        self.customers = Customers(world, self.servers, [])
        self.problems: list[str] = []

    async def play(self) -> list[str]:
        world, random = self.world, self.world.random
        self.plan = _draw_plan(random)
        if Random(f"far {world.seed}").random() < SHARE_FAR_AWAY:
            self.plan = replace(self.plan, is_far=True)
        callers = furnish(world)
        for number in range(self.plan.servers):
            await self._bring_up(f"server {number + 1}")
        self.customers = Customers(world, self.servers, callers)
        world.become_dangerous(_draw_dangers(random))
        trouble = [asyncio.create_task(self._make_trouble(random)) for _ in range(random.randrange(3))]
        self._lie_in_wait()
        visits = [asyncio.create_task(self.customers.visit(random.randrange(2, 5))) for _ in range(3)]
        await asyncio.wait(visits, timeout=400.0)
        self._look()
        for task in trouble:
            task.cancel()
        world.trace.ambushes.clear()
        world.become_calm()
        await self._get_everything_up()
        await asyncio.gather(*visits)
        if not await settle_down(self._is_over, CALM_SECONDS, 2.0, looks=3):
            self.problems.append(f"it is not over {CALM_SECONDS} seconds after nothing goes wrong any more")
        self.problems += wrong_at_the_end(world, self.customers, self.servers, has_webhook=HAS_WEBHOOK)
        await self._restart_once_more()
        return self.problems

    async def _restart_once_more(self) -> None:
        for server in list(self.servers):
            await server.close()
            self.servers.remove(server)
            await self._bring_up(server.process.name)
        for server in self.servers:
            await server.close()
        self.problems += wrong_after_a_restart(self.world)

    def _is_over(self) -> bool:
        return is_quiet(self.world) and not any(server.leaks() for server in self.servers)

    def _look(self) -> None:
        self.problems += wrong_now(self.world)

    async def _bring_up(self, name: str) -> None:
        """Start a process, however often it takes; one that is killed meanwhile is replaced by who killed it."""
        while True:
            server = Server(self.world, self.plan, name)
            self.servers.append(server)
            self.all_servers.append(server)
            try:
                if await server.start():
                    server.is_open = True
                    return
            except Killed:
                return
            self.servers.remove(server)
            await asyncio.sleep(1.0)

    # --- trouble ---

    async def _make_trouble(self, random: Random) -> None:
        await asyncio.sleep(random.uniform(0.0, 15.0))
        if not self.servers:
            return
        server = random.choice(self.servers)
        if random.random() < 0.5 or len(self.servers) == 1:
            self._crash(server)
        elif server.is_up:
            await self._stall(server, random)

    async def _stall(self, server: Server, random: Random) -> None:
        """For some time, or until another server has just taken an order over and both believe that it is theirs."""
        self.world.trace.note(f"{server.process.name} stalls")
        server.process.stall()
        resumed = self.world.resumed
        if random.random() < 0.5:
            await settle_down(lambda: self.world.resumed > resumed, 130.0, 0.2)
            await asyncio.sleep(random.uniform(0.0, 1.5))
        else:
            await asyncio.sleep(random.choice((5.0, 70.0, 130.0)))
        self.world.trace.note(f"{server.process.name} goes on")
        server.process.wake()

    def _lie_in_wait(self) -> None:
        """Something happens to the process that is in the middle of something."""
        random = self.world.random
        for _ in range(random.choice((0, 0, 1, 1, 2, 3))):
            act = random.choice((self._crash_one, self._crash_one, self._stall_one))
            prefix, most = random.choice(FAR_MOMENTS if self.plan.is_far else MOMENTS)
            self.world.trace.ambushes.append(Ambush(prefix, random.randrange(1, most), act))

    def _stall_one(self) -> None:
        """The one that is at work just now; nobody waits for how that goes on."""
        process = current_process()
        for server in self.servers:
            if server.process is process:
                self.world.loop.create_task(self._stall(server, self.world.random), context=Context())
                process.stall()

    def _crash_one(self) -> None:
        process = current_process()
        at_work = [server for server in self.servers if server.process is process]
        if at_work or self.servers:
            self._crash(self.world.random.choice(at_work or self.servers))

    def _crash(self, server: Server) -> None:
        if server not in self.servers or not server.is_up:
            return
        server.kill()
        if self.world.happens(0.3):
            for other in self.servers:
                if other.is_up:
                    other.kill()
            self.world.cut_power()
        for dead in [one for one in self.servers if not one.is_up]:
            self.servers.remove(dead)
            self.world.loop.create_task(self._replace(dead.process.name), context=Context())

    async def _replace(self, name: str) -> None:
        await asyncio.sleep(self.world.random.choice((0.1, 2.0, 30.0)))
        self._look()
        await self._bring_up(name)

    async def _get_everything_up(self) -> None:
        for server in self.servers:
            server.process.wake()
        await settle_down(lambda: sum(server.is_open for server in self.servers) == self.plan.servers, 200.0)


def _draw_plan(random: Random) -> Plan:
    servers = random.choice((1, 1, 2))
    return Plan(
        is_billed=random.random() < 0.8,
        max_orders=random.choice((3, 8, 50)),
        max_painting=random.choice((1, 2, 4)),
        servers=servers,
        knows_predecessors=servers == 1 or random.random() < 0.5,
        account_limits=Limits(concurrency=random.choice((None, None, 2))),
    )


def _draw_dangers(random: Random) -> Dangers:
    """Nothing, one kind of trouble or every kind."""
    kinds: list[dict[str, float]] = [
        {"read_fails": 0.03, "write_is_refused": 0.05, "commit_is_in_doubt": 0.1},
        {"commit_is_in_doubt": 0.4},
        {"put_fails": 0.2, "delete_fails": 0.2},
        {"painter_dies": 0.15, "painter_errs": 0.1},
        {"painter_hangs": 0.05},
        {"receiver_fails": 0.6},
        {"is_slow": 0.2},
    ]
    chosen = random.sample(kinds, random.choice((0, 1, 1, 2, 3, len(kinds))))
    return Dangers(**{name: chance for kind in chosen for name, chance in kind.items()})


def furnish(world: World, *, credits_micros: int | None = None, is_free: bool = False) -> list[Caller]:
    """Accounts with some credits, keys with limits and budgets unless they are free, an endpoint for webhooks."""
    connection, random, now = world.connection, world.random, world.now()
    callers = []
    for account in ACCOUNTS:
        connection.execute(accounts.insert().values(id=account, name=account, created_at=now))
        micros = credits_micros or random.choice((5, 20, 100)) * MICROS
        ledger.top_up(connection, account, micros, reference=f"first of {account}", now=now)
    for number, account in enumerate((*ACCOUNTS, ACCOUNTS[0])):
        options = KeyOptions() if is_free else _draw_options(random)
        key = ApiKey(f"key_{number}", account, "sk-", "0000", options, now)
        callers.append(Caller(account, key, frozenset(Scope)))
        connection.execute(api_keys.insert().values(key_row(key)))
    for account in HAS_WEBHOOK:
        salt = new_salt()
        secret_check = WebhookSecrets(SECRET).check(f"wh_{account}", salt)
        options = EndpointOptions(url="https://receiver.example/")
        webhooks.insert(connection, Endpoint(f"wh_{account}", account, options, salt, secret_check, now), most=9)
    return callers


def _draw_options(random: Random) -> KeyOptions:
    return KeyOptions(
        limits=Limits(images_per_minute=random.choice((None, None, 6)), concurrency=random.choice((None, None, 1))),
        budgets=Budgets(
            total_micros=random.choice((None, None, 8 * MICROS)), per_day_micros=random.choice((None, 5 * MICROS))
        ),
    )


def key_row(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "account_id": key.account_id,
        "name": "",
        "prefix": key.prefix,
        "last4": key.last4,
        "secret_sha256": hashlib.sha256(key.id.encode()).hexdigest(),
        "scopes": [],
        "strict": False,
        "limits": {},
        "budgets": {},
        "created_at": key.created_at,
    }
