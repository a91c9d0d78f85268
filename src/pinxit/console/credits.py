"""What an account has and what moved it; admins look at any account, and pay in."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from pinxit.accounts import Account
from pinxit.accounts.user import User
from pinxit.api.errors import status_and_type
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import Conflict, InvalidValue, NotFound, PermissionDenied, PinxitError
from pinxit.ledger.credits import MAX_NOTE_CHARACTERS
from pinxit.ledger.dollars import MAX_MICROS, to_micros

CREDITS = "/console/credits"
PAGE = 50


@dataclass(frozen=True, slots=True)
class Payer:
    """An account, as people know it: by who signs in to it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class TopUp:
    """What an admin is about to pay in. `transfer`: the id that it will have, however often the form is sent."""

    transfer: str
    micros: int
    note: str


class CreditPages:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        """Raises NotFound, PermissionDenied."""
        return await self._page(visit, await _account(visit, visit.request.query_params.get("account", "")))

    async def review(self, visit: Visit) -> Response:
        """What is about to be paid in, to look at once more; nothing is paid in yet. Raises NotFound."""
        account = await _account(visit, visit.form.text("account"))
        try:
            top_up = _top_up(visit, visit.services.credits.new_transfer())
        except InvalidValue as error:
            return await self._page(visit, account, error=error)
        return await self._page(visit, account, top_up=top_up)

    async def top_up(self, visit: Visit) -> Response:
        """Pay in; the same form sent again changes nothing. Raises NotFound."""
        account = await _account(visit, visit.form.text("account"))
        try:
            paid = _top_up(visit, visit.form.text("transfer"))
            await visit.services.credits.top_up(account, paid.micros, transfer_id=paid.transfer, note=paid.note)
        except (InvalidValue, Conflict) as error:
            return await self._page(visit, account, error=error)
        return RedirectResponse(path_of(account, visit, done="paid"), 303)

    async def _page(
        self,
        visit: Visit,
        account: str,
        *,
        top_up: TopUp | None = None,
        error: PinxitError | None = None,
    ) -> Response:
        services, user = visit.services, visit.member
        after = visit.request.query_params.get("after") or None
        transfers = await services.credits.list_newest(account, after=after, limit=PAGE + 1)
        payers = _payers(await services.accounts.list(), await services.users.list()) if user.is_admin else []
        return self._pages.response(
            "credits",
            visit,
            status=200 if error is None else status_and_type(type(error))[0],
            error=error,
            account=account,
            is_own=account == user.account_id,
            name=next((payer.name for payer in payers if payer.id == account), account),
            payers=payers,
            credits=await services.credits.look(account),
            transfers=transfers[:PAGE],
            newest_path=path_of(account, visit),
            more_path=path_of(account, visit, after=transfers[PAGE - 1].id) if len(transfers) > PAGE else None,
            is_first=after is None,
            top_up=top_up,
            usd=visit.form.text("usd"),
            note=visit.form.text("note"),
            max_note=MAX_NOTE_CHARACTERS,
            now=services.now(),
            done=visit.request.query_params.get("done", ""),
        )


def path_of(account: str, visit: Visit, **fields: str) -> str:
    """Where the account's page is; the visitor's own has no name in its address."""
    query = urlencode({**({"account": account} if account != _own(visit) else {}), **fields})
    return f"{CREDITS}?{query}" if query else CREDITS


def _own(visit: Visit) -> str:
    return visit.member.account_id


async def _account(visit: Visit, wanted: str) -> str:
    """The account that is asked for, or one's own. Raises PermissionDenied, NotFound."""
    if wanted in ("", _own(visit)):
        return _own(visit)
    if not visit.member.is_admin:
        raise PermissionDenied("The credits of other accounts are shown to admins only.")
    try:
        await visit.services.accounts.require(wanted)
    except NotFound as error:
        raise NotFound("There is no such account.", param="account") from error
    return wanted


def _top_up(visit: Visit, transfer: str) -> TopUp:
    """Raises InvalidValue."""
    usd, note = visit.form.text("usd"), visit.form.text("note")
    if not usd:
        raise InvalidValue("Say how many US dollars, like 12.50.", param="usd")
    try:
        micros = to_micros(usd, param="The amount")
    except InvalidValue as error:
        raise InvalidValue(error.message, param="usd") from error
    if micros > MAX_TOP_UP_MICROS:
        raise InvalidValue(f"At most {MAX_TOP_UP_MICROS // 1_000_000} US dollars are paid in at once.", param="usd")
    if len(note) > MAX_NOTE_CHARACTERS:
        raise InvalidValue(f"A note has at most {MAX_NOTE_CHARACTERS} characters.", param="note")
    return TopUp(transfer, micros, note)


MAX_TOP_UP_MICROS = min(1_000_000 * 1_000_000, MAX_MICROS)
"""A million dollars: what is more than that is a slip of the finger."""


def _payers(accounts: Sequence[Account], users: Sequence[User]) -> list[Payer]:
    found = []
    for account in accounts:
        names = [user.name for user in users if user.account_id == account.id]
        named = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        found.append(Payer(account.id, f"{account.name}: {named}" if named and named != account.name else account.name))
    return found
