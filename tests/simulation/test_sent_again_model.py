"""One order, sent as often as its client likes, against a model of twenty lines: painted and charged once.

The real services on the simulation's virtual clock, without any faults but those that a rule makes.
"""

import asyncio
import os
from collections.abc import Coroutine
from contextlib import ExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from simulated_customers import Wish, _serve
from simulated_server import MICROS, MODEL, Plan, Server, close_all
from simulated_truth import wrong_now
from simulated_world import Trace, World, open_blank_database
from virtual_loop import Killed, VirtualLoop

from pinxit.errors import BackendUnavailable, ContentPolicyViolation, IdempotencyMismatch, PinxitError
from pinxit.generations.generation import Generation
from pinxit.generations.repeat import KEY_LIFETIME, Repeat
from pinxit.images.request import Delivery, ImageRequest
from pinxit.keys.model import Caller
from pinxit.ledger import ledger
from simulation import ACCOUNTS, determined, furnish

IS_LONG = os.environ.get("PINXIT_TEST_LONG") == "1"
CREDITS = 10_000 * MICROS
DAY_AND_AN_HOUR = 25 * 3600.0

keys = st.sampled_from(["key a", "key b"])
bodies = st.sampled_from(["a fox", "a hare"])
refusals = st.sampled_from([None, None, None, ContentPolicyViolation, BackendUnavailable])


@dataclass
class Model:
    """What is promised. `answers`: key → its body, when it was first sent, and how it ended."""

    answers: dict[str, tuple[str, float, object]] = field(default_factory=dict)
    charged: int = 0

    def post(self, key: str | None, body: str, now: float, fails: type[PinxitError] | None) -> object:
        """The id is for the caller to fill in: NEW is an order that has not been seen yet."""
        known = self.answers.get(key or "")
        if known is not None and now - known[1] < KEY_LIFETIME.total_seconds():
            return known[2] if known[0] == body else IdempotencyMismatch
        if fails is None:
            self.charged += 1
        answer = fails or NEW
        if key is not None and fails is not BackendUnavailable:
            self.answers[key] = (body, now, answer)
        return answer

    def fill_in(self, key: str | None, id_: str) -> None:
        if key is not None and self.answers[key][2] is NEW:
            self.answers[key] = (*self.answers[key][:2], id_)


NEW = object()


class SentAgain(RuleBasedStateMachine):
    """Posts with and without keys, hang-ups, crashes and a clock that runs on."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.loop = VirtualLoop(Random("order"), is_shuffled=False)
        trace = Trace(self.loop)
        self.stack.enter_context(determined(0, self.loop, trace))
        connection = self.stack.enter_context(open_blank_database())
        self.world = World(0, Random("world"), self.loop, connection, trace)
        self.model = Model()
        self.seen: set[str] = set()
        self.servers: list[Server] = []
        self.caller: Caller = furnish(self.world, credits_micros=CREDITS, is_free=True)[0]

    def teardown(self) -> None:
        close_all(self.servers)
        self.loop.bury([server.process for server in self.servers])
        self.stack.close()

    # --- rules ---

    @initialize()
    def start(self) -> None:
        self._play(self._start())

    @rule(key=keys, body=bodies, fails=refusals)
    def post_with_key(self, key: str, body: str, fails: type[PinxitError] | None) -> None:
        self._expect(key, body, fails, self._play(self._post(key, body, fails)))

    @rule(body=bodies, fails=refusals)
    def post_without_key(self, body: str, fails: type[PinxitError] | None) -> None:
        self._expect(None, body, fails, self._play(self._post(None, body, fails)))

    @rule(key=keys, body=bodies)
    def post_twice_at_once(self, key: str, body: str) -> None:
        one, other = self._play(self._both(key, body))
        self._expect(key, body, None, one)
        self._expect(key, body, None, other)

    @rule(body=bodies, seconds=st.sampled_from([0.0, 0.001, 0.3, 1.0]))
    def hang_up_and_retry(self, body: str, seconds: float) -> None:
        """By then it may have been painted, or not yet begun: one order it is."""
        first, answer = self._play(self._hang_up_and_retry(body, seconds))
        if first is None:
            self._expect(None, body, None, answer)
        else:
            self._expect(None, body, None, first)

    @rule(key=keys, body=bodies, steps=st.integers(0, 150))
    def crash_and_retry(self, key: str, body: str, steps: int) -> None:
        """kill -9 in the middle; the next server has the order, or never heard of it."""
        self._expect(key, body, None, self._play(self._crash_and_retry(key, body, steps)))

    @rule()
    def restart(self) -> None:
        self._play(self._restart())

    @rule()
    def a_day_passes(self) -> None:
        self.loop.skip(DAY_AND_AN_HOUR)

    # --- what holds after each ---

    @invariant()
    def the_books_are_right(self) -> None:
        assert wrong_now(self.world) == []

    @invariant()
    def each_order_is_charged_once(self) -> None:
        left, held = self.world.look(lambda connection: ledger.balance(connection, ACCOUNTS[0]))
        assert (CREDITS - left, held) == (self.model.charged * MICROS, 0)

    @invariant()
    def nothing_is_held_up(self) -> None:
        assert [leak for server in self.servers if server.is_up for leak in server.leaks()] == []

    # --- how they are done ---

    def _play(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    async def _start(self) -> None:
        self.servers.append(Server(self.world, Plan(), "server 1"))
        assert await self.servers[-1].start()

    async def _restart(self) -> None:
        self.servers[-1].kill()
        await self._start()

    def _wish(self, key: str | None, body: str) -> Wish:
        request = ImageRequest(model=MODEL, prompt=body, delivery=Delivery.BOTH, num_inference_steps=1)
        return Wish(body, self.caller, request, key)

    async def _post(
        self, key: str | None, body: str, fails: type[PinxitError] | None = None, *, is_retry: bool = False
    ) -> Generation | PinxitError:
        server = self.servers[-1]
        server.runner.refusal = fails
        repeat = Repeat(key=key, is_retry=is_retry)
        try:
            answer = await server.process.run(
                _serve(server, self._wish(key, body), repeat, asyncio.Event(), None, None)
            )
        except PinxitError as error:
            return error
        finally:
            server.runner.refusal = None
        assert isinstance(answer, Generation)
        return answer

    async def _both(self, key: str, body: str) -> tuple[Any, Any]:
        one, other = await asyncio.gather(self._post(key, body), self._post(key, body))
        return one, other

    async def _hang_up_and_retry(self, body: str, seconds: float) -> tuple[Generation | None, Any]:
        server, gone = self.servers[-1], asyncio.Event()
        handler = server.process.begin(_serve(server, self._wish(None, body), Repeat(), gone, None, None))
        await server.process.wait(handler, seconds=seconds)
        if handler.done():
            return handler.result(), None
        gone.set()
        await handler
        return None, await self._post(None, body, is_retry=True)

    async def _crash_and_retry(self, key: str, body: str, steps: int) -> Any:
        first = asyncio.create_task(self._post(key, body))
        self.loop.after_steps(steps, self.servers[-1].kill)
        try:
            return await first
        except Killed:
            await self._start()
            return await self._post(key, body)
        finally:
            self.loop.after_steps(0, None)
            if not self.servers[-1].is_up:
                await self._start()

    def _expect(self, key: str | None, body: str, fails: type[PinxitError] | None, answer: Any) -> None:
        expected = self.model.post(key, body, self.loop.time(), fails)
        if expected is NEW:
            assert isinstance(answer, Generation), answer
            assert answer.id not in self.seen
            self.seen.add(answer.id)
            self.model.fill_in(key, answer.id)
        elif isinstance(expected, str):
            assert isinstance(answer, Generation), answer
            assert answer.id == expected
        else:
            assert type(answer) is expected, answer


SentAgain.TestCase.settings = settings(
    max_examples=5000 if IS_LONG else 60,
    stateful_step_count=30,
    derandomize=not IS_LONG,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
TestSentAgain = pytest.mark.timeout(3600 if IS_LONG else 600)(SentAgain.TestCase)
