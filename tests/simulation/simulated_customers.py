"""Seeded clients: they order, hang up, send again, watch, cancel, delete and pay, and remember what they were told."""

import asyncio
import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

from simulated_server import MICROS, MODEL, WIDE, Server
from simulated_world import World
from virtual_loop import Killed

from pinxit.api.images import _answer_unless_gone, _NotYet
from pinxit.errors import (
    BackendUnavailable,
    Conflict,
    IdempotencyMismatch,
    NotFound,
    Overloaded,
    PinxitError,
    RateLimited,
    StorageUnavailable,
)
from pinxit.generations.generation import Generation, Status
from pinxit.generations.repeat import Repeat
from pinxit.images.request import Delivery, ImageRequest
from pinxit.keys.model import Caller
from pinxit.ledger import ledger

SENT_AGAIN = (Conflict, RateLimited, Overloaded, StorageUnavailable, BackendUnavailable)
"""What a stock client takes for a reason to try again: 409, 429 and 503."""
MOST_TRIES = 4


@dataclass(slots=True)
class Try:
    """One request of an order. `handler`: what answers it in the server, if the client has left meanwhile."""

    server: Server
    handler: "asyncio.Task[Any] | None" = None
    refusal: str = ""
    was_lost: bool = False
    """The client never heard how it ended."""
    is_unknown: bool = False
    """Nobody could note in time that the client had left: the next try, if it has no key, may be a new order."""

    def look_before_next(self) -> None:
        if self.handler is not None and not (self.handler.done() and self.handler.exception() is None):
            self.is_unknown = True


@dataclass(slots=True)
class Wish:
    """What a client wants once, however often it has to ask."""

    prompt: str
    caller: Caller
    request: ImageRequest
    key: str | None
    tries: list[Try] = field(default_factory=list)
    answers: list[Generation] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    """Ids of orders that were promised to be painted."""
    finals: dict[str, Status] = field(default_factory=dict)
    """How an order has ended, as a client was shown it."""

    @property
    def repeat(self) -> Repeat:
        return Repeat(key=self.key) if self.key else Repeat(is_retry=bool(self.tries))

    def saw(self, generation: Generation) -> None:
        if not generation.status.is_open:
            before = self.finals.setdefault(generation.id, generation.status)
            assert before is generation.status, f"{generation.id} was {before}, and now is {generation.status}"


class Customers:
    """All clients of a run, and what they were told."""

    def __init__(self, world: World, servers: list[Server], callers: list[Caller]) -> None:
        self._world = world
        self._servers = servers
        self._callers = callers
        self.wishes: list[Wish] = []
        self.paid: dict[str, tuple[str, int]] = {}
        """Reference → account and micro-dollars of top-ups that were acknowledged."""
        self.tried_to_pay: set[str] = set()
        self.deleted: set[str] = set()
        """Ids of pictures whose deletion was acknowledged."""
        self.maybe_deleted: set[str] = set()
        self.surprises: list[str] = []

    async def visit(self, errands: int) -> None:
        random = self._world.random
        for _ in range(errands):
            await asyncio.sleep(random.uniform(0, 4))
            errand = random.choice(
                [
                    self._order,
                    self._order,
                    self._order,
                    self._order_later,
                    self._order_later,
                    self._pay,
                    self._twice_at_once,
                    self._two_alike,
                ]
            )
            await errand()

    # --- errands ---

    async def _order(self) -> Wish:
        """Order and wait; send again what may be sent again; then, perhaps, put the answer to the proof."""
        wish = self._wish()
        await self._send_until_answered(wish)
        if wish.key and wish.answers and self._chance(0.3):
            await self._misuse_key(wish)
        if wish.answers and wish.answers[-1].images and self._chance(0.25):
            await self._delete(wish)
        return wish

    async def _two_alike(self) -> None:
        """Two clients want the same, each for itself, without a key: that is two orders."""
        one = self._wish(has_key=False)
        other = Wish(one.prompt, one.caller, one.request, None)
        self.wishes.append(other)
        await asyncio.gather(self._send_until_answered(one), self._send_until_answered(other))

    async def _twice_at_once(self) -> None:
        """One order with a key, sent twice at the same moment."""
        wish = self._wish(has_key=True)
        await asyncio.gather(self._send_until_answered(wish), self._send_until_answered(wish))

    async def _order_later(self) -> None:
        """Order without waiting, then look, watch or cancel."""
        wish = self._wish()
        await self._send_until_answered(wish, wait_seconds=0)
        if wish.accepted:
            how = self._world.random.choice([self._watch, self._cancel, self._look, self._look])
            await how(wish, wish.accepted[-1])

    async def _pay(self) -> None:
        caller = self._world.random.choice(self._callers)
        reference, micros = f"payment {len(self.tried_to_pay)}", self._world.random.randrange(1, 10) * MICROS
        self.tried_to_pay.add(reference)
        for _ in range(MOST_TRIES):
            try:
                await self._ask(lambda server: _top_up(server, self._world, caller.account_id, micros, reference))
            except Conflict:
                pass
            except (Killed, StorageUnavailable):
                await asyncio.sleep(1.0)
                continue
            self.paid[reference] = (caller.account_id, micros)
            return

    async def _misuse_key(self, wish: Wish) -> None:
        """Another order under a key that has been used is refused, unless nobody can tell."""
        other = replace(wish.request, prompt=f"{wish.prompt}, but another")
        probe = Wish(other.prompt, wish.caller, other, wish.key)
        self.wishes.append(probe)
        await self._try(probe, None)
        if probe.answers or (not probe.tries[-1].was_lost and probe.tries[-1].refusal == ""):
            self.surprises.append(f"{wish.key} answered to another order")

    async def _delete(self, wish: Wish) -> None:
        image = self._world.random.choice(wish.answers[-1].images)
        if not image.storage_key:
            return
        self.maybe_deleted.add(image.id)
        for _ in range(MOST_TRIES):
            try:
                await self._ask(lambda server: server.library.delete(wish.caller.account_id, image.id))
            except (Killed, StorageUnavailable):
                await asyncio.sleep(1.0)
                continue
            except NotFound:
                pass
            self.deleted.add(image.id)
            return

    async def _look(self, wish: Wish, generation_id: str) -> None:
        for _ in range(self._world.random.randrange(1, 4)):
            await asyncio.sleep(self._world.random.uniform(0, 3))
            found = await self._asked(wish, lambda server: server.generations.get(wish.caller, generation_id))
            if found is not None:
                wish.saw(found)

    async def _watch(self, wish: Wish, generation_id: str) -> None:
        found = await self._asked(wish, lambda server: _follow_to_the_end(server, wish, generation_id))
        if found is not None:
            wish.saw(found)

    async def _cancel(self, wish: Wish, generation_id: str) -> None:
        await asyncio.sleep(self._world.random.choice((0.0, 0.3, 1.0)))
        found = await self._asked(wish, lambda server: server.generations.cancel(wish.caller, generation_id))
        if found is not None:
            wish.saw(found)

    # --- requests ---

    def _wish(self, *, has_key: bool | None = None) -> Wish:
        random = self._world.random
        number = len(self.wishes)
        has_key = random.random() < 0.5 if has_key is None else has_key
        request = ImageRequest(
            model=MODEL,
            prompt=f"wish {number}",
            n=random.choice((1, 1, 2, 3)),
            size=random.choice(("auto", str(WIDE))),
            delivery=random.choice((Delivery.URL, Delivery.BOTH)),
            num_inference_steps=random.randrange(1, 3),
            store=random.random() < 0.9,
        )
        key = f"key {number}" if has_key else None
        self.wishes.append(Wish(request.prompt, random.choice(self._callers), request, key))
        return self.wishes[-1]

    async def _send_until_answered(self, wish: Wish, wait_seconds: float | None = None) -> None:
        """As a stock client does: again after a time-out, a broken connection and what may be sent again."""
        deadline = self._world.random.choice((None, None, None, 2.0, 20.0))
        for number in range(self._world.random.randrange(1, MOST_TRIES + 1)):
            if number:
                await asyncio.sleep(self._world.random.uniform(0.5, 3.0))
            if await self._try(wish, wait_seconds, deadline):
                return

    async def _try(self, wish: Wish, wait_seconds: float | None, deadline: float | None = None) -> bool:
        """One request. False if the client should send it again."""
        server = await self._door()
        for earlier in wish.tries:
            earlier.look_before_next()
        repeat, this = wish.repeat, Try(server)
        wish.tries.append(this)
        gone = asyncio.Event()
        handler = server.process.begin(_serve(server, wish, repeat, gone, wait_seconds, deadline))
        await server.process.wait(handler, seconds=self._patience())
        if not handler.done():
            this.was_lost = True
            if server.is_up:
                gone.set()
                this.handler = handler
                self._world.trace.note(f"{wish.prompt}: client hangs up")
            else:
                this.is_unknown = True
                self._world.trace.note(f"{wish.prompt}: connection reset")
            return False
        try:
            answer = handler.result()
        except PinxitError as error:
            this.refusal = type(error).__name__
            self._world.trace.note(f"{wish.prompt}: {type(error).__name__}")
            return not isinstance(error, SENT_AGAIN)
        if isinstance(answer, str):
            self._world.trace.note(f"{wish.prompt}: accepted as {answer[-6:]}")
            wish.accepted.append(answer)
        else:
            self._world.trace.note(f"{wish.prompt}: {answer.id[-6:]} with {len(answer.images)} pictures")
            self._receive(wish, answer)
        return True

    def _receive(self, wish: Wish, answer: Generation) -> None:
        wish.saw(answer)
        wish.answers.append(answer)
        for image in answer.images:
            if image.data is not None and hashlib.sha256(image.data).hexdigest() != image.sha256:
                self.surprises.append(f"{image.id} came with other bytes than its sha256 says")

    def _patience(self) -> float:
        return self._world.random.choice((0.0, 0.3, 1.0, 3.0, 10.0, 100.0, 100.0, 100.0))

    async def _door(self) -> Server:
        """A server that takes the connection."""
        while True:
            up = [server for server in self._servers if server.is_up and server.is_open]
            if up:
                return self._world.random.choice(up)
            await asyncio.sleep(0.5)

    async def _ask(self, work: Any) -> Any:
        server = await self._door()
        return await server.ask(work)

    async def _asked(self, wish: Wish, work: Any) -> Generation | None:
        """The order as a server shows it, None if it could not. That it is unknown is a surprise: it was accepted."""
        try:
            found: Generation = await self._ask(work)
        except NotFound:
            self.surprises.append(f"{wish.prompt} was accepted, and is not there")
            return None
        except (Killed, PinxitError) as error:
            self._world.trace.note(f"{wish.prompt}: {type(error).__name__}")
            return None
        self._world.trace.note(f"{wish.prompt}: is {found.status.value}")
        return found

    def _chance(self, chance: float) -> bool:
        return self._world.random.random() < chance


async def _serve(
    server: Server,
    wish: Wish,
    repeat: Repeat,
    gone: asyncio.Event,
    wait_seconds: float | None,
    deadline: float | None,
) -> Generation | str | None:
    """What the handler of POST does: the answer, the id if the client does not wait, None if it has left."""

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    order = await server.generations.begin(
        wish.caller, wish.request, request_id="req_simulated", repeat=repeat, deadline_seconds=deadline
    )
    try:
        return await _answer_unless_gone(order, receive, wait_seconds)  # type: ignore[arg-type]
    except _NotYet:
        return await order.opened()


async def _follow_to_the_end(server: Server, wish: Wish, generation_id: str) -> Generation:
    found: Generation | None = None
    async for found in server.generations.follow(wish.caller, generation_id):
        wish.saw(found)
    assert found is not None
    return found


async def _top_up(server: Server, world: World, account_id: str, micros: int, reference: str) -> None:
    now = world.now()
    await server.database.write(
        lambda connection: ledger.top_up(connection, account_id, micros, reference=reference, now=now)
    )


MISMATCH = IdempotencyMismatch.__name__
