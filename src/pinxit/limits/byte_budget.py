"""One budget of memory for all request bodies together.

A limit per body is not enough: 256 bodies of 1.5 MB at once are 400 MB before anybody has looked at one of them.
"""

from types import TracebackType
from typing import Self

from pinxit.errors import Overloaded


class ByteBudget:
    """Bytes that request bodies may occupy at once. It never waits: what does not fit is refused.

    It belongs to one event loop and is not for use from several threads.
    """

    def __init__(self, total_bytes: int, *, retry_after_seconds: float = 1.0) -> None:
        """`retry_after_seconds`: what a refused caller is told."""
        if total_bytes < 1:
            raise ValueError(f"total_bytes must be at least 1, not {total_bytes}")
        self.total_bytes = total_bytes
        self.retry_after_seconds = retry_after_seconds
        self._used_bytes = 0

    @property
    def used_bytes(self) -> int:
        """Bytes held at this moment by all leases."""
        return self._used_bytes

    def reserve(self, count: int = 0) -> "ByteLease":
        """A lease of `count` bytes, to be used in a `with` and grown as a body arrives. Raises `Overloaded` at once."""
        lease = ByteLease(self)
        lease.grow(count)
        return lease

    def _take(self, count: int) -> None:
        if count < 0:
            raise ValueError(f"a lease cannot grow by {count} bytes")
        if self._used_bytes + count > self.total_bytes:
            raise Overloaded(
                "The server is holding as many request bodies as it can. Try again shortly.",
                retry_after_seconds=self.retry_after_seconds,
            )
        self._used_bytes += count

    def _give_back(self, count: int) -> None:
        self._used_bytes -= count


class ByteLease:
    """A part of a `ByteBudget`, given back once, however often `release` is called and however a `with` is left."""

    def __init__(self, budget: ByteBudget) -> None:
        self._budget = budget
        self._held_bytes = 0
        self._released = False

    @property
    def held_bytes(self) -> int:
        """Bytes of the budget that this lease holds; 0 after its release."""
        return self._held_bytes

    def grow(self, count: int) -> None:
        """Hold `count` more bytes. Raises `Overloaded` if they do not fit; what is held already stays held."""
        if self._released:
            raise ValueError("this lease has been released")
        self._budget._take(count)
        self._held_bytes += count

    def release(self) -> None:
        """Give everything back. Doing it again changes nothing."""
        self._released = True
        held, self._held_bytes = self._held_bytes, 0
        self._budget._give_back(held)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
