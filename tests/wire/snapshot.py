"""Answers as files: what a client gets, exactly, with placeholders for what differs from run to run."""

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx2

from pinxit import __version__
from pinxit.images.encoding import inspect

FOLDER = Path(__file__).parent / "snapshots"
WRITES = os.environ.get("PINXIT_WRITE_SNAPSHOTS") == "1"

_IDS = re.compile(r"\b(gen|img|key|req|resp|msg|chatcmpl|ig)_[0-9a-f]{32}(?:[0-9a-f]{2})?\b")
_NAME = re.compile(r"pinxit_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\.")
_SECRET = re.compile(r"\bsk-[A-Za-z0-9_-]{43}\b")
_SIGNATURE = re.compile(r"expires=[0-9]+&signature=[A-Za-z0-9_-]{43}$")
_TIMES = {"completed_at", "created", "finished", "created_at", "expires_at", "revoked_at"}
_TOLD_APART = {"bytes", "sha256", "etag", "last4", "prefix", "content-length", "date", "from", "to"}
"""Fields and headers whose value follows from something random, or from the version of an encoder."""


def check(name: str, response: httpx2.Response) -> None:
    """Raises AssertionError unless the answer is the one in the file. PINXIT_WRITE_SNAPSHOTS=1 writes it instead."""
    headers = {key: _value(key, value) for key, value in response.headers.items()}
    if "x-ratelimit-limit-requests" in headers:  # then they say how long it is until a limit has room again
        headers |= {key: f"<{key}>" for key in headers if key.startswith(("retry-after", "x-ratelimit-reset"))}
    found = {
        "request": f"{response.request.method} {_text(response.request.url.raw_path.decode())}",
        "status": response.status_code,
        "headers": dict(sorted(headers.items())),
        "body": _body(response),
    }
    compare(f"{name}.json", json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def compare(file_name: str, text: str) -> None:
    path = FOLDER / file_name
    if WRITES:
        path.write_text(text)
    assert path.exists(), f"there is no {path.name}: run `make snapshots` and read the diff as an API change"
    assert json.loads(text) == json.loads(path.read_text())
    assert text == path.read_text()


def _body(response: httpx2.Response) -> Any:
    if not response.content:
        return None
    if response.status_code == 206:
        return f"<{len(response.content)} bytes>"
    if response.headers["content-type"].startswith("image/"):
        return _picture(response.content)
    return _value("", response.json())


def _value(name: str, value: Any) -> Any:
    """`value` with placeholders. The types of JSON stay visible: null stays null, "" stays ""."""
    if isinstance(value, dict):
        return {key: _value(key, inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_value(name, inner) for inner in value]
    if name == "last_used_at":  # it is written a little after the use
        return "<unix seconds or null>"
    if name in _TIMES and isinstance(value, int):
        return "<unix seconds>"
    if name in _TOLD_APART and value not in (None, ""):
        return f"<{name}>"
    if name in ("b64_json", "result") and value:
        return _picture(base64.b64decode(value, validate=True))
    if isinstance(value, str) and value.startswith("data:image/"):
        return _picture(base64.b64decode(value.partition(",")[2], validate=True))
    if name == "version" and value == __version__:
        return "<version>"
    if name == "content-range":
        return re.sub(r"/[0-9]+$", "/<bytes>", value)
    return _text(value) if isinstance(value, str) else value


def _text(text: str) -> str:
    text = _IDS.sub(r"\1_<id>", text)
    text = _NAME.sub("pinxit_<uuid>.", text)
    text = _SIGNATURE.sub("expires=<unix seconds>&signature=<signature>", text)
    return _SECRET.sub("sk-<secret>", text)


def _picture(data: bytes) -> str:
    encoding, size = inspect(data)
    return f"<{encoding} {size}>"
