"""A tiny collection of painted discs in place of the originals."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from otter.training.data.colour import PAINTS, Pixels, from_lch
from otter.training.data.originals import Collection, Original
from otter.training.data.raster import SIDE
from otter.training.data.words import Concept

NAMES = {
    "otter": "animal",
    "panda": "animal",
    "dog face": "animal",
    "pizza": "food",
    "red apple": "food",
    "car": "place",
    "umbrella": "object",
    "key": "object",
}


def disc(colour: str) -> Pixels:
    """A disc of one of the twelve colours in the middle of an empty picture."""
    paint = PAINTS[colour]
    numbers = (np.array([number], np.float32) for number in (paint.lightness, paint.chroma, paint.hue))
    picture = np.zeros((SIDE, SIDE, 4), np.uint8)
    y, x = np.mgrid[:SIDE, :SIDE]
    picture[(y - SIDE / 2) ** 2 + (x - SIDE / 2) ** 2 < 100**2] = [*np.rint(from_lch(*numbers)[0] * 255), 255]
    return picture


@pytest.fixture(name="disc")
def disc_fixture() -> Callable[[str], Pixels]:
    return disc


@pytest.fixture(scope="session")
def collection() -> Collection:
    """Each thing in three styles, all brown and fit to be painted over."""
    other_names = {"dog face": ("dog",), "red apple": ("apple",)}
    concepts = {
        name: Concept(name, name, other_names.get(name, ()), ("useful", "round", "small thing"), group, -1)
        for name, group in NAMES.items()
    }
    originals = tuple(
        Original(name, style, name, (0, 0, 16, 16), colour="brown", recolourable=True)
        for style in ("noto", "flat", "twemoji")
        for name in NAMES
    )
    return Collection(concepts, originals, tuple(f"<path id='{place}'/>" for place in range(len(originals))))


@pytest.fixture(scope="session")
def pictures(collection: Collection) -> npt.NDArray[np.uint8]:
    return np.stack([disc("brown")] * len(collection.originals))
