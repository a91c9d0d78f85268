"""Answers of upstreams: the pictures in them are cut out as bytes, and only the small rest is read as JSON."""

import base64
import binascii
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

import pybase64

from pinxit.errors import BackendError

_LEAST_CUT_CHARACTERS = 1024
_DATA_URL = re.compile(rb"data:[^,]{0,100};base64,")
_LONGEST_PREFIX = 120
_PRINTED = re.compile(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\ufffd]+")
MAX_MESSAGE_CHARACTERS = 400


class Answer:
    """One answer of an upstream. `headers` in lower case; `base64_keys`: of the values in its JSON that are pictures.

    An unescaped `"b64_json":"` cannot be inside a JSON string, so cutting at it is exact. Of a list of pictures the
    first is cut out.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        body: bytes | Sequence[bytes],
        base64_keys: tuple[str, ...] = (),
    ) -> None:
        """`body`: as a whole or in pieces."""
        self.status = status
        self.headers = headers
        self._pieces = (body,) if isinstance(body, bytes) else body
        self._keys = base64_keys
        self._cut: dict[str, memoryview] = {}
        self._read: Any = None

    @property
    def size(self) -> int:
        """Of the body, in bytes."""
        return sum(len(piece) for piece in self._pieces)

    @property
    def body(self) -> bytes:
        """As a whole; the first time it may have to be put together."""
        if len(self._pieces) != 1:
            self._pieces = (b"".join(self._pieces),)
        return self._pieces[0]

    @property
    def media_type(self) -> str:
        """Of the body, in lower case and without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def json(self) -> Any:
        """The body as JSON, where a long base64 text is a short token that `picture` understands.

        Raises BackendError if it is no JSON.
        """
        if self._read is None:
            try:
                self._read = json.loads(self._without_pictures())
            except (ValueError, RecursionError) as error:
                raise BackendError("The answer is not JSON.") from error
        return self._read

    def picture(self, text: str) -> bytes:
        """The bytes of a base64 text or data URL out of `json`. Raises BackendError if it is not valid."""
        return self.decoded(text)[0]

    def decoded(self, text: str) -> tuple[bytes, memoryview | None]:
        """As `picture`; and the base64 itself, if it is written as any encoder would write it."""
        data = self._cut.get(text)
        if data is None:
            data = memoryview(text.encode("ascii", "replace"))
        prefix = _DATA_URL.match(data[:_LONGEST_PREFIX])
        source = data[prefix.end() if prefix else 0 :]
        try:
            found = pybase64.b64decode(source, validate=True)
        except (binascii.Error, ValueError):
            pass
        else:
            return found, source if _is_canonical(source, found) else None
        try:  # with line ends, or without its padding
            return base64.b64decode(bytes(source) + b"=" * (-len(source) % 4)), None
        except (binascii.Error, ValueError) as error:
            raise BackendError("A picture in the answer is not valid base64.") from error

    def _without_pictures(self) -> bytes:
        body = self.body
        if not self._keys or len(body) < _LEAST_CUT_CHARACTERS:
            return body
        keys = b"|".join(re.escape(key.encode()) for key in self._keys)
        opening = re.compile(rb'"(?:' + keys + rb')"\s*:\s*(?:\[\s*)?"')
        token, kept, position = secrets.token_hex(8), [], 0
        while (found := opening.search(body, position)) is not None:
            end = body.find(b'"', found.end())
            if end < 0:
                break
            kept.append(body[position : found.end()])
            position = end
            text = memoryview(body)[found.end() : end]
            if body.find(b"\\", found.end(), end) >= 0:
                unescaped = bytes(text).replace(b"\\/", b"/")
                if b"\\" in unescaped:
                    kept.append(bytes(text))
                    if unescaped.endswith(b"\\"):  # an escaped quote: the text goes on
                        return body
                    continue
                text = memoryview(unescaped)
            if len(text) < _LEAST_CUT_CHARACTERS:
                kept.append(body[found.end() : end])
                continue
            name = f"{token}:{len(self._cut)}"
            self._cut[name] = text
            kept.append(name.encode())
        kept.append(body[position:])
        return b"".join(kept)

    def message(self) -> str:
        """What the upstream says went wrong, as far as it can be found in its answer; never a page of HTML."""
        try:
            found = _first_text(self.json)
        except BackendError:
            found = self.body.decode("utf-8", "replace") if self.media_type == "text/plain" else ""
        text = _PRINTED.sub(" ", found).strip()
        return text[:MAX_MESSAGE_CHARACTERS]


def _is_canonical(source: memoryview, data: bytes) -> bool:
    """Whether any encoder would write `data` so: nothing between the characters, no stray bits in the last."""
    last = len(data) - (len(data) % 3 or 3)
    return len(source) == 4 * -(-len(data) // 3) and source[-4:] == pybase64.b64encode(data[max(last, 0) :])


def _first_text(document: Any) -> str:
    """The text under the names that errors have in JSON APIs."""
    if isinstance(document, str):
        return document
    if isinstance(document, list):
        return next((text for item in document[:3] if (text := _first_text(item))), "")
    if isinstance(document, dict):
        for name in ("message", "error", "detail", "msg", "errors", "error_message", "title"):
            if text := _first_text(document.get(name)):
                return text
    return ""
