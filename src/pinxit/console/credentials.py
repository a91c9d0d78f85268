"""Credentials that providers are shown: the account's own, and for admins the server's."""

from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response

from pinxit.backends.interface import CredentialUse
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.credentials.model import StoredCredential
from pinxit.errors import Conflict, InvalidValue, NotFound, PinxitError, StartupError

CREDENTIALS = "/console/credentials"


@dataclass(frozen=True, slots=True)
class Line:
    """One provider, and what is stored for it."""

    provider: str
    stored: StoredCredential | None
    is_readable: bool
    source: str
    """Where the server's is from if it is not the stored one; empty: from nowhere."""


class Credentials:
    """One method a route. What is kept is never shown again."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def set_own(self, visit: Visit) -> Response:
        return await self._set(visit, visit.member.account_id)

    async def remove_own(self, visit: Visit) -> Response:
        return await self._remove(visit, visit.member.account_id)

    async def set_house(self, visit: Visit) -> Response:
        return await self._set(visit, None)

    async def remove_house(self, visit: Visit) -> Response:
        return await self._remove(visit, None)

    async def _set(self, visit: Visit, account_id: str | None) -> Response:
        try:
            await visit.services.credentials.set(
                visit.request.path_params["provider"],
                visit.form.exactly("credential"),
                account_id=account_id,
                may_fall_back=account_id is not None and visit.form.has("fall_back"),
                by=visit.member.name,
            )
        except (InvalidValue, Conflict, StartupError) as error:
            return await self._page(visit, error=error)
        return RedirectResponse(f"{CREDENTIALS}?done=kept", 303)

    async def _remove(self, visit: Visit, account_id: str | None) -> Response:
        try:
            await visit.services.credentials.remove(visit.request.path_params["provider"], account_id=account_id)
        except NotFound as error:
            return await self._page(visit, error=error)
        return RedirectResponse(f"{CREDENTIALS}?done=removed", 303)

    async def _page(self, visit: Visit, *, error: PinxitError | None = None) -> Response:
        settings = visit.services.settings
        return self._pages.response(
            "credentials",
            visit,
            status=200 if error is None else 422,
            own=await _lines(visit, visit.member.account_id),
            house=await _lines(visit, None) if visit.member.is_admin else [],
            fee=f"{settings.byok_fee_percent:g}" if settings.byok_fee_percent else "",
            now=visit.services.now(),
            error=error,
            done=visit.request.query_params.get("done", ""),
        )


async def _lines(visit: Visit, account_id: str | None) -> list[Line]:
    """All that can be set, and what is stored for providers that are not there any more."""
    credentials = visit.services.credentials
    stored = {each.provider: each for each in await credentials.list(account_id)}
    there = {name for name, use in credentials.providers.items() if account_id is None or use.may_be_own}
    return [
        Line(
            name,
            stored.get(name),
            name not in stored or credentials.is_readable(stored[name]),
            _source(credentials.providers.get(name), is_stored=name in stored),
        )
        for name in sorted({*there, *stored})
    ]


def _source(use: CredentialUse | None, *, is_stored: bool) -> str:
    if use is None:
        return "a provider that is not configured any more"
    if use.is_fixed:
        return "the configuration"
    if is_stored:
        return ""
    if use.is_there:
        return use.variable
    return "" if use.is_needed else "nowhere: it needs none"
