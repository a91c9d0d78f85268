"""Thousands of requests that are almost right: each gets an answer of the contract, and none a 500.

PINXIT_TEST_FUZZ is how many (20000); PINXIT_TEST_FUZZ_SEED replays the one request that a failure names.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import structlog
from mutations import Known, Request, request

from asgi import Answer, call
from front import BASE_URL, Front, MakeFront
from pinxit.backends.interface import ModelSpec
from pinxit.database.tables import generations, images
from pinxit.images.size import Size
from pinxit.keys.model import Scope
from pinxit.keys.service import local_caller
from pinxit.testing.fake_backend import FAKE_1, FakeBackend

EXAMPLES = int(os.environ.get("PINXIT_TEST_FUZZ", "200000" if os.environ.get("PINXIT_TEST_LONG") == "1" else "20000"))
ONLY = os.environ.get("PINXIT_TEST_FUZZ_SEED")
SHARDS = 4
"""The work is split so that it can be done side by side."""


class SmallBackend(FakeBackend):
    """Paints the smallest size only, whatever is asked for."""

    def models(self) -> Sequence[ModelSpec]:
        smallest = Size(256, 256)
        can = replace(FAKE_1.capabilities, sizes=(smallest,), default_size=smallest, aspect_ratios={}, max_n=2)
        return [replace(FAKE_1, capabilities=can)]


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Log errors only."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    yield
    structlog.reset_defaults()


@pytest.fixture
async def known(make_front: MakeFront) -> tuple[Front, Known]:
    front = await make_front(SmallBackend())
    front.key = await front.make_key(name="strong", scopes=tuple(Scope))
    answer = await front.generate()
    datum = answer.json()["data"][0]
    victim = (await front.house.services.keys.list(local_caller("acct_default")))[-1].id
    weak = await front.make_key(scopes=(Scope.MODELS_READ,), strict=True)
    picture = datum["url"].removeprefix(BASE_URL)
    return front, Known(front.key, weak, datum["id"], picture, answer.headers["x-pinxit-generation"], victim)


@pytest.mark.timeout(3600 if EXAMPLES > 20_000 else 300)
@pytest.mark.parametrize("shard", range(1 if ONLY else SHARDS))
async def test_every_mutated_request_gets_an_answer_of_the_contract(known: tuple[Front, Known], shard: int):
    front, house = known
    seeds = [int(ONLY)] if ONLY else range(shard * 10_000_000, shard * 10_000_000 + EXAMPLES // SHARDS)
    statuses: Counter[int] = Counter()
    for seed in seeds:
        sent = request(seed, house)
        try:
            answer = await call(front.app, sent.method, sent.target, sent.headers, sent.body)
            check(answer, sent)
        except Exception as error:
            raise AssertionError(f"replay with PINXIT_TEST_FUZZ_SEED={seed}: {sent}") from error
        statuses[answer.status] += 1
    if not ONLY:
        assert {200, 400, 401, 404, 405, 422} <= set(statuses), statuses
    await check_house(front)


def check(answer: Answer, sent: Request) -> None:
    """Raises AssertionError, or what fails first, unless the answer is one of the contract."""
    assert answer.status < 500, answer
    assert answer.headers["x-request-id"]
    assert not any(character in value for value in answer.headers.values() for character in "\r\n\0")
    if sent.method == "HEAD" or answer.status in (304, 416):
        assert answer.body == b""
    elif answer.headers["content-type"].startswith("image/"):
        assert answer.status in (200, 206)
    else:
        assert answer.headers["content-type"] == "application/json"
        assert int(answer.headers["content-length"]) == len(answer.body)
        check_json(answer)


def check_json(answer: Answer) -> None:
    content = json.loads(answer.body)
    if answer.status < 400:
        assert "error" not in content or content["object"] == "generation"
        return
    error = content["error"]
    assert {"message": str, "type": str, "param": str, "code": int} == {
        name: type(value) for name, value in error.items() if name != "moderation_details"
    }
    assert error["code"] == answer.status
    assert error["message"]
    assert len(answer.body) < 2000, "it says too much"
    assert ("moderation_details" in error) == (error["type"] == "content_policy_violation")


async def check_house(front: Front) -> None:
    """Every order has ended, and there is a file for every picture and no other."""
    ended = {row.status for row in await front.rows(generations)}
    assert ended == {"completed"}
    kept = {row.storage_key.rpartition("/")[2] for row in await front.rows(images) if row.deleted_at is None}
    assert {path.name for path in front.files()} == kept
    assert front.house.services.byte_budget.used_bytes == 0
    assert front.backend.active == 0
