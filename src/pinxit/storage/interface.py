"""What the rooms above may ask of a storage."""

from abc import ABC, abstractmethod


class StoredFileMissing(Exception):
    """There is no file under this key."""


class Storage(ABC):
    """Bytes under keys like `generated/pinxit_<uuid4>.png`. Keys come from our own rows, never from a request."""

    @abstractmethod
    async def put(self, key: str, data: bytes, *, is_read_soon: bool = True) -> None:
        """Keep `data` for good: when this returns, a power cut does not lose it, and no reader ever saw half of it.
        `is_read_soon`: whether it is worth having at hand.

        Raises StorageUnavailable; then nothing is there under `key`.
        """

    @abstractmethod
    async def get(self, key: str) -> bytes:
        """Raises StoredFileMissing or StorageUnavailable."""

    @abstractmethod
    async def delete(self, key: str) -> None:
        """Remove the file and what an interrupted `put` may have left. It is no error if there is none."""

    @abstractmethod
    async def list_keys(self) -> set[str]:
        """The key of everything that is kept, and whatever else lies there under the name that it has.

        Raises StorageUnavailable.
        """

    @abstractmethod
    async def free_bytes(self) -> int | None:
        """Room that is left, None if nobody can say."""
