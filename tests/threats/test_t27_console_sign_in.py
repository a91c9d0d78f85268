"""T27: nobody guesses a password or stays in; and nobody keeps the right user out by guessing."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from front import Front
from pinxit.accounts import backoff
from pinxit.accounts.user import Role
from pinxit.database.tables import failed_sign_ins
from quick_passwords import _quick_passwords
from visitor import PASSWORD, Visitor, make_user

__all__ = ["_quick_passwords"]

WRONG = "not the password"


@pytest.fixture
async def clock(front: Front) -> Callable[[float], None]:
    """Moves the time of sign-ins on by seconds. There is a user, ada."""
    await make_user(front, "ada", Role.ADMIN)
    service, moment = front.house.services.users, [front.house.services.now()]

    def now() -> datetime:
        return moment[0]

    def move(seconds: float) -> None:
        moment[0] += timedelta(seconds=seconds)

    service._now = now
    return move


async def statuses(visitor: Visitor, name: str, password: str, times: int) -> list[int]:
    return [(await visitor.sign_in(name, password)).status_code for _ in range(times)]


@pytest.mark.both_databases
async def test_after_a_few_failures_one_waits(front: Front, clock: Callable[[float], None]):
    visitor = Visitor(front)
    assert await statuses(visitor, "ada", WRONG, 6) == [401, 401, 401, 401, 401, 429]
    refused = await visitor.sign_in("ada")
    assert refused.status_code == 429, "the right password does not help before the time is over"
    assert refused.headers["retry-after"] == "2"
    assert "Try again in 2 seconds" in refused.text
    clock(2)
    assert (await visitor.sign_in("ada")).status_code == 303


async def test_each_further_failure_doubles_the_wait_up_to_five_minutes(front: Front, clock: Callable[[float], None]):
    visitor = Visitor(front)
    await statuses(visitor, "ada", WRONG, 5)
    waits = []
    for _ in range(10):
        refused = await visitor.sign_in("ada", WRONG)
        waits.append(int(refused.headers["retry-after"]))
        clock(waits[-1])
        assert (await visitor.sign_in("ada", WRONG)).status_code == 401
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


async def test_tries_while_waiting_do_not_prolong_it(front: Front, clock: Callable[[float], None]):
    visitor = Visitor(front)
    await statuses(visitor, "ada", WRONG, 5)
    assert await statuses(visitor, "ada", WRONG, 20) == [429] * 20
    clock(2)
    assert (await visitor.sign_in("ada")).status_code == 303


@pytest.mark.both_databases
async def test_many_at_once_are_no_way_around(front: Front, clock: Callable[[float], None]):
    visitor = Visitor(front)
    csrf = await visitor.csrf()
    answers = await asyncio.gather(*(visitor.sign_in("ada", WRONG, csrf=csrf) for _ in range(20)))
    assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 15


async def test_who_guesses_elsewhere_keeps_nobody_out(front: Front, clock: Callable[[float], None]):
    stranger = Visitor(front, "203.0.113.7")
    assert 429 in await statuses(stranger, "ada", WRONG, 12)
    assert (await Visitor(front, "198.51.100.4").sign_in("ada")).status_code == 303


@pytest.mark.both_databases
async def test_nor_do_many_from_everywhere_whose_browser_is_known(front: Front, clock: Callable[[float], None]):
    known, fresh = Visitor(front, "198.51.100.4"), Visitor(front, "198.51.100.5")
    await known.sign_in("ada")
    await known.post("/console/sign-out")
    for number in range(52):
        await Visitor(front, f"203.0.113.{number}").sign_in("ada", WRONG)
    assert (await fresh.sign_in("ada")).status_code == 429, "a guess from everywhere is slowed down"
    assert (await known.sign_in("ada")).status_code == 303, "but not her own browser"
    clock(backoff.LONGEST_WAIT_SECONDS)
    assert (await fresh.sign_in("ada")).status_code == 303, "and nobody for ever"


async def test_a_device_cookie_is_for_its_user_and_counts_too(front: Front, clock: Callable[[float], None]):
    await make_user(front, "eve")
    eve = Visitor(front, "203.0.113.9")
    await eve.sign_in("eve")
    assert (await statuses(eve, "ada", WRONG, 6))[-1] == 429, "eve's browser is a stranger to ada"
    ada = Visitor(front, "198.51.100.4")
    await ada.sign_in("ada")
    assert (await statuses(ada, "ada", WRONG, 6))[-1] == 429, "a stolen browser is no free pass"


@pytest.mark.both_databases
async def test_one_s_own_success_does_not_wipe_out_guesses_at_others(front: Front, clock: Callable[[float], None]):
    await make_user(front, "eve")
    seen = []
    for number in range(30):
        seen.append((await Visitor(front, "203.0.113.9").sign_in(f"victim{number}", WRONG)).status_code)
        await Visitor(front, "203.0.113.9").sign_in("eve")
    assert seen[:20] == [401] * 20
    assert 429 in seen[20:]


async def test_a_name_that_is_not_there_looks_the_same(front: Front, clock: Callable[[float], None]):
    there, missing = Visitor(front, "203.0.113.1"), Visitor(front, "203.0.113.2")
    for _ in range(7):
        one, two = await there.sign_in("ada", WRONG), await missing.sign_in("nobody", WRONG)
        assert one.status_code == two.status_code
        csrf = await there.csrf(), await missing.csrf()
        assert one.text.replace(csrf[0], "").replace("ada", "?") == two.text.replace(csrf[1], "").replace("nobody", "?")


async def test_and_takes_the_same_work(front: Front, clock: Callable[[float], None], monkeypatch: pytest.MonkeyPatch):
    from pinxit.accounts import passwords

    checked: list[str] = []
    verify = passwords._verify
    monkeypatch.setattr(
        passwords, "_verify", lambda *given: checked.append(given[1].rsplit("$", 2)[0]) or verify(*given)
    )
    for name in ("ada", "nobody", "two words", "x" * 300):
        await Visitor(front).sign_in(name, WRONG)
    assert len(checked) == 4
    assert len(set(checked)) == 1, "the same parameters"


async def test_an_address_that_tries_many_names_waits(front: Front, clock: Callable[[float], None]):
    seen = [(await Visitor(front, "203.0.113.9").sign_in(f"name{number}", WRONG)).status_code for number in range(25)]
    assert seen == [401] * 20 + [429] * 5
    assert (await Visitor(front, "198.51.100.4").sign_in("ada")).status_code == 303


@pytest.mark.both_databases
async def test_what_is_counted_names_nobody_and_goes(front: Front, clock: Callable[[float], None]):
    await Visitor(front, "203.0.113.9").sign_in("ada", WRONG)
    rows = await front.rows(failed_sign_ins)
    assert len(rows) == 3
    assert not any("ada" in row.party or "203" in row.party[:4] for row in rows if not row.party.isalnum())
    clock(25 * 3600)
    await Visitor(front, "198.51.100.4").sign_in("bob", WRONG)
    assert len(await front.rows(failed_sign_ins)) == 3


@pytest.mark.both_databases
async def test_an_operator_opens_the_way_again(front: Front, clock: Callable[[float], None]):
    for number in range(52):
        await Visitor(front, f"203.0.113.{number}").sign_in("ada", WRONG)
    assert (await Visitor(front, "198.51.100.4").sign_in("ada")).status_code == 429
    await front.house.services.users.set_password("Ada", "another four words")
    assert (await Visitor(front, "198.51.100.4").sign_in("ada", "another four words")).status_code == 303


async def test_two_installations_have_different_secrets(front: Front, clock: Callable[[float], None]):
    one = front.house.services.users
    other = type(one)(front.house.database, now=one._now, secret=b"another installation's")
    device = (await one.sign_in("ada", PASSWORD, address="", device=None)).device
    assert one._read_device(device, "ada")
    assert other._read_device(device, "ada") is None


@pytest.mark.parametrize("token", ["", "x", "é", "x" * 5000, "a;b", "'; DROP TABLE users"])
async def test_a_made_up_session_is_none(front: Front, clock: Callable[[float], None], token: str):
    cookie = f"pinxit_session={token}".encode()
    answer = await front.client.get("/console/profile", headers=[(b"cookie", cookie), (b"accept", b"text/html")])
    assert answer.status_code == 303
