"""Whose an open order is: a process holds a lease on each order it paints, and renews it while it lives.

A lease that has run out may be taken over by anybody, once. From then on the order is the taker's: whoever had it
before can neither settle nor fail it, and the pictures get new names, so that the two cannot write the same file.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, or_, select

from pinxit.database.tables import attempts, generations, images
from pinxit.generations import repository
from pinxit.generations.generation import Generation, Status
from pinxit.ids import new_image_name

LEASE = timedelta(seconds=45)
"""With the pause between two looks (`service.TEND_SECONDS`) less than a minute: so long an order can be nobody's."""
SERVER, COMMAND = "server", "command"
"""How the names of owners begin: servers, and commands that paint by themselves."""
_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Tenure:
    """Who this process is. `predecessors`: how the names of owners begin that are dead for sure; None: nobody is."""

    owner: str
    predecessors: str | None = None

    @property
    def is_server(self) -> bool:
        return self.owner.startswith(SERVER)


@dataclass(frozen=True, slots=True)
class Taken:
    """An order taken over. Its pictures have new names; files may lie under the `old_keys`."""

    generation: Generation
    old_keys: tuple[str, ...]
    attempts: int
    """How often it was tried to paint it."""
    backend: str
    """Where it was tried last."""
    was_server: bool
    is_cancelled: bool
    """Whether somebody wants it to end without pictures."""
    jobs: Mapping[str, Any] | None = None
    """What was under way far away for the last try; see `record.jobs_document`."""


def expire(connection: Connection, owners: str) -> None:
    """End the leases of all owners whose names begin with `owners`."""
    theirs = generations.c.lease_owner.startswith(owners, autoescape=True)
    connection.execute(generations.update().where(_is_open(), theirs).values(lease_until=_LONG_AGO))


def release(connection: Connection, generation_id: str, owner: str) -> None:
    """Let go of one order, so that the next process that looks takes it over."""
    mine = (generations.c.id == generation_id, generations.c.lease_owner == owner)
    connection.execute(generations.update().where(*mine).values(lease_until=_LONG_AGO))


def renew(connection: Connection, owner: str, ids: Collection[str], begun: Collection[str], now: datetime) -> None:
    """Keep those orders that are still ours. `begun`: those of them that are being painted."""
    mine = (generations.c.lease_owner == owner, _is_open())
    connection.execute(generations.update().where(*mine, generations.c.id.in_(ids)).values(lease_until=now + LEASE))
    if begun:
        connection.execute(
            generations.update()
            .where(*mine, generations.c.id.in_(begun), generations.c.status == Status.QUEUED.value)
            .values(status=Status.IN_PROGRESS.value)
        )


def take_over(
    connection: Connection, tenure: Tenure, now: datetime, *, except_for: Collection[str], limit: int
) -> list[Taken]:
    """Make open orders ours whose lease has run out, oldest first; a command takes over from commands only.

    `except_for`: orders that are under way here, whatever their lease says.
    """
    run_out = (_is_open(), or_(generations.c.lease_until.is_(None), generations.c.lease_until < now))
    whose = () if tenure.is_server else (generations.c.lease_owner.startswith(COMMAND, autoescape=True),)
    rows = connection.execute(
        select(generations)
        .where(*run_out, *whose, generations.c.id.not_in(except_for))
        .order_by(generations.c.created_at, generations.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    taken = []
    for row in rows:
        old, newest = repository.from_row(connection, row), _find_newest_attempt(connection, row.id)
        encoding = old.parameters.get("output_format", "png")
        count = len(old.parameters.get("seeds", ())) if old.storage_keys else 0
        fresh = tuple(new_image_name(encoding) for _ in range(count))
        connection.execute(
            generations.update()
            .where(generations.c.id == old.id)
            .values(
                lease_owner=tenure.owner,
                lease_until=now + LEASE,
                storage_keys=[*fresh, *old.storage_keys],
                abandoned_at=now,  # whoever waited at the dead process has no answer; its retry may have this one
            )
        )
        taken.append(
            Taken(
                generation=replace(old, storage_keys=fresh),
                old_keys=old.storage_keys,
                attempts=newest.number if newest else 0,
                backend=newest.backend if newest else "",
                was_server=(row.lease_owner or "").startswith(SERVER),
                is_cancelled=row.cancel_requested_at is not None,
                jobs=newest.jobs if newest else None,
            )
        )
    return taken


def forget_old_keys(connection: Connection, generation: Generation, owner: str) -> None:
    """No file lies under the names any more that the order had before it was taken over."""
    mine = (generations.c.id == generation.id, generations.c.lease_owner == owner)
    connection.execute(generations.update().where(*mine).values(storage_keys=list(generation.storage_keys)))


def list_unclaimed(connection: Connection, generation: Generation) -> list[str]:
    """Of an order that is ours no more, the names without a picture; a file that we wrote may lie there."""
    named = images.c.storage_key.in_(generation.storage_keys)
    claimed = set(connection.execute(select(images.c.storage_key).where(named)).scalars())
    return [key for key in generation.storage_keys if key not in claimed]


def request_cancel(connection: Connection, account_id: str, generation_id: str, now: datetime) -> None:
    """Ask the process that paints the order to give it up."""
    connection.execute(
        generations.update()
        .where(generations.c.account_id == account_id, generations.c.id == generation_id, _is_open())
        .values(cancel_requested_at=now)
    )


def list_to_cancel(connection: Connection, owner: str) -> list[str]:
    """The ids of this owner's orders that somebody wants to be given up."""
    wanted = (generations.c.cancel_requested_at.is_not(None), generations.c.lease_owner == owner)
    return list(connection.execute(select(generations.c.id).where(*wanted)).scalars())


def _is_open() -> ColumnElement[bool]:
    return generations.c.status.in_(repository.OPEN)


def _find_newest_attempt(connection: Connection, generation_id: str) -> Row[Any] | None:
    of_order = select(attempts).where(attempts.c.generation_id == generation_id)
    return connection.execute(of_order.order_by(attempts.c.number.desc()).limit(1)).first()
