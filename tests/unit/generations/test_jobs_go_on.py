"""Jobs far away outlive the process that has begun them: the next one asks for the same job, and sends nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from simulated import Outcome, picture
from simulated_fal import SimulatedFal
from sqlalchemy import Connection

from front import Front, MakeFront
from painting_house import assert_whole, until
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.database.tables import attempts, generations
from pinxit.errors import StorageUnavailable
from pinxit.generations import repository
from pinxit.generations.service import GOES_ON
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.routing.router import Router

CREDITS_MICROS, PRICE_MICROS = 1_000_000, 50_000
MODEL, EDITOR = "fal-ai/flux/schnell", "fal-ai/flux-2"
SIZE = "512x512"
KEY = {"Idempotency-Key": "the order"}


class Fal(SimulatedFal):
    """Looks at what comes in, and paints when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.polls_needed = 10**9
        self.look: Callable[[], Any] | None = None

    async def _status(self, request: web.Request) -> web.Response:
        if self.look is not None:
            await self.look()
        return await super()._status(request)

    @property
    def submitted(self) -> int:
        return sum(call.method == "POST" for call in self.calls)

    @property
    def polled(self) -> int:
        return sum(call.path.endswith("/status") for call in self.calls)

    @property
    def cancelled(self) -> int:
        return sum(call.path.endswith("/cancel") for call in self.calls)

    def finish(self) -> None:
        self.polls_needed = 0


@dataclass
class There:
    """A house whose model `far` is painted by fal, and how another process over the same folder is made."""

    fal: Fal
    front: Front
    make: Callable[[], Any]

    def order(self, *, n: int = 1, headers: dict[str, str] | None = None, **more: Any) -> "asyncio.Task[Any]":
        wanted = {"model": "far", "size": SIZE, "n": n, "response_format": "b64_json", **more}
        return asyncio.create_task(self.front.generate(KEY if headers is None else headers, **wanted))

    async def begun(self, **more: Any) -> "asyncio.Task[Any]":
        """An order whose jobs are all under way."""
        asked = self.order(**more)
        await until(lambda: len({*self.polled_ids()}) == more.get("n", 1) or asked.done())
        return asked

    def polled_ids(self) -> list[str]:
        return [call.path.split("/")[-2] for call in self.fal.calls if call.path.endswith("/status")]

    async def stop(self) -> None:
        await self.front.house.services.generations.close(0)

    async def start(self) -> None:
        await self.front.house.services.generations.start()

    async def ended(self) -> Any:
        """The only order, once it has ended."""
        async with asyncio.timeout(10):
            while (row := (await self.front.rows(generations))[-1]).status in repository.OPEN:
                await asyncio.sleep(0.002)
        return row

    async def change(self, table: Any, **columns: Any) -> None:
        await self.front.house.database.write(lambda connection: connection.execute(table.update().values(columns)))

    async def tries(self) -> list[tuple[str, int]]:
        return [(row.status, row.cost_micros) for row in await self.front.rows(attempts)]

    async def credits(self) -> int:
        """What is left; nothing is held, and the books are right."""
        database = self.front.house.database
        assert await database.read(check) == []
        left, held = await database.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT))
        assert held == 0
        return left


@asynccontextmanager
async def painting_far_away(make_front: MakeFront, **options: Any) -> AsyncIterator[There]:
    fal = Fal()
    async with fal.serving():

        async def make() -> Front:
            provider = {"base_url": fal.url, "credential": fal.credential, "poll_seconds": 0.005, **options}
            models = [(name, f"fal/{model}") for name, model in (("far", MODEL), ("editor", EDITOR))]
            prices = [{"usd": PRICE_MICROS / 1e6}]
            return await make_front(
                billing="credits",
                providers={"fal": provider},
                model_list=[
                    {"model_name": name, "params": {"model": model}, "prices": prices} for name, model in models
                ],
            )

        front = await make()
        now = front.house.services.now()
        await front.house.database.write(
            lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, CREDITS_MICROS, reference="cash", now=now)
        )
        yield There(fal, front, make)


async def test_a_job_is_written_down_before_it_is_asked_for(make_front: MakeFront):
    async with painting_far_away(make_front) as there:
        written: list[Any] = []

        async def look() -> None:
            written.extend(await there.front.rows(attempts))

        there.fal.look = look
        there.fal.finish()
        assert (await there.order()).status_code == 200
        assert written[0].upstream_id
        assert written[0].upstream_id in str(written[0].jobs)
        assert there.fal.credential not in str(written[0].jobs)


async def test_an_order_at_a_backend_without_jobs_writes_none(front: Front, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(repository, "note_jobs")
    assert (await front.generate()).status_code == 200
    assert [(row.jobs, row.upstream_id) for row in await front.rows(attempts)] == [(None, None)]


@pytest.mark.both_databases
async def test_the_next_process_goes_on_with_the_job_of_one_that_stands_still(make_front: MakeFront):
    async with painting_far_away(make_front) as there:
        asked = await there.begun()
        there.front.house.services.generations._tending.pop().cancel()
        other = await there.make()  # of the same folder: the one before it must be dead
        there.fal.finish()
        again = await other.generate(KEY, model="far", size=SIZE, response_format="b64_json")
        first = await asked
        assert (first.status_code, again.status_code) == (200, 200)
        assert first.json()["data"][0]["b64_json"] == again.json()["data"][0]["b64_json"]
        assert (there.fal.submitted, there.fal.painted, there.fal.cancelled) == (1, 1, 0)
        assert await there.tries() == [("lost", 0), ("succeeded", 3000)]
        assert await there.credits() == CREDITS_MICROS - PRICE_MICROS
        await assert_whole(there.front)


@pytest.mark.parametrize("headers", [KEY, {}])
async def test_a_server_that_stops_leaves_its_jobs_to_the_next(make_front: MakeFront, headers: dict[str, str]):
    async with painting_far_away(make_front) as there:
        asked = await there.begun(n=3, headers=headers)
        await there.stop()
        answer = await asked
        assert (answer.status_code, answer.json()["error"]["message"]) == (503, GOES_ON)
        assert there.fal.cancelled == 0
        [left] = await there.front.rows(generations)
        assert left.abandoned_at is not None, "another process that is asked again would not find it"
        await there.start()
        there.fal.finish()
        retry = headers or {"x-stainless-retry-count": "1"}
        again = await there.order(n=3, headers=retry)
        assert again.status_code == 200, again.text
        assert len(again.json()["data"]) == 3
        assert (there.fal.submitted, there.fal.painted) == (3, 3)
        assert await there.credits() == CREDITS_MICROS - 3 * PRICE_MICROS
        await assert_whole(there.front)


async def test_it_survives_two_stops(make_front: MakeFront):
    async with painting_far_away(make_front) as there:
        await there.begun()
        for _ in range(2):
            await there.stop()
            seen = there.fal.polled
            await there.start()
            await until(lambda seen=seen: there.fal.polled > seen)
        there.fal.finish()
        assert (await there.ended()).status == "completed"
        assert there.fal.submitted == 1
        assert [status for status, _ in await there.tries()] == ["lost", "lost", "succeeded"]


async def test_what_is_cancelled_after_that_is_cancelled_there(make_front: MakeFront):
    async with painting_far_away(make_front) as there:
        await there.begun()
        await there.stop()
        await there.start()
        [row] = await there.front.rows(generations)
        answer = await there.front.client.delete(f"/v1/generations/{row.id}", headers=there.front.authorization)
        assert answer.json()["status"] == "cancelled"
        assert there.fal.cancelled == 1
        assert await there.credits() == CREDITS_MICROS


async def test_a_job_is_asked_for_by_the_credential_that_ordered_it(make_front: MakeFront):
    async with painting_far_away(make_front, credential="one that fal refuses") as there:
        credentials = there.front.house.services.credentials
        await credentials.set("fal", there.fal.credential, account_id=DEFAULT_ACCOUNT)
        await there.begun()
        await there.stop()
        seen = there.fal.polled
        await there.start()
        there.fal.finish()
        row = await there.ended()
        assert (row.status, row.parameters["credential"]) == ("completed", "own")
        assert there.fal.submitted == 1
        assert there.fal.polled > seen
        assert await there.credits() == CREDITS_MICROS, "it is on the account's own bill there"


async def test_a_job_is_cancelled_by_the_credential_that_ordered_it(make_front: MakeFront):
    async with painting_far_away(make_front, credential="one that fal refuses") as there:
        credentials = there.front.house.services.credentials
        await credentials.set("fal", there.fal.credential, account_id=DEFAULT_ACCOUNT)
        await there.begun()
        await there.stop()
        await there.change(generations, cancel_requested_at=datetime.now(UTC))
        await there.start()
        assert (await there.ended()).status == "cancelled"
        await until(lambda: there.fal.cancelled)
        [cancelling] = [call for call in there.fal.calls if call.path.endswith("/cancel")]
        assert cancelling.headers["authorization"].endswith(there.fal.credential)
        assert await there.credits() == CREDITS_MICROS


@pytest.mark.parametrize(
    ("column", "status"), [("cancel_requested_at", "cancelled"), ("deadline_at", "failed"), ("storage_keys", "unknown")]
)
async def test_what_nobody_wants_any_more_is_cancelled_there(make_front: MakeFront, column: str, status: str):
    """Cancelled, or late, or to be had by nobody, when the next process finds it."""
    async with painting_far_away(make_front) as there:
        await there.begun()
        await there.stop()
        value = [] if column == "storage_keys" else datetime.now(UTC) - timedelta(seconds=5)
        await there.change(generations, **{column: value})
        await there.start()
        assert (await there.ended()).status == status
        await until(lambda: there.fal.cancelled)
        assert await there.credits() == CREDITS_MICROS


async def test_a_job_that_was_not_written_down_is_given_up_by_who_stops(
    make_front: MakeFront, monkeypatch: pytest.MonkeyPatch
):
    def note_jobs(_connection: Connection, **_: Any) -> None:
        raise StorageUnavailable

    monkeypatch.setattr(repository, "note_jobs", note_jobs)
    async with painting_far_away(make_front) as there:
        asked = await there.begun()
        await there.stop()
        assert (await asked).status_code == 504
        assert (await there.ended()).status == "unknown"
        assert there.fal.cancelled == 1


async def test_pictures_whose_jobs_are_not_known_are_missing(make_front: MakeFront):
    async with painting_far_away(make_front) as there:
        await there.begun(n=3)
        await there.stop()
        [row] = await there.front.rows(attempts)
        known = [job for job in row.jobs["jobs"] if job["places"] != [1]]
        await there.change(attempts, jobs={**row.jobs, "jobs": known})
        await there.start()
        there.fal.finish()
        ended = await there.ended()
        assert (ended.status, ended.image_count, ended.cost_micros) == ("completed", 2, 2 * PRICE_MICROS)
        assert there.fal.submitted == 3
        assert await there.credits() == CREDITS_MICROS - 2 * PRICE_MICROS


async def test_an_edit_goes_on_without_the_picture_that_it_began_from(make_front: MakeFront):
    async with painting_far_away(make_front) as there:
        form = {"model": "editor", "prompt": "a blue fox", "response_format": "b64_json"}
        files = {"image": ("fox.png", picture(512, 512), "image/png")}
        send = there.front.client.post(
            "/v1/images/edits", data=form, files=files, headers={**there.front.authorization, **KEY}
        )
        asked = asyncio.create_task(send)
        await until(lambda: there.fal.polled)
        await there.stop()
        assert (await asked).status_code == 503
        await there.start()
        there.fal.finish()
        assert (await there.ended()).status == "completed"
        assert (there.fal.submitted, there.fal.painted) == (1, 1)


ENDS: dict[str, tuple[Outcome, str, str]] = {
    "refused": (Outcome.REFUSE, "failed", "ContentPolicyViolation"),
    "failed": (Outcome.FAIL_LATER, "failed", "BackendError"),
}


@pytest.mark.parametrize("name", ENDS)
async def test_what_becomes_of_the_job_is_what_becomes_of_the_order(make_front: MakeFront, name: str):
    outcome, status, error_class = ENDS[name]
    async with painting_far_away(make_front) as there:
        there.fal.outcome = outcome
        await there.begun()
        await there.stop()
        await there.start()
        there.fal.finish()
        ended = await there.ended()
        assert (ended.status, ended.error_class) == (status, error_class)
        assert there.fal.submitted == 1
        assert await there.credits() == CREDITS_MICROS


GONE: dict[str, Callable[[There], None]] = {
    "job": lambda there: there.fal._jobs.clear(),
    "credential": lambda there: setattr(there.fal, "credential", "another-0123456789"),
}


@pytest.mark.parametrize("what", GONE)
async def test_if_the_job_cannot_be_asked_for_the_outcome_is_not_known_and_nothing_is_sent(
    make_front: MakeFront, what: str
):
    async with painting_far_away(make_front) as there:
        await there.begun()
        await there.stop()
        GONE[what](there)
        await there.start()
        assert (await there.ended()).status == "unknown"
        assert there.fal.submitted == 1
        assert await there.credits() == CREDITS_MICROS


@pytest.mark.parametrize("jobs", [{"poll": None}, {}, {"poll": {"method": "GET", "url": "https://elsewhere.example"}}])
async def test_nor_if_what_was_written_down_is_of_no_use(make_front: MakeFront, jobs: dict[str, Any]):
    async with painting_far_away(make_front) as there:
        await there.begun()
        await there.stop()
        [row] = await there.front.rows(attempts)
        state = {**row.jobs["jobs"][0]["state"], **jobs} if jobs else {}
        await there.change(attempts, jobs={**row.jobs, "jobs": [{**row.jobs["jobs"][0], "state": state}]})
        await there.start()
        assert (await there.ended()).status == "unknown"
        assert there.fal.submitted == 1


async def test_work_that_is_free_is_done_again_if_its_job_is_lost(
    make_front: MakeFront, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Router, "spread", lambda _self, _seconds: 0.0)
    async with painting_far_away(make_front, repeatable=True) as there:
        await there.begun()
        await there.stop()
        there.fal._jobs.clear()
        there.fal.finish()
        await there.start()
        assert (await there.ended()).status == "completed"
        assert there.fal.submitted == 2
