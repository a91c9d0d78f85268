from dataclasses import replace

import pytest

from pinxit.backends.interface import Familiarity, PaintedImage, PaintEvent, PaintOrder, PaintUsage, Progress, Queued
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation, StartupError
from pinxit.images.pixels import Pixels
from pinxit.images.size import Size
from pinxit.runners.frames import LENGTHS_BYTES, Frame, FrameError, pack, unpack, unpack_lengths
from pinxit.runners.interface import PainterDied, RunnerState, Status
from pinxit.runners.messages import (
    error_frame,
    event_frame,
    order_frame,
    read_error,
    read_event,
    read_order,
    read_ready_timeout,
    read_state,
    state_frame,
)

ORDER = PaintOrder("fake-1", "a fox \ud83d 🦊\n", Size(1536, 1024), (0, 2**32 - 1), 4, 3.5, "blur", "vivid", True, 2)
EDIT = PaintOrder(
    "fake-1",
    "a fox",
    Size(2, 1),
    (7,),
    4,
    images=(Pixels(2, 1, "RGB", b"abcdef"), Pixels(2, 1, "RGBA", b"\0\1\2\3\n\xff\xfe\xfd")),
    mask=Pixels(2, 1, "L", b"\0\xff"),
    strength=0.3,
)
PREVIEW = Pixels(2, 1, "RGB", b"abcdef")
FAR = Familiarity("große 🦦", -0.25, known=False)
EVENTS = [
    Queued(3),
    Progress(0, 1, 4),
    Progress(1, 4, 4, PREVIEW),
    PaintedImage(1, 2**32 - 1, Pixels(1, 2, "RGBA", b"\0\1\2\3\n\xff\xfe\xfd")),
    PaintUsage(12, 34),
    FAR,
    Familiarity("otter", 1.0, known=True),
]


@pytest.mark.parametrize("order", [ORDER, EDIT, replace(EDIT, mask=None, strength=None)])
def test_an_order_arrives_as_it_was_sent(order: PaintOrder) -> None:
    sent = order_frame(7, order)
    start = pack(sent)
    header_bytes, payload_bytes = unpack_lengths(start[:LENGTHS_BYTES])
    frame = unpack(start[LENGTHS_BYTES:], sent.payload)

    assert (header_bytes, payload_bytes) == (len(start) - LENGTHS_BYTES, len(sent.payload))
    assert frame.order_id == 7
    assert read_order(frame) == order


def test_an_order_may_have_as_many_pictures_as_any_model_takes() -> None:
    size = Size(1792, 1024)
    picture = Pixels(1792, 1024, "RGBA", bytes(1792 * 1024 * 4))
    order = PaintOrder("fake-1", "a fox", size, (1,), 4, images=(picture,) * 16, strength=1.0)
    order = replace(order, mask=Pixels(1792, 1024, "L", bytes(1792 * 1024)))

    assert len(pack(order_frame(1, order))) < 4096


@pytest.mark.parametrize("seconds", [None, 0, 1.5])
def test_how_long_an_order_waits_arrives_beside_it(seconds: float | None) -> None:
    frame = order_frame(7, ORDER, seconds)

    assert read_ready_timeout(frame) == seconds
    assert read_order(frame) == ORDER


@pytest.mark.parametrize("status", Status)
def test_a_state_arrives_as_it_was_sent(status: Status) -> None:
    state = RunnerState(status, "The weights are missing.")

    assert read_state(state_frame(state)) == state


@pytest.mark.parametrize("changes", [{"status": "tired"}, {"status": None}, {"status": []}])
def test_a_state_that_is_none_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(FrameError):
        read_state(Frame(state_frame(RunnerState(Status.READY)).header | changes))


@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_an_event_arrives_as_it_was_sent(event: PaintEvent) -> None:
    frame = event_frame(7, event)

    assert frame.order_id == 7
    assert read_event(frame) == event


def test_errors_arrive_with_their_facts() -> None:
    refused = read_error(error_frame(7, ContentPolicyViolation("No.", stage="model", categories=["gore"])))
    unavailable = read_error(error_frame(7, BackendUnavailable("Later.", retry_after_seconds=9.0)))
    died = read_error(error_frame(7, PainterDied()))
    unusable = read_error(error_frame(7, BackendError("Black.")))
    unexpected = read_error(error_frame(7, StartupError("Strange.")))

    assert isinstance(refused, ContentPolicyViolation)
    assert (refused.message, refused.stage, refused.categories) == ("No.", "model", ("gore",))
    assert isinstance(unavailable, BackendUnavailable)
    assert (unavailable.message, unavailable.retry_after_seconds) == ("Later.", 9.0)
    assert (type(died), died.message) == (PainterDied, PainterDied().message)
    assert (type(unusable), unusable.message) == (BackendError, "Black.")
    assert (type(unexpected), unexpected.message) == (BackendError, "Strange.")


@pytest.mark.parametrize(
    "frame",
    [
        Frame({"type": "event", "id": 1}),
        Frame({"type": "event", "id": 1, "event": "image", "index": 0, "seed": 0}, b"abc"),
        Frame({"type": "event", "id": 1, "event": "image", "index": 0, "seed": 0, "width": 1, "height": 1}, b"abc"),
        Frame(event_frame(1, EVENTS[3]).header, b"too short"),
        Frame(event_frame(1, EVENTS[3]).header | {"mode": "CMYK"}, b"\0" * 8),
        Frame({"type": "event", "id": 1, "event": "progress", "index": "0", "step": 1, "steps": 2}),
        Frame({"type": "event", "id": 1, "event": "progress", "index": True, "step": 1, "steps": 2}),
        Frame({"type": "event", "id": 1, "event": ["queued"]}),
        Frame(event_frame(1, FAR).header | {"nearest": 7}),
        Frame(event_frame(1, FAR).header | {"nearest": ""}),
        Frame(event_frame(1, FAR).header | {"nearest": "otter\r\nx-evil: 1"}),
        Frame(event_frame(1, FAR).header | {"nearest": "o" * 201}),
        Frame(event_frame(1, FAR).header | {"similarity": "0.4"}),
        Frame(event_frame(1, FAR).header | {"similarity": float("nan")}),
        Frame(event_frame(1, FAR).header | {"similarity": 1.1}),
        Frame(event_frame(1, FAR).header | {"similarity": True}),
        Frame(event_frame(1, FAR).header | {"known": 0}),
    ],
)
def test_an_event_that_is_none_is_refused(frame: Frame) -> None:
    with pytest.raises(FrameError):
        read_event(frame)


@pytest.mark.parametrize("order_id", [None, "1", True, 1.0])
def test_the_id_of_an_order_is_an_integer(order_id: object) -> None:
    with pytest.raises(FrameError):
        _ = Frame({"type": "done", "id": order_id}).order_id


@pytest.mark.parametrize(
    "changes",
    [
        {"size": "huge"},
        {"size": "1x2"},
        {"seeds": 1},
        {"colour": "red"},
        {"images": []},
        {"images": None},
        {"images": [{"width": 2, "height": 1, "mode": "RGB"}]},
        {"images": [{"width": 2, "height": 1, "mode": "L"}] * 7},
        {"images": [{"width": 2, "height": 1, "mode": "CMYK"}] * 2},
        {"images": [{"width": 2, "height": True, "mode": "RGB"}, {"width": 2, "height": 1, "mode": "RGBA"}]},
        {"images": [{"width": -2, "height": -1, "mode": "RGB"}, {"width": 2, "height": 1, "mode": "RGBA"}]},
        {"images": [{"width": 2**40, "height": 2**40, "mode": "RGBA"}] * 2},
        {"mask": None},
        {"mask": {"width": 2, "height": 1, "mode": "RGB"}},
        {"mask": {"width": 1, "height": 2, "mode": "L"}},
        {"strength": 0},
        {"strength": "1"},
        {"strength": float("nan")},
    ],
    ids=repr,
)
def test_an_order_that_is_none_is_refused(changes: dict[str, object]) -> None:
    frame = order_frame(1, EDIT)
    frame.header["order"].update(changes)

    with pytest.raises(FrameError):
        read_order(frame)
