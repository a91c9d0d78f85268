"""Whose turn it is: every wait here is for a turn that the test itself gives."""

import asyncio
from collections.abc import Sequence

import pytest

from pinxit.errors import Overloaded
from pinxit.limits.gate import Gate, Ticket


class Lines:
    """Orders that stand in line at a gate and note their turn; `names` like `a1` are key and number."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.turns: list[str] = []
        self.places: dict[str, int] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.tickets: dict[str, Ticket] = {}

    async def join(self, *names: str) -> None:
        for name in names:
            self.tickets[name] = self.gate.admit()
            self.tasks[name] = asyncio.create_task(self._wait(name))
            await settle()

    async def _wait(self, name: str) -> None:
        await self.tickets[name].take_turn(name[0], lambda place: self.places.update({name: place}))
        self.turns.append(name)

    async def end(self, *names: str) -> None:
        for name in names:
            with self.tickets[name]:
                pass
            await settle()

    async def end_all(self) -> list[str]:
        ended = 0
        while ended < len(self.turns):
            await self.end(self.turns[ended])
            ended += 1
        return self.turns


async def settle() -> None:
    """Let everybody who can go on do so."""
    for _ in range(3):
        await asyncio.sleep(0)


def lines(max_painting: int = 1, max_orders: int = 1000) -> Lines:
    return Lines(Gate(max_orders, max_painting))


async def test_as_many_are_painted_as_there_are_places():
    line = lines(2)
    await line.join("a1", "a2", "a3")
    assert line.turns == ["a1", "a2"]
    await line.end("a2")
    assert line.turns == ["a1", "a2", "a3"]


async def test_the_orders_of_one_key_come_in_the_order_they_were_sent():
    line = lines()
    await line.join("a1", "a2", "a3", "a4")
    assert await line.end_all() == ["a1", "a2", "a3", "a4"]


async def test_a_hundred_orders_of_one_key_do_not_delay_anothers_first():
    line = lines()
    crowd = [f"a{number}" for number in range(100)]
    await line.join(*crowd, "b1", "b2")
    assert (await line.end_all())[:5] == ["a0", "b1", "a1", "b2", "a2"]
    assert [turn for turn in line.turns if turn.startswith("a")] == crowd


async def test_keys_take_turns():
    line = lines()
    await line.join("a1", "a2", "a3", "b1", "b2", "b3", "c1", "c2")
    assert await line.end_all() == ["a1", "b1", "c1", "a2", "b2", "c2", "a3", "b3"]


async def test_who_comes_back_at_once_waits_for_the_others_first():
    """Keys that send their orders one by one do not starve one that sent many before."""
    line = lines()
    await line.join("a1", "a2", "a3", "b1", "c1")
    await line.end("a1")
    await line.join("b2")
    await line.end("b1")
    await line.join("c2")
    await line.end("c1")
    assert line.turns == ["a1", "b1", "c1", "a2"]


@pytest.mark.parametrize("seed", range(20))
async def test_the_place_that_is_told_is_the_place_that_comes(seed: int):
    import random

    chooser = random.Random(seed)
    line = lines(2)
    names = [f"{chooser.choice('abcd')}{number}" for number in range(20)]
    await line.join(*names)
    waiting = sorted(line.places, key=lambda name: line.places[name])
    assert [line.places[name] for name in waiting] == list(range(2, 20))
    painted: Sequence[str] = tuple(line.turns)
    assert await line.end_all() == [*painted, *waiting]


async def test_places_move_up():
    line = lines()
    await line.join("a1", "a2", "b1", "a3")
    assert line.places == {"a2": 2, "b1": 1, "a3": 3}
    await line.end("a1")
    assert line.places == {"a2": 1, "b1": 1, "a3": 2}


async def test_who_is_cancelled_leaves_the_line():
    line = lines()
    await line.join("a1", "a2", "a3")
    line.tasks["a2"].cancel()
    await settle()
    assert (line.places["a3"], line.gate.waiting) == (1, 1)
    await line.end("a2", "a1")
    assert line.turns == ["a1", "a3"]


async def test_who_is_cancelled_as_its_turn_comes_passes_it_on():
    line = lines()
    await line.join("a1", "a2", "a3")
    with line.tickets["a1"]:
        pass
    line.tasks["a2"].cancel()
    await settle()
    assert line.turns == ["a1", "a3"]
    await line.end("a2", "a3")
    assert (line.gate.painting, line.gate.admitted, line.gate.waiting) == (0, 0, 0)


async def test_a_turn_is_not_given_to_who_is_cancelled_just_before():
    line = lines()
    await line.join("a1", "a2", "a3")
    line.tasks["a2"].cancel()
    with line.tickets["a1"]:
        pass
    await settle()
    assert line.turns == ["a1", "a3"]
    assert line.gate.painting == 1


async def test_an_order_that_is_never_painted_frees_its_place_only():
    line = lines(1, max_orders=2)
    await line.join("a1")
    with line.gate.admit(), pytest.raises(Overloaded):
        line.gate.admit()
    assert (line.gate.painting, line.gate.admitted) == (1, 1)
