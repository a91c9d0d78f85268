import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from pinxit import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """What `configure` set is put back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


Output = pytest.CaptureFixture[str]


def lines(output: Output) -> list[dict[str, object]]:
    return [json.loads(line) for line in output.readouterr().err.splitlines()]


def test_an_event_is_a_line_of_json(capsys: Output):
    logs.configure("info", "json")
    structlog.get_logger("pinxit.test").info("painted", images=2, seconds=0.5, names=["a", None], more={"a": True})
    (line,) = lines(capsys)
    assert line.pop("timestamp")
    assert line == {
        "event": "painted",
        "level": "info",
        "logger": "pinxit.test",
        "images": 2,
        "seconds": 0.5,
        "names": ["a", None],
        "more": {"a": True},
    }


def test_standard_logging_goes_the_same_way(capsys: Output):
    logs.configure("info", "json")
    logging.getLogger("library").warning("%s is odd", "this")
    assert [(line["event"], line["level"]) for line in lines(capsys)] == [("this is odd", "warning")]


def test_below_the_level_nothing_is_logged(capsys: Output):
    logs.configure("warning", "json")
    structlog.get_logger("pinxit.test").info("painted")
    logging.getLogger("library").info("painted")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["uvicorn", "asyncio", "alembic"])
def test_chatty_libraries_are_heard_from_warnings_on(capsys: Output, name: str):
    logs.configure("debug", "json")
    logging.getLogger(name).info("chat")
    logging.getLogger(name).warning("listen")
    assert [line["event"] for line in lines(capsys)] == ["listen"]


def test_a_traceback_is_part_of_its_line(capsys: Output):
    logs.configure("info", "json")
    try:
        raise ValueError("sk-" + "a" * 43)
    except ValueError:
        structlog.get_logger("pinxit.test").exception("crashed")
    (line,) = lines(capsys)
    assert "ValueError: sk-…" in str(line["exception"])
    assert "aaaa" not in str(line)


def test_what_is_not_a_terminal_gets_json(capsys: Output):
    logs.configure("info", "auto")
    structlog.get_logger("pinxit.test").info("painted")
    assert lines(capsys)[0]["event"] == "painted"


def test_the_console_style_is_for_people(capsys: Output):
    logs.configure("info", "console")
    structlog.get_logger("pinxit.test").info("painted", text="a\nb\x1b[2Jc", key="sk-" + "a" * 43)
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    assert "\x1b[2J" not in text
    assert "aaaa" not in text


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\r\nb", "a\\r\\nb"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\u2028\u2029\x85", "\\u2028\\u2029\\x85"),
        ("\ud800", "\\ud800"),
        ("é🦦", "é🦦"),
        ("Bearer sk-" + "a" * 43, "Bearer sk-…"),
        ("x" * 5000, "x" * 4000),
    ],
)
def test_texts_are_scrubbed_wherever_they_are(text: str, clean: str):
    event = {"a": text, "b": [text, (text,)], "c": {"d": text}}
    assert logs.scrub(None, "info", event) == {"a": clean, "b": [clean, [clean]], "c": {"d": clean}}


def test_an_object_is_logged_as_its_text():
    assert logs.scrub(None, "info", {"a": ValueError("x\ny")}) == {"a": "x\\ny"}
