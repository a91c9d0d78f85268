"""Holds a backend to its interface, so that what a runner yields can be relied on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from pinxit.backends.interface import Backend, PaintedFile, PaintedImage, PaintEvent, PaintOrder, Progress
from pinxit.errors import BackendError, BackendUnavailable, ContentPolicyViolation, InvalidValue


async def paint_checked(backend: Backend, order: PaintOrder) -> AsyncGenerator[PaintEvent, None]:
    """The backend's events: every picture once, in the order's size and with its seed.

    Raises what the interface of a backend names and nothing else: a backend's bug becomes a BackendError, with the bug
    as its cause.
    """
    missing = set(range(len(order.seeds)))
    try:
        async with aclosing(backend.generate(order)) as events:
            async for event in events:
                if isinstance(event, Progress) and not 0 <= event.index < len(order.seeds):
                    raise BackendError(f"The painter reported a picture {event.index} that was not ordered.")
                if isinstance(event, PaintedImage | PaintedFile):
                    _check_image(event, order, missing)
                    missing.remove(event.index)
                yield event
    except (ContentPolicyViolation, InvalidValue, BackendUnavailable, BackendError):
        raise
    except Exception as error:
        raise BackendError(f"The painter failed ({type(error).__name__}).") from error
    if missing:
        raise BackendError(f"The painter left out {len(missing)} of {len(order.seeds)} pictures.")


def _check_image(image: PaintedImage | PaintedFile, order: PaintOrder, missing: set[int]) -> None:
    if image.index not in missing:
        raise BackendError(f"The painter sent a picture {image.index} that was not ordered, or sent it twice.")
    if image.seed not in (None, order.seeds[image.index]):
        raise BackendError(f"The painter used another seed for picture {image.index}.")
    if isinstance(image, PaintedFile):
        return  # what others make has the size it has
    if (image.pixels.width, image.pixels.height) != (order.size.width, order.size.height):
        raise BackendError(
            f"The painter sent {image.pixels.width}x{image.pixels.height} pixels instead of {order.size}."
        )
