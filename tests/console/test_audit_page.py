"""The audit log: who sees what of it, filters, pages, the table for spreadsheets; and that it holds no secrets."""

import csv
import html
import io
import re
from datetime import UTC, datetime

import pytest

from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.accounts.user import Role
from pinxit.audit import Action, Origin, Thing, note
from pinxit.audit.notes import changes
from pinxit.console.audit import GROUPS, PAGE, WORDS
from pinxit.database.tables import audit_events, users
from pinxit.keys.model import Scope
from visitor import PASSWORD, Visitor, visitor_as


async def test_a_member_sees_what_concerns_their_account_and_an_admin_everything(front: Front):
    admin = await visitor_as(front, "ada", Role.ADMIN, DEFAULT_ACCOUNT)
    member = await visitor_as(front, "bob")
    await admin.post("/console/keys", name="of ada", scopes="images:write", which_models="all")
    await member.post("/console/keys", name="of bob", scopes="images:write", which_models="all")
    seen_by_admin, seen_by_bob = [(await each.get("/console/audit")).text for each in (admin, member)]
    assert "of ada" in seen_by_admin
    assert "of bob" in seen_by_admin
    assert "of bob" in seen_by_bob
    assert "of ada" not in seen_by_bob
    table = (await member.get("/console/audit.csv")).text
    assert "of bob" in table
    assert "of ada" not in table


async def test_a_colleague_s_address_is_for_admins(front: Front):
    await visitor_as(front, "ada", Role.ADMIN, DEFAULT_ACCOUNT)
    ada = Visitor(front, "192.0.2.77")
    await ada.sign_in("ada")
    member = await visitor_as(front, "bob", Role.MEMBER, DEFAULT_ACCOUNT)
    assert "192.0.2.77" in (await ada.get("/console/audit")).text
    for path in ("/console/audit", "/console/audit.csv"):
        page = (await member.get(path)).text
        assert "ada" in page
        assert "192.0.2.77" not in page


async def test_addresses_are_not_kept_where_that_is_not_wanted(make_front: MakeFront):
    front = await make_front(audit_addresses=False)
    await visitor_as(front, "ada")
    assert {row.address for row in await front.rows(audit_events)} == {None}


@pytest.mark.both_databases
async def test_filters_and_pages(front: Front):
    admin = await visitor_as(front, "ada", Role.ADMIN, DEFAULT_ACCOUNT)
    when = datetime(2026, 10, 3, 12, tzinfo=UTC)

    def fill(connection):
        for number in range(PAGE + 5):
            thing = Thing("account", DEFAULT_ACCOUNT, f"payment {number}")
            note(
                connection,
                Origin(),
                Action.ACCOUNT_TOPPED_UP,
                thing,
                account_id=DEFAULT_ACCOUNT,
                at=when.replace(minute=number),
            )

    await front.house.database.write(fill)
    first = (await admin.get("/console/audit?from=2026-10-03&to=2026-10-03")).text
    assert re.findall(r"payment (\d+)", first) == [str(number) for number in range(PAGE + 4, 4, -1)]
    older = html.unescape(re.findall(r'href="(/console/audit\?[^"]*after=[^"]*)"', first)[0])
    assert re.findall(r"payment (\d+)", (await admin.get(older)).text) == ["4", "3", "2", "1", "0"]
    assert "payment" not in (await admin.get("/console/audit?from=2026-10-04")).text
    assert "payment" not in (await admin.get("/console/audit?action=session.")).text
    assert "signed in" in (await admin.get("/console/audit?action=session.&actor=ada")).text
    assert "Nothing fits" in (await admin.get("/console/audit?actor=nobody")).text
    assert "signed in" in (await admin.get("/console/audit?actor=+ada+")).text
    assert (await admin.get("/console/audit?from=yesterday")).status_code == 422
    assert (await admin.get("/console/audit?after=aud_x")).status_code == 404


async def test_another_account_s_event_is_no_place_to_go_on_from(front: Front):
    member = await visitor_as(front, "bob")
    (key,) = [row.id for row in await front.rows(audit_events) if row.action == "key.created"]
    assert (await member.get(f"/console/audit?after={key}")).status_code == 404


async def test_a_cell_is_no_formula(front: Front):
    admin = await visitor_as(front, "ada", Role.ADMIN, DEFAULT_ACCOUNT)
    await front.make_key(name="=cmd|' /C calc'!A0")
    rows = list(csv.DictReader(io.StringIO((await admin.get("/console/audit.csv")).text)))
    assert "'=cmd|' /C calc'!A0" in [row["object_label"] for row in rows]


async def test_only_the_failure_that_makes_one_wait_is_noted_and_no_stranger_s_name(front: Front):
    await visitor_as(front, "ada")
    guesser = Visitor(front, "192.0.2.9")
    for name in ("ada", "a password in the wrong field"):
        for _ in range(7):
            await guesser.sign_in(name, "not the password")
    refused = [row for row in await front.rows(audit_events) if row.action == Action.SESSION_REFUSED]
    assert [(row.object_label, row.actor_kind, row.address) for row in refused] == [("ada", "visitor", "192.0.2.9")]


async def test_the_log_holds_no_secret(front: Front):
    front_key = await front.make_key(name="sk-" + "a" * 43, scopes=tuple(Scope))
    visitor = await visitor_as(front, "ada")
    password = "another one with words"
    await visitor.post("/console/profile/password", old_password=PASSWORD, password=password, again=password)
    webhooks = front.house.services.webhooks
    from pinxit.webhooks.model import EndpointOptions

    endpoint, secret = await webhooks.create(
        DEFAULT_ACCOUNT, EndpointOptions("https://hooks.example/T0/B0/xyz?token=pw1")
    )
    _, second = await webhooks.change(DEFAULT_ACCOUNT, endpoint.id, lambda options: options, rotates_secret=True)
    text = str([tuple(row) for row in await front.rows(audit_events)])
    hashes = [row.password_hash for row in await front.rows(users)]
    for hidden in (
        front_key,
        "a" * 43,
        PASSWORD,
        password,
        secret,
        second,
        "/T0/B0/xyz",
        "pw1",
        visitor.session,
        *hashes,
    ):
        assert hidden not in text
    assert "https://hooks.example" in text


async def test_a_change_that_fails_leaves_no_event(front: Front):
    admin = await visitor_as(front, "ada", Role.ADMIN, DEFAULT_ACCOUNT)
    (me,) = await front.rows(users)
    before = len(await front.rows(audit_events))
    assert (await admin.post(f"/console/people/{me.id}/remove")).status_code == 422
    assert len(await front.rows(audit_events)) == before


def test_only_what_differs_is_told():
    assert changes({"role": "member", "note": ""}, {"role": "admin", "note": None}) == {"role": ["member", "admin"]}
    assert changes({}, {"disabled": False, "models": ("a", "b")}) == {"models": [None, ["a", "b"]]}


def test_every_action_has_words_and_a_group():
    assert set(WORDS) == set(Action)
    assert all(any(action.startswith(prefix) for prefix in GROUPS) for action in Action)
