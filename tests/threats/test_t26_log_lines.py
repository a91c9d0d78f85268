"""T26: nobody writes a log line of their own: one event is one line of JSON, whatever a client sends."""

import json
import re

import pytest
from logged import Log

from asgi import call, scope_of
from front import Front
from pinxit.keys.model import Scope

EVIL = [
    'x\r\n{"event":"key_created","level":"info"}',
    'x\n{"event":"forged"}',
    "x\x1b[2K\x1b[1Aforged\x1b]0;title\x07",
    'x\u2028{"event":"forged"}\u2029y',
    'x\x85{"event":"forged"}',
    "x\x00\x08\x7f\x9b31mforged",
    'x","event":"forged","y":"',
    "x\ud800y",
    "\u202eforged",
]
LINE_BREAKS = re.compile("[\r\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


def percent(text: str) -> bytes:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass")).encode()


@pytest.mark.parametrize("text", EVIL, ids=ascii)
async def test_one_line_an_event(log: Log, front: Front, text: str):
    front.key = await front.make_key(scopes=tuple(Scope))
    latin = text.encode("utf-8", "surrogatepass")
    key = (b"authorization", front.key.encode())
    before = len(log.events())
    body = json.dumps({"prompt": text, "user": text, "size": "256x256", "model": "fake-1"}).encode()
    names = json.dumps({"prompt": "x", text: 1}).encode()
    models = json.dumps({"prompt": "x", "model": text}).encode()
    json_ = (b"content-type", b"application/json")
    hostile = [(name, latin) for name in (b"x-request-id", b"user-agent", b"referer", b"host", b"x-pinxit-generation")]

    for content in (body, names, models):
        await call(front.app, "POST", b"/v1/images/generations", [key, json_], content)
    await call(front.app, "GET", b"/v1/models/" + percent(text), [key, *hostile])
    await call(front.app, "GET", b"/image/" + percent(text), hostile)
    await call(front.app, "POST", b"/v1/images/generations", [key, json_, *hostile], body)
    await call(front.app, text, b"/v1/models", [key])

    events = log.events()
    assert len(events) - before >= 7
    assert {event["event"] for event in events} <= {"key_created", "request", "generation_completed"}
    assert LINE_BREAKS.search(log.getvalue()) is None
    assert sum(event["event"] == "key_created" for event in events[before:]) == 0
    log.getvalue().encode("utf-8")


async def test_a_long_path_is_cut(log: Log, front: Front):
    await call(front.app, "GET", b"/" + b"a" * 8000)
    assert len(log.events()[-1]["path"]) == 200


async def test_every_request_has_its_line(log: Log, front: Front):
    for path in ("/health/live", "/v1/models", "/nothing"):
        await call(front.app, "GET", path.encode())
    lines = [event for event in log.events() if event["event"] == "request"]
    assert [line["status"] for line in lines] == [200, 401, 404]
    line = lines[-1]
    assert (line["method"], line["path"], line["level"]) == ("GET", "/nothing", "info")
    assert line["request_id"].startswith("req_")
    assert line["timestamp"].endswith("Z")


async def test_a_client_that_hangs_up_while_it_sends_is_no_crash(log: Log, front: Front):
    from pinxit.keys.model import Scope

    front.key = await front.make_key(scopes=tuple(Scope))
    headers = [(b"authorization", front.key.encode()), (b"content-type", b"application/json")]
    sent = []

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    for target in ("/v1/images/generations", "/v1/keys"):
        await front.app(scope_of("POST", target.encode(), headers), receive, send)
    assert sent == []
    assert not [event for event in log.events() if event["level"] == "error"]
