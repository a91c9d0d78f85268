"""The thirty bad inputs of docs/reliability.md §7, as far as there is something to refuse them with.

Rows 23 and 24 and the connection's side of 21 are in tests/unit/api/test_guard.py; 27, 28 and 29 wait for credits, rate
limits and idempotency.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from front import Front
from pinxit.database.tables import generations
from pinxit.keys.model import Scope
from pinxit.keys.service import local_caller

GENERATIONS = "/v1/images/generations"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Bad:
    """One row of the table. `body`: bytes as they are, anything else as JSON; `auth`: see `credentials`."""

    row: int
    name: str
    status: int
    type: str
    param: str = ""
    body: Any = None
    auth: str = "good"
    method: str = "POST"
    path: str = GENERATIONS
    headers: Mapping[str, str] = field(default_factory=dict)
    answer: Mapping[str, str] = field(default_factory=dict)
    """Headers that the answer must have."""
    says: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.row}-{self.name}"


def denied(
    row: int, name: str, *, auth: str, status: int = 401, type: str = "authentication_error", **more: Any
) -> Bad:
    return Bad(row, name, status, type, body={"prompt": "x"}, auth=auth, **more)


def unreadable(row: int, name: str, body: bytes, param: str = "", **more: Any) -> Bad:
    return Bad(row, name, 400, "invalid_request_error", param, body, **more)


def wrong(row: int, name: str, param: str, **fields: Any) -> Bad:
    """400 for a JSON body."""
    return Bad(row, name, 400, "invalid_request_error", param, {"prompt": "x", **fields})


def bad_value(row: int, name: str, param: str, *says: str, **fields: Any) -> Bad:
    """422 for a JSON body."""
    return Bad(row, name, 422, "invalid_value", param, {"prompt": "x", **fields}, says=says)


def no_model(row: int, name: str, model: str) -> Bad:
    return Bad(row, name, 404, "model_not_found", "model", {"prompt": "x", "model": model})


def media(row: int, name: str, **headers: str) -> Bad:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return Bad(row, name, 415, "unsupported_media_type", body=b'{"prompt":"x"}', headers=named)


def nothing_at(row: int, path: str, method: str = "GET") -> Bad:
    return Bad(row, f"{method} {path}", 404, "not_found_error", path=path, method=method)


def not_allowed(row: int, method: str, path: str, allow: str) -> Bad:
    return Bad(row, f"{method} {path}", 405, "method_not_allowed", path=path, method=method, answer={"allow": allow})


SIZES = ("256x256", "512x512", "1024x1024", "1024x1536", "1536x1024", "3:2")
TABLE = [
    denied(1, "no key", auth="none", answer={"www-authenticate": "Bearer"}),
    denied(2, "unknown key", auth="unknown"),
    denied(2, "revoked key", auth="revoked"),
    denied(2, "expired key", auth="expired"),
    denied(2, "7 KiB of junk", auth="junk"),
    denied(2, "not ASCII", auth="not ascii"),
    denied(2, "a bare scheme", auth="bare scheme"),
    denied(3, "two keys", auth="two", status=400, type="invalid_request_error"),
    denied(3, "two keys, one as x-api-key", auth="two headers", status=400, type="invalid_request_error"),
    denied(4, "no such scope", auth="scopeless", status=403, type="permission_error", says=("images:write",)),
    denied(4, "another model's key", auth="modelless", status=403, type="permission_error", param="model"),
    unreadable(5, "cut JSON", b'{"prompt": "x'),
    unreadable(5, "empty body", b""),
    unreadable(5, "white space", b" \n\t"),
    unreadable(5, "invalid UTF-8", b'{"prompt": "\xff\xfe"}'),
    unreadable(5, "byte order mark", b'\xef\xbb\xbf{"prompt": "x"}'),
    unreadable(5, "only a byte order mark", b"\xef\xbb\xbf"),
    unreadable(5, "something behind it", b'{"prompt": "x"} {}'),
    unreadable(6, "array", b"[1]"),
    unreadable(6, "string", b'"x"'),
    unreadable(6, "null", b"null"),
    unreadable(6, "number", b"1"),
    unreadable(7, "key twice", b'{"prompt": "x", "n": 1, "n": 2}', "n"),
    unreadable(7, "key twice, once escaped", b'{"prompt": "x", "n": 1, "\\u006e": 2}', "n"),
    unreadable(7, "NaN", b'{"prompt": "x", "n": NaN}', "n"),
    unreadable(7, "Infinity", b'{"prompt": "x", "guidance_scale": Infinity}', "guidance_scale"),
    unreadable(7, "-Infinity", b'{"prompt": "x", "guidance_scale": -Infinity}', "guidance_scale"),
    unreadable(8, "100 000 deep", b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", says=("32",)),
    unreadable(8, "33 deep", b'{"prompt": "x", "extra": ' + b"[" * 32 + b"]" * 32 + b"}", says=("32",)),
    Bad(9, "no prompt", 400, "invalid_request_error", "prompt", {"n": 1}),
    wrong(10, "empty prompt", "prompt", prompt=""),
    wrong(10, "white space", "prompt", prompt=" \t\n\u3000\u00a0"),
    wrong(10, "zero width", "prompt", prompt="\u200b\u200d\ufeff\u2060"),
    wrong(11, "prompt an object", "prompt", prompt={"text": "x"}),
    wrong(11, "prompt a number", "prompt", prompt=1),
    wrong(11, "prompt null", "prompt", prompt=None),
    wrong(11, "prompt an array", "prompt", prompt=["x"]),
    wrong(12, "32 001 characters", "prompt", prompt="x" * 32_001),
    wrong(12, "32 001 characters beyond the BMP", "prompt", prompt="🦦" * 32_001),
    wrong(13, "U+0000", "prompt", prompt="a\x00b"),
    unreadable(13, "high surrogate", b'{"prompt": "a\\ud800b"}', "prompt"),
    unreadable(13, "low surrogate", b'{"prompt": "a\\udfffb"}', "prompt"),
    wrong(14, "n 0", "n", n=0),
    wrong(14, "n -1", "n", n=-1),
    wrong(15, "n 11", "n", n=11),
    unreadable(15, "n 1e308", b'{"prompt": "x", "n": 1e308}', "n"),
    unreadable(15, "n of 309 digits", b'{"prompt": "x", "n": ' + b"9" * 309 + b"}", "n"),
    unreadable(15, "n 1e999", b'{"prompt": "x", "n": 1e999}', "n"),
    wrong(16, "n a string", "n", n="2"),
    wrong(16, "n 1.5", "n", n=1.5),
    wrong(16, "n true", "n", n=True),
    wrong(16, "n an array", "n", n=[1]),
    bad_value(17, "half a size", "size", *SIZES, size="1024x"),
    bad_value(17, "too large", "size", *SIZES, size="99999x99999"),
    bad_value(17, "negative", "size", *SIZES, size="-1x-1"),
    bad_value(17, "Arabic-Indic digits", "size", *SIZES, size="١٠٢٤x١٠٢٤"),
    bad_value(17, "white space", "size", *SIZES, size=" 256x256"),
    bad_value(17, "leading zero", "size", *SIZES, size="0256x256"),
    bad_value(17, "a size of other models", "size", *SIZES, size="1792x1024"),
    bad_value(17, "a ratio of other models", "size", *SIZES, size="21:9"),
    bad_value(17, "10 kB", "size", size="1" * 10_000),
    no_model(18, "no such model", "no-such"),
    no_model(18, "traversal", "../../etc"),
    no_model(18, "10 kB", "m" * 10_240),
    no_model(18, "empty", ""),
    bad_value(19, "output_format jpg", "output_format", "jpeg", output_format="jpg"),
    bad_value(19, "output_format gif", "output_format", "png", output_format="gif"),
    bad_value(19, "output_format svg", "output_format", "png", output_format="svg"),
    bad_value(19, "response_format jpg", "response_format", "b64_json", response_format="jpg"),
    bad_value(19, "contradiction", "response_format", output_format="url", response_format="b64_json"),
    *[
        wrong(20, name, name, **{name: "http://127.0.0.1:9/"})
        for name in ("api_base", "base_url", "headers", "api_key", "extra_body", "extra_headers", "url_idx", "proxy")
    ],
    wrong(20, "an unknown field", "colour_of_money", colour_of_money=1),
    Bad(21, "by Content-Length", 413, "request_too_large", body=b'{"prompt":"' + b"x" * MIB + b'"}'),
    Bad(21, "by count", 413, "request_too_large", body=b'{"prompt":"' + b"x" * MIB + b'"}', auth="good, chunked"),
    Bad(21, "by a lie", 413, "request_too_large", body=b"{}", headers={"content-length": "9" * 30}),
    Bad(21, "by no number", 400, "invalid_request_error", body=b"{}", headers={"content-length": "+2"}),
    media(22, "text", content_type="text/plain"),
    media(22, "form", content_type="application/x-www-form-urlencoded"),
    media(22, "multipart", content_type="multipart/form-data; boundary=x"),
    media(22, "none"),
    media(22, "another charset", content_type="application/json; charset=utf-16"),
    media(22, "gzip", content_type="application/json", content_encoding="gzip"),
    not_allowed(25, "GET", GENERATIONS, "POST"),
    not_allowed(25, "TRACE", GENERATIONS, "POST"),
    not_allowed(25, "PUT", GENERATIONS, "POST"),
    not_allowed(25, "POST", "/v1/models", "GET"),
    not_allowed(25, "POST", "/v1/images", "GET"),
    not_allowed(25, "PUT", "/v1/keys", "GET, POST"),
    not_allowed(25, "PUT", "/v1/keys/key_" + "0" * 32, "DELETE, GET, PATCH"),
    not_allowed(25, "PATCH", "/v1/images/img_" + "0" * 32, "DELETE, GET"),
    not_allowed(25, "POST", "/image/generated/x.png", "GET, HEAD"),
    not_allowed(25, "DELETE", "/health/live", "GET"),
    nothing_at(26, "/v1/imagess/generations", "POST"),
    nothing_at(26, "/v1/images/generations/", "POST"),
    nothing_at(26, "//v1/images/generations", "POST"),
    nothing_at(26, "/v1//images/generations", "POST"),
    nothing_at(26, "/V1/images/generations", "POST"),
    nothing_at(26, "/v1/%2e%2e/admin"),
    nothing_at(26, "/v1/keys/"),
    nothing_at(26, "/v1/images/"),
    nothing_at(26, "/v1/generation"),
    nothing_at(26, "/"),
    nothing_at(30, "/image/..%2f..%2fpinxit.db"),
    nothing_at(30, "/image/generated%2Fpinxit_00000000-0000-4000-8000-000000000000.png"),
    nothing_at(30, "/v1/images/img_" + "0" * 32),
    nothing_at(30, "/v1/generations/gen_" + "0" * 32),
    nothing_at(30, "/v1/images/img_" + "0" * 32, "DELETE"),
]


def test_every_row_is_there():
    later = {27, 28, 29}
    elsewhere = {23, 24}
    assert {bad.row for bad in TABLE} == set(range(1, 31)) - later - elsewhere


@pytest.mark.parametrize("bad", TABLE, ids=str)
async def test_bad_input(wire: Front, bad: Bad):
    await wire.generate()
    before = await painted(wire)
    credentials = await credentials_of(wire, bad.auth)

    response = await send(wire, bad, credentials)

    error = response.json()["error"]
    assert (response.status_code, error["type"], error["param"]) == (bad.status, bad.type, bad.param)
    assert set(error) == {"message", "type", "param", "code"}
    assert type(error["code"]) is int
    assert error["code"] == response.status_code
    assert isinstance(error["message"], str)
    assert error["message"]
    for text in bad.says:
        assert text in error["message"]
    assert_has(response, bad)
    assert not any(key in response.text or key in str(response.headers) for key in [wire.key, *secrets(credentials)])
    assert await painted(wire) == before, "something was painted or kept"


async def painted(front: Front) -> tuple[int, int, int]:
    return len(front.backend.orders), len(await front.rows(generations)), len(front.files())


def assert_has(response: httpx2.Response, bad: Bad) -> None:
    headers = response.headers
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"].startswith("req_")
    assert ("www-authenticate" in headers) == (bad.status == 401)
    assert (headers.get("connection") == "close") == (bad.status == 413)
    assert "retry-after" not in headers
    for name, value in bad.answer.items():
        assert ", ".join(sorted(headers[name].split(", "))) == value


async def send(front: Front, bad: Bad, credentials: list[tuple[str, bytes]]) -> httpx2.Response:
    is_raw = isinstance(bad.body, bytes)
    content = bad.body if is_raw else json.dumps(bad.body).encode() if bad.body is not None else None
    headers = [(name, value.encode()) for name, value in bad.headers.items()]
    if content is not None and bad.row != 22:
        headers.append(("content-type", b"application/json"))
    if bad.auth.endswith("chunked"):
        content = in_chunks(bad.body)
    # `raw_path` keeps a path as it is; httpx would tidy it up.
    url = httpx2.URL("http://127.0.0.1:8000", raw_path=bad.path.encode())
    return await front.client.request(bad.method, url, content=content, headers=[*headers, *credentials])


async def in_chunks(body: bytes):
    for start in range(0, len(body), 65_536):
        yield body[start : start + 65_536]


def secrets(credentials: list[tuple[str, bytes]]) -> list[str]:
    return [value.decode("latin-1").removeprefix("Bearer ") for _, value in credentials if b"sk-" in value]


async def credentials_of(front: Front, kind: str) -> list[tuple[str, bytes]]:
    """The headers that make somebody this kind of caller."""
    match kind:
        case "none":
            return []
        case "unknown":
            return [("authorization", b"Bearer sk-" + b"A" * 43)]
        case "revoked":
            key = await front.make_key(name="doomed")
            keys = front.house.services.keys
            caller = local_caller("acct_default")
            await keys.revoke(caller, (await keys.list(caller))[0].id)
            return [("authorization", f"Bearer {key}".encode())]
        case "expired":
            key = await front.make_key(expires_at=datetime.now(UTC) - timedelta(seconds=1))
            return [("authorization", f"Bearer {key}".encode())]
        case "junk":
            return [("authorization", b"Bearer " + b"j" * 7 * 1024)]
        case "not ascii":
            return [("authorization", "Bearer sk-ключ".encode())]
        case "bare scheme":
            return [("authorization", b"Bearer")]
        case "two":
            other = await front.make_key()
            return [("authorization", f"Bearer {front.key}".encode()), ("authorization", other.encode())]
        case "two headers":
            other = await front.make_key()
            return [("authorization", f"Bearer {front.key}".encode()), ("x-api-key", other.encode())]
        case "scopeless":
            key = await front.make_key(scopes=(Scope.IMAGES_READ, Scope.MODELS_READ, Scope.USAGE_READ))
            return [("authorization", key.encode())]
        case "modelless":
            return [("authorization", (await front.make_key(models=("another",))).encode())]
    return [("authorization", f"Bearer {front.key}".encode())]
