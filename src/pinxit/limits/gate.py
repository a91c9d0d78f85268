"""How many orders are let in at once, and whose turn it is to be painted.

What is over is refused quickly, with an honest time to come back. Who is in waits in a line of its own API key, and
the keys take turns: a hundred orders of one key do not delay another key's first.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from pinxit.errors import Overloaded

_MEMORY = 0.2
"""Weight of the newest order in the running mean of durations."""
REMEMBERED_KEYS = 4096
"""How many keys' last turns are remembered."""

Tell = Callable[[int], None]
"""Called with the number of orders before this one, whenever that changes."""


class Gate:
    """A bounded number of orders, of which a bounded number is painted at a time.

    It belongs to one event loop and is not for use from several threads.
    """

    def __init__(self, max_orders: int, max_painting: int) -> None:
        self._max_orders = max_orders
        self._max_painting = max_painting
        self._mean_seconds = 1.0
        self._lines: dict[str, deque[_Waiter]] = {}
        self._last_turns: OrderedDict[str, int] = OrderedDict()
        """Key → the number of its last turn; a key that never had one is not there."""
        self._turns = 0
        self.admitted = 0
        self.painting = 0

    def admit(self) -> "Ticket":
        """Let one order in. Raises Overloaded."""
        if self.admitted >= self._max_orders:
            raise Overloaded(
                f"The server's queue of {self._max_orders} orders is full. Try again shortly.",
                retry_after_seconds=min(60.0, max(1.0, self._mean_seconds)),
            )
        self.admitted += 1
        return Ticket(self)

    @property
    def room(self) -> int:
        """How many more orders would be let in."""
        return self._max_orders - self.admitted

    @property
    def waiting(self) -> int:
        return sum(len(line) for line in self._lines.values())

    async def take_turn(self, key: str, tell: Tell) -> None:
        """Wait until an order of `key` may be painted. Who is cancelled meanwhile has left the line."""
        if self.painting < self._max_painting:  # then nobody waits
            self._give_turn(key)
            return
        waiter = _Waiter(tell)
        self._lines.setdefault(key, deque()).append(waiter)
        self._tell_places()
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.cancelled():
                self._leave_line(key, waiter)
            else:  # its turn came in the same moment
                self.end_turn()
            raise

    def end_turn(self) -> None:
        """An order is painted no longer: the next one's turn comes."""
        self.painting -= 1
        while self._lines:
            key = self._keys_in_turn()[0]
            waiter = self._lines[key].popleft()
            self._drop_empty(key)
            if not waiter.turn.done():  # it may have been cancelled in the same moment
                self._give_turn(key)
                waiter.turn.set_result(None)
                break
        self._tell_places()

    def leave(self, seconds: float | None) -> None:
        """An order has ended; `seconds` is how long it was painted, None if it never was."""
        self.admitted -= 1
        if seconds is not None:
            self._mean_seconds += _MEMORY * (seconds - self._mean_seconds)

    def _give_turn(self, key: str) -> None:
        self.painting += 1
        self._turns += 1
        self._last_turns[key] = self._turns
        self._last_turns.move_to_end(key)
        while len(self._last_turns) > REMEMBERED_KEYS:
            self._last_turns.popitem(last=False)

    def _keys_in_turn(self) -> list[str]:
        """The keys that wait: those that never had a turn, in the order they came, then whose turn is longest ago."""
        return sorted(self._lines, key=lambda key: self._last_turns.get(key, 0))

    def _leave_line(self, key: str, waiter: "_Waiter") -> None:
        if waiter in self._lines.get(key, ()):
            self._lines[key].remove(waiter)
            self._drop_empty(key)
            self._tell_places()

    def _drop_empty(self, key: str) -> None:
        if not self._lines[key]:
            del self._lines[key]

    def _tell_places(self) -> None:
        """Walk through all that wait in the order of their turns: each key's first, then each key's second …"""
        before = self.painting
        lines = [iter(self._lines[key]) for key in self._keys_in_turn()]
        while lines:
            longer = []
            for line in lines:
                waiter = next(line, None)
                if waiter is not None:
                    waiter.tell_place(before)
                    before += 1
                    longer.append(line)
            lines = longer


class _Waiter:
    """An order in its key's line."""

    def __init__(self, tell: Tell) -> None:
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tell = tell
        self._place: int | None = None

    def tell_place(self, place: int) -> None:
        if place != self._place:
            self._place = place
            self._tell(place)


class Ticket:
    """One admitted order; leaving the `with` block gives its place to the next."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._is_painting = False
        self.seconds: float | None = None
        """Set by whoever painted the order."""

    async def take_turn(self, key: str, tell: Tell) -> None:
        """Wait for the turn of an order of `key`. `tell` hears how many orders are before it."""
        await self._gate.take_turn(key, tell)
        self._is_painting = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_painting:
            self._gate.end_turn()
        self._gate.leave(self.seconds)
