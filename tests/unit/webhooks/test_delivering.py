"""Delivering: at least once, signed, in order, for a day; by an injected clock, to real sockets."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from sqlalchemy import Connection, update
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pinxit import accounts
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.database.interface import Database
from pinxit.database.tables import webhook_endpoints
from pinxit.errors import InvalidValue, StorageUnavailable
from pinxit.network.http import GuardedHttp
from pinxit.webhooks import outbox
from pinxit.webhooks.deliverer import (
    LEASE,
    MAX_UNDER_WAY_PER_ENDPOINT,
    RETENTION,
    RETRY_SECONDS,
    Deliverer,
    pause_after,
)
from pinxit.webhooks.model import Delivery, DeliveryStatus, Endpoint, EndpointOptions, EventType
from pinxit.webhooks.secret import SecretLost, WebhookSecrets
from pinxit.webhooks.service import OVERLAP, WebhookService
from receiver import MakeReceiver, Receiver

pytestmark = pytest.mark.both_databases

LOOPBACK = (ip_network("127.0.0.0/8"),)


class Clock:
    """Says what a test sets."""

    def __init__(self) -> None:
        self.moment = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.moment

    def advance(self, by: timedelta | float) -> None:
        self.moment += by if isinstance(by, timedelta) else timedelta(seconds=by)


@dataclass
class Post:
    """The room with its rows, and what tests do with it."""

    database: Database
    clock: Clock
    secrets: WebhookSecrets
    http: GuardedHttp
    deliverer: Deliverer
    service: WebhookService
    deliverers: list[Deliverer] = field(default_factory=list)

    def another(self, database: Database | None = None, secrets: WebhookSecrets | None = None) -> Deliverer:
        """The deliverer of another process."""
        made = Deliverer(
            database or self.database, self.http, secrets or self.secrets, now=self.clock, chance=lambda: 0.5
        )
        self.deliverers.append(made)
        return made

    async def add(self, receiver: Receiver, **options: Any) -> tuple[Endpoint, str]:
        return await self.service.create(DEFAULT_ACCOUNT, EndpointOptions(receiver.url, **options))

    async def tell(
        self, subject: str = "gen_1", type_: EventType = EventType.COMPLETED, account: str = DEFAULT_ACCOUNT
    ) -> None:
        now = self.clock()

        def append(connection: Connection) -> None:
            outbox.append(
                connection, account_id=account, subject_id=subject, type_=type_, data=lambda: {"id": subject}, now=now
            )

        await self.database.write(append)

    async def deliveries(self, endpoint: Endpoint) -> list[Delivery]:
        """The oldest first."""
        found = await self.service.list_deliveries(DEFAULT_ACCOUNT, endpoint.id, status=None, after=None, limit=5000)
        return list(reversed(found))

    async def retry(self) -> None:
        """Let the next pause pass, whichever it is, and deliver."""
        self.clock.advance(RETRY_SECONDS[-1] * 1.1)
        await self.deliverer.deliver_due()


@pytest.fixture
async def post(make_database: Callable[[], Database]) -> AsyncIterator[Post]:
    database = make_database()
    clock = Clock()
    await database.write(lambda connection: accounts.ensure_default(connection, clock()))
    secrets = WebhookSecrets(b"s" * 32)
    http = GuardedHttp(allowed_networks=LOOPBACK, total_seconds=2.0)
    deliverer = Deliverer(database, http, secrets, now=clock, chance=lambda: 0.5)
    service = WebhookService(database, http, secrets, now=clock, wake=deliverer.wake)
    post = Post(database, clock, secrets, http, deliverer, service, [deliverer])
    yield post
    for made in post.deliverers:
        await made.close(0)


async def test_an_event_arrives_signed(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    endpoint, secret = await post.add(receiver)
    await post.tell()
    await post.deliverer.deliver_due()
    (message,) = receiver.messages
    content = message.verify(secret)
    assert content == {
        "type": "generation.completed",
        "timestamp": post.clock().isoformat().replace("+00:00", "Z"),
        "sequence": 1,
        "data": {"id": "gen_1"},
    }
    assert message.headers["content-type"] == "application/json"
    assert message.headers["webhook-timestamp"] == str(int(post.clock().timestamp()))
    (delivery,) = await post.deliveries(endpoint)
    assert (delivery.status, delivery.attempts, delivery.answered_status) == (DeliveryStatus.DELIVERED, 1, 200)
    assert (delivery.event_id, delivery.delivered_at, delivery.due_at) == (message.id, post.clock(), None)


async def test_the_signature_is_the_one_that_the_standard_spells_out(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    _, secret = await post.add(receiver)
    await post.tell()
    await post.deliverer.deliver_due()
    (message,) = receiver.messages
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message.id}.{message.headers['webhook-timestamp']}.".encode() + message.body
    expected = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert message.headers["webhook-signature"] == f"v1,{expected}"
    assert 24 <= len(key) <= 64


@pytest.mark.parametrize("part", ["body", "webhook-id", "webhook-timestamp", "webhook-signature", "secret", "old"])
async def test_what_is_forged_or_old_is_refused(part: str, post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    _, secret = await post.add(receiver)
    if part == "old":
        post.clock.advance(-301)
    await post.tell()
    await post.deliverer.deliver_due()
    (message,) = receiver.messages
    if part == "body":
        message.body = message.body.replace(b"gen_1", b"gen_2")
    elif part == "webhook-timestamp":
        message.headers[part] = str(int(message.headers[part]) + 1)
    elif part == "webhook-id":
        message.headers[part] = "msg_" + "0" * 32
    elif part == "webhook-signature":
        message.headers[part] = "v1," + base64.b64encode(b"x" * 32).decode()
    elif part == "secret":
        secret = "whsec_" + base64.b64encode(b"x" * 32).decode()
    with pytest.raises(WebhookVerificationError):
        message.verify(secret)


@pytest.mark.parametrize("bad", [500, 503, 404, 429, 301, "abort", "redirect"])
async def test_what_fails_comes_again_with_the_same_id(bad: int | str, post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(bad, bad, bad, 204)
    endpoint, secret = await post.add(receiver)
    await post.tell()
    await post.deliverer.deliver_due()
    (delivery,) = await post.deliveries(endpoint)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.PENDING, 1)
    assert delivery.due_at == post.clock() + timedelta(seconds=5)
    assert delivery.error
    for _ in range(3):
        await post.retry()
    assert len(receiver.messages) == 4
    assert len(set(receiver.ids)) == 1
    assert len({message.body for message in receiver.messages}) == 1
    assert len({message.headers["webhook-timestamp"] for message in receiver.messages}) == 4
    receiver.messages[0].verify(secret)
    (delivery,) = await post.deliveries(endpoint)
    assert (delivery.status, delivery.attempts, delivery.error) == (DeliveryStatus.DELIVERED, 4, None)


async def test_who_hangs_is_given_up_and_asked_again(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver("hang", 200)
    endpoint, _ = await post.add(receiver)
    post.http._total_seconds = 0.1
    await post.tell()
    await post.deliverer.deliver_due()
    (delivery,) = await post.deliveries(endpoint)
    assert (delivery.status, delivery.error) == (DeliveryStatus.PENDING, "There was no answer in time.")
    await post.retry()
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


async def test_nothing_is_sent_before_the_pause_is_over(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(500)
    await post.add(receiver)
    await post.tell()
    await post.deliverer.deliver_due()
    for tries, seconds in enumerate(RETRY_SECONDS, start=1):
        post.clock.advance(seconds - 1)
        await post.deliverer.deliver_due()
        assert len(receiver.messages) == tries
        post.clock.advance(1)
        await post.deliverer.deliver_due()
        assert len(receiver.messages) == tries + 1


async def test_after_a_day_it_is_dead_and_can_be_replayed(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(*[500] * 11, 200)
    endpoint, _ = await post.add(receiver)
    await post.tell()
    for _ in range(15):
        await post.retry()
    assert len(receiver.messages) == 11
    (dead,) = await post.service.list_deliveries(
        DEFAULT_ACCOUNT, endpoint.id, status=DeliveryStatus.DEAD, after=None, limit=10
    )
    assert (dead.attempts, dead.answered_status, dead.error) == (11, 500, "The receiver answered 500.")
    assert dead.due_at is None
    again = await post.service.replay(DEFAULT_ACCOUNT, endpoint.id, dead.id)
    assert (again.status, again.attempts, again.error) == (DeliveryStatus.PENDING, 0, None)
    await post.deliverer.deliver_due()
    assert len(receiver.messages) == 12
    assert len(set(receiver.ids)) == 1
    assert (await post.deliveries(endpoint))[0].status is DeliveryStatus.DELIVERED


def test_the_pauses_are_a_day_give_or_take_a_tenth() -> None:
    assert 23 * 3600 < sum(RETRY_SECONDS) <= 24 * 3600
    for attempts, seconds in enumerate(RETRY_SECONDS, start=1):
        assert pause_after(attempts, 0.0) == timedelta(seconds=seconds * 0.9)
        assert pause_after(attempts, 0.5) == timedelta(seconds=seconds)
        assert pause_after(attempts, 1.0) == timedelta(seconds=seconds * 1.1)
    assert pause_after(11, 0.5) is None
    assert pause_after(12, 0.5) is None


async def test_410_ends_the_endpoint(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(410)
    endpoint, _ = await post.add(receiver)
    for subject in ("gen_1", "gen_2"):
        await post.tell(subject)
    await post.tell("gen_1", EventType.FAILED)
    await post.deliverer.deliver_due()
    found = await post.service.get(DEFAULT_ACCOUNT, endpoint.id)
    assert (found.options.is_active, found.disabled_reason) == (False, "The receiver answered 410 Gone.")
    deliveries = await post.deliveries(endpoint)
    assert {delivery.status for delivery in deliveries} == {DeliveryStatus.DEAD}
    seen = len(receiver.messages)
    await post.tell("gen_3")
    await post.retry()
    assert len(receiver.messages) == seen
    with pytest.raises(InvalidValue, match="not active"):
        await post.service.replay(DEFAULT_ACCOUNT, endpoint.id, deliveries[0].id)


async def test_it_can_be_made_active_again(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(410, 200)
    endpoint, _ = await post.add(receiver)
    await post.tell()
    await post.deliverer.deliver_due()
    changed, secret = await post.service.change(
        DEFAULT_ACCOUNT, endpoint.id, lambda options: EndpointOptions(options.url, is_active=True)
    )
    assert (changed.disabled_reason, secret) == (None, None)
    (delivery,) = await post.deliveries(endpoint)
    await post.service.replay(DEFAULT_ACCOUNT, endpoint.id, delivery.id)
    await post.deliverer.deliver_due()
    assert len(set(receiver.ids)) == 1
    assert (await post.deliveries(endpoint))[0].status is DeliveryStatus.DELIVERED


async def test_an_inactive_endpoint_waits_and_hears_of_nothing_new(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    endpoint, _ = await post.add(receiver)

    async def switch(active: bool) -> None:
        await post.service.change(
            DEFAULT_ACCOUNT, endpoint.id, lambda options: EndpointOptions(options.url, is_active=active)
        )

    await post.tell("gen_1")
    await switch(False)
    await post.tell("gen_2")
    await post.deliverer.deliver_due()
    assert receiver.messages == []
    await switch(True)
    await post.deliverer.deliver_due()
    assert [message.content["data"]["id"] for message in receiver.messages] == ["gen_1"]


async def test_of_one_generation_events_come_in_order(post: Post, make_receiver: MakeReceiver) -> None:
    """The second waits for the first, which fails for a while; another generation's waits for nobody."""
    receiver = await make_receiver(500, 200)
    await post.add(receiver)
    await post.tell("gen_1", EventType.FAILED)
    await post.tell("gen_1", EventType.COMPLETED)
    await post.deliverer.deliver_due()
    await post.tell("gen_2")
    await post.deliverer.deliver_due()
    seen = [(message.content["data"]["id"], message.content["sequence"]) for message in receiver.messages]
    assert seen == [("gen_1", 1), ("gen_2", 1)]
    await post.retry()
    seen = [(message.content["data"]["id"], message.content["sequence"]) for message in receiver.messages]
    assert seen == [("gen_1", 1), ("gen_2", 1), ("gen_1", 1), ("gen_1", 2)]


async def test_a_dead_event_lets_the_next_one_pass(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(*[500] * 11, 200)
    await post.add(receiver)
    await post.tell("gen_1", EventType.FAILED)
    await post.tell("gen_1", EventType.COMPLETED)
    for _ in range(12):
        await post.retry()
    assert receiver.types == ["generation.failed"] * 11 + ["generation.completed"]


async def test_a_slow_endpoint_holds_up_nobody(post: Post, make_receiver: MakeReceiver) -> None:
    slow, quick = await make_receiver(gate=asyncio.Event()), await make_receiver()
    assert slow.gate is not None
    await post.add(slow)
    for index in range(10):
        await post.tell(f"gen_{index}")
    await post.add(quick)
    await post.tell("gen_x")
    delivering = asyncio.create_task(post.deliverer.deliver_due())
    await quick.wait_for(1)
    await slow.wait_for(MAX_UNDER_WAY_PER_ENDPOINT)
    slow.gate.set()
    await delivering
    assert len(slow.messages) == 11
    assert slow.most_at_once == MAX_UNDER_WAY_PER_ENDPOINT


class Forgetful(Database):
    """Keeps the leases and not what came of them: its process dies between sending and noting."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def write(self, unit: Callable[[Connection], Any]) -> Any:
        if getattr(unit, "func", None) is outbox.finish:
            raise StorageUnavailable
        return await self._database.write(unit)

    async def read(self, unit: Callable[[Connection], Any]) -> Any:
        return await self._database.read(unit)

    async def close(self) -> None:
        """It is another's."""


@pytest.mark.parametrize("answer", [200, 500])
async def test_who_dies_between_sending_and_noting_leaves_it_to_others(
    answer: int, post: Post, make_receiver: MakeReceiver
) -> None:
    receiver = await make_receiver(answer, 200)
    endpoint, _ = await post.add(receiver)
    await post.tell()
    await post.another(Forgetful(post.database)).deliver_due()
    await post.deliverer.deliver_due()
    assert len(receiver.messages) == 1
    post.clock.advance(LEASE)
    await post.deliverer.deliver_due()
    first, second = receiver.messages
    assert (first.id, first.body) == (second.id, second.body)
    (delivery,) = await post.deliveries(endpoint)
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.DELIVERED, 2)


async def test_the_next_server_of_the_folder_takes_over_at_once(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    await post.add(receiver)
    await post.tell()
    await post.another(Forgetful(post.database)).deliver_due()
    await post.deliverer.start(is_alone=True)
    await receiver.wait_for(2)
    assert len(set(receiver.ids)) == 1


async def test_two_processes_share_the_work(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    endpoint, _ = await post.add(receiver)
    for index in range(20):
        await post.tell(f"gen_{index}")
    await asyncio.gather(post.deliverer.deliver_due(), post.another().deliver_due())
    await post.deliverer.deliver_due()
    assert sorted(receiver.ids) == sorted(delivery.event_id for delivery in await post.deliveries(endpoint))


async def test_it_wakes_without_looking(
    post: Post, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinxit.webhooks.deliverer.LOOK_SECONDS", 3600.0)
    receiver = await make_receiver()
    endpoint, _ = await post.add(receiver)
    await post.deliverer.start(is_alone=True)
    await post.tell("gen_1", EventType.FAILED)
    await post.tell("gen_1", EventType.COMPLETED)
    post.deliverer.wake()
    await receiver.wait_for(2)
    await post.service.ping(DEFAULT_ACCOUNT, endpoint.id)
    await receiver.wait_for(3)
    assert receiver.types == ["generation.failed", "generation.completed", "ping"]


async def test_a_database_that_fails_for_a_while_stops_nothing(
    post: Post, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinxit.webhooks.deliverer.LOOK_SECONDS", 0.01)
    receiver = await make_receiver()
    await post.add(receiver)
    errors = [StorageUnavailable(), ValueError("a bug"), StorageUnavailable()]

    class Failing(Forgetful):
        async def read(self, unit: Callable[[Connection], Any]) -> Any:
            if errors:
                raise errors.pop()
            return await self._database.read(unit)

    await post.tell()
    await post.another(Failing(post.database)).start(is_alone=False)
    await receiver.wait_for(1)
    assert errors == []


async def test_a_stop_waits_a_moment_for_receivers(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(gate=asyncio.Event())
    assert receiver.gate is not None
    endpoint, _ = await post.add(receiver)
    await post.tell()
    await post.deliverer.start(is_alone=True)
    await receiver.wait_for(1)
    closing = asyncio.create_task(post.deliverer.close(10))
    receiver.gate.set()
    await closing
    assert (await post.deliveries(endpoint))[0].status is DeliveryStatus.DELIVERED


async def test_what_a_stop_cuts_off_comes_again(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver("hang", 200)
    await post.add(receiver)
    await post.tell()
    await post.deliverer.start(is_alone=True)
    await receiver.wait_for(1)
    await post.deliverer.close(0)
    next_server = post.another()
    await next_server.start(is_alone=True)
    await receiver.wait_for(2)
    assert len(set(receiver.ids)) == 1


async def test_for_a_day_two_secrets_sign(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    endpoint, old = await post.add(receiver)
    post.clock.advance(-OVERLAP)  # so that the day is over now: the reference verifier goes by the real clock
    _, new = await post.service.change(DEFAULT_ACCOUNT, endpoint.id, lambda options: options, rotates_secret=True)
    assert new is not None
    assert new != old
    await post.tell("gen_1")
    await post.deliverer.deliver_due()
    post.clock.advance(OVERLAP)
    await post.tell("gen_2")
    await post.deliverer.deliver_due()
    during, after = receiver.messages
    assert len(during.headers["webhook-signature"].split(" ")) == 2
    for secret in (old, new):
        moment = datetime.fromtimestamp(int(during.headers["webhook-timestamp"]), UTC)
        assert Webhook(secret).sign(during.id, moment, during.body.decode()) in during.headers["webhook-signature"]
    after.verify(new)
    with pytest.raises(WebhookVerificationError):
        after.verify(old)


async def test_a_replaced_signing_key_is_noticed_and_nothing_is_sent(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    endpoint, _ = await post.add(receiver)
    await post.tell()
    await post.another(secrets=WebhookSecrets(b"t" * 32)).deliver_due()
    assert receiver.messages == []
    (delivery,) = await post.deliveries(endpoint)
    assert delivery.error == SecretLost().message


async def test_an_address_inside_is_not_gone_to(post: Post, make_receiver: MakeReceiver) -> None:
    """The address is judged at every try, not only when the webhook was made."""
    receiver = await make_receiver()
    endpoint, _ = await post.add(receiver)
    post.http._allowed_networks = ()
    await post.tell()
    await post.deliverer.deliver_due()
    assert receiver.messages == []
    (delivery,) = await post.deliveries(endpoint)
    assert (delivery.status, delivery.error) == (DeliveryStatus.PENDING, "url must lead to a public address.")


async def test_who_wants_what(post: Post, make_receiver: MakeReceiver) -> None:
    everything, failures = await make_receiver(), await make_receiver()
    await post.add(everything)
    await post.add(failures, events=(EventType.FAILED,))
    for index, type_ in enumerate((EventType.COMPLETED, EventType.FAILED, EventType.CANCELLED)):
        await post.tell(f"gen_{index}", type_)
    await post.deliverer.deliver_due()
    assert sorted(everything.types) == ["generation.cancelled", "generation.completed", "generation.failed"]
    assert failures.types == ["generation.failed"]
    assert failures.ids[0] in everything.ids


async def test_what_nobody_wants_is_not_rendered(post: Post) -> None:
    def never() -> dict[str, Any]:
        raise AssertionError("nobody asked")

    await post.database.write(
        lambda connection: outbox.append(
            connection,
            account_id=DEFAULT_ACCOUNT,
            subject_id="gen_1",
            type_=EventType.COMPLETED,
            data=never,
            now=post.clock(),
        )
    )


async def test_a_deleted_webhook_hears_no_more(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    endpoint, _ = await post.add(receiver)
    await post.tell()
    await post.service.delete(DEFAULT_ACCOUNT, endpoint.id)
    await post.deliverer.deliver_due()
    assert receiver.messages == []


async def test_one_that_is_deleted_meanwhile_harms_nobody(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(410, gate=asyncio.Event())
    assert receiver.gate is not None
    endpoint, _ = await post.add(receiver)
    await post.tell()
    delivering = asyncio.create_task(post.deliverer.deliver_due())
    await receiver.wait_for(1)
    await post.service.delete(DEFAULT_ACCOUNT, endpoint.id)
    receiver.gate.set()
    await delivering
    assert await post.service.list(DEFAULT_ACCOUNT) == []


async def test_old_events_are_forgotten(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(500)
    endpoint, _ = await post.add(receiver)
    await post.tell("gen_1")
    post.clock.advance(RETENTION)
    await post.tell("gen_2")
    post.clock.advance(1)
    await post.database.write(lambda connection: outbox.forget_old(connection, post.clock() - RETENTION))
    assert [delivery.subject_id for delivery in await post.deliveries(endpoint)] == ["gen_2"]


async def test_an_account_has_so_many_webhooks_and_no_more(post: Post, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    for _ in range(20):
        await post.add(receiver)
    with pytest.raises(InvalidValue, match="at most 20"):
        await post.add(receiver)


async def test_a_changed_url_counts_for_the_next_try(post: Post, make_receiver: MakeReceiver) -> None:
    wrong, right = await make_receiver(500), await make_receiver()
    endpoint, _ = await post.add(wrong)
    await post.tell()
    await post.deliverer.deliver_due()
    await post.database.write(
        lambda connection: connection.execute(
            update(webhook_endpoints).where(webhook_endpoints.c.id == endpoint.id).values(url=right.url)
        )
    )
    await post.retry()
    assert right.ids == wrong.ids


@pytest.mark.parametrize("events", [150, pytest.param(1000, marks=pytest.mark.long)])
async def test_half_of_all_tries_fail_and_every_event_arrives(
    events: int, post: Post, make_receiver: MakeReceiver
) -> None:
    receiver = await make_receiver(*[500, 200, "abort", 200] * events, 200)
    endpoint, secret = await post.add(receiver)
    for index in range(events):
        await post.tell(f"gen_{index}")
    for _ in range(10):
        await post.deliverer.deliver_due()
        if all(delivery.status is DeliveryStatus.DELIVERED for delivery in await post.deliveries(endpoint)):
            break
        post.clock.advance(3600)
    key = Webhook(secret)
    for message in receiver.messages:
        moment = datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), UTC)
        signature = key.sign(message.id, moment, message.body.decode())
        assert message.headers["webhook-signature"] == signature
    assert len(set(receiver.ids)) == events
    assert len({message.body for message in receiver.messages}) == events
    assert len(receiver.messages) > events
