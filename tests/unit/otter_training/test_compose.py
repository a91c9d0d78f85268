"""Plans from seeds, and pictures from plans."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from otter.training.data import compose, scenes
from otter.training.data.colour import main_colour
from otter.training.data.compose import HeldOut, Plan, Planner
from otter.training.data.originals import Collection
from otter.training.data.scenes import PLACES, Ground

HELD_OUT = HeldOut(
    frozenset({("pizza", "twemoji")}),
    frozenset({("blue", "car")}),
    frozenset({frozenset({"panda", "pizza"})}),
    ("what {thing} looks like",),
)


@pytest.fixture(scope="module")
def plans(collection: Collection) -> list[Plan]:
    return compose.plans(Planner(collection, HELD_OUT), range(2000))


def test_a_seed_gives_the_same_plan_and_the_same_pixels(
    collection: Collection, pictures: npt.NDArray[np.uint8]
) -> None:
    for seed in range(20):
        one, other = (Planner(collection, HELD_OUT).plan(seed) for _ in range(2))
        assert one == other
        np.testing.assert_array_equal(compose.paint(one, pictures, 64), compose.paint(other, pictures, 64))


def test_what_is_held_out_never_comes(plans: list[Plan]) -> None:
    assert not any(HELD_OUT.shows(plan.things, plan.style) for plan in plans)
    assert any(plan.style == "twemoji" for plan in plans)
    assert any(thing.colour == "blue" for plan in plans for thing in plan.things)
    said = {caption for plan in plans for caption in plan.captions}
    assert not any("looks like" in caption for caption in said)


def test_without_anything_held_out_it_does_come(collection: Collection) -> None:
    plans = compose.plans(Planner(collection), range(2000))
    assert any(HELD_OUT.shows(plan.things, plan.style) for plan in plans)


def test_the_declared_hold_outs_are_well_formed() -> None:
    held_out = HeldOut.read()
    assert len(held_out.concept_styles) == 40
    assert all("{thing}" in template or "{bare}" in template for template in held_out.templates)
    assert not set(held_out.templates) & set(compose.captions.TEMPLATES)


def test_in_the_steady_mix_things_are_always_in_the_same_place(collection: Collection) -> None:
    plans = compose.plans(Planner(collection, HELD_OUT, compose.STEADY), range(2000))
    placed: dict[int, set[tuple[tuple[float, float, float], ...]]] = {}
    for plan in plans:
        assert not any(layer.mirrored for layer in plan.layers)
        if plan.ground.kind == "none" and plan.kind in ("single", "coloured", "count"):
            where = tuple((layer.x, layer.y, layer.size) for layer in plan.layers)
            placed.setdefault(len(where), set()).add(where)
    assert set(placed) == {1, 2, 3, 4, 5, 6}
    assert all(len(places) == 1 for places in placed.values())
    assert {plan.kind for plan in plans} == {"single", "coloured", "count", "pair", "small"}
    assert {plan.style for plan in plans} <= compose.STEADY.styles
    assert not any(HELD_OUT.shows(plan.things, plan.style) for plan in plans)


def test_in_the_layered_mix_there_are_grounds_with_nothing_on_them(collection: Collection) -> None:
    plans = compose.plans(Planner(collection, HELD_OUT, compose.LAYERED), range(3000))
    empty = [plan for plan in plans if plan.kind == "empty"]
    assert {plan.ground.kind for plan in empty} >= {"plain", "gradient", "tile", "disc", *PLACES}
    pictures = np.zeros((len(collection.originals), 256, 256, 4), np.uint8)
    for plan in empty:
        assert (plan.things, plan.layers, plan.style) == ((), (), "")
        assert (compose.paint(plan, pictures) == scenes.paint(plan.ground, 256)).all()
    said = {plan.ground.kind: plan.captions[0] for plan in empty}
    assert (said["beach"], said["sky"]) == ("on the beach", "in the sky")


def test_a_mix_without_a_style_knows_nothing_that_only_that_style_shows(collection: Collection) -> None:
    seen = tuple(one for one in collection.originals if (one.concept, one.style) != ("panda", "flat"))
    mix = replace(compose.STEADY, styles=frozenset({"flat"}))
    planner = Planner(replace(collection, originals=seen), None, mix)
    assert {concept.key for concept in planner.concepts} == set(collection.concepts) - {"panda"}
    with pytest.raises(KeyError):
        planner.concept("panda")


def test_every_kind_of_sample_and_ground_comes(plans: list[Plan]) -> None:
    assert {plan.kind for plan in plans} >= {"single", "coloured", "count", "pair", "small", "turned"}
    assert {plan.ground.kind for plan in plans} >= {"none", "plain", "gradient", "tile", "disc", *PLACES}
    assert any(plan.outlined for plan in plans)


def test_captions_say_what_is_shown(plans: list[Plan]) -> None:
    for plan in plans:
        assert len(plan.captions) == compose.CAPTIONS
        for thing in plan.things:
            if thing.colour:
                assert thing.colour in plan.captions[0]
            if thing.count > 1:
                assert len(plan.layers) == thing.count


def test_things_do_not_vanish_into_a_ground_of_their_colour(plans: list[Plan]) -> None:
    assert not any(layer.colour and layer.colour == plan.ground.colour for plan in plans for layer in plan.layers)


def test_transparent_ground_stays_transparent(plans: list[Plan], pictures: npt.NDArray[np.uint8]) -> None:
    plan = next(plan for plan in plans if plan.ground.kind == "none" and plan.kind == "single")
    picture = compose.paint(plan, pictures)
    assert picture.shape == (256, 256, 4)
    assert (picture[:4, :4] == 0).all()
    assert (picture[..., 3] == 255).any()
    assert (picture[..., :3] <= picture[..., 3:]).all()


def test_a_ground_is_opaque_or_has_a_shape(plans: list[Plan], pictures: npt.NDArray[np.uint8]) -> None:
    plain = next(plan for plan in plans if plan.ground.kind == "plain")
    assert (compose.paint(plain, pictures, 64)[..., 3] == 255).all()
    tile = replace(plain, ground=Ground("tile", "green", 1))
    picture = compose.paint(tile, pictures, 64)
    assert picture[0, 0, 3] == 0
    assert picture[32, 32, 3] == 255


@pytest.mark.parametrize("place", PLACES)
def test_places_are_painted_all_over_and_differ_by_seed(place: str) -> None:
    one, other = (scenes.paint(Ground(place, None, seed), 64) for seed in (1, 2))
    assert (one[..., 3] == 255).all()
    assert (one != other).any()


def test_an_outline_is_white_around_the_thing(plans: list[Plan], pictures: npt.NDArray[np.uint8]) -> None:
    plan = next(plan for plan in plans if plan.ground.kind == "none" and plan.kind == "single")
    bare, outlined = (compose.paint(replace(plan, outlined=on), pictures) for on in (False, True))
    new = (outlined[..., 3] > 200) & (bare[..., 3] == 0)
    assert new.any()
    assert (outlined[new][:, :3] > 200).all()


def test_real_pictures_of_what_is_named(collection: Collection, pictures: npt.NDArray[np.uint8]) -> None:
    planner = Planner(collection)
    plan = planner.showing(["dog"], 1, "flat", ["green"], count=3)
    assert plan.captions[0] == "three green dog faces, flat style"
    assert main_colour(compose.paint(plan, pictures)) == "green"
    pair = planner.showing(["panda", "apple"], 1, "noto")
    assert pair.captions[0] == "a panda and a red apple, noto style"
    with pytest.raises(KeyError):
        planner.showing(["zeppelin"], 1)
