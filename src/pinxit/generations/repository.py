"""Rows of orders. Each function is one unit of work: `open_` begins an order in one transaction, `settle` ends it
in one.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select
from sqlalchemy.exc import IntegrityError

from pinxit.database.tables import attempts, generations
from pinxit.errors import Conflict
from pinxit.generations.generation import AttemptStatus, Generation, Status
from pinxit.library import repository as images

LEASE = timedelta(seconds=60)
SERVER, COMMAND = "server", "command"
"""How the names of lease owners begin: the one server of a data folder, a command that paints by itself."""
_OPEN = (Status.QUEUED.value, Status.IN_PROGRESS.value)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to paint some pictures of an order."""

    number: int
    backend: str
    image_indices: tuple[int, ...]


def open_(connection: Connection, generation: Generation, attempt: Attempt, lease_owner: str) -> None:
    """Begin the order. Raises Conflict if its id is taken."""
    try:
        connection.execute(
            generations.insert().values(
                id=generation.id,
                account_id=generation.account_id,
                api_key_id=generation.api_key_id,
                request_id=generation.request_id,
                status=generation.status.value,
                model=generation.model,
                requested_model=generation.requested_model,
                prompt=generation.prompt,
                parameters=generation.parameters,
                storage_keys=list(generation.storage_keys),
                cost_micros=0,
                input_tokens=0,
                output_tokens=0,
                lease_owner=lease_owner,
                lease_until=generation.created_at + LEASE,
                created_at=generation.created_at,
            )
        )
    except IntegrityError as error:
        raise Conflict("There is an order with this id already.", param="x-pinxit-generation") from error
    start_attempt(connection, generation, attempt, generation.created_at)


def start_attempt(connection: Connection, generation: Generation, attempt: Attempt, now: datetime) -> None:
    """Record a try before it is sent; the one before it, if any, is lost."""
    end_attempts(connection, generation.id, AttemptStatus.LOST, now)
    connection.execute(
        attempts.insert().values(
            generation_id=generation.id,
            number=attempt.number,
            account_id=generation.account_id,
            backend=attempt.backend,
            image_indices=list(attempt.image_indices),
            status=AttemptStatus.STARTED.value,
            sent_at=now,
            cost_micros=0,
        )
    )


def end_attempts(connection: Connection, generation_id: str, status: AttemptStatus, now: datetime) -> None:
    connection.execute(
        attempts.update()
        .where(attempts.c.generation_id == generation_id, attempts.c.status == AttemptStatus.STARTED.value)
        .values(status=status.value, finished_at=now)
    )


def settle(connection: Connection, generation: Generation) -> bool:
    """End the order with its pictures; running it again changes nothing. False if somebody else ended it before."""
    if not _end(connection, generation):
        return find_status(connection, generation.id) is Status.COMPLETED
    for image in generation.images:
        if image.storage_key:
            images.insert(connection, image)
    end_attempts(connection, generation.id, AttemptStatus.SUCCEEDED, _ended_at(generation))
    return True


def fail(connection: Connection, generation: Generation) -> bool:
    """End the order without pictures; running it again changes nothing. False if it ended otherwise before."""
    if not _end(connection, generation):
        return find_status(connection, generation.id) is Status.FAILED
    end_attempts(connection, generation.id, AttemptStatus.FAILED, _ended_at(generation))
    return True


def forget_files(connection: Connection, generation_id: str) -> None:
    """The files that this failed order may have written are gone."""
    connection.execute(generations.update().where(generations.c.id == generation_id).values(storage_keys=[]))


def list_with_files_to_remove(connection: Connection) -> list[Generation]:
    """Failed orders whose files nobody has removed yet, because the process ended in between."""
    rows = connection.execute(
        select(generations).where(generations.c.status == Status.FAILED.value, generations.c.storage_keys != [])
    ).all()
    return [from_row(connection, row) for row in rows]


def _end(connection: Connection, generation: Generation) -> bool:
    ended = connection.execute(
        generations.update()
        .where(generations.c.id == generation.id, generations.c.status.in_(_OPEN))
        .values(
            status=generation.status.value,
            cost_micros=generation.cost_micros,
            input_tokens=generation.input_tokens,
            output_tokens=generation.output_tokens,
            error_class=generation.error_class,
            error_message=generation.error_message,
            started_at=generation.started_at,
            finished_at=generation.finished_at,
            lease_owner=None,
            lease_until=None,
        )
    )
    return ended.rowcount == 1


def _ended_at(generation: Generation) -> datetime:
    return generation.finished_at or generation.created_at


def find_status(connection: Connection, generation_id: str) -> Status | None:
    status = connection.execute(
        select(generations.c.status).where(generations.c.id == generation_id)
    ).scalar_one_or_none()
    return None if status is None else Status(status)


def find(connection: Connection, account_id: str, generation_id: str) -> Generation | None:
    """The order with the pictures that are still kept."""
    row = connection.execute(
        select(generations).where(generations.c.account_id == account_id, generations.c.id == generation_id)
    ).first()
    return from_row(connection, row) if row else None


def renew_leases(connection: Connection, lease_owner: str, now: datetime) -> None:
    connection.execute(
        generations.update().where(generations.c.lease_owner == lease_owner).values(lease_until=now + LEASE)
    )


def list_abandoned(
    connection: Connection, lease_owner: str, now: datetime, *, include_servers: bool
) -> list[Generation]:
    """Open orders of others whose lease ran out, or (`include_servers`) that belong to an earlier server of this
    data folder.
    """
    gone = generations.c.lease_until < now
    if include_servers:
        gone = or_(gone, generations.c.lease_owner.startswith(f"{SERVER}_", autoescape=True))
    rows = connection.execute(
        select(generations).where(and_(generations.c.status.in_(_OPEN), generations.c.lease_owner != lease_owner, gone))
    ).all()
    return [from_row(connection, row) for row in rows]


def from_row(connection: Connection, row: Row[Any]) -> Generation:
    return Generation(
        id=row.id,
        account_id=row.account_id,
        api_key_id=row.api_key_id,
        request_id=row.request_id,
        status=Status(row.status),
        model=row.model,
        requested_model=row.requested_model,
        prompt=row.prompt,
        parameters=row.parameters,
        storage_keys=tuple(row.storage_keys),
        created_at=row.created_at,
        cost_micros=row.cost_micros,
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        error_class=row.error_class,
        error_message=row.error_message,
        started_at=row.started_at,
        finished_at=row.finished_at,
        images=tuple(images.list_of_generation(connection, row.id)),
    )
