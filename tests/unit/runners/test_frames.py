import pytest

from pinxit.backends.interface import PaintedImage, PaintOrder, PaintUsage, Progress, Queued
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation, StartupError
from pinxit.images.pixels import Pixels
from pinxit.images.size import Size
from pinxit.runners.frames import Frame, FrameError
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
PREVIEW = Pixels(2, 1, "RGB", b"abcdef")
EVENTS = [
    Queued(3),
    Progress(0, 1, 4),
    Progress(1, 4, 4, PREVIEW),
    PaintedImage(1, 2**32 - 1, Pixels(1, 2, "RGBA", b"\0\1\2\3\n\xff\xfe\xfd")),
    PaintUsage(12, 34),
]


def test_an_order_arrives_as_it_was_sent() -> None:
    assert read_order(order_frame(7, ORDER)) == ORDER


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
def test_an_event_arrives_as_it_was_sent(event: Queued | Progress | PaintedImage | PaintUsage) -> None:
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
    ],
)
def test_an_event_that_is_none_is_refused(frame: Frame) -> None:
    with pytest.raises(FrameError):
        read_event(frame)


@pytest.mark.parametrize("order_id", [None, "1", True, 1.0])
def test_the_id_of_an_order_is_an_integer(order_id: object) -> None:
    with pytest.raises(FrameError):
        _ = Frame({"type": "done", "id": order_id}).order_id


@pytest.mark.parametrize("changes", [{"size": "huge"}, {"seeds": 1}, {"colour": "red"}])
def test_an_order_that_is_none_is_refused(changes: dict[str, object]) -> None:
    frame = order_frame(1, ORDER)
    frame.header["order"].update(changes)

    with pytest.raises(FrameError):
        read_order(frame)
