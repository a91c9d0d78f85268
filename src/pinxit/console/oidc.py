"""Signing in by an OpenID Connect provider: out to it, back from it, and in.

Back from it a browser follows a link of another site and leaves strict cookies at home, also those that the answer
sets. So the sign-in under way is in a lax one, and behind it stands a page that leads on by itself: what a page of
ours asks for comes with all cookies. Addresses with a code in them answer with a redirect, so that no history keeps
them.
"""

from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from pinxit.accounts.oidc.flow import LASTS
from pinxit.accounts.oidc.refusal import Reason, Refused
from pinxit.accounts.oidc.service import OidcService
from pinxit.console.door import SIGN_IN
from pinxit.console.entrance import own_page
from pinxit.console.refusals import TOO_OFTEN
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit, cookie_name, set_cookie
from pinxit.errors import NotFound, RateLimited

CALLBACK = "/console/oidc/callback"
LANDING = "/console/oidc/landing"
COOKIE = "oidc"


class Oidc:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def start(self, visit: Visit) -> Response:
        """Only from pages of ours: no other site decides when somebody signs in."""
        service, next_ = _service(visit), own_page(visit.request.query_params.get("next", ""))
        if visit.user is not None:
            return RedirectResponse(next_, 303)
        if visit.request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return RedirectResponse(SIGN_IN, 303)
        try:
            url, cookie = await service.begin(next_, visit.base + CALLBACK)
        except Refused as refused:
            return _back(refused.reason.value)
        response = RedirectResponse(url, 303)
        seconds = int(LASTS.total_seconds())
        set_cookie(response, COOKIE, cookie, visit.is_https, seconds=seconds, same_site="lax")
        return response

    async def callback(self, visit: Visit) -> Response:
        """Whatever comes of it, this address is left at once."""
        service = _service(visit)
        cookie = visit.request.cookies.get(cookie_name(COOKIE, visit.is_https), "")
        given = visit.request.query_params.multi_items()
        answer = dict(given) if len(dict(given)) == len(given) else {}  # RFC 6749 §3.1: none is there twice
        try:
            signed_in, next_ = await service.finish(cookie, answer, visit.base + CALLBACK, address=visit.address)
        except RateLimited:
            return _back(TOO_OFTEN)
        except Refused as refused:
            response = _back(refused.reason.value)
            # A forged answer does not end the sign-in that is really under way.
            return response if refused.reason is Reason.STALE else _forget(response, visit)
        response = RedirectResponse(f"{LANDING}?{urlencode({'next': own_page(next_)})}", 303)
        return visit.welcome(_forget(response, visit), signed_in)

    async def landing(self, visit: Visit) -> Response:
        _service(visit)
        return self._pages.response("landing", visit, next=own_page(visit.request.query_params.get("next", "")))


def _service(visit: Visit) -> OidcService:
    if visit.services.oidc is None:
        raise NotFound("The console has no page at this address.")
    return visit.services.oidc


def _back(problem: str) -> Response:
    return RedirectResponse(f"{SIGN_IN}?{urlencode({'problem': problem})}", 303)


def _forget(response: Response, visit: Visit) -> Response:
    name = cookie_name(COOKIE, visit.is_https)
    response.delete_cookie(name, path="/", secure=visit.is_https, httponly=True, samesite="lax")
    return response
