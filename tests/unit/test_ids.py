import re
import uuid

import pytest

from pinxit import ids


def test_an_id_is_its_prefix_and_128_random_bits():
    made = {ids.new_id("gen") for _ in range(1000)}
    assert len(made) == 1000
    assert all(ids.GENERATION_ID.fullmatch(id_) for id_ in made)


def test_a_picture_s_name_is_a_uuid4_below_generated():
    name = ids.new_image_name("webp")
    found = re.fullmatch(r"generated/pinxit_(.{36})\.webp", name)
    assert found is not None
    assert uuid.UUID(found[1]).version == 4
    assert ids.new_image_name("webp") != name


@pytest.mark.parametrize("proposed", ["a", "A-Z_09", "x" * 64, "req_1"])
def test_a_harmless_request_id_is_kept(proposed: str):
    assert ids.request_id(proposed) == proposed


@pytest.mark.parametrize("proposed", [None, "", "x" * 65, "a b", "a\n", "a\0", "é", "a;b", "sk-" + "a" * 43])
def test_any_other_is_replaced(proposed: str | None):
    assert re.fullmatch("req_[0-9a-f]{32}", ids.request_id(proposed))


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("key sk-abcdef.", "key sk-…."),
        ("sk-proj-abc_DEF-123", "sk-…"),
        ("a sk-" + "x" * 43 + " b sk-" + "y" * 43, "a sk-… b sk-…"),
        ("xsk-" + "x" * 43, "xsk-…"),
        ("_sk-" + "x" * 43 + "tail", "_sk-…tail"),
        ("desk-lamps and disk-pressure", "desk-lamps and disk-pressure"),
        ("sk-abc", "sk-abc"),
        ("", ""),
    ],
)
def test_secrets_are_hidden(text: str, hidden: str):
    assert ids.hide_secrets(text) == hidden
