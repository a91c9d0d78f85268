import inspect
import re

import pytest

from pinxit import errors
from pinxit.errors import ConfigurationError, InvalidValue, PinxitError, StartupError
from pinxit.runners.interface import PainterDied

CLASSES = [class_ for _, class_ in inspect.getmembers(errors, inspect.isclass) if class_.__module__ == errors.__name__]


@pytest.mark.parametrize("class_", CLASSES)
def test_the_docstring_is_the_message_and_a_sentence(class_: type[PinxitError]):
    error = class_()
    assert error.message == str(error) == (class_.__doc__ or "").strip()
    assert re.fullmatch(r"[A-Z].*\.", error.message)


@pytest.mark.parametrize("class_", CLASSES)
def test_a_message_of_one_s_own_beats_it(class_: type[PinxitError]):
    assert class_("It was so.").message == "It was so."


def test_the_drawing_at_the_top_names_every_class():
    drawn = re.findall(r"(?:[├└]── |^    )([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    assert sorted(drawn) == sorted(class_.__name__ for class_ in CLASSES)


def test_what_is_allowed_ends_the_message():
    assert InvalidValue("No.", param="n", allowed=[1, "b"]).message == "No. Allowed: 1, b."
    assert InvalidValue("No.", param="n").message == "No."


def test_a_class_of_another_module_has_a_name_that_rows_may_keep():
    assert PainterDied().class_name == "BackendUnavailable"
    assert ConfigurationError().class_name == "ConfigurationError"
    assert issubclass(ConfigurationError, StartupError)
