"""The header of a prompt that is far, there and back."""

import pytest

from pinxit.api.familiarity import header_value, read_header_value
from pinxit.backends.interface import Familiarity


@pytest.mark.parametrize(
    ("nearest", "similarity", "value"),
    [
        ("otter", 0.412, b'far; nearest="otter"; similarity=0.412'),
        ('a "b" \\ c; d="e"', -0.5, rb'far; nearest="a \"b\" \\ c; d=\"e\""; similarity=-0.500'),
        ("100%", 1, b'far; nearest="100%"; similarity=1.000'),
        ("für 🦦 %41", 0.0, b'far; nearest=%"f%c3%bcr %f0%9f%a6%a6 %2541"; similarity=0.000'),
        ('«"»', 0.25, b'far; nearest=%"%c2%ab%22%c2%bb"; similarity=0.250'),
    ],
)
def test_what_was_said_can_be_read(nearest: str, similarity: float, value: bytes) -> None:
    said = Familiarity(nearest, similarity, known=False)
    assert header_value(said) == value
    assert read_header_value(value.decode("ascii")) == said


@pytest.mark.parametrize(
    "value",
    [
        "",
        "far",
        'near; nearest="otter"; similarity=0.4',
        "far; nearest=otter; similarity=0.4",
        'far; nearest="otter"; similarity=nan',
        'far; nearest="otter"; similarity=1.5',
        'far; nearest=""; similarity=0.5',
        r'far; nearest="\q"; similarity=0.5',
        r'far; nearest="\n"; similarity=0.5',
        'far; nearest=%"%ff"; similarity=0.5',
        'far; nearest=%"%0a"; similarity=0.5',
        f'far; nearest="{"o" * 201}"; similarity=0.5',
        'far; nearest="otter"; similarity=0.5; more',
    ],
)
def test_what_is_no_such_header_says_nothing(value: str) -> None:
    assert read_header_value(value) is None


@pytest.mark.parametrize(
    ("nearest", "similarity"),
    [("", 0.0), ("two\nlines", 0.0), ("o" * 201, 0.0), ("otter", 1.01), ("otter", float("nan"))],
)
def test_what_cannot_be_shown_in_a_line_is_none(nearest: str, similarity: float) -> None:
    with pytest.raises(ValueError, match=r"nearest is|similarity is"):
        Familiarity(nearest, similarity, known=False)
