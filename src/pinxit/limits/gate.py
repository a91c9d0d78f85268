"""How many orders are let in at once. What is over is refused quickly, with an honest time to come back."""

from types import TracebackType
from typing import Self

from pinxit.errors import Overloaded

_MEMORY = 0.2
"""Weight of the newest order in the running mean of durations."""


class Gate:
    """A bounded number of orders, waiting or being painted."""

    def __init__(self, max_orders: int) -> None:
        self._max_orders = max_orders
        self._mean_seconds = 1.0
        self.admitted = 0

    def admit(self) -> "Ticket":
        """Let one order in. Raises Overloaded."""
        if self.admitted >= self._max_orders:
            raise Overloaded(
                f"The server's queue of {self._max_orders} orders is full. Try again shortly.",
                retry_after_seconds=min(60.0, max(1.0, self._mean_seconds)),
            )
        self.admitted += 1
        return Ticket(self)

    def leave(self, seconds: float | None) -> None:
        """An order has ended; `seconds` is how long it took, None if it was never painted."""
        self.admitted -= 1
        if seconds is not None:
            self._mean_seconds += _MEMORY * (seconds - self._mean_seconds)


class Ticket:
    """One admitted order; leaving the `with` block gives its place to the next."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.seconds: float | None = None
        """Set by whoever painted the order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.leave(self.seconds)
