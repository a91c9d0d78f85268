"""Words into word pieces, as BERT (uncased) does it, in time linear in the text.

The steps are those of google-research/bert `tokenization.py` and of the library `tokenizers` (BertNormalizer,
BertPreTokenizer, WordPiece): drop control characters, put CJK characters on their own, strip accents, lower the case,
split off punctuation, then take the longest known piece again and again. A prompt is data: `[CLS]` in it is three
words.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Self

PAD = "[PAD]"
UNKNOWN = "[UNK]"
START = "[CLS]"
END = "[SEP]"

TEXT_TOKENS = 20
"""How many pieces the model reads, `START` and `END` among them."""

_CONTINUES = "##"
_MAX_WORD_CHARACTERS = 100
"""A longer word is one unknown piece, as in BERT."""

_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


class WordPieces:
    """A vocabulary, and how to cut text into its pieces."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        """`vocabulary`: a piece's place is its id. Raises KeyError if a special piece is missing."""
        self._ids: Mapping[str, int] = {piece: index for index, piece in enumerate(vocabulary)}
        self._longest = max(len(piece) for piece in vocabulary)
        self.pad, self.unknown, self.start, self.end = (self._ids[piece] for piece in (PAD, UNKNOWN, START, END))

    @classmethod
    def read(cls, path: Path) -> Self:
        """The vocabulary in a file of one piece a line. Raises OSError, UnicodeDecodeError, KeyError."""
        return cls(path.read_text(encoding="utf-8").splitlines())

    def __len__(self) -> int:
        return len(self._ids)

    def ids(self, text: str, limit: int = TEXT_TOKENS - 2) -> list[int]:
        """The first `limit` pieces of `text`; what comes after them is not looked at."""
        found: list[int] = []
        for word in _words(text):
            if len(found) >= limit:
                break
            found += self._pieces(word)
        return found[:limit]

    def sentence(self, text: str, ending: str = "") -> tuple[int, ...]:
        """What the model reads, unpadded: `text` between `START` and `END`, cut so that `ending` always has room."""
        room = TEXT_TOKENS - 2
        last = self.ids(ending, room)
        return (self.start, *self.ids(text, room - len(last)), *last, self.end)

    def _pieces(self, word: str) -> list[int]:
        if len(word) > _MAX_WORD_CHARACTERS:
            return [self.unknown]
        found: list[int] = []
        begin = 0
        while begin < len(word):
            prefix = _CONTINUES if begin else ""
            for end in range(min(len(word), begin + self._longest), begin, -1):
                piece = self._ids.get(prefix + word[begin:end])
                if piece is not None:
                    found.append(piece)
                    begin = end
                    break
            else:
                return [self.unknown]
        return found


def _words(text: str) -> Iterator[str]:
    """Words and single punctuation marks. A word is cut after one character more than BERT reads of a word."""
    word: list[str] = []
    for character in _plain_characters(text):
        if character == " " or _is_punctuation(character) or _is_cjk(character):
            if word:
                yield "".join(word)
                word.clear()
            if character != " ":
                yield character
        elif len(word) <= _MAX_WORD_CHARACTERS:
            word.append(character)
    if word:
        yield "".join(word)


def _plain_characters(text: Iterable[str]) -> Iterator[str]:
    for character in text:
        yield from _plain(character)


@lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """What is left of a character: one space for white space, lower case without accents, or nothing.

    One character at a time, because putting a long run of accents into canonical order takes quadratic time.
    """
    if character in "\t\n\r" or character.isspace():
        return " " if character in "\t\n\r" or unicodedata.category(character) != "Cc" else ""
    if character == "\ufffd" or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co"):
        return ""
    decomposed = unicodedata.normalize("NFD", character)
    return "".join(part.lower() for part in decomposed if unicodedata.category(part) != "Mn")


@lru_cache(maxsize=4096)
def _is_punctuation(character: str) -> bool:
    """All ASCII that is neither letter, digit nor space, and what Unicode calls punctuation."""
    if character.isascii():
        return not character.isalnum() and not character.isspace()
    return unicodedata.category(character).startswith("P")


def _is_cjk(character: str) -> bool:
    code = ord(character)
    return code >= 0x3400 and any(first <= code <= last for first, last in _CJK)
