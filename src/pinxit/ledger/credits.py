"""What an account has, and what moved it: for people to look at, and to pay in."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, or_, select

from pinxit import audit
from pinxit.database.interface import Database
from pinxit.database.tables import transfers
from pinxit.errors import Conflict, InvalidValue, NotFound
from pinxit.ids import new_id
from pinxit.ledger import ledger
from pinxit.ledger.ledger import Kind, TransferKind, ledger_id

MAX_NOTE_CHARACTERS = 200
_TRANSFER_ID = re.compile(r"tr_[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credits:
    """All in micro-dollars. `spent`: from the credits in this month of UTC; `unbilled`: used in all while nobody was
    billed.
    """

    balance: int
    held: int
    spent: int
    unbilled: int

    @property
    def available(self) -> int:
        return self.balance - self.held


@dataclass(frozen=True, slots=True)
class Transfer:
    """One move of money, as its account sees it: `micros` is above zero for what came in.

    `is_billed`: whether it went from or to the account's credits; the use of one that is not billed is only counted.
    """

    id: str
    kind: TransferKind
    micros: int
    is_billed: bool
    order_id: str | None
    reference: str | None
    note: str | None
    created_at: datetime


class CreditService:
    """Reads what the ledger says of one account, and pays in."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def look(self, account_id: str) -> Credits:
        """How the account stands. Raises StorageUnavailable."""
        return await self._database.read(partial(_look, account_id=account_id, now=self._now()))

    async def list_newest(self, account_id: str, *, after: str | None, limit: int) -> list[Transfer]:
        """The account's transfers. Raises NotFound if `after` is none of them, StorageUnavailable."""
        return await self._database.read(partial(_list_newest, account_id=account_id, after=after, limit=limit))

    def new_transfer(self) -> str:
        """The id of a transfer that is still to be made: whoever asks twice with it pays in once."""
        return new_id("tr")

    async def top_up(self, account_id: str, micros: int, *, transfer_id: str, note: str) -> bool:
        """Pay money in for an account that is there. False if this very transfer was made before: nothing is paid in.

        Raises InvalidValue, Conflict if the id is another transfer's, StorageUnavailable.
        """
        if _TRANSFER_ID.fullmatch(transfer_id) is None:
            raise InvalidValue("This is no transfer's id.", param="transfer")
        if len(note) > MAX_NOTE_CHARACTERS:
            raise InvalidValue(f"A note has at most {MAX_NOTE_CHARACTERS} characters.", param="note")
        unit = partial(
            ledger.top_up,
            account_id=account_id,
            micros=micros,
            now=self._now(),
            id_=transfer_id,
            note=note or None,
            origin=audit.current(),
        )
        try:
            await self._database.write(unit)
        except Conflict:
            made = await self._database.read(partial(_find, transfer_id=transfer_id))
            if made is None or not _is_this(made, account_id, micros):
                raise
            return False
        return True


def _is_this(made: Row[Any], account_id: str, micros: int) -> bool:
    return bool(
        made.kind == TransferKind.TOP_UP.value
        and made.credit_id == ledger_id(Kind.CREDITS, account_id)
        and made.amount_micros == micros
    )


def _find(connection: Connection, transfer_id: str) -> Row[Any] | None:
    return connection.execute(select(transfers).where(transfers.c.id == transfer_id)).first()


def _look(connection: Connection, account_id: str, now: datetime) -> Credits:
    month = now.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    spent = connection.execute(
        select(func.coalesce(func.sum(transfers.c.amount_micros), 0)).where(
            transfers.c.debit_id == ledger_id(Kind.CREDITS, account_id), transfers.c.created_at >= month
        )
    ).scalar_one()
    balance, held = ledger.balance(connection, account_id)
    return Credits(balance, held, int(spent), ledger.unbilled(connection, account_id))


def _list_newest(connection: Connection, account_id: str, after: str | None, limit: int) -> list[Transfer]:
    credits_, unbilled = ledger_id(Kind.CREDITS, account_id), ledger_id(Kind.UNBILLED, account_id)
    sides = (transfers.c.debit_id == credits_, transfers.c.credit_id == credits_, transfers.c.debit_id == unbilled)
    older: tuple[ColumnElement[bool], ...] = ()
    if after is not None:
        start = connection.execute(select(transfers.c.created_at).where(transfers.c.id == after, or_(*sides))).first()
        if start is None:
            raise NotFound("There is no such transfer.", param="after")
        same_moment = and_(transfers.c.created_at == start.created_at, transfers.c.id < after)
        older = (
            transfers.c.created_at <= start.created_at,
            or_(transfers.c.created_at < start.created_at, same_moment),
        )
    newest = (transfers.c.created_at.desc(), transfers.c.id.desc())
    found: list[Row[Any]] = []  # each side by its own index; no database puts both into one order by itself
    for side in sides:
        found += connection.execute(select(transfers).where(side, *older).order_by(*newest).limit(limit)).all()
    found.sort(key=lambda row: (row.created_at, row.id), reverse=True)
    return [_from_row(row, credits_) for row in found[:limit]]


def _from_row(row: Row[Any], credits_: str) -> Transfer:
    return Transfer(
        id=row.id,
        kind=TransferKind(row.kind),
        micros=row.amount_micros if row.credit_id == credits_ else -row.amount_micros,
        is_billed=credits_ in (row.credit_id, row.debit_id),
        order_id=row.generation_id,
        reference=row.reference,
        note=row.note,
        created_at=row.created_at,
    )
