"""What admins change lies over the configuration, which stays as it is."""

import json
from dataclasses import replace
from typing import get_args

import pytest

from pinxit.catalog.catalog import Catalog, ConfiguredBackend, ConfiguredModel
from pinxit.catalog.changes import (
    MAX_ALIASES,
    SORTS,
    UNCHANGED,
    BackendChoice,
    Changes,
    ModelChange,
    Wish,
    change_to,
    check_fit,
    from_json,
    to_json,
)
from pinxit.errors import InvalidValue, ModelNotFound
from pinxit.routing.router import Sort
from pinxit.settings import ModelEntry
from pinxit.testing.fake_backend import FAKE_1

FAR, NEAR, SLOW = "far/a", "near/b", "near/c"
ALL = (BackendChoice(FAR, 3.0), BackendChoice(NEAR), BackendChoice(SLOW))


def configured() -> Catalog:
    """A model `posters` at three backends, and those backends' own models, of which `b` is the default."""
    posters = ConfiguredModel(
        "posters",
        [ConfiguredBackend("far", "a", weight=3.0), ConfiguredBackend("near", "b"), ConfiguredBackend("near", "c")],
        fallback_models=("b", "c"),
    )
    return Catalog(
        {"far": [replace(FAKE_1, id="a")], "near": [replace(FAKE_1, id=name) for name in "bc"]},
        default_model="best",
        configured=[posters],
        aliases={"best": "b", "large-*": "posters", "poster": "posters"},
    )


def with_change(**facts) -> Catalog:
    return configured().changed(Changes({"posters": ModelChange(**facts)}))


def painters(catalog: Catalog) -> list[str]:
    entry = catalog.resolve("posters")
    return [entry.painter, *(other.painter for other in entry.others)]


def names(catalog: Catalog) -> list[str]:
    return [entry.id for entry in catalog.list()]


def test_without_changes_all_is_as_configured():
    before, after = configured(), configured().changed(Changes())
    assert after.list() == before.list() == after.list_all()
    assert (after.default, after.default_name) == (before.default, "best")


# --- on and off ---


@pytest.mark.parametrize("name", ["posters", "poster", "large-1"])
def test_a_model_that_is_off_is_not_there(name: str):
    catalog = with_change(is_off=True)
    with pytest.raises(ModelNotFound, match=f"There is no model '{name}'"):
        catalog.resolve(name)
    with pytest.raises(ModelNotFound, match="posters is switched off"):
        catalog.resolve(name, tells_why=True)
    assert catalog.get(name).id == "posters"
    assert "posters" not in names(catalog)
    assert "posters" in [entry.id for entry in catalog.list_all()]


def test_an_id_that_is_off_does_not_lead_elsewhere_by_a_wildcard():
    catalog = configured().changed(Changes({"posters": ModelChange(True), "c": ModelChange(aliases_added=("post*",))}))
    with pytest.raises(ModelNotFound):
        catalog.resolve("posters")
    assert catalog.resolve("postcards").id == "c"


def test_nothing_falls_back_to_a_model_that_is_off():
    catalog = configured().changed(Changes({"c": ModelChange(is_off=True)}))
    assert catalog.resolve("posters").fallback_models == ("b",)


def test_a_name_that_is_nothing_is_the_same_for_everybody():
    for tells_why in (True, False):
        with pytest.raises(ModelNotFound, match="There is no model 'x'"):
            configured().resolve("x", tells_why=tells_why)


def test_an_order_of_before_is_painted_as_it_was_configured():
    catalog = with_change(is_off=True, backends=(BackendChoice(FAR, is_left_out=True), *ALL[1:]))
    assert catalog.restore("posters").at(FAR).painter == FAR
    assert catalog.restore("best").id == "b"
    with pytest.raises(ModelNotFound):
        catalog.restore("gone")


# --- backends ---


@pytest.mark.parametrize(
    ("choices", "asked"),
    [
        ((ALL[2], ALL[1], ALL[0]), [SLOW, NEAR, FAR]),
        ((ALL[1],), [NEAR, FAR, SLOW]),  # the others came into the configuration later
        ((BackendChoice("gone/x"), ALL[1]), [NEAR, FAR, SLOW]),
        ((BackendChoice(FAR, is_left_out=True),), [NEAR, SLOW]),
        (tuple(replace(choice, is_left_out=True) for choice in ALL), [FAR, NEAR, SLOW]),
    ],
)
def test_backends_are_asked_as_chosen(choices: tuple[BackendChoice, ...], asked: list[str]):
    catalog = with_change(backends=choices)
    assert painters(catalog) == asked
    assert catalog.resolve("posters").fallback_models == ("b", "c")


def test_weights_and_the_way_to_choose():
    entry = with_change(sort="weight", backends=(BackendChoice(SLOW, 0.5), *ALL[:2])).resolve("posters")
    assert (entry.sort, entry.painter, entry.weight) == ("weight", SLOW, 0.5)
    assert [other.weight for other in entry.others] == [3.0, 1.0]
    assert configured().resolve("posters").sort == "order"


def test_the_ways_to_choose_are_everybody_s():
    assert set(SORTS) == set(Sort) == set(get_args(ModelEntry.model_fields["sort"].annotation))


# --- names ---


def test_aliases_come_and_go():
    catalog = with_change(aliases_added=("banner", "wide-*"), aliases_removed=("poster",))
    assert {catalog.resolve(name).id for name in ("banner", "wide-3", "large-1")} == {"posters"}
    assert catalog.resolve("posters").aliases == ("large-*", "banner", "wide-*")
    with pytest.raises(ModelNotFound):
        catalog.resolve("poster")


def test_an_alias_can_move_to_another_model():
    changes = {"posters": ModelChange(aliases_removed=("poster",)), "c": ModelChange(aliases_added=("poster",))}
    assert configured().changed(Changes(changes)).resolve("poster").id == "c"


def test_names_of_other_services_can_be_given_to_a_model():
    catalog = configured().changed(Changes({"c": ModelChange(aliases_added=("dall-e-*",))}))
    assert catalog.resolve("dall-e-3").id == "c"
    assert catalog.resolve("gpt-image-1").id == "b"
    assert "dall-e-*" not in catalog.default.aliases


# --- the default ---


def test_another_default():
    catalog = configured().changed(Changes(default_model="c"))
    assert (catalog.default.id, catalog.default_name, names(catalog)[0]) == ("c", "c", "c")
    assert catalog.resolve("gpt-image-1").id == "c"
    assert "gpt-image-1" in catalog.resolve("c").aliases
    assert "gpt-image-1" not in catalog.resolve("b").aliases


def test_a_default_that_is_gone_is_the_configured_one():
    assert configured().changed(Changes(default_model="gone")).default_name == "best"


def test_a_default_by_an_alias_that_leads_elsewhere_now_is_its_id():
    changes = {"b": ModelChange(aliases_removed=("best",)), "c": ModelChange(aliases_added=("best",))}
    catalog = configured().changed(Changes(changes))
    assert (catalog.default.id, catalog.default_name) == ("b", "b")


def test_a_default_that_the_configuration_has_chosen_stays_off():
    catalog = configured().changed(Changes({"b": ModelChange(is_off=True)}))
    assert catalog.default.id == "b"
    for name in ("best", "b", "gpt-image-1"):
        with pytest.raises(ModelNotFound):
            catalog.resolve(name)
    assert names(catalog) == ["a", "c", "posters"]


def test_a_change_of_a_model_that_is_gone_does_nothing():
    gone = ModelChange(is_off=True, aliases_added=("poster",), sort="price")
    assert configured().changed(Changes({"gone": gone})).list() == configured().list()


# --- what may be wanted ---


def wish(sort: str = "order", backends=ALL, aliases=("large-*", "poster")) -> ModelChange:
    catalog = configured()
    entry = catalog.resolve("posters")
    return change_to(Wish(sort, backends, aliases), entry, catalog.aliases_of("posters"), is_off=False)


def test_what_is_as_configured_is_no_change():
    assert wish() == UNCHANGED


def test_only_what_is_different_is_kept():
    change = wish(sort="price", aliases=("poster", "x", "x"))
    assert change == ModelChange(sort="price", aliases_added=("x",), aliases_removed=("large-*",))
    reordered = wish(backends=ALL[::-1])
    assert reordered == ModelChange(backends=ALL[::-1])
    assert wish(backends=(replace(ALL[0], weight=2.0), *ALL[1:])).backends is not None


@pytest.mark.parametrize(
    ("param", "wrong"),
    [
        ("sort", {"sort": "best"}),
        ("backends", {"backends": ALL[:2]}),
        ("backends", {"backends": (*ALL, BackendChoice("gone/x"))}),
        ("backends", {"backends": (ALL[0], ALL[0], ALL[1])}),
        ("backends", {"backends": tuple(replace(choice, is_left_out=True) for choice in ALL)}),
        *[
            ("weight", {"backends": (replace(ALL[0], weight=weight), *ALL[1:])})
            for weight in (0.0, -1.0, 1000.1, float("nan"), float("inf"))
        ],
        *[("aliases", {"aliases": (name,)}) for name in ("", "a b", "x*y", "**", "é", "-a", "a\n", "x" * 129)],
        ("aliases", {"aliases": tuple(f"a{number}" for number in range(MAX_ALIASES + 1))}),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(param: str, wrong: dict):
    with pytest.raises(InvalidValue) as refused:
        wish(**wrong)
    assert refused.value.param == param


@pytest.mark.parametrize(
    ("param", "model", "change", "aliases"),
    [
        ("enabled", "b", ModelChange(is_off=True), ()),
        ("aliases", "c", UNCHANGED, ("posters",)),
        ("aliases", "c", UNCHANGED, ("poster",)),
        ("aliases", "c", UNCHANGED, ("mine",)),
    ],
)
def test_what_does_not_go_together_is_refused(param: str, model: str, change: ModelChange, aliases: tuple[str, ...]):
    others = Changes({"posters": ModelChange(aliases_added=("mine",))})
    laid = configured().lay(others)
    with pytest.raises(InvalidValue) as refused:
        check_fit(model, change, aliases, laid)
    assert refused.value.param == param
    check_fit("c", ModelChange(is_off=True), ("new", "*"), laid)


# --- as rows keep it ---


@pytest.mark.parametrize(
    "change", [UNCHANGED, ModelChange(True, "price", ALL, ("a", "b*"), ("c",)), ModelChange(sort="sticky")]
)
def test_a_change_comes_back_as_it_was_kept(change: ModelChange):
    assert from_json(json.loads(json.dumps(to_json(change)))) == change


def test_what_a_later_version_has_kept_does_no_harm():
    assert from_json({"sort": "by the moon", "colour": "red", "off": True}) == ModelChange(is_off=True)
