"""Telling others that an order has ended."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

from pinxit.generations.generation import Generation

Record = Callable[[Connection, Generation], bool]


def _record_nothing(connection: Connection, ended: Generation) -> bool:
    """Nobody is told."""
    return False


@dataclass(frozen=True, slots=True)
class Announcer:
    """`record` is a part of the transaction that ends the order, once, and says whether anybody is to be told; if so,
    `wake` is called after its commit.
    """

    record: Record = _record_nothing
    wake: Callable[[], None] = lambda: None


NOBODY = Announcer()
