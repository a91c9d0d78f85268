import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pinxit.api.body import (
    MAX_DEPTH,
    MAX_KEYS,
    THREAD_FROM_BYTES,
    ClientDisconnected,
    echo,
    parse_json_object,
    read_body,
    read_json_object,
)
from pinxit.errors import InvalidRequest, Overloaded, PinxitError, RequestTooLarge, UnsupportedMediaType
from pinxit.limits.byte_budget import ByteBudget

pytestmark = pytest.mark.fast

JSON = (b"content-type", b"application/json")


def make_scope(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"type": "http", "headers": list(headers)}


def make_receive(*chunks: bytes, disconnect: bool = False) -> Callable[[], Awaitable[Mapping[str, Any]]]:
    """What an ASGI server hands out: these chunks, and then no more or, with `disconnect`, the end of the client."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    if disconnect:
        messages.append({"type": "http.disconnect"})
    elif messages:
        messages[-1]["more_body"] = False
    else:
        messages.append({"type": "http.request"})
    left = iter(messages)

    async def receive() -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return next(left)

    return receive


async def never_receive() -> Mapping[str, Any]:
    raise AssertionError("the body was asked for")


def parse_error(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as refused:
        parse_json_object(body)
    assert len(refused.value.message) < 300
    assert refused.value.message.isprintable()
    return refused.value


def nested(depth: int) -> bytes:
    """An object whose value makes it `depth` deep."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


# --- read_body ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", [(), (b"{}",), (b"{", b"", b"}"), (b"x" * 1000, b"y" * 24)])
async def test_the_body_is_the_chunks_and_counts_until_it_is_let_go(chunks: tuple[bytes, ...]):
    budget = ByteBudget(2048)
    async with read_body(make_scope(JSON), make_receive(*chunks), max_bytes=1024, budget=budget) as body:
        assert body == b"".join(chunks)
        assert budget.used_bytes == len(body)
    assert budget.used_bytes == 0


@pytest.mark.parametrize("length", [b"11", b"99999999999999999999999", b"0000011", b"9" * 5000])
async def test_a_body_too_long_by_its_content_length_is_never_asked_for(length: bytes):
    with pytest.raises(RequestTooLarge, match="10 bytes"):
        await read_json_object(
            make_scope(JSON, (b"content-length", length)), never_receive, max_bytes=10, budget=ByteBudget(100)
        )


@pytest.mark.parametrize("length", [b"-1", b"+5", b"", b"5a", b"0x5", "٣".encode(), b"1_0"])
async def test_a_content_length_that_is_none(length: bytes):
    with pytest.raises(InvalidRequest, match="Content-Length"):
        await read_json_object(
            make_scope(JSON, (b"content-length", length)), never_receive, max_bytes=10, budget=ByteBudget(100)
        )


async def test_a_body_too_long_by_count_is_refused_in_the_middle():
    budget = ByteBudget(100)
    with pytest.raises(RequestTooLarge):
        await read_json_object(make_scope(JSON), make_receive(b"x" * 10, b"y", b"z"), max_bytes=10, budget=budget)
    assert budget.used_bytes == 0


async def test_a_body_at_the_limit_is_read():
    body = b'{"prompt":"sea otter"}'
    read = await read_json_object(
        make_scope(JSON, (b"content-length", b"%d" % len(body))),
        make_receive(body),
        max_bytes=len(body),
        budget=ByteBudget(len(body)),
    )
    assert read == {"prompt": "sea otter"}


async def test_a_full_budget_refuses_and_keeps_nothing():
    budget = ByteBudget(100)
    with budget.reserve(95):
        with pytest.raises(Overloaded):
            await read_json_object(make_scope(JSON), make_receive(b"{}", b"    "), max_bytes=50, budget=budget)
        assert budget.used_bytes == 95


async def test_a_client_that_hangs_up():
    budget = ByteBudget(100)
    with pytest.raises(ClientDisconnected):
        await read_json_object(make_scope(JSON), make_receive(b"{", disconnect=True), max_bytes=50, budget=budget)
    assert budget.used_bytes == 0
    assert not issubclass(ClientDisconnected, PinxitError)


async def test_a_cancelled_reader_gives_its_bytes_back():
    budget = ByteBudget(100)
    waits = asyncio.Event()
    messages = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Mapping[str, Any]:
        if messages:
            return messages.pop()
        waits.set()
        return await asyncio.Future()

    task = asyncio.create_task(read_json_object(make_scope(JSON), receive, max_bytes=50, budget=budget))
    await waits.wait()
    assert budget.used_bytes == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert budget.used_bytes == 0


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/json",
        b"Application/JSON",
        b" application/json ; charset=UTF-8",
        b'application/json;charset="utf-8"',
        b"application/json; charset=utf8",
        b"application/json; version=1",
    ],
)
async def test_content_types_of_json(content_type: bytes):
    scope = make_scope((b"content-type", content_type), (b"content-encoding", b"identity"))
    assert await read_json_object(scope, make_receive(b"{}"), max_bytes=50, budget=ByteBudget(100)) == {}


@pytest.mark.parametrize(
    ("headers", "named"),
    [
        ([], "no Content-Type"),
        ([(b"content-type", b"text/plain")], "'text/plain'"),
        ([(b"content-type", b"application/jsonp")], "'application/jsonp'"),
        ([(b"content-type", b"application/json, text/html")], "text/html"),
        ([(b"content-type", b"application/json; charset=utf-16")], "utf-16"),
        ([JSON, JSON], "application/json, application/json"),
        ([(b"content-type", b"")], "not ''"),
        ([(b"content-type", b"\x1b[31m" + b"x" * 5000)], "\ufffd[31mxxx"),
        ([JSON, (b"content-encoding", b"gzip")], "'Content-Encoding: gzip'"),
        ([JSON, (b"content-encoding", b"identity, gzip")], "identity, gzip"),
    ],
)
async def test_other_media_types_are_refused_by_name(headers: list[tuple[bytes, bytes]], named: str):
    with pytest.raises(UnsupportedMediaType) as refused:
        await read_json_object(make_scope(*headers), never_receive, max_bytes=50, budget=ByteBudget(100))
    assert named in refused.value.message
    assert len(refused.value.message) < 220
    assert refused.value.message.isprintable()


async def test_a_large_body_is_parsed_off_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    calls: list[int] = []

    async def to_thread(function: Callable[[bytes], dict[str, Any]], body: bytes) -> dict[str, Any]:
        calls.append(len(body))
        return function(body)

    monkeypatch.setattr("pinxit.api.body.asyncio.to_thread", to_thread)
    for length in (THREAD_FROM_BYTES, THREAD_FROM_BYTES + 1):
        body = b'{"a":"' + b"x" * (length - 8) + b'"}'
        read = await read_json_object(make_scope(JSON), make_receive(body), max_bytes=10**6, budget=ByteBudget(10**6))
        assert len(read["a"]) == length - 8
    assert calls == [THREAD_FROM_BYTES + 1]


async def test_an_error_in_a_thread_comes_out_as_it_is():
    budget = ByteBudget(10**6)
    with pytest.raises(InvalidRequest, match="not valid JSON"):
        await read_json_object(make_scope(JSON), make_receive(b"{" + b" " * 100_000), max_bytes=10**6, budget=budget)
    assert budget.used_bytes == 0


# --- parse_json_object ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "says", "param"),
    [
        (b"", "empty", ""),
        (b" \n\t", "empty", ""),
        (b"\xef\xbb\xbf", "byte order mark", ""),
        (b'\xef\xbb\xbf{"a":1}', "byte order mark", ""),
        (b'{"a":"\xff"}', "not UTF-8 (line 1, column 7)", ""),
        (b'{\n"\xc3\xa9":"\xed\xa0\x80"}', "not UTF-8 (line 2, column 6)", ""),
        ('{"a":1}'.encode("utf-16"), "not UTF-8", ""),
        ('{"a":1}'.encode("utf-16-le"), "not valid JSON", ""),
        (b'{"a":1', "(line 1, column 7)", ""),
        (b'{"a":"b', "Unterminated string", ""),
        (b'{\n "a":1,\n "b" 2}', "(line 3, column 6)", ""),
        (b'{"a":1}{}', "Extra data", ""),
        (b"{'a':1}", "double quotes", ""),
        (b'{"a":"\x00"}', "control character", ""),
        (b'{"a":"\n"}', "control character", ""),
        (b'{"a":"\\x"}', "escape", ""),
        (b'{"a":01}', "not valid JSON", ""),
        ('{"n":٣}'.encode(), "not valid JSON", ""),
        (b"\\" * 1000 + b'"[[[', "not valid JSON", ""),
        (b"[1]", "an array", ""),
        (b'"x"', "a string", ""),
        (b"null", "null", ""),
        (b"true", "true or false", ""),
        (b"1.5", "a number", ""),
        (b'{"a":1,"b":2,"a":3}', "'a' is there twice", "a"),
        (b'{"o":{"seed":1,"seed":1}}', "'seed'", "seed"),
        (b'{"a":1,"\\u0061":1}', "'a'", "a"),
        (b'{"n":NaN}', "'n': NaN", "n"),
        (b'{"n":-Infinity}', "'n': -Infinity", "n"),
        (b'{"a":[1,Infinity]}', "'a': Infinity", "a"),
        (b'{"a":[[NaN]],"b":1}', "NaN is not", ""),
        (b'{"a":[[NaN]],"b":1e999}', "'b': 1e999", "b"),
        (b"[NaN]", "NaN is not", ""),
        (b'{"seed":1e309}', "range of a double", "seed"),
        (b'{"n":' + b"9" * 309 + b"}", "308 characters", "n"),
        (b'{"n":' + b"9" * 5000 + b"}", "308 characters", "n"),
        (b'{"n":-1.' + b"9" * 5000 + b"}", "308 characters", "n"),
        (b'{"\\ud800\\u0007\\u202e":NaN}', "'\ufffd\ufffd\ufffd'", "\ufffd\ufffd\ufffd"),
        (b"[" * 100_000, "deeper than 32 (line 1, column 33)", ""),
        (b'{"a":' * 100_000, "deeper than 32 (line 1, column 161)", ""),
        (b'\n{"a":"[[[",\n "\xc3\xa9": ' + b"[" * 40, "deeper than 32 (line 3, column 38)", ""),
        (b'{"a":[' + b"[]," * 20_000 + b"[" * 40, "deeper than 32", ""),
        (nested(MAX_DEPTH + 1), "deeper than 32", ""),
        (b"{" + b",".join(b'"%d":1' % i for i in range(MAX_KEYS + 1)) + b"}", "1001 keys", ""),
    ],
)
def test_what_is_refused_says_where(body: bytes, says: str, param: str):
    error = parse_error(body)
    assert says in error.message
    assert error.param == param


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"{}", {}),
        (b' {"a" : [1, -2.5e3, true, null, "\xc3\xa9"] }\r\n', {"a": [1, -2500.0, True, None, "é"]}),
        (b'{"n":1e308}', {"n": 1e308}),
        (b'{"n":' + b"9" * 308 + b"}", {"n": int("9" * 308)}),
        (b'{"prompt":"\\ud800"}', {"prompt": "\ud800"}),
        (b'{"prompt":"\\u0000"}', {"prompt": "\0"}),
        (b'{"a":"' + b"[" * 100 + b'"}', {"a": "[" * 100}),
        (b'{"a":"\\"' + b"[" * 100 + b'\\\\"}', {"a": '"' + "[" * 100 + "\\"}),
        (b'{"a":[' + b"[]," * 100 + b'"["]}', {"a": [[]] * 100 + ["["]}),
    ],
)
def test_what_is_read(body: bytes, value: dict[str, object]):
    assert parse_json_object(body) == value


def test_the_deepest_object_that_is_read():
    value = parse_json_object(nested(MAX_DEPTH))["a"]
    for _ in range(MAX_DEPTH - 2):
        value = value[0]
    assert value == []


@pytest.mark.parametrize("key", ["\x1b[31m" * 100, "x" * 10_000, "\ud800\u2028\u0085", "é" * 101])
def test_a_long_or_strange_key_is_echoed_harmlessly(key: str):
    error = parse_error(json.dumps({key: math.nan}).encode())
    assert 0 < len(error.param) <= 100
    assert (error.param + error.message).isprintable()
    (error.param + error.message).encode("utf-8")


def test_echo_keeps_what_is_harmless():
    assert echo(b"gzip") == "gzip"
    assert echo("é" * 100) == "é" * 100
    assert echo("a" * 101) == "a" * 99 + "…"
    assert echo(b"\xff\r\n") == "\ufffd\ufffd\ufffd"


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.booleans())
def test_every_plain_object_is_read_as_json_reads_it(value: dict[str, object], ascii_only: bool):
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8")
    assert parse_json_object(body) == value == json.loads(body)


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(alphabet='{}[]":,\\ \n0123456789.eE-+nultrfasNIiy\ud800é', max_size=200).map(
            lambda text: text.encode("utf-8", "surrogatepass")
        ),
        st.tuples(st.dictionaries(st.text(), JSON_VALUES, max_size=5), st.integers(0, 300), st.binary(max_size=3)).map(
            lambda parts: (body := json.dumps(parts[0]).encode())[: parts[1]] + parts[2] + body[parts[1] :]
        ),
    )
)
def test_nothing_else_ever_comes_out_than_an_object_or_a_refusal(body: bytes):
    refusal = None
    try:
        value = parse_json_object(body)
    except InvalidRequest as error:
        refusal = error
    if refusal is None:
        assert value == json.loads(body)
    else:
        assert len(refusal.message) < 400
        assert (refusal.message + refusal.param).isprintable()


@given(st.text(alphabet='[]{}"\\a', max_size=80))
def test_depth_is_seen_before_a_parser_could_recurse(text: str):
    """Inside a string nothing counts; outside, whatever else is wrong, depth 33 is never parsed."""
    assert parse_json_object(json.dumps({"a": text}).encode()) == {"a": text}
    assert "deeper" in parse_error(b'{"a":[' + json.dumps(text).encode() + b"," + b"[" * MAX_DEPTH).message


@pytest.mark.parametrize("piece", [b"A", b"\\n", b"\\\\", b'\\"', b'","', b"[]", b"1,", b"[", b'"', b"{", b"\\"])
def test_time_grows_with_length_only(piece: bytes):
    """Three times as long takes at most about three times as long, whatever is repeated (8 leaves room for noise)."""

    def seconds(length: int) -> float:
        body = (b'{"a":["' if piece[:1] in b'A\\"' else b'{"a":[') + piece * (length // len(piece))
        times = []
        for _ in range(3):
            began = time.thread_time()
            with pytest.raises(InvalidRequest):
                parse_json_object(body)
            times.append(time.thread_time() - began)
        return min(times)

    assert seconds(300_000) <= 8 * seconds(100_000) + 0.005
