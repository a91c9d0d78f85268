"""What a prompt asks for, part by part: "two cats and a red ball in the snow" is a cat, twice, a red ball, and snow.

otter-1 draws a thing best as it was shown it: alone, in the middle, on transparent ground. So a prompt of several
things, or of things on a ground, is read here into parts that are painted one by one, and `layers` sets them on one
another. A prompt that is not wholly understood is one part, and is painted as it stands.

The grammar is that of the training captions and their like: things with numbers and sizes, joined by "and", commas and
words of place, then a ground. It reads words and draws no conclusions. Where it is in doubt, the prompt stays whole.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from pinxit_otter.arrangement import Placed, arranged
from pinxit_otter.familiarity import ABOUT_THE_PICTURE
from pinxit_otter.spec import KNOWN_FROM

MOST_PARTS = 5
"""Things painted for one picture, the ground among them."""

MOST_THINGS = 12
"""Things on one picture, those of a kind counted one by one."""

_THE_SAME = 0.9
"""From this likeness on it is one thing that the model knows: "a man with a beard", "knife and fork"."""

_MOST_CHARACTERS = 300
"""Of a longer prompt nobody would know all parts."""


@dataclass(frozen=True, slots=True)
class Place:
    """A painted place: words for being there, the first the plainest, and where things stand."""

    phrases: tuple[str, ...]
    floor: float | None
    """As a fraction of the picture's height, from the top; None where things float."""


PLACES: Mapping[str, Place] = MappingProxyType(
    {
        "night": Place(("at night", "under a starry sky", "under the stars", "in the dark night"), 0.88),
        "snow": Place(("in the snow", "on the snow", "on a snowy day", "in winter"), 0.9),
        "snowy night": Place(("on a snowy night", "in the snow at night", "on a winter night"), 0.9),
        "beach": Place(("on the beach", "at the beach", "by the sea", "on the sand"), 0.9),
        "meadow": Place(("in a meadow", "on the grass", "on a green field", "in the garden"), 0.9),
        "forest": Place(("in a forest", "in the woods", "among trees"), 0.9),
        "room": Place(("in a room", "indoors", "at home", "in the living room"), 0.88),
        "table": Place(("on a table", "on a wooden table", "on the kitchen table"), 0.85),
        "sea": Place(("in the sea", "on the water", "on the ocean", "in the water"), 0.82),
        "underwater": Place(("under water", "underwater", "at the bottom of the sea"), None),
        "space": Place(("in space", "in outer space", "among the planets"), None),
        "desert": Place(("in the desert", "on a sand dune"), 0.9),
        "mountains": Place(("in the mountains", "in front of mountains"), 0.9),
        "city": Place(("in the city", "in front of a city skyline", "on a street in town"), 0.9),
        "sunset": Place(("at sunset", "in the evening", "at dusk"), 0.9),
        "rain": Place(("in the rain", "on a rainy day"), 0.9),
        "sky": Place(("in the sky", "in the clouds", "above the clouds"), None),
    }
)
"""Those of the training pictures; their captions ended in these words."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A prompt's parts, and where they go."""

    parts: tuple[str, ...]
    """What to paint, the ground last if there is one."""
    places: tuple[Placed, ...] = ()
    """From back to front; none: the only part is the whole picture."""
    has_ground: bool = False
    manner: str = ""
    """How to draw the things, if the prompt says it, with a comma before it."""
    level: float = 0.5
    """The height that stays where it is if the picture is higher than wide: that of the floor, or the middle."""

    @property
    def is_whole(self) -> bool:
        return not self.places

    @property
    def things(self) -> tuple[str, ...]:
        """The parts but for the ground."""
        return self.parts[:-1] if self.has_ground else self.parts


@dataclass(frozen=True, slots=True)
class _Thing:
    words: str
    without_size: str
    count: int = 1
    weight: float = 1.0
    """Its size beside others."""


@dataclass(frozen=True, slots=True)
class _Ground:
    words: str
    room: float = 1.0
    """What part of the side there is for things, in the middle."""
    floor: float | None = None


# --- words ------------------------------------------------------------------------------------------------------------

_COLOUR = (
    "(?:(?:light|dark|pale|bright|sky|deep|soft) )?"
    "(?:red|orange|yellow|green|blue|purple|violet|pink|brown|black|gr[ae]y|white)"
)
_END = re.compile(r"(?:[\s.!,;]|\bplease$)+$")
_FRAMES = tuple(
    map(
        re.compile,
        (
            r"(?:(?:can|could) you )?(?:please )?(?:draw|paint|make|show|give|create|generate)(?: me)? ",
            r"(?:i (?:want|need|would like)|i'd like|there (?:is|are)|here (?:is|are)|just) ",
            r"(?:an? )?(?:(?:cute|nice|simple|beautiful|pretty|little|small) )*"
            r"(?:picture|image|illustration|drawing|painting|icon|emoji|sticker|cartoon|clip art) (?:of|showing|with) ",
        ),
    )
)
"""What may stand before what is asked for, in this order."""

_MANNER = re.compile(
    r"\b(?:style|outline|sticker|cartoon|icon|emoji|illustration|vector|drawing|painting|art|3d|flat|minimal|minimalist"
    r"|simple|clean|detailed|quality|resolution|colou?rful|cute|kawaii|watercolou?r|centered|masterpiece|4k|8k|hd)\b"
)
"""A last phrase with one of these says how to draw."""

_IN_A_STYLE = re.compile(r"(.+?),? in (?:an? |the )?((?:[\w-]+ ){1,3}style)")
_NO_GROUND = re.compile(r"(?:(?:on|with) )?(?:an? )?(?:transparent background|no background|isolated)")
_BEYOND = re.compile(
    r"[.;:()\"?!/\[\]]| - |\b(?:no|not|without|or|you|i|see|both|each|every|all|different|various|another|other|set"
    r"|pattern|text|words?|saying|says|style|icons?|emojis?|photos?|pictures?|images?|renders?|logo|art|drawing|painting"
    r"|illustrations?|background|backdrop)\b"
)
"""Words and marks that this grammar does not read."""

_APP_ICONS = (
    re.compile(rf"(?:an? )?(?:(?P<a>{_COLOUR}) )?app icon (?:of|with|showing) (?P<things>.+?)(?:, (?P<b>{_COLOUR}))?"),
    re.compile(rf"(?P<things>.+?),? (?:(?P<a>{_COLOUR}) )?app icon(?: with rounded corners)?(?:, (?P<b>{_COLOUR}))?"),
)
_PLAIN = "(?:(?:plain|solid|pastel|simple|clean) )?"
_COLOURED_GROUNDS = (
    (
        rf"(?:isolated )?(?:on|against|with|in front of) (?:an? )?{_PLAIN}({_COLOUR}(?: gradient)?) "
        "(?:background|backdrop|wall)",
        "background",
        1.0,
    ),
    (rf"{_PLAIN}({_COLOUR}(?: gradient)?) background", "background", 1.0),
    (rf"on ({_COLOUR})", "background", 1.0),
    (rf"(?:in|on|inside) an? ({_COLOUR}) (?:circle|disc)", "circle", 0.62),
    (rf"on an? ({_COLOUR}) (?:rounded square|tile)", "rounded square", 0.72),
)
"""Its words with its colour, what it is, and what part of the side there is for things."""

_FLOATING_ROOM = 0.76

_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNTS = {
    **{word: number for number, word in enumerate(_NUMBERS, 2)},
    **{str(number): number for number in range(2, MOST_THINGS + 1)},
    "a couple of": 2,
    "a pair of": 2,
    "a dozen": 12,
}
_COUNT = re.compile(rf"(?:a group of )?({'|'.join(map(re.escape, sorted(_COUNTS, key=len, reverse=True)))}) (.+)")
_ARTICLE = re.compile(r"(?:an?|the|some|its|his|her|their|my|your|our|one|1) ")
_IN_PAIRS_TEXT = """
    headphones earphones earbuds trousers pants jeans shorts glasses sunglasses goggles scissors socks shoes gloves
    mittens boots sandals sneakers slippers skis chopsticks binoculars tongs pliers earrings
"""
_IN_PAIRS = frozenset(_IN_PAIRS_TEXT.split())
"""A pair of these is one thing."""

_SIZES = {"tiny": 0.5, "small": 0.65, "little": 0.65, "big": 1.3, "large": 1.3, "huge": 1.5, "giant": 1.5}
_SIZE = re.compile(rf"(?:very )?({'|'.join(_SIZES)}) (?=\w)")
_ADJECTIVES = frozenset(ABOUT_THE_PICTURE) - {*_COUNTS, "pair", "couple", "group", "of"}
"""May stand before a name without making it another thing."""

_ROWS = (
    re.compile(r"(?P<a>.+?),? (?:to|on) the left of (?P<b>.+)"),
    re.compile(r"(?P<b>.+?),? (?:to|on) the right of (?P<a>.+)"),
    re.compile(r"(?P<a>.+?) left of (?P<b>.+)"),
    re.compile(r"(?P<b>.+?) right of (?P<a>.+)"),
    re.compile(r"(?P<a>.+?) on the left(?: and|,| ,) (?P<b>.+?) on the right"),
)
_ABOVE = (
    re.compile(r"(?P<a>.+?) (?:above|over|on top of) (?P<b>.+)"),
    re.compile(r"(?P<b>.+?) (?:below|under|underneath|beneath) (?P<a>.+)"),
)
_BESIDE = re.compile(r"(,? and |, | beside | next to | with | eating | holding )")
"""Joined by these they are shown beside each other, as in the training pictures."""

_HAS = frozenset((" with ", " eating ", " holding "))
_PART_OF_A_THING = re.compile(
    r"\b(?:eyes?|ears?|wings?|legs?|arms?|hands?|paws?|hair|mane|tails?|beaks?|noses?|mouths?|teeth|tongues?|beards?|smiles?"
    r"|faces?|heads?|horns?|halo|borders?|outlines?|shadows?|stripes?|spots?|dots?|steam|smoke|frosting|roof|handles?|petals"
    r"|leaves|sides|lights?|numbers?)\b"
)
_RELATED = re.compile(r"\b(?:above|over|on top of|below|under|underneath|beneath|left|right|behind|between|inside)\b")
_OPEN_END = re.compile(r"(?:.* )?(?:on|in|at|and|an?|the|with|of|by|to|for|from|isolated|solid|plain)")
_OPEN_START = re.compile(r"(?:on|in|at|by|under|inside|among|near|from|of|to) ")
_SCENERY_TEXT = """
    beach sea ocean water forest woods city cityscape town village street road park mountain mountains desert sky
    skyline field meadow landscape garden island sunset sunrise dusk dawn night day evening river lake rain snow space
"""
_SCENERY = frozenset(_SCENERY_TEXT.split())
"""No things to be set on a ground."""

_HEAD = re.compile(r" (?:of|with|in|on|without|from|at|for) ")
_UNCHANGED = frozenset(("fish", "deer", "sheep", "dice", "bison", "moose", "shrimp", "squid"))
_SINGULARS = {
    "mice": "mouse",
    "geese": "goose",
    "teeth": "tooth",
    "feet": "foot",
    "men": "man",
    "women": "woman",
    "children": "child",
    "people": "person",
    "cacti": "cactus",
    "leaves": "leaf",
    "knives": "knife",
    "wolves": "wolf",
    "loaves": "loaf",
    "scarves": "scarf",
}


# --- reading ----------------------------------------------------------------------------------------------------------


class SceneReader:
    """Reads prompts; it knows the names of what the model knows."""

    def __init__(self, names: Iterable[str], likeness: Callable[[str], float]) -> None:
        """`likeness`: of a phrase to the nearest thing that the model knows, 1 if it is that."""
        self._names = frozenset(names)
        self._words = frozenset(word for name in self._names for word in name.split())
        self._likeness = likeness

    def read(self, prompt: str) -> Scene:
        """The prompt's parts; one, the whole prompt, if it is not wholly understood or asks for one thing only."""
        whole = Scene((prompt,))
        if len(prompt) > _MOST_CHARACTERS:
            return whole
        text, manner = _without_manner(_END.sub("", " ".join(prompt.lower().split())))
        for frame in _FRAMES:
            text = _without_start(frame, text)
        if self._is_name(text) and not _is_tiny(text):
            return whole
        text, ground = _ground_of(text)
        things, is_stacked = self._things(text, alone=ground is not None)
        count = sum(thing.count for thing in things)
        if not 1 <= count <= MOST_THINGS or len(things) + (ground is not None) > MOST_PARTS:
            return whole
        is_tiny = count == 1 and things[0].weight == _SIZES["tiny"]
        if count == 1 and ground is None and not is_tiny:
            return whole
        weights = [thing.weight for thing in things]
        is_relative = is_tiny or len(set(weights)) > 1
        words = [thing.without_size if is_relative else thing.words for thing in things]
        each = [
            (part, thing.weight if is_relative else 1.0)
            for part, thing in enumerate(things)
            for _ in range(thing.count)
        ]
        room, floor = (ground.room, ground.floor) if ground else (1.0, None)
        return Scene(
            (*words, ground.words) if ground else tuple(words),
            arranged(each, is_stacked=is_stacked, room=room, floor=floor),
            ground is not None,
            manner,
            0.5 if floor is None else floor,
        )

    def _things(self, text: str, *, alone: bool) -> tuple[list[_Thing], bool]:
        """The things, and whether the first is above the second; none if not all are understood.

        `alone`: one thing alone is worth reading, too.
        """
        if _BEYOND.search(text):
            return [], False
        counted = _COUNT.fullmatch(text)
        if counted and counted[1] != "a pair of" and self._is_one(self._singular(counted[2])):
            return self._understood([text]), False
        if self._is_one(text):
            return ([_one(text, self._names)] if _is_tiny(text) or (alone and not _is_odd(text)) else []), False
        for forms, is_stacked in ((_ROWS, False), (_ABOVE, True)):
            for form in forms:
                if pair := form.fullmatch(text):
                    both = [pair["a"], pair["b"]]
                    return ([] if any(map(_BESIDE.search, both)) else self._understood(both)), is_stacked
        phrases = self._phrases(text)
        if len(phrases) == 1 and _COUNT.fullmatch(phrases[0]) is None:
            return ([] if _is_odd(phrases[0]) else [_one(phrases[0], self._names)]), False
        return self._understood(phrases), False

    def _phrases(self, text: str) -> list[str]:
        """The text at its joints, but for those within a name, and before what a thing has rather than is beside."""
        pieces = _BESIDE.split(text)
        phrases, joints = [pieces[0]], []
        place = 1
        while place < len(pieces):
            ends = range(len(pieces), place + 1, -2)
            end = next((end for end in ends if self._is_name("".join(pieces[place + 1 : end]))), place + 2)
            joint, phrase = pieces[place], "".join(pieces[place + 1 : end])
            joined = phrases[-1] + joint + phrase
            if self._is_name(joined) or (joint in _HAS and not self._stands_alone(phrase)):
                phrases[-1] = joined
            else:
                phrases.append(phrase)
                joints.append(joint)
            place = end
        if set(joints) == {", "} and not all(map(_determined, phrases)):
            return []  # keywords of one thing
        return phrases

    def _stands_alone(self, phrase: str) -> bool:
        head = _HEAD.split(phrase, maxsplit=1)[0]
        return _PART_OF_A_THING.search(head) is None and (_determined(phrase) or self._is_name(phrase))

    def _understood(self, phrases: Sequence[str]) -> list[_Thing]:
        """All of the things, or none."""
        if len(phrases) > MOST_PARTS:
            return []
        things = [self._thing(phrase) for phrase in phrases]
        found = [thing for thing in things if thing is not None]
        is_understood = len(found) == len(things) and all(self._likeness(thing.words) >= KNOWN_FROM for thing in found)
        return found if is_understood else []

    def _thing(self, phrase: str) -> _Thing | None:
        if self._is_name(phrase) and not _is_scenery(phrase):
            return _one(phrase, self._names)
        if not _determined(phrase) or _is_odd(phrase) or set(phrase.split()) <= set(ABOUT_THE_PICTURE):
            return None
        counted = _COUNT.fullmatch(phrase)
        if counted is None or (counted[1] == "a pair of" and counted[2].rsplit(" ", 1)[-1] in _IN_PAIRS):
            return _one(phrase, self._names)
        number, several = counted.groups()
        if _OPEN_START.match(several):
            return None
        singular = self._singular(several)
        head = _HEAD.split(several, maxsplit=1)[0].split(" ")
        is_several = singular != several or head[-1] in _UNCHANGED or (several in self._names and several.endswith("s"))
        if not is_several or self._is_name(f"{number} {singular}") or any(map(self._is_plural, head[:-1])):
            return None
        one = _one(singular, self._names)
        return _Thing(one.words, one.without_size, _COUNTS[number], one.weight)

    def _is_one(self, text: str) -> bool:
        """Whether the model knows it as one thing."""
        return self._is_name(text) or (_BESIDE.search(text) is not None and self._likeness(text) >= _THE_SAME)

    def _is_name(self, phrase: str) -> bool:
        """Whether it is a name, with or without an article, a colour and the like before it."""
        words = phrase.split(" ")
        names = (" ".join(words[place:]) for place in range(len(words)) if _ADJECTIVES.issuperset(words[:place]))
        return words[0] != "and" and any(name in self._names for name in names)

    def _is_plural(self, word: str) -> bool:
        return self._singular_word(word) != word

    def _singular(self, several: str) -> str:
        """`glasses of wine` → `glass of wine`."""
        head = _HEAD.split(several, maxsplit=1)[0]
        *before, last = head.split(" ")
        return " ".join([*before, self._singular_word(last)]) + several[len(head) :]

    def _singular_word(self, word: str) -> str:
        if word in _SINGULARS:
            return _SINGULARS[word]
        endings = (("ies", "y"), ("es", ""), ("s", ""))
        candidates = [word.removesuffix(old) + new for old, new in endings if word.endswith(old)]
        known = [candidate for candidate in candidates if candidate in self._words]
        if known:
            return known[-1]
        is_singular = word in self._words or word.endswith(("ss", "us", "is"))
        return word if is_singular or not candidates else candidates[-1]


def _without_manner(text: str) -> tuple[str, str]:
    """The text without those of its last phrases that say how to draw, and these."""
    phrases, manner = text.split(", "), ""
    while len(phrases) > 1:
        last = phrases[-1]
        if not _NO_GROUND.fullmatch(last):
            if not _MANNER.search(last) or _BESIDE.search(last) or "background" in last:
                break
            manner = manner if last.startswith("no ") else f", {last}{manner}"
        phrases.pop()
    if styled := _IN_A_STYLE.fullmatch(phrases[-1]):
        phrases[-1], manner = styled[1], f", {styled[2]}{manner}"
    return ", ".join(phrases), manner


def _without_start(start: re.Pattern[str], text: str) -> str:
    found = start.match(text)
    return text[found.end() :] if found else text


def _ground_of(text: str) -> tuple[str, _Ground | None]:
    """The text without its ground, and that."""
    for form in _APP_ICONS:
        icon = form.fullmatch(text)
        if icon and (colour := icon["a"] or icon["b"]):
            return icon["things"], _Ground(f"on {_with_article(colour)} rounded square", 0.72)
    if first := _FIRST_PLACE.fullmatch(text):
        text = f"{first[2]}, {first[1]}"
    for pattern, ground in _GROUNDS:
        if found := pattern.fullmatch(text):
            if pattern.groups == 1:
                return found[1], ground
            return found[1], _Ground(ground.words.format(_with_article(found[2])), ground.room)
    return text, None


def _any_article(phrase: str) -> str:
    return re.sub(r"\b(?:an?|the)\b", "(?:an?|the)", phrase)


_PHRASES = sorted(
    ((phrase, place) for place in PLACES.values() for phrase in place.phrases), key=lambda one: -len(one[0])
)
"""The longer ones first: what is in the snow at night is not only there at night."""

_ANY_PLACE = "|".join(_any_article(phrase) for phrase, _ in _PHRASES)
_FIRST_PLACE = re.compile(rf"({_ANY_PLACE}), (.+)")
_A_PLACE = re.compile(rf"\b(?:{_ANY_PLACE})\b")


def _grounds() -> Iterable[tuple[re.Pattern[str], _Ground]]:
    for words, what, room in _COLOURED_GROUNDS:
        preposition = "in" if what == "circle" else "on"
        yield re.compile(rf"(.+?),? {words}"), _Ground(f"{preposition} {{}} {what}", room)
    for phrase, place in _PHRASES:
        room = 1.0 if place.floor else _FLOATING_ROOM
        yield re.compile(rf"(.+?),? {_any_article(phrase)}"), _Ground(place.phrases[0], room, place.floor)


_GROUNDS = tuple(_grounds())


def _is_odd(phrase: str) -> bool:
    """Whether something in it shows that it is not the words of one thing."""
    if _RELATED.search(phrase) or _A_PLACE.search(phrase) or _OPEN_END.fullmatch(phrase) or _OPEN_START.match(phrase):
        return True
    return _is_scenery(phrase)


def _is_scenery(phrase: str) -> bool:
    return _HEAD.split(phrase, maxsplit=1)[0].rsplit(" ", 1)[-1] in _SCENERY


def _determined(phrase: str) -> bool:
    return _ARTICLE.match(phrase) is not None or _COUNT.fullmatch(phrase) is not None


def _is_tiny(phrase: str) -> bool:
    size = _SIZE.match(_without_start(_ARTICLE, phrase))
    return size is not None and size[1] == "tiny"


def _one(phrase: str, names: frozenset[str]) -> _Thing:
    bare = _without_start(_ARTICLE, phrase)
    words = phrase if phrase.startswith(("a ", "an ", "the ", "some ")) else _with_article(bare)
    size = _SIZE.match(bare)
    if size is None or bare in names:
        return _Thing(words, words)
    return _Thing(words, _with_article(bare[size.end() :]), 1, _SIZES[size[1]])


def _with_article(bare: str) -> str:
    last = _HEAD.split(bare, maxsplit=1)[0].rsplit(" ", 1)[-1]
    if last.endswith("s") and not last.endswith(("ss", "us", "is")):
        return bare
    return f"{'an' if bare[:1] in 'aeiou' and not bare.startswith(('uni', 'eu', 'one', 'ufo')) else 'a'} {bare}"
