"""What an upstream in trouble does to the orders of another model: latencies before, while it fails, and after.

    python bench/upstream_faults.py [--seconds 5] [--fault silence]

One house in process, two simulated upstreams on loopback, one behind the proxy of faults. Orders for the healthy one
arrive at a steady rate all the time; for the failing one, at the same rate. Prints p50 and p99 of the healthy one's
model, and the ratio of p99 to the one before, of which the target is at most 1.2; exits with 1 if it is more. Before,
the other upstream is there and well, and gets as many orders.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/upstreams")]

import httpx2  # noqa: E402
from failing import SIZE, Failing, failing  # noqa: E402
from fault_proxy import Fault  # noqa: E402

from front import BASE_URL, Front  # noqa: E402
from pinxit import logs  # noqa: E402
from pinxit.accounts import DEFAULT_ACCOUNT  # noqa: E402
from pinxit.app import build, create_app  # noqa: E402
from pinxit.backends.upstream._configured import build_providers  # noqa: E402
from pinxit.keys.model import KeyOptions  # noqa: E402
from pinxit.keys.service import local_caller  # noqa: E402
from pinxit.settings import load_settings  # noqa: E402
from pinxit.testing.fake_backend import FakeBackend  # noqa: E402

TARGET = 1.2
FAULTS = (Fault.REFUSED, Fault.BLACK_HOLE, Fault.SILENCE, Fault.SLOW, Fault.ERROR, Fault.RESET_IN_BODY, Fault.ENDLESS)
"""Those that take time or work here; what is refused at once costs less than a picture."""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each phase")
    parser.add_argument("--rate", type=float, default=10.0, help="orders a second, for each of the two models")
    parser.add_argument("--fault", choices=[fault.name.lower() for fault in FAULTS], help="only this one")
    return parser.parse_args()


async def measure(there: Failing, seconds: float, rate: float) -> list[float]:
    """Seconds of each order of the healthy one's model."""
    taken: list[float] = []

    async def ask(model: str) -> None:
        began = perf_counter()
        answer = await there.front.generate(model=model, size=SIZE)
        if model == "other":
            assert answer.status_code == 200, answer.text
            taken.append(perf_counter() - began)

    async with asyncio.TaskGroup() as orders:
        for _ in range(int(seconds * rate)):
            orders.create_task(ask("other"))
            orders.create_task(ask("far"))
            await asyncio.sleep(1 / rate)
    return taken


def percentiles(taken: list[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    cuts = statistics.quantiles(taken, n=100, method="inclusive")
    return 1000 * cuts[49], 1000 * cuts[98]


async def compare(fault: Fault, seconds: float, rate: float) -> float:
    """The worst ratio of p99 while it fails to p99 before."""
    async with AsyncExitStack() as stack:

        async def make_front(**settings: object) -> Front:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            chosen = load_settings(environ={}, overrides={"data_dir": Path(folder), **settings})
            backend = FakeBackend()
            house = build(chosen, owns_folder=True, backends=[backend, *build_providers(chosen.providers, {})])
            await house.start()
            stack.push_async_callback(house.close, 5)
            app = create_app(house)
            client = await stack.enter_async_context(
                httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=BASE_URL, timeout=60)
            )
            key = (await house.services.keys.create(local_caller(DEFAULT_ACCOUNT), KeyOptions(name="bench")))[1]
            return Front(client, app, house, backend, key)

        there = await stack.enter_async_context(failing(make_front, timeout_seconds=2.0))
        await measure(there, 1, rate)
        before = percentiles(await measure(there, seconds, rate))
        await there.proxy.become(fault)
        during = percentiles(await measure(there, seconds, rate))
        state = there.breaker_state()
        await there.proxy.become(Fault.NONE)
        after = percentiles(await measure(there, seconds, rate))
        ratio = during[1] / before[1]
        told = " | ".join(f"{p50:6.1f} {p99:6.1f}" for p50, p99 in (before, during, after))
        print(f"{fault.value:24} | {told} | {ratio:5.2f} | {state.value}", flush=True)
        return ratio


def main() -> int:
    chosen = arguments()
    logs.configure("error", "json")
    faults: Iterator[Fault] = (fault for fault in FAULTS if chosen.fault in (None, fault.name.lower()))
    print("milliseconds, p50 and p99    before        |    while it fails |    after     | ratio | breaker")
    worst = max(asyncio.run(compare(fault, chosen.seconds, chosen.rate)) for fault in faults)
    return 0 if worst <= TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
