"""Which word pieces of BERT's vocabulary otter-1 keeps, and the proof that cutting is done right.

The rule (BERT's vocabulary is in order of frequency, after the special pieces and the single characters):

1. the special pieces `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`;
2. every single character, alone or continuing a word, of ASCII, Latin-1, Latin Extended-A and general punctuation, so
   that any Latin word can be spelled;
3. whole numbers from 0 to 100;
4. words and continuations of a to z among the first `COMMON` pieces;
5. every piece of the English labels and keywords of emojibase-data and emojilib, which are the words of the training
   captions, so that they are read exactly as with the full vocabulary.

Dropped are other scripts (their characters become `[UNK]`), rare names, years, and pieces kept for BERT's own training.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from pinxit_otter.wordpiece import END, PAD, START, TEXT_TOKENS, UNKNOWN, WordPieces

COMMON = 13_000

_LETTERS = re.compile(r"(##)?[a-z]+")
_NUMBER = re.compile(r"[0-9]|[1-9][0-9]|100")
_CAPTION_WORDS = (
    "a an the picture illustration emoji icon of on with in background style render flat 3d noto twemoji cute little "
    "baby beautiful nice cartoon simple happy fluffy red orange yellow green blue light purple pink brown black gray "
    "grey white"
)


def keep(full: Sequence[str], tokenizer: Tokenizer, texts: Iterable[str]) -> list[int]:
    """The rows of the full vocabulary that stay, ascending, but for the special pieces, which come first."""
    special = [full.index(piece) for piece in (PAD, UNKNOWN, START, END)]
    used = {row for text in texts for row in tokenizer.encode(text, add_special_tokens=False).ids}
    kept = {
        row
        for row, piece in enumerate(full)
        if _is_single_latin(piece)
        or _NUMBER.fullmatch(piece)
        or (row < COMMON and _LETTERS.fullmatch(piece))
        or row in used
    }
    return special + sorted(kept - set(special))


def _is_single_latin(piece: str) -> bool:
    character = piece.removeprefix("##") if len(piece) > 2 else piece
    if len(character) != 1:
        return False
    code = ord(character)
    return code < 0x180 or (0x2010 <= code < 0x2070 and unicodedata.category(character).startswith(("P", "S")))


def caption_texts(emojibase: Path, emojilib: Path) -> list[str]:
    """Labels and keywords of the two npm packages, unpacked at these paths, and the words of the caption templates."""
    return [*_CAPTION_WORDS.split(), *_emojibase_texts(emojibase), *_emojilib_texts(emojilib)]


def _emojibase_texts(package: Path) -> Iterator[str]:
    for entry in json.loads((package / "en" / "data.json").read_text(encoding="utf-8")):
        yield entry["label"]
        yield from entry.get("tags", ())


def _emojilib_texts(package: Path) -> Iterator[str]:
    for keywords in json.loads((package / "dist" / "emoji-en-US.json").read_text(encoding="utf-8")).values():
        yield from (keyword.replace("_", " ") for keyword in keywords)


ODD_TEXTS = (
    "",
    "   ",
    "A cute baby sea otter",
    "Crème brûlée, naïve façade — 20°C!",
    'otter\'s "home" (river) #1 & co.',
    "tab\tnew\nline\u00a0no-break\u200bzero-width\u3000wide",
    "ÀÉÎÕÜ ß æ ø đ ł ı İ ſ ﬁ",
    "水獺 и выдра ワニ 수달",
    "e\u0301\u0323\u0300tude",
    "x" * 100,
    "x" * 101,
    "$+<=>^`|~ … «» “quoted” ‘single’",
    "🦦 otter 👩‍🔬\ufe0f",
    "control\x00\x01\x1c\x85\ufffdcharacters",
    "Ångström ΑΒΓ ΣΊΣΥΦΟΣ",
    "a_b-c/d.e,f;g:h",
    "1 10 100 1000 2026 3d 4k",
)
"""Texts on which readers of BERT's vocabulary tend to disagree."""


def check_against_tokenizers(vocabulary: Sequence[str], tokenizer_file: Path, texts: Iterable[str]) -> int:
    """Compare our reader with the library's, given the same cut vocabulary; the number of texts compared.

    Raises AssertionError at the first difference.
    """
    described = json.loads(tokenizer_file.read_text(encoding="utf-8"))
    ids = {piece: index for index, piece in enumerate(vocabulary)}
    described["model"]["vocab"] = ids
    described["added_tokens"] = []
    described["truncation"] = described["padding"] = None
    described["post_processor"] = None
    theirs = Tokenizer.from_str(json.dumps(described))
    ours = WordPieces(vocabulary)
    compared = 0
    for text in texts:
        expected = theirs.encode(text).ids[: TEXT_TOKENS - 2]
        assert ours.ids(text) == expected, (text, ours.ids(text), expected)
        compared += 1
    return compared


def check_captions_unchanged(
    vocabulary: Sequence[str], rows: Sequence[int], tokenizer: Tokenizer, texts: Iterable[str]
) -> tuple[int, int]:
    """How many of the texts are read exactly as with the full vocabulary, and how many there are."""
    ours = WordPieces(vocabulary)
    same = total = 0
    for text in texts:
        expected = tokenizer.encode(text, add_special_tokens=False).ids[: TEXT_TOKENS - 2]
        same += [rows[index] for index in ours.ids(text)] == expected
        total += 1
    return same, total
