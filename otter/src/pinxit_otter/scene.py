"""What a prompt asks for, part by part: "two cats and a red ball in the snow" is a cat, twice, a red ball, and snow.

otter-1 draws a thing best as it was shown it: alone, in the middle, on transparent ground. So a prompt of several
things, or of things on a ground, is read here into parts that are painted one by one, and `layers` sets them on one
another. A prompt that is not wholly understood is one part, and is painted as it stands.

The grammar is that of the training captions and their like: things with numbers and sizes, joined by "and", commas and
words of place, then a ground. It reads words and draws no conclusions: "a cat without a hat" is one part.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

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
class Placed:
    """A part's picture on the whole one, all in fractions of its side."""

    part: int
    x: float
    """Its middle."""
    y: float
    """Its lowest point if it stands, else its middle."""
    size: float
    """The longer side of what is drawn."""
    stands: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """A prompt's parts, and where they go."""

    parts: tuple[str, ...]
    """What to paint, the ground last if there is one."""
    places: tuple[Placed, ...] = ()
    """From back to front; none: the only part is the whole picture."""
    has_ground: bool = False

    @property
    def is_whole(self) -> bool:
        return not self.places


@dataclass(frozen=True, slots=True)
class _Thing:
    words: str
    count: int = 1
    weight: float = 1.0
    """Its size beside others."""
    is_tiny: bool = False


@dataclass(frozen=True, slots=True)
class _Ground:
    words: str
    room: float = 1.0
    """What part of the side there is for things, in the middle."""
    is_place: bool = False
    floor: float | None = None


_COLOUR = (
    "(?:(?:light|dark|pale|bright|sky|deep|soft) )?"
    "(?:red|orange|yellow|green|blue|purple|violet|pink|brown|black|gr[ae]y|white)"
)
_END = re.compile(r"(?:[\s.!,;]|\bplease$)+$")
_FRAMES = tuple(
    map(
        re.compile,
        (
            r"(?:please )?(?:draw|paint|make|show|give|create|generate)(?: me)? ",
            r"(?:i (?:want|need|would like)|there (?:is|are)|here (?:is|are)|just) ",
            r"(?:an? )?(?:(?:cute|nice|simple|beautiful|pretty|little|small) )*"
            r"(?:picture|image|illustration|drawing|painting|icon|emoji|sticker|cartoon|clip art) (?:of|showing) ",
        ),
    )
)
"""What may stand before what is asked for, in this order."""

_MANNER = re.compile(
    r"\b(?:style|outline|sticker|cartoon|icon|emoji|illustration|vector|drawing|painting|3d|flat|minimal|minimalist"
    r"|simple|clean|detailed|quality|colou?rful|cute)\b"
)
"""A last phrase with one of these says how to draw."""

_NO_GROUND = re.compile(r"(?:(?:on|with) )?(?:an? )?(?:transparent background|no background|isolated)")

_APP_ICONS = (
    re.compile(rf"(?:an? )?(?:(?P<a>{_COLOUR}) )?app icon (?:of|with|showing) (?P<things>.+?)(?:, (?P<b>{_COLOUR}))?"),
    re.compile(rf"(?P<things>.+?),? (?:(?P<a>{_COLOUR}) )?app icon(?: with rounded corners)?(?:, (?P<b>{_COLOUR}))?"),
)
_COLOURED_GROUNDS = (
    (rf"(?:on|against|with|in front of) an? ({_COLOUR}(?: gradient)?) (?:background|backdrop|wall)", "background", 1.0),
    (rf"({_COLOUR}(?: gradient)?) background", "background", 1.0),
    (rf"(?:in|on|inside) an? ({_COLOUR}) (?:circle|disc)", "circle", 0.62),
    (rf"on an? ({_COLOUR}) (?:rounded square|tile)", "rounded square", 0.72),
)
"""Its words with its colour, what it is, and what part of the side there is for things."""

_NUMBERS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNTS = {
    **{word: number for number, word in enumerate(_NUMBERS, 2)},
    **{str(number): number for number in range(2, MOST_THINGS + 1)},
    "a couple of": 2,
    "a pair of": 2,
    "a dozen": 12,
}
_COUNT = re.compile(rf"(?:a group of )?({'|'.join(map(re.escape, sorted(_COUNTS, key=len, reverse=True)))}) (.+)")
_ARTICLE = re.compile(r"(?:an?|the|some|its|his|her|their|my|your|our|one) ")
_DETERMINED = re.compile(rf"{_ARTICLE.pattern}|{_COUNT.pattern}")
_SIZES = {"tiny": 0.5, "small": 0.65, "little": 0.65, "big": 1.3, "large": 1.3, "huge": 1.5, "giant": 1.5}
_SIZE = re.compile(rf"(?:very )?({'|'.join(_SIZES)}) (?=\w)")

_IN_A_ROW = (
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
_BESIDE = re.compile(r",? and |, | beside | next to | with | eating | holding ")
"""Joined by these they are shown beside each other, as in the training pictures."""

_HEAD = re.compile(r" (?:of|with|in|on|without|from|at|for) ")
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
}


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
        text, ground = _ground_of(text)
        if _ground_of(text)[1] is not None:
            return whole
        found = self._things(text)
        if found is None:
            return whole
        things, above = found
        count = sum(thing.count for thing in things)
        if count > MOST_THINGS or len(things) + (ground is not None) > MOST_PARTS:
            return whole
        if count == 1 and ground is None and not things[0].is_tiny:
            return whole
        parts = [thing.words + manner for thing in things] + ([ground.words] if ground else [])
        return Scene(tuple(parts), _arranged(things, above, ground), ground is not None)

    def _things(self, text: str) -> tuple[list[_Thing], bool] | None:
        """The things, and whether the first is above the second; None if not all are known."""
        if self._is_name(text) or (_BESIDE.search(text) and self._likeness(text) >= _THE_SAME):
            return [_one(text)], False
        for forms, above in ((_IN_A_ROW, False), (_ABOVE, True)):
            for form in forms:
                if pair := form.fullmatch(text):
                    return self._all([pair["a"], pair["b"]], above)
        phrases = _BESIDE.split(text)
        if set(_BESIDE.findall(text)) == {", "} and not all(map(_DETERMINED.match, phrases)):
            return None  # keywords of one thing
        return self._all(phrases, False)

    def _all(self, phrases: Sequence[str], above: bool) -> tuple[list[_Thing], bool] | None:
        things = [self._thing(phrase) for phrase in phrases]
        if len(things) == 1 and things[0].count == 1:
            return things, above  # a ground is all that there is to be read, and it does not depend on the thing
        return (things, above) if all(self._likeness(thing.words) >= KNOWN_FROM for thing in things) else None

    def _thing(self, phrase: str) -> _Thing:
        counted = _COUNT.fullmatch(phrase)
        if counted is None or self._is_name(phrase) or (counted[1] == "a pair of" and counted[2] in self._names):
            return _one(phrase)
        one = _one(self._singular(counted[2]))
        return _Thing(one.words, _COUNTS[counted[1]], one.weight)

    def _is_name(self, phrase: str) -> bool:
        return phrase in self._names or _ARTICLE.sub("", phrase, count=1) in self._names

    def _singular(self, several: str) -> str:
        """`glasses of wine` → `glass of wine`."""
        head = _HEAD.split(several, maxsplit=1)[0]
        *before, last = head.split(" ")
        return " ".join([*before, self._singular_word(last)]) + several[len(head) :]

    def _singular_word(self, word: str) -> str:
        if word in _SINGULARS:
            return _SINGULARS[word]
        endings = (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", ""))
        candidates = [word.removesuffix(old) + new for old, new in endings if word.endswith(old)]
        known = [candidate for candidate in candidates if candidate in self._words]
        if known:
            return known[-1]
        return candidates[-1] if candidates and word not in self._words and not word.endswith("ss") else word


def _without_manner(text: str) -> tuple[str, str]:
    """The text without those of its last phrases that say how to draw, and these."""
    phrases, manner = text.split(", "), ""
    while len(phrases) > 1 and (_MANNER.search(phrases[-1]) or _NO_GROUND.fullmatch(phrases[-1])):
        last = phrases.pop()
        if not _NO_GROUND.fullmatch(last):
            manner = f", {last}{manner}"
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
    for pattern, ground in _GROUNDS:
        if found := pattern.fullmatch(text):
            if ground.is_place:
                return found[1], ground
            return found[1], _Ground(ground.words.format(_with_article(found[2])), ground.room)
    return text, None


def _grounds() -> Iterable[tuple[re.Pattern[str], _Ground]]:
    for words, what, room in _COLOURED_GROUNDS:
        preposition = "in" if what == "circle" else "on"
        yield re.compile(rf"(.+?),? {words}"), _Ground(f"{preposition} {{}} {what}", room)
    phrases = [(phrase, place) for place in PLACES.values() for phrase in place.phrases]
    for phrase, place in sorted(phrases, key=lambda one: -len(one[0])):
        either = re.sub(r"\b(?:an?|the)\b", "(?:an?|the)", phrase)
        yield re.compile(rf"(.+?),? {either}"), _Ground(place.phrases[0], 1.0, True, place.floor)


_GROUNDS = tuple(_grounds())
"""The longer words first: what is in the snow at night is not only there at night."""


def _one(phrase: str) -> _Thing:
    bare = _without_start(_ARTICLE, phrase)
    size = _SIZE.match(bare)
    weight = _SIZES[size[1]] if size else 1.0
    bare = bare[size.end() :] if size else bare
    takes_article = size or bare == phrase or not phrase.startswith(("a ", "an ", "the ", "some "))
    return _Thing(_with_article(bare) if takes_article else phrase, 1, weight, weight == _SIZES["tiny"])


def _with_article(bare: str) -> str:
    last = bare.rsplit(" ", 1)[-1]
    if last.endswith("s") and not last.endswith(("ss", "us", "is")):
        return bare
    return f"{'an' if bare[:1] in 'aeiou' and not bare.startswith(('uni', 'eu', 'one', 'ufo')) else 'a'} {bare}"


# --- where things go --------------------------------------------------------------------------------------------------

_ALONE = 0.87
_TINY = 0.4
_ROW = 0.94
_LARGEST_IN_ROW = 0.52
_ON_FLOOR = 0.02
"""How far things reach below the line of the floor."""

_PATTERNS: Mapping[int, tuple[float, tuple[tuple[float, float], ...]]] = MappingProxyType(
    {
        3: (0.43, ((0.5, 0.27), (0.26, 0.72), (0.74, 0.72))),
        4: (0.43, ((0.26, 0.26), (0.74, 0.26), (0.26, 0.74), (0.74, 0.74))),
        5: (0.31, ((0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.2, 0.8), (0.8, 0.8))),
    }
)
"""Size and middles of so many; other numbers stand in rows."""


def _arranged(things: Sequence[_Thing], above: bool, ground: _Ground | None) -> tuple[Placed, ...]:
    each = [(part, thing.weight) for part, thing in enumerate(things) for _ in range(thing.count)]
    if ground is not None and ground.floor is not None:
        return _on_floor(each, above, ground.floor + _ON_FLOOR, things[0].is_tiny)
    if len(each) == 1:
        places = [Placed(0, 0.5, 0.5, _TINY if things[0].is_tiny else _ALONE)]
    elif above and len(each) == 2:
        places = [Placed(1, 0.5, 0.74, 0.47), Placed(0, 0.5, 0.26, 0.47)]
    elif len(each) == 2:
        places = _row(each, 0.5 + max(size for size in _sizes(each)) / 2)
    else:
        size, middles = _PATTERNS.get(len(each)) or _grid(len(each))
        heaviest = max(weight for _, weight in each)
        places = [
            Placed(part, x, y, size * weight / heaviest) for (part, weight), (x, y) in zip(each, middles, strict=True)
        ]
    room = 1.0 if ground is None else (0.76 if ground.is_place else ground.room)
    return tuple(
        Placed(one.part, 0.5 + (one.x - 0.5) * room, 0.5 + (one.y - 0.5) * room, one.size * room, one.stands)
        for one in places
    )


def _on_floor(each: Sequence[tuple[int, float]], above: bool, floor: float, is_tiny: bool) -> tuple[Placed, ...]:
    if len(each) == 1:
        return (Placed(0, 0.5, floor, 0.3 if is_tiny else 0.63, True),)
    if above and len(each) == 2:
        return Placed(1, 0.5, floor, 0.4, True), Placed(0, 0.5, floor - 0.4, 0.4, True)
    if len(each) <= 4:
        return tuple(_row(each, floor))
    half = len(each) // 2
    return (*_row(each[:half], floor - 0.27), *_row(each[half:], floor))


def _sizes(each: Sequence[tuple[int, float]]) -> list[float]:
    total = sum(weight for _, weight in each)
    return [min(_ROW * weight / total * 0.97, _LARGEST_IN_ROW * max(1, weight)) for _, weight in each]


def _row(each: Sequence[tuple[int, float]], floor: float) -> list[Placed]:
    """Side by side, on one line."""
    total, x, places = sum(weight for _, weight in each), (1 - _ROW) / 2, []
    for (part, weight), size in zip(each, _sizes(each), strict=True):
        width = _ROW * weight / total
        places.append(Placed(part, x + width / 2, floor, size, True))
        x += width
    return places


def _grid(count: int) -> tuple[float, list[tuple[float, float]]]:
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    step = 0.96 / columns
    middles = []
    for row in range(rows):
        here = min(columns, count - row * columns)
        y = 0.5 + (row - (rows - 1) / 2) * step
        middles += [(0.5 + (column - (here - 1) / 2) * step, y) for column in range(here)]
    return step * 0.93, middles
