"""Reading a JSON request body: counted while it arrives, checked before it is parsed.

Everything here raises a `PinxitError` that says what was wrong and where, and echoes at most 100 characters of what was
sent, none of them a control character.
"""

import asyncio
import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any, Final

from pinxit.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from pinxit.limits.byte_budget import ByteBudget

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

MAX_DEPTH: Final = 32
MAX_KEYS: Final = 1_000
MAX_NUMBER_CHARACTERS: Final = 308
"""A double ends at 1.8e308, so no longer number is meant."""

THREAD_FROM_BYTES: Final = 64 * 1024
"""Parsing more than this takes long enough to be done off the event loop."""

MAX_ECHO_CHARACTERS: Final = 100


class ClientDisconnected(Exception):  # an event, as Starlette's ClientDisconnect: nobody is left to be told
    """The client hung up before its request had arrived."""


@asynccontextmanager
async def read_body(
    scope: Mapping[str, Any], receive: Receive, *, max_bytes: int, budget: ByteBudget, or_form: bool = False
) -> AsyncIterator[bytes]:
    """The JSON body of an ASGI request (or the form, if `or_form`), as it was sent.

    Its bytes belong to `budget` until the `with` is left.

    Refusals that the headers justify come before the first byte is asked for, so that a client that sent
    `Expect: 100-continue` never sends the body. Raises `RequestTooLarge`, `UnsupportedMediaType`, `InvalidRequest` (a
    Content-Length that is none), `Overloaded` (no room in `budget`), and `ClientDisconnected`.
    """
    refuse_unreadable_headers(scope["headers"], max_bytes=max_bytes, or_form=or_form)
    with budget.reserve() as lease:
        chunks: list[bytes] = []
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            if lease.held_bytes + len(chunk) > max_bytes:
                raise _too_large(max_bytes)
            lease.grow(len(chunk))
            chunks.append(chunk)
            more = message.get("more_body", False)
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        yield body


async def read_json_object(
    scope: Mapping[str, Any], receive: Receive, *, max_bytes: int, budget: ByteBudget
) -> dict[str, Any]:
    """The JSON object in the body of an ASGI request. Raises what `read_body` and `parse_json_object` raise."""
    async with read_body(scope, receive, max_bytes=max_bytes, budget=budget) as body:
        if len(body) > THREAD_FROM_BYTES:
            return await asyncio.to_thread(parse_json_object, body)
        return parse_json_object(body)


def refuse_unreadable_headers(headers: Iterable[tuple[bytes, bytes]], *, max_bytes: int, or_form: bool = False) -> None:
    """Refuse a body by its headers alone: too long, not JSON (or a form), or encoded. `headers` as in an ASGI scope."""
    content_types: list[str] = []
    for name, value in headers:
        if name == b"content-length":
            _check_content_length(value, max_bytes)
        elif name == b"content-type":
            content_types.append(value.decode("latin-1").strip())
        elif name == b"content-encoding" and value.strip().lower() != b"identity":
            raise UnsupportedMediaType(
                f"The request body must not be encoded, and came with 'Content-Encoding: {echo(value)}'."
            )
    if not content_types:
        raise UnsupportedMediaType("The request has no Content-Type. Send `Content-Type: application/json`.")
    if len(content_types) > 1 or not (_is_json(content_types[0]) or (or_form and is_form(content_types[0]))):
        came = echo(", ".join(content_types))
        forms = " or 'multipart/form-data'" if or_form else ""
        raise UnsupportedMediaType(f"The request body must be 'application/json' in UTF-8{forms}, not '{came}'.")


def parse_json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`, read more strictly than `json.loads` reads.

    UTF-8 without a byte order mark; no object with a key twice (readers differ in which one counts) or with more than
    1 000 keys; nothing nested deeper than 32; no NaN or Infinity (RFC 8259 §6 has none), no number outside a double's
    range or of more than 308 characters. Lone surrogates and U+0000 pass, written as escapes: a field's own check
    refuses them.

    Raises `InvalidRequest`, whose `param` is the key to blame where one is known.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        raise InvalidRequest("The request body starts with a byte order mark. Send UTF-8 without one.")
    if not body.strip():
        raise InvalidRequest("The request body is empty. Send a JSON object.")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _line_and_column(body, error.start)
        raise InvalidRequest(f"The request body is not UTF-8 (line {line}, column {column}).") from None
    _refuse_depth(body)
    value = _StrictReader().read(text)
    if not isinstance(value, dict):
        raise InvalidRequest(f"The request body must be a JSON object, not {_json_name(value)}.")
    return value


def echo(sent: str | bytes) -> str:
    """What a client sent, harmless in a message: at most 100 characters, `�` for those that cannot be printed."""
    text = sent.decode("utf-8", "replace") if isinstance(sent, bytes) else sent
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text[:MAX_ECHO_CHARACTERS])
    return shown if len(text) <= MAX_ECHO_CHARACTERS else shown[: MAX_ECHO_CHARACTERS - 1] + "…"


class _Unfit:
    """Stands where a number stood that cannot be had, until the key before it is known."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _StrictReader:
    """One reading of one text."""

    def __init__(self) -> None:
        self._unfit: _Unfit | None = None

    def read(self, text: str) -> object:
        try:
            value = json.loads(
                text,
                object_pairs_hook=self._object,
                parse_constant=self._constant,
                parse_float=self._float,
                parse_int=self._int,
            )
        except json.JSONDecodeError as error:
            raise InvalidRequest(
                f"The request body is not valid JSON: {error.msg.removesuffix(' at')}"
                f" (line {error.lineno}, column {error.colno})."
            ) from None
        except RecursionError:
            raise _too_deep() from None
        if self._unfit is not None:
            raise InvalidRequest(self._unfit.reason)
        return value

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(pairs) > MAX_KEYS:
            raise InvalidRequest(f"An object in the request body has {len(pairs)} keys. At most {MAX_KEYS} are read.")
        if self._unfit is not None:
            for key, value in pairs:
                for unfit in value if isinstance(value, list) else (value,):
                    if isinstance(unfit, _Unfit):
                        raise InvalidRequest(f"'{echo(key)}': {unfit.reason}", param=echo(key))
        built = dict(pairs)
        if len(built) != len(pairs):
            key = _first_repeated(key for key, _ in pairs)
            raise InvalidRequest(f"The key '{echo(key)}' is there twice in one object.", param=echo(key))
        return built

    def _constant(self, name: str) -> object:
        return self._mark(f"{name} is not a JSON number.")

    def _float(self, digits: str) -> object:
        if len(digits) > MAX_NUMBER_CHARACTERS:
            return self._mark(_LONG_NUMBER)
        value = float(digits)
        return value if math.isfinite(value) else self._mark(f"{echo(digits)} is outside the range of a double.")

    def _int(self, digits: str) -> object:
        # Python's own limit, 4 300 digits by default, can be switched off for a process.
        return int(digits) if len(digits) <= MAX_NUMBER_CHARACTERS else self._mark(_LONG_NUMBER)

    def _mark(self, reason: str) -> object:
        if self._unfit is None or self._unfit.reason != reason:
            self._unfit = _Unfit(reason)
        return self._unfit


_LONG_NUMBER: Final = f"A number has more than {MAX_NUMBER_CHARACTERS} characters."

_NOT_STRUCTURE: Final = bytes(set(range(256)) - set(b'"[]{}'))
_DEPTH_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_DEPTH_BLOCK: Final = 4_096
_MAX_BRACKETS_TO_LOCATE: Final = 10_000
_STRING_OR_BRACKET: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def _refuse_depth(body: bytes) -> None:
    """Refuse what is nested deeper than `MAX_DEPTH`, in linear time and before a recursive parser sees it.

    Escaped quotes and backslashes go first, then everything that is not a quote or a bracket; what then stands between
    two quotes was inside a string, and two quotes side by side change nothing for the rest. Text that is not JSON may
    be misread after its first mistake, where the parser stops.
    """
    structure = body
    if b"\\" in structure:
        structure = structure.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = structure.translate(None, _NOT_STRUCTURE)
    structure = structure.replace(b'""', b"")
    brackets = b"".join(structure.split(b'"')[::2])
    if brackets.count(b"[") + brackets.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    steps = memoryview(brackets.translate(_DEPTH_STEPS)).cast("b")
    for start in range(0, len(steps), _DEPTH_BLOCK):
        depths = list(accumulate(steps[start : start + _DEPTH_BLOCK], initial=depth))
        if max(depths) > MAX_DEPTH:
            raise _too_deep(_where_too_deep(body) if start < _MAX_BRACKETS_TO_LOCATE else "")
        depth = depths[-1]


def _where_too_deep(body: bytes) -> str:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(body):
        depth += {b"[": 1, b"{": 1, b"]": -1, b"}": -1}.get(match[0], 0)
        if depth > MAX_DEPTH:
            line, column = _line_and_column(body, match.start())
            return f" (line {line}, column {column})"
    return ""


def _line_and_column(body: bytes, offset: int) -> tuple[int, int]:
    """Counted from 1, the column in characters, as `json.JSONDecodeError` counts."""
    line_start = body.rfind(b"\n", 0, offset) + 1
    return body.count(b"\n", 0, offset) + 1, len(body[line_start:offset].decode("utf-8", "replace")) + 1


def _too_deep(where: str = "") -> InvalidRequest:
    return InvalidRequest(f"The request body is nested deeper than {MAX_DEPTH}{where}.")


def _too_large(max_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body is larger than {max_bytes} bytes.")


def _check_content_length(value: bytes, max_bytes: int) -> None:
    digits = value.strip()
    if not digits.isdigit():
        raise InvalidRequest(f"'{echo(value)}' is not a Content-Length.")
    # Longer than any number of bytes there is, and perhaps longer than Python converts.
    if len(digits.lstrip(b"0")) > 19 or int(digits) > max_bytes:
        raise _too_large(max_bytes)


def is_form(content_type: str) -> bool:
    """Whether it is a multipart form."""
    return content_type.partition(";")[0].strip().lower() == "multipart/form-data"


def _is_json(content_type: str) -> bool:
    media_type, *parameters = content_type.split(";")
    if media_type.strip().lower() != "application/json":
        return False
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset" and value.strip().strip('"').lower() not in ("utf-8", "utf8"):
            return False
    return True


def _json_name(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return "a string"
    return "true or false" if isinstance(value, bool) else "a number"


def _first_repeated(keys: Iterable[str]) -> str:
    seen: set[str] = set()
    for key in keys:
        if key in seen:
            return key
        seen.add(key)
    raise ValueError("no key is there twice")
