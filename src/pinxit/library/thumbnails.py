"""Thumbnails: made once, when a page first shows the picture, and gone with it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from pinxit.errors import StorageUnavailable
from pinxit.images.thumbnail import thumbnail
from pinxit.storage.cache import FileCache

THREADS = 2
"""How many are made at a time; the others wait, so that a long page takes no more than this from the painters."""


class Thumbnails:
    """One for each picture at most, by the picture's id."""

    def __init__(self, cache: FileCache) -> None:
        self._cache = cache
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="thumbnails")

    async def find(self, image_id: str) -> bytes | None:
        return await asyncio.to_thread(self._cache.find, _name(image_id))

    async def make(self, image_id: str, data: bytes, *, keeps: bool) -> bytes:
        """From the picture's file. Raises ValueError if that is damaged."""

        def work() -> bytes:
            # Who waited behind another for the same one finds it made.
            small = self._cache.find(_name(image_id)) or thumbnail(data)
            if keeps:
                self._cache.keep(_name(image_id), small)
            return small

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def forget(self, image_id: str) -> None:
        """Raises StorageUnavailable."""
        try:
            await asyncio.to_thread(self._cache.forget, _name(image_id))
        except OSError as error:
            raise StorageUnavailable from error

    def close(self) -> None:
        """Wait for what is under way."""
        self._threads.shutdown()


def _name(image_id: str) -> str:
    return f"{image_id}.webp"
