from typing import Any

import pytest

from pinxit.api.fields import Fields
from pinxit.errors import InvalidRequest, InvalidValue

pytestmark = pytest.mark.fast

READERS = {
    "text": lambda fields: fields.text("x", max_characters=5),
    "choice": lambda fields: fields.choice("x", ("a", "b")),
    "boolean": lambda fields: fields.boolean("x"),
    "integer": lambda fields: fields.integer("x", 0, 10),
    "number": lambda fields: fields.number("x", 0, 10),
    "object": lambda fields: fields.object("x"),
    "array": lambda fields: fields.array("x"),
}
RIGHT: dict[str, list[Any]] = {
    "text": ["", "abcde", "🦦🦦🦦🦦🦦"],
    "choice": ["a", "b"],
    "boolean": [True, False],
    "integer": [0, 10],
    "number": [0, 10, 2.5, -0.0],
    "object": [{}, {"a": 1}],
    "array": [[], [1, "a"]],
}
OF_EACH_TYPE: list[Any] = ["a", 1, 1.5, True, {}, []]
OUTSIDE: dict[str, list[Any]] = {
    "text": ["abcdef", "a\0", "\ud800", "\udfff"],
    "choice": ["c", "", "A", "a "],
    "integer": [-1, 11, 10**308],
    "number": [-0.1, 10.1, 10**308, -1e308],
}


@pytest.mark.parametrize(("reader", "value"), [(name, value) for name, values in RIGHT.items() for value in values])
def test_a_right_value_is_read(reader: str, value: Any):
    assert READERS[reader](Fields({"x": value})) == value


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("body", [{}, {"x": None}])
def test_null_is_the_same_as_absent(reader: str, body: dict[str, Any]):
    assert READERS[reader](Fields(body)) is None
    assert not Fields(body).is_set("x")


@pytest.mark.parametrize("reader", READERS)
def test_a_wrong_type_is_an_invalid_request(reader: str):
    fitting = {type(value) for value in RIGHT[reader]}
    for value in OF_EACH_TYPE:
        if type(value) not in fitting:
            with pytest.raises(InvalidRequest) as refused:
                READERS[reader](Fields({"x": value}))
            assert refused.value.param == "x"


@pytest.mark.parametrize(("reader", "value"), [(name, value) for name, values in OUTSIDE.items() for value in values])
def test_a_value_outside_is_an_invalid_value(reader: str, value: Any):
    with pytest.raises(InvalidValue) as refused:
        READERS[reader](Fields({"x": value}))
    assert refused.value.param == "x"


def test_unless_the_contract_says_otherwise():
    with pytest.raises(InvalidRequest):
        Fields({"x": 11}).integer("x", 0, 10, outside=InvalidRequest)
    with pytest.raises(InvalidRequest):
        Fields({"x": "long"}).text("x", max_characters=3, outside=InvalidRequest)


def test_a_refused_choice_is_shown_short_and_harmless():
    with pytest.raises(InvalidValue) as refused:
        Fields({"x": "\n\x1b" * 1000}).choice("x", ("a", "b"))
    assert len(refused.value.message) < 300
    assert "\n" not in refused.value.message
    assert "Allowed: a, b." in refused.value.message
