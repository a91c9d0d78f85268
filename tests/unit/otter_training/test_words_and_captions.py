"""Names, plurals, articles and wordings."""

import json
from pathlib import Path

import pytest
from otter.training.data import captions, words
from otter.training.data.captions import Thing
from otter.training.data.dice import Dice
from otter.training.data.words import Concept

OTTER = Concept("1F9A6", "otter", ("sea otter",), ("fishing", "playful", "river animal"), "animal", 34)


@pytest.mark.parametrize(
    ("one", "several"),
    [
        ("dog", "dogs"),
        ("glass of wine", "glasses of wine"),
        ("cherry", "cherries"),
        ("fox", "foxes"),
        ("blue fish", "blue fish"),
        ("mouse", "mice"),
        ("key", "keys"),
        ("cat with wry smile", "cats with wry smile"),
        ("grapes", "grapes"),
    ],
)
def test_plural(one: str, several: str) -> None:
    assert captions.plural(one) == several


@pytest.mark.parametrize(
    ("phrase", "whole"),
    [
        ("otter", "an otter"),
        ("blue car", "a blue car"),
        ("unicorn", "a unicorn"),
        ("grapes", "grapes"),
        ("bus", "a bus"),
    ],
)
def test_article(phrase: str, whole: str) -> None:
    assert captions.with_article(phrase) == whole


def test_a_named_colour_replaces_the_colour_in_the_name() -> None:
    apple = Concept("1F34E", "red apple", (), (), "food", 42)
    assert Thing(apple, "blue").phrase(Dice(0), plain=True) == "a blue apple"


def test_a_plain_phrase_says_number_and_colour() -> None:
    assert Thing(OTTER, "purple", 3).phrase(Dice(0), plain=True) == "three purple otters"


def test_wordings_differ_and_all_name_the_thing() -> None:
    phrases = {Thing(OTTER).phrase(Dice(seed)) for seed in range(200)}
    assert len(phrases) > 10
    assert all("otter" in phrase for phrase in phrases)


def test_keywords_do_not_contain_the_name() -> None:
    said = {captions.keywords_only(OTTER, Dice(seed)) for seed in range(20)}
    assert all(text and "otter" not in text for text in said)
    assert captions.keywords_only(Concept("x", "x", (), ("one",), "object", -1), Dice(0)) is None


def entry(label: str, hexcode: str, group: int, subgroup: int) -> dict[str, object]:
    return {"label": label, "hexcode": hexcode, "emoji": hexcode, "tags": ["tag"], "group": group, "subgroup": subgroup}


def test_concepts_leave_out_flags_families_keycaps_and_skin(tmp_path: Path) -> None:
    entries = [
        entry("otter", "1F9A6", 3, 34),
        entry("dog face", "1F436", 3, 34),
        entry("flag: Chad", "1F1F9-1F1E9", 9, 98),
        entry("family", "1F46A", 1, 30),
        entry("keycap: 1", "0031-FE0F-20E3", 8, 94),
        entry("light skin tone", "1F3FB", 2, 32),
    ]
    (tmp_path / "en").mkdir()
    (tmp_path / "dist").mkdir()
    (tmp_path / "en" / "data.json").write_text(json.dumps(entries))
    (tmp_path / "dist" / "emoji-en-US.json").write_text(json.dumps({"1F9A6": ["otter", "sea_otter"]}))
    concepts = words.read_concepts(tmp_path, tmp_path)
    assert set(concepts) == {"1F9A6", "1F436"}
    assert concepts["1F9A6"].keywords == ("tag", "sea otter")
    assert "dog" in concepts["1F436"].names


def test_dice_repeat_and_keep_to_their_bounds() -> None:
    assert [Dice(5).whole(1, 6) for _ in range(3)] == [Dice(5).whole(1, 6)] * 3
    dice = Dice(1)
    assert {dice.whole(1, 6) for _ in range(200)} == {1, 2, 3, 4, 5, 6}
    assert sorted(dice.some([1, 2, 3], 9)) == [1, 2, 3]
    assert {dice.weighted("ab", (1, 0)) for _ in range(50)} == {"a"}
