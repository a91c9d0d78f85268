"""Limits of keys and accounts, and turns, through the front door."""

import asyncio
from typing import Any

import httpx2
import pytest

from front import Front, MakeFront
from pinxit.errors import BackendError
from pinxit.keys.model import DEFAULT_SCOPES, Budgets, Limits, Scope
from pinxit.ledger.invariants import check
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

RETRY = {"x-stainless-retry-count": "1"}


@pytest.fixture
async def gate() -> asyncio.Event:
    return asyncio.Event()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def rates(answer: httpx2.Response) -> dict[str, str]:
    prefix = "x-ratelimit-"
    return {name.removeprefix(prefix): value for name, value in answer.headers.items() if name.startswith(prefix)}


async def until_painting(front: Front, orders: int = 1) -> None:
    async with asyncio.timeout(30):
        while len(front.backend.orders) < orders:
            await asyncio.sleep(0)


def stop_clock(front: Front) -> None:
    """No token comes back while the test runs."""
    limiter: Any = front.house.services.generations._limiter
    limiter._clock = limiter._local_clock = lambda *_: 10**12


async def limited(front: Front, **limits: int) -> dict[str, str]:
    stop_clock(front)
    return bearer(await front.make_key(limits=Limits(**limits)))


# --- rates ---


async def test_over_the_limit_is_429_with_a_time_to_come_back(front: Front) -> None:
    key = await limited(front, requests_per_minute=1)
    assert (await front.generate(key)).status_code == 200
    answer = await front.generate(key)
    assert (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")
    assert answer.json()["error"] == {**answer.json()["error"], "param": "", "code": 429}
    assert (answer.headers["retry-after"], answer.headers["retry-after-ms"]) == ("60", "60000")
    assert rates(answer) == {"limit-requests": "1", "remaining-requests": "0", "reset-requests": "1m0s"}
    assert len(front.backend.orders) == 1


async def test_good_answers_say_what_is_left(front: Front) -> None:
    key = await limited(front, requests_per_minute=100, images_per_minute=50)
    answer = await front.generate(key, n=3)
    told = rates(answer)
    assert set(told) == {
        f"{fact}-{kind}" for fact in ("limit", "remaining", "reset") for kind in ("requests", "images")
    }
    assert (told["limit-requests"], told["remaining-requests"]) == ("100", "99")
    assert (told["limit-images"], told["remaining-images"]) == ("50", "47")


async def test_without_limits_there_is_nothing_to_say(front: Front) -> None:
    assert rates(await front.generate()) == {}


async def test_an_order_for_later_is_limited_too(front: Front) -> None:
    key = await limited(front, images_per_minute=2)
    assert (await front.generate(key, n=2, **{"async": True})).status_code == 202
    assert (await front.generate(key, n=2, **{"async": True})).status_code == 429


async def test_all_keys_of_an_account_share_its_limit(make_front: MakeFront) -> None:
    front = await make_front(requests_per_minute=2)
    stop_clock(front)
    keys = [bearer(await front.make_key()) for _ in range(3)]
    assert [(await front.generate(key)).status_code for key in keys] == [200, 200, 429]
    other = bearer(await front.make_key(account=await front.make_account()))
    assert (await front.generate(other)).status_code == 200


async def test_orders_open_at_once_are_bounded(make_front: MakeFront, gate: asyncio.Event) -> None:
    front = await make_front(FakeBackend(gates={1: gate}), concurrency=1)
    first = asyncio.create_task(front.generate())
    await until_painting(front)
    answer = await front.generate()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
    gate.set()
    assert (await first).status_code == 200
    assert (await front.generate()).status_code == 200


async def test_a_failed_order_gives_its_place_back(make_front: MakeFront) -> None:
    front = await make_front(FakeBackend(failure=lambda _: BackendError("broken")), concurrency=1)
    assert [(await front.generate()).status_code for _ in range(3)] == [502, 502, 502]


async def test_more_pictures_than_a_minute_has_are_422(front: Front) -> None:
    answer = await front.generate(await limited(front, images_per_minute=2), n=3)
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "n")


async def test_the_answer_to_a_repeated_order_takes_no_pictures(front: Front) -> None:
    key = {**await limited(front, images_per_minute=1), "Idempotency-Key": "one"}
    first, second = await front.generate(key), await front.generate(key)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()


async def test_a_client_that_left_gets_its_answer_though_its_order_is_still_open(
    make_front: MakeFront, gate: asyncio.Event
) -> None:
    front = await make_front(FakeBackend(gates={1: gate}))
    key = await limited(front, concurrency=1, images_per_minute=1)
    leaving = asyncio.create_task(front.generate(key))
    await until_painting(front)
    leaving.cancel()
    await asyncio.wait({leaving})
    retry = asyncio.create_task(front.generate({**key, **RETRY}))
    await asyncio.sleep(0)
    gate.set()
    assert (await retry).status_code == 200
    assert len(front.backend.orders) == 1


# --- turns ---


async def begin(front: Front, key: dict[str, str]) -> str:
    answer = await front.generate(key, **{"async": True})
    assert answer.status_code == 202
    return str(answer.json()["id"])


async def look(front: Front, key: dict[str, str], generation_id: str) -> dict[str, Any]:
    found: dict[str, Any] = (await front.client.get(f"/v1/generations/{generation_id}", headers=key)).json()
    return found


async def until_place(front: Front, key: dict[str, str], generation_id: str, place: int) -> None:
    async with asyncio.timeout(30):
        while (found := await look(front, key, generation_id))["progress"]["queue_position"] != place:
            await asyncio.sleep(0)
    assert found["status"] == "queued"


async def test_a_waiting_order_shows_its_place(make_front: MakeFront, gate: asyncio.Event) -> None:
    front = await make_front(FakeBackend(gates={1: gate}), max_painting_generations=1)
    mine, other = bearer(await front.make_key()), bearer(await front.make_key())
    first = await begin(front, mine)
    await until_painting(front)
    second, third = await begin(front, mine), await begin(front, mine)
    await until_place(front, mine, second, 1)
    await until_place(front, mine, third, 2)
    theirs = await begin(front, other)
    await until_place(front, other, theirs, 1)
    await until_place(front, mine, third, 3)
    gate.set()
    await front.client.get(f"/v1/generations/{third}", headers={**mine, "Accept": "text/event-stream"})
    ended = [await look(front, mine, order) for order in (first, theirs, second, third)]
    assert [order["status"] for order in ended] == ["completed"] * 4
    assert [order["finished"] for order in ended] == sorted(order["finished"] for order in ended)


async def test_a_cancelled_order_leaves_the_line(make_front: MakeFront, gate: asyncio.Event) -> None:
    front = await make_front(FakeBackend(gates={1: gate}), max_painting_generations=1)
    key = front.authorization
    first = await begin(front, key)
    await until_painting(front)
    second, third = await begin(front, key), await begin(front, key)
    await until_place(front, key, third, 2)
    cancelled = await front.client.delete(f"/v1/generations/{second}", headers=key)
    assert cancelled.json()["status"] == "cancelled"
    await until_place(front, key, third, 1)
    gate.set()
    await front.client.get(f"/v1/generations/{third}", headers={**key, "Accept": "text/event-stream"})
    assert [(await look(front, key, order))["status"] for order in (first, third)] == ["completed", "completed"]
    assert len(front.backend.orders) == 2
    assert await front.house.database.read(check) == []


async def test_an_order_that_waits_too_long_is_given_up(make_front: MakeFront, gate: asyncio.Event) -> None:
    front = await make_front(FakeBackend(gates={1: gate}), max_painting_generations=1)
    await begin(front, front.authorization)
    await until_painting(front)
    assert (await front.generate(deadline_seconds=0.05)).status_code == 504
    gate.set()
    assert (await front.generate()).status_code == 200


# --- keys ---


async def manager(front: Front, **options: Any) -> dict[str, str]:
    return bearer(await front.make_key(scopes=(*DEFAULT_SCOPES, Scope.KEYS_MANAGE), **options))


async def test_limits_and_budgets_are_written_and_read(front: Front) -> None:
    holder = await manager(front)
    body = {
        "limits": {"requests_per_minute": 60, "concurrency": 2},
        "budgets": {"total_usd": "12.34", "per_day_usd": 0.1},
    }
    made = await front.client.post("/v1/keys", json=body, headers=holder)
    assert made.status_code == 201
    path = f"/v1/keys/{made.json()['id']}"
    found = (await front.client.get(path, headers=holder)).json()
    assert found["limits"] == {"requests_per_minute": 60, "concurrency": 2}
    assert found["budgets"] == {"total_usd": 12.34, "per_day_usd": 0.1}
    changed = await front.client.patch(path, json={"limits": None, "budgets": {"per_month_usd": 5}}, headers=holder)
    assert (changed.json()["limits"], changed.json()["budgets"]) == ({}, {"per_month_usd": 5})


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"limits": {"requests_per_minute": 0}}, 422, "limits.requests_per_minute"),
        ({"limits": {"concurrency": -1}}, 422, "limits.concurrency"),
        ({"limits": {"images_per_minute": 1.5}}, 400, "limits.images_per_minute"),
        ({"limits": {"images_per_minute": "1"}}, 400, "limits.images_per_minute"),
        ({"limits": {"images_per_minute": True}}, 400, "limits.images_per_minute"),
        ({"limits": {"tokens_per_minute": 1}}, 400, "limits.tokens_per_minute"),
        ({"limits": [1]}, 400, "limits"),
        ({"budgets": {"total_usd": 0}}, 422, "budgets.total_usd"),
        ({"budgets": {"total_usd": -1}}, 422, "budgets.total_usd"),
        ({"budgets": {"per_day_usd": 0.0000001}}, 422, "budgets.per_day_usd"),
        ({"budgets": {"per_day_usd": "much"}}, 422, "budgets.per_day_usd"),
        ({"budgets": {"per_day_usd": "1e999999"}}, 422, "budgets.per_day_usd"),
        ({"budgets": {"per_day_usd": "NaN"}}, 422, "budgets.per_day_usd"),
        ({"budgets": {"per_day_usd": True}}, 422, "budgets.per_day_usd"),
        ({"budgets": {"per_year_usd": 1}}, 400, "budgets.per_year_usd"),
        ({"budgets": 5}, 400, "budgets"),
    ],
)
async def test_odd_limits_and_budgets_are_refused(front: Front, body: dict[str, Any], status: int, param: str) -> None:
    answer = await front.client.post("/v1/keys", json=body, headers=await manager(front))
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)


@pytest.mark.parametrize("options", [{"limits": Limits(concurrency=1)}, {"budgets": Budgets(total_micros=1)}])
async def test_a_key_cannot_leave_its_limits_behind_by_another(front: Front, options: dict[str, Any]) -> None:
    holder = await manager(front, **options)
    assert (await front.client.post("/v1/keys", json={}, headers=holder)).status_code == 403
    own = (await front.client.get("/v1/keys", headers=holder)).json()["data"][0]["id"]
    answer = await front.client.patch(f"/v1/keys/{own}", json={"limits": {}, "budgets": {}}, headers=holder)
    assert answer.status_code == 403


async def test_an_admin_may_all_the_same(front: Front) -> None:
    holder = bearer(await front.make_key(scopes=(Scope.ADMIN,), limits=Limits(concurrency=1)))
    assert (await front.client.post("/v1/keys", json={}, headers=holder)).status_code == 201


# --- one caller's crowd ---


async def test_a_crowd_of_one_key_does_not_push_others_back(make_front: MakeFront, gate: asyncio.Event) -> None:
    """A key that sends ten times as much as each of nine others waits for their orders, not they for its."""
    front = await make_front(FakeBackend(gates={1: gate}), max_painting_generations=1, max_queued_generations=1000)
    crowd = bearer(await front.make_key())
    others = [bearer(await front.make_key()) for _ in range(9)]
    sent = [asyncio.create_task(front.generate(crowd, prompt="crowd", num_inference_steps=1)) for _ in range(10)]
    await until_painting(front)
    sent += [asyncio.create_task(front.generate(key, prompt="other", num_inference_steps=1)) for key in others]
    async with asyncio.timeout(30):
        while front.house.services.generations._gate.waiting < 18:
            await asyncio.sleep(0)
    gate.set()
    assert {answer.status_code for answer in await asyncio.gather(*sent)} == {200}
    painted = [order.prompt for order in front.backend.orders]
    assert painted == ["crowd"] + ["other"] * 9 + ["crowd"] * 9
