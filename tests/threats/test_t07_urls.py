"""T7: nobody guesses, extends or alters the URL of a picture."""

import json
import random
import string
import uuid
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from asgi import call
from front import BASE_URL, Front, MakeFront
from pinxit.api.errors import STATUS_AND_TYPE
from pinxit.library.urls import ImageUrls

TTL = 100


class Clock:
    """The time, to be moved by hand. It begins at a whole second: URLs count in those."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("pinxit.app.utc_now", clock)
    return clock


@pytest.fixture
async def signed(make_front: MakeFront, clock: Clock) -> Front:
    return await make_front(signed_urls=True, url_ttl_seconds=TTL)


async def paint(front: Front) -> str:
    """Path and query of a new picture's URL."""
    return (await front.generate()).json()["data"][0]["url"].removeprefix(BASE_URL)


async def open_(front: Front, target: str) -> tuple[int, str]:
    """Status and type of error."""
    answer = await call(front.app, "GET", target.encode())
    return answer.status, answer.json()["error"]["type"] if answer.status >= 400 else ""


async def test_a_signed_url_opens_until_its_second_and_no_longer(signed: Front, clock: Clock):
    url = await paint(signed)
    for forward, expected in ((0, 200), (TTL - 1, 200), (0.999, 200), (0.001, 403), (10_000_000, 403)):
        clock.forward(forward)
        assert (await open_(signed, url))[0] == expected
    assert await open_(signed, url) == (403, "url_expired")
    assert (403, "url_expired") in STATUS_AND_TYPE.values()


async def test_a_clock_that_goes_back_opens_nothing_more(signed: Front, clock: Clock):
    url = await paint(signed)
    clock.forward(-300)
    assert (await open_(signed, url))[0] == 200
    clock.forward(300 + TTL)
    assert (await open_(signed, url))[0] == 403


async def test_no_changed_bit_of_a_signature_opens(signed: Front):
    for _ in range(5):
        path, _, query = (await paint(signed)).partition("?")
        values = {name: value for name, (value,) in parse_qs(query).items()}
        signature = values["signature"].encode()
        for position in range(len(signature)):
            for bit in range(8):
                changed = bytearray(signature)
                changed[position] ^= 1 << bit
                coded = "".join(f"%{byte:02x}" for byte in changed)
                target = f"{path}?expires={values['expires']}&signature={coded}"
                assert await open_(signed, target) == (404, "not_found_error"), target


async def test_no_other_character_at_its_end_opens(signed: Front):
    """Base64 has spare bits in the last of 43 characters: they do not make a second right signature."""
    url = await paint(signed)
    opened = [
        letter for letter in string.printable if (await open_(signed, url[:-1] + f"%{ord(letter):02x}"))[0] == 200
    ]
    assert opened == [url[-1]]
    for tail in ("=", "A", "%00", "&expires=9999999999", "&signature=x"):
        assert (await open_(signed, url + tail))[0] == 404
    assert (await open_(signed, url[:-1]))[0] == 404


async def test_no_other_expiry_opens(signed: Front):
    url = await paint(signed)
    expires = int(parse_qs(urlsplit(url).query)["expires"][0])
    texts = [expires + 1, expires - 1, expires + 10_000, 0, "", f"+{expires}", f" {expires}", f"0{expires}"]
    texts += [f"{expires}.0", f"{expires}e0", "9" * 400, "-1", "nan", f"{expires}%00"]
    for text in texts:
        assert await open_(signed, url.replace(f"expires={expires}", f"expires={text}")) == (404, "not_found_error")


async def test_an_expired_url_with_a_wrong_signature_is_not_there(signed: Front, clock: Clock):
    url = await paint(signed)
    clock.forward(TTL + 1)
    assert await open_(signed, url.replace("signature=", "signature=x")) == (404, "not_found_error")


async def test_a_signature_opens_its_own_picture_only(signed: Front):
    first, second = await paint(signed), await paint(signed)
    swapped = f"{first.partition('?')[0]}?{second.partition('?')[2]}"
    assert await open_(signed, swapped) == (404, "not_found_error")


async def test_a_signed_picture_needs_its_signature_to_the_letter(signed: Front):
    url = await paint(signed)
    path, _, query = url.partition("?")
    assert (await open_(signed, path))[0] == 404
    assert (await open_(signed, f"{path}?{query.split('&')[1]}"))[0] == 404
    assert (await open_(signed, f"{path}?{query.upper()}"))[0] == 404
    assert (await open_(signed, url.replace(".png", ".jpeg")))[0] == 404
    assert (await open_(signed, url.replace(".png", ".PNG")))[0] == 404
    assert (await open_(signed, f"{path}?{'&'.join(reversed(query.split('&')))}"))[0] == 200


async def test_what_is_refused_looks_like_what_is_not_there(signed: Front):
    url = await paint(signed)
    wrong = await call(signed.app, "GET", url.replace("signature=", "signature=x").encode())
    missing = await call(signed.app, "GET", url.replace("pinxit_", "pinxit_0").encode())
    without = await call(signed.app, "GET", url.partition("?")[0].encode())
    assert wrong.body == missing.body == without.body


async def test_a_secret_of_another_installation_signs_nothing_here(signed: Front):
    url = await paint(signed)
    stored = await signed.house.services.library.list("acct_default", after=None, limit=1)
    forged = ImageUrls(b"\0" * 32).path(stored[0].image)
    assert forged.partition("&")[0] == url.partition("&")[0]
    assert await open_(signed, forged) == (404, "not_found_error")


async def test_a_deleted_picture_s_url_is_404_also_when_expired(signed: Front, clock: Clock):
    datum = (await signed.generate()).json()["data"][0]
    await signed.client.delete(f"/v1/images/{datum['id']}", headers=signed.authorization)
    target = datum["url"].removeprefix(BASE_URL)
    assert (await open_(signed, target))[0] == 404
    clock.forward(TTL + 1)
    assert (await open_(signed, target))[0] == 404


async def test_a_picture_s_url_is_the_same_whenever_it_is_asked_for(signed: Front, clock: Clock):
    datum = (await signed.generate()).json()["data"][0]
    clock.forward(30)
    image = await signed.client.get(f"/v1/images/{datum['id']}", headers=signed.authorization)
    assert image.json()["url"] == datum["url"]


async def test_a_key_s_own_ttl_beats_the_server_s(signed: Front, clock: Clock):
    signed.key = await signed.make_key(url_ttl_seconds=10)
    url = await paint(signed)
    clock.forward(9)
    assert (await open_(signed, url))[0] == 200
    clock.forward(1)
    assert await open_(signed, url) == (403, "url_expired")


async def test_a_key_may_have_expiring_urls_where_the_server_has_none(make_front: MakeFront, clock: Clock):
    front = await make_front()
    front.key = await front.make_key(url_ttl_seconds=10)
    url = await paint(front)
    assert "signature=" in url
    assert (await open_(front, url.partition("?")[0]))[0] == 404
    clock.forward(10)
    assert await open_(front, url) == (403, "url_expired")


async def test_an_expiring_picture_is_not_cached(signed: Front):
    assert (await call(signed.app, "GET", (await paint(signed)).encode())).headers[
        "cache-control"
    ] == "private, no-cache"


async def test_random_names_open_nothing(front: Front):
    await front.generate()
    source = random.Random(20261122)
    for _ in range(500):
        name = uuid.UUID(int=source.getrandbits(128), version=4)
        assert (await open_(front, f"/image/generated%2Fpinxit_{name}.png"))[0] == 404


async def test_names_do_not_follow_from_one_another(front: Front):
    """122 random bits each: of 50 pictures no two share even 40 bits."""
    names = [json.loads((await front.generate(n=10)).content)["data"] for _ in range(5)]
    parts = [datum["url"].rpartition("pinxit_")[2][:11] for data in names for datum in data]
    assert len(set(parts)) == len(parts) == 50
