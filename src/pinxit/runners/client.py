"""The end of a channel that orders pictures: of a runner with a painter process, and of a worker at the hub."""

import asyncio
from collections.abc import AsyncGenerator

from pinxit.backends.interface import PaintedImage, PaintEvent, PaintOrder
from pinxit.runners.channel import Channel
from pinxit.runners.frames import Frame, FrameError
from pinxit.runners.inbox import Inbox
from pinxit.runners.interface import PainterDied
from pinxit.runners.messages import order_frame, read_error, read_event


class PaintClient:
    """Sends orders, and hands out what comes back."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._inboxes: dict[int, Inbox] = {}
        self._orders_seen = 0
        self._pongs: list[asyncio.Future[int]] = []

    async def paint(
        self, order: PaintOrder, *, ready_timeout_seconds: float | None = None
    ) -> AsyncGenerator[PaintEvent, None]:
        """The order's events; closing the generator cancels. Raises what `Runner.paint` names."""
        order_id = self._orders_seen = self._orders_seen + 1
        # Without drain(): these frames are small, and there are no more orders than the API admits.
        self._channel.send(order_frame(order_id, order, ready_timeout_seconds))
        self._inboxes[order_id] = inbox = Inbox()
        try:
            while (event := await inbox.take()) is not None:
                if isinstance(event, PaintedImage):
                    self._channel.send(Frame({"type": "taken", "id": order_id}))
                yield event
        finally:
            if not self._inboxes.pop(order_id).finished:
                self._channel.send(Frame({"type": "cancel", "id": order_id}))

    async def ping(self) -> int:
        """How many of our orders the other end has under way. Raises PainterDied."""
        pong = asyncio.get_running_loop().create_future()
        self._pongs.append(pong)
        self._channel.send(Frame({"type": "ping"}))
        orders: int = await pong
        return orders

    def receive(self, frame: Frame) -> None:
        """Hand out what the other end has sent. Raises FrameError."""
        match frame.type:
            case "pong":
                for pong in self._pongs:
                    if not pong.done():
                        pong.set_result(int(frame.header.get("orders", 0)))
                self._pongs.clear()
            case "event" | "done" | "error":
                inbox = self._inboxes.get(frame.order_id)
                if inbox is not None:  # None: it was cancelled while the frame was on its way
                    _put(inbox, frame)
            case unknown:
                raise FrameError(f"a frame of the unknown type {unknown!r}")

    def give_up(self) -> None:
        """The other end is gone: what was under way has died with it."""
        for inbox in self._inboxes.values():
            inbox.finish(PainterDied())
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(PainterDied())


def _put(inbox: Inbox, frame: Frame) -> None:
    match frame.type:
        case "event":
            inbox.put(read_event(frame))
        case "done":
            inbox.finish()
        case "error":
            inbox.finish(read_error(frame))
