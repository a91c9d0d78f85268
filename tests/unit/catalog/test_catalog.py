"""Looking models up: a configured id beats a backend's own, an id an alias, a configured alias a shipped one."""

from dataclasses import replace

import pytest

from pinxit.backends.interface import ModelSpec
from pinxit.catalog.catalog import Catalog, ConfiguredBackend, ConfiguredModel
from pinxit.errors import ConfigurationError, ModelNotFound
from pinxit.testing.fake_backend import FAKE_1


def spec(id: str) -> ModelSpec:
    return replace(FAKE_1, id=id)


def make_catalog(*ids: str, default: str = "", **options) -> Catalog:
    """A catalogue of one backend, `fake`, with these models."""
    return Catalog({"fake": [spec(id) for id in ids]}, default_model=default or ids[0], **options)


def test_a_model_is_found_by_its_id():
    assert make_catalog("a", "b").resolve("b").id == "b"


@pytest.mark.parametrize("name", ["", "c", "A", "a ", "a/b", "*", "gpt-image", "dall-e", "dalle-3"])
def test_what_is_not_there_is_model_not_found(name: str):
    with pytest.raises(ModelNotFound) as missing:
        make_catalog("a", "b").resolve(name)
    assert missing.value.param == "model"


def test_a_long_name_is_not_repeated_in_full():
    with pytest.raises(ModelNotFound) as missing:
        make_catalog("a").resolve("x" * 10_000)
    assert len(missing.value.message) < 200


@pytest.mark.parametrize("name", ["gpt-image-1", "gpt-image-2-mini", "gpt-image-", "dall-e-2", "chatgpt-image-latest"])
def test_ids_of_other_services_mean_the_default(name: str):
    assert make_catalog("a", "b", default="b").resolve(name).id == "b"


def test_an_id_beats_a_shipped_alias():
    assert make_catalog("a", "gpt-image-1").resolve("gpt-image-1").id == "gpt-image-1"


def test_a_configured_alias_beats_a_shipped_one():
    catalog = make_catalog("a", "b", aliases={"gpt-image-1": "b"})
    assert catalog.resolve("gpt-image-1").id == "b"
    assert catalog.resolve("gpt-image-2").id == "a"


def test_an_id_beats_a_configured_alias():
    assert make_catalog("a", "b", aliases={"a": "b"}).resolve("a").id == "a"


def test_a_configured_id_beats_a_backend_s_own():
    mine = ConfiguredModel("a", [ConfiguredBackend("fake", "b")], "mine")
    catalog = make_catalog("a", "b", configured=[mine])
    assert (catalog.resolve("a").spec.id, catalog.resolve("a").description) == ("b", "mine")
    assert catalog.resolve("b").spec.id == "b"
    assert len(catalog.list()) == 2


def test_an_exact_alias_beats_a_wildcard():
    assert make_catalog("a", "b", aliases={"x-*": "a", "x-1": "b"}).resolve("x-1").id == "b"


def test_the_longest_wildcard_wins():
    catalog = make_catalog("a", "b", "c", aliases={"*": "a", "x-*": "b", "x-large-*": "c"})
    assert [catalog.resolve(name).id for name in ("x-large-1", "x-1", "y", "x-")] == ["c", "b", "a", "b"]


def test_a_star_elsewhere_is_a_star():
    catalog = make_catalog("a", aliases={"x*y": "a"})
    assert catalog.resolve("x*y").id == "a"
    with pytest.raises(ModelNotFound):
        catalog.resolve("xzy")


def test_a_configured_model_has_the_spec_s_description_unless_it_has_its_own():
    catalog = make_catalog("a", configured=[ConfiguredModel("mine", [ConfiguredBackend("fake", "a")])])
    assert catalog.resolve("mine").description == FAKE_1.description


def test_the_default_comes_first_then_by_id():
    assert [entry.id for entry in make_catalog("b", "c", "a", default="c").list()] == ["c", "a", "b"]


def test_a_model_knows_its_aliases():
    catalog = make_catalog("a", "b", "gpt-image-1", aliases={"x": "b", "y-*": "b", "dall-e-*": "b"})
    shown = {entry.id: entry.aliases for entry in catalog.list()}
    assert shown["b"] == ("x", "y-*", "dall-e-*")
    assert shown["a"] == ("gpt-image-*", "chatgpt-image-latest")
    assert catalog.default.aliases == shown["a"]


def test_the_default_may_be_an_alias_of_one_s_own():
    assert make_catalog("a", "b", default="best", aliases={"best": "b"}).default.id == "b"


@pytest.mark.parametrize("default", ["c", "gpt-image-1", ""])
def test_a_default_that_is_not_there_is_said(default: str):
    with pytest.raises(ConfigurationError, match="There are: a, b") as refused:
        Catalog({"fake": [spec("a"), spec("b")]}, default_model=default)
    assert "default_model" in refused.value.message


def test_an_alias_that_leads_nowhere_is_said():
    with pytest.raises(ConfigurationError, match=r"aliases\.x: there is no model 'c'"):
        make_catalog("a", aliases={"x": "c"})


@pytest.mark.parametrize(("backend", "model"), [("fake", "c"), ("other", "a")])
def test_a_configured_model_of_nothing_is_said(backend: str, model: str):
    with pytest.raises(ConfigurationError, match="There are: fake/a"):
        make_catalog("a", configured=[ConfiguredModel("mine", [ConfiguredBackend(backend, model)])])


def test_two_backends_with_the_same_model_are_refused():
    with pytest.raises(ConfigurationError, match="'one' and 'two' both have 'a'"):
        Catalog({"one": [spec("a")], "two": [spec("a")]}, default_model="a")


def test_no_model_at_all_is_said():
    with pytest.raises(ConfigurationError, match="There are: none"):
        Catalog({}, default_model="a")
