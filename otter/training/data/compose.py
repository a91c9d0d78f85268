"""Composed samples: what they show is planned from a seed, then painted from the originals.

A plan is a pure function of the collection and the seed, and needs no pixels; painting a plan needs the pictures that
`raster.draw_all` makes, and no chance. So any number of samples exist, none need be kept, and captions can be read
without painting.

Pixels are RGBA with red, green and blue multiplied by alpha: nothing then needs a colour where nothing is seen, and
scaling and blending are plain sums.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import captions, scenes
from .captions import Thing
from .colour import COLOURS, Pixels, recolour
from .dice import Dice, MiddleDice
from .originals import Collection, Original
from .raster import SIDE, as_image
from .scenes import PLACES, Ground
from .sets import BY_STYLE
from .words import Concept

CAPTIONS = 4
"""Wordings of each sample."""

EVALUATION = 1 << 40
"""Seeds from here on are for evaluation; training never reaches them."""

_GROUP_WEIGHTS = {
    "animal": 2.6,
    "food": 1.5,
    "plant": 1.5,
    "place": 1.2,
    "activity": 1.2,
    "object": 1.3,
    "sky": 1.0,
    "smiley": 0.8,
    "person": 0.35,
    "symbol": 0.4,
    "icon": 0.3,
}
_FAVOURITES = {"otter": 12.0}
_COUNTABLE = frozenset({"animal", "food", "plant", "activity", "object", "place", "icon"})
_PAINTABLE = _COUNTABLE | {"symbol", "smiley"}
_SKIN_COLOURS = frozenset({"brown", "black", "white"})
_READ_ONE_WAY_TEXT = """
    medal calendar clock watch newspaper passport ticket book abc input card keyboard sign placard label receipt
    chart dice pool billiards eight number score music musical notes glasses timer thermometer speedometer
"""
_READ_ONE_WAY = frozenset(_READ_ONE_WAY_TEXT.split())
"""Words of names of things that have letters, numbers or signs on them, which a mirror would turn about."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What is shown how often, and whether always in the same place."""

    name: str
    kinds: Mapping[str, float]
    grounds: Mapping[str, float]
    is_steady: bool
    """Things are in the middle or in one pattern, in one size and never mirrored."""
    styles: frozenset[str] = frozenset()
    """Pictures of these only; none named: of all."""


VARIED = Mix(
    "varied",
    {"single": 0.43, "coloured": 0.20, "empty": 0.03, "count": 0.12, "pair": 0.14, "small": 0.05, "turned": 0.03},
    {"none": 0.66, "plain": 0.11, "gradient": 0.03, "tile": 0.03, "disc": 0.02, "place": 0.15},
    is_steady=False,
)
STEADY = Mix(
    "steady",
    {"single": 0.53, "coloured": 0.14, "count": 0.14, "pair": 0.17, "small": 0.02},
    {"none": 0.77, "plain": 0.08, "gradient": 0.01, "tile": 0.02, "disc": 0.02, "place": 0.10},
    is_steady=True,
    styles=frozenset({"noto", "twemoji", "flat", "3d", "glossy"}),
)
"""For little computing: what things look like is learnt much sooner if it need not be learnt where they may be, nor in
styles that draw each thing in another way: the last three of these show the same drawings.
"""
LAYERED = Mix(
    "layered",
    {"single": 0.52, "coloured": 0.30, "empty": 0.06, "count": 0.05, "pair": 0.07},
    {"none": 0.88, "plain": 0.03, "gradient": 0.01, "tile": 0.01, "disc": 0.01, "place": 0.06},
    is_steady=True,
    styles=STEADY.styles,
)
"""Steady, and for a painter that paints things one by one and sets them on a ground of its own (`pinxit_otter.scene`):
more things alone, and grounds with nothing on them.
"""

_EMPTY_GROUNDS = {"plain": 0.2, "gradient": 0.07, "tile": 0.14, "disc": 0.14, "place": 0.45}

_OUTLINED = 0.03
_OUTLINE_PIXELS = 6


@dataclass(frozen=True, slots=True)
class Layer:
    """One thing on the picture."""

    original: int
    """Its place in the collection."""
    x: float
    """Its middle, in fractions of the side."""
    y: float
    size: float
    """Its longer side, in fractions of the picture's."""
    colour: str | None = None
    """What it is painted in; None leaves it as it was drawn."""
    mirrored: bool = False
    degrees: float = 0
    """Turned, against the clock."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sample shows, and how it may be asked for."""

    seed: int
    kind: str
    style: str
    """Empty if nothing stands on the ground."""
    ground: Ground
    layers: tuple[Layer, ...]
    outlined: bool
    things: tuple[Thing, ...]
    captions: tuple[str, ...]
    """Wordings; the first is the plain one: names, then the ground, then the style."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """What training never shows or says; evaluation asks for it."""

    concept_styles: frozenset[tuple[str, str]]
    colour_objects: frozenset[tuple[str, str]]
    pairs: frozenset[frozenset[str]]
    templates: tuple[str, ...]

    @classmethod
    def read(cls, path: Path | None = None) -> Self:
        """What `held_out.json` declares, or another file like it."""
        said = json.loads((path or Path(__file__).with_name("held_out.json")).read_text(encoding="utf-8"))
        return cls(
            frozenset((concept, style) for concept, style in said["concept_styles"]),
            frozenset((colour, thing) for colour, thing in said["colour_objects"]),
            frozenset(frozenset(pair) for pair in said["pairs"]),
            tuple(said["templates"]),
        )

    def shows(self, things: Sequence[Thing], style: str) -> bool:
        """Whether a picture of these things in this style is one that training must not see."""
        names = [set(thing.concept.names) for thing in things]
        if any((name, style) in self.concept_styles for one in names for name in one):
            return True
        if any((thing.colour, name) in self.colour_objects for thing in things for name in thing.concept.names):
            return True
        return len(names) == 2 and any(frozenset((a, b)) in self.pairs for a in names[0] for b in names[1])


class Planner:
    """Plans samples from a collection."""

    def __init__(self, collection: Collection, held_out: HeldOut | None = None, mix: Mix = VARIED) -> None:
        """`held_out` is left out of every plan; without it anything may come, as real pictures for evaluation do."""
        self.collection = collection
        self.held_out = held_out
        self.mix = mix
        self._by_concept: dict[str, list[int]] = defaultdict(list)
        self._by_style: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for place, original in enumerate(collection.originals):
            if mix.styles and original.style not in mix.styles:
                continue
            self._by_concept[original.concept].append(place)
            self._by_style[original.style][original.concept].append(place)
        self._by_name = {name: concept.key for concept in reversed(self.concepts) for name in concept.names}
        self._by_name |= {concept.name: concept.key for concept in self.concepts}

    def concept(self, name: str) -> Concept:
        """The concept of a name, which may be one of its other names. Raises KeyError."""
        return self.collection.concepts[self._by_name[name]]

    @property
    def concepts(self) -> list[Concept]:
        """Those of which there is a picture."""
        return [concept for key, concept in self.collection.concepts.items() if key in self._by_concept]

    def styles_of(self, concept: Concept) -> tuple[str, ...]:
        """The styles in which there is a picture of it."""
        return tuple(style for style, concepts in self._by_style.items() if concept.key in concepts)

    def recolourable_styles(self, concept: Concept) -> list[str]:
        """Those of its styles in which it can be painted in another colour."""
        places = self._by_concept[concept.key]
        originals = [self.collection.originals[place] for place in places]
        return sorted({original.style for original in originals if original.recolourable})

    def plan(self, seed: int) -> Plan:
        """The sample of this seed. With `held_out`, the first of a few tries that shows none of it."""
        for attempt in range(50):
            plan = self._try(seed, Dice(seed * 50 + attempt))
            if self.held_out is None or not self.held_out.shows(plan.things, plan.style):
                return plan
        raise ValueError(f"everything tried for seed {seed} is held out")

    def showing(
        self, names: Sequence[str], seed: int, style: str | None = None, colours: Sequence[str] = (), count: int = 1
    ) -> Plan:
        """A real picture of what is named, on transparent ground, whether held out or not.

        One name, at times `count` of it, or two names. Raises KeyError or ValueError if no style has them all.
        """
        dice = Dice(seed)
        wanted = [self.concept(name) for name in names]
        styles = [one for one in self._by_style if all(concept.key in self._by_style[one] for concept in wanted)]
        chosen = style or dice.one(sorted(styles))
        paints = [*colours, *[None] * len(wanted)]
        originals = [dice.one(self._by_style[chosen][concept.key]) for concept in wanted]
        things = tuple(
            Thing(concept, paint, count if len(wanted) == 1 else 1)
            for concept, paint in zip(wanted, paints, strict=False)
        )
        layers = _arranged(things, originals, MiddleDice() if self.mix.is_steady else dice)
        return self._worded(seed, "asked", chosen, Ground(), layers, False, things, None, dice)

    # --- one sample ---------------------------------------------------------------------------------------------------

    @cached_property
    def _weighted_concepts(self) -> tuple[list[str], list[float]]:
        return [concept.key for concept in self.concepts], [self._weight(concept) for concept in self.concepts]

    def _weight(self, concept: Concept) -> float:
        return _GROUP_WEIGHTS[concept.group] * _FAVOURITES.get(concept.name, 1.0)

    def _try(self, seed: int, dice: Dice) -> Plan:
        kind = dice.weighted(list(self.mix.kinds), list(self.mix.kinds.values()))
        if kind == "empty":
            ground = _ground(dice, _EMPTY_GROUNDS)
            wordings = [_grounded("", ground, dice, plain=not number) for number in range(CAPTIONS)]
            return Plan(seed, kind, "", ground, (), False, (), tuple(words.lstrip(", ") for words in wordings))
        arranging = MiddleDice() if self.mix.is_steady else dice
        concept = self.collection.concepts[dice.weighted(*self._weighted_concepts)]
        place = dice.one(self._by_concept[concept.key])
        original = self.collection.originals[place]
        ground = _ground(dice, self.mix.grounds)
        # On its own colour a thing would not be seen.
        while ground.colour is not None and ground.colour == original.colour:
            ground = _ground(dice, self.mix.grounds)
        outlined = ground.kind in ("none", "plain", "gradient") and dice.chance(_OUTLINED)
        relation = None
        if kind == "pair" and concept.group in _COUNTABLE:
            things, places, relation = self._pair(concept, place, dice)
        elif kind == "count" and concept.group in _COUNTABLE and not captions.is_plural(concept.name):
            count = dice.weighted((2, 3, 4, 5, 6), (5, 5, 3, 2, 1))
            things, places = (Thing(concept, self._coat(original, concept, 0.3, dice), count),), [place]
        else:
            chance = 1.0 if kind == "coloured" else 0.0
            things, places = (Thing(concept, self._coat(original, concept, chance, dice)),), [place]
        layers = _arranged(things, places, arranging, relation)
        layers, things = _changed(kind, layers, things, arranging)
        if any(layer.colour is not None and layer.colour == ground.colour for layer in layers):
            ground = Ground()
        layers = tuple(_set_down(layer, ground) for layer in layers)
        return self._worded(seed, kind, original.style, ground, layers, outlined, things, relation, dice)

    def _coat(self, original: Original, concept: Concept, chance: float, dice: Dice) -> str | None:
        if not original.recolourable or concept.group not in _PAINTABLE or not dice.chance(chance):
            return None
        return dice.one([colour for colour in COLOURS if concept.group != "smiley" or colour not in _SKIN_COLOURS])

    def _pair(self, first: Concept, place: int, dice: Dice) -> tuple[tuple[Thing, ...], list[int], str | None]:
        """A second thing of the same style beside the first, at times with both colours named."""
        original = self.collection.originals[place]
        others = self._by_style[original.style]
        second = first
        for _ in range(20):
            second = self.collection.concepts[dice.weighted(*self._weighted_concepts)]
            if second.key in others and second.group in _COUNTABLE and second.key != first.key:
                break
        else:
            second = first
        if second is first:
            return (Thing(first, None, 2),), [place], None
        other = dice.one(others[second.key])
        paint = 1.0 if dice.chance(0.25) else 0.0
        things = (
            Thing(first, self._coat(original, first, paint, dice)),
            Thing(second, self._coat(self.collection.originals[other], second, paint, dice)),
        )
        return things, [place, other], dice.weighted(list(_RELATIONS), [weight for weight, _ in _RELATIONS.values()])

    # --- words --------------------------------------------------------------------------------------------------------

    def _worded(
        self,
        seed: int,
        kind: str,
        style: str,
        ground: Ground,
        layers: tuple[Layer, ...],
        outlined: bool,
        things: tuple[Thing, ...],
        relation: str | None,
        dice: Dice,
    ) -> Plan:
        wordings = [self._caption(style, ground, outlined, things, relation, dice, plain=True, original=layers[0])]
        while len(wordings) < CAPTIONS:
            wordings.append(self._caption(style, ground, outlined, things, relation, dice, False, layers[0]))
        return Plan(seed, kind, style, ground, layers, outlined, things, tuple(wordings))

    def _caption(
        self,
        style: str,
        ground: Ground,
        outlined: bool,
        things: tuple[Thing, ...],
        relation: str | None,
        dice: Dice,
        plain: bool,
        original: Layer,
    ) -> str:
        style_words = BY_STYLE[style].style_words
        if len(things) == 1:
            thing = self._naming_colour(things[0], original, dice) if not plain else things[0]
            keywords = captions.keywords_only(thing.concept, dice)
            if keywords and not plain and thing.colour is None and thing.count == 1 and dice.chance(0.15):
                text = keywords
            else:
                text = thing.phrase(dice, plain)
                if not plain and thing.count == 1:
                    text = captions.sentence(text, thing.bare(dice), dice)
                elif not plain:
                    text = captions.sentence(text, thing.bare(dice), dice, captions.TEMPLATES[:9], 0.25)
        else:
            text = _paired(things, relation, dice, plain)
            if not plain:
                text = captions.sentence(text, text, dice, captions.TEMPLATES[:9], 0.25)
        text = _grounded(text, ground, dice, plain)
        if outlined and (plain or dice.chance(0.9)):
            text += ", with a white outline" if plain else dice.one((", with a white outline", ", die-cut sticker"))
        return captions.with_style(text, style_words, dice, plain) if plain or dice.chance(0.5) else text

    def _naming_colour(self, thing: Thing, layer: Layer, dice: Dice) -> Thing:
        """At times the colour that a thing has anyway is named, so that colours are not only said of the odd ones."""
        own = self.collection.originals[layer.original].colour
        if thing.colour or own is None or thing.concept.group in ("smiley", "person") or not dice.chance(0.2):
            return thing
        return Thing(thing.concept, own, thing.count, thing.size)


_RELATIONS: dict[str, tuple[float, tuple[str, ...]]] = {
    "beside": (
        0.7,
        ("{a} and {b}", "{a} and {b}", "{a} and {b}", "{a} beside {b}", "{a} next to {b}", "{a} with {b}", "{a}, {b}"),
    ),
    "left": (0.1, ("{a} to the left of {b}", "{a} on the left, {b} on the right", "{a} left of {b}")),
    "above": (0.1, ("{a} above {b}", "{a} over {b}", "{a} on top of {b}")),
    "below": (0.05, ("{a} below {b}", "{a} under {b}")),
    "big": (
        0.05,
        ("a big {ba} and a small {bb}", "a large {ba} beside a tiny {bb}", "a small {bb} next to a big {ba}"),
    ),
}
"""How two things can stand, how often, and how it is said; an animal `beside` food also eats it."""


def _paired(things: Sequence[Thing], relation: str | None, dice: Dice, plain: bool) -> str:
    first, second = things
    forms = list(_RELATIONS[relation or "beside"][1])
    if plain:
        forms = forms[:1]
    elif (relation or "beside") == "beside":
        if first.concept.group == "animal" and second.concept.group == "food":
            forms += ["{a} eating {b}"] * 2
        if first.concept.group in ("animal", "person") and second.concept.group in ("object", "activity"):
            forms += ["{a} holding {b}", "{a} and its {bb}"]
    words = {
        "a": first.phrase(dice, plain),
        "b": second.phrase(dice, plain),
        "ba": first.bare(dice, True),
        "bb": second.bare(dice, True),
    }
    return dice.one(forms).format(**words)


def _grounded(text: str, ground: Ground, dice: Dice, plain: bool) -> str:
    colour = ground.colour or ""
    if not plain and ground.colour:
        colour = captions.colour_word(ground.colour, dice)
    if ground.kind in PLACES:
        phrase = PLACES[ground.kind].phrases[0] if plain else dice.one(PLACES[ground.kind].phrases)
        return f"{text} {phrase}"
    forms = {
        "none": ("", "", "", "", "", "", "", ", transparent background", ", isolated", ", no background"),
        "plain": (
            f" on a {colour} background",
            f", {colour} background",
            f" on {colour}",
            f" in front of a {colour} wall",
        ),
        "gradient": (
            f" on a {colour} gradient background",
            f", {colour} gradient background",
            f" on a {colour} gradient",
        ),
        "tile": (
            f" on a {colour} rounded square",
            f", app icon, {colour}",
            f", {colour} app icon with rounded corners",
        ),
        "disc": (f" in a {colour} circle", f" on a {colour} circle", f", round {colour} icon"),
    }[ground.kind]
    return text + (forms[0] if plain else dice.one(forms))


# --- where things stand -----------------------------------------------------------------------------------------------


def _ground(dice: Dice, kinds: Mapping[str, float]) -> Ground:
    kind = dice.weighted(list(kinds), list(kinds.values()))
    seed = dice.whole(0, 1 << 30)
    if kind == "place":
        return Ground(dice.one(tuple(PLACES)), None, seed)
    return Ground(kind, None if kind == "none" else dice.one(COLOURS), seed)


_PATTERNS: dict[int, tuple[tuple[float, tuple[tuple[float, float], ...]], ...]] = {
    2: ((0.47, ((0.27, 0.5), (0.73, 0.5))), (0.48, ((0.29, 0.3), (0.71, 0.7))), (0.46, ((0.5, 0.26), (0.5, 0.74)))),
    3: (
        (0.43, ((0.5, 0.27), (0.26, 0.72), (0.74, 0.72))),
        (0.31, ((0.18, 0.5), (0.5, 0.5), (0.82, 0.5))),
        (0.43, ((0.26, 0.28), (0.74, 0.28), (0.5, 0.73))),
    ),
    4: ((0.43, ((0.26, 0.26), (0.74, 0.26), (0.26, 0.74), (0.74, 0.74))),),
    5: (
        (0.31, ((0.2, 0.2), (0.8, 0.2), (0.5, 0.5), (0.2, 0.8), (0.8, 0.8))),
        (0.3, ((0.3, 0.27), (0.7, 0.27), (0.18, 0.72), (0.5, 0.72), (0.82, 0.72))),
    ),
    6: (
        (0.3, ((0.18, 0.3), (0.5, 0.3), (0.82, 0.3), (0.18, 0.7), (0.5, 0.7), (0.82, 0.7))),
        (0.3, ((0.3, 0.18), (0.7, 0.18), (0.3, 0.5), (0.7, 0.5), (0.3, 0.82), (0.7, 0.82))),
    ),
}
"""Sizes and middles of so many things."""


def _mirrored(thing: Thing) -> float:
    """How likely a thing is shown mirrored."""
    return 0.0 if _READ_ONE_WAY & set(thing.concept.name.split()) or thing.concept.group == "symbol" else 0.25


def _arranged(
    things: Sequence[Thing], originals: Sequence[int], dice: Dice, relation: str | None = None
) -> tuple[Layer, ...]:
    mirrored = dice.chance(_mirrored(things[0]))
    if len(things) == 2:
        return _arranged_pair(things, originals, relation or "beside", dice)
    (thing,), (original,) = things, originals
    if thing.count == 1:
        jitter = 0.02
        return (
            Layer(
                original,
                0.5 + dice.between(-jitter, jitter),
                0.5 + dice.between(-jitter, jitter),
                dice.between(0.82, 0.92),
                thing.colour,
                mirrored,
            ),
        )
    size, middles = dice.one(_PATTERNS[thing.count])
    each = dice.chance(0.3) and _mirrored(thing) > 0
    return tuple(
        Layer(
            original,
            x + dice.between(-0.02, 0.02),
            y + dice.between(-0.02, 0.02),
            size * dice.between(0.9, 1.03),
            thing.colour,
            dice.chance(0.5) if each else mirrored,
        )
        for x, y in middles
    )


def _arranged_pair(things: Sequence[Thing], originals: Sequence[int], relation: str, dice: Dice) -> tuple[Layer, ...]:
    sizes = (0.5, 0.5) if relation != "big" else (0.64, 0.32)
    if relation in ("above", "below"):
        middles = [(0.5, 0.26), (0.5, 0.74)] if relation == "above" else [(0.5, 0.74), (0.5, 0.26)]
        sizes = (0.47, 0.47)
    else:
        swapped = relation == "beside" and dice.chance(0.3)
        low = 0.5 if relation != "big" else 0.64
        middles = [(0.27, 0.5), (0.74, low)] if relation != "big" else [(0.34, 0.5), (0.82, low)]
        if relation == "beside" and dice.chance(0.3):
            middles = [(0.3, 0.36), (0.7, 0.66)]
        if swapped:
            middles = [(1 - x, y) for x, y in middles]
    return tuple(
        Layer(original, x, y, size * dice.between(0.92, 1.02), thing.colour, dice.chance(_mirrored(thing)))
        for thing, original, (x, y), size in zip(things, originals, middles, sizes, strict=True)
    )


def _changed(
    kind: str, layers: tuple[Layer, ...], things: tuple[Thing, ...], dice: Dice
) -> tuple[tuple[Layer, ...], tuple[Thing, ...]]:
    """Some single things are small or turned; it is said of most."""
    if len(layers) != 1 or kind not in ("small", "turned"):
        return layers, things
    (layer,), (thing,) = layers, things
    if kind == "small":
        small = Layer(
            layer.original,
            dice.between(0.4, 0.6),
            dice.between(0.4, 0.6),
            dice.between(0.3, 0.5),
            layer.colour,
            layer.mirrored,
        )
        return (small,), (Thing(thing.concept, thing.colour, 1, dice.one(("small", "tiny"))),)
    degrees = dice.weighted((dice.between(10, 30), -dice.between(10, 30), 180.0), (0.45, 0.45, 0.1))
    size = dice.one(("tilted",)) if degrees != 180 else "upside-down"
    turned = Layer(layer.original, 0.5, 0.5, 0.74, layer.colour, layer.mirrored, degrees)
    return (turned,), (Thing(thing.concept, thing.colour, 1, size),)


def _set_down(layer: Layer, ground: Ground) -> Layer:
    """On tiles and discs things are smaller; in places a lone thing stands on the floor."""
    if ground.kind in ("tile", "disc"):
        factor = 0.72 if ground.kind == "tile" else 0.62
        x, y = 0.5 + (layer.x - 0.5) * factor, 0.5 + (layer.y - 0.5) * factor
        return Layer(layer.original, x, y, layer.size * factor, layer.colour, layer.mirrored, layer.degrees)
    if ground.kind not in PLACES:
        return layer
    floor = PLACES[ground.kind].floor
    factor = 0.72 if layer.size > 0.6 else 0.9
    size = layer.size * factor
    y = layer.y
    if floor is not None and layer.size > 0.6:
        y = floor - size / 2 + 0.02
    elif floor is not None:
        y = 0.14 + layer.y * 0.8
    return Layer(layer.original, layer.x, y, size, layer.colour, layer.mirrored, layer.degrees)


# --- painting ---------------------------------------------------------------------------------------------------------


def paint(plan: Plan, pictures: npt.NDArray[np.uint8], side: int = SIDE) -> Pixels:
    """The sample of a plan, `side` pixels square. `pictures` are those of the plan's collection, in its order."""
    things = np.zeros((side, side, 4), np.uint8)
    for layer in plan.layers:
        things = _over(_placed(layer, pictures[layer.original], side), things)
    if plan.outlined:
        things = _over(things, _outline(things))
    return _over(things, scenes.paint(plan.ground, side)) if plan.ground.kind != "none" else things


def _placed(layer: Layer, picture: Pixels, side: int) -> Pixels:
    if layer.colour:
        picture = recolour(picture, layer.colour)
    image = as_image(np.ascontiguousarray(picture[:, ::-1] if layer.mirrored else picture))
    rows, columns = np.nonzero(picture[..., 3])
    drawn = max(np.ptp(rows), np.ptp(columns)) + 1 if len(rows) else len(picture)
    factor = layer.size * side / drawn
    size = max(1, round(len(picture) * factor))
    if layer.degrees:
        image = image.rotate(layer.degrees, Image.Resampling.BICUBIC)
    image = image.resize((size, size), Image.Resampling.LANCZOS)
    canvas = Image.new("RGBa", (side, side))
    canvas.paste(image, (round(layer.x * side - size / 2), round(layer.y * side - size / 2)))
    # Filters overshoot; a colour multiplied by alpha is never above it.
    pixels = np.array(canvas)
    pixels[..., :3] = np.minimum(pixels[..., :3], pixels[..., 3:])
    return pixels


def _over(upper: Pixels, lower: Pixels) -> Pixels:
    rest = 255 - upper[..., 3:].astype(np.uint16)
    return (upper + (lower * rest + 127) // 255).astype(np.uint8)


def _outline(things: Pixels) -> Pixels:
    """White, around all that is there."""
    wide = scenes.soft_shadow(things[..., 3], _OUTLINE_PIXELS).astype(np.float32)
    alpha = np.rint(np.clip((wide - 12) * 8, 0, 255)).astype(np.uint8)
    return np.repeat(alpha[..., None], 4, axis=2)


def plans(planner: Planner, seeds: Iterable[int]) -> list[Plan]:
    return [planner.plan(seed) for seed in seeds]
