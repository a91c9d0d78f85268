"""Schemathesis against the whole application: every request that its OpenAPI document allows, and many that it does not.

PINXIT_TEST_SCHEMATHESIS is about how many requests (2000); PINXIT_TEST_SCHEMATHESIS_SEED replays a run.
"""

import asyncio
import json
import os
from base64 import b64encode
from collections import Counter
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import SystemRandom
from typing import Any, TypeVar

import pytest
import schemathesis
import structlog
from hypothesis import strategies
from fastapi import FastAPI
from schemathesis.engine import Status, from_schema
from schemathesis.engine.events import FatalError, NonFatalError, ScenarioFinished
from schemathesis.core.file_samples import FILE_SAMPLES
from schemathesis.python import asgi
from starlette.types import Receive, Send
from starlette.types import Scope as AsgiScope

from pinxit.api.images import terms
from pinxit.api.openapi import openapi_document
from pinxit.api.request_schema import Schema, edit_schema, form_of, model_names, order_schema, variation_schema
from pinxit.app import House, build, create_app
from pinxit.backends.interface import ModelSpec
from pinxit.database.opening import DATABASE_FILE
from pinxit.errors import AuthenticationFailed
from pinxit.images.size import Size
from pinxit.keys.model import KeyOptions, Scope
from pinxit.keys.service import local_caller
from pinxit.network.http import Answer, GuardedHttp, RequestFailed
from pinxit.settings import load_settings
from pinxit.testing.fake_backend import FAKE_1, FakeBackend

LONG = os.environ.get("PINXIT_TEST_LONG") == "1"
EXAMPLES = int(os.environ.get("PINXIT_TEST_SCHEMATHESIS", "20000" if LONG else "2000"))
FIXED_SEED = 20261122
T = TypeVar("T")
ACCOUNT = "acct_default"


class SmallBackend(FakeBackend):
    """Paints the smallest size only."""

    def models(self) -> Sequence[ModelSpec]:
        smallest = Size(256, 256)
        can = replace(FAKE_1.capabilities, sizes=(smallest,), default_size=smallest, aspect_ratios={"1:1": smallest})
        return [replace(FAKE_1, capabilities=replace(can, max_n=2))]


class Nowhere(GuardedHttp):
    """Judges addresses as the real one does, and sends nothing."""

    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes = b"",
        max_answer_bytes: int | None = None,
    ) -> Answer:
        raise RequestFailed("No connection could be made.")


class Subject:
    """The application, and a way into its event loop, which Schemathesis runs in a thread of its own."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.app: FastAPI = create_app(house)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.statuses: Counter[int] = Counter()
        self.key = ""

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        self.loop = asyncio.get_running_loop()
        await self.app(scope, receive, send)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        assert self.loop is not None
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def fresh_key(self) -> str:
        """A key that may do everything: a new one where the last was revoked or restrained by what it was used for."""
        self.key = self.run(self._usable_key())
        return self.key

    async def _usable_key(self) -> str:
        keys, options = self.house.services.keys, KeyOptions(name="fuzz", scopes=tuple(Scope))
        try:
            caller = await keys.verify(self.key)
        except AuthenticationFailed:
            caller = None
        if caller is not None and caller.key is not None and caller.key.options == options:
            return self.key
        return (await keys.create(local_caller(ACCOUNT), options))[1]


@pytest.fixture
def subject(tmp_path: Path, blank_database: bytes) -> Iterator[Subject]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    settings = load_settings(environ={}, overrides={
        "data_dir": tmp_path / "data", "default_model": "fake-1", "fetch_image_urls": False})
    settings.data_dir.mkdir()
    (settings.data_dir / DATABASE_FILE).write_bytes(blank_database)
    subject = Subject(_isolated(build(settings, owns_folder=True, backends=[SmallBackend()])))
    with asgi.get_client(subject):
        yield subject
    asgi.shutdown_lifespans()
    structlog.reset_defaults()


def _isolated(house: House) -> House:
    """The house, which sends nothing to anybody outside."""
    house.deliverer._http = Nowhere()
    house.services = replace(house.services, picture_http=Nowhere())
    return house


def _config(seed: int, examples: int) -> schemathesis.Config:
    """About so many requests, half of them fuzzing, and as many again in sequences and at the edges of what is allowed."""
    operations = 33
    per_operation = max(1, examples // (2 * operations))
    generation = {"max-examples": per_operation, "no-shrink": True, "database": "none"}
    return schemathesis.Config.from_dict(
        {
            "seed": seed,
            "phases": {
                "fuzzing": {"generation": generation},
                "stateful": {"generation": {**generation, "max-examples": max(1, examples // 40)}},
            },
        }
    )


def document_of(subject: Subject) -> Schema:
    """The OpenAPI document, with what GET /v1/models/fake-1 says of the requests that this model takes."""
    services = subject.house.services
    entry = services.catalog.default
    own = replace(
        terms(services.settings, None), can=entry.capabilities, model=model_names([entry.id, *entry.aliases], [])
    )
    own = replace(own, has_rules=False)
    document = json.loads(openapi_document(subject.app))
    edit, variation = edit_schema(own), variation_schema(own)
    document["components"]["schemas"] |= {
        "ImageRequest": order_schema(own),
        "EditRequest": edit,
        "EditForm": form_of(edit),
        "VariationRequest": variation,
        "VariationForm": form_of(variation),
    }
    return document


class Fuzz:
    """What one run found."""

    def __init__(self) -> None:
        self.requests = 0
        self.statuses: Counter[int] = Counter()
        self.phases: Counter[str] = Counter()
        self.failures: dict[str, str] = {}
        self.errors: list[str] = []

    def note(self, event: object) -> None:
        if isinstance(event, (FatalError, NonFatalError)):
            self.errors.append(repr(getattr(event, "value", None) or event.exception))
        if not isinstance(event, ScenarioFinished):
            return
        for interaction in event.recorder.interactions.values():
            self.requests += 1
            self.phases[event.phase.value] += 1
            if interaction.response is not None:
                self.statuses[interaction.response.status_code] += 1
        for case_id, checks in event.recorder.checks.items():
            for check in checks:
                if check.status is Status.FAILURE:
                    self._fail(event, case_id, check)

    def _fail(self, event: ScenarioFinished, case_id: str, check: Any) -> None:
        response = event.recorder.interactions[case_id].response
        title = f"{event.recorder.cases[case_id].value.operation.label}: {check.name}: {check.failure_info.failure.title}"
        sample = check.failure_info.code_sample
        answer = "" if response is None else f"{response.status_code} {response.content[:600]!r}"
        self.failures.setdefault(title, f"{title}\n{check.failure_info.failure.message[:800]}\n{sample[:800]}\n{answer}")


PICTURES = [
    FILE_SAMPLES["png"], FILE_SAMPLES["jpg"], FILE_SAMPLES["webp"]
]
schemathesis.openapi.format(
    "picture-url", strategies.sampled_from(["data:image/png;base64," + b64encode(data).decode() for data in PICTURES])
)


@pytest.mark.timeout(3 * 3600 if LONG else 300)
@pytest.mark.parametrize("seed", [FIXED_SEED])
def test_schemathesis_finds_nothing(subject: Subject, seed: int):
    config = _config(seed, EXAMPLES)
    schema = schemathesis.openapi.from_dict(document_of(subject), config=config)
    schema.app = subject
    schema.location = "/openapi.json"

    @schema.auth(refresh_interval=None)
    class Key:
        def get(self, case: schemathesis.Case, context: schemathesis.AuthContext) -> str:
            return subject.fresh_key()

        def set(self, case: schemathesis.Case, data: str, context: schemathesis.AuthContext) -> None:
            case.headers["Authorization"] = f"Bearer {data}"

    found = Fuzz()
    for event in from_schema(schema).execute():
        found.note(event)
    print(found.requests, found.phases, found.statuses)
    assert not found.errors, "\n".join(found.errors)
    assert not found.failures, f"seed {seed}\n\n" + "\n\n".join(found.failures.values())
