"""Passwords at their full price."""

import asyncio

import pytest

from pinxit.accounts import passwords
from pinxit.accounts.passwords import PasswordDesk
from pinxit.errors import Overloaded

PASSWORD = "four words make one"


async def test_the_parameters_are_those_of_the_cheat_sheet():
    hashed = await PasswordDesk().hash(PASSWORD)
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await PasswordDesk().verify(PASSWORD, hashed)
    assert not await PasswordDesk().verify(PASSWORD + " ", hashed)
    assert await PasswordDesk().hash(PASSWORD) != hashed


async def test_the_same_letters_from_another_keyboard():
    desk = PasswordDesk()
    assert await desk.verify("cafe\u0301 au lait", await desk.hash("caf\u00e9 au lait"))


@pytest.mark.parametrize("kept", [None, "", "x", "$argon2id$broken", "plain text"])
async def test_what_is_no_hash_fits_nothing(kept: str | None):
    assert not await PasswordDesk().verify(PASSWORD, kept)
    assert not await PasswordDesk().verify("nobody has this password", kept)


async def test_a_crowd_is_told_to_come_back():
    desk = PasswordDesk()
    answers = await asyncio.gather(*(desk.hash(PASSWORD) for _ in range(20)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, Overloaded)]
    assert len(refused) == 20 - passwords.MAX_WAITING
    assert await desk.hash(PASSWORD), "and nobody later"
