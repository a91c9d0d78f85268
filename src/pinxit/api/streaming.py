"""An order's pictures as server-sent events, in OpenAI's form: partial ones, then the finished ones.

    event: image_generation.partial_image
    data: {"type":"image_generation.partial_image","b64_json":"…","partial_image_index":0, …}

(https://platform.openai.com/docs/api-reference/images-streaming)
"""

import asyncio
import base64
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from starlette.types import Send

from pinxit.api.context import Services
from pinxit.api.errors import render
from pinxit.api.heartbeat import with_heartbeat
from pinxit.errors import PinxitError
from pinxit.generations.generation import Generation
from pinxit.generations.live import Preview
from pinxit.generations.service import Order
from pinxit.images.encoding import encode, fit
from pinxit.images.request import ImageRequest
from pinxit.images.size import Size
from pinxit.library.image import Image

KEEP_ALIVE_SECONDS = 15.0
KEEP_ALIVE = b": keepalive\n\n"
HEADERS = ((b"content-type", b"text/event-stream"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no"))


Previews = asyncio.Queue[Preview | None]
"""Where an order's previews come in while it is painted; None: there will be no more."""


class OrderStream(ABC):
    """The events of one order, from when it is in the database to its end."""

    def __init__(
        self,
        services: Services,
        order: Order,
        opened: Generation,
        request: ImageRequest,
        previews: Previews,
        *,
        request_id: str,
    ) -> None:
        self._services = services
        self._order = order
        self._request = request
        self._previews = previews
        self._request_id = request_id
        kept = opened.parameters
        self._common = {name: kept[name] for name in ("size", "quality", "background", "output_format")}
        self._size = Size.parse(kept["size"])

    async def send(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        """The whole answer. A slow reader is waited for; meanwhile the painting goes on."""
        await send({"type": "http.response.start", "status": 200, "headers": [*headers, *HEADERS]})
        async with aclosing(self._events()) as events, aclosing(with_heartbeat(events, KEEP_ALIVE_SECONDS)) as beats:
            async for event in beats:
                await send({"type": "http.response.body", "body": event or KEEP_ALIVE, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _events(self) -> AsyncGenerator[bytes, None]:
        answer = asyncio.ensure_future(self._order.answer())
        answer.add_done_callback(lambda _: self._previews.put_nowait(None))
        try:
            for event in self._begun():
                yield event
            while (preview := await self._previews.get()) is not None:
                yield await self._partial(preview)
            async with aclosing(self._ended(await answer)) as events:
                async for event in events:
                    yield event
        except PinxitError as error:
            for event in self._failed(error):
                yield event
        finally:
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)

    def _begun(self) -> Sequence[bytes]:
        """Events at the begin."""
        return ()

    @abstractmethod
    async def _partial(self, preview: Preview) -> bytes:
        """The event of one preview."""

    @abstractmethod
    def _ended(self, generation: Generation) -> AsyncGenerator[bytes, None]:
        """The events of an order that is completed."""

    def _failed(self, error: PinxitError) -> Sequence[bytes]:
        return [event("error", render(error, request_id=self._request_id).body)]

    async def _encoded(self, preview: Preview) -> bytes:
        return await asyncio.to_thread(self._encode, preview)

    def _encode(self, preview: Preview) -> bytes:
        request = self._request
        return encode(fit(preview.pixels, self._size), request.encoding, request.compression)

    async def _data(self, image: Image) -> bytes:
        return await self._services.library.read(image) if image.data is None else image.data


class ImageStream(OrderStream):
    """As OpenAI's Images API has them. `kind`: image_generation or image_edit."""

    def __init__(
        self,
        services: Services,
        order: Order,
        opened: Generation,
        request: ImageRequest,
        previews: Previews,
        *,
        request_id: str,
        base: str,
        kind: str = "image_generation",
    ) -> None:
        super().__init__(services, order, opened, request, previews, request_id=request_id)
        self._base = base
        self._kind = kind
        self._is_alone = request.n == 1

    async def _partial(self, preview: Preview) -> bytes:
        data = await self._encoded(preview)
        created = int(self._services.now().timestamp())
        facts = {"created_at": created, "partial_image_index": preview.number, **self._of_picture(preview.index)}
        return self._picture_event("partial_image", data, facts)

    async def _ended(self, generation: Generation) -> AsyncGenerator[bytes, None]:
        for place in range(len(generation.images)):
            yield await self._completed(generation, place)

    async def _completed(self, generation: Generation, place: int) -> bytes:
        image = generation.images[place]
        data = await self._data(image)
        url = self._base + self._services.library.urls.path(image) if image.storage_key else ""
        facts = {
            "created_at": int(generation.created_at.timestamp()),
            **self._of_picture(image.position),
            "usage": _share_of_usage(generation, place),
            "id": image.id,
            "seed": image.seed,
            "url": url,
            **self._familiarity(generation),
        }
        return self._picture_event("completed", data, facts)

    def _familiarity(self, generation: Generation) -> dict[str, Any]:
        """A further field, only if the prompt is far from what the model knows."""
        return {} if generation.far is None else {"familiarity": asdict(generation.far)}

    def _of_picture(self, index: int) -> dict[str, Any]:
        return self._common if self._is_alone else {**self._common, "image_index": index}

    def _picture_event(self, what: str, data: bytes, facts: Mapping[str, Any]) -> bytes:
        name = f"{self._kind}.{what}"
        rest = json.dumps(facts, separators=(",", ":")).encode()[1:]
        return event(
            name, b"".join((b'{"type":"', name.encode(), b'","b64_json":"', base64.b64encode(data), b'",', rest))
        )


def event(name: str, data: bytes) -> bytes:
    """A server-sent event."""
    return b"".join((b"event: ", name.encode(), b"\ndata: ", data, b"\n\n"))


def _share_of_usage(generation: Generation, place: int) -> dict[str, Any]:
    """What one picture took: the shares of all pictures add up to what the order took."""
    share, rest = divmod(generation.output_tokens, len(generation.images))
    read = generation.input_tokens if place == 0 else 0
    painted = share + (rest if place == 0 else 0)
    return {
        "input_tokens": read,
        "output_tokens": painted,
        "total_tokens": read + painted,
        "input_tokens_details": {"text_tokens": read, "image_tokens": 0},
    }
