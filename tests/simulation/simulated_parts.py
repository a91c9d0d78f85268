"""Seeded doubles behind Pinxit's own interfaces, one of each for every process: database, disk, painter, outgoing HTTP.

What they do to the world they do on their own, as a thread would: to cancel who waits for them does not stop them, to
kill their process does.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any, TypeVar

from simulated_world import Fate, World
from sqlalchemy import Connection

from pinxit.backends.interface import (
    Credential,
    Job,
    JobBegun,
    PaintedImage,
    PaintEvent,
    PaintOrder,
    PaintUsage,
    Progress,
    Queued,
)
from pinxit.database.interface import CommitUnknown, Database
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation, PinxitError, StorageUnavailable
from pinxit.images.pixels import Pixels
from pinxit.network.http import Answer, GuardedHttp, RequestFailed
from pinxit.runners.interface import PainterDied, Runner, RunnerState, Status
from pinxit.storage.interface import Storage, StoredFileMissing

T = TypeVar("T")
PART = ".part"


class _Acting:
    """Does something to the world a little later, whether or not it is still waited for."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.is_closed = False
        """Set when the run is over: what is torn down then must change nothing."""

    def _later(self, act: Callable[..., None], *args: Any) -> None:
        self._world.loop.call_later(self._world.delay(), self._act, act, args)

    def _act(self, act: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self.is_closed:
            act(*args)

    def _promise(self) -> "asyncio.Future[Any]":
        if self.is_closed:
            raise StorageUnavailable("This run is over.")
        return self._world.loop.create_future()


def _answer(future: "asyncio.Future[Any]", result: object) -> None:
    if future.cancelled():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)


class SimulatedDatabase(_Acting, Database):
    """Real SQL in real transactions on the world's one SQLite; groups of units are committed together."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self._waiting: list[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = []

    async def write(self, unit: Callable[[Connection], T]) -> T:
        future = self._promise()
        self._waiting.append((unit, future))
        if len(self._waiting) == 1:
            self._later(self._commit_waiting)
        result: T = await future
        return result

    async def read(self, unit: Callable[[Connection], T]) -> T:
        future = self._promise()
        self._later(self._read, unit, future)
        result: T = await future
        return result

    async def close(self) -> None:
        """Nothing is kept open."""

    def _read(self, unit: Callable[[Connection], Any], future: "asyncio.Future[Any]") -> None:
        if self._world.happens(self._world.dangers.read_fails):
            self._world.trace.note("read fails")
            self._later(_answer, future, StorageUnavailable())
            return
        connection = self._world.connection
        connection.exec_driver_sql("BEGIN")
        try:
            result = unit(connection)
        except Exception as error:  # noqa: BLE001 - what the unit raises is its caller's
            result = error
        finally:
            connection.exec_driver_sql("ROLLBACK")
        self._later(_answer, future, result)

    def _commit_waiting(self) -> None:
        group, self._waiting = self._waiting, []
        fate = self._world.fate_of_commit()
        names = " ".join(getattr(getattr(unit, "func", unit), "__name__", "?") for unit, _ in group)
        self._world.trace.note(f"commit {names}: {fate.value}")
        for future, result in self._run(group, fate):
            self._later(_answer, future, result)

    def _run(
        self, group: list[tuple[Callable[[Connection], Any], "asyncio.Future[Any]"]], fate: Fate
    ) -> list[tuple["asyncio.Future[Any]", object]]:
        if fate is Fate.REFUSED:
            return [(future, StorageUnavailable()) for _, future in group]
        connection = self._world.connection
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        results: list[tuple[asyncio.Future[Any], object]] = []
        for unit, future in group:
            connection.exec_driver_sql("SAVEPOINT unit")
            try:
                results.append((future, unit(connection)))
            except Exception as error:  # noqa: BLE001 - as above
                connection.exec_driver_sql("ROLLBACK TO unit")
                results.append((future, error))
            connection.exec_driver_sql("RELEASE unit")
        connection.exec_driver_sql("ROLLBACK" if fate is Fate.LOST_IN_DOUBT else "COMMIT")
        if fate is Fate.KEPT:
            return results
        return [(future, result if isinstance(result, Exception) else CommitUnknown()) for future, result in results]


class SimulatedStorage(_Acting, Storage):
    """The world's disk: a `.part` first, then the whole file under its name, then the promise that it stays."""

    async def put(self, key: str, data: bytes, *, is_read_soon: bool = True) -> None:
        future = self._promise()
        self._later(self._write_part, key, data, future)
        await future

    async def get(self, key: str) -> bytes:
        future = self._promise()
        self._later(self._read, key, future)
        data: bytes = await future
        return data

    async def delete(self, key: str) -> None:
        future = self._promise()
        self._later(self._delete, key, future)
        await future

    async def list_keys(self) -> set[str]:
        return set(self._world.files) | {part + PART for part in self._world.parts}

    async def free_bytes(self) -> int | None:
        return 1_000_000_000

    def _write_part(self, key: str, data: bytes, future: "asyncio.Future[Any]") -> None:
        self._world.parts.add(key)
        self._later(self._rename, key, data, future)

    def _rename(self, key: str, data: bytes, future: "asyncio.Future[Any]") -> None:
        self._world.parts.discard(key)
        if self._world.happens(self._world.dangers.put_fails):
            self._world.trace.note(f"put fails {key[-12:]}")
            self._later(_answer, future, StorageUnavailable())
            return
        self._world.files[key] = data
        self._world.unsynced.add(key)
        self._later(self._sync, key, future)

    def _sync(self, key: str, future: "asyncio.Future[Any]") -> None:
        self._world.unsynced.discard(key)
        self._world.trace.note(f"file {key[-12:]}")
        self._later(_answer, future, None)

    def _read(self, key: str, future: "asyncio.Future[Any]") -> None:
        data = self._world.files.get(key)
        self._later(_answer, future, StoredFileMissing() if data is None else data)

    def _delete(self, key: str, future: "asyncio.Future[Any]") -> None:
        if self._world.happens(self._world.dangers.delete_fails):
            self._world.trace.note(f"delete fails {key[-12:]}")
            self._later(_answer, future, StorageUnavailable())
            return
        if self._world.files.pop(key, None) is not None:
            self._world.trace.note(f"file gone {key[-12:]}")
        self._world.parts.discard(key)
        self._world.unsynced.discard(key)
        self._later(_answer, future, None)


def paint(prompt: str, seed: int, width: int, height: int) -> Pixels:
    """The picture of this prompt and seed: always the same."""
    grain = hashlib.sha256(f"{seed} {prompt}".encode()).digest()
    return Pixels(width, height, "RGB", (grain * (width * height * 3 // len(grain) + 1))[: width * height * 3])


class SimulatedRunner(Runner):
    """A painter that may queue, hang, refuse, err or die."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.refusal: type[PinxitError] | None = None
        """What every order is refused with."""

    async def start(self) -> None:
        """It is there."""

    @property
    def state(self) -> RunnerState:
        return RunnerState(Status.READY)

    @property
    def queue_depth(self) -> int:
        return 0

    async def wait_ready(self) -> None:
        """It always is."""

    async def close(self) -> None:
        """There is nothing to close."""

    async def paint(
        self, order: PaintOrder, *, ready_timeout_seconds: float | None = None
    ) -> AsyncGenerator[PaintEvent, None]:
        world = self._world
        await self._work()
        if self.refusal is not None:
            raise self.refusal
        if world.happens(world.dangers.painter_errs / 2):
            raise BackendUnavailable
        for position in range(world.random.randrange(3), 0, -1):
            yield Queued(position)
            await self._work()
        for index in world.random.sample(range(len(order.seeds)), len(order.seeds)):
            for step in range(1, order.num_inference_steps + 1):
                await self._work()
                self._go_wrong()
                yield Progress(index, step, order.num_inference_steps)
            seed = order.seeds[index]
            world.painted[order.prompt, seed] += 1
            world.trace.note(f"painted {order.prompt} {seed}")
            yield PaintedImage(index, seed, paint(order.prompt, seed, order.size.width, order.size.height))
        await self._work()
        self._go_wrong()
        yield PaintUsage(len(order.prompt), 4 * len(order.seeds))

    async def _work(self) -> None:
        world = self._world
        await asyncio.sleep(world.random.uniform(0.01, 0.6))
        if world.happens(world.dangers.painter_hangs):
            world.trace.note("the painter hangs")
            await world.calm.wait()

    def _go_wrong(self) -> None:
        world = self._world
        if world.happens(world.dangers.painter_dies):
            world.trace.note("the painter dies")
            raise PainterDied
        if world.happens(world.dangers.painter_errs / 2):
            raise world.random.choice((BackendError, ContentPolicyViolation))


class FarRunner(SimulatedRunner):
    """A provider far away, whose work is paid: it takes a job for each picture, and the job goes on whoever dies."""

    async def paint(
        self, order: PaintOrder, *, ready_timeout_seconds: float | None = None
    ) -> AsyncGenerator[PaintEvent, None]:
        begun = {index: job.upstream_id for job in order.jobs for index in job.indices}
        for index in range(len(order.seeds)):
            if index not in begun:
                await self._work()
                self._go_wrong()
                begun[index] = self._take(order, index)
                event = JobBegun(Job((index,), begun[index], {"why": "a dictionary"}))
                try:
                    yield event
                finally:
                    if not event.is_kept:
                        self._world.trace.note(f"{begun[index]} is left")
        for index, id_ in begun.items():
            for step in range(1, order.num_inference_steps + 1):
                await self._work()
                self._world.trace.note(f"{id_} is asked for")
                yield Progress(index, step, order.num_inference_steps)
            self._go_wrong()
            seed = order.seeds[index]
            yield PaintedImage(index, seed, paint(order.prompt, seed, order.size.width, order.size.height))

    async def give_up(self, jobs: Sequence[Job], credential: Credential | None = None) -> None:
        for job in jobs:
            self._world.trace.note(f"{job.upstream_id} is given up")

    def _take(self, order: PaintOrder, index: int) -> str:
        world = self._world
        world.jobs[order.prompt, order.seeds[index]] += 1
        id_ = f"job {world.jobs.total()}"
        world.trace.note(f"{id_} of {order.prompt} {order.seeds[index]}")
        return id_

    def _go_wrong(self) -> None:
        world = self._world
        if world.happens(world.dangers.painter_errs / 2):
            raise world.random.choice((BackendError, ContentPolicyViolation))


class SimulatedHttp(GuardedHttp):
    """The receiver of webhooks at the other end of the network."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes,
        max_answer_bytes: int | None = None,
    ) -> Answer:
        world = self._world
        await asyncio.sleep(world.random.uniform(0.001, 0.5))
        fails = world.happens(world.dangers.receiver_fails)
        how = world.random.choice(("refuse", "answer 500", "take it and hang up")) if fails else "take it"
        if how.startswith("take it"):
            world.received.append((headers["webhook-id"], body.decode()))
        world.trace.note(f"webhook {headers['webhook-id'][-6:]}: {how}")
        await asyncio.sleep(world.random.uniform(0.001, 0.5))
        if how == "take it":
            return Answer(204, {}, b"")
        if how == "answer 500":
            return Answer(500, {}, b"")
        raise RequestFailed
