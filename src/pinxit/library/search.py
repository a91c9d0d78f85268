"""Looking for pictures: what is asked and what is found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from pinxit.library.image import Image

MAX_WORDS = 8
WITHOUT_KEY = "none"
"""Stands for the pictures that no API key painted: those of the console and the command line."""


@dataclass(frozen=True, slots=True)
class Search:
    """`words`: each is somewhere in the prompt. `key_id`: of an API key, or WITHOUT_KEY. None: any."""

    words: tuple[str, ...] = ()
    model: str | None = None
    key_id: str | None = None

    @property
    def is_anything(self) -> bool:
        return not self.words and self.model is None and self.key_id is None


def words_of(text: str) -> tuple[str, ...]:
    """The words of what somebody typed, the first ones of many."""
    return tuple(dict.fromkeys(text.split()))[:MAX_WORDS]


def spellings(word: str) -> list[str]:
    """The word in the cases people write it in: SQLite folds the case of ASCII letters only."""
    return [word] if word.isascii() else sorted({word, word.lower(), word.upper(), word.capitalize()})


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A picture of the list, with the row of the generation that made it."""

    image: Image
    generation: Row[Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Some of what was looked for, newest first. `after`: where to look on, None at the end; `reached`: how far back
    that is. One look goes through a limited number of pictures, so `images` may be empty while there is more.
    """

    images: list[StoredImage]
    after: str | None
    reached: datetime | None
