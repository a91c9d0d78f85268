"""What the supervisor tells a worker at its start, through the worker's standard input."""

from collections.abc import Mapping
from dataclasses import dataclass

from pinxit.settings import Settings


@dataclass(frozen=True, slots=True)
class Post:
    """A worker's place. Numbers are file descriptors that it has inherited.

    The settings come from the supervisor, so that all workers have the same, also those that start when the
    configuration file has been changed.
    """

    settings: Settings
    slot: int
    """From 1. A worker that is replaced leaves its slot, with the orders it had, to the next."""
    is_first: bool
    """No worker of this data folder has listened yet: this one makes the database, and says hello."""
    listener: int
    lifeline: int
    """A socket to the supervisor, which hears `listening` or `failed(reason)` from it. Later it sends `settings`, with
    the settings pickled, and hears `reloaded` or `not_reloaded`. When it ends, the supervisor is gone.
    """
    hubs: Mapping[str, int]
    """Backend → a socket to the hub of its painter."""
