"""Evaluation that can fail, in one command:

    PYTHONPATH=otter/src:src python -m otter.training.evaluate256 --work build/otter --out build/otter/evaluation

Writes `evaluation.md`, the table for the model card, and contact sheets to be looked at. Beside every number stands
what real pictures of the same things score, the ceiling of the measure, and what is to be reached.

What is asked for: names with a style; unseen wordings (the templates of `held_out.json`); keywords alone; pairs of
concept and style that training never saw; two things that it never saw together; 12 colours × 20 things; two to six of
a thing. Pictures are judged by the matching model (`matcher`), colours and alpha by their pixels, and counts by both.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .autoencoder import to_signed
from .data import originals, raster
from .data.captions import keywords_only, plural, with_article
from .data.colour import COLOURS, shares
from .data.compose import EVALUATION, HeldOut, Plan, Planner, paint
from .data.dice import Dice
from .data.sheet import sheet
from .families import FAMILIES
from .matcher import load_matcher
from .paint256 import Painter
from .text256 import Text

Pictures = npt.NDArray[np.uint8]

RANKED = 100
"""How many captions the true one is ranked among."""

COLOUR_THINGS = (
    "car",
    "octopus",
    "rocket",
    "guitar",
    "rabbit",
    "bird",
    "backpack",
    "bicycle",
    "dress",
    "fish",
    "umbrella",
    "cat face",
    "heart",
    "robot",
    "balloon",
    "key",
    "house",
    "apple",
    "dog face",
    "butterfly",
)
COUNTED_THINGS = (
    "dog face",
    "cat face",
    "star",
    "rocket",
    "fish",
    "banana",
    "otter",
    "balloon",
    "robot",
    "mushroom",
    "key",
    "owl",
)

SHEET_PROMPTS = (
    "A cute baby sea otter",
    "an otter on a snowy night",
    "two otters",
    "an otter eating a fish",
    "an otter, 3d style",
    "an otter, flat style",
    "a blue car",
    "a red car",
    "a purple octopus",
    "a pink cat",
    "a green apple",
    "a blue heart",
    "a black umbrella",
    "a yellow house",
    "a white rabbit",
    "an orange backpack",
    "two dogs",
    "three stars",
    "four bananas",
    "five balloons",
    "six mushrooms",
    "three blue fish",
    "a cat and a dog",
    "a panda beside a pizza",
    "a panda eating pizza",
    "a robot with a guitar",
    "a penguin above a cake",
    "a fox on a snowy night",
    "a cat on the beach",
    "a rocket in space",
    "a whale in the sea",
    "an owl at night",
    "a horse in a meadow",
    "a camel in the desert",
    "a lamp on a table",
    "a bear in the forest",
    "a robot on a blue background",
    "a crown on a purple background",
    "app icon of a rocket, blue",
    "a coffee cup in a green circle",
    "a slice of pizza",
    "a hamburger",
    "a cup of coffee",
    "a glass of red wine",
    "an ice cream cone",
    "a birthday cake",
    "a happy face",
    "an angry face",
    "a ghost",
    "a sleeping cat",
    "a smiling sun",
    "a rainbow",
    "a castle",
    "a bicycle",
    "a sailboat",
    "an airplane",
    "a camera",
    "a trophy",
    "a key, outlined style",
    "a bee, glossy style",
    "a tree, noto style",
    "a guitar, twemoji style",
    "a rocket, with a white outline",
    "a tiny snail",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A caption, and a plan of a real picture that shows what it asks for."""

    caption: str
    plan: Plan


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the table."""

    name: str
    painted: float
    real: float
    goal: str = ""
    percent: bool = True

    def row(self) -> str:
        form = (lambda value: f"{100 * value:.0f} %") if self.percent else (lambda value: f"{value:.3f}")
        real = "–" if np.isnan(self.real) else form(self.real)
        return f"| {self.name} | {form(self.painted)} | {real} | {self.goal} |"


class Judge:
    """The matching model and what is measured with it."""

    def __init__(self, models: Path, weights: Path, device: torch.device) -> None:
        self.model = load_matcher(models).to(device)
        self.text = Text(weights, device)
        self.device = device

    @torch.no_grad()
    def shown(self, pictures: Pictures) -> Tensor:
        parts = torch.from_numpy(np.ascontiguousarray(pictures)).split(64)
        return torch.cat([self.model.image(to_signed(part.to(self.device))).cpu() for part in parts])

    @torch.no_grad()
    def said(self, captions: Sequence[str]) -> Tensor:
        states, pooled, mask = self.text.read(captions)
        return self.model.text(states.float(), pooled.float(), mask).cpu()

    def first(self, pictures: Pictures, captions: Sequence[str], distractors: Sequence[str], seed: int = 0) -> float:
        """R-precision@1: how often the true caption is the most fitting among RANKED."""
        pool = sorted(set(distractors))
        shown, said, others = self.shown(pictures), self.said(captions), self.said(pool)
        right = 0
        for row, caption in enumerate(captions):
            dice = Dice(seed + row)
            places = [place for place in dice.some(range(len(pool)), RANKED) if pool[place] != caption][: RANKED - 1]
            right += bool((shown[row] @ said[row]) > (others[places] @ shown[row]).max())
        return right / len(captions)

    def best_of(self, pictures: Pictures, choices: Sequence[Sequence[str]]) -> float:
        """How often the first of each picture's own captions fits it best."""
        shown = self.shown(pictures)
        right = [int((self.said(own) @ one).argmax()) == 0 for one, own in zip(shown, choices, strict=True)]
        return float(np.mean(right))


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """Between normal distributions fitted to two sets of features (arXiv:1706.08500)."""
    a, b = a.double(), b.double()
    product = torch.cov(a.T) @ torch.cov(b.T)
    roots = torch.linalg.eigvals(product).real.clamp(min=0).sqrt().sum()
    apart = (a.mean(0) - b.mean(0)).pow(2).sum()
    return float(apart + torch.trace(torch.cov(a.T)) + torch.trace(torch.cov(b.T)) - 2 * roots)


class Evaluation:
    """Everything that is asked and measured; `amount` 1 is the full size."""

    def __init__(self, planner: Planner, drawn: Pictures, painter: Painter, judge: Judge, amount: float) -> None:
        self.planner, self.drawn, self.painter, self.judge, self.amount = planner, drawn, painter, judge, amount
        self.held_out = HeldOut.read()
        self.concepts = [
            concept
            for concept in planner.concepts
            if concept.group in ("animal", "food", "plant", "place", "activity", "object")
        ]
        self.names = [with_article(concept.name) for concept in self.concepts]

    def run(self) -> list[Result]:
        measures: Sequence[Callable[[], list[Result]]] = (
            self.exact_names,
            self.unseen_wordings,
            self.keywords,
            self.held_out_styles,
            self.held_out_pairs,
            self.colours,
            self.counts,
            self.alpha,
            self.distance_and_variety,
            self.nearest,
        )
        results: list[Result] = []
        for measure in measures:
            results += measure()
            print("\n".join(result.row() for result in results[-2:]), flush=True)
        return results

    # --- what is asked ------------------------------------------------------------------------------------------------

    def _some(self, count: int) -> int:
        return max(4, round(count * self.amount))

    def _named(self, count: int, seed: int, style: bool) -> list[Asked]:
        dice = Dice(EVALUATION + seed)
        asked = []
        for step, concept in enumerate(dice.some(self.concepts, self._some(count))):
            plan = self.planner.showing([concept.name], EVALUATION + seed + step)
            if not self.held_out.shows(plan.things, plan.style):
                asked.append(Asked(plan.captions[0] if style else plan.captions[0].rsplit(",", 1)[0], plan))
        return asked

    def exact_names(self) -> list[Result]:
        return [self._precision("R-precision@1, exact names with style", self._named(240, 0, True), "≥ 80 %")]

    def unseen_wordings(self) -> list[Result]:
        asked = [
            Asked(self._unseen(one.plan, Dice(EVALUATION + place)), one.plan)
            for place, one in enumerate(self._named(240, 1000, False))
        ]
        return [self._precision("R-precision@1, unseen wordings", asked, "≥ 60 %")]

    def _unseen(self, plan: Plan, dice: Dice) -> str:
        thing = plan.things[0]
        return dice.one(self.held_out.templates).format(thing=thing.phrase(dice, True), bare=thing.bare(dice, True))

    def keywords(self) -> list[Result]:
        asked = []
        for place, one in enumerate(self._named(240, 2000, False)):
            words = keywords_only(one.plan.things[0].concept, Dice(EVALUATION + place))
            if words:
                asked.append(Asked(words, one.plan))
        return [self._precision("R-precision@1, keywords only", asked)]

    def held_out_styles(self) -> list[Result]:
        asked = []
        for place, (name, style) in enumerate(sorted(self.held_out.concept_styles) * 3):
            try:
                plan = self.planner.showing([name], EVALUATION + 3000 + place, style)
            except (KeyError, IndexError):
                continue
            asked.append(Asked(plan.captions[0], plan))
        return [self._precision("R-precision@1, held-out concept × style", asked[: self._some(120)], "≥ 60 %")]

    def held_out_pairs(self) -> list[Result]:
        asked, choices = [], []
        pairs = [sorted(pair) for pair in sorted(self.held_out.pairs, key=sorted)]
        for place, (first, second) in enumerate(pairs * 6):
            try:
                plan = self.planner.showing([first, second], EVALUATION + 4000 + place)
            except (KeyError, IndexError):
                continue
            a, b = (with_article(thing.concept.name) for thing in plan.things)
            other = pairs[(place + 7) % len(pairs)]
            asked.append(Asked(f"{a} and {b}", plan))
            choices.append(
                [
                    f"{a} and {b}",
                    a,
                    b,
                    f"{a} and {with_article(other[1])}",
                    f"{with_article(other[0])} and {b}",
                    f"two {plural(plan.things[0].concept.name)}",
                    f"two {plural(plan.things[1].concept.name)}",
                ]
            )
        asked, choices = asked[: self._some(120)], choices[: self._some(120)]
        painted, real = self._both(asked)
        dice = Dice(EVALUATION)
        pool = [f"{dice.one(self.names)} and {dice.one(self.names)}" for _ in range(400)]
        captions = [one.caption for one in asked]
        return [
            Result(
                "R-precision@1, held-out pairs of things",
                self.judge.first(painted, captions, pool),
                self.judge.first(real, captions, pool),
                "≥ 60 %",
            ),
            Result(
                "held-out pairs: both there, of 7 near captions",
                self.judge.best_of(painted, choices),
                self.judge.best_of(real, choices),
            ),
        ]

    # --- what is measured ---------------------------------------------------------------------------------------------

    def _both(self, asked: Sequence[Asked]) -> tuple[Pictures, Pictures]:
        painted = self.painter.paint([one.caption for one in asked], range(len(asked)))
        return painted, np.stack([paint(one.plan, self.drawn) for one in asked])

    def _precision(self, name: str, asked: Sequence[Asked], goal: str = "") -> Result:
        painted, real = self._both(asked)
        captions = [one.caption for one in asked]
        endings = [caption.rsplit(",", 1)[1] if "style" in caption else "" for caption in captions]
        dice = Dice(EVALUATION)
        pool = [f"{thing},{ending}" if (ending := dice.one(endings)) else thing for thing in self.names]
        return Result(name, self.judge.first(painted, captions, pool), self.judge.first(real, captions, pool), goal)

    def colours(self) -> list[Result]:
        wanted = [(colour, thing) for thing in COLOUR_THINGS for colour in COLOURS]
        wanted = wanted[:: max(1, round(1 / self.amount))]
        plans = [
            self.planner.showing([thing], EVALUATION + 5000 + place, self._recolourable_style(thing, place), [colour])
            for place, (colour, thing) in enumerate(wanted)
        ]
        captions = [plan.captions[0].rsplit(",", 1)[0] for plan in plans]
        painted = self.painter.paint(captions, range(len(captions)))
        real = [paint(plan, self.drawn) for plan in plans]
        unseen = np.array([self.held_out.shows(plan.things, "") for plan in plans])
        obeyed = np.array([_obeys(one, colour) for one, (colour, _) in zip(painted, wanted, strict=True)])
        ceiling = np.array([_obeys(one, colour) for one, (colour, _) in zip(real, wanted, strict=True)])
        results = [Result(f"colours obeyed, {len(wanted)} wishes", obeyed.mean(), ceiling.mean(), "≥ 80 %")]
        if unseen.any():
            results.append(Result("colours obeyed, held-out", obeyed[unseen].mean(), ceiling[unseen].mean()))
        return results

    def _recolourable_style(self, name: str, place: int) -> str:
        return Dice(EVALUATION + place).one(self.planner.recolourable_styles(self.planner.concept(name)))

    def counts(self) -> list[Result]:
        plans, choices = [], []
        for place in range(self._some(120)):
            thing = COUNTED_THINGS[place % len(COUNTED_THINGS)]
            count = 2 + place // len(COUNTED_THINGS) % 5
            plans.append(self.planner.showing([thing], EVALUATION + 6000 + place, count=count))
            several = plural(plans[-1].things[0].concept.name)
            words = [
                with_article(thing),
                *(f"{number} {several}" for number in ("two", "three", "four", "five", "six")),
            ]
            choices.append([words[count - 1], *words[: count - 1], *words[count:]])
        captions = [own[0] for own in choices]
        painted = self.painter.paint(captions, range(len(captions)))
        real = np.stack([paint(plan, self.drawn) for plan in plans])
        numbers = [plan.things[0].count for plan in plans]
        return [
            Result(
                "counts by the matching model, of 6 numbers",
                self.judge.best_of(painted, choices),
                self.judge.best_of(real, choices),
            ),
            Result("counts by separate pieces", _counted(painted, numbers), _counted(real, numbers)),
        ]

    def alpha(self) -> list[Result]:
        names = Dice(EVALUATION + 7000).some(self.names, self._some(60))
        free = self.painter.paint(names, range(len(names)))
        grounded = self.painter.paint([f"{name} on a blue background" for name in names], range(len(names)))
        corners = np.stack([free[:, y, x, 3] for y in (2, -3) for x in (2, -3)], 1)
        inside = (free[..., 3] > 247).sum((1, 2)) / np.maximum(1, (free[..., 3] > 127).sum((1, 2)))
        return [
            Result("alpha: nothing in the corners if no ground is asked for", (corners < 8).all(1).mean(), np.nan),
            Result("alpha: share of what is drawn that is wholly opaque", inside.mean(), np.nan),
            Result("alpha: opaque throughout on a ground", (grounded[..., 3] > 247).mean((1, 2)).mean(), np.nan),
        ]

    def distance_and_variety(self) -> list[Result]:
        count = self._some(600)
        plans = [self.planner.plan(EVALUATION + 8000 + step) for step in range(2 * count)]
        real = self.judge.shown(np.stack([paint(plan, self.drawn) for plan in plans]))
        captions = [plan.captions[step % len(plan.captions)] for step, plan in enumerate(plans[:count])]
        painted = self.judge.shown(self.painter.paint(captions, range(count)))
        names = Dice(EVALUATION + 9000).some(self.concepts, self._some(24))
        seeds = 6
        again = [with_article(concept.name) for concept in names for _ in range(seeds)]
        shown = self.judge.shown(self.painter.paint(again, [place % seeds for place in range(len(again))]))
        originals_of = [[self.planner.showing([one.name], EVALUATION + k) for k in range(seeds)] for one in names]
        others = self.judge.shown(np.stack([paint(plan, self.drawn) for own in originals_of for plan in own]))
        return [
            Result(
                "Fréchet distance in the matching model's features",
                frechet_distance(painted, real[count:]),
                frechet_distance(real[:count], real[count:]),
                "small",
                percent=False,
            ),
            Result(
                "variety over seeds (1 − likeness)", _spread(shown, seeds), _spread(others, seeds), "", percent=False
            ),
        ]

    def nearest(self) -> list[Result]:
        """How near pictures of things that no original shows come to an original: low is good, nothing is copied."""
        pairs = [sorted(pair) for pair in sorted(self.held_out.pairs, key=sorted)]
        captions = [f"a {first} and a {second} on a snowy night" for first, second in pairs][: self._some(20)]
        painted = _tiny(self.painter.paint(captions, range(len(captions))))
        known = _tiny(self.drawn[:: max(1, round(1 / self.amount / 4))])
        named = _tiny(self.painter.paint(self.names[: self._some(40)], range(self._some(40))))
        return [
            Result(
                "likeness of the nearest original: things never drawn together, at night (beside it: single names)",
                float((painted @ known.T).max(1).mean()),
                float((named @ known.T).max(1).mean()),
                "",
                percent=False,
            )
        ]


def _obeys(picture: npt.NDArray[np.uint8], colour: str) -> bool:
    """Whether the colour covers more than any other; outlines and eyes (black, white) do not count against it."""
    found = shares(picture)
    asked = found.pop(colour, 0.0)
    rivals = [share for name, share in found.items() if name not in ("black", "white") or colour in ("black", "white")]
    return asked > max(rivals, default=1.0) and asked > 0.2


def _counted(pictures: Pictures, numbers: Sequence[int]) -> float:
    return float(np.mean([pieces(one) == number for one, number in zip(pictures, numbers, strict=True)]))


def pieces(picture: npt.NDArray[np.uint8], least: float = 0.006) -> int:
    """How many separate pieces there are whose area is at least this part of the picture."""
    seen = picture[::4, ::4, 3] > 127
    labels = np.where(seen, np.arange(1, seen.size + 1).reshape(seen.shape), 0)
    while True:
        # Each pixel takes the greatest label around it, until nothing changes.
        padded = np.pad(labels, 1)
        around = [padded[1 + y : padded.shape[0] - 1 + y, 1 + x : padded.shape[1] - 1 + x] for y, x in _AROUND]
        spread = np.where(seen, np.maximum.reduce(around), 0)
        if (spread == labels).all():
            break
        labels = spread
    _, sizes = np.unique(labels[labels > 0], return_counts=True)
    return int((sizes >= least * seen.size).sum())


_AROUND = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1))


def _spread(features: Tensor, group: int) -> float:
    """Mean of 1 − likeness over the pairs within groups."""
    groups = features.view(-1, group, features.shape[1])
    likeness = (groups @ groups.transpose(1, 2)).sum((1, 2)) - group
    return float(1 - (likeness / (group * (group - 1))).mean())


def _tiny(pictures: Pictures) -> npt.NDArray[np.float32]:
    """Pictures at 32 pixels as directions, around their mean colour."""
    small = pictures.reshape(len(pictures), 32, 8, 32, 8, 4).mean((2, 4)).reshape(len(pictures), -1)
    small = small - small.mean(1, keepdims=True)
    return (small / (np.linalg.norm(small, axis=1, keepdims=True) + 1e-6)).astype(np.float32)


def sheets(painter: Painter, out: Path) -> None:
    """The fixed prompts, and the otter of ten seeds with two wordings."""
    sheet(list(painter.paint(SHEET_PROMPTS, [7] * len(SHEET_PROMPTS))), SHEET_PROMPTS, 8).save(out / "sheet.png")
    otters = ["A cute baby sea otter"] * 10 + ["an otter"] * 10
    sheet(list(painter.paint(otters, [*range(10), *range(10)])), otters, 10).save(out / "otters.png")


def table(results: Sequence[Result]) -> str:
    lines = ["| measure | otter-1 | real pictures | goal |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *(result.row() for result in results)]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluate otter-1 at 256 pixels.")
    parser.add_argument("--work", type=Path, default=Path("build/otter"))
    parser.add_argument("--family", choices=list(FAMILIES), default="compact", help="which networks")
    parser.add_argument("--originals", type=Path, default=Path("build/otter/originals.zip"))
    parser.add_argument("--weights", type=Path, default=Path("otter/src/pinxit_otter/weights"))
    parser.add_argument("--out", type=Path, default=Path("build/otter/evaluation"))
    parser.add_argument("--amount", type=float, default=1.0, help="part of the full number of pictures")
    parser.add_argument("--distilled", action="store_true", help="the weights with guidance in them")
    parser.add_argument("--proof", action="store_true", help="the tiny model")
    wishes = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wishes.out.mkdir(parents=True, exist_ok=True)
    collection = originals.read(wishes.originals)
    drawn = raster.draw_all(collection, wishes.work / "pictures.npy", processes=2)
    family = FAMILIES[wishes.family]
    models = wishes.work / family.name
    painter = Painter(family, models, wishes.weights, device, wishes.distilled, wishes.proof)
    sheets(painter, wishes.out)
    planner = Planner(collection, mix=family.matching.mix)
    evaluation = Evaluation(planner, drawn, painter, Judge(models, wishes.weights, device), wishes.amount)
    text = table(evaluation.run())
    (wishes.out / "evaluation.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
