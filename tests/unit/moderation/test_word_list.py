"""The word list: what it sees through, what it leaves alone, and that it reads any text in proportion to its length."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pinxit.errors import ConfigurationError, ContentPolicyViolation
from pinxit.moderation import Moderator
from pinxit.moderation import word_list as module
from pinxit.moderation.word_list import WordListModerator, load_word_list, read_units, read_word_file

LIST = WordListModerator({"x": ["ass", "bad", "god", "hell", "therapist", "bad word", "1488", "mañana", "хуй", "坏词"]})


@pytest.mark.parametrize(
    "text",
    [
        "ass",
        "an ASS, please",
        "ass!",
        "(ass)",
        "my.ass.com",
        "bad1",
        "áśš",
        "ａｓｓ",
        "𝕒𝖘𝓼",
        "аѕѕ",  # Cyrillic
        "αss",  # Greek
        "ʙᴀᴅ",
        "🅱ad",
        "a\u200bs\u00ad\u2060s",
        "a5s",
        "@ss",
        "a$$",
        "b4d",
        "he11",
        "h3ll",
        "baaad",
        "assss",
        "goood",
        "a s s",
        "a  s\ns",
        "a.s.s",
        "a - s - s",
        "b\N{OTTER}a\N{OTTER}d",
        "h'e'l'l",
        "draw a b a d otter",
        "ba-d",
        "b*ad",
        "a-ss",
        "bad word",
        "bad-word",
        "BAD\n  W0RD",
        "b a d  w o r d",
        "therapist",
        "the-rapist's",
        "1488",
        "№1488!",
        "MANANA",
        "man\u0303ana",
        "Хуууй",
        "画一个坏词吧",
    ],
)
def test_a_word_is_found_in_disguise(text):
    assert LIST.categories_of(text) == ["x"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a sea otter",
        "class",
        "assassin",
        "badge",
        "as sand",
        "as s",
        "he'll",
        "he’ll",
        "the rapist",
        "good",
        "455",
        "$10, 4 - 55",
        "c l a s s",
        "c.l.a.s.s",
        "b a d g e",
        "s h e l l",
        "14880",
        "21488",
        "14 88",
        "b ad",
        "ba d",
        "b,ad",
        "bad\u0336ge",
        "a9s9s",
        "Scunthorpe",
    ],
)
def test_other_words_are_left_alone(text):
    words = ["ass", "bad", "god", "hell", "therapist", "1488", "cunt"]
    assert WordListModerator({"x": words}).categories_of(text) == []


def test_a_phrase_is_not_its_words():
    moderator = WordListModerator({"x": ["sea monster"]})
    assert [bool(moderator.categories_of(text)) for text in ("sea", "monster", "seamonster", "monster sea")] == [
        False
    ] * 4
    assert moderator.categories_of("a SEA...monster")


def test_words_of_the_list_may_be_written_in_any_way():
    moderator = WordListModerator({"x": ["B@D", "ＡＳＳ", "  he  ll ", "dick-head"]})
    assert [bool(moderator.categories_of(text)) for text in ("bad", "ass", "he ll", "dickhead")] == [True] * 4
    assert not moderator.categories_of("hell")


def test_all_categories_are_named_once_in_order():
    moderator = WordListModerator({"violence": ["stab", "gore"], "hate": ["gore"], "none": []})
    assert moderator.categories_of("gore, stab and gore") == ["hate", "violence"]


def test_an_empty_list_refuses_nothing():
    assert WordListModerator({}).categories_of("anything") == []


@pytest.mark.parametrize("padding", ["", " otter" * 5000])
async def test_a_refusal_says_the_same_whatever_the_word(padding):
    moderator: Moderator = WordListModerator({"violence": ["stab"], "hate": ["gore"]})
    refusals = []
    for word in ("stab", "g o r e"):
        with pytest.raises(ContentPolicyViolation) as caught:
            await moderator.check_prompt(f"an otter, {word}{padding}")
        refusals.append(caught.value)
    assert {str(refusal) for refusal in refusals} == {ContentPolicyViolation.__doc__}
    assert [(refusal.stage, refusal.categories) for refusal in refusals] == [
        ("input", ("violence",)),
        ("input", ("hate",)),
    ]
    await moderator.check_prompt(f"an otter{padding}")


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_has_words_comments_and_categories(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("\ufeff# ours\nfoo\n\n[violence]\nbar baz  # both\n[hate/speech]\nqux\n[violence]\nend\n", "utf-8")
    assert read_word_file(path) == {
        "blocked_words": ["foo"],
        "violence": ["bar baz", "end"],
        "hate/speech": ["qux"],
    }


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"fine\n[Not A Category]\n", "words.txt:2: a category is"),
        (b"fine\n\n***\n", "words.txt:3: has neither letters nor digits"),
        (b"\xff", "words.txt: is not UTF-8 text"),
        (b"x" * (4 * 1024 * 1024 + 1), "words.txt: is larger than"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, data, expected):
    path = tmp_path / "words.txt"
    path.write_bytes(data)
    with pytest.raises(ConfigurationError, match=expected.replace(".", r"\.")):
        load_word_list(words_file=path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"words\.txt: cannot be read: no such file or directory"):
        load_word_list(words_file=tmp_path / "words.txt")


def test_settings_and_file_come_together(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("foo\n[violence]\nbar\n")
    moderator = load_word_list(["baz"], path)
    assert moderator.categories_of("foo") == moderator.categories_of("baz") == ["blocked_words"]
    assert moderator.categories_of("bar") == ["violence"]
    with pytest.raises(ConfigurationError, match="moderation_words"):
        load_word_list(["***"])
    with pytest.raises(ValueError, match="neither letters nor digits"):
        WordListModerator({"x": ["***"]})


# --- time -----------------------------------------------------------------------------------------------------------


def steps_of(text: str) -> int:
    """How many states are looked at in all while `text` is read."""
    letters = random.Random(5)
    words = ["ass", "bad word", *("".join(letters.choices("abil", k=6)) for _ in range(200))]
    tree = WordListModerator({"x": words})._tree
    steps = 0

    class Counting(module._Walk):
        def _after(self, states, position, unit):
            nonlocal steps
            steps += len(states) + 1
            return super()._after(states, position, unit)

    Counting(tree, read_units(text)).categories()
    return steps


@pytest.mark.parametrize("piece", ["a s s ", "a", "ab", "1!", "a.b.", "i1l!", "bad ", "b a d  ", "! ", "a sea otter, "])
def test_reading_takes_steps_in_proportion_to_the_length(piece):
    text = piece * 200
    assert steps_of(text * 2) <= 2 * steps_of(text) + 500


def test_the_longest_prompt_is_a_bounded_number_of_units():
    assert len(read_units("a" * 32_000)) == 1
    assert len(read_units("ab" * 16_000)) == 32_000


@given(st.text(alphabet="abds45 .-!\u200bаß", max_size=40))
@settings(max_examples=300, deadline=None)
def test_a_plain_word_is_found_in_any_text(text):
    assert LIST.categories_of(text) in ([], ["x"])
    assert LIST.categories_of(f"{text} bad, {text}") == ["x"]
