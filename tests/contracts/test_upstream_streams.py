"""Pictures that an upstream shows on their way: passed on as they come, and what becomes of streams that go wrong."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from io import BytesIO

import pytest
from failing import CREDITS_MICROS, PRICE_MICROS, UPSTREAM_MICROS
from PIL import Image
from reaching import files, order_of, paint, reaching
from scripted import CUT, DRIP, END, ENDLESS, HANG, Scripted
from simulated import picture
from simulated_azure_openai import SimulatedAzureOpenai
from simulated_openai import SimulatedOpenai, event
from simulated_openai_compatible import SimulatedOpenaiCompatible

from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.backends.interface import Capabilities, ModelSpec, PaintEvent, PaintUsage, Progress
from pinxit.backends.upstream import list_kinds, load_kind
from pinxit.backends.upstream._base import Limits, UpstreamBackend
from pinxit.backends.upstream._events import EventReader
from pinxit.backends.upstream._provider import Access, Provider, UpstreamModel
from pinxit.database.tables import attempts, generations
from pinxit.errors import (
    BackendBusy,
    BackendError,
    BackendUnavailable,
    ContentPolicyViolation,
    InvalidValue,
    OutcomeUnknown,
    PinxitError,
)
from pinxit.images.decoding import read_header
from pinxit.images.size import Size
from pinxit.ledger import ledger
from pinxit.ledger.invariants import check
from pinxit.runners.checked import paint_checked

SIZE = Size(64, 64)
FACTS = {"created_at": 1, "size": "64x64", "quality": "low", "background": "opaque", "output_format": "png"}
FINAL = picture(64, 64, "png", "the picture")
COMPLETED = event("image_generation.completed", FINAL, {**FACTS, "usage": {"input_tokens": 3, "output_tokens": 9}})


def partial(number: int) -> bytes:
    facts = {**FACTS, "partial_image_index": number}
    return event("image_generation.partial_image", picture(64, 64, "png", f"so far {number}"), facts)


def error(**facts: str) -> bytes:
    return f"event: error\ndata: {json.dumps({'error': {'message': 'oh', **facts}})}\n\n".encode()


def previews(events: list[PaintEvent]) -> list[Progress]:
    return [found for found in events if isinstance(found, Progress) and found.preview is not None]


# --- what the providers send and read, against servers written from their documentation ---


@pytest.mark.parametrize("server_class", [SimulatedOpenai, SimulatedAzureOpenai])
async def test_pictures_are_shown_on_their_way_and_each_has_a_request_of_its_own(server_class: type[SimulatedOpenai]):
    server = server_class()
    async with reaching(server) as backend:
        order = order_of(backend, "gpt-image-2", seeds=(7, 8), previews=2)
        events = await paint(backend, order)
        assert sorted((found.index, found.preview.width) for found in previews(events)) == [
            (0, 1024), (0, 1024), (1, 1024), (1, 1024)
        ]  # fmt: skip
        assert sorted(file.index for file in files(events)) == [0, 1]
        assert [call.json["partial_images"] for call in server.calls] == [2, 2]
        assert server.painted == 2
        usages = [found for found in events if isinstance(found, PaintUsage)]
        assert [usage.output_tokens for usage in usages] == [1200, 1200]
        assert all(usage.cost_micros for usage in usages if backend.name == "openai") or backend.name != "openai"


@pytest.mark.parametrize("previews_wanted", [0, 3])
async def test_an_edit_is_shown_too_if_that_is_wanted(previews_wanted: int):
    server = SimulatedOpenai()
    async with reaching(server) as backend:
        sent = read_header(picture(96, 64, "png", "to begin from"))
        order = order_of(backend, "gpt-image-1.5", files=(sent,), previews=previews_wanted)
        events = await paint(backend, order)
        assert (len(previews(events)), len(files(events))) == (previews_wanted, 1)
        assert (b'name="stream"' in server.calls[0].body) is bool(previews_wanted)


async def test_a_picture_is_shown_before_the_next_one_is_there():
    server, shown = SimulatedOpenai(), asyncio.Event()

    async def before_event(number: int) -> None:
        if number == 1:
            await shown.wait()

    server.before_event = before_event
    async with reaching(server) as backend:
        order = order_of(backend, "gpt-image-2", previews=1)
        async with asyncio.timeout(10), aclosing(paint_checked(backend, order)) as events:
            found = [event async for event in events if not previews([event]) or shown.set() is None]
    assert len(files(found)) == 1


async def test_a_server_that_knows_no_streams_is_understood():
    server = SimulatedOpenaiCompatible()
    async with reaching(server) as backend:
        events = await paint(backend, order_of(backend, "flux.1-dev", previews=2))
        assert (len(previews(events)), len(files(events)), server.calls[0].json["stream"]) == (0, 1, True)


@pytest.mark.parametrize("kind", list_kinds())
def test_a_provider_whose_models_stream_reads_events(kind: str):
    provider = load_kind(kind)
    if any(model.spec.capabilities.streaming for model in provider.models):
        assert provider.read_event is not Provider.read_event
        assert provider.stream_request is not Provider.stream_request


# --- cutting bytes into events ---

LINES = b': hello\n\nevent: a\ndata: {"x":\ndata:1}\nid: 7\n\n\ndata: [DONE]\r\n\r\nretry: 5\n\ndata: cut off\n'


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_the_same_however_the_bytes_come(size: int):
    reader = EventReader()
    pieces = [LINES[place : place + size] for place in range(0, len(LINES), size)]
    assert [data for piece in pieces for data in reader.feed(piece)] == [b'{"x":\n1}', b"[DONE]"]


def test_a_long_event_takes_time_in_proportion():
    """A megabyte in 20,000 pieces: what was searched is not searched again."""
    reader, piece = EventReader(), b"x" * 52
    assert reader.feed(b"data: ") == []
    for _ in range(20_000):
        assert reader.feed(piece) == []
    assert reader._searched == len(reader._bytes)
    assert [len(data) for data in reader.feed(b"\n\n")] == [52 * 20_000]


# --- streams that go wrong ---


@asynccontextmanager
async def backend_of(
    server: Scripted, *, is_repeatable: bool = False, **limits: float
) -> AsyncIterator[UpstreamBackend]:
    can = Capabilities((SIZE,), SIZE, SIZE, streaming=True)
    provider = load_kind("openai_compatible")(Access(f"{server.url}/v1", "secret-0123456789"))
    provider.offer([UpstreamModel(ModelSpec("far", "Far.", can, "acme", "unknown", 0))])
    backend = UpstreamBackend(
        "far", provider, limits=Limits(**{"timeout_seconds": 10} | limits), is_repeatable=is_repeatable
    )
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


@dataclass(frozen=True)
class Bad:
    """A stream, and what it comes to: None, a picture all the same."""

    script: tuple[bytes, ...]
    error: type[PinxitError] | None = None
    shown: int = 0
    seconds: float = 10


JUNK = (b"data: [DONE]\n\n", b"data: {]\n\n", b"data: null\n\n", b"data: 5\n\n", b'data: {"type": []}\n\n', b"junk\n\n")
NOT_A_PICTURE = event("image_generation.partial_image", b"no picture", FACTS)
DAMAGED = b'data: {"type": "image_generation.partial_image", "b64_json": "%%%%"}\n\n'
BAD = {
    "junk": Bad((*JUNK, NOT_A_PICTURE, DAMAGED, b'data: {"type": "image_generation.partial_image"}\n\n', COMPLETED)),
    "more than were asked for": Bad((*map(partial, range(5)), COMPLETED, END), shown=2),
    "cut after the picture": Bad((COMPLETED, CUT)),
    "never ends": Bad((partial(0), COMPLETED, HANG), shown=1),
    "cut after a partial one": Bad((partial(0), CUT), OutcomeUnknown, 1),
    "ended after a partial one": Bad((partial(0), END), OutcomeUnknown, 1),
    "ended within the picture": Bad((COMPLETED[:-20], END), OutcomeUnknown),
    "nothing": Bad((END,), OutcomeUnknown),
    "a byte a second": Bad((partial(0), DRIP), OutcomeUnknown, 1, seconds=0.3),
    "silence": Bad((HANG,), OutcomeUnknown, seconds=0.3),
    "endless": Bad((ENDLESS,), OutcomeUnknown),
    "a damaged picture": Bad((COMPLETED.replace(b'b64_json": "iVBOR', b'b64_json": "%VBOR'),), BackendError),
    "an end of another kind": Bad((b'data: {"type": "image_generation.completed"}\n\n', END), OutcomeUnknown),
    "refused": Bad((error(code="moderation_blocked"),), ContentPolicyViolation),
    "refused late": Bad((partial(0), error(code="moderation_blocked")), ContentPolicyViolation, 1),
    "failed": Bad((error(type="server_error"),), BackendError),
    "an error without a name": Bad((b'data: {"type": "error", "message": "oh"}\n\n',), BackendError),
    "too much": Bad((error(code="rate_limit_exceeded"),), BackendBusy),
    "too much in the middle": Bad((partial(0), error(code="rate_limit_exceeded")), BackendError, 1),
    "not possible": Bad((error(type="invalid_request_error"),), InvalidValue),
    "no credit": Bad((error(code="insufficient_quota"),), BackendUnavailable),
    "another Pinxit whose painter is away": Bad((error(type="upstream_unavailable"),), BackendUnavailable),
    "another Pinxit in doubt": Bad((error(type="upstream_timeout"),), OutcomeUnknown),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_stream_that_goes_wrong(name: str):
    bad = BAD[name]
    async with (
        Scripted(bad.script).serving() as server,
        backend_of(server, timeout_seconds=bad.seconds, max_answer_bytes=500_000) as backend,
    ):
        found: list[PaintEvent] = []
        raised: PinxitError | None = None
        try:
            async with (
                asyncio.timeout(10),
                aclosing(paint_checked(backend, order_of(backend, "far", previews=2))) as events,
            ):
                async for event in events:
                    found.append(event)
        except PinxitError as error:
            raised = error
        assert type(raised) is (bad.error or type(None)), raised
        assert len(previews(found)) == bad.shown
        assert [file.data for file in files(found)] == ([] if bad.error else [FINAL])
        assert server.requests == 1
        assert server.sent_bytes < 8_000_000, "a stream is read beyond its cap"
    assert server.open_connections == 0


async def test_in_doubt_free_work_is_as_good_as_not_begun_and_what_is_not_reached_was_not_sent():
    async with Scripted((partial(0), CUT)).serving() as server, backend_of(server, is_repeatable=True) as backend:
        with pytest.raises(BackendUnavailable):
            await paint(backend, order_of(backend, "far", previews=1))
    async with backend_of(server) as backend:
        with pytest.raises(BackendUnavailable, match="cannot be reached"):
            await paint(backend, order_of(backend, "far", previews=1))


async def test_who_stops_looking_closes_the_connection():
    async with Scripted((partial(0), HANG)).serving() as server, backend_of(server) as backend:
        async with aclosing(paint_checked(backend, order_of(backend, "far", previews=1))) as events:
            async for event in events:
                if previews([event]):
                    break
        async with asyncio.timeout(10):
            while server.open_connections:
                await asyncio.sleep(0.002)
        assert backend._slots._value == backend._limits.max_concurrency


# --- through a whole house: what its client sees, and the books ---


@asynccontextmanager
async def streaming_house(make_front: MakeFront, server: Scripted) -> AsyncIterator[Front]:
    model = {"id": "far", "sizes": ["64x64"], "streaming": True, "prices": [{"usd": UPSTREAM_MICROS / 1e6}]}
    prices = [{"usd": PRICE_MICROS / 1e6}]
    async with server.serving():
        front = await make_front(
            billing="credits",
            providers={"far": {"kind": "openai_compatible", "base_url": f"{server.url}/v1", "models": [model],
                               "timeout_seconds": 5}},
            model_list=[{"model_name": "far", "params": {"model": "far/far"}, "prices": prices}],
        )  # fmt: skip
        now = front.house.services.now()
        await front.house.database.write(
            lambda connection: ledger.top_up(connection, DEFAULT_ACCOUNT, CREDITS_MICROS, reference="cash", now=now)
        )
        yield front


async def stream(front: Front, **more: object) -> list[dict]:
    """The events of one order."""
    answer = await front.generate(model="far", size="64x64", stream=True, partial_images=2, **more)
    assert answer.status_code == 200, answer.text
    return [json.loads(line[6:]) for line in answer.text.split("\n") if line.startswith("data: ")]


def colour(found: dict) -> tuple[int, ...]:
    with Image.open(BytesIO(base64.b64decode(found["b64_json"]))) as image:
        return image.convert("RGB").getpixel((0, 0))


async def test_a_client_sees_what_the_upstream_shows(make_front: MakeFront):
    server = Scripted((partial(0), b": keep-alive\n\n", partial(1), COMPLETED, END))
    async with streaming_house(make_front, server) as front:
        events = await stream(front)
        kinds = ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
        assert [found["type"] for found in events] == kinds
        assert [found.get("partial_image_index") for found in events] == [0, 1, None]
        sent = [picture(64, 64, "png", text) for text in ("so far 0", "so far 1", "the picture")]
        assert list(map(colour, events)) == [colour({"b64_json": base64.b64encode(data)}) for data in sent]
        assert events[-1]["usage"]["output_tokens"] == 9


HOUSE = {
    "cut after a partial one": ("upstream_timeout", "unknown", 1),
    "a damaged picture": ("upstream_error", "failed", 0),
    "refused late": ("content_policy_violation", "failed", 1),
    "failed": ("upstream_error", "failed", 0),
    "endless": ("upstream_timeout", "unknown", 0),
}


@pytest.mark.parametrize("name", HOUSE)
async def test_a_stream_that_goes_wrong_costs_its_client_nothing(make_front: MakeFront, name: str):
    kind, status, shown = HOUSE[name]
    server = Scripted(BAD[name].script)
    async with streaming_house(make_front, server) as front:
        events = await stream(front)
        assert len(events) == shown + 1
        assert events[-1]["error"]["type"] == kind
        [row] = await front.rows(generations)
        assert (row.status, row.cost_micros) == (status, 0)
        [tried] = await front.rows(attempts)
        assert tried.cost_micros == (UPSTREAM_MICROS if status == "unknown" or kind == "upstream_error" else 0)
        database = front.house.database
        assert await database.read(check) == []
        left = await database.read(lambda connection: ledger.balance(connection, DEFAULT_ACCOUNT))
        assert left == (CREDITS_MICROS, 0)
        assert server.requests == 1
