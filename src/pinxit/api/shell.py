"""The outermost layer of the application: request ids, one shape for every error, one log line a request."""

from collections.abc import Sequence
from time import perf_counter

import structlog
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pinxit import audit
from pinxit.api.body import ClientDisconnected
from pinxit.api.context import ANSWER_HEADERS, REQUEST_ID, header
from pinxit.api.errors import render
from pinxit.errors import InvalidRequest, MethodNotAllowed, NotFound, PinxitError
from pinxit.ids import request_id

log = structlog.get_logger(__name__)


class Shell:
    """Wraps the application. Whatever is raised below becomes an answer here, once.

    `routes`: all there are, to name every method of a path; Starlette names those of the first route that it finds.
    """

    def __init__(self, app: ASGIApp, routes: Sequence[BaseRoute] = ()) -> None:
        self._app = app
        self._routes = [route for route in routes if isinstance(route, Route)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[REQUEST_ID] = request_id(header(scope, b"x-request-id"))
        started = perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                further = scope[ANSWER_HEADERS]() if ANSWER_HEADERS in scope else []
                message["headers"] = [*message["headers"], *further, (b"x-request-id", scope[REQUEST_ID].encode())]
            await send(message)

        error: PinxitError | None = None
        try:
            with audit.acting(audit.Origin()):  # until a door knows better, and no longer than this request
                await self._app(scope, receive, send_with_id)
        except ClientDisconnected:
            pass
        except PinxitError as expected:
            error = expected
        except HTTPException as unrouted:
            error = from_http_exception(unrouted, allow=self._methods_at(scope["path"]))
        except Exception:
            log.exception("request_crashed", request_id=scope[REQUEST_ID])
            error = PinxitError()
        if error is not None and status == 0:
            await _send_error(error, scope, send_with_id)
        log.info(
            "request",
            request_id=scope[REQUEST_ID],
            method=scope["method"],
            path=scope["path"][:200],
            status=status,
            milliseconds=round((perf_counter() - started) * 1000, 1),
        )

    def _methods_at(self, path: str) -> str:
        methods = [route.methods or set() for route in self._routes if route.path_regex.match(path)]
        return ", ".join(sorted(set().union(*methods)))


def from_http_exception(error: HTTPException, *, allow: str) -> PinxitError:
    """The framework's own 404 and 405 in our words. `allow`: the methods that there are at this path."""
    if error.status_code == 404:
        return NotFound("There is nothing at this path.")
    if error.status_code == 405:
        return MethodNotAllowed(allow=allow or (error.headers or {}).get("Allow", ""))
    return InvalidRequest(str(error.detail))


async def _send_error(error: PinxitError, scope: Scope, send: Send) -> None:
    answer = render(error, request_id=scope[REQUEST_ID])
    headers = [(name.encode(), value.encode()) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})
