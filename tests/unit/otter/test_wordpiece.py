import time
import unicodedata

import pytest

from pinxit_otter.manifest import VOCABULARY, WEIGHTS
from pinxit_otter.wordpiece import TEXT_TOKENS, WordPieces, _words

PIECES = (WEIGHTS / VOCABULARY).read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def pieces() -> WordPieces:
    return WordPieces(PIECES)


def spelled(pieces: WordPieces, text: str) -> list[str]:
    return [PIECES[index] for index in pieces.ids(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A cute baby sea otter", "a cute baby sea otter"),
        ("Crème brûlée!", "cr ##eme br ##ule ##e !"),
        ("otter's (home) #1", "otter ' s ( home ) # 1"),
        ("no\u00a0break\u200b\u3000wide", "no break wide"),
        ("tab\tand\nline\x00", "tab and line"),
        ("水獺 otter", "[UNK] [UNK] otter"),
        ("ÀÉÎÕÜ ſ İ", "ae ##io ##u [UNK] i"),
        ("😀 robot", "[UNK] robot"),
        ("x" * 101, "[UNK]"),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_reads_as_bert_does(pieces: WordPieces, text: str, expected: str) -> None:
    assert spelled(pieces, text) == expected.split()


def test_the_vocabulary_spells_every_latin_word(pieces: WordPieces) -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    assert all(letter in PIECES and f"##{letter}" in PIECES for letter in alphabet)
    assert pieces.unknown not in pieces.ids("qzxvk jjqqw 7x9z")


def test_vocabulary_has_no_doubles() -> None:
    assert len(set(PIECES)) == len(PIECES)


@pytest.mark.parametrize("word", ["[CLS]", "[SEP]", "[PAD]", "[UNK]"])
def test_a_prompt_is_data(pieces: WordPieces, word: str) -> None:
    special = {pieces.start, pieces.end, pieces.pad}
    assert not special & set(pieces.ids(f"otter {word}"))
    assert spelled(pieces, word)[0] == "["


def test_a_sentence_is_cut_but_its_ending_is_not(pieces: WordPieces) -> None:
    ending = pieces.ids(", noto style")
    sentence = pieces.sentence("otter " * 500, ", noto style")
    assert len(sentence) == TEXT_TOKENS
    assert sentence[0] == pieces.start
    assert sentence[-1] == pieces.end
    assert list(sentence[-1 - len(ending) : -1]) == ending


def test_an_empty_prompt_is_start_and_end(pieces: WordPieces) -> None:
    assert pieces.sentence("") == (pieces.start, pieces.end)


LONG = 32_000


@pytest.mark.parametrize(
    "text",
    [
        "a" * LONG,
        " " * LONG,
        "\u200b" * LONG,
        "a" + "\u0301\u0323" * (LONG // 2),
        "가" * LONG,
        "水" * LONG,
        "!" * LONG,
        ("a" * 100 + " ") * (LONG // 101),
        "\ufdfa" * LONG,
        "".join(chr(0x4E00 + index % 20_000) for index in range(LONG)),
    ],
    ids=["one word", "spaces", "zero width", "accents", "hangul", "cjk", "marks", "long words", "ligatures", "many"],
)
def test_long_text_takes_linear_time(pieces: WordPieces, text: str) -> None:
    """Reading all of it, not only the first pieces, and twice as much takes about twice as long."""

    def seconds(part: str) -> float:
        begun = time.process_time()
        assert sum(1 for _ in _words(part)) <= len(part)
        pieces.sentence(part)
        return time.process_time() - begun

    quarter = min(seconds(text[: LONG // 4]) for _ in range(3))
    whole = min(seconds(text) for _ in range(3))
    assert whole < 0.5
    assert whole < 12 * quarter + 0.02


def test_accents_are_not_put_in_order() -> None:
    """Why characters are taken apart one by one: the marks of this text differ in class, and sorting them is slow."""
    assert {unicodedata.combining(mark) for mark in "\u0301\u0323"} == {230, 220}
