"""How many orders are let in at once, and whose turn it is to be painted.

What is over is refused quickly, with an honest time to come back. Who is in waits in a line of its own API key, and
the keys take turns: a hundred orders of one key do not delay another key's first.

Each painter far away has a lane: orders that hang there delay none of another lane, and never take all the room.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from pinxit.errors import Overloaded

_MEMORY = 0.2
"""Weight of the newest order in the running mean of durations."""
HERE = ""
"""The lane of all that is painted on this machine, which they share."""
_SHARE_OF_A_LANE = 0.75
"""Of all room, for the orders of one painter far away."""
REMEMBERED_KEYS = 4096
"""How many keys' last turns are remembered."""

Tell = Callable[[int], None]
"""Called with the number of orders before this one, whenever that changes."""


class Gate:
    """A bounded number of orders, of which a bounded number is painted at a time in each lane.

    It belongs to one event loop and is not for use from several threads.
    """

    def __init__(self, max_orders: int, max_painting: int) -> None:
        self._max_orders = max_orders
        self._max_painting = max_painting
        self._mean_seconds = 1.0
        self._lanes: dict[str, _Lane] = {}
        self._last_turns: OrderedDict[str, int] = OrderedDict()
        """Key → the number of its last turn; a key that never had one is not there."""
        self._turns = 0
        self.admitted = 0

    def admit(self, lane: str = HERE) -> "Ticket":
        """Let one order in. Raises Overloaded."""
        most = self._max_orders if lane == HERE else max(1, int(_SHARE_OF_A_LANE * self._max_orders))
        found = self._lanes.setdefault(lane, _Lane())
        if self.admitted >= self._max_orders or found.admitted >= most:
            raise Overloaded(
                f"The server's queue of {min(most, self._max_orders)} orders is full. Try again shortly.",
                retry_after_seconds=min(60.0, max(1.0, self._mean_seconds)),
            )
        self.admitted += 1
        found.admitted += 1
        return Ticket(self, lane)

    @property
    def room(self) -> int:
        """How many more orders would be let in."""
        return self._max_orders - self.admitted

    @property
    def waiting(self) -> int:
        return sum(len(line) for lane in self._lanes.values() for line in lane.lines.values())

    @property
    def painting(self) -> int:
        return sum(lane.painting for lane in self._lanes.values())

    @property
    def lanes(self) -> dict[str, tuple[int, int]]:
        """Each lane's name → how many orders are painted in it, and how many wait there."""
        return {
            name: (lane.painting, sum(len(line) for line in lane.lines.values())) for name, lane in self._lanes.items()
        }

    async def take_turn(self, key: str, tell: Tell, lane: str = HERE) -> None:
        """Wait until an order of `key` may be painted. Who is cancelled meanwhile has left the line."""
        its = self._lanes.setdefault(lane, _Lane())
        if its.painting < self._max_painting:  # then nobody waits
            self._give_turn(key, its)
            return
        waiter = _Waiter(tell)
        its.lines.setdefault(key, deque()).append(waiter)
        self._tell_places(its)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter.turn.cancelled():
                self._leave_line(key, waiter, its)
            else:  # its turn came in the same moment
                self.end_turn(lane)
            raise

    def end_turn(self, lane: str = HERE) -> None:
        """An order is painted no longer: the next one's turn comes."""
        its = self._lanes[lane]
        its.painting -= 1
        while its.lines:
            key = self._keys_in_turn(its)[0]
            waiter = its.lines[key].popleft()
            its.drop_empty(key)
            if not waiter.turn.done():  # it may have been cancelled in the same moment
                self._give_turn(key, its)
                waiter.turn.set_result(None)
                break
        self._tell_places(its)

    def leave(self, seconds: float | None, lane: str = HERE) -> None:
        """An order has ended; `seconds` is how long it was painted, None if it never was."""
        self.admitted -= 1
        self._lanes[lane].admitted -= 1
        if seconds is not None:
            self._mean_seconds += _MEMORY * (seconds - self._mean_seconds)

    def _give_turn(self, key: str, lane: "_Lane") -> None:
        lane.painting += 1
        self._turns += 1
        self._last_turns[key] = self._turns
        self._last_turns.move_to_end(key)
        while len(self._last_turns) > REMEMBERED_KEYS:
            self._last_turns.popitem(last=False)

    def _keys_in_turn(self, lane: "_Lane") -> list[str]:
        """The keys that wait: those that never had a turn, in the order they came, then whose turn is longest ago."""
        return sorted(lane.lines, key=lambda key: self._last_turns.get(key, 0))

    def _leave_line(self, key: str, waiter: "_Waiter", lane: "_Lane") -> None:
        if waiter in lane.lines.get(key, ()):
            lane.lines[key].remove(waiter)
            lane.drop_empty(key)
            self._tell_places(lane)

    def _tell_places(self, lane: "_Lane") -> None:
        """Walk through all that wait in the order of their turns: each key's first, then each key's second …"""
        before = lane.painting
        lines = [iter(lane.lines[key]) for key in self._keys_in_turn(lane)]
        while lines:
            longer = []
            for line in lines:
                waiter = next(line, None)
                if waiter is not None:
                    waiter.tell_place(before)
                    before += 1
                    longer.append(line)
            lines = longer


@dataclass(slots=True)
class _Lane:
    """The orders of one painter, or of all that are here."""

    admitted: int = 0
    painting: int = 0
    lines: "dict[str, deque[_Waiter]]" = field(default_factory=dict)

    def drop_empty(self, key: str) -> None:
        if not self.lines[key]:
            del self.lines[key]


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

    def __init__(self, gate: Gate, lane: str = HERE) -> None:
        self._gate = gate
        self._lane = lane
        self._is_painting = False
        self.seconds: float | None = None
        """Set by whoever painted the order."""

    async def take_turn(self, key: str, tell: Tell) -> None:
        """Wait for the turn of an order of `key`. `tell` hears how many orders are before it."""
        await self._gate.take_turn(key, tell, self._lane)
        self._is_painting = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_painting:
            self._gate.end_turn(self._lane)
        self._gate.leave(self.seconds, self._lane)
