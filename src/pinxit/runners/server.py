"""The end of a channel that paints what the other end orders: of the painter process, and of the hub."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from pinxit.backends.interface import PaintedImage, PaintEvent
from pinxit.errors import BackendError, PinxitError
from pinxit.runners.channel import Channel
from pinxit.runners.frames import Frame, FrameError
from pinxit.runners.messages import error_frame, event_frame

PICTURES_AHEAD = 2
"""Pictures of one order that may be on their way to a reader who has not taken them."""


def _say_nothing(_: PinxitError) -> None:
    pass


class PaintServer:
    """Paints the orders that come over the channel, all at once: who paints decides how a device is shared."""

    def __init__(
        self,
        channel: Channel,
        paint: Callable[[Frame], AsyncGenerator[PaintEvent, None]],
        *,
        report: Callable[[PinxitError], None] = _say_nothing,
    ) -> None:
        """`paint`: the events of a frame `paint`; raises FrameError at once. `report` hears of orders that fail."""
        self._channel = channel
        self._paint = paint
        self._report = report
        self._orders: dict[int, asyncio.Task[None]] = {}
        self._ahead: dict[int, asyncio.Semaphore] = {}

    async def serve(self) -> None:
        """Returns when it is told to close, or when the other end has gone. Raises FrameError."""
        while (frame := await self._channel.receive()) is not None and frame.type != "close":
            match frame.type:
                case "paint":
                    self._accept(frame.order_id, self._paint(frame))
                case "taken" if frame.order_id in self._ahead:
                    self._ahead[frame.order_id].release()
                case "cancel" if frame.order_id in self._orders:
                    self._orders[frame.order_id].cancel()
                case "taken" | "cancel":
                    pass  # the order ended while the frame was on its way
                case "ping":
                    await self._send(Frame({"type": "pong", "orders": len(self._orders)}))
                case unknown:
                    raise FrameError(f"a frame of the unknown type {unknown!r}")

    async def end_orders(self) -> None:
        """Cancel what is under way."""
        orders = list(self._orders.values())
        for task in orders:
            task.cancel()
        await asyncio.gather(*orders, return_exceptions=True)

    def _accept(self, order_id: int, events: AsyncGenerator[PaintEvent, None]) -> None:
        if order_id in self._orders:
            raise FrameError("an order with the id of another one")
        self._ahead[order_id] = asyncio.Semaphore(PICTURES_AHEAD)
        self._orders[order_id] = task = asyncio.create_task(self._carry_out(order_id, events))
        # Not in the task's own `finally`: a task that is cancelled before its first step never gets there.
        task.add_done_callback(lambda _: self._forget(order_id))

    def _forget(self, order_id: int) -> None:
        del self._orders[order_id], self._ahead[order_id]

    async def _carry_out(self, order_id: int, painting: AsyncGenerator[PaintEvent, None]) -> None:
        try:
            async with aclosing(painting) as events:
                async for event in events:
                    if isinstance(event, PaintedImage):
                        await self._ahead[order_id].acquire()
                    await self._send(event_frame(order_id, event))
            await self._send(Frame({"type": "done", "id": order_id}))
        except PinxitError as error:
            self._report(error)
            await self._send(error_frame(order_id, error))
        except Exception as error:  # noqa: BLE001 - an event that is no frame: its order ends, the others go on
            await self._send(error_frame(order_id, BackendError(f"The painter failed ({type(error).__name__}).")))

    async def _send(self, frame: Frame) -> None:
        self._channel.send(frame)
        await self._channel.drain()
