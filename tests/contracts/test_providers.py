"""What every upstream provider keeps, against a server that is written from its documentation alone."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from importlib import import_module
from ipaddress import ip_network
from urllib.parse import urlsplit

import pytest
from simulated import Outcome, Simulated, picture

from pinxit.backends.interface import Asked, Job, JobBegun, PaintedFile, PaintEvent, PaintOrder
from pinxit.backends.upstream import list_kinds, load_kind
from pinxit.backends.upstream._base import Limits, UpstreamBackend
from pinxit.backends.upstream._provider import Access
from pinxit.errors import (
    BackendBusy,
    BackendError,
    BackendUnavailable,
    ContentPolicyViolation,
    InvalidValue,
    PinxitError,
)
from pinxit.images.decoding import read_header
from pinxit.images.encoding import inspect
from pinxit.images.request import Encoding
from pinxit.runners.checked import paint_checked

LOOPBACK = (ip_network("127.0.0.0/8"),)
LIMITS = Limits(timeout_seconds=20, poll_seconds=0)
EXPECTED: dict[Outcome, type[PinxitError]] = {
    Outcome.REFUSE: ContentPolicyViolation,
    Outcome.RATE_LIMIT: BackendBusy,
    Outcome.BAD_REQUEST: InvalidValue,
    Outcome.NO_CREDIT: BackendUnavailable,
    Outcome.OUTAGE: BackendUnavailable,
    Outcome.FAIL_LATER: BackendError,
}


def simulated(kind: str) -> Simulated:
    """The server of the provider's own documentation."""
    module = import_module(f"simulated_{kind}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Simulated) and value.__module__ == module.__name__
    ]
    assert len(found) == 1
    return found[0]()


def base_url(kind: str, server: Simulated) -> str:
    """The provider's path on the simulation's host."""
    return server.url + server.base_path(urlsplit(load_kind(kind).base_url).path)


@asynccontextmanager
async def painting(kind: str, *, credential: str | None = None) -> AsyncIterator[tuple[Simulated, UpstreamBackend]]:
    async with simulated(kind).serving() as server:
        chosen = server.credential if credential is None else credential
        provider = load_kind(kind)(Access(base_url(kind, server), chosen, server.options()))
        if models := server.configured_models():
            provider.offer(models)
        backend = UpstreamBackend(kind, provider, limits=LIMITS, allowed_networks=LOOPBACK)
        await backend.open()
        try:
            yield server, backend
        finally:
            await backend.close()


def order_for(backend: UpstreamBackend, model: str, n: int = 1, **more: object) -> PaintOrder:
    spec = next(spec for spec in backend.models() if spec.id == model)
    can = spec.capabilities
    return PaintOrder(
        model=model,
        prompt="a red fox in the snow",
        size=can.default_size,
        seeds=tuple(range(7, 7 + n)),
        num_inference_steps=int(can.num_inference_steps.default) if can.num_inference_steps else 1,
        guidance_scale=can.guidance_scale.default if can.guidance_scale else None,
        asked=Asked(encoding=can.encodings[0], **more),
    )


async def paint(backend: UpstreamBackend, order: PaintOrder) -> list[PaintEvent]:
    async with asyncio.timeout(30), aclosing(paint_checked(backend, order)) as events:
        return [event async for event in events]


def files(events: list[PaintEvent]) -> list[PaintedFile]:
    return [event for event in events if isinstance(event, PaintedFile)]


KINDS = list_kinds()


@pytest.mark.parametrize("kind", KINDS)
async def test_every_model_paints_in_its_sizes(kind: str):
    async with painting(kind) as (server, backend):
        for spec in backend.models():
            for size in (spec.capabilities.default_size, *spec.capabilities.sizes[:3]):
                before = server.painted
                order = order_for(backend, spec.id)
                [file] = files(await paint(backend, order.__class__(**{**_fields(order), "size": size})))
                assert (file.encoding, file.size) == inspect(file.data, max_side=8192)
                assert file.size == size, (spec.id, size)
                assert file.encoding in spec.capabilities.encodings
                assert server.painted == before + 1, spec.id


def _fields(order: PaintOrder) -> dict[str, object]:
    return {name: getattr(order, name) for name in order.__dataclass_fields__}


@pytest.mark.parametrize("kind", KINDS)
async def test_several_pictures_are_each_painted_once(kind: str):
    async with painting(kind) as (server, backend):
        spec = max(backend.models(), key=lambda spec: spec.capabilities.max_n)
        n = min(3, spec.capabilities.max_n)
        found = files(await paint(backend, order_for(backend, spec.id, n)))
        assert sorted(file.index for file in found) == list(range(n))
        assert server.painted == n


@pytest.mark.parametrize("kind", KINDS)
async def test_the_prompt_arrives_and_the_credential_is_only_in_its_header(kind: str):
    async with painting(kind) as (server, backend):
        await paint(backend, order_for(backend, backend.models()[0].id))
        assert any(b"a red fox in the snow" in call.body for call in server.calls)
        for call in server.calls:
            assert server.credential.encode() not in call.body
            assert server.credential not in call.path
            assert server.credential not in str(call.query)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if load_kind(kind).credential_variable])
async def test_a_wrong_credential_is_the_operators_affair(kind: str):
    async with painting(kind, credential="wrong-0123456789") as (server, backend):
        with pytest.raises(BackendUnavailable) as caught:
            await paint(backend, order_for(backend, backend.models()[0].id))
        assert server.painted == 0
        assert "wrong-0123456789" not in caught.value.message


@pytest.mark.parametrize("outcome", EXPECTED)
@pytest.mark.parametrize("kind", KINDS)
async def test_what_goes_wrong_there_is_told_by_its_class(kind: str, outcome: Outcome):
    async with painting(kind) as (server, backend):
        if outcome in server.impossible:
            pytest.skip(server.impossible[outcome])
        server.outcome = outcome
        with pytest.raises(EXPECTED[outcome]) as caught:
            await paint(backend, order_for(backend, backend.models()[0].id))
        assert caught.value.message.strip(), outcome
        assert server.credential not in caught.value.message
        assert server.painted == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_those_that_can_edit_get_the_files_as_they_came(kind: str):
    async with painting(kind) as (server, backend):
        sent = read_header(picture(96, 64, "png", "to begin from"))
        for spec in backend.models():
            if spec.capabilities.edits:
                before = server.painted
                assert files(await paint(backend, order_for(backend, spec.id, images=(sent,))))
                assert server.painted == before + 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_job_is_told_of_before_it_is_asked_for_if_there_are_jobs(kind: str):
    async with painting(kind) as (server, backend):
        if kind == "replicate":
            server.wait_is_enough = False  # else the first answer has the picture
        order = order_for(backend, backend.models()[0].id)
        begun: list[Job] = []
        async with asyncio.timeout(30), aclosing(paint_checked(backend, order)) as events:
            async for event in events:
                if isinstance(event, JobBegun):
                    event.is_kept = True
                    begun.append(event.job)
                    break
        assert len(begun) == load_kind(kind).has_jobs
        if begun:
            calls = len(server.calls)
            assert len(files(await paint(backend, replace(order, jobs=tuple(begun))))) == 1
            assert not any(call.method == "POST" for call in server.calls[calls:])
            assert server.painted == 1
            assert server.credential not in str(begun)


@pytest.mark.parametrize("kind", KINDS)
async def test_models_are_described(kind: str):
    async with painting(kind) as (_, backend):
        for spec in backend.models():
            can = spec.capabilities
            assert can.default_size in can.sizes
            assert spec.description
            assert spec.owned_by
            assert spec.licence
            assert set(can.aspect_ratios.values()) <= set(can.sizes)
            assert all(isinstance(encoding, Encoding) for encoding in can.encodings)
            assert can.encodings


def test_every_provider_says_where_it_is_described():
    for kind in KINDS:
        provider = load_kind(kind)
        assert provider.documentation, kind
        assert all(re.search(r"20\d\d-\d\d-\d\d\)", page) for page in provider.documentation), kind
