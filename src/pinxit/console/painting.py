"""Orders from the playground: the API's own endpoints by session instead of key, and events of how far they are."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import structlog
from starlette.types import Scope

from pinxit.api.context import REQUEST_ID, base_url
from pinxit.api.edits import EditsEndpoint
from pinxit.api.images import GenerationsEndpoint, ParsedRequest
from pinxit.api.streaming import ImageStream, OrderStream, Previews, event
from pinxit.console.door import CALLER
from pinxit.errors import StorageUnavailable
from pinxit.generations.generation import Generation, far_sentence
from pinxit.generations.service import Order
from pinxit.keys.model import Caller
from pinxit.keys.model import Scope as KeyScope

log = structlog.get_logger(__name__)

PROGRESS = "pinxit.progress"


class PlaygroundEndpoint(GenerationsEndpoint):
    """POST /v1/images/generations for the signed-in user: the same bodies, answers and errors. Streams say besides how
    far the order is.
    """

    async def _admit(self, scope: Scope) -> Caller:
        caller: Caller = scope[CALLER]
        caller.require(KeyScope.IMAGES_WRITE)
        return caller

    def _stream_of(
        self, order: Order, opened: Generation, parsed: ParsedRequest, previews: Previews, scope: Scope
    ) -> OrderStream:
        stream = StreamWithProgress(
            self._services,
            order,
            opened,
            parsed.request,
            previews,
            request_id=scope[REQUEST_ID],
            base=base_url(scope, self._services.settings),
            kind=self.kind,
        )
        stream.following = self._services.generations.follow(scope[CALLER], opened.id)
        return stream


class PlaygroundEditsEndpoint(PlaygroundEndpoint, EditsEndpoint):
    """POST /v1/images/edits for the signed-in user."""


class StreamWithProgress(ImageStream):
    """The events of the Images API, and `pinxit.progress` whenever the order is further:

        {"status": "in_progress", "queue_position": 0, "steps": 8, "done": [3, 2]}

    `steps`: of each picture, 1 where nobody knows; `done`: how many of them each picture has behind it. A finished
    picture has a sentence in `far` instead of its familiarity.
    """

    following: AsyncGenerator[Generation, None]
    """The order as it stands, as `GenerationService.follow` has it."""

    def _familiarity(self, generation: Generation) -> dict[str, Any]:
        """With the sentence for the page."""
        return {} if generation.far is None else {"far": far_sentence(generation.model, generation.far)}

    async def _events(self) -> AsyncGenerator[bytes, None]:
        # The inner ones are closed before the stream is left: whoever follows an order keeps it from being given up.
        async with (
            aclosing(super()._events()) as painting,
            aclosing(self._progress()) as progress,
            aclosing(until_ended(painting, progress)) as events,
        ):
            async for each in events:
                yield each

    async def _progress(self) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self.following) as orders:
                async for order in orders:
                    if order.progress is not None:
                        yield self._progress_event(order)
        except StorageUnavailable as error:  # the picture is worth more than its bar
            log.warning("progress_not_shown", reason=error.message)

    def _progress_event(self, order: Generation) -> bytes:
        progress, pictures = order.progress, range(self._request.n)
        assert progress is not None
        facts = {
            "type": PROGRESS,
            "status": order.status.value,
            "queue_position": progress.position,
            "steps": progress.steps // len(pictures),
            "done": [progress.of_pictures.get(index, 0) for index in pictures],
        }
        return event(PROGRESS, json.dumps(facts, separators=(",", ":")).encode())


async def until_ended(
    main: AsyncGenerator[bytes, None], beside: AsyncGenerator[bytes, None]
) -> AsyncGenerator[bytes, None]:
    """What both give, as it comes, until `main` has ended."""
    coming = {asyncio.ensure_future(anext(source)): source for source in (main, beside)}
    try:
        while main in coming.values():
            done, _ = await asyncio.wait(coming, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                source = coming.pop(each)
                try:
                    item = each.result()
                except StopAsyncIteration:
                    continue
                yield item
                coming[asyncio.ensure_future(anext(source))] = source
    finally:
        for each in coming:
            each.cancel()
        await asyncio.gather(*coming, return_exceptions=True)
