"""Two processes in one place at one moment: what SQLite's one writer keeps apart, row locks and unique keys must.

Each test stops one transaction before its commit, waits until another stands behind its lock, and lets go.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import structlog
from sqlalchemy import Connection, select, text

from held import SECONDS, Held
from pinxit import accounts as account_room
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.database.interface import Database
from pinxit.database.tables import accounts, api_keys, generations, holds, ledger_accounts
from pinxit.database.tables import webhook_deliveries as deliveries
from pinxit.database.tables import webhook_endpoints as endpoints
from pinxit.database.tables import webhook_events as events
from pinxit.errors import BudgetExceeded, Conflict, IdempotencyMismatch, InsufficientCredits
from pinxit.generations import leases, repository
from pinxit.generations.generation import Generation, Status
from pinxit.generations.leases import LEASE, Tenure
from pinxit.generations.repeat import Repeat
from pinxit.generations.repository import Attempt, Charge, Lease, LeaseLost
from pinxit.ids import new_id
from pinxit.keys.model import KeyOptions, Limits
from pinxit.keys.service import KeyService, local_caller
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.library import repository as pictures
from pinxit.webhooks import outbox
from pinxit.webhooks import repository as webhooks
from pinxit.webhooks.model import Endpoint, EndpointOptions, EventType
from postgres import Cluster

pytestmark = pytest.mark.system("postgres")

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY, OWNER = "key_1", "server_1"
ONCE = Repeat()


@pytest.fixture
def database_kind() -> str:
    return "postgres"


@pytest.fixture
async def one(make_database: Callable[[], Database]) -> Database:
    """One process's database, with an account and a key."""
    database = make_database()

    def fill(connection: Connection) -> None:
        account_room.ensure_default(connection, NOW)
        connection.execute(
            api_keys.insert().values(
                id=KEY,
                account_id=DEFAULT_ACCOUNT,
                name="",
                prefix="",
                last4="",
                secret_sha256="",
                scopes=[],
                strict=False,
                created_at=NOW,
            )
        )

    await database.write(fill)
    return database


@pytest.fixture
def two(one: Database, make_database: Callable[[], Database]) -> Database:
    """The same database, as another process has it."""
    return make_database()


@pytest.fixture
def behind(postgres_cluster: Cluster, database_url: str) -> Callable[..., Any]:
    """Runs a unit until it waits for the held one's lock, lets that go, and gives what both said."""

    async def run(one: Database, held: Held, two: Database, unit: Callable[[Connection], Any]) -> list[Any]:
        first = asyncio.create_task(one.write(held))
        await held.wait()
        second = asyncio.create_task(two.write(unit))
        await until_one_waits(postgres_cluster, database_url)
        held.go_on.set()
        return await asyncio.gather(first, second, return_exceptions=True)

    return run


async def until_one_waits(cluster: Cluster, database_url: str) -> None:
    """Until a transaction of this database stands behind another's lock."""
    name = database_url.partition("?")[0].rpartition("/")[2]
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    async with asyncio.timeout(SECONDS):
        while (await asyncio.to_thread(cluster.execute, query, name))[0][0] == 0:
            await asyncio.sleep(0.005)  # the server has no event for it


def planned(id_: str = "gen_1", *, fingerprint: str = "f", key: str | None = None) -> Generation:
    return Generation(
        id=id_,
        account_id=DEFAULT_ACCOUNT,
        api_key_id=key,
        request_id="req",
        status=Status.QUEUED,
        model="m",
        requested_model="m",
        prompt="p",
        parameters={},
        storage_keys=(),
        created_at=NOW,
        fingerprint=fingerprint,
    )


def opening(
    generation: Generation, repeat: Repeat = ONCE, *, micros: int = 10, budget: int | None = None, billed: bool = False
) -> Callable[[Connection], str]:
    """The unit that opens this order."""
    return partial(
        repository.open_,
        generation=generation,
        attempt=Attempt(1, "fake", (0,)),
        charge=Charge(micros, billed, {} if budget is None else {"total": budget}),
        repeat=repeat,
        lease=Lease(OWNER, NOW + LEASE),
    )


def settling(generation: Generation, record: Callable[[Connection, Generation], bool] = lambda *_: False) -> Any:
    """The unit that ends it well; whether an event was noted."""
    ended = replace(generation, status=Status.COMPLETED, cost_micros=10, finished_at=NOW)
    return partial(repository.settle, generation=ended, record=record, lease_owner=OWNER)


def failing(generation: Generation) -> Callable[[Connection], None]:
    ended = replace(generation, status=Status.FAILED, finished_at=NOW)
    return partial(repository.fail, generation=ended, record=lambda *_: False, lease_owner=OWNER)


async def column(database: Database, wanted: Any) -> list[Any]:
    return await database.read(lambda connection: list(connection.execute(select(wanted).order_by(wanted)).scalars()))


async def in_order(database: Database) -> bool:
    return await database.read(check) == []


# --- an order sent twice at once ------------------------------------------------------------------------------------


async def test_an_idempotency_key_sent_twice_at_once_begins_one_order(one, two, behind) -> None:
    repeat = Repeat(key="k")
    said = await behind(one, Held(opening(planned("gen_1"), repeat)), two, opening(planned("gen_2"), repeat))
    assert said == ["gen_1", "gen_1"]
    assert await column(one, generations.c.id) == ["gen_1"]
    assert await column(one, holds.c.generation_id) == ["gen_1"]
    assert await in_order(one)


async def test_an_idempotency_key_of_another_order_sent_at_once_is_refused(one, two, behind) -> None:
    repeat = Repeat(key="k")
    other = opening(planned("gen_2", fingerprint="other"), repeat)
    said = await behind(one, Held(opening(planned("gen_1"), repeat)), two, other)
    assert said[0] == "gen_1"
    assert isinstance(said[1], IdempotencyMismatch)
    assert await column(one, generations.c.id) == ["gen_1"]


async def test_an_idempotency_key_whose_first_order_was_undone_is_free(one, two, behind) -> None:
    def refused(connection: Connection) -> None:
        opening(planned("gen_1"), Repeat(key="k"))(connection)

    held = Held(refused)

    def refuse(connection: Connection) -> None:
        held(connection)
        raise InsufficientCredits

    first = asyncio.create_task(one.write(refuse))
    await held.wait()
    second = asyncio.create_task(two.write(opening(planned("gen_2"), Repeat(key="k"))))
    held.go_on.set()
    said = await asyncio.gather(first, second, return_exceptions=True)
    assert isinstance(said[0], InsufficientCredits)
    assert said[1] == "gen_2"
    assert await column(one, generations.c.id) == ["gen_2"]


async def test_an_id_that_two_clients_choose_at_once_is_the_first_one_s(one, two, behind) -> None:
    said = await behind(one, Held(opening(planned("gen_1"))), two, opening(planned("gen_1")))
    assert said[0] == "gen_1"
    assert isinstance(said[1], Conflict)


# --- a retry without a key ------------------------------------------------------------------------------------------


async def leave(database: Database, *ids: str) -> None:
    for number, id_ in enumerate(ids):
        await database.write(opening(planned(id_, key=KEY)))
        left_at = NOW + timedelta(seconds=number)
        await database.write(partial(repository.abandon, generation_id=id_, now=left_at))


def adopting(id_: str) -> Callable[[Connection], str]:
    return opening(planned(id_, key=KEY), Repeat(is_retry=True))


async def test_of_two_retries_at_once_one_adopts(one, two, behind) -> None:
    await leave(one, "gen_1")
    assert await behind(one, Held(adopting("gen_a")), two, adopting("gen_b")) == ["gen_1", "gen_b"]


async def test_of_two_retries_at_once_each_adopts_another_order(one, two, behind) -> None:
    await leave(one, "gen_1", "gen_2")
    assert await behind(one, Held(adopting("gen_a")), two, adopting("gen_b")) == ["gen_1", "gen_2"]
    assert await column(one, generations.c.id) == ["gen_1", "gen_2"]


async def test_a_retry_waits_for_an_order_that_is_just_being_settled(one, two, behind) -> None:
    """To pass it by because its row is locked would be to paint it twice."""
    await leave(one, "gen_1")
    assert await behind(one, Held(settling(planned("gen_1", key=KEY))), two, adopting("gen_b")) == [False, "gen_1"]


async def test_a_retry_does_not_adopt_an_order_that_is_just_failing(one, two, behind) -> None:
    await leave(one, "gen_1")
    held = Held(failing(planned("gen_1", key=KEY)))
    assert await behind(one, held, two, adopting("gen_b")) == [False, "gen_b"]
    assert await in_order(one)


async def test_an_order_is_ended_once(one, two, behind) -> None:
    await one.write(opening(planned("gen_1")))
    said = await behind(one, Held(settling(planned("gen_1"))), two, failing(planned("gen_1")))
    assert said[0] is False
    assert isinstance(said[1], LeaseLost)
    assert await in_order(one)


# --- an order whose process is gone ---------------------------------------------------------------------------------


def taking(owner: str, limit: int = 10) -> Callable[[Connection], list[str]]:
    """The unit that takes over what nobody paints any more; the ids of what it took."""

    def unit(connection: Connection) -> list[str]:
        late = NOW + LEASE * 2
        taken = leases.take_over(connection, Tenure(owner), late, except_for=(), limit=limit)
        return [order.generation.id for order in taken]

    return unit


async def test_of_two_processes_each_takes_over_what_the_other_has_not(one, two) -> None:
    for number in range(4):
        await one.write(opening(planned(f"gen_{number}")))
    held = Held(taking("server_2", limit=2))
    first = asyncio.create_task(one.write(held))
    await held.wait()
    second = await two.write(taking("server_3"))
    held.go_on.set()
    assert (await first, second) == (["gen_0", "gen_1"], ["gen_2", "gen_3"])


async def test_who_has_lost_an_order_while_it_was_settling_it_does_not_charge_for_it(one, two, behind) -> None:
    await one.write(opening(planned("gen_1")))
    said = await behind(one, Held(taking("server_2")), two, settling(planned("gen_1")))
    assert said[0] == ["gen_1"]
    assert isinstance(said[1], LeaseLost)
    assert await column(one, holds.c.status) == ["held"]
    assert await in_order(one)


async def test_an_order_that_is_just_being_settled_is_not_taken_over(one, two) -> None:
    await one.write(opening(planned("gen_1")))
    held = Held(settling(planned("gen_1")))
    first = asyncio.create_task(one.write(held))
    await held.wait()
    assert await two.write(taking("server_2")) == []
    held.go_on.set()
    await first
    assert await two.write(taking("server_2")) == []


# --- money ----------------------------------------------------------------------------------------------------------


async def test_the_first_two_orders_of_an_account_may_come_at_once(one, two, behind) -> None:
    said = await behind(one, Held(opening(planned("gen_1"))), two, opening(planned("gen_2")))
    assert said == ["gen_1", "gen_2"]
    assert await column(one, ledger_accounts.c.held_micros) == [20]
    assert await in_order(one)


async def test_orders_that_cost_nothing_do_not_wait_for_each_other(one, two) -> None:
    await one.write(opening(planned("gen_1"), micros=0))
    held = Held(opening(planned("gen_2"), micros=0))
    first = asyncio.create_task(one.write(held))
    await held.wait()
    async with asyncio.timeout(SECONDS):
        assert await two.write(opening(planned("gen_3"), micros=0)) == "gen_3"
    held.go_on.set()
    await first
    assert await in_order(one)


async def test_the_last_credits_are_held_once(one, two, behind) -> None:
    await one.write(partial(ledger.top_up, account_id=DEFAULT_ACCOUNT, micros=10, reference="r", now=NOW))
    said = await behind(one, Held(opening(planned("gen_1"), billed=True)), two, opening(planned("gen_2"), billed=True))
    assert said[0] == "gen_1"
    assert isinstance(said[1], InsufficientCredits)
    assert await in_order(one)


async def test_the_last_of_a_budget_is_held_once(one, two, behind) -> None:
    orders = [opening(planned(id_, key=KEY), budget=10) for id_ in ("gen_1", "gen_2")]
    said = await behind(one, Held(orders[0]), two, orders[1])
    assert said[0] == "gen_1"
    assert isinstance(said[1], BudgetExceeded)
    assert await in_order(one)


async def test_a_payment_that_comes_twice_at_once_counts_once(one, two, behind) -> None:
    paying = partial(ledger.top_up, account_id=DEFAULT_ACCOUNT, micros=10, reference="r", now=NOW)
    said = await behind(one, Held(paying), two, paying)
    assert said[0] is None
    assert isinstance(said[1], Conflict)
    assert await one.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT)) == (10, 0)


async def test_orders_of_all_kinds_at_once_never_stop_each_other(one, two) -> None:
    """Money comes in, is held, spent and given back, by two processes: nobody waits in a circle, nothing is lost."""
    pay = partial(ledger.top_up, account_id=DEFAULT_ACCOUNT, micros=1000, now=NOW)
    await one.write(partial(pay, reference="first"))

    async def order(database: Database, number: int) -> None:
        generation = planned(f"gen_{number}", key=KEY)
        await database.write(opening(generation, billed=True))
        if number % 3:
            await database.write(settling(generation))
        else:
            await database.write(failing(generation))

    with structlog.testing.capture_logs() as logged:
        await asyncio.gather(
            *(order((one, two)[number % 2], number) for number in range(60)),
            *((one, two)[number % 2].write(partial(pay, reference=str(number))) for number in range(30)),
        )
    assert not [entry for entry in logged if "deadlock" in str(entry)]
    assert await in_order(one)
    assert await one.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT)) == (31_000 - 40 * 10, 0)


async def test_of_two_hundred_orders_of_two_processes_on_a_balance_for_seven_seven_are_taken(one, two) -> None:
    await one.write(partial(ledger.top_up, account_id=DEFAULT_ACCOUNT, micros=70, reference="r", now=NOW))
    said = await asyncio.gather(
        *((one, two)[number % 2].write(opening(planned(f"gen_{number}"), billed=True)) for number in range(200)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, str) for each in said) == 7
    assert sum(isinstance(each, InsufficientCredits) for each in said) == 193
    assert await in_order(one)


# --- accounts, keys, pictures ---------------------------------------------------------------------------------------


async def test_the_default_account_is_made_once(make_database, behind) -> None:
    one, two = make_database(), make_database()
    ensure = partial(account_room.ensure_default, now=NOW)
    assert await behind(one, Held(ensure), two, ensure) == [None, None]
    assert await column(one, accounts.c.id) == [DEFAULT_ACCOUNT]


async def test_of_two_changes_of_a_key_neither_brings_back_what_the_other_took_away(
    one, two, postgres_cluster, database_url
) -> None:
    operator, keys = local_caller(DEFAULT_ACCOUNT), KeyService(one, now=lambda: NOW)
    key, _ = await keys.create(operator, KeyOptions(name="before"))
    held = Held()

    def limit(options: KeyOptions) -> KeyOptions:
        held(None)
        return replace(options, limits=Limits(concurrency=1))

    first = asyncio.create_task(keys.change(operator, key.id, limit))
    await held.wait()
    other = KeyService(two, now=lambda: NOW)
    second = asyncio.create_task(other.change(operator, key.id, lambda options: replace(options, name="after")))
    await until_one_waits(postgres_cluster, database_url)
    held.go_on.set()
    await asyncio.gather(first, second)
    options = (await keys.get(operator, key.id)).options
    assert (options.name, options.limits.concurrency) == ("after", 1)


async def test_a_key_may_be_changed_while_it_orders(one, two) -> None:
    """Its row is locked for changes only: an order that names it does not wait."""
    held = Held(lambda connection: connection.execute(select(api_keys.c.id).with_for_update(key_share=True)).all())
    changing = asyncio.create_task(one.write(held))
    await held.wait()
    async with asyncio.timeout(SECONDS):
        assert await two.write(opening(planned("gen_1", key=KEY))) == "gen_1"
    held.go_on.set()
    await changing


async def test_a_picture_is_deleted_once(one, two, behind) -> None:
    await one.write(opening(planned("gen_1")))
    statement = text(
        "INSERT INTO images (id, generation_id, account_id, position, storage_key, encoding, width, height, size_bytes,"
        " sha256, seed, seconds, created_at)"
        f" VALUES ('img', 'gen_1', '{DEFAULT_ACCOUNT}', 0, 's', 'png', 1, 1, 1, '', 0, 0, 0)"
    )
    await one.write(lambda connection: connection.execute(statement).rowcount)
    delete = partial(pictures.mark_deleted, account_id=DEFAULT_ACCOUNT, image_id="img", now=NOW)
    assert await behind(one, Held(delete), two, delete) == ["s", None]


# --- webhooks -------------------------------------------------------------------------------------------------------


def endpoint(id_: str = "wh_1") -> Endpoint:
    return Endpoint(id_, DEFAULT_ACCOUNT, EndpointOptions("https://hooks.example/"), "salt", "check", NOW)


def noting(subject: str = "gen_1") -> Callable[[Connection], None]:
    return partial(
        outbox.append,
        account_id=DEFAULT_ACCOUNT,
        subject_id=subject,
        type_=EventType.COMPLETED,
        data=dict,
        now=NOW,
    )


async def test_an_endpoint_that_is_deleted_while_an_order_settles_does_not_keep_it_from_it(one, two, behind) -> None:
    await one.write(partial(webhooks.insert, endpoint=endpoint(), most=20))
    await one.write(opening(planned("gen_1")))
    deleting = Held(partial(webhooks.delete, account_id=DEFAULT_ACCOUNT, endpoint_id="wh_1"))
    record = settling(planned("gen_1"), lambda connection, _: noting()(connection))
    assert await behind(one, deleting, two, record) == [True, False]
    assert await column(one, deliveries.c.id) == []
    assert await in_order(one)


async def test_an_endpoint_is_deleted_with_what_an_order_just_left_for_it(one, two, behind) -> None:
    await one.write(partial(webhooks.insert, endpoint=endpoint(), most=20))
    await one.write(opening(planned("gen_1")))
    record = Held(settling(planned("gen_1"), lambda connection, _: noting()(connection)))
    deleting = partial(webhooks.delete, account_id=DEFAULT_ACCOUNT, endpoint_id="wh_1")
    assert await behind(one, record, two, deleting) == [True, True]
    assert await column(one, deliveries.c.id) == await column(one, endpoints.c.id) == []


async def test_events_of_one_subject_have_numbers_of_their_own(one, two, behind) -> None:
    await one.write(partial(webhooks.insert, endpoint=endpoint(), most=20))
    assert await behind(one, Held(noting()), two, noting()) == [True, True]
    assert await column(one, events.c.sequence) == [1, 2]


async def test_a_delivery_is_tried_by_one_process(one, two, behind) -> None:
    await one.write(partial(webhooks.insert, endpoint=endpoint(), most=20))
    await one.write(noting())
    due = await one.read(lambda connection: outbox.list_due(connection, NOW, limit_per_endpoint=4))
    leasing = partial(outbox.lease, delivery_ids=due, now=NOW, lease_until=NOW + timedelta(minutes=1))
    first, second = await behind(one, Held(leasing), two, leasing)
    assert ([job.delivery.id for job in first], second) == (due, [])
    assert await column(one, deliveries.c.attempts) == [1]


async def test_an_account_has_no_more_endpoints_than_it_may_have(one, two, behind) -> None:
    inserting = [partial(webhooks.insert, endpoint=endpoint(new_id("wh")), most=1) for _ in range(2)]
    assert await behind(one, Held(inserting[0]), two, inserting[1]) == [True, False]


async def test_of_two_changes_of_an_endpoint_neither_is_lost(one, two, behind) -> None:
    await one.write(partial(webhooks.insert, endpoint=endpoint(), most=20))

    def change(connection: Connection, **options: Any) -> None:
        found = webhooks.find_to_change(connection, DEFAULT_ACCOUNT, "wh_1")
        assert found is not None
        webhooks.update(connection, replace(found, options=replace(found.options, **options)))

    said = await behind(one, Held(partial(change, description="mine")), two, partial(change, is_active=False))
    assert said == [None, None]
    found = await one.read(lambda connection: webhooks.find(connection, DEFAULT_ACCOUNT, "wh_1"))
    assert (found.options.description, found.options.is_active) == ("mine", False)
