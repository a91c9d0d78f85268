"""T5: nobody makes a key, or makes one of a key, that can do more than their own."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from itertools import combinations
from typing import Any

import httpx2
import pytest

from front import Front
from pinxit.api.handlers import KEY_FIELDS
from pinxit.database.tables import api_keys
from pinxit.keys.model import KeyOptions, Scope
from pinxit.keys.service import local_caller

MANAGER = (Scope.KEYS_MANAGE, Scope.IMAGES_READ)


async def post(front: Front, body: dict[str, Any]) -> httpx2.Response:
    return await front.client.post("/v1/keys", json=body, headers=front.authorization)


async def patch(front: Front, key_id: str, body: dict[str, Any]) -> httpx2.Response:
    return await front.client.patch(f"/v1/keys/{key_id}", json=body, headers=front.authorization)


async def as_manager(front: Front, **options: Any) -> str:
    """Now the front's key manages keys. Its id."""
    front.key = await front.make_key(**{"scopes": MANAGER, **options})
    return (await front.house.services.keys.verify(front.key)).key_id or ""


async def make_victim(front: Front, **options: Any) -> str:
    """The id of a key that the operator made."""
    options = {"scopes": (Scope.IMAGES_READ,), **options}
    return (await front.house.services.keys.create(local_caller("acct_default"), KeyOptions(**options)))[0].id


async def test_scopes_of_a_new_key_are_among_its_maker_s(front: Front):
    await as_manager(front)
    for number in range(1, len(Scope) + 1):
        for scopes in combinations(Scope, number):
            response = await post(front, {"scopes": list(scopes)})
            assert response.status_code == (201 if set(scopes) <= set(MANAGER) else 403), scopes
            if response.status_code == 403:
                assert response.json()["error"]["param"] == "scopes"


async def test_the_default_scopes_are_no_way_around(front: Front):
    await as_manager(front)
    assert (await post(front, {})).status_code == 403


async def test_admin_may_make_every_key(front: Front):
    front.key = await front.make_key(scopes=(Scope.ADMIN,))
    response = await post(front, {"scopes": list(Scope)})
    assert (response.status_code, response.json()["scopes"]) == (201, list(Scope))


@pytest.mark.parametrize("scopes", [["admin"], ["images:write"], ["keys:manage", "images:read", "models:read"]])
async def test_nobody_gives_a_key_more_scopes_than_their_own(front: Front, scopes: list[str]):
    own = await as_manager(front)
    for key_id in (own, await make_victim(front)):
        response = await patch(front, key_id, {"scopes": scopes})
        assert (response.status_code, response.json()["error"]["param"]) == (403, "scopes")


async def test_a_stronger_key_cannot_be_changed_or_revoked(front: Front):
    await as_manager(front)
    stronger = await make_victim(front, scopes=(Scope.ADMIN,))
    assert (await patch(front, stronger, {"name": "mine"})).status_code == 403
    assert (await patch(front, stronger, {"scopes": ["images:read"]})).status_code == 403
    response = await front.client.delete(f"/v1/keys/{stronger}", headers=front.authorization)
    assert response.status_code == 403
    assert [row.revoked_at for row in await front.rows(api_keys) if row.id == stronger] == [None]


@pytest.mark.parametrize("models", [None, [], ["fake-1"], ["gpt-image-1"], ["fake-1", "gpt-image-1"]])
async def test_a_key_for_some_models_makes_none_for_others(front: Front, models: list[str] | None):
    await as_manager(front, models=("fake-1",))
    response = await post(front, {"scopes": ["images:read"], "models": models})
    assert response.status_code == (201 if models is not None and set(models) <= {"fake-1"} else 403)


async def test_a_restriction_to_models_cannot_be_taken_away(front: Front):
    own = await as_manager(front, models=("fake-1",))
    assert (await patch(front, own, {"models": None})).status_code == 403


@pytest.mark.parametrize("seconds", [None, 1, 3600])
async def test_no_key_outlives_its_maker(front: Front, seconds: int | None):
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    own = await as_manager(front, expires_at=expires_at)
    later = None if seconds is None else int(expires_at.timestamp()) + seconds
    assert (await post(front, {"scopes": ["images:read"], "expires_at": later})).status_code == 403
    assert (await patch(front, own, {"expires_at": later})).status_code == 403
    earlier = int(expires_at.timestamp()) - 60
    assert (await post(front, {"scopes": ["images:read"], "expires_at": earlier})).status_code == 201


COLUMNS = sorted({column.name for column in api_keys.c} | {"key", "secret", "object", "account", "role", "is_admin"})


@pytest.mark.parametrize("column", COLUMNS)
async def test_no_column_can_be_set_but_those_meant_for_it(front: Front, column: str):
    await as_manager(front)
    victim = await make_victim(front)
    before = [tuple(row) for row in await front.rows(api_keys)]
    for value in ("acct_other", 1, None, ["admin"], {"a": 1}):
        for response in (
            await post(front, {"scopes": ["images:read"], column: value}),
            await patch(front, victim, {column: value}),
        ):
            if column not in KEY_FIELDS:
                assert (response.status_code, response.json()["error"]["param"]) == (400, column)
    if column not in KEY_FIELDS:
        after = [tuple(row) for row in await front.rows(api_keys)]
        assert without_use(after) == without_use(before)


def without_use(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows but for `last_used_at`, the last column."""
    return [row[:-1] for row in rows]


async def test_fields_meant_for_it_are_set_and_nothing_else(front: Front):
    await as_manager(front)
    victim = await make_victim(front)
    before = next(row for row in await front.rows(api_keys) if row.id == victim)
    values = {
        "name": "new",
        "scopes": ["images:read"],
        "models": ["fake-1"],
        "limits": {},
        "budgets": {},
        "default_delivery": "both",
        "strict": True,
        "disabled": True,
        "url_ttl_seconds": 60,
        "expires_at": 4_102_444_800,
    }
    assert set(values) == KEY_FIELDS
    answer = (await patch(front, victim, values)).json()
    assert {name: answer[name] for name in values} == values
    after = next(row for row in await front.rows(api_keys) if row.id == victim)
    changed = {name for name, old in before._mapping.items() if after._mapping[name] != old}
    assert changed <= KEY_FIELDS


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"scopes": []}, 422, "scopes"),
        ({"scopes": None}, 422, "scopes"),
        ({"scopes": ["root"]}, 422, "scopes"),
        ({"scopes": "admin"}, 400, "scopes"),
        ({"scopes": [1]}, 400, "scopes"),
        ({"models": ["no-such"]}, 422, "models"),
        ({"models": "fake-1"}, 400, "models"),
        ({"limits": {"rpm": 1}}, 400, "limits.rpm"),
        ({"budgets": {"monthly": 1}}, 400, "budgets.monthly"),
        ({"default_delivery": "pigeon"}, 422, "default_delivery"),
        ({"strict": 1}, 400, "strict"),
        ({"disabled": "yes"}, 400, "disabled"),
        ({"url_ttl_seconds": 0}, 422, "url_ttl_seconds"),
        ({"url_ttl_seconds": 604_801}, 422, "url_ttl_seconds"),
        ({"url_ttl_seconds": "60"}, 400, "url_ttl_seconds"),
        ({"expires_at": 1}, 422, "expires_at"),
        ({"expires_at": -1}, 422, "expires_at"),
        ({"expires_at": 10**18}, 422, "expires_at"),
        ({"expires_at": "2030-01-01"}, 400, "expires_at"),
        ({"name": "n" * 201}, 422, "name"),
        ({"name": 1}, 400, "name"),
    ],
    ids=lambda value: json.dumps(value)[:40],
)
async def test_bad_options_are_refused(front: Front, body: dict[str, Any], status: int, param: str):
    front.key = await front.make_key(scopes=(Scope.ADMIN,))
    victim = await make_victim(front)
    for response in (await post(front, body), await patch(front, victim, body)):
        assert (response.status_code, response.json()["error"]["param"]) == (status, param)


async def test_a_revoked_key_stays_revoked(front: Front):
    front.key = await front.make_key(scopes=(Scope.ADMIN,))
    victim = await make_victim(front)
    first = await front.client.delete(f"/v1/keys/{victim}", headers=front.authorization)
    again = await front.client.delete(f"/v1/keys/{victim}", headers=front.authorization)
    assert first.json()["revoked_at"] == again.json()["revoked_at"] is not None
    assert (await patch(front, victim, {"name": "back", "expires_at": None})).json()["revoked_at"] is not None


async def test_two_changes_at_once_both_count(front: Front):
    """One change never brings back what another has taken away."""
    front.key = await front.make_key(scopes=(Scope.ADMIN,))
    for _ in range(20):
        victim = await make_victim(front, scopes=tuple(Scope))
        await asyncio.gather(
            patch(front, victim, {"scopes": ["images:read"]}),
            patch(front, victim, {"name": "x"}),
            patch(front, victim, {"strict": True}),
        )
        key = (await front.client.get(f"/v1/keys/{victim}", headers=front.authorization)).json()
        assert (key["scopes"], key["name"], key["strict"]) == (["images:read"], "x", True)
