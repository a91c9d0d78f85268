"""Keeping pictures: bytes first, durable; the row follows in the order's last transaction."""

from collections.abc import Callable
from datetime import datetime
from time import monotonic

import structlog
from sqlalchemy import Connection

from pinxit import audit
from pinxit.database.interface import Database
from pinxit.errors import NotFound, StorageUnavailable
from pinxit.library import repository
from pinxit.library.image import Image
from pinxit.library.search import Found, Search, StoredImage
from pinxit.library.thumbnails import Thumbnails
from pinxit.library.urls import ImageUrls
from pinxit.storage.interface import Storage, StoredFileMissing

__all__ = ["Library", "StoredImage"]

log = structlog.get_logger(__name__)

ROOMY_BYTES = 4 * 1024**3
ROOMY_SECONDS = 1.0
"""So much more than is kept free is not written in so short a time: until then the disk is not looked at again."""


class Library:
    """The pictures of all accounts."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        urls: ImageUrls,
        *,
        min_free_bytes: int,
        now: Callable[[], datetime],
        thumbnails: Thumbnails | None = None,
    ) -> None:
        """`thumbnails`: None where no page shows any."""
        self._database = database
        self._storage = storage
        self._min_free_bytes = min_free_bytes
        self._now = now
        self._thumbnails = thumbnails
        self._is_roomy_until = 0.0
        self.urls = urls

    async def require_room(self) -> None:
        """Raises StorageUnavailable when the disk is too full to promise that a new picture can be kept."""
        if monotonic() < self._is_roomy_until:
            return
        free = await self._storage.free_bytes()
        if free is not None and free < self._min_free_bytes:
            raise StorageUnavailable("The server's disk is full: nothing was painted or charged.")
        if free is None or free >= self._min_free_bytes + ROOMY_BYTES:
            self._is_roomy_until = monotonic() + ROOMY_SECONDS

    async def _has_room(self) -> bool:
        free = await self._storage.free_bytes()
        return free is None or free >= self._min_free_bytes

    async def keep(self, storage_key: str, data: bytes, *, is_read_soon: bool = True) -> None:
        """Store the bytes for good. `is_read_soon`: whether somebody will fetch them in a moment.

        Raises StorageUnavailable.
        """
        await self._storage.put(storage_key, data, is_read_soon=is_read_soon)

    async def discard(self, storage_keys: list[str]) -> None:
        """Remove files that no row will ever name. Raises StorageUnavailable."""
        for key in storage_keys:
            await self._storage.delete(key)

    async def admit(self, storage_key: str, expires: str, signature: str) -> Image:
        """The picture behind an address, if the address opens it. Raises NotFound, UrlExpired, StorageUnavailable."""
        image = await self._database.read(lambda connection: repository.find_by_storage_key(connection, storage_key))
        if image is None:
            raise NotFound("There is no such picture.")
        self.urls.check(image, expires, signature, self._now())
        return image

    async def read(self, image: Image) -> bytes:
        """The bytes. Raises NotFound, StorageUnavailable."""
        try:
            return await self._storage.get(image.storage_key)
        except StoredFileMissing as error:
            raise NotFound("There is no such picture.") from error

    async def get(self, account_id: str, image_id: str) -> StoredImage:
        """Raises NotFound, also for another account's picture."""
        found = await self._database.read(lambda connection: repository.find(connection, account_id, image_id))
        if found is None:
            raise NotFound("There is no such picture.")
        return StoredImage(*found)

    async def list(self, account_id: str, *, after: str | None, limit: int) -> list[StoredImage]:
        """Newest first. Raises NotFound if `after` is not a picture of this account."""
        rows = await self._database.read(
            lambda connection: repository.list_newest(connection, account_id, after=after, limit=limit)
        )
        if rows is None:
            raise NotFound("There is no such picture.", param="after")
        return [StoredImage(*row) for row in rows]

    async def search(self, account_id: str, search: Search, *, after: str | None, limit: int) -> Found:
        """Newest first. Raises NotFound if `after` is not a picture of this account."""
        found = await self._database.read(
            lambda connection: repository.search(connection, account_id, search, after=after, limit=limit)
        )
        if found is None:
            raise NotFound("There is no such picture.", param="after")
        return found

    async def thumbnail(self, image: Image) -> bytes:
        """The picture as a small WebP, made now if it is asked for the first time.

        It is not kept where the disk is nearly full. Raises NotFound, StorageUnavailable.
        """
        assert self._thumbnails is not None, "only the server's library has thumbnails"
        kept = await self._thumbnails.find(image.id)
        if kept is not None:
            return kept
        data = await self.read(image)
        try:
            made = await self._thumbnails.make(image.id, data, keeps=await self._has_room())
        except ValueError as error:
            log.error("picture_damaged", image_id=image.id)
            raise NotFound("This picture's file is damaged.") from error
        try:
            await self.get(image.account_id, image.id)
        except NotFound:  # deleted meanwhile: what was made after that must not stay
            await self._thumbnails.forget(image.id)
            raise
        return made

    async def delete(self, account_id: str, image_id: str) -> None:
        """Delete for good: the row first, so that no row ever names a missing file.

        Raises NotFound, StorageUnavailable.
        """
        origin, now = audit.current(), self._now()

        def unit(connection: Connection) -> str | None:
            key = repository.mark_deleted(connection, account_id, image_id, now)
            if key is not None:
                picture = audit.Thing("image", image_id)
                audit.note(connection, origin, audit.Action.IMAGE_DELETED, picture, account_id=account_id, at=now)
            return key

        if await self._database.write(unit) is None:
            raise NotFound("There is no such picture.")
        await self.purge()

    async def purge(self) -> None:
        """Remove the files of deleted pictures. Raises StorageUnavailable."""
        doomed = await self._database.read(repository.list_to_purge)
        for image_id, key in doomed:
            await self._storage.delete(key)
            if self._thumbnails is not None:
                await self._thumbnails.forget(image_id)
        if doomed:
            ids, now = [image_id for image_id, _ in doomed], self._now()
            await self._database.write(lambda connection: repository.mark_purged(connection, ids, now))

    def close(self) -> None:
        """Wait for what is under way."""
        if self._thumbnails is not None:
            self._thumbnails.close()
