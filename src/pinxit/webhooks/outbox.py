"""Rows of events and deliveries. `append` is a part of the transaction that makes its event true: there is no event
without its cause, and no cause without its event.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, exists, func, or_, select, text

from pinxit import audit
from pinxit.database.tables import webhook_deliveries as deliveries
from pinxit.database.tables import webhook_endpoints as endpoints
from pinxit.database.tables import webhook_events as events
from pinxit.ids import new_id
from pinxit.webhooks import repository
from pinxit.webhooks.auditing import thing
from pinxit.webhooks.model import Delivery, DeliveryStatus, Endpoint, EventType, Job, Outcome

GONE = "The receiver answered 410 Gone."


def append(
    connection: Connection,
    *,
    account_id: str,
    subject_id: str,
    type_: EventType,
    data: Callable[[], Mapping[str, Any]],
    now: datetime,
) -> bool:
    """Note an event for every endpoint of the account that wants it. `data` is asked only if there is one.
    Returns whether there is.

    `subject_id`: what the event is about; of one subject an endpoint hears in the order of `sequence`.
    """
    listeners = [found for found in repository.list_active(connection, account_id) if found.options.wants(type_)]
    if listeners:
        _append_for(connection, listeners, subject_id, type_, data(), now)
    return bool(listeners)


def append_ping(connection: Connection, endpoint: Endpoint, now: datetime) -> Delivery:
    """Note a ping for this endpoint, whatever it wants to hear of."""
    (delivery_id,) = _append_for(connection, [endpoint], None, EventType.PING, {"webhook": endpoint.id}, now)
    found = find(connection, endpoint.account_id, endpoint.id, delivery_id)
    assert found is not None
    return found


def _append_for(
    connection: Connection,
    listeners: list[Endpoint],
    subject_id: str | None,
    type_: EventType,
    data: Mapping[str, Any],
    now: datetime,
) -> list[str]:
    event_id, account_id = new_id("msg"), listeners[0].account_id
    subject_id = subject_id or event_id
    last = select(func.max(events.c.sequence)).where(events.c.subject_id == subject_id)
    sequence = (connection.execute(last).scalar_one_or_none() or 0) + 1
    body = {"type": type_.value, "timestamp": _iso(now), "sequence": sequence, "data": data}
    connection.execute(
        events.insert().values(
            id=event_id,
            account_id=account_id,
            type=type_.value,
            subject_id=subject_id,
            sequence=sequence,
            body=json.dumps(body, ensure_ascii=True, separators=(",", ":")),
            created_at=now,
        )
    )
    ids = [new_id("del") for _ in listeners]
    connection.execute(
        deliveries.insert(),
        [
            {
                "id": id_,
                "endpoint_id": endpoint.id,
                "event_id": event_id,
                "account_id": account_id,
                "subject_id": subject_id,
                "sequence": sequence,
                "status": DeliveryStatus.PENDING.value,
                "attempts": 0,
                "due_at": now,
                "created_at": now,
            }
            for id_, endpoint in zip(ids, listeners, strict=True)
        ],
    )
    return ids


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# --- delivering ---

_IS_PENDING = deliveries.c.status == DeliveryStatus.PENDING.value
_earlier = deliveries.alias("earlier")
_IS_NEXT_OF_ITS_SUBJECT = ~exists(
    select(_earlier.c.id).where(
        _earlier.c.endpoint_id == deliveries.c.endpoint_id,
        _earlier.c.subject_id == deliveries.c.subject_id,
        _earlier.c.sequence < deliveries.c.sequence,
        _earlier.c.status == DeliveryStatus.PENDING.value,
    )
)


def _is_due(now: datetime) -> Any:
    is_free = or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now)
    return and_(_IS_PENDING, deliveries.c.due_at <= now, is_free)


def list_due(connection: Connection, now: datetime, *, limit_per_endpoint: int) -> list[str]:
    """Ids of what can be tried now, the longest due first. An endpoint has at most `limit_per_endpoint` under way at
    once, so that a slow one holds up nobody else; one with a long queue costs no more than one with a short.
    """
    has_due = exists(select(deliveries.c.id).where(deliveries.c.endpoint_id == endpoints.c.id, _is_due(now)))
    waiting = connection.execute(select(endpoints.c.id).where(endpoints.c.is_active.is_(True), has_due)).scalars()
    found: list[tuple[datetime, str]] = []
    for endpoint_id in waiting.all():
        mine = deliveries.c.endpoint_id == endpoint_id
        busy = select(func.count()).select_from(deliveries).where(mine, _IS_PENDING, deliveries.c.lease_until > now)
        room = limit_per_endpoint - connection.execute(busy).scalar_one()
        query = select(deliveries.c.due_at, deliveries.c.id).where(mine, _is_due(now), _IS_NEXT_OF_ITS_SUBJECT)
        rows = connection.execute(query.order_by(deliveries.c.due_at).limit(max(room, 0)))
        found += [(row.due_at, row.id) for row in rows]
    return [id_ for _, id_ in sorted(found)]


def lease(connection: Connection, delivery_ids: list[str], now: datetime, lease_until: datetime) -> list[Job]:
    """Lease what is still due, and count the try."""
    jobs = [_lease(connection, delivery_id, now, lease_until) for delivery_id in delivery_ids]
    return [job for job in jobs if job is not None]


def _lease(connection: Connection, delivery_id: str, now: datetime, lease_until: datetime) -> Job | None:
    """None if another process was faster."""
    lease = new_id("lease")
    taken = connection.execute(
        deliveries.update()
        .where(deliveries.c.id == delivery_id, _is_due(now), _IS_NEXT_OF_ITS_SUBJECT)
        .values(lease=lease, lease_until=lease_until, attempts=deliveries.c.attempts + 1, attempted_at=now)
    )
    if taken.rowcount != 1:
        return None
    row = connection.execute(_with_events().where(deliveries.c.id == delivery_id)).one()
    endpoint = connection.execute(select(endpoints).where(endpoints.c.id == row.endpoint_id)).one()
    return Job(_from_row(row), repository.from_row(endpoint), lease, row.body)


def finish(connection: Connection, job: Job, outcome: Outcome, now: datetime, due_at: datetime | None) -> None:
    """Note how a try went. `due_at`: when to try again if it failed; None: give up.

    An event that arrived is delivered, whoever holds its lease now; another outcome counts only for who holds it.
    """
    mine = and_(deliveries.c.id == job.delivery.id, _IS_PENDING)
    facts = {"answered_status": outcome.answered_status, "error": outcome.error, "lease": None, "lease_until": None}
    if outcome.is_delivered:
        values = {"status": DeliveryStatus.DELIVERED.value, "delivered_at": now}
    elif due_at is None or outcome.is_gone:
        values = {"status": DeliveryStatus.DEAD.value}
    else:
        values = {"due_at": due_at}
    if not outcome.is_delivered:
        mine = and_(mine, deliveries.c.lease == job.lease)
    changed = connection.execute(deliveries.update().where(mine).values(**facts, **values))
    if outcome.is_gone and changed.rowcount == 1:
        _give_up_on(connection, job.endpoint, now)


def _give_up_on(connection: Connection, endpoint: Endpoint, now: datetime) -> None:
    """The receiver wants no more: its endpoint is inactive, and what waits for it is dead."""
    current = repository.find_to_change(connection, endpoint.account_id, endpoint.id)
    if current is None or current.options.url != endpoint.options.url:
        return
    repository.disable(connection, current, GONE)
    audit.note(
        connection,
        audit.Origin(),
        audit.Action.WEBHOOK_DISABLED,
        thing(current),
        account_id=current.account_id,
        at=now,
        before={"active": True},
        after={"active": False, "reason": GONE},
    )
    connection.execute(
        deliveries.update()
        .where(deliveries.c.endpoint_id == endpoint.id, _IS_PENDING)
        .values(status=DeliveryStatus.DEAD.value, error=GONE, lease=None, lease_until=None)
    )


def release_leases(connection: Connection) -> None:
    """Every lease is of a process that is gone: only for the one server of a data folder, at its start."""
    connection.execute(
        deliveries.update()
        .where(_IS_PENDING, deliveries.c.lease_until.is_not(None))
        .values(lease=None, lease_until=None)
    )


def forget_old(connection: Connection, before: datetime) -> None:
    """Remove the events from before that moment, with their deliveries: they hold prompts, and are no archive."""
    old = select(events.c.id).where(events.c.created_at < before)
    connection.execute(delete(deliveries).where(deliveries.c.event_id.in_(old)))
    connection.execute(delete(events).where(events.c.created_at < before))


# --- looking and replaying ---


def find(connection: Connection, account_id: str, endpoint_id: str, delivery_id: str) -> Delivery | None:
    row = connection.execute(
        _with_events().where(
            deliveries.c.account_id == account_id,
            deliveries.c.endpoint_id == endpoint_id,
            deliveries.c.id == delivery_id,
        )
    ).first()
    return _from_row(row) if row else None


def list_newest(
    connection: Connection,
    account_id: str,
    endpoint_id: str,
    *,
    status: DeliveryStatus | None,
    after: str | None,
    limit: int,
) -> list[Delivery] | None:
    """At most `limit`, older than the delivery `after`; None if there is no such delivery."""
    query = _with_events().where(deliveries.c.account_id == account_id, deliveries.c.endpoint_id == endpoint_id)
    if status is not None:
        query = query.where(deliveries.c.status == status.value)
    if after is not None:
        start = find(connection, account_id, endpoint_id, after)
        if start is None:
            return None
        query = query.where(
            or_(
                deliveries.c.created_at < start.created_at,
                and_(deliveries.c.created_at == start.created_at, deliveries.c.id < start.id),
            )
        )
    rows = connection.execute(query.order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(limit))
    return [_from_row(row) for row in rows]


_COUNT_PENDING = select(func.count()).select_from(deliveries).where(text("status = 'pending'"))
"""In the words of the index of what is due, or SQLite would not use it."""


def count_pending(connection: Connection) -> int:
    """Deliveries of all accounts that are under way or will be tried."""
    return connection.execute(_COUNT_PENDING).scalar_one()


def replay(connection: Connection, account_id: str, endpoint_id: str, delivery_id: str, now: datetime) -> None:
    """Begin the tries anew, with the same id. One that is under way goes on."""
    connection.execute(
        deliveries.update()
        .where(
            deliveries.c.account_id == account_id,
            deliveries.c.endpoint_id == endpoint_id,
            deliveries.c.id == delivery_id,
            or_(deliveries.c.lease_until.is_(None), deliveries.c.lease_until <= now),
        )
        .values(
            status=DeliveryStatus.PENDING.value,
            attempts=0,
            due_at=now,
            delivered_at=None,
            answered_status=None,
            error=None,
            lease=None,
            lease_until=None,
        )
    )


def _with_events() -> Select[Any]:
    return select(deliveries, events.c.type, events.c.body).join(events, events.c.id == deliveries.c.event_id)


def _from_row(row: Row[Any]) -> Delivery:
    status = DeliveryStatus(row.status)
    return Delivery(
        id=row.id,
        endpoint_id=row.endpoint_id,
        event_id=row.event_id,
        type=EventType(row.type),
        subject_id=row.subject_id,
        sequence=row.sequence,
        status=status,
        attempts=row.attempts,
        created_at=row.created_at,
        due_at=row.due_at if status is DeliveryStatus.PENDING else None,
        attempted_at=row.attempted_at,
        delivered_at=row.delivered_at,
        answered_status=row.answered_status,
        error=row.error,
    )
