"""Signing in, joining by a link, signing out, and what users may change about themselves."""

from starlette.responses import RedirectResponse, Response

from pinxit.accounts.service import SignedIn
from pinxit.accounts.user import MIN_PASSWORD_CHARACTERS, Link
from pinxit.api.errors import status_and_type
from pinxit.console.door import SIGN_IN
from pinxit.console.refusals import find_problem
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import (
    AuthenticationFailed,
    Conflict,
    InvalidValue,
    Overloaded,
    PermissionDenied,
    PinxitError,
    RateLimited,
)

HOME = "/console"
FIRST_PAGE = "/console/playground"


class Entrance:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def home(self, visit: Visit) -> Response:
        return RedirectResponse(FIRST_PAGE, 303)

    async def show_sign_in(self, visit: Visit) -> Response:
        if visit.user is not None:
            return RedirectResponse(own_page(visit.request.query_params.get("next", "")), 303)
        comes_from_elsewhere = visit.request.headers.get("sec-fetch-site") == "cross-site"
        query = visit.request.query_params
        oidc = visit.services.oidc
        problem = None if oidc is None else find_problem(query.get("problem", ""), oidc.title)
        return self._sign_in_page(visit, next_=query.get("next", ""), error=problem, again=comes_from_elsewhere)

    async def sign_in(self, visit: Visit) -> Response:
        form, users = visit.form, visit.services.users
        try:
            signed_in = await users.sign_in(
                form.text("name"), form.exactly("password"), address=visit.address, device=visit.device
            )
        except (AuthenticationFailed, RateLimited, Overloaded, PermissionDenied) as error:
            return self._sign_in_page(visit, next_=form.text("next"), name=form.text("name"), error=error)
        return await self._let_in(visit, signed_in, own_page(form.text("next")))

    async def show_join(self, visit: Visit) -> Response:
        token = visit.request.query_params.get("token", "")
        link = await visit.services.users.get_link(token)
        return self._join_page(visit, link, token)

    async def join(self, visit: Visit) -> Response:
        form, users = visit.form, visit.services.users
        try:
            if form.exactly("password") != form.exactly("again"):
                raise InvalidValue("The two passwords are not the same.", param="again")
            signed_in = await users.join(form.text("token"), form.text("name"), form.exactly("password"))
        except (InvalidValue, Conflict, Overloaded) as error:
            link = await users.get_link(form.text("token"))
            return self._join_page(visit, link, form.text("token"), form.text("name"), error)
        return await self._let_in(visit, signed_in, HOME)

    def _join_page(
        self, visit: Visit, link: Link, token: str, name: str = "", error: PinxitError | None = None
    ) -> Response:
        return self._pages.response(
            "join",
            visit,
            status=_status(error),
            link=link,
            token=token,
            name=name,
            error=error,
            least=_LEAST,
            oidc=visit.services.oidc,
            takes_passwords=visit.services.users.takes_passwords,
        )

    async def sign_out(self, visit: Visit) -> Response:
        assert visit.session is not None
        await visit.services.users.sign_out(visit.session)
        return visit.farewell(RedirectResponse(SIGN_IN, 303))

    async def show_profile(self, visit: Visit) -> Response:
        return await self._profile_page(visit)

    async def change_password(self, visit: Visit) -> Response:
        form = visit.form
        try:
            if form.exactly("password") != form.exactly("again"):
                raise InvalidValue("The two passwords are not the same.", param="again")
            signed_in = await visit.services.users.change_password(
                visit.member,
                form.exactly("old_password"),
                form.exactly("password"),
                address=visit.address,
                device=visit.device,
            )
        except (InvalidValue, RateLimited, Overloaded, PermissionDenied) as error:
            return await self._profile_page(visit, error)
        return visit.welcome(RedirectResponse("/console/profile?done=password", 303), signed_in)

    async def sign_out_everywhere(self, visit: Visit) -> Response:
        await visit.services.users.sign_out_everywhere(visit.member)
        return visit.farewell(RedirectResponse(SIGN_IN, 303))

    async def _let_in(self, visit: Visit, signed_in: SignedIn, target: str) -> Response:
        """The session that this browser had ends: a new one is never an old one's."""
        if visit.session is not None:
            await visit.services.users.sign_out(visit.session)
        return visit.welcome(RedirectResponse(target, 303), signed_in)

    def _sign_in_page(
        self, visit: Visit, *, next_: str, name: str = "", error: PinxitError | None = None, again: bool = False
    ) -> Response:
        """`again`: the page asks for itself at once: who follows a link of another site has no strict cookie with them
        until then, and may be signed in.
        """
        response = self._pages.response(
            "sign_in",
            visit,
            status=_status(error),
            next=next_,
            name=name,
            error=error,
            again=again,
            oidc=visit.services.oidc,
            takes_passwords=visit.services.users.takes_passwords,
        )
        if isinstance(error, RateLimited):
            response.headers["retry-after"] = str(int(error.retry_after_seconds))
        return response

    async def _profile_page(self, visit: Visit, error: PinxitError | None = None) -> Response:
        sessions = await visit.services.users.count_sessions(visit.member)
        return self._pages.response(
            "profile",
            visit,
            status=_status(error),
            sessions=sessions,
            ways_in=await visit.services.users.ways_in(visit.member),
            takes_passwords=visit.services.users.takes_passwords,
            error=error,
            least=_LEAST,
            done=visit.request.query_params.get("done", ""),
        )


_LEAST = MIN_PASSWORD_CHARACTERS


def _status(error: PinxitError | None) -> int:
    return 200 if error is None else status_and_type(type(error))[0]


def own_page(path: str) -> str:
    """Where to go on: a page of ours, never another host's."""
    is_ours = path.startswith("/console/") and not any(character in path for character in "\\\r\n") and "//" not in path
    return path if is_ours else HOME
