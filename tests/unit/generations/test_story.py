"""The story of one order through the front door: what is painted, kept and told, also when something goes wrong."""

import asyncio
import base64
import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from front import Front, MakeFront
from painting_house import MakeDying, assert_whole, until
from pinxit.database.interface import CommitUnknown
from pinxit.database.tables import attempts, generations, images
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation, PinxitError, StorageUnavailable
from pinxit.generations import service
from pinxit.library.library import Library
from pinxit.storage import local
from pinxit.testing.fake_backend import FakeBackend

pytestmark = pytest.mark.both_databases

ID = "gen_" + "a" * 32


async def order_of(front: Front, generation_id: str = ID) -> dict:
    return (await front.client.get(f"/v1/generations/{generation_id}", headers=front.authorization)).json()


async def pixels(front: Front, **body) -> list[str]:
    """SHA-256 of each picture's file."""
    data = (await front.generate(response_format="b64_json", **body)).json()["data"]
    return [hashlib.sha256(base64.b64decode(datum["b64_json"])).hexdigest() for datum in data]


# --- what is painted and kept ---------------------------------------------------------------------------------------


async def test_an_order_of_four(front: Front):
    data = (await front.generate(n=4)).json()["data"]
    assert len({datum["url"] for datum in data}) == len({datum["id"] for datum in data}) == 4
    for datum in data:
        picture = await front.client.get(datum["url"])
        image = (await front.client.get(f"/v1/images/{datum['id']}", headers=front.authorization)).json()
        assert (image["seed"], image["bytes"]) == (datum["seed"], len(picture.content))
        assert image["sha256"] == hashlib.sha256(picture.content).hexdigest()
    assert len(front.backend.orders) == 1
    await assert_whole(front)


async def test_seeds_count_up_and_around(front: Front):
    data = (await front.generate(n=3, seed=2**32 - 2)).json()["data"]
    assert [datum["seed"] for datum in data] == [2**32 - 2, 2**32 - 1, 0]


async def test_a_picture_of_many_is_the_same_as_alone(front: Front):
    together = await pixels(front, n=4, seed=2**32 - 2)
    alone = [(await pixels(front, seed=seed))[0] for seed in (2**32 - 2, 2**32 - 1, 0, 1)]
    assert together == alone
    assert len(set(together)) == 4


async def test_orders_at_once_do_not_mix(front: Front):
    alone = [await pixels(front, seed=seed) for seed in range(8)]
    assert await asyncio.gather(*[pixels(front, seed=seed) for seed in range(8)]) == alone
    await assert_whole(front)


async def test_a_seed_that_nobody_chose_can_be_used_again(front: Front):
    datum = (await front.generate(response_format="b64_json")).json()["data"][0]
    again = (await front.generate(response_format="b64_json", seed=datum["seed"])).json()["data"][0]
    assert again["b64_json"] == datum["b64_json"]


async def test_an_order_that_is_not_to_be_stored_leaves_no_file_and_no_picture(front: Front):
    response = await front.generate({"x-pinxit-generation": ID}, store=False, response_format="b64_json", n=2)
    assert all(datum["b64_json"] for datum in response.json()["data"])
    assert front.files() == []
    assert await front.rows(images) == []
    order = await order_of(front)
    assert (order["status"], order["images"]) == ("completed", [])
    datum = response.json()["data"][0]
    assert (await front.client.get(f"/v1/images/{datum['id']}", headers=front.authorization)).status_code == 404


async def test_usage_is_what_the_painter_says(front: Front):
    usage = (await front.generate(prompt="one two three", n=2, steps=3)).json()["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (3, 6, 9)


async def test_an_order_may_be_named_beforehand(front: Front):
    response = await front.generate({"x-pinxit-generation": ID})
    assert response.headers["x-pinxit-generation"] == ID
    assert (await order_of(front))["status"] == "completed"


async def test_a_name_that_is_taken_is_a_conflict_and_paints_nothing(front: Front):
    await front.generate({"x-pinxit-generation": ID})
    response = await front.generate({"x-pinxit-generation": ID})
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (409, "idempotency_error", "x-pinxit-generation")
    assert len(front.backend.orders) == 1
    await assert_whole(front)


async def test_of_two_with_the_same_name_at_once_one_is_painted(front: Front):
    answers = await asyncio.gather(*[front.generate({"x-pinxit-generation": ID}) for _ in range(5)])
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    assert len(front.backend.orders) == 1


async def test_progress_can_be_followed(make_front: MakeFront):
    gates = {1: asyncio.Event(), 3: asyncio.Event()}
    front = await make_front(FakeBackend(gates=gates))
    painting = asyncio.create_task(front.generate({"x-pinxit-generation": ID}, n=2))
    await until(lambda: front.backend.orders)
    order = await order_of(front)
    assert (order["status"], order["progress"]["step"], order["progress"]["steps"]) == ("queued", 0, 8)
    gates[1].set()
    async with asyncio.timeout(10):
        while (order := await order_of(front))["progress"]["step"] < 2:
            pass
    assert (order["status"], order["progress"]["step"]) == ("in_progress", 2)
    gates[3].set()
    assert (await painting).status_code == 200
    order = await order_of(front)
    assert (order["status"], order["progress"], len(order["images"])) == ("completed", None, 2)


# --- the client leaves ----------------------------------------------------------------------------------------------


async def test_a_client_that_hangs_up_loses_its_answer_not_its_picture(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    request = asyncio.create_task(front.generate({"x-pinxit-generation": ID}))
    await until(lambda: front.backend.orders)
    request.cancel()
    await asyncio.wait([request])
    assert request.cancelled()
    assert (await order_of(front))["status"] == "in_progress"

    gate.set()
    await until(lambda: front.house.services.generations.live_count == 0)
    order = await order_of(front)
    assert order["status"] == "completed"
    assert (await front.client.get(order["images"][0]["url"])).status_code == 200
    await assert_whole(front)


async def test_a_client_that_hangs_up_is_no_error_when_its_order_fails(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}, failure=lambda _: BackendError(), failure_step=2))
    request = asyncio.create_task(front.generate({"x-pinxit-generation": ID}))
    await until(lambda: front.backend.orders)
    request.cancel()
    gate.set()
    await until(lambda: front.house.services.generations.live_count == 0)
    assert (await order_of(front))["status"] == "failed"


# --- the painter dies -----------------------------------------------------------------------------------------------


async def attempt_statuses(front: Front) -> list[tuple[int, str, list[int]]]:
    return [(row.number, row.status, row.image_indices) for row in await front.rows(attempts)]


async def test_what_a_dying_painter_took_is_painted_again(front: Front, make_dying: MakeDying):
    expected = await pixels(front, seed=7)
    dying = make_dying(front, 0, -1)
    assert await pixels(front, seed=7) == expected
    assert [order.seeds for order in dying.orders] == [(7,), (7,)]
    assert (await attempt_statuses(front))[1:] == [(1, "lost", [0]), (2, "succeeded", [0])]
    await assert_whole(front)


async def test_only_what_is_missing_is_painted_again(front: Front, make_dying: MakeDying):
    expected = await pixels(front, seed=7, n=4)
    dying = make_dying(front, 2, -1)
    assert await pixels(front, seed=7, n=4) == expected
    assert [order.seeds for order in dying.orders] == [(7, 8, 9, 10), (9, 10)]
    assert (await attempt_statuses(front))[1:] == [(1, "lost", [0, 1, 2, 3]), (2, "succeeded", [2, 3])]
    await assert_whole(front)


async def test_a_painter_that_dies_three_times_fails_the_order(front: Front, make_dying: MakeDying):
    dying = make_dying(front, 0, 0, 0)
    response = await front.generate({"x-pinxit-generation": ID}, n=2)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "upstream_unavailable")
    assert response.headers["retry-after"]
    assert len(dying.orders) == 3
    order = await order_of(front)
    assert (order["status"], order["error"]["type"]) == ("failed", "upstream_unavailable")
    assert [status for _, status, _ in await attempt_statuses(front)] == ["lost", "lost", "failed"]
    assert front.files() == []
    await assert_whole(front)


async def test_partial_success_is_completed_with_the_pictures_there_are(front: Front, make_dying: MakeDying):
    make_dying(front, 2, 1, 0)
    response = await front.generate({"x-pinxit-generation": ID}, n=4, seed=7)
    assert response.status_code == 200
    assert [datum["seed"] for datum in response.json()["data"]] == [7, 8, 9]
    order = await order_of(front)
    assert (order["status"], len(order["images"])) == ("completed", 3)
    await assert_whole(front)


@pytest.mark.parametrize("error", [BackendError("The picture is all black."), BackendUnavailable("Not now.")])
async def test_so_is_an_order_of_which_the_painter_cannot_do_the_rest(make_front: MakeFront, error: PinxitError):
    failures = iter([None, None, error])
    front = await make_front(FakeBackend(failure=lambda _: next(failures)))
    response = await front.generate({"x-pinxit-generation": ID}, n=3, seed=7)
    assert response.status_code == 200
    assert [datum["seed"] for datum in response.json()["data"]] == [7, 8]
    await assert_whole(front)


class OnceOnly(FakeBackend):
    """Whoever runs it is paid for every order that he was sent."""

    is_repeatable = False


async def test_what_cannot_be_repeated_is_not_and_costs_nothing(make_front: MakeFront, make_dying: MakeDying):
    front = await make_front(OnceOnly())
    dying = make_dying(front, 0, 5)
    response = await front.generate({"x-pinxit-generation": ID, "Idempotency-Key": "once"})
    assert (response.status_code, response.json()["error"]["type"]) == (504, "upstream_timeout")
    assert response.headers["x-should-retry"] == "false"
    assert ID in response.json()["error"]["message"]
    order = await order_of(front)
    assert (order["status"], order["cost_micros"]) == ("unknown", 0)
    again = await front.generate({"Idempotency-Key": "once"})
    assert (again.status_code, again.json()) == (504, response.json())
    assert len(dying.orders) == 1
    await assert_whole(front)


async def test_the_pictures_that_came_before_count(make_front: MakeFront, make_dying: MakeDying):
    front = await make_front(OnceOnly())
    make_dying(front, 2)
    response = await front.generate({"x-pinxit-generation": ID}, n=3, seed=7)
    assert (response.status_code, len(response.json()["data"])) == (200, 2)
    await assert_whole(front)


# --- the painter fails ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    ("failure", "status", "type_"),
    [
        (lambda _: BackendError("The picture is all black."), 502, "upstream_error"),
        (lambda _: ZeroDivisionError("a bug"), 502, "upstream_error"),
        (
            lambda _: ContentPolicyViolation("Not this.", stage="output", categories=["x"]),
            422,
            "content_policy_violation",
        ),
        (lambda _: BackendUnavailable("Not now.", retry_after_seconds=7.0), 503, "upstream_unavailable"),
    ],
)
async def test_a_painter_that_fails(make_front: MakeFront, n: int, failure, status: int, type_: str):
    front = await make_front(FakeBackend(failure=failure))
    response = await front.generate({"x-pinxit-generation": ID}, n=n)
    assert (response.status_code, response.json()["error"]["type"]) == (status, type_)
    assert (response.headers.get("x-should-retry") == "false") == (status != 503)
    assert response.headers.get("retry-after") == ("7" if status == 503 else None)
    order = await order_of(front)
    assert (order["status"], order["error"]["type"], order["images"]) == ("failed", type_, [])
    assert front.files() == []
    await assert_whole(front)


async def test_the_next_order_is_painted_all_the_same(make_front: MakeFront):
    front = await make_front(FakeBackend(failure=lambda order: BackendError() if "bad" in order.prompt else None))
    assert (await front.generate(prompt="bad")).status_code == 502
    assert (await front.generate(prompt="good")).status_code == 200


async def test_a_painter_that_cannot_open_is_said(make_front: MakeFront):
    front = await make_front(FakeBackend(open_error="The model is missing."), painter_ready_timeout_seconds=1)
    response = await front.generate()
    assert (response.status_code, response.json()["error"]["type"]) == (503, "upstream_unavailable")
    await assert_whole(front)


# --- refused before painting ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["a sea monster", "A SEA-MONSTER", "ＳＥＡ  monster!", "s3a monster"])
async def test_an_unwanted_word_is_refused_and_costs_nothing(make_front: MakeFront, prompt: str):
    front = await make_front(moderation_words=("sea monster",))
    response = await front.generate(prompt=prompt)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (422, "content_policy_violation")
    assert error["moderation_details"] == {"moderation_stage": "input", "categories": ["blocked_words"]}
    assert prompt not in response.text
    assert front.backend.orders == []
    assert await front.rows(generations) == []


async def test_a_full_disk_is_said_before_painting(make_front: MakeFront):
    front = await make_front(min_free_disk_bytes=2**62)
    response = await front.generate()
    assert (response.status_code, response.json()["error"]["type"]) == (503, "storage_unavailable")
    assert response.headers["retry-after"] == "5"
    assert front.backend.orders == []
    assert (await front.generate(store=False, response_format="b64_json")).status_code == 200


async def test_a_full_queue_is_said_at_once(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={1: gate}), max_queued_generations=2)
    painting = [asyncio.create_task(front.generate()) for _ in range(2)]
    await until(lambda: len(front.backend.orders) == 2)
    response = await front.generate()
    assert (response.status_code, response.json()["error"]["type"]) == (503, "overloaded_error")
    assert int(response.headers["retry-after"]) >= 1
    assert int(response.headers["retry-after-ms"]) >= 1000
    assert len(await front.rows(generations)) == 2
    gate.set()
    assert [(await task).status_code for task in painting] == [200, 200]
    assert (await front.generate()).status_code == 200


@pytest.mark.parametrize("body", [{"size": "1x1"}, {"model": "no-such"}, {"prompt": ""}])
async def test_a_refused_order_gives_its_place_back(make_front: MakeFront, body: dict):
    front = await make_front(max_queued_generations=1, moderation_words=("monster",))
    for _ in range(3):
        assert (await front.generate(**body)).status_code in (400, 404, 422)
        assert (await front.generate(prompt="monster")).status_code == 422
    assert (await front.generate()).status_code == 200


# --- disk and database fail -----------------------------------------------------------------------------------------


async def test_a_disk_that_fails_while_a_picture_is_written(front: Front, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fail)
        response = await front.generate({"x-pinxit-generation": ID}, n=3)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "storage_unavailable")
    assert (await order_of(front))["status"] == "failed"
    assert front.files() == []
    await assert_whole(front)
    assert (await front.generate()).status_code == 200


def name_of(unit: Any) -> str:
    """`settle`, `fail` …, of the functions of the repository."""
    return getattr(getattr(unit, "func", unit), "__name__", "")


class InDoubt:
    """Commits of chosen transactions whose outcome is not told, made or not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, front: Front) -> None:
        self.left = 0
        self.happens = True
        self._write = front.house.database.write
        monkeypatch.setattr(front.house.database, "write", self.write)

    async def write(self, unit):
        if self.left and name_of(unit) == "settle":
            self.left -= 1
            if self.happens:
                await self._write(unit)
            raise CommitUnknown
        return await self._write(unit)


@pytest.mark.parametrize("happens", [True, False])
async def test_a_settlement_in_doubt_is_judged_by_the_rows(
    front: Front, monkeypatch: pytest.MonkeyPatch, happens: bool
):
    doubt = InDoubt(monkeypatch, front)
    doubt.left, doubt.happens = 1, happens
    response = await front.generate({"x-pinxit-generation": ID}, n=2)
    assert response.status_code == 200
    order = await order_of(front)
    assert (order["status"], len(order["images"])) == ("completed", 2)
    await assert_whole(front)


@pytest.mark.parametrize("happens", [True, False])
async def test_a_settlement_that_stays_in_doubt_keeps_files_and_rows_together(
    front: Front, monkeypatch: pytest.MonkeyPatch, happens: bool
):
    doubt = InDoubt(monkeypatch, front)
    doubt.left, doubt.happens = 2, happens
    response = await front.generate({"x-pinxit-generation": ID}, n=2)
    assert response.status_code == (200 if happens else 503)
    order = await order_of(front)
    assert order["status"] == ("completed" if happens else "failed")
    await assert_whole(front)


@pytest.mark.sqlite_only
async def test_an_order_that_cannot_be_opened_is_not_painted(front: Front):
    """The real SQLITE_FULL: the prompt needs pages that may not be added."""
    await front.house.database.write(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1"))
    response = await front.generate(prompt="x" * 32_000)
    assert (response.status_code, response.json()["error"]["type"]) == (503, "storage_unavailable")
    assert front.backend.orders == []
    assert front.files() == []
    assert (await front.generate()).status_code == 200  # on a new connection there is room


class FailingEnd:
    """While it is on, no order can be settled or failed: a full disk at the worst moment."""

    def __init__(self, front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_on = True
        self.failed = 0
        self._write = front.house.database.write
        monkeypatch.setattr(front.house.database, "write", self.write)

    async def write(self, unit):
        if self.is_on and name_of(unit) in ("settle", "fail"):
            self.failed += 1
            raise StorageUnavailable
        return await self._write(unit)


async def test_an_order_whose_end_could_not_be_kept_is_ended_later(front: Front, monkeypatch: pytest.MonkeyPatch):
    """Not only by the next server: the running one does it as soon as it can."""
    end = FailingEnd(front, monkeypatch)
    assert (await front.generate({"x-pinxit-generation": ID}, n=2)).status_code == 503
    assert end.failed == 2
    assert len(front.files()) == 2
    end.is_on = False

    await front.house.services.generations.tend()

    assert (await order_of(front))["status"] == "failed"
    assert front.files() == []
    await assert_whole(front)


async def test_files_that_could_not_be_removed_go_later(make_front: MakeFront, monkeypatch: pytest.MonkeyPatch):
    failures = iter([None, ContentPolicyViolation("the second of two")])
    front = await make_front(FakeBackend(failure=lambda _: next(failures)))

    async def cannot(_: list[str]) -> None:
        raise StorageUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(Library, "discard", lambda _, keys: cannot(keys))
        assert (await front.generate(n=2)).status_code == 422
    assert len(front.files()) == 1

    await front.house.services.generations.tend()

    assert front.files() == []
    await assert_whole(front)


async def test_an_order_that_was_given_up_meanwhile_leaves_no_file(make_front: MakeFront):
    """Its lease ran out, as of a machine that stood still; somebody ended it and cleaned up; then it goes on."""
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    painting = asyncio.create_task(front.generate({"x-pinxit-generation": ID}, n=2))
    await until(lambda: front.backend.orders)
    await give_up(front)
    gate.set()
    response = await painting
    assert (response.status_code, response.json()["error"]["type"]) == (503, "upstream_unavailable")
    assert (await order_of(front))["status"] == "failed"
    assert front.files() == []
    await assert_whole(front)


async def give_up(front: Front) -> None:
    """What the keeper of leases does with an order that nobody paints any more."""
    ended = {"status": "failed", "lease_owner": None, "lease_until": None, "storage_keys": []}
    ended |= {"error_class": "BackendUnavailable", "error_message": "Somebody gave it up."}

    def unit(connection: Connection) -> None:
        connection.execute(generations.update().values(ended))
        connection.execute(attempts.update().values(status="failed"))

    await front.house.database.write(unit)


# --- the server stops -----------------------------------------------------------------------------------------------


async def test_stopping_waits_for_orders_under_way(make_front: MakeFront):
    gate = asyncio.Event()
    front = await make_front(FakeBackend(gates={2: gate}))
    painting = asyncio.create_task(front.generate())
    await until(lambda: front.backend.orders)
    closing = asyncio.create_task(front.house.services.generations.close(10))
    await asyncio.sleep(0)
    assert not closing.done()
    gate.set()
    await closing
    assert (await painting).status_code == 200


async def test_stopping_ends_what_takes_too_long(make_front: MakeFront):
    front = await make_front(FakeBackend(gates={2: asyncio.Event()}))
    painting = asyncio.create_task(front.generate({"x-pinxit-generation": ID}))
    await until(lambda: front.backend.orders)
    await front.house.services.generations.close(0)
    response = await painting
    assert (response.status_code, response.json()["error"]["type"]) == (503, "upstream_unavailable")
    assert response.json()["error"]["message"] == service.STOPPED
    assert (await order_of(front))["status"] == "failed"
    await assert_whole(front)


async def test_stopping_while_a_picture_is_written_leaves_no_file(front: Front, monkeypatch: pytest.MonkeyPatch):
    """The thread that writes cannot be stopped: its file goes after it is written."""
    writing, go_on = threading.Event(), threading.Event()
    real = local._write_durably

    def slow(path: Path, data: bytes, is_read_soon: bool) -> None:
        writing.set()
        assert go_on.wait(10)
        real(path, data, is_read_soon)

    monkeypatch.setattr(local, "_write_durably", slow)
    painting = asyncio.create_task(front.generate({"x-pinxit-generation": ID}))
    await asyncio.to_thread(writing.wait, 10)
    await until(lambda: front.backend.active == 0)  # all is painted; only the file is not yet there
    closing = asyncio.create_task(front.house.services.generations.close(0))
    await asyncio.wait([closing, painting], timeout=0.2)
    assert not painting.done()
    go_on.set()
    await closing
    assert (await painting).status_code == 503
    assert front.files() == []
    await assert_whole(front)
