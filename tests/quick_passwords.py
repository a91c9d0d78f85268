"""Passwords for tests whose subject is not how long they take to try."""

from collections.abc import Iterator

import pytest
from argon2 import PasswordHasher

from pinxit.accounts import passwords


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same Argon2id with the least memory there can be."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._nobodys.cache_clear()
    yield
    passwords._nobodys.cache_clear()
