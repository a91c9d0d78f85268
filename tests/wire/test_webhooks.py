"""/v1/webhooks as its owner sees it, and the events that orders end with."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from jsonschema import Draft202012Validator
from structlog.testing import capture_logs

from front import Front
from pinxit.database.tables import generations, webhook_deliveries, webhook_events
from pinxit.errors import BackendError
from pinxit.keys.model import DEFAULT_SCOPES, Scope
from pinxit.testing.fake_backend import FakeBackend
from pinxit.webhooks import outbox
from receiver import MakeReceiver, Receiver

pytestmark = pytest.mark.both_databases

MakeWire = Callable[..., Awaitable[Front]]
LOOPBACK = {"webhook_allowed_networks": "127.0.0.0/8"}


class Owner:
    """Who may manage webhooks, at the front door."""

    def __init__(self, front: Front, key: str) -> None:
        self.front = front
        self.headers = {"Authorization": f"Bearer {key}"}

    async def call(self, method: str, path: str = "", status: int = 200, **body: Any) -> dict[str, Any]:
        answer = await self.request(method, path, **body)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def request(self, method: str, path: str = "", **body: Any) -> httpx2.Response:
        sent = {"json": body} if method in ("POST", "PATCH") and not path.endswith(("/test", "/replay")) else {}
        return await self.front.client.request(method, f"/v1/webhooks{path}", headers=self.headers, **sent)

    async def create(self, url: str = "https://hooks.example/x", **options: Any) -> dict[str, Any]:
        return await self.call("POST", status=201, url=url, **options)


async def owner_of(front: Front, **options: Any) -> Owner:
    scopes = (*DEFAULT_SCOPES, Scope.WEBHOOKS_MANAGE)
    return Owner(front, await front.make_key(**{"scopes": scopes, **options}))


@pytest.fixture
async def owner(wire: Front) -> Owner:
    return await owner_of(wire)


@pytest.fixture
async def near(make_wire: MakeWire) -> Owner:
    """One whose server admits loopback."""
    return await owner_of(await make_wire(**LOOPBACK))


async def test_made_shown_changed_deleted(owner: Owner) -> None:
    made = await owner.create(description="my hook", events=["generation.failed"])
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert made["active"] is True
    assert await owner.call("GET", f"/{made['id']}") == made
    assert (await owner.call("GET"))["data"] == [made]
    changed = await owner.call("PATCH", f"/{made['id']}", events=None, active=False, url="https://hooks.example/y")
    assert changed == {
        **made,
        "events": ["generation.completed", "generation.failed", "generation.cancelled"],
        "active": False,
        "url": "https://hooks.example/y",
    }
    assert (await owner.call("DELETE", f"/{made['id']}"))["deleted"] is True
    await owner.call("GET", f"/{made['id']}", 404)
    await owner.call("DELETE", f"/{made['id']}", 404)


async def test_a_secret_is_shown_once_and_kept_nowhere(near: Owner, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver(500, 200)
    with capture_logs() as lines:
        made = await near.create(url=f"{receiver.url}/path-with-a-token")
        rotated = await near.call("PATCH", f"/{made['id']}", rotate_secret=True)
        await near.call("POST", f"/{made['id']}/test", 201)
        await receiver.wait_for(1)
    secrets = [made["secret"], rotated["secret"]]
    assert secrets[0] != secrets[1]
    assert rotated["previous_secret_until"] > rotated["created_at"]
    shown = (await near.request("GET")).text + (await near.request("GET", f"/{made['id']}")).text
    assert "secret" not in shown.replace("previous_secret_until", "")
    kept = b"".join(path.read_bytes() for path in near.front.house.services.settings.data_dir.glob("pinxit.db*"))
    logged = repr(lines)
    assert made["id"] in logged
    assert "path-with-a-token" not in logged
    for secret in secrets:
        assert secret not in shown + logged
        assert secret.removeprefix("whsec_").encode() not in kept
        assert base64.b64decode(secret.removeprefix("whsec_")) not in kept


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({}, 400, "url"),
        ({"url": ""}, 400, "url"),
        ({"url": 7}, 400, "url"),
        ({"url": "hooks.example"}, 422, "url"),
        ({"url": "http://hooks.example/"}, 422, "url"),
        ({"url": "https://hooks.example:22/"}, 422, "url"),
        ({"url": "https://127.0.0.1/"}, 422, "url"),
        ({"url": "https://169.254.169.254/latest"}, 422, "url"),
        ({"url": "https://[::1]/"}, 422, "url"),
        ({"url": "https://2130706433/"}, 422, "url"),
        ({"url": "https://user@hooks.example/"}, 422, "url"),
        ({"url": "gopher://hooks.example/"}, 422, "url"),
        ({"url": "https://hooks.example/\r\nx: y"}, 422, "url"),
        ({"url": "https://hooks.example/\u0000"}, 422, "url"),
        ({"url": "https://hooks.example/" + "x" * 3000}, 422, "url"),
        ({"url": "https://hooks.example/", "events": []}, 422, "events"),
        ({"url": "https://hooks.example/", "events": ["ping"]}, 422, "events"),
        ({"url": "https://hooks.example/", "events": [1]}, 400, "events"),
        ({"url": "https://hooks.example/", "events": "all"}, 400, "events"),
        ({"url": "https://hooks.example/", "active": "yes"}, 400, "active"),
        ({"url": "https://hooks.example/", "description": "x" * 501}, 422, "description"),
        ({"url": "https://hooks.example/", "secret": "whsec_mine"}, 400, "secret"),
    ],
)
async def test_what_cannot_be_a_webhook(owner: Owner, body: dict[str, Any], status: int, param: str) -> None:
    refused = await owner.call("POST", status=status, **body)
    assert refused["error"]["param"] == param
    assert (await owner.call("GET"))["data"] == []


async def test_a_change_is_checked_as_well(owner: Owner) -> None:
    made = await owner.create()
    await owner.call("PATCH", f"/{made['id']}", 422, url="https://10.0.0.1/")
    await owner.call("PATCH", f"/{made['id']}", 400, rotate_secret="yes")
    assert (await owner.call("GET", f"/{made['id']}"))["url"] == "https://hooks.example/x"


ROUTES = [
    ("GET", ""),
    ("POST", ""),
    ("GET", "/ID"),
    ("PATCH", "/ID"),
    ("DELETE", "/ID"),
    ("GET", "/ID/deliveries"),
    ("POST", "/ID/deliveries/DELIVERY/replay"),
    ("POST", "/ID/test"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_they_need_their_scope(wire: Front, method: str, path: str) -> None:
    path = path.replace("ID", "wh_" + "0" * 32).replace("DELIVERY", "del_" + "0" * 32)
    without = Owner(wire, await wire.make_key(scopes=tuple(set(Scope) - {Scope.ADMIN, Scope.WEBHOOKS_MANAGE})))
    refused = await without.call(method, path, 403)
    assert "webhooks:manage" in refused["error"]["message"]
    await Owner(wire, "sk-" + "x" * 43).call(method, path, 401)
    admin = await owner_of(wire, scopes=(Scope.ADMIN,))
    assert (await admin.request(method, path)).status_code not in (401, 403)


async def test_a_new_key_cannot_manage_webhooks(wire: Front) -> None:
    assert Scope.WEBHOOKS_MANAGE not in DEFAULT_SCOPES
    await Owner(wire, wire.key).call("GET", status=403)


@pytest.mark.parametrize(("method", "path"), ROUTES[2:])
async def test_another_accounts_webhook_is_not_there(
    near: Owner, make_receiver: MakeReceiver, method: str, path: str
) -> None:
    mine = await near.create((await make_receiver()).url)
    delivery = await near.call("POST", f"/{mine['id']}/test", 201)
    stranger = await owner_of(near.front, account=await near.front.make_account())
    path = path.replace("ID", mine["id"]).replace("DELIVERY", delivery["id"])
    refused = await stranger.call(method, path, 404, **({"url": "https://x.example/"} if method == "PATCH" else {}))
    assert refused["error"]["type"] == "not_found_error"
    assert (await stranger.call("GET"))["data"] == []
    assert (await near.call("GET", f"/{mine['id']}"))["url"] == mine["url"]


async def test_a_delivery_belongs_to_its_webhook(near: Owner, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    one, other = await near.create(receiver.url), await near.create(receiver.url)
    delivery = await near.call("POST", f"/{one['id']}/test", 201)
    await near.call("POST", f"/{other['id']}/deliveries/{delivery['id']}/replay", 404)
    assert (await near.call("GET", f"/{other['id']}/deliveries"))["data"] == []


async def test_a_completed_order_is_told_as_get_shows_it(near: Owner, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    made = await near.create(receiver.url)
    painted = await near.front.generate(n=2)
    generation_id = painted.headers["x-pinxit-generation"]
    await receiver.wait_for(1)
    (message,) = receiver.messages
    content = message.verify(made["secret"])
    shown = (await near.front.client.get(f"/v1/generations/{generation_id}", headers=near.headers)).json()
    assert (content["type"], content["sequence"], content["data"]) == ("generation.completed", 1, shown)
    document = (await near.front.client.get("/openapi.json")).json()
    schema = {"$ref": "#/components/schemas/WebhookEvent", "components": document["components"]}
    Draft202012Validator(schema).validate(content)


async def test_a_failed_order_is_told(make_wire: MakeWire, make_receiver: MakeReceiver) -> None:
    owner = await owner_of(await make_wire(FakeBackend(failure=lambda _: BackendError()), **LOOPBACK))
    receiver = await make_receiver()
    await owner.create(receiver.url)
    assert (await owner.front.generate()).status_code == 502
    await receiver.wait_for(1)
    data = receiver.messages[0].content["data"]
    assert (receiver.types, data["status"], data["error"]["type"]) == (
        ["generation.failed"],
        "failed",
        "upstream_error",
    )


async def test_a_cancelled_order_is_told(make_wire: MakeWire, make_receiver: MakeReceiver) -> None:
    owner = await owner_of(await make_wire(FakeBackend(gates={2: asyncio.Event()}), **LOOPBACK))
    receiver = await make_receiver()
    await owner.create(receiver.url)
    accepted = (await owner.front.generate(**{"async": True})).json()
    cancelled = await owner.front.client.delete(f"/v1/generations/{accepted['id']}", headers=owner.headers)
    await receiver.wait_for(1)
    assert receiver.types == ["generation.cancelled"]
    assert receiver.messages[0].content["data"] == cancelled.json()


async def test_a_refused_order_is_not_told(make_wire: MakeWire) -> None:
    owner = await owner_of(await make_wire(moderation_words="forbidden"))
    await owner.create()
    assert (await owner.front.generate(prompt="forbidden")).status_code == 422
    assert await owner.front.rows(webhook_events) == []


async def test_an_order_and_its_event_are_kept_together_or_not_at_all(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    await owner.create()
    append = outbox.append

    def fail_after(connection: Any, **event: Any) -> None:
        append(connection, **event)
        if event["type_"] == "generation.completed":
            raise BackendError

    monkeypatch.setattr(outbox, "append", fail_after)
    assert (await owner.front.generate()).status_code == 502
    (order,) = await owner.front.rows(generations)
    (event,) = await owner.front.rows(webhook_events)
    assert (order.status, event.type) == ("failed", "generation.failed")


async def test_without_a_webhook_nothing_is_written(wire: Front) -> None:
    await wire.generate()
    assert await wire.rows(webhook_events) == []
    assert await wire.rows(webhook_deliveries) == []


async def test_trying_out_and_looking(near: Owner, make_receiver: MakeReceiver) -> None:
    receiver = await make_receiver()
    made = await near.create(receiver.url, events=["generation.failed"])
    pending = await near.call("POST", f"/{made['id']}/test", 201)
    assert pending["event"]["type"] == "ping"
    await receiver.wait_for(1)
    assert receiver.messages[0].verify(made["secret"])["data"] == {"webhook": made["id"]}
    await settled(near, made, "delivered")
    (delivery,) = (await near.call("GET", f"/{made['id']}/deliveries"))["data"]
    assert (delivery["id"], delivery["event"]["id"]) == (pending["id"], receiver.ids[0])
    assert (delivery["answered_status"], delivery["attempts"], delivery["next_attempt_at"]) == (200, 1, None)
    again = await near.call("POST", f"/{made['id']}/deliveries/{delivery['id']}/replay")
    assert (again["id"], again["status"]) == (delivery["id"], "pending")
    await receiver.wait_for(2)
    assert len(set(receiver.ids)) == 1


async def settled(owner: Owner, made: dict[str, Any], status: str) -> None:
    """Until all deliveries of the webhook are `status`; the receiver has answered, the note of it follows at once."""
    async with asyncio.timeout(10):
        while any(
            delivery["status"] != status for delivery in (await owner.call("GET", f"/{made['id']}/deliveries"))["data"]
        ):
            await asyncio.sleep(0)


async def test_deliveries_are_paged_and_can_be_chosen(near: Owner, make_receiver: MakeReceiver) -> None:
    receiver: Receiver = await make_receiver(410)
    made = await near.create(receiver.url)
    path = f"/{made['id']}/deliveries"
    ids = [(await near.call("POST", f"/{made['id']}/test", 201))["id"] for _ in range(1)]
    await settled(near, made, "dead")
    shown = await near.call("GET", f"/{made['id']}")
    assert (shown["active"], shown["disabled_reason"]) == (False, "The receiver answered 410 Gone.")
    refused = await near.call("POST", f"/{made['id']}/test", 422)
    assert refused["error"]["param"] == "active"
    receiver.answers = [200]
    await near.call("PATCH", f"/{made['id']}", active=True)
    ids += [(await near.call("POST", f"/{made['id']}/test", 201))["id"] for _ in range(3)]
    await receiver.wait_for(4)
    first = await near.call("GET", path + "?limit=3")
    assert [delivery["id"] for delivery in first["data"]] == list(reversed(ids))[:3]
    assert (first["has_more"], first["last_id"]) == (True, ids[1])
    rest = await near.call("GET", f"{path}?limit=3&after={ids[1]}")
    assert ([delivery["id"] for delivery in rest["data"]], rest["has_more"]) == (ids[:1], False)
    dead = await near.call("GET", path + "?status=dead")
    assert [delivery["id"] for delivery in dead["data"]] == ids[:1]
    for query, status in (("limit=0", 422), ("limit=x", 422), ("status=lost", 422), ("after=del_" + "0" * 32, 404)):
        await near.call("GET", f"{path}?{query}", status)
