"""Prompts, part by part. What is known is a handful of names here; the last tests ask the real model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from otter.training.data.captions import NUMBERS, plural

from pinxit_otter.arrangement import Placed
from pinxit_otter.backend import OtterBackend
from pinxit_otter.familiarity import ABOUT_THE_PICTURE
from pinxit_otter.scene import MOST_PARTS, MOST_THINGS, PLACES, Scene, SceneReader

NAMES_TEXT = """
    otter, dog, cat, fish, mouse, cherries, glass of wine, knife, fork, knife and fork, glasses, two hearts, red apple,
    ball, owl, loaf of bread, rocket, cake, man, man with beard, church, house, bus
"""
NAMES = tuple(" ".join(NAMES_TEXT.split()).split(", "))


def likeness(phrase: str) -> float:
    """Of a phrase to one of the names: by its words, as if each counted the same."""
    words, around = set(phrase.split()), set(ABOUT_THE_PICTURE)
    names = [set(name.split()) for name in NAMES]
    return max(len((words & own) - around) / max(1, len((words | own) - around)) for own in names)


@pytest.fixture(scope="module")
def reader() -> SceneReader:
    return SceneReader(NAMES, likeness)


@pytest.mark.parametrize(
    ("prompt", "parts", "shown"),
    [
        ("two dogs", ["a dog"], [0, 0]),
        ("Three Cats.", ["a cat"], [0, 0, 0]),
        ("a pair of mice", ["a mouse"], [0, 0]),
        ("2 glasses of wine", ["a glass of wine"], [0, 0]),
        ("twelve churches", ["a church"], [0] * 12),
        ("please draw me two buses, please", ["a bus"], [0, 0]),
        ("a cat and a dog", ["a cat", "a dog"], [0, 1]),
        ("cat, dog and the owl", ["a cat", "a dog", "the owl"], [0, 1, 2]),
        ("an owl holding its ball", ["an owl", "a ball"], [0, 1]),
        ("two cats and a ball", ["a cat", "a ball"], [0, 0, 1]),
        ("an otter, a cat", ["an otter", "a cat"], [0, 1]),
        ("a nice picture of a cat and a dog, flat style", ["a cat", "a dog"], [0, 1]),
        ("a cat to the right of a dog", ["a dog", "a cat"], [0, 1]),
        ("a cat on the left, a dog on the right", ["a cat", "a dog"], [0, 1]),
        ("a cat above a cake", ["a cat", "a cake"], [1, 0]),
        ("a cake under a cat", ["a cat", "a cake"], [1, 0]),
        ("a tiny mouse", ["a mouse"], [0]),
        ("1 cat and 2 dogs", ["a cat", "a dog"], [0, 1, 1]),
        ("a black and white cat and a dog", ["a black and white cat", "a dog"], [0, 1]),
        ("three red balls and two blue balls", ["a red ball", "a blue ball"], [0, 0, 0, 1, 1]),
        ("a red knife and fork and a cake", ["a red knife and fork", "a cake"], [0, 1]),
        ("a man with a beard and a cat", ["a man with a beard", "a cat"], [0, 1]),
        ("three tiny mice", ["a tiny mouse"], [0, 0, 0]),
        ("two loaves of bread and a fish", ["a loaf of bread", "a fish"], [0, 0, 1]),
    ],
)
def test_several_things(reader: SceneReader, prompt: str, parts: list[str], shown: list[int]) -> None:
    scene = reader.read(prompt)
    assert (list(scene.parts), [placed.part for placed in scene.places]) == (parts, shown)
    assert not scene.has_ground


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a cat on a snowy night", ["a cat", "on a snowy night"]),
        ("a cat in the forest", ["a cat", "in a forest"]),
        ("a cat underwater", ["a cat", "under water"]),
        ("a spaceship nobody knows, in space", ["a spaceship nobody knows", "in space"]),
        ("two dogs and a cat at the beach", ["a dog", "a cat", "on the beach"]),
        ("a cat on a light blue gradient background", ["a cat", "on a light blue gradient background"]),
        ("a cat, orange background", ["a cat", "on an orange background"]),
        ("a rocket on a grey background, 3d style", ["a rocket", "on a grey background"]),
        ("a cat in a green circle", ["a cat", "in a green circle"]),
        ("app icon of a rocket, blue", ["a rocket", "on a blue rounded square"]),
        ("an orange app icon with a rocket", ["a rocket", "on an orange rounded square"]),
        ("On the beach, two cats", ["a cat", "on the beach"]),
        ("a cat isolated on white background", ["a cat", "on a white background"]),
        ("a cat on a plain blue background", ["a cat", "on a blue background"]),
        ("a cat on black", ["a cat", "on a black background"]),
        ("a huge dog on the beach", ["a huge dog", "on the beach"]),
    ],
)
def test_grounds(reader: SceneReader, prompt: str, parts: list[str]) -> None:
    scene = reader.read(prompt)
    assert (list(scene.parts), scene.has_ground) == (parts, True)


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        "an otter",
        "A cute baby sea otter",
        "a cat, transparent background",
        "knife and fork",
        "a fork and a knife",
        "a man with a beard",
        "two hearts",
        "a pair of glasses",
        "a cat and an annual report",
        "a cat without a hat",
        "thirteen dogs",
        "six cats, six dogs and an owl",
        "a cat at night in the forest",
        "an app icon of a rocket",
        "a cat, a dog, an owl, a ball, a mouse and a rocket",
        "a cat above a dog above an owl",
        "cat, mouse, ball",
        "a black and white cat",
        "two balls, one red and one blue",
        "an old and wise owl",
        "a cat and a dog, both smiling",
        "two otters holding hands",
        "a cat with blue eyes",
        "an owl with eight legs",
        "three headed dog",
        "5 star house",
        "two or three cats",
        "a dozen of cats",
        "two cats playing with a ball",
        "a pair of headphones",
        "a cat on a pink and purple gradient background",
        "a cat on a red background and a dog on a blue background",
        "a fish in the snow with a red ball",
        "a beach at sunset",
        "an owl over the sea",
        "a cat and a dog; flat style",
        "a set of icons: a cat and a dog",
        'an owl saying "cat and dog"',
        "two cats (one black)",
        "two cats to the left of a dog and a ball",
        "a cat and no dog",
        "om and ox and ant and axe and ark and elk and emu and eel",
        "a cat and " * 40 + "a dog",
    ],
)
def test_what_is_one_thing_or_not_understood_stays_whole(reader: SceneReader, prompt: str) -> None:
    assert reader.read(prompt) == Scene((prompt,))


_WORDS_TEXT = """
    a an two 3 twelve pair of couple cat cats dog dogs glasses wine and with , . above under on in at the left right
    to blue background circle app icon night snowy beach tiny big its style flat please draw 🦦 水獺 % {
"""
_WORDS = st.sampled_from(_WORDS_TEXT.split())


@given(st.lists(_WORDS, max_size=14).map(" ".join) | st.text(max_size=80))
def test_any_prompt_gives_a_scene_that_can_be_painted(prompt: str) -> None:
    scene = SceneReader(NAMES, likeness).read(prompt)
    assert 1 <= len(scene.parts) <= MOST_PARTS
    assert len(scene.places) <= MOST_THINGS
    if scene.is_whole:
        assert scene.parts == (prompt,)
        return
    assert {placed.part for placed in scene.places} == set(range(len(scene.parts) - scene.has_ground))
    assert all(part.strip() for part in scene.parts)
    assert all(0 < placed.x < 1 and 0 < placed.y < 1 and 0 < placed.size <= 1 for placed in scene.places)


def middles(scene: Scene) -> list[tuple[float, float]]:
    return [(placed.x, placed.y - placed.size / 2 * placed.stands) for placed in scene.places]


@pytest.mark.parametrize("number", range(2, MOST_THINGS + 1))
@pytest.mark.parametrize("where", ["", " on a red background", " in a red circle", " in the snow", " in space"])
def test_things_of_a_kind_do_not_cover_each_other(reader: SceneReader, number: int, where: str) -> None:
    scene = reader.read(f"{number} dogs{where}")
    places = list(zip(middles(scene), [placed.size for placed in scene.places], strict=True))
    assert len(places) == number
    for place, ((x, y), size) in enumerate(places):
        assert size / 2 <= x <= 1 - size / 2
        for (other_x, other_y), other_size in places[:place]:
            apart = max(abs(x - other_x), abs(y - other_y))
            rows = where == " in the snow" and abs(y - other_y) > 0.01
            assert rows or apart >= (size + other_size) / 2 - 0.01


def test_things_stand_on_the_floor_of_a_place(reader: SceneReader) -> None:
    for place in PLACES.values():
        for things in ("a cat", "a cat and a dog", "three cats", "a cat above a dog"):
            scene = reader.read(f"{things} {place.phrases[0]}")
            lowest = max(placed.y for placed in scene.places)
            assert place.floor is None or lowest == pytest.approx(place.floor + 0.02)


def test_sizes_are_heeded_beside_each_other(reader: SceneReader) -> None:
    big, small = reader.read("a big dog and a small cat").places
    assert big.size > 1.5 * small.size
    assert big.y == small.y, "both stand on one line"
    assert reader.read("a tiny mouse").places == (Placed(0, 0.5, 0.5, 0.4),)
    crowd = reader.read("two tiny mice and three big dogs in the snow").places
    mouse, dog = (next(placed.size for placed in crowd if placed.part == part) for part in (0, 1))
    assert dog == pytest.approx(2.6 * mouse), "in both rows by one measure"
    moon = reader.read("a tiny cat above a big cake").places
    assert moon[0].size > 2 * moon[1].size


@pytest.mark.parametrize(
    ("prompt", "manner"),
    [
        ("a cat and a dog, flat style", ", flat style"),
        ("a cat and a dog in flat style", ", flat style"),
        ("two cats, high quality, 4k", ", high quality, 4k"),
        ("two cats, with a white outline, transparent background", ", with a white outline"),
        ("a cat and a dog, no outline", ""),
    ],
)
def test_the_manner_is_that_of_all_things(reader: SceneReader, prompt: str, manner: str) -> None:
    scene = reader.read(prompt)
    assert (scene.things[0], scene.manner) == ("a cat", manner)


def test_few_phrases_are_asked_for() -> None:
    """Each likeness is a reading by the text encoder, which others wait for."""
    asked = []
    reader = SceneReader(NAMES, lambda phrase: asked.append(phrase) or 1.0)
    reader.read("a " + " and a ".join(["cat"] * 35))
    assert len(asked) <= MOST_PARTS + 1


@pytest.mark.parametrize("name", ["dog", "cat", "mouse", "fish", "knife", "church", "bus", "glass of wine", "house"])
def test_the_plurals_of_the_training_captions_are_read(reader: SceneReader, name: str) -> None:
    for number, word in NUMBERS.items():
        scene = reader.read(f"{word} {plural(name)}")
        assert (scene.parts, len(scene.places)) == ((f"a {name}",), number)


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("two otters", ["an otter"]),
        ("a panda beside a pizza", ["a panda", "a pizza"]),
        ("a big dog and a small cat", ["a dog", "a cat"]),
        ("a fox, a bear and an owl in the woods", ["a fox", "a bear", "an owl", "in a forest"]),
        ("a man with a beard", None),
        ("a smiling face with sunglasses", None),
        ("hammer and wrench", None),
        ("a spreadsheet with numbers and charts", None),
        ("a company meeting and a quarterly report", None),
    ],
)
def test_what_the_model_itself_knows(otter: OtterBackend, prompt: str, parts: list[str] | None) -> None:
    assert otter._painter is not None
    assert otter._painter._reader is not None
    assert list(otter._painter._reader.read(prompt).parts) == (parts or [prompt])
