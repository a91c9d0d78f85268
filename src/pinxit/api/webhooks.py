"""The handlers of /v1/webhooks: parse, call one service, render."""

from dataclasses import replace
from typing import Any

from fastapi import Request

from pinxit.api import shapes
from pinxit.api.body import read_json_object
from pinxit.api.context import Services
from pinxit.api.fields import Fields, page_of, texts
from pinxit.errors import InvalidRequest, InvalidValue
from pinxit.keys.model import Caller
from pinxit.webhooks.model import ORDER_EVENTS, Delivery, DeliveryStatus, EndpointOptions, EventType

MAX_DESCRIPTION_CHARACTERS = 500
MAX_URL_CHARACTERS = 2048
OPTIONS = frozenset(["url", "events", "description", "active"])
CHANGES = OPTIONS | {"rotate_secret"}


class WebhookHandlers:
    """One method a route; see `routes.py` for the table."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._webhooks = services.webhooks

    async def list_webhooks(self, caller: Caller) -> dict[str, Any]:
        found = await self._webhooks.list(caller.account_id)
        return {"object": "list", "data": [shapes.webhook(endpoint) for endpoint in found]}

    async def create_webhook(self, request: Request, caller: Caller) -> dict[str, Any]:
        body = await self._body(request, OPTIONS)
        if not body.get("url"):
            raise InvalidRequest("url is missing.", param="url")
        endpoint, secret = await self._webhooks.create(caller.account_id, _options(EndpointOptions(""), body))
        return {**shapes.webhook(endpoint), "secret": secret}

    async def get_webhook(self, caller: Caller, webhook_id: str) -> dict[str, Any]:
        return shapes.webhook(await self._webhooks.get(caller.account_id, webhook_id))

    async def change_webhook(self, request: Request, caller: Caller, webhook_id: str) -> dict[str, Any]:
        body = await self._body(request, CHANGES)
        endpoint, secret = await self._webhooks.change(
            caller.account_id,
            webhook_id,
            lambda options: _options(options, body),
            rotates_secret=bool(Fields(body).boolean("rotate_secret")),
        )
        return shapes.webhook(endpoint) if secret is None else {**shapes.webhook(endpoint), "secret": secret}

    async def delete_webhook(self, caller: Caller, webhook_id: str) -> dict[str, Any]:
        await self._webhooks.delete(caller.account_id, webhook_id)
        return {"id": webhook_id, "object": "webhook", "deleted": True}

    async def list_webhook_deliveries(self, request: Request, caller: Caller, webhook_id: str) -> dict[str, Any]:
        after, limit = page_of(request.query_params)
        status = Fields(request.query_params).choice("status", [status.value for status in DeliveryStatus])
        found = await self._webhooks.list_deliveries(
            caller.account_id,
            webhook_id,
            status=DeliveryStatus(status) if status else None,
            after=after,
            limit=limit + 1,
        )
        page: list[Delivery] = list(found[:limit])
        return {
            "object": "list",
            "data": [shapes.webhook_delivery(delivery) for delivery in page],
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
            "has_more": len(found) > limit,
        }

    async def replay_webhook_delivery(self, caller: Caller, webhook_id: str, delivery_id: str) -> dict[str, Any]:
        return shapes.webhook_delivery(await self._webhooks.replay(caller.account_id, webhook_id, delivery_id))

    async def test_webhook(self, caller: Caller, webhook_id: str) -> dict[str, Any]:
        return shapes.webhook_delivery(await self._webhooks.ping(caller.account_id, webhook_id))

    async def _body(self, request: Request, known: frozenset[str]) -> dict[str, Any]:
        services = self._services
        body = await read_json_object(
            request.scope, request.receive, max_bytes=services.settings.max_body_bytes, budget=services.byte_budget
        )
        for name in body:
            if name not in known:
                shown = name.encode("ascii", "replace").decode()[:64]
                raise InvalidRequest(f"There is no parameter {shown!r}.", param=shown)
        return body


def _options(options: EndpointOptions, body: dict[str, Any]) -> EndpointOptions:
    """`options` with what `body` sets; `events` null is all of them."""
    fields = Fields(body)
    url = fields.text("url", max_characters=MAX_URL_CHARACTERS)
    if url is not None:
        options = replace(options, url=url)
    if "events" in body:
        options = replace(options, events=_events(fields))
    if "description" in body:
        description = fields.text("description", max_characters=MAX_DESCRIPTION_CHARACTERS) or ""
        options = replace(options, description=description)
    active = fields.boolean("active")
    return options if active is None else replace(options, is_active=active)


def _events(fields: Fields) -> tuple[EventType, ...] | None:
    names = texts(fields, "events")
    if names is None:
        return None
    if not names or not set(names) <= set(ORDER_EVENTS):
        raise InvalidValue("events must name what to hear of.", param="events", allowed=list(ORDER_EVENTS))
    return tuple(dict.fromkeys(EventType(name) for name in names))
