"""Cutting pictures out of an answer gives what parsing all of it would give."""

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pinxit.backends.upstream._answers import _LEAST_CUT_CHARACTERS, Answer
from pinxit.errors import BackendError

KEYS = ("b64_json", "image.data")
LONG = base64.b64encode(bytes(range(256)) * 4).decode()
texts = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ['"b64_json":"', '\\"b64_json\\":\\"', 'x"b64_json', "b64_json", LONG, LONG[:-1] + "\\", "A" * 1023, "A" * 1024]
    ),
    st.sampled_from(["\\", '"', "/", "\n", "ö", "\u2028", "\U0001f98a"]).map(lambda odd: LONG + odd + LONG),
    st.sampled_from(["\\", '"', "/", "ö"]).map(lambda odd: LONG + odd),
)
names = st.one_of(st.sampled_from([*KEYS, 'x"b64_json', "b64_json\\", "url"]), st.text(max_size=5))
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(names, inner, max_size=4)),
    max_leaves=12,
)


def whole(answer: Answer, found: Any) -> Any:
    """With what was cut out put back."""
    if isinstance(found, str):
        return bytes(answer._cut[found]).decode() if found in answer._cut else found
    if isinstance(found, list):
        return [whole(answer, item) for item in found]
    if isinstance(found, dict):
        return {name: whole(answer, item) for name, item in found.items()}
    return found


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    document=documents,
    indent=st.sampled_from([None, 0, 2, "\t"]),
    separators=st.sampled_from([(",", ":"), (" , ", " : "), (",\r\n", ":\n ")]),
    is_ascii=st.booleans(),
    escapes_slashes=st.booleans(),
)
@example({'x"b64_json': LONG}, None, (",", ":"), False, False)
@example({"b64_json": [LONG, LONG]}, 2, (",", ":"), False, True)
@example(
    {"prompt": '"b64_json":"' + LONG, "b64_json": LONG + '"', "z": {"b64_json": LONG}}, None, (",", ":"), True, True
)
def test_it_is_what_parsing_all_of_it_gives(
    document: Any, indent: Any, separators: tuple[str, str], is_ascii: bool, escapes_slashes: bool
):
    text = json.dumps(document, indent=indent, separators=separators, ensure_ascii=is_ascii)
    if escapes_slashes:
        text = text.replace("/", "\\/")
    answer = Answer(200, {}, text.encode(), KEYS)
    assert whole(answer, answer.json) == json.loads(text)


def test_a_picture_is_cut_out_and_its_bytes_are_found():
    picture = bytes(range(256)) * 100
    text = base64.b64encode(picture).decode()
    answer = Answer(200, {}, json.dumps({"data": [{"b64_json": text}, {"b64_json": text[4:]}]}).encode(), KEYS)
    first, second = (datum["b64_json"] for datum in answer.json["data"])
    assert len(first) < 40
    assert (answer.picture(first), answer.picture(second)) == (picture, picture[3:])


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,", "data:image/png;charset=x;base64,"])
@pytest.mark.parametrize("size", [10, _LEAST_CUT_CHARACTERS])
def test_data_urls_line_ends_and_missing_padding_are_understood(prefix: str, size: int):
    picture = bytes(range(251)) * (size // 100 + 1)
    text = base64.encodebytes(picture).decode().rstrip("=\n")
    answer = Answer(200, {}, json.dumps({"b64_json": prefix + text}).encode(), KEYS)
    assert answer.picture(answer.json["b64_json"]) == picture


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"b64_json": "' + b"A" * 5000, b"[" * 100_000, b"\xff\xfe\x00"])
def test_what_is_no_json_is_an_error_of_the_painter(body: bytes):
    with pytest.raises(BackendError):
        _ = Answer(200, {}, body, KEYS).json


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=40), st.integers(0, 1400))
def test_random_bytes_around_a_picture_raise_nothing_else(junk: bytes, place: int):
    body = b'{"b64_json": "' + LONG.encode() + b'"}'
    answer = Answer(200, {}, body[:place] + junk + body[place:], KEYS)
    try:
        document = answer.json
        if isinstance(document, dict) and isinstance(document.get("b64_json"), str):
            answer.picture(document["b64_json"])
    except BackendError:
        pass
    assert isinstance(answer.message(), str)


def test_the_message_of_an_error_is_found_and_a_page_is_not_shown():
    said = {"error": {"message": "too\nlong"}}
    assert Answer(400, {"content-type": "application/json"}, json.dumps(said).encode()).message() == "too long"
    assert Answer(400, {"content-type": "text/html"}, b"<html>secret").message() == ""
    assert len(Answer(400, {"content-type": "text/plain"}, b"x" * 9999).message()) == 400


@given(st.binary(min_size=1, max_size=40), st.sampled_from(["", "data:image/png;base64,"]))
def test_base64_as_any_encoder_writes_it_can_be_passed_on(data: bytes, prefix: str):
    text = base64.b64encode(data).decode()
    found, source = Answer(200, {}, b"").decoded(prefix + text)
    assert found == data
    assert source is not None
    assert bytes(source).decode() == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("QR==", id="bits that mean nothing"),
        pytest.param("QQ", id="without its padding"),
        pytest.param("QU\nFB", id="with a line end"),
    ],
)
def test_base64_that_some_readers_refuse_is_not_passed_on(text: str):
    found, source = Answer(200, {}, b"").decoded(text)
    assert found == base64.b64decode(text + "==")
    assert source is None
