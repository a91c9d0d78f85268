"""Pages from templates, and the files beside them. Both are read once and come with the package."""

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response

from pinxit import __version__
from pinxit.accounts.user import User
from pinxit.console import formats
from pinxit.console.visit import Visit, version_of
from pinxit.ids import hide_secrets
from pinxit.ledger.dollars import to_text

CONTENT_SECURITY_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ]
)
"""No script and no style but our own files: what somebody writes into a prompt or a name cannot become one."""

SAFE_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
}
"""`same-origin`, not `no-referrer`: under that, browsers send forms with `Origin: null`
(https://fetch.spec.whatwg.org/#append-a-request-origin-header, read 2026-11-22).
"""

MEDIA_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "webp": "image/webp",
}


class Static:
    """The style sheet, scripts and pictures of the console, in memory."""

    def __init__(self) -> None:
        folder = resources.files("pinxit.console") / "static"
        self._files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self._versions = {name: version_of(data) for name, data in self._files.items()}

    def url(self, name: str) -> str:
        """Where a page finds it. With its content the address changes, so it may be kept for ever; not so a script's:
        those import each other by name, and one at two addresses would run twice.
        """
        path = f"/console/static/{name}"
        return path if name.endswith(".js") else f"{path}?v={self._versions[name]}"

    def has(self, name: str) -> bool:
        return name in self._files

    def response(self, name: str, version: str | None, known: str | None) -> Response | None:
        """The file; `version` is that of its address, `known` the one that the browser has."""
        data = self._files.get(name)
        media_type = MEDIA_TYPES.get(name.rpartition(".")[2])
        if data is None or media_type is None:
            return None
        tag = f'"{self._versions[name]}"'
        is_pinned = version == self._versions[name]
        headers = {
            **SAFE_HEADERS,
            "etag": tag,
            "cache-control": "public, max-age=31536000, immutable" if is_pinned else "no-cache",
        }
        if known == tag:
            return Response(status_code=304, headers=headers)
        return Response(data, media_type=media_type, headers=headers)


class Pages:
    """Renders templates. Everything that is put into one is escaped, and a name that it lacks is an error."""

    def __init__(self, static: Static) -> None:
        self._environment = Environment(
            loader=PackageLoader("pinxit.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals.update(static=static.url, version=__version__, pages_for=pages_for)
        self._environment.filters.update(
            dollars=dollars, moment=moment, ago=ago, words=words, brief=brief, hidden=hide_secrets, **formats.FILTERS
        )

    def response(self, name: str, visit: Visit, /, *, status: int = 200, **facts: Any) -> Response:
        """`name`: of the template, without its ending."""
        content = self._environment.get_template(f"{name}.html").render(
            user=visit.user,
            csrf=visit.csrf,
            here=visit.request.url.path,
            billed=visit.services.settings.billing == "credits",
            **facts,
        )
        return HTMLResponse(content, status_code=status)


def pages_for(user: User) -> list[tuple[str, str, str]]:
    """Address, name and icon of what is in the sidebar."""
    return [*_PAGES, *_OF_ADMINS] if user.is_admin else list(_PAGES)


_PAGES = (
    ("/console/playground", "Playground", "brush"),
    ("/console/gallery", "Gallery", "picture"),
    ("/console/models", "Models", "layers"),
    ("/console/keys", "API keys", "key"),
    ("/console/usage", "Usage", "chart"),
    ("/console/requests", "Requests", "list"),
    ("/console/credits", "Credits", "coins"),
    ("/console/webhooks", "Webhooks", "hook"),
    ("/console/credentials", "Credentials", "lock"),
    ("/console/audit", "Audit log", "book"),
)
_OF_ADMINS = (("/console/people", "People", "people"), ("/console/health", "Health", "pulse"))


def dollars(micros: int) -> str:
    """US dollars, as a person writes them: `$0.04`."""
    return f"${to_text(micros)}"


def moment(when: datetime | None) -> str:
    """For `<time datetime>`; scripts show it in the reader's own time."""
    return "" if when is None else when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


_STEPS = ((60, "second", 1), (3600, "minute", 60), (86_400, "hour", 3600), (86_400 * 60, "day", 86_400))


def ago(when: datetime | None, now: datetime) -> str:
    """`3 minutes ago`, `in 2 days`."""
    if when is None:
        return "never"
    seconds = (now - when).total_seconds()
    size = abs(seconds)
    if size < 45:
        return "just now" if seconds >= 0 else "in a moment"
    unit, length = next(((unit, length) for limit, unit, length in _STEPS if size < limit), ("month", 30 * 86_400))
    number = max(1, round(size / length))
    span = f"{number} {unit}{'' if number == 1 else 's'}"
    return f"{span} ago" if seconds >= 0 else f"in {span}"


def words(value: str) -> str:
    """`images:write` as a person would say it."""
    return _WORDS.get(value, value)


def brief(scope: str) -> str:
    """`images:write` in a word or two."""
    return _BRIEF.get(scope, scope)


_BRIEF: Mapping[str, str] = {
    "images:write": "paint",
    "images:read": "see pictures",
    "models:read": "models",
    "usage:read": "usage",
    "keys:manage": "keys",
    "webhooks:manage": "webhooks",
    "admin": "everything",
}
_WORDS: Mapping[str, str] = {
    "images:write": "Paint and delete pictures",
    "images:read": "See pictures and orders",
    "models:read": "See models",
    "usage:read": "See usage",
    "keys:manage": "Manage API keys",
    "webhooks:manage": "Manage webhooks",
    "admin": "Everything (admin)",
}
