"""Orders that are painted while their client does something else: later, followed, cancelled, given up in time."""

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from front import Front, MakeFront
from pinxit.generations import repository
from pinxit.ledger.invariants import check
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases


@pytest.fixture
async def gate() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def held(make_front: MakeFront, gate: asyncio.Event) -> Front:
    """A house whose painter waits at its second step for the gate."""
    return await make_front(FakeBackend(gates={2: gate}))


async def get(front: Front, generation_id: str) -> dict[str, Any]:
    answer = await front.client.get(f"/v1/generations/{generation_id}", headers=front.authorization)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def follow(front: Front, generation_id: str) -> list[tuple[str, dict[str, Any]]]:
    """The events of the order until its end."""
    headers = {**front.authorization, "Accept": "text/event-stream"}
    answer = await front.client.get(f"/v1/generations/{generation_id}", headers=headers)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in answer.text.split("\n\n"):
        if block.startswith("event: "):
            name, data = block.split("\n")
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def test_an_order_for_later_is_answered_at_once(held: Front, gate: asyncio.Event) -> None:
    answer = await held.generate(**{"async": True})
    assert answer.status_code == 202
    accepted = answer.json()
    assert set(accepted) == {"id", "object", "status", "created", "urls"}
    assert answer.headers["location"] == accepted["urls"]["get"]
    gate.set()
    events = await follow(held, accepted["id"])
    assert events[-1][0] == "generation.completed"
    picture = await held.client.get(events[-1][1]["images"][0]["url"])
    assert picture.status_code == 200


@pytest.mark.parametrize("prefer", ["respond-async", "Respond-Async", "foo, respond-async"])
async def test_prefer_respond_async_is_the_same(held: Front, gate: asyncio.Event, prefer: str) -> None:
    answer = await held.generate({"Prefer": prefer})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, "respond-async")
    gate.set()


async def test_an_order_for_later_that_is_sent_again_says_so(front: Front) -> None:
    key = {"Idempotency-Key": "later"}
    answers = [await front.generate(key, **{"async": True}) for _ in range(2)]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]


async def test_prefer_wait_is_for_a_while(held: Front, gate: asyncio.Event) -> None:
    answer = await held.generate({"Prefer": "wait=0"})
    assert answer.status_code == 202
    gate.set()
    answer = await held.generate({"Prefer": "wait=30"})
    assert answer.status_code == 200
    assert answer.json()["data"]


async def test_a_refused_order_for_later_is_refused_at_once(make_front: MakeFront) -> None:
    front = await make_front(moderation_words="forbidden")
    answer = await front.generate(prompt="forbidden", **{"async": True})
    assert (answer.status_code, answer.json()["error"]["type"]) == (422, "content_policy_violation")


async def test_progress_is_told_as_it_goes(front: Front) -> None:
    accepted = (await front.generate(n=2, num_inference_steps=5, **{"async": True})).json()
    events = await follow(front, accepted["id"])
    steps = [event["progress"]["step"] for _, event in events if event["progress"]]
    assert steps == sorted(steps)
    assert all(event["progress"]["steps"] == 10 for _, event in events if event["progress"])
    assert events[-1][1]["status"] == "completed"


async def test_a_live_order_says_how_far_it_is(held: Front, gate: asyncio.Event) -> None:
    accepted = (await held.generate(**{"async": True})).json()
    async with asyncio.timeout(5):
        while (await get(held, accepted["id"]))["progress"]["step"] < 1:
            await asyncio.sleep(0)
    found = await get(held, accepted["id"])
    assert found["status"] == "in_progress"
    gate.set()
    await follow(held, accepted["id"])


async def cancel(front: Front, generation_id: str) -> dict[str, Any]:
    answer = await front.client.delete(f"/v1/generations/{generation_id}", headers=front.authorization)
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


async def test_a_cancelled_order_costs_nothing_and_keeps_nothing(held: Front) -> None:
    accepted = (await held.generate(**{"async": True})).json()
    cancelled = await cancel(held, accepted["id"])
    assert (cancelled["status"], cancelled["images"], cancelled["cost_micros"]) == ("cancelled", [], 0)
    assert held.backend.active == 0
    query = text("SELECT status FROM holds")
    assert await held.house.database.read(lambda connection: connection.execute(query).scalars().all()) == ["voided"]
    assert await held.house.database.read(check) == []


async def test_who_waits_for_a_cancelled_order_is_told(held: Front) -> None:
    generation_id = "gen_" + "a" * 32
    waiting = asyncio.create_task(held.generate({"x-pinxit-generation": generation_id}))
    async with asyncio.timeout(5):
        while not held.backend.orders:
            await asyncio.sleep(0)
    await cancel(held, generation_id)
    answer = await waiting
    assert (answer.status_code, answer.headers["x-should-retry"]) == (400, "false")


async def test_what_has_ended_stays_as_it_is(front: Front) -> None:
    painted = await front.generate()
    found = await cancel(front, painted.headers["x-pinxit-generation"])
    assert (found["status"], len(found["images"])) == ("completed", 1)


async def test_an_order_is_given_up_at_its_deadline(held: Front) -> None:
    answer = await held.generate(deadline_seconds=0.05)
    assert (answer.status_code, answer.json()["error"]["type"]) == (504, "upstream_timeout")
    assert answer.headers["x-should-retry"] == "false"
    generation_id = answer.json()["error"]["message"].split()[2]
    assert (await get(held, generation_id))["status"] == "failed"
    assert held.backend.active == 0
    assert await held.house.database.read(check) == []


@pytest.mark.parametrize("deadline", [0, -1, 86401, "soon"])
async def test_a_deadline_that_is_none_is_refused(front: Front, deadline: object) -> None:
    answer = await front.generate(deadline_seconds=deadline)
    assert answer.status_code in (400, 422)
    assert answer.json()["error"]["param"] == "deadline_seconds"


async def test_a_dry_run_says_the_price_and_paints_nothing(front: Front) -> None:
    answer = await front.generate(n=3, dry_run=True)
    assert answer.status_code == 200
    assert answer.json()["object"] == "generation.estimate"
    assert answer.json()["cost_details"] == {"cost_micros": 0, "images": 3}
    assert front.backend.orders == []


async def test_another_accounts_order_cannot_be_cancelled_or_followed(front: Front) -> None:
    path = "/v1/generations/gen_" + "b" * 32
    assert (await front.client.delete(path, headers=front.authorization)).status_code == 404
    headers = {**front.authorization, "Accept": "text/event-stream"}
    assert (await front.client.get(path, headers=headers)).status_code == 404


async def test_the_files_of_a_cancelled_order_are_not_forgotten(held: Front) -> None:
    """Where the process ended before it could remove them, the next one does."""
    accepted = (await held.generate(**{"async": True})).json()
    await cancel(held, accepted["id"])
    assert await held.house.database.read(repository.list_with_files_to_remove) == []
    left = text("UPDATE generations SET storage_keys = '[\"generated/one\"]'")
    await held.house.database.write(lambda connection: connection.execute(left))
    (found,) = await held.house.database.read(repository.list_with_files_to_remove)
    assert found.storage_keys == ("generated/one",)
