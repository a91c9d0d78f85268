"""Wordings: how people may ask for a picture."""

from collections.abc import Sequence
from dataclasses import dataclass

from .dice import Dice
from .words import Concept, without_colour

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}

TEMPLATES = (
    "a picture of {thing}",
    "an illustration of {thing}",
    "an emoji of {thing}",
    "an icon of {thing}",
    "a drawing of {thing}",
    "a cartoon of {thing}",
    "clip art of {thing}",
    "a sticker of {thing}",
    "an image of {thing}",
    "{bare} icon",
    "{bare} emoji",
    "{bare} illustration",
    "{bare} picture",
    "{bare} sticker",
    "draw {thing}",
    "please draw {thing}",
    "show me {thing}",
    "I want {thing}",
    "there is {thing}",
    "here is {thing}",
    "{thing}, simple and clean",
    "a nice picture of {thing}",
    "a simple drawing of {thing}",
    "just {thing}",
    "paint {thing}",
    "make an icon of {thing}",
)
"""`{thing}` has its article, `{bare}` has none. The held-out ones are in `held_out.json`."""

ADJECTIVES = {
    "animal": ("cute", "little", "cute little", "baby", "cute baby", "happy", "fluffy", "lovely", "small", "friendly"),
    "food": ("delicious", "tasty", "fresh", "yummy"),
    "plant": ("beautiful", "pretty", "fresh"),
    "smiley": ("funny", "yellow"),
    "person": ("friendly", "cartoon"),
}
_ANY_ADJECTIVES = ("nice", "simple", "cartoon", "beautiful", "cute", "lovely")

SPELLINGS = {
    "gray": ("gray", "grey"),
    "light blue": ("light blue", "sky blue", "pale blue"),
    "purple": ("purple", "violet"),
    "black": ("black", "black"),
}
"""Other words for a colour; the others have one."""

_IRREGULAR = {
    "mouse": "mice",
    "goose": "geese",
    "fish": "fish",
    "sheep": "sheep",
    "deer": "deer",
    "tooth": "teeth",
    "foot": "feet",
    "leaf": "leaves",
    "knife": "knives",
    "wolf": "wolves",
    "bison": "bison",
    "squid": "squid",
    "shrimp": "shrimp",
    "moose": "moose",
    "man": "men",
    "woman": "women",
    "child": "children",
    "person": "people",
    "cactus": "cacti",
    "loaf": "loaves",
    "scarf": "scarves",
}
_HEADS_BEFORE = (" of ", " with ", " in ", " on ", " without ", " from ", " at ", " for ")


def plural(name: str) -> str:
    """Several of it: `glass of wine` → `glasses of wine`."""
    for preposition in _HEADS_BEFORE:
        if preposition in name:
            head, rest = name.split(preposition, 1)
            return plural(head) + preposition + rest
    *before, last = name.split(" ")
    return " ".join([*before, _plural_word(last)])


def _plural_word(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if is_plural(word):
        return word
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return word[:-1] + "ies"
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return word + "es"
    if word.endswith(("tomato", "potato", "mango", "mosquito", "volcano")):
        return word + "es"
    return word + "s"


def is_plural(name: str) -> bool:
    """Whether it names several already, or a mass, and takes no article."""
    last = name.split(" ")[-1]
    masses = {
        "bread",
        "rice",
        "sushi",
        "money",
        "milk",
        "coffee",
        "tea",
        "sake",
        "beer",
        "fog",
        "rain",
        "snow",
        "music",
    }
    return last in masses or (last.endswith("s") and not last.endswith(("ss", "us", "is", "as", "bus")))


def with_article(phrase: str) -> str:
    if is_plural(phrase) or phrase.startswith(("the ", "a ", "an ")):
        return phrase
    if phrase.startswith(("uni", "ufo", "one", "eu", "u-")):
        return f"a {phrase}"
    return f"an {phrase}" if phrase[:1] in "aeiou" else f"a {phrase}"


def colour_word(colour: str, dice: Dice) -> str:
    return dice.one(SPELLINGS.get(colour, (colour,)))


@dataclass(frozen=True, slots=True)
class Thing:
    """What one caption says of one thing, or of several of the same."""

    concept: Concept
    colour: str | None = None
    """Named in the caption."""
    count: int = 1
    size: str | None = None
    """`small`, `big` … if it is worth saying."""

    def bare(self, dice: Dice, plain: bool = False) -> str:
        """Without an article or a number: `blue car`, `cute baby otter`."""
        name = self.concept.name if plain else dice.one((self.concept.name, *self.concept.names))
        if self.colour:
            name = without_colour(name)
        words = [self.size or "", "" if plain else self._adjective(dice)]
        if self.colour:
            words.append(self.colour if plain else colour_word(self.colour, dice))
        return " ".join(word for word in [*words, name] if word)

    def phrase(self, dice: Dice, plain: bool = False) -> str:
        """With its article or number: `a blue car`, `two dogs`."""
        bare = self.bare(dice, plain)
        if self.count == 1:
            return with_article(bare)
        many = plural(bare)
        number = NUMBERS[self.count]
        if plain:
            return f"{number} {many}"
        forms = [f"{number} {many}"] * 5 + [f"{self.count} {many}"] * 2 + [f"a group of {number} {many}"]
        if self.count == 2:
            forms += [f"a pair of {many}", f"a couple of {many}"]
        return dice.one(forms)

    def _adjective(self, dice: Dice) -> str:
        if self.size or not dice.chance(0.22 if self.concept.group != "animal" else 0.4):
            return ""
        return dice.one((*ADJECTIVES.get(self.concept.group, ()), *_ANY_ADJECTIVES[: 2 if self.colour else None]))


def sentence(phrase: str, bare: str, dice: Dice, templates: Sequence[str] = TEMPLATES, chance: float = 0.45) -> str:
    """The phrase alone, or in a template."""
    if not dice.chance(chance):
        return phrase
    return dice.one(templates).format(thing=phrase, bare=bare)


def keywords_only(concept: Concept, dice: Dice) -> str | None:
    """Two or three keywords without a name; None if there are too few."""
    own = {word for name in concept.names for word in name.split()}
    others = [word for word in concept.keywords if not own & set(word.split())]
    return ", ".join(dice.some(others, dice.whole(2, 3))) if len(others) >= 2 else None


def with_style(text: str, style_words: Sequence[str], dice: Dice, plain: bool = False) -> str:
    """The caption with its manner of drawing: mostly behind, at times before."""
    if plain:
        return f"{text}, {style_words[0]}"
    words = dice.one((style_words[0], *style_words))
    if words.startswith(("with ", "in ")):
        return f"{text} {words}"
    forms = [f"{text}, {words}"] * 5 + [f"{words} {_without_article(text)}", f"{text} in {words}", f"{words}: {text}"]
    return dice.one(forms)


def _without_article(text: str) -> str:
    return text.removeprefix("a ").removeprefix("an ")
