"""A house whose model `far` is painted by an upstream that fails on demand, with money on both sides."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from fault_proxy import FaultProxy
from simulated_openai_compatible import SimulatedOpenaiCompatible

from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.backends.upstream._base import UpstreamBackend
from pinxit.database.tables import attempts, images
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.routing.breaker import BreakerState
from pinxit.routing.router import Router

UPSTREAM_MICROS = 30_000
"""What a picture costs us there."""
PRICE_MICROS = 50_000
"""What it costs the customer."""
CREDITS_MICROS = 1_000_000_000
MIB = 1024 * 1024
SIZE = "64x64"


@dataclass
class Failing:
    """The house, the upstream that fails, and one that does not."""

    front: Front
    proxy: FaultProxy
    faulty: SimulatedOpenaiCompatible
    healthy: SimulatedOpenaiCompatible

    @property
    def router(self) -> Router:
        return self.front.house.services.generations._router

    def backend(self, name: str = "faulty") -> UpstreamBackend:
        return cast("UpstreamBackend", self.front.house.services.runners[name]._backend)  # type: ignore[attr-defined]

    def breaker_state(self, name: str = "faulty") -> BreakerState:
        found = {standing.key.partition("/")[0]: standing.state for standing in self.router.standings()}
        return found.get(name, BreakerState.CLOSED)

    async def credits(self) -> tuple[int, int]:
        """What the customer has and what of it is held; the books are proven on the way."""
        database = self.front.house.database
        assert await database.read(check) == []
        return await database.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT))

    async def attempts(self) -> list[tuple[str, str, int]]:
        """Backend, status and what it cost us, of all tries."""
        return [(row.backend, row.status, row.cost_micros) for row in await self.front.rows(attempts)]

    async def pictures(self) -> int:
        """How many are kept: rows and files agree."""
        rows = len(await self.front.rows(images))
        assert len(self.front.files()) == rows
        return rows

    async def assert_nothing_leaks(self) -> None:
        """Every permit is back, nothing waits, and nobody is connected any more."""
        services = self.front.house.services
        generations = services.generations
        for _ in range(200):
            await asyncio.sleep(0.005)
            if not generations._tasks and self.proxy.open_connections == 0:
                break
        assert generations.live_count == 0
        assert (generations._gate.admitted, generations._gate.painting, generations._gate.waiting) == (0, 0, 0)
        assert services.byte_budget.used_bytes == 0
        for name in ("faulty", "healthy"):
            backend = self.backend(name)
            assert backend._slots._value == backend._limits.max_concurrency
            assert backend._waiting == 0


def open_sockets() -> int:
    """Of this process: clients', upstreams' and the proxy's."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            found += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return found


@asynccontextmanager
async def failing(
    make_front: MakeFront,
    *,
    both: bool = False,
    credits: int = CREDITS_MICROS,
    healthy_micros: int = UPSTREAM_MICROS,
    **options: Any,
) -> AsyncIterator[Failing]:
    """`both`: the model can be painted by the healthy upstream too, after the faulty one; `healthy_micros`: what that
    one costs; `options` of the faulty provider; those that begin with `house_` are settings.

    Besides `far` and `other` there is the model `at-cost`, which has no price but its painter's.
    """
    house = {name.removeprefix("house_"): options.pop(name) for name in list(options) if name.startswith("house_")}
    async with AsyncExitStack() as stack:
        faulty, healthy = SimulatedOpenaiCompatible(), SimulatedOpenaiCompatible()
        await stack.enter_async_context(faulty.serving())
        await stack.enter_async_context(healthy.serving())
        proxy = FaultProxy(int(faulty.url.rpartition(":")[2]), other_url=f"{healthy.url}/v1/images/generations")
        await stack.enter_async_context(proxy)
        front = await make_front(
            billing="credits",
            providers={
                "faulty": _provider(proxy.url, timeout_seconds=0.4, connect_seconds=0.2, max_answer_bytes=MIB)
                | options,
                "healthy": _provider(healthy.url, healthy_micros, timeout_seconds=20),
            },
            model_list=[
                _model("far", "faulty", *(["healthy"] if both else [])),
                _model("other", "healthy"),
                _model("at-cost", "faulty", "healthy", is_priced=False),
            ],
            default_model="far",
            **house,
        )
        now = front.house.services.now()
        await front.house.database.write(
            lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, credits, reference="cash", now=now)
        )
        yield Failing(front, proxy, faulty, healthy)


def _provider(url: str, micros: int = UPSTREAM_MICROS, **more: Any) -> dict[str, Any]:
    model = {"id": "flux.1-dev", "sizes": [SIZE], "prices": [{"usd": micros / 1e6}], "seed": True}
    return {"kind": "openai_compatible", "base_url": f"{url}/v1", "models": [model], **more}


def _model(name: str, *backends: str, is_priced: bool = True) -> dict[str, Any]:
    return {
        "model_name": name,
        "backends": [{"model": f"{backend}/flux.1-dev"} for backend in backends],
        "prices": [{"usd": PRICE_MICROS / 1e6}] if is_priced else [],
    }
