"""How near a prompt is to what otter-1 knows: the nearest known caption, by what the sentence encoder makes of both.

A sentence means the mean of its pieces' states, which is how all-MiniLM-L6-v2 pools. Two meanings of a prompt are
compared with every caption, and the nearer one counts: that of all its words, and that of its words without those that
speak of the picture and not of what is in it ("a cute picture of an otter on a blue background" → otter). Both come
out of one reading.
"""

import io
from collections.abc import Sequence
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt

from pinxit.backends.interface import Familiarity
from pinxit_otter.spec import KNOWN_FROM
from pinxit_otter.wordpiece import WordPieces

Floats = npt.NDArray[np.float32]

_ABOUT_THE_PICTURE_TEXT = """
    a an the of on in with and or for to is are there here it that this . , ! ? : ; -
    i we you me my please can could would want need like draw paint make show give create
    picture pictures image images drawing painting illustration icon emoji sticker cartoon clip art photo sketch
    render style flat 3d background colour color simple clean nice beautiful pretty lovely cute happy little small
    tiny big large very really just some one two three four five six pair couple group
    red orange yellow green blue light purple violet pink brown black gray grey white
"""
ABOUT_THE_PICTURE = tuple(_ABOUT_THE_PICTURE_TEXT.split())
"""Words that the training captions put around the name of a thing, and others of their kind."""


class Meaning(Protocol):
    """What the text encoder makes of a sentence; a `network.Text` is one."""

    @property
    def states(self) -> Floats:
        """A row of 384 numbers for each piece."""

    @property
    def pooled(self) -> Floats:
        """(384,), their mean, of length 1."""


class KnownCaptions:
    """What the model knows, as captions and their meanings."""

    def __init__(self, captions: Sequence[str], vectors: Floats, word_pieces: WordPieces) -> None:
        """`vectors`: a row of 384 numbers for each caption, of any length but zero."""
        self.captions = tuple(captions)
        self._vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        self._around = frozenset(tuple(word_pieces.ids(word)) for word in ABOUT_THE_PICTURE)
        self._longest = max(map(len, self._around))

    @classmethod
    def read(cls, contents: bytes, word_pieces: WordPieces) -> Self:
        """From the file that `otter/training/known.py` writes. Raises what numpy raises for a file that is none."""
        with np.load(io.BytesIO(contents), allow_pickle=False) as kept:
            captions = kept["captions"].tobytes().decode().split("\n")
            return cls(captions, kept["vectors"].astype(np.float32) * kept["scale"], word_pieces)

    def __len__(self) -> int:
        return len(self.captions)

    def judge(self, sentence: Sequence[int], text: Meaning) -> Familiarity:
        """How near a prompt is. `sentence`: its pieces with start and end; `text`: what the encoder makes of them."""
        # One product for each meaning: for one of both numpy would wake threads, which takes a hundred times as long.
        cosines = np.maximum(self._vectors @ text.pooled, self._vectors @ self._without_surroundings(sentence, text))
        place = int(cosines.argmax())
        similarity = round(float(np.clip(cosines[place], -1, 1)), 3)
        return Familiarity(self.captions[place], similarity, known=similarity >= KNOWN_FROM)

    def _without_surroundings(self, sentence: Sequence[int], text: Meaning) -> Floats:
        places = self._without_words(sentence)
        if len(places) == 2:  # start and end: there was nothing but such words
            return text.pooled
        mean = text.states[places].mean(axis=0)
        meaning: Floats = mean / np.linalg.norm(mean)
        return meaning

    def _without_words(self, sentence: Sequence[int]) -> list[int]:
        """The places of those pieces that stay."""
        kept, place = [], 0
        while place < len(sentence):
            lengths = range(self._longest, 0, -1)
            left_out = next(
                (length for length in lengths if tuple(sentence[place : place + length]) in self._around), 0
            )
            if not left_out:
                kept.append(place)
            place += left_out or 1
        return kept
