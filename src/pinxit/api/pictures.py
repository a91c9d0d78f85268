"""GET and HEAD /image/{key}: the bytes of a stored picture. No key is needed; the address is the permission.

A plain ASGI callable: one read, one send. A file name never comes from the request: the row says where the bytes are.
"""

import re
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from pinxit.api.context import Services, header
from pinxit.library.image import Image

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
_MAX_QUERY_CHARACTERS = 1024
CACHE_SECONDS = 31_536_000


class PictureEndpoint:
    """The plain ASGI callable behind GET and HEAD /image/{key}."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = _query(scope)
        image = await self._services.library.admit(
            scope["path_params"]["key"], query.get("expires", ""), query.get("signature", "")
        )
        etag = f'"{image.sha256}"'
        headers = _headers(image, etag)
        if _matches(header(scope, b"if-none-match"), etag):
            await _answer(send, 304, headers)
            return
        wanted = _range(scope, etag, image.size_bytes)
        if wanted is not None and wanted[0] >= wanted[1]:
            await _answer(
                send, 416, [*headers, (b"content-range", b"bytes */%d" % image.size_bytes), (b"content-length", b"0")]
            )
            return
        start, end = wanted or (0, image.size_bytes)
        headers.append((b"content-length", b"%d" % (end - start)))
        if wanted:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, image.size_bytes)))
        body = b""
        if scope["method"] != "HEAD":
            data = await self._services.library.read(image)
            body = data if wanted is None else data[start:end]
        await _answer(send, 206 if wanted else 200, headers, body)


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"][:_MAX_QUERY_CHARACTERS].decode("latin-1")))


def _headers(image: Image, etag: str) -> list[tuple[bytes, bytes]]:
    """Only rasters that we encoded ourselves are served, as what they are; nothing in them may run."""
    cache = f"private, max-age={CACHE_SECONDS}, immutable" if image.url_expires_at is None else "private, no-cache"
    return [
        (b"content-type", image.encoding.media_type.encode()),
        (b"etag", etag.encode()),
        (b"accept-ranges", b"bytes"),
        (b"cache-control", cache.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'; sandbox"),
        (b"cross-origin-resource-policy", b"cross-origin"),
    ]


def _matches(if_none_match: str | None, etag: str) -> bool:
    if if_none_match is None:
        return False
    return if_none_match.strip() == "*" or etag in {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}


def _range(scope: Scope, etag: str, size_bytes: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of the one range asked for; None: the whole. An empty span cannot be satisfied (RFC
    9110 §14).

    Several ranges, other units and nonsense are ignored, as the RFC allows: the whole picture is sent.
    """
    asked = header(scope, b"range")
    found = _RANGE.fullmatch(asked.strip()) if asked is not None else None
    if found is None or not (found[1] or found[2]) or header(scope, b"if-range") not in (None, etag):
        return None
    if not found[1]:
        return max(0, size_bytes - int(found[2])), size_bytes
    start = int(found[1])
    if not found[2]:
        return start, size_bytes
    last = int(found[2])
    return None if last < start else (start, min(last + 1, size_bytes))


async def _answer(send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes = b"") -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
