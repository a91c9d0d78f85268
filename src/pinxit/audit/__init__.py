"""Who changed what, and when: one row for each change, written in the change's own transaction and never changed again.

A service that changes something asks `current()` who acts before its unit of work, and calls `note()` inside of it.
"""

from pinxit.audit.event import Action, Event, Filters, Thing
from pinxit.audit.notes import note
from pinxit.audit.origin import Actor, ActorKind, Origin, acting, become, current

__all__ = [
    "Action",
    "Actor",
    "ActorKind",
    "Event",
    "Filters",
    "Origin",
    "Thing",
    "acting",
    "become",
    "current",
    "note",
]
