"""Users and invitations, for admins."""

from starlette.responses import RedirectResponse, Response

from pinxit.accounts.user import Role
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import InvalidValue, NotFound, PermissionDenied, PinxitError

PEOPLE = "/console/people"


class People:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def invite(self, visit: Visit) -> Response:
        """The link is in this answer only."""
        form = visit.form
        try:
            role = _role(form.text("role"))
            shares = form.text("account") == "shared"
            account_id = visit.member.account_id if shares or role is Role.ADMIN else None
            _, token = await visit.services.users.invite(role, account_id=account_id, note=form.text("note"))
        except (InvalidValue, NotFound, PermissionDenied) as error:
            return await self._page(visit, error=error)
        return await self._page(visit, link=join_url(visit.base, token))

    async def withdraw(self, visit: Visit) -> Response:
        await visit.services.users.withdraw(visit.request.path_params["link_id"])
        return RedirectResponse(f"{PEOPLE}?done=withdrawn", 303)

    async def set_role(self, visit: Visit) -> Response:
        try:
            await visit.services.users.set_role(visit.request.path_params["user_id"], _role(visit.form.text("role")))
        except InvalidValue as error:
            return await self._page(visit, error=error)
        return RedirectResponse(f"{PEOPLE}?done=role", 303)

    async def remove(self, visit: Visit) -> Response:
        try:
            await visit.services.users.remove(visit.request.path_params["user_id"])
        except InvalidValue as error:
            return await self._page(visit, error=error)
        return RedirectResponse(f"{PEOPLE}?done=removed", 303)

    async def _page(self, visit: Visit, *, link: str | None = None, error: PinxitError | None = None) -> Response:
        users = visit.services.users
        return self._pages.response(
            "people",
            visit,
            status=200 if error is None else 422,
            users=await users.list(),
            links=await users.list_links(),
            takes_passwords=users.takes_passwords,
            now=visit.services.now(),
            link=link,
            error=error,
            done=visit.request.query_params.get("done", ""),
        )


def join_url(base: str, token: str) -> str:
    """What somebody joins by."""
    return f"{base}/console/join?token={token}"


def _role(text: str) -> Role:
    try:
        return Role(text)
    except ValueError as error:
        raise InvalidValue("There is no such role.", param="role", allowed=list(Role)) from error
