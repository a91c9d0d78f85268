"""What stands around every page: who visits, whether the form is a page's own, and errors as pages."""

import secrets
from collections.abc import Awaitable, Callable
from enum import Enum
from http import HTTPStatus
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from pinxit.api.context import REQUEST_ID, Services, act_as
from pinxit.api.errors import render, status_and_type
from pinxit.audit import Actor, ActorKind
from pinxit.console.forms import read_form
from pinxit.console.rendering import SAFE_HEADERS, Pages
from pinxit.console.visit import Visit, cookie_name, refuse_other_origins, set_cookie
from pinxit.errors import AuthenticationFailed, PermissionDenied, PinxitError
from pinxit.ids import hide_secrets

log = structlog.get_logger(__name__)

SIGNED_OUT = "You are signed out. Open the console again and sign in."
CALLER = "pinxit.console_caller"
"""Key of the scope under which whom the door let in is found."""
SIGN_IN = "/console/sign-in"
STATEMENTS = {
    HTTPStatus.FORBIDDEN: "This is not open to you",
    HTTPStatus.NOT_FOUND: "There is nothing here",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not at this moment",
    HTTPStatus.TOO_MANY_REQUESTS: "Not so fast",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong on our side",
}


class For(Enum):
    """Who may use a route."""

    ANYBODY = "anybody"
    USERS = "users"
    ADMINS = "admins"


Handler = Callable[[Visit], Awaitable[Response]]


class Door:
    """Makes handlers into endpoints. A handler gets a Visit; what it raises becomes a page, or JSON for scripts."""

    def __init__(self, services: Services, pages: Pages) -> None:
        self._services = services
        self._pages = pages

    def endpoint(self, handler: Handler, who: For, *, reads_form: bool = True) -> ASGIApp:
        """`reads_form`: whether a POST is a form; else its token is in the header `x-csrf-token`, and the handler
        reads the body itself.
        """

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            visit = Visit(Request(scope, receive), self._services)
            self._know_stranger(visit)
            try:
                await self._recognise(visit)
                act_as(scope, self._services.settings, _actor(visit))
                response = await self._answer(visit, handler, who, reads_form)
            except PinxitError as error:
                response = self._error(visit, error)
            except Exception:
                log.exception("page_crashed", request_id=scope[REQUEST_ID])
                response = self._error(visit, PinxitError())
            _finish(response, visit)
            await response(scope, receive, send)

        return app

    def for_scripts(self, inner: ASGIApp) -> ASGIApp:
        """An endpoint of the API's kind for our own scripts: the caller is put into the scope for `inner`, and errors
        are answered as the API answers them.
        """

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            visit = Visit(Request(scope, receive), self._services)
            await self._recognise(visit)
            refuse_other_origins(visit.request, self._services.settings.public_url)
            if visit.user is None:
                raise AuthenticationFailed(SIGNED_OUT)
            visit.check_form_token(visit.request.headers.get("x-csrf-token", ""))
            scope[CALLER] = visit.caller
            await inner(scope, receive, send)

        return app

    async def _recognise(self, visit: Visit) -> None:
        token = visit.request.cookies.get(cookie_name("session", visit.is_https))
        if token:
            visit.user = await self._services.users.find(token)
            visit.session = token if visit.user else None

    def _know_stranger(self, visit: Visit) -> None:
        """What tells this browser from others while nobody is signed in; it gets one with its first page."""
        known = visit.request.cookies.get(cookie_name("visit", visit.is_https))
        visit.stranger = known or secrets.token_urlsafe(32)
        visit.is_new = not known

    async def _answer(self, visit: Visit, handler: Handler, who: For, reads_form: bool) -> Response:
        if visit.request.method != "POST":
            return self._turned_away(visit, who) or await handler(visit)
        refuse_other_origins(visit.request, self._services.settings.public_url)
        if turned_away := self._turned_away(visit, who):
            return turned_away
        if reads_form:
            type_ = visit.request.headers.get("content-type", "")
            visit.form = await read_form(type_, visit.request.receive, self._services.byte_budget)
        visit.check_form_token(visit.form.exactly("csrf") or visit.request.headers.get("x-csrf-token", ""))
        return await handler(visit)

    def _turned_away(self, visit: Visit, who: For) -> Response | None:
        if who is For.ANYBODY:
            return None
        if visit.user is None:
            if _wants_json(visit.request):
                raise AuthenticationFailed(SIGNED_OUT)
            path = visit.request.url.path
            goes_on = visit.request.method == "GET" and path != "/console"
            return RedirectResponse(f"{SIGN_IN}?next={quote(path, safe='/')}" if goes_on else SIGN_IN, 303)
        if who is For.ADMINS and not visit.user.is_admin:
            raise PermissionDenied("This page is for admins.")
        return None

    def _error(self, visit: Visit, error: PinxitError) -> Response:
        request_id = visit.request.scope[REQUEST_ID]
        if _wants_json(visit.request):
            answer = render(error, request_id=request_id)
            return Response(answer.body, answer.status, dict(answer.headers))
        status = status_and_type(type(error))[0]
        is_ours = status == HTTPStatus.INTERNAL_SERVER_ERROR
        return self._pages.response(
            "error",
            visit,
            status=status,
            title=STATEMENTS.get(HTTPStatus(status), "This did not work"),
            message=f"Tell us the request id {request_id}." if is_ours else hide_secrets(error.message),
            code=status,
        )


def _actor(visit: Visit) -> Actor:
    if visit.user is None:
        return Actor(ActorKind.VISITOR)
    return Actor(ActorKind.USER, visit.user.id, visit.user.name)


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return "application/json" in accepted or "text/event-stream" in accepted


def _finish(response: Response, visit: Visit) -> None:
    for name, value in SAFE_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("cache-control", "no-store")
    if visit.is_new:
        set_cookie(response, "visit", visit.stranger, visit.is_https)
