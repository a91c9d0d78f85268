"""Moves of money. Each function is a part of its caller's transaction, and takes its place in the order's own two.

Accounts of the ledger, by their sign: `funding` and `unbilled:…` go below zero as money enters or is metered, `revenue`
and `credits:…` are at zero or above; the sum of all is always zero.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from sqlalchemy import BigInteger, Connection, bindparam, select, text
from sqlalchemy.exc import IntegrityError

from pinxit import audit
from pinxit.database.prepared import Prepared
from pinxit.database.tables import holds, ledger_accounts, transfers
from pinxit.database.types import from_micros
from pinxit.errors import Conflict, InsufficientCredits, InvalidValue
from pinxit.ids import new_id
from pinxit.ledger import budgets
from pinxit.ledger.dollars import MAX_MICROS


class Kind(StrEnum):
    """What a ledger account is for."""

    CREDITS = "credits"
    """What an account has paid in and not yet spent; never below zero."""
    UNBILLED = "unbilled"
    """What an account has used where nobody is billed."""
    REVENUE = "revenue"
    FUNDING = "funding"
    """Where top-ups come from."""
    LOSS = "loss"
    """What we paid for pictures that no customer could fetch."""


class HoldStatus(StrEnum):
    """held → posted | voided, once."""

    HELD = "held"
    POSTED = "posted"
    VOIDED = "voided"


class TransferKind(StrEnum):
    """Why money moved."""

    TOP_UP = "top_up"
    REFUND = "refund"
    POST = "post"


def ledger_id(kind: Kind, account_id: str | None = None) -> str:
    """`credits:acct_…` for an account's own, `revenue` for the house's."""
    return f"{kind.value}:{account_id}" if account_id else kind.value


_THIS = ledger_accounts.c.id == bindparam("ledger_id")
_MICROS = bindparam("micros", type_=BigInteger)
_FIND = Prepared(select(ledger_accounts.c.id).where(_THIS))
_HOLD_MORE = ledger_accounts.update().where(_THIS).values(held_micros=ledger_accounts.c.held_micros + _MICROS)
_METER = Prepared(_HOLD_MORE)
_RESERVE = Prepared(_HOLD_MORE.where(ledger_accounts.c.balance_micros - ledger_accounts.c.held_micros >= _MICROS))
_END_HOLD = Prepared(
    ledger_accounts.update()
    .where(_THIS)
    .values(
        held_micros=ledger_accounts.c.held_micros - bindparam("given_back", type_=BigInteger),
        balance_micros=ledger_accounts.c.balance_micros - _MICROS,
    )
)
_MOVE = Prepared(
    ledger_accounts.update().where(_THIS).values(balance_micros=ledger_accounts.c.balance_micros + _MICROS)
)
_INSERT_HOLD = Prepared(
    holds.insert(), sets=("generation_id", "ledger_account_id", "amount_micros", "status", "created_at", "api_key_id")
)
_FIND_HOLD = Prepared(
    select(
        holds.c.ledger_account_id, holds.c.amount_micros, holds.c.status, holds.c.api_key_id, holds.c.created_at
    ).where(holds.c.generation_id == bindparam("of_order"))
)
_RESOLVE = Prepared(
    holds.update().where(holds.c.generation_id == bindparam("of_order"), holds.c.status == HoldStatus.HELD.value),
    sets=("status", "posted_micros", "resolved_at"),
)
_INSERT_TRANSFER = Prepared(
    transfers.insert(),
    sets=("id", "kind", "debit_id", "credit_id", "amount_micros", "generation_id", "reference", "created_at", "note"),
)
_OPEN = text("""
    INSERT INTO ledger_accounts (id, account_id, kind, balance_micros, held_micros)
    VALUES (:id, :account, :kind, 0, 0) ON CONFLICT (id) DO NOTHING
""")


def ensure(connection: Connection, kind: Kind, account_id: str | None = None) -> str:
    """The ledger account, made with a balance of zero if it is not there yet. Returns its id."""
    id_ = ledger_id(kind, account_id)
    if _FIND.run(connection, {"ledger_id": id_}).fetchone() is None:
        connection.execute(_OPEN, {"id": id_, "account": account_id, "kind": kind.value})
    return id_


def balance(connection: Connection, account_id: str) -> tuple[int, int]:
    """The account's credits and how many of them are held, in micro-dollars."""
    row = connection.execute(
        select(ledger_accounts.c.balance_micros, ledger_accounts.c.held_micros).where(
            ledger_accounts.c.id == ledger_id(Kind.CREDITS, account_id)
        )
    ).first()
    return (row.balance_micros, row.held_micros) if row else (0, 0)


def unbilled(connection: Connection, account_id: str) -> int:
    """What the account used where nobody was billed, in micro-dollars."""
    id_ = ledger_id(Kind.UNBILLED, account_id)
    query = select(ledger_accounts.c.balance_micros).where(ledger_accounts.c.id == id_)
    return -(connection.execute(query).scalar_one_or_none() or 0)


def top_up(
    connection: Connection,
    account_id: str,
    micros: int,
    *,
    now: datetime,
    reference: str | None = None,
    id_: str | None = None,
    note: str | None = None,
    origin: audit.Origin = audit.Origin(),  # noqa: B008 - it is frozen
) -> None:
    """Pay money in. The same `reference`, or the same `id_` of the transfer, again is Conflict, and pays nothing: a
    payment counts once.

    `origin`: whose doing the audit log calls it; ask `audit.current()` before the transaction.
    """
    _require_amount(micros)
    credits_ = ensure(connection, Kind.CREDITS, account_id)
    funding = ensure(connection, Kind.FUNDING)
    _write_down(
        connection, TransferKind.TOP_UP, funding, credits_, micros, now=now, reference=reference, id_=id_, note=note
    )
    _MOVE.run(connection, {"ledger_id": credits_, "micros": micros})
    # Rows that every order changes come last: who holds one waits for nobody, so nobody waits in a circle.
    _MOVE.run(connection, {"ledger_id": funding, "micros": -micros})
    audit.note(
        connection,
        origin,
        audit.Action.ACCOUNT_TOPPED_UP,
        audit.Thing("account", account_id),
        account_id=account_id,
        at=now,
        after={"paid_in_micros": micros, "reference": reference, "note": note},
    )


def hold(
    connection: Connection,
    generation_id: str,
    account_id: str,
    micros: int,
    *,
    billed: bool,
    now: datetime,
    api_key_id: str | None = None,
    spending_limits: Mapping[str, int] | None = None,
) -> None:
    """Reserve the price of an order. `billed`: from the account's credits, else it is only metered.

    `spending_limits`: the budgets of the key that pays, period → micro-dollars. An order that costs nothing needs none.
    Raises InsufficientCredits or BudgetExceeded, and then the caller's transaction must be undone. One conditional
    UPDATE looks and takes: two orders cannot both have the last of a balance.
    """
    _require_amount(micros, least=0)
    source = ensure(connection, Kind.CREDITS if billed else Kind.UNBILLED, account_id)
    _INSERT_HOLD.run(
        connection,
        {
            "generation_id": generation_id,
            "ledger_account_id": source,
            "amount_micros": micros,
            "status": HoldStatus.HELD.value,
            "created_at": now,
            "api_key_id": api_key_id,
        },
    )
    # The rows that others want come last, so that they are kept from them no longer than need be.
    if micros:  # what is free waits for nobody
        _reserve(connection, source, micros, billed=billed)
    if api_key_id is not None and micros:
        budgets.hold(connection, api_key_id, account_id, micros, spending_limits or {}, now=now)


def _reserve(connection: Connection, source: str, micros: int, *, billed: bool) -> None:
    reserved = (_RESERVE if billed else _METER).run(connection, {"ledger_id": source, "micros": micros})
    if reserved.rowcount != 1:
        raise InsufficientCredits


def post(connection: Connection, generation_id: str, micros: int, *, now: datetime) -> bool:
    """Charge an order, at most what was held. False if its hold is resolved already: nothing is charged twice."""
    _require_amount(micros, least=0)
    return _resolve(connection, generation_id, HoldStatus.POSTED, micros, now)


def void(connection: Connection, generation_id: str, *, now: datetime) -> bool:
    """Give back what was held; nothing is charged. False if the hold is resolved already."""
    return _resolve(connection, generation_id, HoldStatus.VOIDED, 0, now)


def _resolve(connection: Connection, generation_id: str, status: HoldStatus, posted: int, now: datetime) -> bool:
    """End the hold once, and charge `posted` micro-dollars of it; False if it had ended before.

    The rows that other orders want, too, come last, one statement each: they are kept from them until the commit.
    """
    row = _FIND_HOLD.run(connection, {"of_order": generation_id}).fetchone()
    if row is None:
        return False
    source, held, found_status, api_key_id, held_at = row
    if found_status != HoldStatus.HELD.value:
        return False
    if posted > held:
        raise InvalidValue("More cannot be charged than was held.")
    end = {"of_order": generation_id, "status": status.value, "posted_micros": posted, "resolved_at": now}
    if _RESOLVE.run(connection, end).rowcount != 1:
        return False
    revenue = ""
    if posted:
        revenue = ensure(connection, Kind.REVENUE)
        _write_down(connection, TransferKind.POST, source, revenue, posted, generation_id=generation_id, now=now)
    if held:
        _END_HOLD.run(connection, {"ledger_id": source, "given_back": held, "micros": posted})
    if api_key_id is not None and held:
        budgets.settle(connection, api_key_id, held, posted, held_at=from_micros(held_at))
    if posted:
        _MOVE.run(connection, {"ledger_id": revenue, "micros": posted})
    return True


def _write_down(
    connection: Connection,
    kind: TransferKind,
    source: str,
    target: str,
    micros: int,
    *,
    now: datetime,
    generation_id: str | None = None,
    reference: str | None = None,
    id_: str | None = None,
    note: str | None = None,
) -> None:
    """The row of a transfer, which is never changed again (a trigger sees to it). Raises Conflict."""
    try:
        _INSERT_TRANSFER.run(
            connection,
            {
                "id": id_ or new_id("tr"),
                "kind": kind.value,
                "debit_id": source,
                "credit_id": target,
                "amount_micros": micros,
                "generation_id": generation_id,
                "reference": reference,
                "created_at": now,
                "note": note,
            },
        )
    except IntegrityError as error:
        raise Conflict("This transfer has been made already.", param="reference") from error


def _require_amount(micros: int, *, least: int = 1) -> None:
    if isinstance(micros, bool) or not isinstance(micros, int) or not least <= micros <= MAX_MICROS:
        raise InvalidValue(f"An amount must be a whole number of micro-dollars from {least} to {MAX_MICROS}.")
