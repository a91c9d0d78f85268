"""The interface of a runner: it keeps a backend alive and hands orders to it."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pinxit.backends.interface import Credential, Job, PaintEvent, PaintOrder
from pinxit.errors import BackendUnavailable


class Status(StrEnum):
    """Whether orders are painted now."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunnerState:
    """`reason` says in one sentence why the status is `failed`; it is empty otherwise."""

    status: Status
    reason: str = ""


class PainterDied(BackendUnavailable):
    """The painter died while it was painting. Nothing was charged."""


class Runner(ABC):
    """Where a backend runs."""

    @abstractmethod
    async def start(self) -> None:
        """Begin to open the backend and return at once; `state` and `wait_ready` tell how it went."""

    @property
    @abstractmethod
    def state(self) -> RunnerState:
        """`starting` also while a dead painter is replaced; `failed` is tried again by itself, later and later."""

    @property
    @abstractmethod
    def queue_depth(self) -> int:
        """How many orders are under way or wait for the backend."""

    @abstractmethod
    async def wait_ready(self) -> None:
        """Return when orders can be painted. Raises BackendUnavailable, with the reason, once the state is `failed`."""

    @abstractmethod
    def paint(
        self, order: PaintOrder, *, ready_timeout_seconds: float | None = None
    ) -> AsyncGenerator[PaintEvent, None]:
        """Paint the order: each picture comes once, in its size and with its seed. Closing the generator cancels.

        While the backend starts, the order waits up to `ready_timeout_seconds` (None: as the runner was set). For a
        slow reader pictures wait, and of several steps of one picture it may see the last only.

        Raises:
            ContentPolicyViolation: the model refuses the prompt.
            BackendUnavailable: no work was done; it is starting, failed, or said so itself.
            PainterDied: the painter died with the order under way. Its work is lost; local pictures can be painted
                again from their seeds.
            BackendError: the result is unusable.
        """

    async def give_up(self, jobs: Sequence[Job], credential: Credential | None = None) -> None:
        """As `Backend.give_up`; what is painted in a process of its own has no jobs."""
        return

    @abstractmethod
    async def close(self) -> None:
        """Close the backend and forget it; orders under way fail. May be called twice."""
