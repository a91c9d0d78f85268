"""Real painter processes: how they are watched, replaced and ended. What every runner does is in tests/contracts."""

import asyncio
import gc
import os
import select
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
import uvloop
from structlog.testing import capture_logs

from pinxit.backends.interface import PaintedImage, PaintEvent, PaintOrder, Progress
from pinxit.errors import BackendError, BackendUnavailable
from pinxit.images.size import Size
from pinxit.runners.interface import PainterDied, Status
from pinxit.runners.process import ProcessRunner
from pinxit.testing.fake_backend import paint

FAKE = "pinxit.testing.fake_backend:FakeProcessBackend"
MakeRunner = Callable[..., ProcessRunner]


def make_order(n: int = 1, *, steps: int = 3, size: str = "256x256", prompt: str = "a red fox") -> PaintOrder:
    return PaintOrder("fake-1", prompt, Size.parse(size), tuple(range(n)), steps)


def expected(order: PaintOrder) -> list[PaintedImage]:
    return [PaintedImage(index, seed, paint(order, seed)) for index, seed in enumerate(order.seeds)]


async def images(runner: ProcessRunner, order: PaintOrder) -> list[PaintedImage]:
    async with aclosing(runner.paint(order)) as events:
        return [event async for event in events if isinstance(event, PaintedImage)]


def wait_gone(pid: int, seconds: float = 5.0) -> bool:
    """Whether the process, a child or not, has ended within that time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


async def idle(runner: ProcessRunner) -> None:
    """Returns when the painter itself has no order left."""
    async with asyncio.timeout(5):
        while await runner.ping():
            await asyncio.sleep(0)


@pytest.fixture
async def make_runner(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakeRunner]:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    runners: list[ProcessRunner] = []

    def make(factory: str = FAKE, **settings: object) -> ProcessRunner:
        runners.append(ProcessRunner("fake", factory=factory, **settings))  # type: ignore[arg-type]
        return runners[-1]

    yield make
    for runner in runners:
        await runner.close()
    gc.collect()


@pytest.fixture
async def runner(make_runner: MakeRunner) -> ProcessRunner:
    runner = make_runner()
    await runner.start()
    await runner.wait_ready()
    return runner


async def test_orders_of_a_killed_painter_are_told_and_the_next_one_is_painted_by_a_new_one(
    runner: ProcessRunner,
) -> None:
    first_pid = runner.pid
    assert first_pid is not None
    events = runner.paint(make_order(10))
    assert [type(await anext(events)).__name__ for _ in range(2)] == ["Queued", "Progress"]

    os.kill(first_pid, signal.SIGKILL)

    with pytest.raises(PainterDied):
        _ = [event async for event in events]
    assert await images(runner, make_order()) == expected(make_order())
    assert runner.pid != first_pid
    assert runner.queue_depth == 0


async def test_a_painter_that_crashes_in_a_step_is_replaced(make_runner: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "crash").touch()
    runner = make_runner(environment={"PINXIT_TEST_FAKE_CRASH": str(tmp_path / "crash")})
    await runner.start()

    with capture_logs() as log, pytest.raises(PainterDied):
        await images(runner, make_order())
    assert await images(runner, make_order()) == expected(make_order())
    [died] = [line for line in log if line["event"] == "painter_died"]
    assert died["ending"] == "was killed by signal 9 (Killed)"


async def test_a_painter_that_hangs_is_killed_and_replaced(make_runner: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "hang").touch()
    runner = make_runner(environment={"PINXIT_TEST_FAKE_HANG": str(tmp_path / "hang")}, heartbeat_timeout_seconds=0.6)
    await runner.start()

    with pytest.raises(PainterDied):
        await images(runner, make_order())
    assert await images(runner, make_order()) == expected(make_order())


@pytest.mark.parametrize("step", ["between two steps", "within a step"])
async def test_the_painter_goes_when_its_parent_is_killed(step: str, tmp_path: Path) -> None:
    (tmp_path / "hang").touch()
    script = """
        import asyncio, sys
        from pinxit.backends.interface import PaintOrder
        from pinxit.images.size import Size
        from pinxit.runners.process import ProcessRunner
        async def main():
            runner = ProcessRunner("fake", factory=sys.argv[1])
            await runner.start()
            await runner.wait_ready()
            async for _ in runner.paint(PaintOrder("fake-1", "a red fox", Size(256, 256), (1,) * 3, 3)):
                print(runner.pid, flush=True)
                await asyncio.Event().wait()
        asyncio.run(main())
    """
    environment = dict(os.environ)
    if step == "within a step":
        environment["PINXIT_TEST_FAKE_HANG"] = str(tmp_path / "hang")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), FAKE], stdout=subprocess.PIPE, env=environment, text=True
    ) as parent:
        assert parent.stdout is not None
        lines = iter(parent.stdout.readline, "")
        pid = next(int(line) for line in lines if line.strip().isdigit())
        os.kill(parent.pid, signal.SIGKILL)
    assert wait_gone(pid)


async def test_closing_the_generator_cancels_in_the_painter(make_runner: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    runner = make_runner(environment={"PINXIT_TEST_FAKE_HOLD": str(tmp_path / "hold")})
    await runner.start()
    events = runner.paint(make_order())
    await anext(events)
    assert await runner.ping() == 1

    await events.aclose()

    await idle(runner)
    assert runner.queue_depth == 0
    (tmp_path / "hold").unlink()
    assert await images(runner, make_order()) == expected(make_order())


async def test_cancelling_the_reader_cancels_in_the_painter(make_runner: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "hold").touch()
    runner = make_runner(environment={"PINXIT_TEST_FAKE_HOLD": str(tmp_path / "hold")})
    await runner.start()
    await runner.wait_ready()
    reading = asyncio.create_task(images(runner, make_order()))
    while not await runner.ping():
        await asyncio.sleep(0)

    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    await idle(runner)


async def test_an_order_cancelled_at_once_leaves_nothing(runner: ProcessRunner) -> None:
    for _ in range(50):
        reading = asyncio.create_task(images(runner, make_order()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

    await idle(runner)
    assert await images(runner, make_order()) == expected(make_order())


async def test_a_slow_reader_holds_its_own_order_up_and_no_other(runner: ProcessRunner) -> None:
    slow_order = make_order(10, size="1024x1024", prompt="slow")
    slow = runner.paint(slow_order)
    await anext(slow)

    for _ in range(3):
        assert await images(runner, make_order(4)) == expected(make_order(4))

    assert await runner.ping() == 1  # the painter has sent some pictures ahead and waits
    pictures = [event async for event in slow if isinstance(event, PaintedImage)]
    assert pictures == expected(slow_order)


async def test_a_slow_reader_has_few_pictures_in_memory(runner: ProcessRunner) -> None:
    events = runner.paint(make_order(10))
    await anext(events)
    for _ in range(20):
        await runner.ping()

    painter = runner._painter
    assert painter is not None
    [inbox] = painter.client._inboxes.values()
    assert sum(isinstance(event, PaintedImage) for event in inbox._events) == 2
    assert len(inbox._events) <= 6
    await events.aclose()


async def test_two_orders_are_painted_side_by_side(make_runner: MakeRunner, tmp_path: Path) -> None:
    """Each is held at its second step until the other has done its first."""
    (tmp_path / "hold").touch()
    runner = make_runner(environment={"PINXIT_TEST_FAKE_HOLD": str(tmp_path / "hold")})
    await runner.start()
    orders = [make_order(2, prompt=prompt) for prompt in ("one", "two")]
    begun: set[int] = set()

    async def read(number: int, order: PaintOrder) -> list[PaintEvent]:
        events = []
        async for event in runner.paint(order):
            events.append(event)
            if isinstance(event, Progress):
                begun.add(number)
            if len(begun) == len(orders):
                (tmp_path / "hold").unlink(missing_ok=True)
        return events

    both = await asyncio.gather(*(read(number, order) for number, order in enumerate(orders)))

    for order, events in zip(orders, both, strict=True):
        assert [event for event in events if isinstance(event, PaintedImage)] == expected(order)


async def test_many_big_pictures_arrive_whole(runner: ProcessRunner) -> None:
    orders = [make_order(3, steps=1, size="1536x1024", prompt=f"fox {number}") for number in range(3)]

    painted = await asyncio.gather(*(images(runner, order) for order in orders))

    assert painted == [expected(order) for order in orders]


async def test_garbage_in_the_channel_ends_the_painter_and_not_the_runner(make_runner: MakeRunner) -> None:
    runner = make_runner("misbehaving:Garbage")
    await runner.start()

    with capture_logs() as log, pytest.raises(PainterDied):
        await images(runner, make_order())
    blue = make_order(prompt="a blue fox")
    assert await images(runner, blue) == expected(blue)
    assert "sent nonsense: a frame of 4294967295 + 4294967295 bytes is too large or empty" in [
        line.get("ending") for line in log
    ]


async def test_what_the_painter_prints_is_in_the_log_and_harms_nothing(make_runner: MakeRunner) -> None:
    runner = make_runner("misbehaving:Chatty")
    with capture_logs() as log:
        await runner.start()
        assert await images(runner, make_order()) == expected(make_order())
        await runner.close()

    lines = [line["line"] for line in log if line["event"] == "painter_output"]
    assert "from print" in lines
    assert "from C" in lines
    assert "x" * 2000 in lines
    assert any("� no text" in line for line in lines)
    assert max(map(len, lines)) == 2000
    assert lines[-1].endswith("no line end")


async def test_a_bug_is_in_the_log_without_the_prompt(make_runner: MakeRunner) -> None:
    runner = make_runner(environment={"PINXIT_TEST_FAKE_FAILURE": "bug"})
    with capture_logs() as log:
        await runner.start()
        with pytest.raises(BackendError, match="ZeroDivisionError"):
            await images(runner, make_order())
        await runner.close()

    assert "do_step" in str(log)
    assert "ZeroDivisionError" in str(log)
    assert "a prompt" not in str(log)
    assert "red fox" not in str(log)


async def test_an_event_that_is_none_ends_its_order_only(make_runner: MakeRunner) -> None:
    runner = make_runner("misbehaving:YieldsJunk")
    await runner.start()

    for _ in range(2):
        with pytest.raises(BackendError, match="FrameError"):
            await images(runner, make_order())
    assert runner.state.status is Status.READY


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [
        ("misbehaving:DiesInOpen", "The painter ended with exit status 3 while it was starting."),
        ("misbehaving:BuggyInOpen", "cannot be opened (ZeroDivisionError: by zero)."),
        ("misbehaving:GarbageBeforeReady", "The painter sent something that cannot be understood."),
        ("misbehaving:NotABackend", "misbehaving:NotABackend does not make a backend."),
        ("misbehaving:Nothing", "cannot be opened (AttributeError: "),
        ("misbehaving:NeverOpens", "The painter was not ready after 0.5 seconds."),
    ],
)
async def test_why_a_painter_cannot_start_is_told(make_runner: MakeRunner, factory: str, sentence: str) -> None:
    runner = make_runner(factory, open_timeout_seconds=0.5 if factory.endswith("NeverOpens") else 30)
    await runner.start()

    with pytest.raises(BackendUnavailable) as raised:
        await images(runner, make_order())

    assert sentence in raised.value.message
    assert (runner.state.status, runner.state.reason) == (Status.FAILED, raised.value.message)


async def test_a_painter_that_is_killed_while_it_starts_costs_time_only(
    make_runner: MakeRunner, tmp_path: Path
) -> None:
    """Orders wait for the next one, which starts."""
    (tmp_path / "kills").write_text("2")
    runner = make_runner("misbehaving:KilledInOpen", environment={"PINXIT_TEST_KILLS": str(tmp_path / "kills")})
    await runner.start()

    assert len(await images(runner, make_order())) == 1
    assert (tmp_path / "kills").read_text() == "0"


async def test_unless_none_lives_to_be_ready(make_runner: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "kills").write_text("9")
    runner = make_runner("misbehaving:KilledInOpen", environment={"PINXIT_TEST_KILLS": str(tmp_path / "kills")})
    await runner.start()

    with pytest.raises(BackendUnavailable, match=r"killed by signal 9 .* while it was starting"):
        await images(runner, make_order())
    assert int((tmp_path / "kills").read_text()) <= 6


async def test_a_backend_that_is_not_installed_is_told() -> None:
    runner = ProcessRunner("no-such")
    await runner.start()

    with pytest.raises(BackendUnavailable, match="no backend called 'no-such'"):
        await runner.wait_ready()
    await runner.close()


async def test_a_program_that_cannot_be_started_is_told(
    make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    runner = make_runner()
    await runner.start()

    with pytest.raises(BackendUnavailable, match="cannot be started"):
        await runner.wait_ready()


async def test_secrets_are_not_passed_on(make_runner: MakeRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PINXIT_UPSTREAM_KEY", "sk-CANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "CANARY")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    runner = make_runner("misbehaving:TellsItsEnvironment", environment={"MALLOC_ARENA_MAX": "1"})
    await runner.start()
    with pytest.raises(BackendUnavailable):
        await runner.wait_ready()

    names = runner.state.reason.split()
    assert {"PATH", "PYTHONPATH", "OMP_NUM_THREADS", "MALLOC_ARENA_MAX"} <= set(names)
    assert not {"PINXIT_UPSTREAM_KEY", "AWS_SECRET_ACCESS_KEY"} & set(names)


async def test_closing_ends_the_process(runner: ProcessRunner) -> None:
    pid = runner.pid
    assert pid is not None
    events = runner.paint(make_order(10))
    await anext(events)

    await runner.close()

    assert wait_gone(pid, 0)
    with pytest.raises(PainterDied):
        _ = [event async for event in events]
    with pytest.raises(BackendUnavailable, match="stopping"):
        await runner.ping()


async def test_closing_ends_a_process_that_hangs(make_runner: MakeRunner, tmp_path: Path) -> None:
    (tmp_path / "hang").touch()
    runner = make_runner(environment={"PINXIT_TEST_FAKE_HANG": str(tmp_path / "hang")}, close_timeout_seconds=0.2)
    await runner.start()
    await runner.wait_ready()
    pid = runner.pid
    assert pid is not None
    reading = asyncio.create_task(images(runner, make_order()))
    while (tmp_path / "hang").exists():
        await asyncio.sleep(0.005)

    await runner.close()

    assert wait_gone(pid, 0)
    with pytest.raises(PainterDied):
        await reading


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_closing_while_it_starts_leaves_nothing(make_runner: MakeRunner, turns: int) -> None:
    runner = make_runner()
    await runner.start()
    for _ in range(turns):
        await asyncio.sleep(0)

    await runner.close()

    assert not [line for line in _children() if "pinxit.runners.painter" in line]


async def test_closing_does_not_wait_for_what_the_painter_started(make_runner: MakeRunner) -> None:
    runner = make_runner("misbehaving:Parental")
    await runner.start()
    await runner.wait_ready()
    async with asyncio.timeout(2):
        await runner.close()


async def test_the_process_is_recognisable_deaf_to_ctrl_c_and_the_first_to_go(runner: ProcessRunner) -> None:
    assert runner.pid is not None
    process = Path(f"/proc/{runner.pid}")
    assert b"pinxit.runners.painter" in (process / "cmdline").read_bytes()
    assert (process / "comm").read_text() == "pinxit-painter\n"
    assert int((process / "oom_score_adj").read_text()) >= 500

    os.kill(runner.pid, signal.SIGINT)

    assert await images(runner, make_order()) == expected(make_order())
    pid = runner.pid
    os.kill(pid, signal.SIGTERM)
    assert await asyncio.to_thread(wait_gone, pid)


def test_the_server_s_event_loop_does_it_all_too() -> None:
    async def paint_kill_paint_close() -> None:
        runner = ProcessRunner("fake", factory=FAKE)
        await runner.start()
        big = make_order(2, size="1536x1024")
        assert await images(runner, big) == expected(big)
        events = runner.paint(make_order(10))
        await anext(events)
        pid = runner.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(PainterDied):
            _ = [event async for event in events]
        assert await images(runner, make_order()) == expected(make_order())
        await runner.close()

    uvloop.run(paint_kill_paint_close())
    gc.collect()


def _children() -> list[str]:
    lines = []
    for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        lines.append(Path(f"/proc/{pid}/cmdline").read_text())
    return lines
