"""The same order sent again is painted and charged once."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from front import Front, MakeFront
from pinxit.ledger.invariants import check
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

KEY = {"Idempotency-Key": "order 1"}
RETRY = {"x-stainless-retry-count": "1"}


@pytest.fixture
async def gate() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def held(make_front: MakeFront, gate: asyncio.Event) -> Front:
    """A house whose painter waits at its first step for the gate."""
    return await make_front(FakeBackend(gates={1: gate}))


async def painted(front: Front) -> int:
    """How many orders the painter was given; and the books are right."""
    assert await front.house.database.read(check) == []
    return len(front.backend.orders)


async def until_painting(front: Front, orders: int = 1) -> None:
    async with asyncio.timeout(5):
        while len(front.backend.orders) < orders:
            await asyncio.sleep(0)


async def leave(front: Front, **body: Any) -> None:
    """Send an order as a client that gives up while it is being painted."""
    before = len(front.backend.orders)
    request = asyncio.create_task(front.generate(**body))
    await until_painting(front, before + 1)
    request.cancel()
    await asyncio.wait({request})


async def abandoned(front: Front) -> int:
    query = text("SELECT count(*) FROM generations WHERE abandoned_at IS NOT NULL")
    return int(await front.house.database.read(lambda connection: connection.execute(query).scalar_one()))


async def test_the_same_key_gets_the_same_answer(front: Front) -> None:
    first = await front.generate(KEY)
    second = await front.generate(KEY)
    assert first.json() == second.json()
    assert second.headers["idempotent-replayed"] == "true"
    assert "idempotent-replayed" not in first.headers
    assert await painted(front) == 1


async def test_the_same_key_gets_the_same_base64(front: Front) -> None:
    first = await front.generate(KEY, output_format="b64_json", n=2)
    second = await front.generate(KEY, output_format="b64_json", n=2)
    assert first.json() == second.json()


async def test_the_same_key_with_another_order_is_refused(front: Front) -> None:
    await front.generate(KEY)
    other = await front.generate(KEY, prompt="another prompt")
    assert (other.status_code, other.json()["error"]["type"]) == (422, "idempotency_error")
    assert other.json()["error"]["param"] == "Idempotency-Key"
    assert other.headers["x-should-retry"] == "false"
    assert await painted(front) == 1


async def test_how_the_body_is_written_does_not_matter(front: Front) -> None:
    await front.generate(KEY, n=1, output_format="url")
    again = await front.generate(KEY, response_format="url", size="256x256")
    assert again.status_code == 200
    assert await painted(front) == 1


async def test_at_the_same_time_both_get_the_one_picture(held: Front, gate: asyncio.Event) -> None:
    requests = [asyncio.create_task(held.generate(KEY)) for _ in range(5)]
    await until_painting(held)
    gate.set()
    answers = [(await request).json() for request in requests]
    assert all(answer == answers[0] for answer in answers)
    assert await painted(held) == 1


async def test_who_waits_too_long_is_told_to_come_back(
    held: Front, gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pinxit.generations.service.REPEAT_WAIT_SECONDS", 0.0)
    first = asyncio.create_task(held.generate(KEY))
    await until_painting(held)
    second = await held.generate(KEY)
    assert (second.status_code, second.json()["error"]["type"]) == (409, "idempotency_error")
    assert second.headers["retry-after"]
    gate.set()
    assert (await first).status_code == 200


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "schlüssel", "a\x01b"])
async def test_a_key_that_is_none_is_refused(front: Front, key: str) -> None:
    answer = await front.client.post(
        "/v1/images/generations",
        json={"prompt": "a"},
        headers=[(b"authorization", front.key.encode()), (b"idempotency-key", key.encode("latin-1"))],
    )
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")


async def test_a_key_lives_for_a_day(front: Front) -> None:
    await front.generate(KEY)
    age = timedelta(hours=24) // timedelta(microseconds=1)
    query = text(f"UPDATE idempotency_keys SET created_at = created_at - {age}")
    await front.house.database.write(lambda connection: connection.execute(query).rowcount)
    await front.generate(KEY, prompt="a new order")
    assert await painted(front) == 2


async def test_a_key_is_the_accounts_own(front: Front) -> None:
    """Two API keys of one account share it."""
    first = await front.generate(KEY)
    front.key = await front.make_key()
    assert (await front.generate(KEY)).json() == first.json()


async def test_a_key_is_free_again_when_no_work_was_done(make_front: MakeFront) -> None:
    from pinxit.errors import BackendUnavailable

    failures = iter([BackendUnavailable(), None])
    front = await make_front(FakeBackend(failure=lambda _: next(failures)))
    assert (await front.generate(KEY)).status_code == 503
    assert (await front.generate(KEY)).status_code == 200


async def test_a_failure_after_work_began_is_kept(make_front: MakeFront) -> None:
    from pinxit.errors import BackendError

    front = await make_front(FakeBackend(failure=lambda _: BackendError("it is broken")))
    first = await front.generate(KEY)
    second = await front.generate(KEY)
    assert (first.status_code, second.status_code) == (502, 502)
    assert first.json() == second.json()
    assert await painted(front) == 1


async def test_a_retry_gets_the_order_that_its_client_left(held: Front, gate: asyncio.Event) -> None:
    await leave(held)
    gate.set()
    answer = await held.generate(RETRY)
    assert answer.status_code == 200
    assert answer.headers["idempotent-replayed"] == "true"
    assert await painted(held) == 1
    assert await abandoned(held) == 0


async def test_an_order_is_taken_over_once(held: Front, gate: asyncio.Event) -> None:
    await leave(held)
    gate.set()
    first = await held.generate(RETRY)
    second = await held.generate(RETRY)
    assert first.headers["x-pinxit-generation"] != second.headers["x-pinxit-generation"]
    assert await painted(held) == 2


async def test_who_left_and_did_not_count_a_retry_wants_another(held: Front, gate: asyncio.Event) -> None:
    await leave(held)
    gate.set()
    await held.generate()
    assert await painted(held) == 2


async def test_two_wanted_equal_orders_stay_two(front: Front) -> None:
    await front.generate()
    await front.generate(RETRY)
    assert await painted(front) == 2


async def test_another_keys_order_is_not_taken_over(held: Front, gate: asyncio.Event) -> None:
    await leave(held)
    gate.set()
    held.key = await held.make_key()
    await held.generate(RETRY)
    assert await painted(held) == 2


async def test_another_order_is_not_taken_over(held: Front, gate: asyncio.Event) -> None:
    await leave(held)
    gate.set()
    await held.generate(RETRY, prompt="another")
    assert await painted(held) == 2


async def test_after_two_minutes_it_is_too_late(held: Front, gate: asyncio.Event) -> None:
    await leave(held)
    gate.set()
    age = timedelta(seconds=121) // timedelta(microseconds=1)
    query = text(f"UPDATE generations SET abandoned_at = abandoned_at - {age}")
    await held.house.database.write(lambda connection: connection.execute(query).rowcount)
    await held.generate(RETRY)
    assert await painted(held) == 2
