"""The file of originals, and the picking of pictures."""

from pathlib import Path

import numpy as np
import pytest
from otter.training.data import originals, raster
from otter.training.data.originals import Collection, Original
from otter.training.data.sets import PERMISSIVE, SETS


def test_what_is_written_is_read(collection: Collection, tmp_path: Path) -> None:
    originals.write(collection, tmp_path / "a.zip")
    originals.write(collection, tmp_path / "b.zip")
    assert originals.read(tmp_path / "a.zip") == collection
    assert originals.read(tmp_path / "a.zip", with_contents=False).contents == ()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_keeping_some_drops_concepts_without_pictures(collection: Collection) -> None:
    kept = originals.keep(collection, [one if one.name == "otter" else None for one in collection.originals])
    assert set(kept.concepts) == {"otter"}
    assert len(kept.originals) == len(kept.contents) == 3


def test_all_sets_are_permissive_and_have_styles_of_their_own() -> None:
    assert {one.licence for one in SETS} <= PERMISSIVE
    assert len({one.style for one in SETS}) == len({one.style_words[0] for one in SETS}) == len(SETS)


def test_signs_and_logos_are_left_out() -> None:
    names = originals._Names({})
    assert names.icon("facebook-logo") is None
    assert names.icon("arrow-up") is None


def test_the_box_is_what_is_drawn() -> None:
    picture = np.zeros((100, 100, 4), np.uint8)
    picture[20:60, 10:90] = 255
    found = raster.boxed(Original("x", "noto", "x", (0, 0, 16, 16)), picture)
    assert found is not None
    assert found.box == (0.1, 0.2, 0.8, 0.4)
    assert raster.boxed(found, np.zeros((100, 100, 4), np.uint8)) is None


def test_a_drawing_is_fitted_to_the_frame() -> None:
    pytest.importorskip("resvg_py")
    body = "<rect x='4' y='6' width='8' height='4' fill='#f00'/>"
    original = Original("x", "noto", "x", (0, 0, 16, 16))
    found = raster.boxed(original, raster.rasterise(original, body, 256))
    assert found is not None
    rows, columns = np.nonzero(raster.fitted(found, body)[..., 3] > 127)
    assert (columns.min(), columns.max()) == (8, 247)
    assert abs(rows.min() - 68) <= 1
    assert abs(rows.max() - 187) <= 1
