"""What the rooms above may ask of a database."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Connection

from pinxit.errors import StorageUnavailable

T = TypeVar("T")


class CommitUnknown(StorageUnavailable):
    """The database did not say whether the change was kept. Look at the rows before doing it again."""


class Database(ABC):
    """Runs units of work: plain synchronous functions that take a connection.

    A unit is pure database work: short, without side effects outside the connection, safe to run again. What it raises
    undoes the unit and reaches the caller; the units that were committed together with it stay.
    """

    @abstractmethod
    async def write(self, unit: Callable[[Connection], T]) -> T:
        """Run `unit` in a transaction. Returns only after the commit is on disk.

        Raises:
            CommitUnknown: the commit failed half way.
            StorageUnavailable: nothing was kept (disk full, I/O error, locked, closed).
        """

    @abstractmethod
    async def read(self, unit: Callable[[Connection], T]) -> T:
        """Run `unit` on one consistent snapshot that it cannot change. Raises StorageUnavailable."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was handed in, then let go of the files."""
