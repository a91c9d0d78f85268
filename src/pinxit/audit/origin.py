"""Who acts in this task: the doors say it once, and services ask when they write down what they changed."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class ActorKind(StrEnum):
    """Who can act."""

    USER = "user"
    KEY = "key"
    COMMAND = "command"
    """Somebody with a shell on the machine; the name is that of the system's user."""
    VISITOR = "visitor"
    """A browser in which nobody is signed in."""
    SYSTEM = "system"
    """Pinxit itself."""


@dataclass(frozen=True, slots=True)
class Actor:
    """`id` None: there is no row of it. `name`: as it was at that time."""

    kind: ActorKind
    id: str | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """By whom, and by which request; `address` of the client, if it is to be kept."""

    actor: Actor = Actor(ActorKind.SYSTEM)
    request_id: str | None = None
    address: str | None = None


_current: ContextVar[Origin] = ContextVar("pinxit_origin", default=Origin())  # noqa: B039 - it is frozen


def current() -> Origin:
    """Of this task. Ask before a unit of work is handed in: that runs in another thread, which knows of no task."""
    return _current.get()


def become(origin: Origin) -> None:
    """From now on this task acts so."""
    _current.set(origin)


@contextmanager
def acting(origin: Origin) -> Iterator[None]:
    """This task acts so, until the end of the block; whatever it has become meanwhile ends too."""
    token = _current.set(origin)
    try:
        yield
    finally:
        _current.reset(token)
