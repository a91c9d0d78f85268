"""Rows of orders. Each function is one unit of work: `open_` begins an order in one transaction, `settle` ends it
in one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, bindparam, exists, func, or_, select, text
from sqlalchemy.exc import IntegrityError

from pinxit.database.prepared import Prepared
from pinxit.database.tables import attempts, generations, idempotency_keys
from pinxit.errors import Conflict, IdempotencyMismatch
from pinxit.generations.announcing import Record
from pinxit.generations.generation import AttemptStatus, Generation, Status
from pinxit.generations.repeat import ADOPTION, KEY_LIFETIME, Repeat
from pinxit.ledger import ledger
from pinxit.library import repository as images

OPEN = (Status.QUEUED.value, Status.IN_PROGRESS.value)

_INSERT = Prepared(
    generations.insert(),
    sets=(
        "id",
        "account_id",
        "api_key_id",
        "request_id",
        "status",
        "model",
        "requested_model",
        "prompt",
        "parameters",
        "storage_keys",
        "cost_micros",
        "input_tokens",
        "output_tokens",
        "lease_owner",
        "lease_until",
        "deadline_at",
        "created_at",
        "fingerprint",
    ),
)
_INSERT_ATTEMPT = Prepared(
    attempts.insert(),
    sets=(
        "generation_id",
        "number",
        "account_id",
        "backend",
        "image_indices",
        "status",
        "sent_at",
        "cost_micros",
        "jobs",
        "upstream_id",
    ),
)
_END_ATTEMPTS = Prepared(
    attempts.update().where(
        attempts.c.generation_id == bindparam("of_order"), attempts.c.status == AttemptStatus.STARTED.value
    ),
    sets=("status", "finished_at", "cost_micros"),
)
_END = Prepared(
    generations.update().where(
        generations.c.id == bindparam("of_order"),
        or_(*(generations.c.status == status for status in OPEN)),
        generations.c.lease_owner == bindparam("of_owner"),
    ),
    sets=(
        "status",
        "model",
        "parameters",
        "cost_micros",
        "image_count",
        "input_tokens",
        "output_tokens",
        "error_class",
        "error_message",
        "started_at",
        "finished_at",
        "lease_owner",
        "lease_until",
    ),
)


class LeaseLost(Exception):
    """Another process has taken the order over: it is not ours to paint, to settle or to fail."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to paint some pictures of an order."""

    number: int
    backend: str
    image_indices: tuple[int, ...]
    jobs: Mapping[str, Any] | None = None
    """Those of an earlier try that it asks for; see `record.jobs_document`."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Who paints an order, and until when nobody else may."""

    owner: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Charge:
    """What an order costs at most, whether it is paid from credits or only counted, and its key's budgets by period."""

    micros: int
    is_billed: bool
    budgets: Mapping[str, int]


def _claim_nothing(_: Connection) -> None:
    pass


def open_(
    connection: Connection,
    generation: Generation,
    attempt: Attempt,
    charge: Charge,
    repeat: Repeat,
    lease: Lease,
    claim: Callable[[Connection], None] = _claim_nothing,
) -> str:
    """Begin the order and hold its price, unless it was begun before. Returns the id of the order to wait for.

    `claim` takes what its limits have room for. Raises RateLimited; Conflict if its id is taken, IdempotencyMismatch,
    InsufficientCredits, BudgetExceeded; then nothing was begun.
    """
    earlier = find_earlier(connection, generation, repeat)
    if earlier is not None:
        return earlier
    claim(connection)
    _insert(connection, generation, lease)
    if repeat.key is not None:
        connection.execute(
            idempotency_keys.insert().values(
                account_id=generation.account_id,
                key=repeat.key,
                generation_id=generation.id,
                created_at=generation.created_at,
            )
        )
    _insert_attempt(connection, generation, attempt, generation.created_at)
    ledger.hold(
        connection,
        generation.id,
        generation.account_id,
        charge.micros,
        billed=charge.is_billed,
        now=generation.created_at,
        api_key_id=generation.api_key_id,
        spending_limits=charge.budgets,
    )
    return generation.id


def guess_earlier(connection: Connection, generation: Generation, repeat: Repeat) -> str | None:
    """What `find_earlier` is likely to find; it changes nothing."""
    if repeat.key is not None:
        query = select(idempotency_keys.c.generation_id).where(_mine(generation, repeat))
    elif repeat.is_retry:
        query = _left_behind(generation)
    else:
        return None
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def find_earlier(connection: Connection, generation: Generation, repeat: Repeat) -> str | None:
    """The order that this one repeats, which is taken over by it. Raises IdempotencyMismatch."""
    return _find_by_key(connection, generation, repeat) or _adopt(connection, generation, repeat)


def _mine(generation: Generation, repeat: Repeat) -> ColumnElement[bool]:
    return and_(idempotency_keys.c.account_id == generation.account_id, idempotency_keys.c.key == repeat.key)


def _find_by_key(connection: Connection, generation: Generation, repeat: Repeat) -> str | None:
    """The order that this Idempotency-Key began in the last 24 hours. Raises IdempotencyMismatch if it is another."""
    if repeat.key is None:
        return None
    mine = _mine(generation, repeat)
    row = connection.execute(
        select(idempotency_keys.c.generation_id, idempotency_keys.c.created_at, generations.c.fingerprint)
        .join(generations, generations.c.id == idempotency_keys.c.generation_id)
        .where(mine)
    ).first()
    if row is None:
        return None
    if row.created_at <= generation.created_at - KEY_LIFETIME:
        connection.execute(idempotency_keys.delete().where(mine))
        return None
    if row.fingerprint != generation.fingerprint:
        raise IdempotencyMismatch(param="Idempotency-Key")
    found: str = row.generation_id
    return found


def _adopt(connection: Connection, generation: Generation, repeat: Repeat) -> str | None:
    """Take over the oldest equal order whose client left without its answer a short while ago; each only once."""
    if repeat.key is not None or not repeat.is_retry:
        return None
    found: str | None
    while (found := connection.execute(_left_behind(generation)).scalar_one_or_none()) is not None:
        mine = and_(generations.c.id == found, _is_left_behind(generation))
        if connection.execute(generations.update().where(mine).values(abandoned_at=None)).rowcount == 1:
            break  # else another retry was faster: it is not left behind any more, and the next may be
    return found


def _left_behind(generation: Generation) -> Select[Any]:
    oldest = select(generations.c.id).where(_is_left_behind(generation)).order_by(generations.c.abandoned_at)
    return oldest.limit(1)


def _is_left_behind(generation: Generation) -> ColumnElement[bool]:
    """One that has an Idempotency-Key is not: its client asks for it by that."""
    has_key = exists().where(idempotency_keys.c.generation_id == generations.c.id)
    return and_(
        generations.c.account_id == generation.account_id,
        generations.c.api_key_id == generation.api_key_id,
        generations.c.fingerprint == generation.fingerprint,
        generations.c.abandoned_at > generation.created_at - ADOPTION,
        generations.c.status.in_([*OPEN, Status.COMPLETED.value]),
        ~has_key,
    )


def abandon(connection: Connection, generation_id: str, now: datetime) -> None:
    """The client that waited for the order has left without its answer."""
    connection.execute(generations.update().where(generations.c.id == generation_id).values(abandoned_at=now))


def forget_old_keys(connection: Connection, now: datetime) -> None:
    connection.execute(idempotency_keys.delete().where(idempotency_keys.c.created_at <= now - KEY_LIFETIME))


def _insert(connection: Connection, generation: Generation, lease: Lease) -> None:
    try:
        _INSERT.run(
            connection,
            {
                "id": generation.id,
                "account_id": generation.account_id,
                "api_key_id": generation.api_key_id,
                "request_id": generation.request_id,
                "status": generation.status.value,
                "model": generation.model,
                "requested_model": generation.requested_model,
                "prompt": generation.prompt,
                "parameters": generation.parameters,
                "storage_keys": list(generation.storage_keys),
                "cost_micros": 0,
                "input_tokens": 0,
                "output_tokens": 0,
                "lease_owner": lease.owner,
                "lease_until": lease.until,
                "deadline_at": generation.deadline_at,
                "created_at": generation.created_at,
                "fingerprint": generation.fingerprint,
            },
        )
    except IntegrityError as error:
        raise Conflict("There is an order with this id already.", param="x-pinxit-generation") from error


def start_attempt(
    connection: Connection,
    generation: Generation,
    attempt: Attempt,
    *,
    lease_owner: str,
    before: AttemptStatus,
    now: datetime,
) -> None:
    """Record a further try before it is sent; `before`: what became of the one before it. Raises LeaseLost."""
    mine = (generations.c.id == generation.id, generations.c.lease_owner == lease_owner)
    if connection.execute(select(generations.c.id).where(*mine).with_for_update()).first() is None:
        raise LeaseLost
    end_attempts(connection, generation.id, before, now)
    _insert_attempt(connection, generation, attempt, now)


def _insert_attempt(connection: Connection, generation: Generation, attempt: Attempt, now: datetime) -> None:
    _INSERT_ATTEMPT.run(
        connection,
        {
            "generation_id": generation.id,
            "number": attempt.number,
            "account_id": generation.account_id,
            "backend": attempt.backend,
            "image_indices": list(attempt.image_indices),
            "status": AttemptStatus.STARTED.value,
            "sent_at": now,
            "cost_micros": 0,
            "jobs": attempt.jobs,
            "upstream_id": None if attempt.jobs is None else _ids_of(attempt.jobs),
        },
    )


def note_jobs(
    connection: Connection, generation: Generation, attempt: Attempt, jobs: Mapping[str, Any], *, lease_owner: str
) -> None:
    """Write down what is under way far away for a try of ours. Raises LeaseLost."""
    mine = exists().where(generations.c.id == generation.id, generations.c.lease_owner == lease_owner)
    this = (attempts.c.generation_id == generation.id, attempts.c.number == attempt.number)
    noted = attempts.update().where(*this, mine).values(jobs=jobs, upstream_id=_ids_of(jobs))
    if connection.execute(noted).rowcount != 1:
        raise LeaseLost


def _ids_of(jobs: Mapping[str, Any]) -> str:
    return " ".join(job["id"] for job in jobs["jobs"])


def end_attempts(
    connection: Connection, generation_id: str, status: AttemptStatus, now: datetime, loss_micros: int = 0
) -> None:
    """End the tries that are under way. `loss_micros`: what they cost us at the backend."""
    _END_ATTEMPTS.run(
        connection,
        {"of_order": generation_id, "status": status.value, "finished_at": now, "cost_micros": loss_micros},
    )


def settle(
    connection: Connection, generation: Generation, record: Record, *, lease_owner: str, loss_micros: int = 0
) -> bool:
    """End the order with its pictures and charge for them; running it again changes nothing.

    `loss_micros`: what they cost us at the backend; `record` notes for others that it has ended; returns what it
    does. Raises LeaseLost if the order is not ours any more.
    """
    if not _end(connection, generation, lease_owner):
        _require_ours(connection, generation)
        return False
    for image in generation.images:
        if image.storage_key:
            images.insert(connection, image)
    end_attempts(connection, generation.id, AttemptStatus.SUCCEEDED, _ended_at(generation), loss_micros)
    is_noted = record(connection, generation)
    # The last, for it changes rows that other orders want, too.
    ledger.post(connection, generation.id, generation.cost_micros, now=_ended_at(generation))
    return is_noted


def fail(
    connection: Connection,
    generation: Generation,
    record: Record,
    *,
    lease_owner: str,
    may_try_again: bool = False,
    loss_micros: int = 0,
) -> bool:
    """End the order without pictures and give back what was held; running it again changes nothing, nor does it for an
    order that was never opened.

    `record` notes for others that it has ended; returns what it does. `may_try_again`: no work was done, so the
    order's Idempotency-Key is free again. Raises LeaseLost if the order is not ours any more.
    """
    if not _end(connection, generation, lease_owner):
        _require_ours(connection, generation)
        return False
    end_attempts(connection, generation.id, AttemptStatus.FAILED, _ended_at(generation), loss_micros)
    ledger.void(connection, generation.id, now=_ended_at(generation))
    if may_try_again:
        connection.execute(idempotency_keys.delete().where(idempotency_keys.c.generation_id == generation.id))
    return record(connection, generation)


def forget_files(connection: Connection, generation: Generation) -> None:
    """The files that this failed order may have written are gone."""
    same = (generations.c.id == generation.id, generations.c.storage_keys == list(generation.storage_keys))
    connection.execute(generations.update().where(*same).values(storage_keys=[]))


def list_with_files_to_remove(connection: Connection) -> list[Generation]:
    """Orders without pictures whose files nobody has removed yet, because the process ended in between."""
    without = generations.c.status.in_([Status.FAILED.value, Status.CANCELLED.value, Status.UNKNOWN.value])
    rows = connection.execute(select(generations).where(without, generations.c.storage_keys != [])).all()
    return [from_row(connection, row) for row in rows]


def _end(connection: Connection, generation: Generation, lease_owner: str) -> bool:
    """False if it had ended, was never there, or is another's."""
    ended = _END.run(
        connection,
        {
            "of_order": generation.id,
            "of_owner": lease_owner,
            "status": generation.status.value,
            "model": generation.model,
            "parameters": generation.parameters,
            "cost_micros": generation.cost_micros,
            "image_count": len(generation.images),
            "input_tokens": generation.input_tokens,
            "output_tokens": generation.output_tokens,
            "error_class": generation.error_class,
            "error_message": generation.error_message,
            "started_at": generation.started_at,
            "finished_at": generation.finished_at,
            "lease_owner": None,
            "lease_until": None,
        },
    )
    return ended.rowcount == 1


def _require_ours(connection: Connection, generation: Generation) -> None:
    """Raises LeaseLost unless the order was never there or has ended as we say."""
    status = connection.execute(select(generations.c.status).where(generations.c.id == generation.id)).first()
    if status is not None and not has_ended_as(connection, generation):
        raise LeaseLost


def has_ended_as(connection: Connection, generation: Generation) -> bool:
    """Whether the order has ended like this; the pictures of one that is completed are ours if their names are."""
    row = connection.execute(
        select(generations.c.status, generations.c.storage_keys).where(generations.c.id == generation.id)
    ).first()
    if row is None or row.status != generation.status.value:
        return False
    return generation.status is not Status.COMPLETED or tuple(row.storage_keys) == generation.storage_keys


def _ended_at(generation: Generation) -> datetime:
    return generation.finished_at or generation.created_at


def find(connection: Connection, account_id: str, generation_id: str) -> Generation | None:
    """The order with the pictures that are still kept."""
    row = connection.execute(
        select(generations).where(generations.c.account_id == account_id, generations.c.id == generation_id)
    ).first()
    return from_row(connection, row) if row else None


def list_newest(connection: Connection, account_id: str, *, after: str | None, limit: int) -> list[Generation] | None:
    """At most `limit` orders older than `after`, whatever became of them; None if there is no such order."""
    query = select(generations).where(generations.c.account_id == account_id)
    if after is not None:
        mine = (generations.c.account_id == account_id, generations.c.id == after)
        start = connection.execute(select(generations.c.created_at).where(*mine)).scalar_one_or_none()
        if start is None:
            return None
        earlier = and_(generations.c.created_at == start, generations.c.id < after)
        query = query.where(generations.c.created_at <= start, or_(generations.c.created_at < start, earlier))
    newest = query.order_by(generations.c.created_at.desc(), generations.c.id.desc()).limit(limit)
    return [from_row(connection, row) for row in connection.execute(newest).all()]


_COUNT_OPEN = select(func.count()).select_from(generations).where(text("status IN ('queued', 'in_progress')"))
"""In the words of the index of open orders, or SQLite would not use it."""


def count_open(connection: Connection) -> int:
    """Orders of all accounts that have not ended."""
    return connection.execute(_COUNT_OPEN).scalar_one()


def from_row(connection: Connection, row: Row[Any], *, with_images: bool = True) -> Generation:
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
        fingerprint=row.fingerprint or "",
        error_class=row.error_class,
        error_message=row.error_message,
        started_at=row.started_at,
        finished_at=row.finished_at,
        deadline_at=row.deadline_at,
        images=tuple(images.list_of_generation(connection, row.id)) if with_images else (),
    )
