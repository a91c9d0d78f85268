"""The handlers that FastAPI runs: parse, call one service, render."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from pinxit import __version__
from pinxit.api import shapes, usage_query
from pinxit.api.auth import authenticate
from pinxit.api.body import read_json_object
from pinxit.api.context import Services, act_as, base_url
from pinxit.api.fields import Fields, page_of, texts
from pinxit.api.heartbeat import with_heartbeat
from pinxit.api.images import terms
from pinxit.api.rations import read_budgets, read_limits
from pinxit.audit import Actor, ActorKind
from pinxit.catalog.entry import Entry
from pinxit.errors import InvalidRequest, InvalidValue, ModelNotFound
from pinxit.images.request import Delivery
from pinxit.keys.model import Caller, KeyOptions, Scope
from pinxit.runners.interface import Status
from pinxit.usage.csv import to_csv

KEEP_ALIVE_SECONDS = 15.0
MAX_KEY_NAME_CHARACTERS = 200
MAX_URL_TTL_SECONDS = 604_800
KEY_FIELDS = frozenset(
    [
        "name",
        "scopes",
        "models",
        "limits",
        "budgets",
        "default_delivery",
        "strict",
        "url_ttl_seconds",
        "expires_at",
        "disabled",
    ]
)


def caller_with(scope: Scope, services: Services) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, if the key has `scope`."""

    async def dependency(request: Request) -> Caller:
        caller = await authenticate(request.scope, services.keys)
        caller.require(scope)
        if caller.key is not None:
            name = caller.key.options.name or caller.key.prefix
            act_as(request.scope, services.settings, Actor(ActorKind.KEY, caller.key.id, name))
        return caller

    return dependency


class Handlers:
    """One method a route; see `routes.py` for the table."""

    def __init__(self, services: Services) -> None:
        self._services = services

    # --- models ---

    async def list_models(self, caller: Caller) -> dict[str, Any]:
        entries = [entry for entry in self._services.catalog.list() if _may_see(caller, entry.id, entry.aliases)]
        shown = [{**shapes.model(entry), **self._credential(entry, caller)} for entry in entries]
        return {"object": "list", "data": [model for model in shown if model.get("credential") != "missing"]}

    async def get_model(self, caller: Caller, model: str) -> dict[str, Any]:
        entry = self._services.catalog.resolve(model, tells_why=caller.is_admin)
        caller.require_model(model, entry.id)
        catalog, known = self._services.catalog, terms(self._services.settings, caller.key)
        return {
            **shapes.model(entry),
            **self._credential(entry, caller),
            **shapes.request_schemas(entry, known, catalog),
        }

    def _credential(self, entry: Entry, caller: Caller) -> dict[str, str]:
        """`own`: the account's own is used, `missing`: nobody has one; nothing where it is the house's affair."""
        backends = [painter.backend for painter in (entry, *entry.others)]
        found = [self._services.credentials.find(backend, caller.account_id) for backend in backends]
        if any(access is not None and access.own is not None for access in found):
            return {"credential": "own"}
        is_there = any(access is None or access.has_house for access in found)
        return {} if is_there else {"credential": "missing"}

    # --- images and generations ---

    async def list_images(self, request: Request, caller: Caller) -> dict[str, Any]:
        after, limit = page_of(request.query_params)
        found = await self._services.library.list(caller.account_id, after=after, limit=limit + 1)
        shown = [self._image(request, stored.image, stored.generation) for stored in found[:limit]]
        return shapes.page(shown, has_more=len(found) > limit)

    async def get_image(self, request: Request, caller: Caller, image_id: str) -> dict[str, Any]:
        stored = await self._services.library.get(caller.account_id, image_id)
        return self._image(request, stored.image, stored.generation)

    async def delete_image(self, caller: Caller, image_id: str) -> dict[str, Any]:
        await self._services.library.delete(caller.account_id, image_id)
        return {"id": image_id, "object": "image", "deleted": True}

    async def cancel_generation(self, request: Request, caller: Caller, generation_id: str) -> dict[str, Any]:
        order = await self._services.generations.cancel(caller, generation_id)
        return shapes.generation(order, self._services.library.urls, self._base(request))

    async def follow_generation(self, request: Request, caller: Caller, generation_id: str) -> Response:
        """Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), the last one the end."""
        following = self._services.generations.follow(caller, generation_id)
        first = await anext(following)
        base, urls = self._base(request), self._services.library.urls

        async def events() -> AsyncGenerator[bytes, None]:
            async with aclosing(following):
                yield _event(shapes.generation(first, urls, base))
                async for order in with_heartbeat(following, KEEP_ALIVE_SECONDS):
                    yield b": keepalive\n\n" if order is None else _event(shapes.generation(order, urls, base))

        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(events(), media_type="text/event-stream", headers=headers)

    async def list_generations(self, request: Request, caller: Caller) -> dict[str, Any]:
        after, limit = page_of(request.query_params)
        found = await self._services.generations.list_newest(caller, after=after, limit=limit + 1)
        urls, base = self._services.library.urls, self._base(request)
        shown = [shapes.generation(order, urls, base) for order in found[:limit]]
        return shapes.page(shown, has_more=len(found) > limit)

    async def get_task(self, request: Request, caller: Caller, generation_id: str) -> dict[str, Any]:
        order = await self._services.generations.get(caller, generation_id)
        return shapes.task(order, self._services.library.urls, self._base(request))

    async def get_generation(self, request: Request, caller: Caller, generation_id: str) -> Any:
        if "text/event-stream" in request.headers.get("accept", ""):
            return await self.follow_generation(request, caller, generation_id)
        order = await self._services.generations.get(caller, generation_id)
        return shapes.generation(order, self._services.library.urls, self._base(request))

    def _image(self, request: Request, image: Any, generation: Any) -> dict[str, Any]:
        urls = self._services.library.urls
        return shapes.image(
            image, generation.prompt, generation.model, generation.parameters, urls, self._base(request)
        )

    def _base(self, request: Request) -> str:
        return base_url(request.scope, self._services.settings)

    # --- usage ---

    async def get_usage(self, request: Request, caller: Caller) -> Any:
        read = usage_query.read(request.query_params, request.headers.get("accept", ""))
        wanted = self._services.usage.query(read.first, read.last, read.groups)
        sums = await self._services.usage.list(caller.account_id, wanted)
        if not read.is_csv:
            return shapes.usage(wanted, sums)
        name = f"pinxit-usage-{wanted.first}-{wanted.last}.csv"
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(to_csv(sums, wanted.groups), media_type="text/csv", headers=headers)

    # --- keys ---

    async def list_keys(self, caller: Caller) -> dict[str, Any]:
        return {"object": "list", "data": [shapes.key(key) for key in await self._services.keys.list(caller)]}

    async def create_key(self, request: Request, caller: Caller) -> dict[str, Any]:
        options = self._key_options(KeyOptions(), await self._body(request))
        key, secret = await self._services.keys.create(caller, options)
        return {**shapes.key(key), "key": secret}

    async def get_key(self, caller: Caller, key_id: str) -> dict[str, Any]:
        return shapes.key(await self._services.keys.get(caller, key_id))

    async def change_key(self, request: Request, caller: Caller, key_id: str) -> dict[str, Any]:
        body = await self._body(request)
        return shapes.key(
            await self._services.keys.change(caller, key_id, lambda options: self._key_options(options, body))
        )

    async def revoke_key(self, caller: Caller, key_id: str) -> dict[str, Any]:
        return shapes.key(await self._services.keys.revoke(caller, key_id))

    async def _body(self, request: Request) -> dict[str, Any]:
        services = self._services
        return await read_json_object(
            request.scope, request.receive, max_bytes=services.settings.max_body_bytes, budget=services.byte_budget
        )

    def _key_options(self, options: KeyOptions, body: dict[str, Any]) -> KeyOptions:
        """`options` with what `body` sets; null takes a restriction away."""
        for name in body:
            if name not in KEY_FIELDS:
                shown = name.encode("ascii", "replace").decode()[:64]
                raise InvalidRequest(f"There is no parameter {shown!r}.", param=shown)
        fields = Fields(body)
        readers: dict[str, Callable[[], Any]] = {
            "name": lambda: fields.text("name", max_characters=MAX_KEY_NAME_CHARACTERS) or "",
            "scopes": lambda: _scopes(fields),
            "models": lambda: self._models(fields),
            "default_delivery": lambda: _delivery(fields),
            "strict": lambda: bool(fields.boolean("strict")),
            "url_ttl_seconds": lambda: fields.integer("url_ttl_seconds", 1, MAX_URL_TTL_SECONDS),
            "expires_at": lambda: self._expiry(fields),
            "limits": lambda: read_limits(fields),
            "budgets": lambda: read_budgets(fields),
            "disabled": lambda: bool(fields.boolean("disabled")),
        }
        return replace(options, **{name: read() for name, read in readers.items() if name in body})

    def _models(self, fields: Fields) -> tuple[str, ...] | None:
        names = texts(fields, "models")
        for name in names or ():
            try:
                self._services.catalog.get(name)
            except ModelNotFound as error:  # what is not found at this address is not the key
                raise InvalidValue(error.message, param="models") from error
        return names

    def _expiry(self, fields: Fields) -> datetime | None:
        seconds = fields.integer("expires_at", 0, 253_402_300_799)
        if seconds is None:
            return None
        moment = datetime.fromtimestamp(seconds, UTC)
        if moment <= self._services.now():
            raise InvalidValue("expires_at must be in the future, in Unix seconds.", param="expires_at")
        return moment

    # --- health ---

    async def live(self) -> dict[str, Any]:
        return {"status": "live", "version": __version__}

    async def ready(self) -> JSONResponse:
        """200 once pictures can be painted; until then 503 with what is missing."""
        backends = {
            name: {"status": runner.state.status.value, "reason": runner.state.reason}
            for name, runner in self._services.runners.items()
        }
        for name in backends:
            if not self._services.credentials.has_house(name):
                backends[name] = {"status": Status.FAILED.value, "reason": f"There is no credential for {name}."}
        is_ready = self._is_ready()
        content = {"status": "ready" if is_ready else "starting", "version": __version__, "backends": backends}
        return JSONResponse(content, status_code=200 if is_ready else 503)

    def _is_ready(self) -> bool:
        """Whether the default model can be painted; if it cannot and is not about to, whether any can."""
        services = self._services
        states = {
            name: runner.state.status if services.credentials.has_house(name) else Status.FAILED
            for name, runner in services.runners.items()
        }
        default = self._services.catalog.default
        usual = [states.get(entry.backend, Status.FAILED) for entry in (default, *default.others)]
        if Status.READY in usual or Status.STARTING in usual:
            return Status.READY in usual
        return Status.READY in states.values()


def _event(content: dict[str, Any]) -> bytes:
    """One event, named after the order's status: `generation.in_progress`."""
    data = json.dumps(content, ensure_ascii=True, separators=(",", ":"))
    return f"event: generation.{content['status']}\ndata: {data}\n\n".encode()


def _may_see(caller: Caller, model_id: str, aliases: tuple[str, ...]) -> bool:
    allowed = caller.key.options.models if caller.key else None
    return allowed is None or bool({model_id, *aliases} & set(allowed))


def _scopes(fields: Fields) -> tuple[Scope, ...]:
    names = texts(fields, "scopes")
    if not names:
        raise InvalidValue("A key needs at least one scope.", param="scopes", allowed=[scope.value for scope in Scope])
    try:
        return tuple(dict.fromkeys(Scope(name) for name in names))
    except ValueError as error:
        raise InvalidValue(
            "There is no such scope.", param="scopes", allowed=[scope.value for scope in Scope]
        ) from error


def _delivery(fields: Fields) -> Delivery | None:
    value = fields.choice("default_delivery", [delivery.value for delivery in Delivery])
    return None if value is None else Delivery(value)
