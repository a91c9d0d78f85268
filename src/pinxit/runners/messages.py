"""What the frames say: orders, events and errors, to and from their frames. Pure translation.

Pixels are the payload; of an order's pictures and its mask, one after the other. The header says their shapes.

    runner → painter   paint(id, order)  cancel(id)  taken(id)  ping  close
    painter → runner   ready  failed(reason)  event(id, …)  done(id)  error(id, …)  pong(orders)
    worker → hub       paint(id, order, ready_timeout_seconds)  cancel(id)  taken(id)  ping
    hub → worker       state(status, reason)  event(id, …)  done(id)  error(id, …)  pong(orders)

`taken` says that the reader has taken one picture of the order, so that the painter may send another one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any, TypeVar

from pinxit.backends.interface import (
    Familiarity,
    PaintedImage,
    PaintEvent,
    PaintOrder,
    PaintUsage,
    Progress,
    Queued,
)
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation, PinxitError
from pinxit.images.pixels import BYTES_PER_PIXEL, Pixels
from pinxit.images.size import Size
from pinxit.runners.frames import Frame, FrameError
from pinxit.runners.interface import PainterDied, RunnerState, Status

T = TypeVar("T")
_LEFT_OUT = frozenset({"asked", "jobs", "credential"})


def _refusing_nonsense(read: Callable[[Frame], T]) -> Callable[[Frame], T]:
    """What a missing field or a wrong value raises becomes a FrameError."""

    @wraps(read)
    def read_or_refuse(frame: Frame) -> T:
        try:
            return read(frame)
        except (KeyError, TypeError, ValueError) as error:
            raise FrameError(f"a frame {frame.type!r} cannot be understood ({type(error).__name__})") from error

    return read_or_refuse


def order_frame(order_id: int, order: PaintOrder, ready_timeout_seconds: float | None = None) -> Frame:
    """The frame `paint`, without what only backends that hand orders on need: `asked`, `jobs`, the credential.

    A painter that is sent one is ready; for a hub it says how long the order waits for that.
    """
    said = {field.name: getattr(order, field.name) for field in fields(order) if field.name not in _LEFT_OUT} | {
        "size": str(order.size),
        "images": [_shape(image) for image in order.images],
        "mask": _shape(order.mask) if order.mask else None,
    }
    pictures = order.images if order.mask is None else (*order.images, order.mask)
    header = {"type": "paint", "id": order_id, "order": said}
    if ready_timeout_seconds is not None:
        header["ready_timeout_seconds"] = ready_timeout_seconds
    return Frame(header, b"".join(picture.data for picture in pictures))


@_refusing_nonsense
def read_order(frame: Frame) -> PaintOrder:
    """The order of a frame `paint`. Raises FrameError."""
    order = dict(frame.header["order"])
    shapes = [*order["images"], *([] if order["mask"] is None else [order["mask"]])]
    pictures = _cut(frame.payload, shapes)
    pixels = {
        "images": tuple(pictures[: len(order["images"])]),
        "mask": None if order["mask"] is None else pictures[-1],
    }
    return PaintOrder(**order | {"size": Size.parse(order["size"]), "seeds": tuple(order["seeds"])} | pixels)


@_refusing_nonsense
def read_ready_timeout(frame: Frame) -> float | None:
    """How long the order of a frame `paint` waits, None: as the runner was set. Raises FrameError."""
    seconds = frame.header.get("ready_timeout_seconds")
    return None if seconds is None else float(seconds)


def state_frame(state: RunnerState) -> Frame:
    """The frame `state`."""
    return Frame({"type": "state", "status": state.status.value, "reason": state.reason})


@_refusing_nonsense
def read_state(frame: Frame) -> RunnerState:
    """The state of a frame `state`. Raises FrameError."""
    return RunnerState(Status(frame.header["status"]), str(frame.header["reason"]))


def event_frame(order_id: int, event: PaintEvent) -> Frame:
    """The frame `event`: pixels are its payload. Raises FrameError if `event` is none."""
    header: dict[str, Any] = {"type": "event", "id": order_id}
    match event:
        case Queued(position):
            return Frame(header | {"event": "queued", "position": position})
        case Familiarity(nearest, similarity, known):
            said = {"nearest": nearest, "similarity": similarity, "known": known}
            return Frame(header | {"event": "familiarity"} | said)
        case Progress(index, step, steps, None):
            return Frame(header | {"event": "progress", "index": index, "step": step, "steps": steps})
        case Progress(index, step, steps, Pixels() as preview):
            header |= {"event": "progress", "index": index, "step": step, "steps": steps}
            return Frame(header | _shape(preview), preview.data)
        case PaintedImage(index, seed, pixels):
            return Frame(header | {"event": "image", "index": index, "seed": seed} | _shape(pixels), pixels.data)
        case PaintUsage(input_tokens, output_tokens):
            return Frame(header | {"event": "usage", "input_tokens": input_tokens, "output_tokens": output_tokens})
    raise FrameError(f"{type(event).__name__} is no event of painting")


@_refusing_nonsense
def read_event(frame: Frame) -> PaintEvent:
    """The event of a frame `event`. Raises FrameError."""
    match frame.header["event"]:
        case "queued":
            return Queued(_int(frame, "position"))
        case "familiarity":
            return _familiarity(frame.header)
        case "progress":
            preview = _pixels(frame) if frame.payload else None
            return Progress(_int(frame, "index"), _int(frame, "step"), _int(frame, "steps"), preview)
        case "image":
            return PaintedImage(_int(frame, "index"), _int(frame, "seed"), _pixels(frame))
        case "usage":
            return PaintUsage(_int(frame, "input_tokens"), _int(frame, "output_tokens"))
    raise FrameError("an event of an unknown kind")


def error_frame(order_id: int, error: PinxitError) -> Frame:
    """The frame `error`; a class that a backend may not raise is sent as BackendError."""
    header: dict[str, Any] = {"type": "error", "id": order_id, "message": error.message}
    match error:
        case ContentPolicyViolation():
            return Frame(header | {"error": "refused", "stage": error.stage, "categories": error.categories})
        case PainterDied():
            return Frame(header | {"error": "died"})
        case BackendUnavailable():
            return Frame(header | {"error": "unavailable", "retry_after_seconds": error.retry_after_seconds})
    return Frame(header | {"error": "unusable"})


@_refusing_nonsense
def read_error(frame: Frame) -> PinxitError:
    """The error of a frame `error`. Raises FrameError."""
    message = str(frame.header["message"])
    match frame.header["error"]:
        case "refused":
            categories = [str(category) for category in frame.header["categories"]]
            return ContentPolicyViolation(message, stage=str(frame.header["stage"]), categories=categories)
        case "unavailable":
            return BackendUnavailable(message, retry_after_seconds=float(frame.header["retry_after_seconds"]))
        case "died":
            return PainterDied(message)
        case "unusable":
            return BackendError(message)
    raise FrameError("an error of an unknown kind")


def _familiarity(said: Mapping[str, Any]) -> Familiarity:
    nearest, similarity, known = said["nearest"], said["similarity"], said["known"]
    if not isinstance(nearest, str) or type(similarity) not in (int, float) or not isinstance(known, bool):
        raise TypeError("a familiarity is a text, a number and a boolean")
    return Familiarity(nearest, float(similarity), known)


def _shape(pixels: Pixels) -> dict[str, Any]:
    return {"width": pixels.width, "height": pixels.height, "mode": pixels.mode}


def _pixels(frame: Frame) -> Pixels:
    return Pixels(_int(frame, "width"), _int(frame, "height"), frame.header["mode"], frame.payload)


def _cut(payload: bytes, shapes: Sequence[Mapping[str, Any]]) -> list[Pixels]:
    """Pictures of these shapes that lie one after the other. Raises ValueError unless they fill the payload."""
    left = memoryview(payload)
    pictures = []
    for shape in shapes:
        width, height, mode = _whole(shape["width"], "width"), _whole(shape["height"], "height"), shape["mode"]
        size = width * height * BYTES_PER_PIXEL[mode]
        pictures.append(Pixels(width, height, mode, bytes(left[:size])))
        left = left[size:]
    if left:
        raise ValueError("more bytes than pictures")
    return pictures


def _int(frame: Frame, name: str) -> int:
    return _whole(frame.header[name], name)


def _whole(value: Any, name: str) -> int:
    if type(value) is not int:
        raise TypeError(f"{name} is not an integer")
    return value
