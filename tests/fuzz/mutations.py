"""Requests that are almost right, each made from one number."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from pinxit.api.handlers import KEY_FIELDS
from pinxit.api.images import KNOWN

GENERATIONS = b"/v1/images/generations"
ZEROS = "0" * 32
JSON = (b"content-type", b"application/json")


@dataclass(frozen=True)
class Request:
    method: str = "GET"
    target: bytes = b"/"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    fields: dict[str, Any] | None = field(default=None, compare=False)
    """What the body was made of, while it still can be changed as a value."""


@dataclass(frozen=True)
class Known:
    """What there is in the house, so that requests can be about it."""

    key: str
    weak_key: str
    image: str
    picture: str
    generation: str
    key_id: str


NASTY_TEXTS = [
    "",
    " ",
    "\0",
    "\ud800",
    "\u200b",
    "\u202e",
    "x" * 33_000,
    "../../etc/passwd",
    "%00",
    "'\"\\",
    "{{7*7}}",
    "${x}",
    "null",
    "256x256",
    "auto",
    "fake-1",
    "url",
    "b64_json",
    "1e999",
    "١٠",
    "-1",
    "0",
    "🦦" * 100,
    "a\r\nb: c",
]
NASTY_NUMBERS = [0, -1, 1, 2, 10, 11, 2**31, 2**32, 2**53, 2**63, 2**64, 10**300, -(10**300), 0.5, -0.0, 1e-300, 1e300]
NASTY_VALUES: list[Any] = [None, True, False, [], {}, [[]], [None], {"": None}, {"a": {"b": [1]}}, *NASTY_NUMBERS]
FIELDS = sorted(KNOWN | KEY_FIELDS | {"width", "api_base"})
GOOD_VALUES: dict[str, Sequence[Any]] = {
    "model": ["fake-1", "gpt-image-1"],
    "prompt": ["a lighthouse", "🦦"],
    "n": [1, 2],
    "output_format": ["url", "b64_json", "png", "jpeg", "webp"],
    "response_format": ["url", "b64_json"],
    "size": ["256x256"],
    "quality": ["low", "auto"],
    "background": ["transparent", "opaque"],
    "output_compression": [0, 50, 100],
    "store": [True, False],
    "seed": [0, 1, 2**32 - 1],
    "steps": [1, 2],
    "guidance_scale": [1, 3.5],
    "style": ["vivid"],
    "usage": [{"include": True}],
    "scopes": [["images:read"], ["admin"]],
    "expires_at": [4_102_444_800],
}
HEADER_NAMES = [
    b"authorization",
    b"content-type",
    b"content-length",
    b"content-encoding",
    b"host",
    b"x-request-id",
    b"x-pinxit-generation",
    b"idempotency-key",
    b"prefer",
    b"range",
    b"if-range",
    b"if-none-match",
    b"x-api-key",
    b"x-forwarded-host",
    b"accept",
    b"expect",
    b"transfer-encoding",
    b"cookie",
    b"",
]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "", "get", "A" * 300, "É"]
HEADER_VALUES = [
    b"",
    b"*",
    b"bytes=0-1",
    b"bytes=-0",
    b"bytes=99999999999999999-",
    b"application/json; charset=utf-16",
    b"application/json;;;=",
    b"gzip",
    b"-1",
    b"9" * 400,
    b"1_0",
    b"\xff\xfe",
    b"\x00",
    b"x" * 9000,
    b"Bearer",
    b"Bearer  ",
    b"gen_" + b"0" * 32,
    b'W/"x"',
    b"a\r\nb: c",
    b"[::1]:99999999",
]
PIECES = [
    b"/",
    b"//",
    b"%2f",
    b"%2e%2e",
    b"%00",
    b"%",
    b"%zz",
    b"..",
    b";",
    b"?",
    b"&",
    b"=",
    b"#",
    b"\\",
    b"%ff",
    b"a" * 3000,
]
PIECES += [
    b"?limit=0",
    b"?limit=%D9%A3",
    b"?after=",
    b"?expires=1&signature=x",
    b"%F0%9F%A6%A6",
    b"v1",
    b"image",
    b"keys",
]


def request(seed: int, known: Known) -> Request:
    """The request that belongs to this number."""
    random = Random(seed)
    made = random.choice(STARTS)(random, known)
    for _ in range(random.choice((1, 1, 1, 2, 2, 3, 5, 8))):
        made = random.choices(MUTATIONS, WEIGHTS)[0](random, made)
    return made


def _with_body(method: str, target: bytes, known: Known, fields: dict[str, Any]) -> Request:
    headers = ((b"authorization", f"Bearer {known.key}".encode()), JSON)
    return Request(method, target, headers, encode(fields), fields)


def _generate(random: Random, known: Known) -> Request:
    return _with_body("POST", GENERATIONS, known, {"prompt": "a lighthouse", "size": "256x256"})


def _generate_much(random: Random, known: Known) -> Request:
    fields = {name: random.choice(values) for name, values in GOOD_VALUES.items() if random.random() < 0.4}
    return _with_body("POST", GENERATIONS, known, {"prompt": "an otter", "size": "256x256", **fields})


def _make_key(random: Random, known: Known) -> Request:
    return _with_body("POST", b"/v1/keys", known, {"name": "x", "scopes": ["images:read"], "strict": True})


def _change_key(random: Random, known: Known) -> Request:
    return _with_body("PATCH", f"/v1/keys/{known.key_id}".encode(), known, {"name": "y", "url_ttl_seconds": 60})


def _look(random: Random, known: Known) -> Request:
    paths = ["/v1/models", "/v1/models/fake-1", "/v1/images", "/v1/keys", "/openapi.json", "/health/ready"]
    paths += [f"/v1/images/{known.image}", f"/v1/generations/{known.generation}", f"/v1/keys/{known.key_id}"]
    paths += [f"/v1/images?after={known.image}&limit=3", f"/v1/images/img_{ZEROS}"]
    return Request("GET", random.choice(paths).encode(), ((b"authorization", known.key.encode()),))


def _fetch(random: Random, known: Known) -> Request:
    headers = ((b"range", b"bytes=0-99"), (b"if-none-match", b'"x"'))
    return Request(random.choice(("GET", "HEAD")), known.picture.encode(), random.choice((headers, ())))


def _weak(random: Random, known: Known) -> Request:
    made = random.choice((_generate, _look, _make_key))(random, known)
    return replace(made, headers=((b"authorization", known.weak_key.encode()), JSON))


STARTS: list[Callable[[Random, Known], Request]] = [
    _generate,
    _generate_much,
    _generate_much,
    _make_key,
    _change_key,
    _look,
    _fetch,
    _weak,
]


# --- mutations ------------------------------------------------------------------------------------------------------


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def _value(random: Random) -> Any:
    if random.random() < 0.5:
        return random.choice(NASTY_TEXTS)
    return random.choice(NASTY_VALUES)


def change_field(random: Random, made: Request) -> Request:
    fields = dict(made.fields or {})
    name = random.choice(list(fields) or FIELDS) if random.random() < 0.5 else random.choice(FIELDS)
    fields[name] = random.choice(GOOD_VALUES.get(name, [""])) if random.random() < 0.3 else _value(random)
    return replace(made, body=encode(fields), fields=fields)


def rename_field(random: Random, made: Request) -> Request:
    fields = dict(made.fields or {})
    if fields:
        name = random.choice(list(fields))
        new = random.choice(
            (name.upper(), name + " ", "", "\0", "\ud800", "x" * 5000, random.choice(FIELDS), name + "é")
        )
        fields[new] = fields.pop(name)
    return replace(made, body=encode(fields), fields=fields)


def remove_field(random: Random, made: Request) -> Request:
    fields = dict(made.fields or {})
    if fields:
        del fields[random.choice(list(fields))]
    return replace(made, body=encode(fields), fields=fields)


def wrap(random: Random, made: Request) -> Request:
    depth = random.choice((1, 2, 31, 33, 200, 5000))
    around = random.choice(((b"[", b"]"), (b'{"prompt":', b"}")))
    return replace(made, body=around[0] * depth + (made.body or b"1") + around[1] * depth)


def raw_json(random: Random, made: Request) -> Request:
    pieces = [
        b"NaN",
        b"-Infinity",
        b"1e999",
        b"1" * 400,
        b"01",
        b"+1",
        b"'x'",
        b'"\\ud800"',
        b'"\\x"',
        b"tru",
        b"//",
        b"",
    ]
    pieces += [b'{"n":1,"n":2}', b"\xef\xbb\xbf", b"\xff", b'"' + b"\\" * 99, b"[" * 99, b'{"prompt":"x",}']
    return replace(made, body=b'{"prompt":"x","size":"256x256","n":' + random.choice(pieces) + b"}")


def flip_bytes(random: Random, made: Request) -> Request:
    body = bytearray(made.body or b"{}")
    for _ in range(random.randint(1, 8)):
        body[random.randrange(len(body))] = random.randrange(256)
    return replace(made, body=bytes(body))


def cut_body(random: Random, made: Request) -> Request:
    return replace(made, body=made.body[: random.randint(0, len(made.body))])


def repeat_part(random: Random, made: Request) -> Request:
    body = made.body or b"{}"
    start, end = sorted((random.randrange(len(body)), random.randrange(len(body))))
    return replace(made, body=body[:end] + body[start:end] * random.choice((1, 2, 50)) + body[end:])


def change_header(random: Random, made: Request) -> Request:
    line = (random.choice(HEADER_NAMES), random.choice(HEADER_VALUES))
    kept = [pair for pair in made.headers if random.random() < 0.7 or pair[0] != line[0]]
    return replace(made, headers=(*kept, line))


def drop_header(random: Random, made: Request) -> Request:
    if not made.headers:
        return made
    lost = random.randrange(len(made.headers))
    return replace(made, headers=tuple(pair for index, pair in enumerate(made.headers) if index != lost))


def double_header(random: Random, made: Request) -> Request:
    return replace(made, headers=made.headers + made.headers[:1])


def change_target(random: Random, made: Request) -> Request:
    place = random.randint(0, len(made.target))
    return replace(made, target=made.target[:place] + random.choice(PIECES) + made.target[place:])


def garble_target(random: Random, made: Request) -> Request:
    target = bytearray(made.target)
    target[random.randrange(len(target))] = random.randrange(33, 127)
    return replace(made, target=bytes(target))


def change_method(random: Random, made: Request) -> Request:
    return replace(made, method=random.choice(METHODS))


MUTATIONS: list[Callable[[Random, Request], Request]] = [
    change_field,
    rename_field,
    remove_field,
    wrap,
    raw_json,
    flip_bytes,
    cut_body,
    repeat_part,
    change_header,
    drop_header,
    double_header,
    change_target,
    garble_target,
    change_method,
]
WEIGHTS = [8, 2, 2, 1, 2, 2, 1, 1, 3, 1, 1, 3, 2, 1]
