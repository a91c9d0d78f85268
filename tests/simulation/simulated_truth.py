"""What must be true: at any moment of a run, and when all is over."""

import hashlib
import json
from collections import Counter, defaultdict
from typing import Any

from simulated_customers import Customers, Try, Wish
from simulated_server import MICROS, MICROS_WIDE, WIDE, Server
from simulated_world import World
from sqlalchemy import Connection, Row, select

from pinxit.database.tables import (
    attempts,
    generations,
    holds,
    idempotency_keys,
    images,
    transfers,
    webhook_deliveries,
    webhook_events,
)
from pinxit.generations.painting import MAX_ATTEMPTS
from pinxit.ledger.invariants import check as check_ledger

OPEN = ("queued", "in_progress")
LOST_BY_WHO_IS_WELL = "lost by who is well"
COMPLETED = "completed"


def wrong_now(world: World) -> list[str]:
    """True in every committed state: the books, and that no row names a file that is not there."""
    problems = world.look(check_ledger)
    for image in world.look(_kept_images):
        data = world.files.get(image.storage_key)
        if data is None or image.storage_key in world.unsynced:
            problems.append(f"I5: {image.id} has a row and no durable file")
        elif (len(data), hashlib.sha256(data).hexdigest()) != (image.size_bytes, image.sha256):
            problems.append(f"I5: {image.id} has other bytes than its row says")
    return problems


def wrong_at_the_end(world: World, customers: Customers, servers: list[Server], *, has_webhook: set[str]) -> list[str]:
    """True when nothing goes wrong any more and everything has ended."""
    problems = wrong_now(world) + customers.surprises
    orders = world.look(lambda connection: list(connection.execute(select(generations))))
    problems += [f"order {order.id} is still {order.status}" for order in orders if order.status in OPEN]
    problems += _wrong_prices(world, orders)
    problems += _wrong_pictures(world, customers)
    problems += _wrong_keys(world, orders)
    problems += _wrong_paintings(world)
    problems += _wrong_jobs(world, orders)
    problems += _wrong_payments(world, customers)
    problems += _wrong_webhooks(world, orders, has_webhook)
    problems += _wrong_attempts(world, orders)
    by_prompt: dict[str, list[Row[Any]]] = defaultdict(list)
    for order in orders:
        by_prompt[order.prompt].append(order)
    alike: dict[str, list[Wish]] = defaultdict(list)
    for wish in customers.wishes:
        alike[wish.prompt].append(wish)
    for prompt, wishes in alike.items():
        problems += _wrong_wishes(world, wishes, by_prompt[prompt])
    for server in servers:
        problems += server.leaks()
    return problems


def wrong_after_a_restart(world: World) -> list[str]:
    """I6: no file without a row, not even half of one."""
    return wrong_now(world) + [f"I6: the file {key} has no row" for key in _orphans(world)]


def _orphans(world: World) -> list[str]:
    named = {image.storage_key for image in world.look(_kept_images)}
    return sorted((set(world.files) | world.parts) - named)


def is_quiet(world: World) -> bool:
    """Whether every order has ended, what it left is tidied up, and everybody was told."""
    return world.look(_is_quiet) and not _orphans(world)


def _is_quiet(connection: Connection) -> bool:
    untidy = [
        select(generations.c.id).where(generations.c.status.in_(OPEN)),
        select(images.c.id).where(images.c.deleted_at.is_not(None), images.c.purged_at.is_(None)),
        select(webhook_deliveries.c.id).where(webhook_deliveries.c.status == "pending"),
    ]
    return all(connection.execute(query.limit(1)).first() is None for query in untidy)


def _kept_images(connection: Connection) -> list[Row[Any]]:
    return list(connection.execute(select(images).where(images.c.deleted_at.is_(None))))


def _wrong_prices(world: World, orders: list[Row[Any]]) -> list[str]:
    """I4: what was posted is the price of one picture times the pictures."""
    rows = {row.generation_id: row for row in world.look(lambda connection: connection.execute(select(holds)).all())}
    pictures = Counter(
        world.look(lambda connection: connection.execute(select(images.c.generation_id)).scalars().all())
    )
    problems = []
    for order in orders:
        each = MICROS_WIDE if order.parameters["size"] == str(WIDE) else MICROS
        posted = rows[order.id].posted_micros or 0
        if posted != each * (order.image_count if order.status == COMPLETED else 0):
            problems.append(f"I4: {order.id} cost {posted} for {order.image_count} pictures")
        if order.parameters["store"] and order.status == COMPLETED and pictures[order.id] != order.image_count:
            problems.append(f"I4: {order.id} has {pictures[order.id]} rows for {order.image_count} pictures")
        if order.status == COMPLETED and order.image_count == 0:
            problems.append(f"I4: {order.id} is completed without a picture")
    return problems


def _wrong_pictures(world: World, customers: Customers) -> list[str]:
    """Every picture that a client was told of is there as it was told, unless it was deleted since."""
    kept = {image.id: image for image in world.look(_kept_images)}
    problems = [f"{image_id} was deleted, and is there" for image_id in customers.deleted if image_id in kept]
    for wish in customers.wishes:
        for answer in wish.answers:
            for image in answer.images:
                if not image.storage_key or image.id in customers.maybe_deleted:
                    continue
                if image.id not in kept:
                    problems.append(f"{image.id} of {wish.prompt} was promised, and is lost")
                elif kept[image.id].sha256 != image.sha256:
                    problems.append(f"{image.id} of {wish.prompt} is another picture than was promised")
    return problems


def _wrong_keys(world: World, orders: list[Row[Any]]) -> list[str]:
    """I9: one order for each key; and an order for which no work was done keeps no key."""
    rows = world.look(lambda connection: connection.execute(select(idempotency_keys)).all())
    counts = Counter(row.generation_id for row in rows)
    free = {order.id for order in orders if order.error_class in ("BackendUnavailable", "StorageUnavailable")}
    problems = [f"I9: {order} has {count} keys" for order, count in counts.items() if count > 1]
    return problems + [f"{order} was not begun, and its key is taken" for order in counts if order in free]


def _wrong_payments(world: World, customers: Customers) -> list[str]:
    query = select(transfers).where(transfers.c.kind == "top_up")
    made = {row.reference: row for row in world.look(lambda connection: connection.execute(query).all())}
    problems = [
        f"{reference} was acknowledged, and is not there" for reference in customers.paid if reference not in made
    ]
    for reference, (account, micros) in customers.paid.items():
        row = made.get(reference)
        if row is not None and (row.credit_id, row.amount_micros) != (f"credits:{account}", micros):
            problems.append(f"{reference} is another than was paid")
    return problems


def _wrong_webhooks(world: World, orders: list[Row[Any]], has_webhook: set[str]) -> list[str]:
    """Exactly one event for each order that has ended, taken by the receiver at least once."""
    events = world.look(lambda connection: connection.execute(select(webhook_events)).all())
    told = Counter(event.subject_id for event in events)
    taken = {id_ for id_, _ in world.received}
    problems = [f"webhook {event.id} was never delivered" for event in events if event.id not in taken]
    problems += [
        f"{order.id} has {told[order.id]} events"
        for order in orders
        if told[order.id] != (1 if order.account_id in has_webhook else 0)
    ]
    ends = {order.id: order.status for order in orders}
    for event in events:
        status = json.loads(event.body)["data"]["status"]
        if status != ends.get(event.subject_id):
            problems.append(f"webhook {event.id} tells of {status}, the order is {ends.get(event.subject_id)}")
    return problems


def _wrong_attempts(world: World, orders: list[Row[Any]]) -> list[str]:
    rows = world.look(lambda connection: connection.execute(select(attempts)).all())
    return [f"attempt {row.number} of {row.generation_id} is still started" for row in rows if row.status == "started"]


def _wrong_wishes(world: World, wishes: list[Wish], orders: list[Row[Any]]) -> list[str]:
    """Of wishes that are alike (most are alone), each is charged at most once; exactly once if its client was told that
    it has its pictures; not at all if it was told that every try came to nothing.
    """
    there, prompt = {order.id: order.status for order in orders}, wishes[0].prompt
    charged = [id_ for id_, status in there.items() if status == COMPLETED]
    told = [{answer.id for answer in wish.answers} for wish in wishes]
    problems = []
    for wish in wishes:
        problems += [f"{prompt} was accepted as {id_}, which is not there" for id_ in wish.accepted if id_ not in there]
        problems += [
            f"{prompt}: {id_} was shown as {status.value}, and is {there.get(id_)}"
            for id_, status in wish.finals.items()
            if there.get(id_) != status.value
        ]
    problems += [f"{prompt} was told of {id_}, which is not charged" for ids in told for id_ in ids - set(charged)]
    if any(len(ids) > 1 for ids in told):
        problems.append(f"{prompt} was answered with several orders: {told}")
    excuses = sum(_excuses(world, wish, orders) for wish in wishes)
    if len(charged) > len(wishes) + excuses:
        problems.append(f"{prompt} was charged {len(charged)} times")
    if len(wishes) > 1 and not excuses and len(set().union(*told)) < sum(map(len, told)):
        problems.append(f"{prompt} was wanted by two, who got one order")
    never_heard = any(wish.accepted or any(_is_in_doubt(world, one) for one in wish.tries) for wish in wishes)
    if len(charged) > len(set().union(*told)) and not never_heard:
        problems.append(f"{prompt} was told {[one.refusal for wish in wishes for one in wish.tries]}, and was charged")
    return problems


def _excuses(world: World, wish: Wish, orders: list[Row[Any]]) -> int:
    """How many tries could not be known to be the same order: there are none with a key."""
    if wish.key is not None:
        return 0
    unknown = sum(one.is_unknown or (_is_in_doubt(world, one) and not one.was_lost) for one in wish.tries)
    marks = ("abandonment_not_kept", "generation_resumed")
    return unknown + sum((mark, order.id) in world.marks for mark in marks for order in orders)


def _is_in_doubt(world: World, one: Try) -> bool:
    """Whether its client cannot know how it ended: it never heard, or it was begun in doubt in a process that died."""
    return one.was_lost or (one.refusal == "CommitUnknown" and not one.server.is_up)


def _wrong_jobs(world: World, orders: list[Row[Any]]) -> list[str]:
    """No job is ordered twice, whoever died; and an order whose jobs are written down is not one in doubt, if anybody
    could have its pictures.
    """
    problems = [
        f"{count} jobs were ordered for {prompt} with the seed {seed}"
        for (prompt, seed), count in world.jobs.items()
        if count > 1
    ]
    if not world.had_sick_database:
        in_doubt = {order.id for order in orders if order.status == "unknown" and order.parameters["store"]}
        tries = world.look(lambda connection: connection.execute(select(attempts)).all())
        problems += [
            f"{row.generation_id} is in doubt, and its jobs are known"
            for row in tries
            if row.jobs and row.generation_id in in_doubt
        ]
    return problems


def _wrong_paintings(world: World) -> list[str]:
    """No order kills painters, or servers, for ever; and nobody takes over from who lives and is well."""
    problems = [
        f"{prompt} with the seed {seed} was painted {count} times"
        for (prompt, seed), count in world.painted.items()
        if count > MAX_ATTEMPTS
    ]
    if not world.had_sick_database:
        stolen = sorted(id_ for name, id_ in world.marks if name == LOST_BY_WHO_IS_WELL)
        problems += [f"{id_} was taken over from a process that is well" for id_ in stolen]
    return sorted(problems)
