"""What a webhook is: who is told (an endpoint), what (an event), and how the telling went (a delivery)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class EventType(StrEnum):
    """What can be told."""

    COMPLETED = "generation.completed"
    FAILED = "generation.failed"
    CANCELLED = "generation.cancelled"
    PING = "ping"
    """Sent when its owner asks for it, to try an endpoint out."""


ORDER_EVENTS = (EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)
"""Those that an endpoint can choose from."""


class DeliveryStatus(StrEnum):
    """pending → delivered | dead; a replay makes it pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"
    """Given up: the tries of a day have failed, or the endpoint said 410 Gone."""


@dataclass(frozen=True, slots=True)
class EndpointOptions:
    """What the owner of an endpoint decides. `events` None: all of them."""

    url: str
    events: tuple[EventType, ...] | None = None
    description: str = ""
    is_active: bool = True

    def wants(self, type_: EventType) -> bool:
        return self.events is None or type_ in self.events


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an account's events go. Of its secret only what it is derived with is kept; see `secret.py`."""

    id: str
    account_id: str
    options: EndpointOptions
    secret_salt: str
    secret_check: str
    created_at: datetime
    previous_salt: str | None = None
    previous_until: datetime | None = None
    disabled_reason: str | None = None
    """Why we, not its owner, made it inactive."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint. `event_id` is what the receiver sees as `webhook-id`, in every try."""

    id: str
    endpoint_id: str
    event_id: str
    type: EventType
    subject_id: str
    sequence: int
    status: DeliveryStatus
    attempts: int
    created_at: datetime
    due_at: datetime | None
    """When it is tried next; None once it has ended."""
    attempted_at: datetime | None = None
    delivered_at: datetime | None = None
    answered_status: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A delivery that this process has leased. `lease` is of this one try: who comes late with another changes
    nothing.
    """

    delivery: Delivery
    endpoint: Endpoint
    lease: str
    body: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try went. `answered_status` None: there was no answer, `error` says why."""

    answered_status: int | None = None
    error: str | None = None

    @property
    def is_delivered(self) -> bool:
        return self.answered_status is not None and 200 <= self.answered_status < 300

    @property
    def is_gone(self) -> bool:
        """410: the receiver wants to hear no more."""
        return self.answered_status == 410
