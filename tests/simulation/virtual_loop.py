"""An event loop whose time is made up and whose order is drawn by lot, and processes that can be killed on it.

Time jumps to the next timer as soon as nothing else can run. Of several callbacks that could run, a seeded choice takes
one, so that each seed is another interleaving and the same seed always the same. A process is a context variable: every
callback and every task carries the context it was made in, so what belongs to a process that was killed never runs
again (no `finally`, as after kill -9), and what belongs to one that is stalled runs when it is woken.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")

MAX_STEPS = 400_000
"""A run that takes more is going round in circles."""
MOST_CANCELS = 20


class Stuck(AssertionError):
    """Nothing can run any more, or far too much has run."""


class Killed(Exception):
    """The process that was asked is dead: its client sees a connection that is reset."""


class Process:
    """What is lost together. Everything that is begun in its context belongs to it."""

    def __init__(self, loop: "VirtualLoop", name: str) -> None:
        self.name = name
        self.is_dead = False
        self.is_stalled = False
        self.was_stalled = False
        self.parked: list[asyncio.Handle] = []
        self._loop = loop
        self._died: asyncio.Future[None] = loop.create_future()

    @property
    def context(self) -> Context:
        context = copy_context()
        context.run(_PROCESS.set, self)
        return context

    def kill(self) -> None:
        """As kill -9: nothing of it runs any more."""
        self.is_dead = True
        if not self._died.done():
            self._died.set_result(None)

    def stall(self) -> None:
        """As SIGSTOP: nothing of it runs until `wake`."""
        self.is_stalled = self.was_stalled = True

    def wake(self) -> None:
        self.is_stalled = False
        if self.is_dead:
            return
        parked, self.parked = self.parked, []
        self._loop.resume(parked)

    def begin(self, work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """Start a task that belongs to this process."""
        return self._loop.create_task(work, context=self.context)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have `work` done by this process and wait for it. Raises Killed if the process dies first."""
        task = self.begin(work)
        await asyncio.wait({task, self._died}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Killed
        return task.result()

    async def wait(self, *futures: "asyncio.Future[Any]", seconds: float | None = None) -> None:
        """Return when one of them is done, the process has died, or after `seconds`."""
        await asyncio.wait({*futures, self._died}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def current_process() -> Process | None:
    """Whose code is running."""
    return _PROCESS.get()


class _Task(asyncio.Task[T]):
    """A task whose hash is its number: sets of tasks have the same order in every run."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs until its work is done or can never be done, in no real time."""

    def __init__(self, random: Random, *, is_shuffled: bool) -> None:
        super().__init__()
        self._random = random
        self._is_shuffled = is_shuffled
        self._virtual_now = 0.0
        self._made: list[_Task[Any]] = []
        self.steps = 0
        self._act_at = 0
        self._act: Callable[[], None] | None = None
        self.set_task_factory(self._make_task)

    def time(self) -> float:
        return self._virtual_now

    def resume(self, handles: list[asyncio.Handle]) -> None:
        self._ready.extend(handles)

    def skip(self, seconds: float) -> None:
        """Let time pass in which nothing happens; what was due meanwhile happens once, afterwards."""
        self._virtual_now += seconds

    def after_steps(self, count: int, act: Callable[[], None] | None) -> None:
        """Do this so many steps from now, whatever happens then. None: nothing any more."""
        self._act_at, self._act = self.steps + count, act

    def run_in_executor(self, executor: Any, work: Callable[..., T], *args: Any) -> "asyncio.Future[T]":  # type: ignore[override]
        """A thread: does its work in one piece, a little later, whether or not somebody still waits for it."""
        future: asyncio.Future[T] = self.create_future()
        self.call_later(self._random.choice((0.0, 0.001, 0.02)), _do, future, work, args)
        return future

    def bury(self, processes: "list[Process]") -> None:
        """End what was never finished, of dead processes too. What it does in its `finally` must not count any more:
        whoever calls this has seen to it.
        """
        for process in processes:
            process.is_dead = False
            process.wake()
        self.steps = 0
        for _ in range(MOST_CANCELS):
            unfinished = [task for task in self._made if not task.done()]
            if not unfinished:
                break
            for task in unfinished:
                task.cancel()
            self.run_until_complete(asyncio.sleep(3600.0))
        left = [task for task in self._made if not task.done()]
        self._made.clear()
        self.close()
        assert not left, f"these cannot be ended: {left}"

    # --- what BaseEventLoop asks of a loop ---

    def _process_events(self, event_list: Any) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps."""

    def _run_once(self) -> None:
        self.steps += 1
        if self.steps > MAX_STEPS:
            raise Stuck(f"more than {MAX_STEPS} steps at {self._virtual_now:.3f} s")
        if self._act is not None and self.steps >= self._act_at:
            act, self._act = self._act, None
            act()
        self._take_due_timers()
        handle = self._choose()
        if handle is None or handle._cancelled:
            return
        process = handle._context.get(_PROCESS)
        if process is not None and (process.is_dead or process.is_stalled):
            process.parked.append(handle)
            return
        handle._run()

    def _take_due_timers(self) -> None:
        import heapq

        timers = self._scheduled
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False
        if not self._ready and not self._stopping:
            if not timers:
                raise Stuck(f"everybody waits, nothing will come, at {self._virtual_now:.3f} s")
            self._virtual_now = max(self._virtual_now, timers[0]._when)
        while timers and timers[0]._when <= self._virtual_now:
            timer = heapq.heappop(timers)
            timer._scheduled = False
            self._ready.append(timer)

    def _choose(self) -> asyncio.Handle | None:
        if not self._ready:
            return None
        if self._is_shuffled and len(self._ready) > 1:
            self._ready.rotate(-self._random.randrange(len(self._ready)))
        return self._ready.popleft()

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], **options: Any
    ) -> "asyncio.Task[T]":
        _Task.number = len(self._made) + 1
        task = _Task(work, loop=loop, **options)
        task.number = len(self._made) + 1
        self._made.append(task)
        return task


def _do(future: "asyncio.Future[Any]", work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        result = work(*args)
    except Exception as error:  # noqa: BLE001 - it is for who waits for the thread
        if not future.cancelled():
            future.set_exception(error)
    else:
        if not future.cancelled():
            future.set_result(result)


async def settle_down(is_quiet: Callable[[], bool], seconds: float, look_seconds: float = 1.0, looks: int = 1) -> bool:
    """Wait until `is_quiet`, so many looks in a row, at most so many virtual seconds. False if it never was."""
    loop = asyncio.get_running_loop()
    end, found = loop.time() + seconds, 0
    while True:
        found = found + 1 if is_quiet() else 0
        if found == looks:
            return True
        if loop.time() >= end:
            return False
        await asyncio.sleep(look_seconds)
