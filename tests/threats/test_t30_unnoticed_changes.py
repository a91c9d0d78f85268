"""T30: nobody changes anything unnoticed. Every route and every command that can change something leaves an event in
the audit log, with the right actor; or it stands in a short list with the reason.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.routing import BaseRoute, Route
from typer.main import get_command
from typer.testing import CliRunner

from front import Front, MakeFront
from pinxit.accounts import DEFAULT_ACCOUNT
from pinxit.accounts.user import Role
from pinxit.audit import Action
from pinxit.cli.main import app as program
from pinxit.database.tables import audit_events, generations
from pinxit.keys.model import KeyOptions, Scope
from pinxit.keys.service import local_caller
from pinxit.webhooks.model import EndpointOptions
from quick_passwords import _quick_passwords
from visitor import PASSWORD, Visitor, make_user, visitor_as

__all__ = ["_quick_passwords"]

ORDERS = "an order is its own record, with whose it is; see Requests"
DELIVERIES = "a delivery is its own record"
SILENT_ROUTES = {
    "POST /v1/images/generations": ORDERS,
    "POST /v1/images/edits": ORDERS,
    "POST /v1/images/variations": ORDERS,
    "POST /v1/responses": ORDERS,
    "POST /v1/chat/completions": ORDERS,
    "POST /sdapi/v1/txt2img": ORDERS,
    "POST /sdapi/v1/img2img": ORDERS,
    "POST /console/playground/generations": ORDERS,
    "POST /console/playground/edits": ORDERS,
    "POST /console/playground/generations/{generation_id:id}/cancel": ORDERS,
    "POST /console/credits/review": "it changes nothing: it shows what is about to be paid in",
    "POST /console/health/try": "a provider is asked sooner than otherwise: nothing is kept of it",
    "DELETE /v1/generations/{generation_id:id}": ORDERS,
    "POST /sdapi/v1/interrupt": ORDERS,
    "POST /sdapi/v1/options": "it changes nothing: it says whether there is such a model",
    "POST /v1/webhooks/{webhook_id:id}/test": DELIVERIES,
    "POST /v1/webhooks/{webhook_id:id}/deliveries/{delivery_id:id}/replay": DELIVERIES,
    "POST /console/webhooks/{webhook_id:id}/deliveries/{delivery_id:id}/replay": DELIVERIES,
}
Fields = dict[str, Any]
NOTED: dict[str, list[tuple[Fields, Action]]] = {
    "POST /v1/keys": [({"scopes": ["keys:manage"]}, Action.KEY_CREATED)],
    "PATCH /v1/keys/{key_id:id}": [
        ({"name": "new"}, Action.KEY_CHANGED),
        ({"disabled": True}, Action.KEY_DISABLED),
    ],
    "DELETE /v1/keys/{key_id:id}": [({}, Action.KEY_REVOKED)],
    "POST /v1/webhooks": [({"url": "http://127.0.0.1:9/"}, Action.WEBHOOK_CREATED)],
    "PATCH /v1/webhooks/{webhook_id:id}": [
        ({"description": "new"}, Action.WEBHOOK_CHANGED),
        ({"rotate_secret": True}, Action.WEBHOOK_SECRET_CHANGED),
    ],
    "DELETE /v1/webhooks/{webhook_id:id}": [({}, Action.WEBHOOK_DELETED)],
    "DELETE /v1/images/{image_id:id}": [({}, Action.IMAGE_DELETED)],
    "POST /console/sign-in": [({"name": "grace", "password": PASSWORD}, Action.SESSION_STARTED)],
    "POST /console/join": [({"name": "alan", "password": PASSWORD, "again": PASSWORD}, Action.USER_JOINED)],
    "POST /console/sign-out": [({}, Action.SESSION_ENDED)],
    "POST /console/profile/password": [
        ({"old_password": PASSWORD, "password": PASSWORD, "again": PASSWORD}, Action.USER_PASSWORD_CHANGED)
    ],
    "POST /console/profile/sign-out-everywhere": [({}, Action.SESSIONS_ENDED)],
    "POST /console/gallery/{image_id:id}/delete": [({}, Action.IMAGE_DELETED)],
    "POST /console/keys": [({"name": "n", "scopes": "images:write", "which_models": "all"}, Action.KEY_CREATED)],
    "POST /console/keys/{key_id:id}": [
        ({"name": "other", "scopes": "images:write", "which_models": "all"}, Action.KEY_CHANGED)
    ],
    "POST /console/keys/{key_id:id}/{action}": [
        ({"action": "disable"}, Action.KEY_DISABLED),
        ({"action": "revoke"}, Action.KEY_REVOKED),
    ],
    "POST /console/webhooks": [({"url": "http://127.0.0.1:9/", "events": "generation.failed"}, Action.WEBHOOK_CREATED)],
    "POST /console/webhooks/{webhook_id:id}": [
        ({"url": "http://127.0.0.1:9/x", "events": "generation.failed"}, Action.WEBHOOK_CHANGED)
    ],
    "POST /console/webhooks/{webhook_id:id}/{action}": [
        ({"action": "disable"}, Action.WEBHOOK_CHANGED),
        ({"action": "new-secret"}, Action.WEBHOOK_SECRET_CHANGED),
        ({"action": "delete"}, Action.WEBHOOK_DELETED),
    ],
    "POST /console/models/about": [
        ({"model": "fake-1", "action": "default"}, Action.MODEL_DEFAULT_CHANGED),
        ({"model": "spare", "action": "off", "version": "0"}, Action.MODEL_DISABLED),
        ({"model": "spare", "action": "on", "version": "2"}, Action.MODEL_ENABLED),
        ({"model": "spare", "action": "reset", "version": "3"}, Action.MODEL_CHANGED),
    ],
    "POST /console/credits/top-up": [
        ({"account": DEFAULT_ACCOUNT, "usd": "12.50", "transfer": f"tr_{0:032x}"}, Action.ACCOUNT_TOPPED_UP)
    ],
    "POST /console/credentials/own/{provider}": [({"credential": "my-own-key"}, Action.CREDENTIAL_SET)],
    "POST /console/credentials/own/{provider}/remove": [({}, Action.CREDENTIAL_REMOVED)],
    "POST /console/credentials/server/{provider}": [({"credential": "the-house-s-key"}, Action.CREDENTIAL_SET)],
    "POST /console/credentials/server/{provider}/remove": [({}, Action.CREDENTIAL_REMOVED)],
    "POST /console/people/invite": [({"role": "member", "account": "own"}, Action.INVITATION_CREATED)],
    "POST /console/people/links/{link_id:id}/withdraw": [({}, Action.INVITATION_WITHDRAWN)],
    "POST /console/people/{user_id:id}/role": [({"role": "admin"}, Action.USER_ROLE_CHANGED)],
    "POST /console/people/{user_id:id}/remove": [({}, Action.USER_REMOVED)],
}
"""Route → what is sent, and what it must leave."""


def routes_of(found: list[BaseRoute]) -> Iterator[str]:
    for route in found:
        if isinstance(route, Route):
            yield from (f"{method} {route.path}" for method in (route.methods or set()) - {"GET", "HEAD", "OPTIONS"})
        else:
            yield from routes_of(route.original_router.routes)  # type: ignore[attr-defined]  # FastAPI's wrapper


async def test_every_route_that_changes_something_is_noted(make_front: MakeFront):
    studio = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1", "models": ["gpt-image-1-mini"]}
    models = [{"model_name": name, "params": {"model": "fake/fake-1"}} for name in ("fake-1", "spare")]
    front = await make_front(webhook_allowed_networks="127.0.0.0/8", providers={"studio": studio}, model_list=models)
    assert set(routes_of(front.app.routes)) == set(SILENT_ROUTES) | set(NOTED)
    key = await front.make_key(name="robot", scopes=(Scope.ADMIN,))
    for route, steps in NOTED.items():
        for number, (fields, action) in enumerate(steps):
            is_console = "/console/" in route
            sender: Sender = await console_sender(front, admin_of(route, number)) if is_console else api(front, key)
            path = await path_of(front, route, fields)
            before = {row.id for row in await front.rows(audit_events)}
            await sender(route.split()[0], path, dict(fields))
            new = {row.action: row for row in await front.rows(audit_events) if row.id not in before}
            assert action.value in new, f"{route} {fields} left {sorted(new)}"
            event = new[action.value]
            assert event.request_id.startswith("req_"), route
            assert event.address == "127.0.0.1", route
            assert event.actor_kind == ("user" if is_console else "key"), route
            assert event.actor_name == (who(route, number) if is_console else "robot"), route


Sender = Callable[[str, str, Fields], Awaitable[None]]


def admin_of(route: str, number: int) -> str:
    return f"ada-{list(NOTED).index(route)}-{number}"


def who(route: str, number: int) -> str:
    return {"POST /console/sign-in": "grace", "POST /console/join": "alan"}.get(route, admin_of(route, number))


def api(front: Front, key: str) -> Sender:
    async def send(method: str, path: str, fields: Fields) -> None:
        headers = {"authorization": f"Bearer {key}"}
        response = await front.client.request(method, path, json=fields or None, headers=headers)
        assert response.status_code in (200, 201), (path, response.text)

    return send


async def console_sender(front: Front, name: str) -> Sender:
    """A new admin's browser; whom nobody knows yet has another."""
    admin = await visitor_as(front, name, Role.ADMIN, DEFAULT_ACCOUNT)

    async def send(_: str, path: str, fields: Fields) -> None:
        visitor = Visitor(front) if path in ("/console/sign-in", "/console/join") else admin
        if path == "/console/sign-in":
            await make_user(front, "grace")
        if path == "/console/join":
            fields["token"] = (await front.house.services.users.invite(Role.MEMBER, account_id=None, note=""))[1]
        response = await visitor.post(path, **fields)
        assert response.status_code in (200, 303), (path, response.text)

    return send


async def path_of(front: Front, route: str, fields: Fields) -> str:
    """Its path, with things of its own to change."""
    path, services = route.split()[1], front.house.services
    if "{key_id:id}" in path:
        key, _ = await services.keys.create(local_caller(DEFAULT_ACCOUNT), KeyOptions(name="victim"))
        path = path.replace("{key_id:id}", key.id)
    if "{webhook_id:id}" in path:
        endpoint, _ = await services.webhooks.create(DEFAULT_ACCOUNT, EndpointOptions("http://127.0.0.1:9/"))
        path = path.replace("{webhook_id:id}", endpoint.id)
    if "{image_id:id}" in path:
        path = path.replace("{image_id:id}", (await front.generate()).json()["data"][0]["id"])
    if "{link_id:id}" in path:
        link, _ = await services.users.invite(Role.MEMBER, account_id=None, note="")
        path = path.replace("{link_id:id}", link.id)
    if "{user_id:id}" in path:
        path = path.replace("{user_id:id}", await make_user(front, f"victim{len(path)}"))
    return path.replace("{action}", str(fields.get("action"))).replace("{provider}", "studio")


async def test_an_order_is_its_own_record(front: Front):
    """What the short list says of orders is true."""
    await front.generate()
    (row,) = await front.rows(select(generations.c.account_id, generations.c.api_key_id))
    assert row.account_id
    assert row.api_key_id


# --- commands ---

READS = "it reads only"
SILENT_COMMANDS = {
    **dict.fromkeys(("providers", "usage", "audit", "fsck", "config check"), READS),
    **dict.fromkeys(("credentials list", "credentials test"), READS),
    **dict.fromkeys(("accounts list", "accounts balance", "accounts users"), READS),
    **dict.fromkeys(("keys list", "webhooks list", "webhooks deliveries"), READS),
    "serve": "what it serves is in the table above; its first key is noted as the system's",
    "generate": ORDERS,
    "webhooks replay": DELIVERIES,
}
COMMANDS: dict[str, tuple[tuple[str, ...], Action]] = {
    "accounts top-up": ((DEFAULT_ACCOUNT, "12.50", "--reference", "invoice-17"), Action.ACCOUNT_TOPPED_UP),
    "accounts create": (("ada@example.com",), Action.USER_CREATED),
    "accounts passwd": (("ada@example.com",), Action.USER_PASSWORD_CHANGED),
    "keys create": (("--name", "one", "--json"), Action.KEY_CREATED),
    "keys revoke": (("{key}",), Action.KEY_REVOKED),
    "webhooks create": (("https://hooks.example.com/secret-path", "--json"), Action.WEBHOOK_CREATED),
    "backup": (("{backups}", "--json"), Action.BACKUP_MADE),
    "restore": (("{backups}",), Action.BACKUP_RESTORED),
    "webhooks delete": (("{webhook}",), Action.WEBHOOK_DELETED),
    "models": (("otter-1", "--default"), Action.MODEL_DEFAULT_CHANGED),
    "credentials set": (("studio", "--config", "{config}"), Action.CREDENTIAL_SET),
    "credentials rotate": (("--config", "{config}"), Action.CREDENTIALS_RESEALED),
    "credentials remove": (("studio", "--config", "{config}"), Action.CREDENTIAL_REMOVED),
}


def commands(command: Any, name: str = "") -> Iterator[str]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name
    for child, each in (inner or {}).items():
        yield from commands(each, f"{name} {child}".strip())


def test_every_command_that_changes_something_is_noted(
    tmp_path: Path, blank_database: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("pinxit.logs.configure", lambda *_: None)
    assert set(commands(get_command(program))) == set(SILENT_COMMANDS) | set(COMMANDS)
    data = tmp_path / "data"
    data.mkdir()
    (data / "pinxit.db").write_bytes(blank_database)
    known, elsewhere = (
        {"backups": str(tmp_path / "backups"), "config": str(tmp_path / "c.yaml")},
        tmp_path / "elsewhere",
    )
    Path(known["config"]).write_text(
        "providers: {studio: {kind: openai, base_url: http://127.0.0.1:9/v1, models: [gpt-image-1-mini]}}"
    )
    for name, (arguments, action) in COMMANDS.items():
        given = [argument.format(**known) for argument in arguments]
        folder = elsewhere if name == "restore" else data
        done = run(folder, *name.split(), *given)
        if "--json" in given and name != "backup":
            known[name.split()[0].rstrip("s")] = done["id"]
        (event, *_) = run(folder, "audit", "--json", "--limit", "1", "--action", action.value)
        assert (event["action"], event["actor"]["kind"]) == (action.value, "command"), name
        assert event["actor"]["name"], name
        assert "secret-path" not in str(event)
        assert PASSWORD not in str(event)


def run(folder: Path, *arguments: str) -> Any:
    result = CliRunner().invoke(
        program, [*arguments, "--data-dir", str(folder)], input=f"{PASSWORD}\n", env={"COLUMNS": "200"}
    )
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    said = (
        result.stdout[re.search(r"^[\[{]", result.stdout, re.MULTILINE).start() :] if "--json" in arguments else "null"
    )
    return json.loads(said)  # behind the lines of the log, which is the test's own process's
