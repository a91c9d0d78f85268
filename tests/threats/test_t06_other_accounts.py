"""T6: what belongs to another account looks exactly like what is not there."""

from dataclasses import dataclass

import httpx2
import pytest

from front import Front
from pinxit.database.tables import api_keys, images
from pinxit.keys.model import Scope
from pinxit.keys.service import local_caller

pytestmark = pytest.mark.both_databases

MISSING = "0" * 32


@dataclass
class Property:
    """What the default account owns; the front's key is a stranger's."""

    image: str
    generation: str
    key: str

    def path(self, template: str) -> str:
        return template.format(image=self.image, generation=self.generation, key=self.key)


NOBODYS = Property(f"img_{MISSING}", f"gen_{MISSING}", f"key_{MISSING}")


@pytest.fixture
async def owned(front: Front) -> Property:
    answer = await front.generate()
    key = (await front.house.services.keys.list(local_caller("acct_default")))[0].id
    front.key = await front.make_key(account=await front.make_account(), scopes=tuple(Scope))
    return Property(answer.json()["data"][0]["id"], answer.headers["x-pinxit-generation"], key)


def seen(response: httpx2.Response) -> tuple[int, bytes, list[str]]:
    """What a client can tell apart."""
    return response.status_code, response.content, sorted(set(response.headers) - {"x-request-id"})


@pytest.mark.parametrize(
    "request_",
    [
        "GET /v1/images/{image}",
        "DELETE /v1/images/{image}",
        "GET /v1/images?after={image}",
        "GET /v1/generations/{generation}",
        "GET /v1/keys/{key}",
        "PATCH /v1/keys/{key}",
        "DELETE /v1/keys/{key}",
    ],
)
async def test_another_account_s_things_are_not_there(front: Front, owned: Property, request_: str):
    method, template = request_.split()
    body = {"name": "mine"} if method == "PATCH" else None
    answers = [
        await front.client.request(method, property_.path(template), json=body, headers=front.authorization)
        for property_ in (owned, NOBODYS)
    ]
    assert answers[0].status_code == 404
    assert seen(answers[0]) == seen(answers[1])


async def test_nothing_of_theirs_has_changed(front: Front, owned: Property):
    before = [tuple(row)[:-1] for row in await front.rows(api_keys)], [tuple(row) for row in await front.rows(images)]
    for path in (f"/v1/images/{owned.image}", f"/v1/keys/{owned.key}"):
        await front.client.delete(path, headers=front.authorization)
    await front.client.patch(f"/v1/keys/{owned.key}", json={"name": "mine"}, headers=front.authorization)
    after = [tuple(row)[:-1] for row in await front.rows(api_keys)], [tuple(row) for row in await front.rows(images)]
    assert after == before


@pytest.mark.parametrize("path", ["/v1/images", "/v1/keys"])
async def test_lists_hold_one_s_own_only(front: Front, owned: Property, path: str):
    listed = (await front.client.get(path, headers=front.authorization)).json()["data"]
    assert not {item["id"] for item in listed} & {owned.image, owned.key}


async def test_an_admin_s_power_ends_at_the_account(front: Front, owned: Property):
    front.key = await front.make_key(account="acct_other", scopes=(Scope.ADMIN,))
    assert (await front.client.get(f"/v1/images/{owned.image}", headers=front.authorization)).status_code == 404


async def test_the_id_of_another_account_s_order_cannot_be_taken(front: Front, owned: Property):
    response = await front.generate({"x-pinxit-generation": owned.generation})
    assert response.status_code == 409
    assert len(front.backend.orders) == 1


async def test_a_new_key_belongs_to_its_maker_s_account(front: Front, owned: Property):
    created = await front.client.post("/v1/keys", json={}, headers=front.authorization)
    (row,) = [row for row in await front.rows(api_keys) if row.id == created.json()["id"]]
    assert row.account_id == "acct_other"
