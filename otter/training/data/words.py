"""What can be drawn, in words: concepts with a name, other names and keywords."""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

GROUPS = {
    0: "smiley",
    1: "person",
    3: "animal",
    4: "food",
    5: "place",
    6: "activity",
    7: "object",
    8: "symbol",
}
"""emojibase's numbers of the groups that are kept; components (2) and flags (9) are not."""

PLANT_SUBGROUPS = frozenset({40, 41})
"""They belong to emojibase's group of animals and nature but are no animals."""

SKY_SUBGROUP = 59
CLOCK_SUBGROUP = 58

LEFT_OUT_SUBGROUPS = frozenset({30, 32, 33, 83, 85, 87, 88, 89, 90, 91, 92, 93, 94, 95, 97, 98, 99})
"""Families, skin and hair components, signs, arrows, zodiac, buttons, gender, mathematics, punctuation, currency, other
symbols, keycaps, letters and numbers, flags: pictures of text or nearly so."""

LEFT_OUT_NAMES = frozenset({"mahjong red dragon", "non-potable water"})
"""Single emoji that are text or signs, though their neighbours are not."""

COLOUR_WORDS = frozenset(
    ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray", "grey", "white")
)

PLAIN_NAMES: Mapping[str, tuple[str, ...]] = {
    "automobile": ("car",),
    "oncoming automobile": ("car from the front",),
    "sport utility vehicle": ("suv", "off-road car"),
    "racing car": ("racing car", "sports car"),
    "hot beverage": ("cup of coffee", "cup of tea", "coffee"),
    "teacup without handle": ("cup of tea", "green tea"),
    "wine glass": ("glass of wine",),
    "beer mug": ("beer", "glass of beer"),
    "baby bottle": ("milk bottle for a baby", "baby bottle"),
    "glass of milk": ("milk",),
    "otter": ("otter", "sea otter", "river otter", "cute otter", "baby otter", "swimming otter"),
    "rabbit face": ("rabbit", "bunny"),
    "rabbit": ("bunny", "hare"),
    "mouse face": ("mouse",),
    "t-rex": ("tyrannosaurus", "dinosaur"),
    "sauropod": ("dinosaur", "brontosaurus"),
    "spouting whale": ("whale",),
    "front-facing baby chick": ("chick",),
    "baby chick": ("chick",),
    "hatching chick": ("chick in an egg",),
    "lady beetle": ("ladybug", "ladybird"),
    "honeybee": ("bee",),
    "french fries": ("fries", "chips"),
    "cooking": ("fried egg",),
    "shortcake": ("slice of cake", "strawberry cake"),
    "birthday cake": ("cake",),
    "soft ice cream": ("ice cream cone",),
    "mobile phone": ("smartphone", "phone"),
    "desktop computer": ("computer",),
    "laptop": ("laptop computer", "notebook computer"),
    "house": ("home", "cottage"),
    "house with garden": ("house with a tree",),
    "snow-capped mountain": ("snowy mountain",),
    "evergreen tree": ("pine tree", "fir tree"),
    "deciduous tree": ("tree",),
    "money bag": ("bag of money",),
    "light bulb": ("lightbulb", "idea"),
    "crescent moon": ("moon",),
    "sun with face": ("smiling sun",),
    "glowing star": ("shining star",),
    "high voltage": ("lightning", "lightning bolt"),
    "collision": ("explosion", "boom"),
    "spiral shell": ("sea shell", "seashell"),
    "backpack": ("rucksack", "school bag"),
    "t-shirt": ("tee shirt", "shirt"),
    "woman's hat": ("straw hat",),
    "running shoe": ("sneaker", "trainer"),
    "magnifying glass tilted left": ("magnifying glass",),
    "magnifying glass tilted right": ("magnifying glass",),
    "water wave": ("wave", "ocean wave"),
    "pile of poo": ("poop",),
    "red heart": ("heart",),
    "red apple": ("apple",),
    "closed book": ("book",),
    "top hat": ("hat",),
    "billed cap": ("cap", "baseball cap"),
    "soccer ball": ("football", "ball"),
    "locked": ("padlock",),
    "gear": ("cog wheel", "settings"),
    "wrapped gift": ("present", "gift"),
    "key": ("house key",),
}
"""Everyday names for CLDR's labels, which are at times stiff."""

_WORD = re.compile(r"[a-z][a-z '\-]+")


@dataclass(frozen=True, slots=True)
class Concept:
    """Something that is drawn: an emoji, or an icon known by its own name."""

    key: str
    """An emoji's code points in capitals, or `icon:` and a name."""
    name: str
    other_names: tuple[str, ...]
    """As good as the name in any sentence."""
    keywords: tuple[str, ...]
    """What comes with it; not names."""
    group: str
    subgroup: int

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.other_names)


def slug(text: str) -> str:
    """As Iconify names its pictures: lower-case ASCII words joined by hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub("[^a-z0-9]+", "-", plain.replace("&", "and").replace("'", "")).strip("-")


def without_variation(hexcode: str) -> str:
    """Code points in capitals without the selector of the coloured variant, which some sets write and others do not."""
    return "-".join(part for part in hexcode.upper().split("-") if part != "FE0F")


def read_concepts(emojibase: Path, emojilib: Path) -> dict[str, Concept]:
    """All emoji that are kept, by their code points, from the two unpacked packages."""
    entries = json.loads((emojibase / "en" / "data.json").read_text(encoding="utf-8"))
    library = json.loads((emojilib / "dist" / "emoji-en-US.json").read_text(encoding="utf-8"))
    found = (_concept(entry, library) for entry in entries)
    return {concept.key: concept for concept in found if concept is not None}


def _concept(entry: Mapping[str, object], library: Mapping[str, list[str]]) -> Concept | None:
    group, subgroup = entry.get("group"), entry.get("subgroup")
    if not isinstance(group, int) or not isinstance(subgroup, int) or group not in GROUPS:
        return None
    label = str(entry["label"]).replace("’", "'").replace(": ", " with ").lower()
    if subgroup in LEFT_OUT_SUBGROUPS or (subgroup == CLOCK_SUBGROUP and ("o'clock" in label or "thirty" in label)):
        return None
    if label in LEFT_OUT_NAMES or "skin tone" in label or label.startswith(("family", "flag")):
        return None
    emoji = str(entry["emoji"])
    listed = library.get(emoji) or library.get(emoji.replace("\ufe0f", "")) or []
    keywords = [*_tags(entry), *(word.replace("_", " ").lower() for word in listed[1:])]
    names = tuple(dict.fromkeys(_other_names(label, GROUPS[group])))
    kept = tuple(dict.fromkeys(word for word in keywords if _WORD.fullmatch(word) and word != label))
    kind = "plant" if subgroup in PLANT_SUBGROUPS else "sky" if subgroup == SKY_SUBGROUP else GROUPS[group]
    return Concept(without_variation(str(entry["hexcode"])), label, names, kept, kind, subgroup)


def _tags(entry: Mapping[str, object]) -> Iterator[str]:
    tags = entry.get("tags")
    if isinstance(tags, list):
        yield from (str(tag).lower() for tag in tags)


def _other_names(label: str, group: str) -> Iterator[str]:
    yield from (name for name in PLAIN_NAMES.get(label, ()) if name != label)
    if group == "animal" and label.endswith(" face") and label.count(" ") == 1:
        yield label.removesuffix(" face")
        yield label.removesuffix(" face") + " head"


def without_colour(name: str) -> str:
    """`red apple` → `apple`: so that a recoloured copy is not called a blue red apple."""
    words = name.split()
    kept = [word for word in words if word not in COLOUR_WORDS]
    return " ".join(kept) if kept and len(kept) < len(words) else name
