"""Passwords are kept as Argon2id with the parameters of the OWASP Password Storage Cheat Sheet (19 MiB, 2 passes).

https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html, read 2026-11-22.
"""

import asyncio
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from pinxit.errors import Overloaded

MAX_AT_ONCE = 2
"""Hashes worked out at once: each takes 19 MiB and a core."""
MAX_WAITING = 16

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class PasswordDesk:
    """Hashes and verifies off the event loop, a few at a time. Raises Overloaded when too many wait."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._waiting = 0

    async def hash(self, password: str) -> str:
        async with self._turn():
            return await asyncio.to_thread(_hash, password)

    async def verify(self, password: str, hashed: str | None) -> bool:
        """Whether it is the one that was hashed. None is nobody's, which takes as long to find out."""
        async with self._turn():
            matches = await asyncio.to_thread(_verify, password, _nobodys() if hashed is None else hashed)
        return matches and hashed is not None

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        if self._waiting >= MAX_WAITING:
            raise Overloaded("Too many people sign in at this moment. Try again shortly.", retry_after_seconds=5)
        self._waiting += 1
        try:
            async with self._turns:
                yield
        finally:
            self._waiting -= 1


def _hash(password: str) -> str:
    return _hasher.hash(_normal(password))


def _verify(password: str, hashed: str) -> bool:
    try:
        return _hasher.verify(hashed, _normal(password))
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> str:
    """Keyboards differ in how they send an accented letter."""
    return unicodedata.normalize("NFKC", password)


@cache
def _nobodys() -> str:
    return _hash("nobody has this password")
