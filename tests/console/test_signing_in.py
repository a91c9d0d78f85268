"""The ways in and out of the console."""

import re
from datetime import timedelta

import pytest

from front import Front, MakeFront
from pinxit.accounts.user import Role
from pinxit.database.tables import accounts, join_links, user_sessions, users
from visitor import PASSWORD, Visitor, make_user, visitor_as


async def joined(visitor: Visitor, token: str, name: str = "ada@example.com", **fields: str):
    entries = {"token": token, "name": name, "password": PASSWORD, "again": PASSWORD, **fields}
    return await visitor.post("/console/join", **entries)


@pytest.mark.both_databases
async def test_the_first_link_makes_an_admin_of_the_first_account(front: Front):
    token = await front.house.services.users.first_link()
    visitor = Visitor(front)
    page = await visitor.get(f"/console/join?token={token}")
    assert "This server is yours now" in page.text
    response = await joined(visitor, token or "")
    assert (response.status_code, response.headers["location"]) == (303, "/console")
    (user,) = await front.rows(users)
    assert (user.name, user.role, user.account_id) == ("ada@example.com", "admin", "acct_default")
    assert (await visitor.get("/console/people")).status_code == 200


@pytest.mark.both_databases
async def test_it_works_once(front: Front):
    token = await front.house.services.users.first_link() or ""
    assert (await joined(Visitor(front), token)).status_code == 303
    again = await joined(Visitor(front), token, "eve")
    assert again.status_code == 404
    assert "does not work any more" in again.text
    assert len(await front.rows(users)) == 1
    assert await front.house.services.users.first_link() is None


async def test_a_newer_first_link_ends_the_older(front: Front):
    older, newer = [await front.house.services.users.first_link() or "" for _ in range(2)]
    assert (await joined(Visitor(front), older)).status_code == 404
    assert (await joined(Visitor(front), newer)).status_code == 303


async def test_the_first_link_is_worthless_once_there_is_a_user(front: Front):
    token = await front.house.services.users.first_link() or ""
    await make_user(front, "made@machine", Role.ADMIN, "acct_default")
    assert (await joined(Visitor(front), token)).status_code == 404


@pytest.mark.both_databases
async def test_links_expire(front: Front):
    service = front.house.services.users
    first = await service.first_link() or ""
    _, invitation = await service.invite(Role.MEMBER, account_id=None, note="")
    now = front.house.services.now()
    service._now = lambda: now + timedelta(days=1, seconds=1)
    assert (await joined(Visitor(front), first)).status_code == 404
    service._now = lambda: now + timedelta(days=7, seconds=1)
    assert (await joined(Visitor(front), invitation)).status_code == 404


async def test_a_link_that_is_only_looked_at_still_works(front: Front):
    token = await front.house.services.users.first_link() or ""
    for _ in range(3):
        assert (await Visitor(front).get(f"/console/join?token={token}")).status_code == 200
    assert (await joined(Visitor(front), token)).status_code == 303


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"password": "short", "again": "short"}, "at least 10"),
        ({"again": "something else"}, "not the same"),
        ({"password": "password123", "again": "password123"}, "among the first"),
        ({"password": "aaaaaaaaaaaa", "again": "aaaaaaaaaaaa"}, "among the first"),
        ({"name": "two words"}, "no spaces"),
        ({"name": ""}, "1 to 200"),
        ({"name": "x" * 201}, "1 to 200"),
        ({"name": "right\u202eleft"}, "cannot be seen"),
    ],
)
async def test_what_cannot_be_chosen_is_said_and_the_link_stays(front: Front, fields: dict[str, str], said: str):
    token = await front.house.services.users.first_link() or ""
    visitor = Visitor(front)
    response = await joined(visitor, token, **fields)
    assert (response.status_code, said in response.text) == (422, True)
    assert (await joined(visitor, token)).status_code == 303


@pytest.mark.both_databases
async def test_an_invitation_to_an_account_of_one_s_own(front: Front):
    admin = await visitor_as(front, "admin", Role.ADMIN, "acct_default")
    page = await admin.post("/console/people/invite", role="member", account="own", note="Grace")
    (token,) = re.findall(r"/console/join\?token=([\w-]{43})", page.text)
    guest = Visitor(front)
    assert (await joined(guest, token, "grace")).status_code == 303
    grace = next(user for user in await front.rows(users) if user.name == "grace")
    assert (grace.role, grace.account_id == "acct_default") == ("member", False)
    assert {account.id for account in await front.rows(accounts)} == {"acct_default", grace.account_id}


@pytest.mark.both_databases
async def test_a_withdrawn_invitation(front: Front):
    admin = await visitor_as(front, "admin", Role.ADMIN, "acct_default")
    page = await admin.post("/console/people/invite", role="member", account="shared", note="")
    (token,) = re.findall(r"/console/join\?token=([\w-]{43})", page.text)
    (link,) = await front.rows(join_links)
    assert (await admin.post(f"/console/people/links/{link.id}/withdraw")).status_code == 303
    assert (await joined(Visitor(front), token)).status_code == 404


@pytest.mark.both_databases
async def test_two_people_have_two_names(front: Front):
    await make_user(front, "ada")
    _, token = await front.house.services.users.invite(Role.MEMBER, account_id=None, note="")
    for same in ("ada", "ADA", " Ada ", "ａｄａ"):
        response = await joined(Visitor(front), token, same)
        assert (response.status_code, "this name already" in response.text) == (409, True)


async def test_signing_in_leads_to_where_one_wanted_to_go(front: Front):
    await make_user(front, "ada", Role.ADMIN)
    visitor = Visitor(front)
    led = await visitor.get("/console/people")
    assert (led.status_code, led.headers["location"]) == (303, "/console/sign-in?next=/console/people")
    assert 'value="/console/people"' in (await visitor.get(led.headers["location"])).text
    response = await visitor.sign_in("ADA", next="/console/people")
    assert response.headers["location"] == "/console/people"


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "/console//evil", "/image/x", "console/keys", "/v1"],
)
async def test_and_nowhere_else(front: Front, elsewhere: str):
    await make_user(front, "ada")
    assert (await Visitor(front).sign_in("ada", next=elsewhere)).headers["location"] == "/console"


async def test_cookies_are_out_of_reach(front: Front):
    await make_user(front, "ada")
    response = await Visitor(front).sign_in("ada")
    cookies = response.headers.get_list("set-cookie")
    assert {cookie.partition("=")[0] for cookie in cookies} == {"pinxit_session", "pinxit_device"}
    for cookie in cookies:
        assert {"httponly", "path=/", "samesite=strict"} <= set(cookie.lower().split("; "))
        assert "secure" not in cookie.lower()


async def test_over_https_they_are_for_this_host_and_https_only(make_front: MakeFront):
    front = await make_front(public_url="https://pictures.example.com")
    await make_user(front, "ada")
    visitor = Visitor(front)
    page = await visitor.get("/console/sign-in")
    (token,) = re.findall(r'name="csrf" value="(\w+)"', page.text)
    (cookie,) = page.headers.get_list("set-cookie")
    assert cookie.startswith("__Host-pinxit_visit=")
    answer = await visitor.http.post(
        "/console/sign-in",
        data={"csrf": token, "name": "ada", "password": PASSWORD},
        headers={"origin": "https://pictures.example.com", "cookie": cookie.partition(";")[0]},
    )
    assert answer.status_code == 303
    for cookie in answer.headers.get_list("set-cookie"):
        assert cookie.startswith("__Host-")
        assert "secure" in cookie.lower().split("; ")


async def test_signing_out_ends_the_session_for_good(front: Front):
    visitor = await visitor_as(front, "ada")
    old = visitor.session
    assert (await visitor.post("/console/sign-out")).headers["location"] == "/console/sign-in"
    assert not visitor.is_signed_in
    visitor.http.cookies.set("pinxit_session", old, domain="127.0.0.1", path="/")
    assert (await visitor.get("/console/models")).status_code == 303
    assert await front.rows(user_sessions) == []


@pytest.mark.both_databases
async def test_a_new_password_signs_out_everybody_else(front: Front):
    visitor = await visitor_as(front, "ada")
    other = Visitor(front)
    await other.sign_in("ada")
    before = visitor.session
    fields = {"old_password": PASSWORD, "password": "another four words", "again": "another four words"}
    assert (await visitor.post("/console/profile/password", **fields)).status_code == 303
    assert visitor.session != before
    assert (await visitor.get("/console/profile")).status_code == 200
    assert (await other.get("/console/profile")).status_code == 303
    assert (await Visitor(front).sign_in("ada")).status_code == 401
    assert (await Visitor(front).sign_in("ada", "another four words")).status_code == 303


async def test_it_takes_the_old_one(front: Front):
    visitor = await visitor_as(front, "ada")
    fields = {"old_password": "not this one", "password": "another four words", "again": "another four words"}
    response = await visitor.post("/console/profile/password", **fields)
    assert (response.status_code, "not your password" in response.text) == (422, True)
    assert (await Visitor(front).sign_in("ada")).status_code == 303


async def test_signing_out_everywhere(front: Front):
    visitor, other = await visitor_as(front, "ada"), Visitor(front)
    await other.sign_in("ada")
    await visitor.post("/console/profile/sign-out-everywhere")
    assert (await other.get("/console/profile")).status_code == 303


@pytest.mark.both_databases
async def test_who_is_removed_is_out_at_once(front: Front):
    admin = await visitor_as(front, "admin", Role.ADMIN, "acct_default")
    member = await visitor_as(front, "ada")
    ada = next(user for user in await front.rows(users) if user.name == "ada")
    assert (await admin.post(f"/console/people/{ada.id}/remove")).status_code == 303
    assert (await member.get("/console/profile")).status_code == 303
    assert (await Visitor(front).sign_in("ada")).status_code == 401
    assert (await admin.post(f"/console/people/{ada.id}/remove")).status_code == 404


async def test_a_role_holds_at_once(front: Front):
    admin = await visitor_as(front, "admin", Role.ADMIN, "acct_default")
    other = await visitor_as(front, "other", Role.ADMIN, "acct_default")
    other_id = next(user.id for user in await front.rows(users) if user.name == "other")
    assert (await other.get("/console/people")).status_code == 200
    assert (await admin.post(f"/console/people/{other_id}/role", role="member")).status_code == 303
    assert (await other.get("/console/people")).status_code == 403


@pytest.mark.both_databases
async def test_somebody_stays_an_admin(front: Front):
    admin = await visitor_as(front, "admin", Role.ADMIN, "acct_default")
    (user,) = await front.rows(users)
    for action, fields in (("remove", {}), ("role", {"role": "member"})):
        response = await admin.post(f"/console/people/{user.id}/{action}", **fields)
        assert (response.status_code, "has to be an admin" in response.text) == (422, True)
    assert (await admin.get("/console/people")).status_code == 200


@pytest.mark.both_databases
async def test_sessions_end_by_themselves(front: Front):
    visitor = await visitor_as(front, "ada")
    service, now = front.house.services.users, front.house.services.now()
    for day in range(6, 30, 6):  # seen again and again
        service._now = lambda day=day: now + timedelta(days=day)
        assert (await visitor.get("/console/profile")).status_code == 200
    service._now = lambda: now + timedelta(days=31)
    assert (await visitor.get("/console/profile")).status_code == 303


async def test_an_idle_one_earlier(front: Front):
    visitor = await visitor_as(front, "ada")
    service, now = front.house.services.users, front.house.services.now()
    service._now = lambda: now + timedelta(days=7, minutes=1)
    assert (await visitor.get("/console/profile")).status_code == 303


async def test_tokens_are_kept_as_hashes_only(front: Front):
    await front.house.services.users.invite(Role.MEMBER, account_id=None, note="")
    visitor = await visitor_as(front, "ada")
    rows = [await front.rows(table) for table in (user_sessions, join_links, users)]
    kept = str(rows)
    assert visitor.session not in kept
    assert PASSWORD not in kept
    assert all(row.password_hash.startswith("$argon2id$") for row in await front.rows(users))


async def test_without_the_console_there_is_none(make_front: MakeFront):
    front = await make_front(console=False)
    for path in ("/", "/console", "/console/sign-in", "/console/static/console.css"):
        assert (await front.client.get(path, headers={"accept": "text/html"})).status_code == 404


async def test_the_root_leads_browsers_only(front: Front):
    led = await front.client.get("/", headers={"accept": "text/html,*/*"})
    assert (led.status_code, led.headers["location"]) == (303, "/console")
    told = await front.client.get("/")
    assert (told.status_code, told.json()["error"]["type"]) == (404, "not_found_error")
