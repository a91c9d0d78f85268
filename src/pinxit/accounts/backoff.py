"""Failed sign-ins make the next ones wait, by who tries what, and never shut anybody out for good.

Three parties are counted: a name from an address; an address, whatever the name; and a name from everywhere. The
last has so many tries that only a guess from many addresses uses them up, and browsers that have signed in before
(they show a device cookie) are not counted for it and do not wait for it: a stranger who guesses at somebody's name
keeps strangers out, not that somebody
(https://owasp.org/www-community/Slow_Down_Online_Guessing_Attacks_with_Device_Cookies, read 2026-11-22).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, text

from pinxit.database.tables import failed_sign_ins
from pinxit.database.types import Timestamp

FORGOTTEN_AFTER = timedelta(hours=1)
"""Failures count together while none of them is further from the next."""
LONGEST_WAIT_SECONDS = 300
SHORTEST_WAIT_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Party:
    """Who tried what, as a hash: the table holds no name and no address. `free` failures cost no wait."""

    id: str
    free: int
    is_own: bool = False
    """Whether nobody else is counted with it."""


def parties(name: str, address: str, device: str | None) -> list[Party]:
    """Whose failures count for this try. `device`: names a browser that this user has signed in with before."""
    if device is not None:
        return [Party(_hash("device", name, device), free=5, is_own=True)]
    network = _network(address)
    return [
        Party(_hash("pair", name, network), free=5, is_own=True),
        Party(_hash("address", network), free=20),
        Party(_hash("name", name), free=50),
    ]


def parties_elsewhere(address: str) -> list[Party]:
    """Whose failures count where somebody else asks for the password: we only see from where."""
    return [Party(_hash("elsewhere", _network(address)), free=20, is_own=True)]


def wait_seconds(failures: int, free: int) -> int:
    """2, 4, 8 … 300 seconds, once the free failures are used up."""
    if failures < free:
        return 0
    return min(LONGEST_WAIT_SECONDS, SHORTEST_WAIT_SECONDS << min(failures - free, 16))


_LOCK = text("""
    INSERT INTO failed_sign_ins (party, failures, failed_at, wait_until) VALUES (:party, 0, :now, :now)
    ON CONFLICT (party) DO UPDATE SET failures = failed_sign_ins.failures
    RETURNING failures, failed_at, wait_until
""").bindparams(bindparam("now", type_=Timestamp))


def claim(connection: Connection, who: Sequence[Party], now: datetime) -> timedelta:
    """Zero, and the try is counted as failed until `forgive` says otherwise: many at once are no way around. Or how
    long to wait, and nothing is counted: who is impatient does not wait longer.
    """
    connection.execute(failed_sign_ins.delete().where(failed_sign_ins.c.failed_at < now - 24 * FORGOTTEN_AFTER))
    ordered = sorted(who, key=lambda party: party.id)  # so that two at once do not wait for each other
    standings = [_lock(connection, party, now) for party in ordered]
    left: timedelta = max(standing.wait_until for standing in standings) - now
    if left > timedelta(0):
        return left
    for party, standing in zip(ordered, standings, strict=True):
        is_forgotten = standing.failed_at < now - FORGOTTEN_AFTER
        failures = 1 if is_forgotten else standing.failures + 1
        until = now + timedelta(seconds=wait_seconds(failures, party.free))
        connection.execute(
            failed_sign_ins.update()
            .where(failed_sign_ins.c.party == party.id)
            .values(failures=failures, failed_at=now, wait_until=until)
        )
    return timedelta(0)


def begins_to_wait(connection: Connection, who: Sequence[Party], now: datetime) -> bool:
    """Whether the try that was just claimed is the first one after which one of these parties has to wait."""
    rows = connection.execute(failed_sign_ins.select().where(_any_of(who), failed_sign_ins.c.wait_until > now))
    free = {party.id: party.free for party in who}
    return any(row.failures == free[row.party] for row in rows)


def _lock(connection: Connection, party: Party, now: datetime) -> Row[Any]:
    """Its row, made if there is none, which nobody else reads until the end of the transaction."""
    row = connection.execute(_LOCK.columns(failed_at=Timestamp, wait_until=Timestamp), {"party": party.id, "now": now})
    return row.one()


def forgive(connection: Connection, who: Sequence[Party], now: datetime) -> None:
    """It succeeded. What only this user has tried here is forgotten; of what is shared with others, only this try:
    nobody wipes out guesses at other names by signing in to their own.
    """
    own = [party for party in who if party.is_own]
    connection.execute(failed_sign_ins.delete().where(_any_of(own)))
    connection.execute(
        failed_sign_ins.update()
        .where(_any_of([party for party in who if not party.is_own]))
        .values(failures=failed_sign_ins.c.failures - 1, wait_until=now)
    )


def _any_of(who: Sequence[Party]) -> ColumnElement[bool]:
    return failed_sign_ins.c.party.in_([party.id for party in who])


def forget_name(connection: Connection, name: str) -> None:
    """After an operator gave this user a new password: strangers may try anew."""
    connection.execute(failed_sign_ins.delete().where(failed_sign_ins.c.party == _hash("name", name)))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def _network(address: str) -> str:
    """The address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or IPv6Address(int(parsed) >> 64 << 64))
    return address
