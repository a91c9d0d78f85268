"""Keeps a quiet stream from being taken for a dead one."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeVar

T = TypeVar("T")


async def with_heartbeat(items: AsyncIterator[T], seconds: float) -> AsyncGenerator[T | None, None]:
    """The items as they come, and None whenever none has come for `seconds`."""
    while True:
        coming = asyncio.ensure_future(anext(items))
        try:
            while not (await asyncio.wait({coming}, timeout=seconds))[0]:
                yield None
            try:
                item = coming.result()
            except StopAsyncIteration:
                return
        finally:
            if not coming.done():
                coming.cancel()
                await asyncio.wait({coming})
        yield item
