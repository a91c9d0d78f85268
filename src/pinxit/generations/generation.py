"""One order and its states."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from pinxit.backends.interface import Familiarity
from pinxit.library.image import Image


class Status(StrEnum):
    """queued → in_progress → completed | failed | cancelled | unknown.

    `unknown`: painted perhaps, the answer was lost.
    """

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"

    @property
    def is_open(self) -> bool:
        return self in (Status.QUEUED, Status.IN_PROGRESS)


class AttemptStatus(StrEnum):
    """What became of one try to paint pictures of an order. `lost`: the painter died, its work with it."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(slots=True)
class Progress:
    """How far a live order is.

    `position`: orders before it while it is queued, those that are painted among them; `step` of `steps`, over all
    its pictures.
    """

    steps: int
    step: int = 0
    position: int = 0
    status: Status = Status.QUEUED
    images_done: int = 0
    of_pictures: dict[int, int] = field(default_factory=dict)
    """Picture, by its place in the order → the last step that it has done."""


@dataclass(frozen=True, slots=True)
class Load:
    """Orders in one process: those being painted, those that wait their turn, and how many more would be let in."""

    painting: int
    waiting: int
    room: int


@dataclass(frozen=True, slots=True)
class Generation:
    """One order as it is recorded. `parameters` is what was painted, in the names of the wire."""

    id: str
    account_id: str
    api_key_id: str | None
    request_id: str
    status: Status
    model: str
    requested_model: str
    prompt: str
    parameters: dict[str, Any]
    storage_keys: tuple[str, ...]
    created_at: datetime
    fingerprint: str = ""
    cost_micros: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    error_class: str | None = None
    error_message: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline_at: datetime | None = None
    """When it is given up."""
    images: tuple[Image, ...] = ()
    progress: Progress | None = field(default=None, compare=False)
    is_replay: bool = False
    """Whether this is the answer of an order that was begun before."""

    @property
    def familiarity(self) -> Familiarity | None:
        """How near its prompt is to what the model knows that painted it; None where that did not say."""
        said = self.parameters.get("familiarity")
        return None if said is None else Familiarity(**said)

    @property
    def far(self) -> Familiarity | None:
        """The same, if the prompt is far from that."""
        said = self.familiarity
        return None if said is None or said.known else said


def far_sentence(model: str, said: Familiarity) -> str:
    """What to tell a person whose prompt is far from what the model knows."""
    return f"{model} does not know this well; the nearest thing it knows is “{said.nearest}” ({said.similarity:.2f})."
