"""The route table and nothing else: path → handler, and the scope that a key needs for it."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.routing import BaseRoute, Route

from pinxit.api import sdapi_facts
from pinxit.api.chat import ChatEndpoint
from pinxit.api.context import Services
from pinxit.api.edits import EditsEndpoint, VariationsEndpoint
from pinxit.api.handlers import Handlers, caller_with
from pinxit.api.images import GenerationsEndpoint
from pinxit.api.pictures import PictureEndpoint
from pinxit.api.responses import ResponsesEndpoint
from pinxit.api.sdapi import Img2ImgEndpoint, Txt2ImgEndpoint
from pinxit.api.webhooks import WebhookHandlers
from pinxit.keys.model import Caller, Scope


class _Id(Convertor[str]):
    """A path segment that can be an id of ours, so that `/v1/images/generations` is not taken for a picture."""

    regex = "[a-z]+_[0-9a-f]{32}"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _Id())


def hot_routes(services: Services) -> list[BaseRoute]:
    """The routes that carry pictures: plain ASGI callables, which authorise by the same `authenticate`."""
    settings = services.settings
    routes: list[BaseRoute] = [
        Route("/v1/images/generations", GenerationsEndpoint(services), methods=["POST"], name="create_image"),
        Route("/v1/images/edits", EditsEndpoint(services), methods=["POST"], name="edit_image"),
        Route("/v1/images/variations", VariationsEndpoint(services), methods=["POST"], name="vary_image"),
        Route("/image/{key:path}", PictureEndpoint(services), methods=["GET", "HEAD"], name="get_picture"),
    ]
    if settings.enable_responses:
        routes.append(Route("/v1/responses", ResponsesEndpoint(services), methods=["POST"], name="create_response"))
    if settings.enable_chat_completions:
        chat = ChatEndpoint(services)
        routes.append(Route("/v1/chat/completions", chat, methods=["POST"], name="create_chat_completion"))
    if settings.enable_sdapi:
        routes += _sdapi_routes(services)
    return routes


def _sdapi_routes(services: Services) -> list[BaseRoute]:
    """Those of AUTOMATIC1111's web UI. Their keys may come as passwords, so they authenticate themselves."""
    models, pictures, painting = Scope.MODELS_READ, Scope.IMAGES_READ, Scope.IMAGES_WRITE
    facts: list[tuple[str, str, Scope, Any]] = [
        ("GET", "options", models, sdapi_facts.get_options),
        ("GET", "sd-models", models, sdapi_facts.list_models),
        ("GET", "samplers", models, sdapi_facts.constant(sdapi_facts.SAMPLERS)),
        ("GET", "schedulers", models, sdapi_facts.constant(sdapi_facts.SCHEDULERS)),
        ("GET", "upscalers", models, sdapi_facts.constant(sdapi_facts.UPSCALERS)),
        ("GET", "latent-upscale-modes", models, sdapi_facts.constant(sdapi_facts.NOTHING)),
        ("GET", "sd-vae", models, sdapi_facts.constant(sdapi_facts.NOTHING)),
        ("GET", "progress", pictures, sdapi_facts.get_progress),
        ("POST", "interrupt", painting, sdapi_facts.interrupt),
    ]
    routes = [
        Route(f"/sdapi/v1/{name}", sdapi_facts.FactsEndpoint(services, scope, answer), methods=[method])
        for method, name, scope, answer in facts
    ]
    for route in routes:
        (route.methods or set()).discard("HEAD")  # which Starlette adds, and no other route has
    return [
        *routes,
        Route("/sdapi/v1/options", sdapi_facts.SetOptionsEndpoint(services), methods=["POST"]),
        Route("/sdapi/v1/txt2img", Txt2ImgEndpoint(services), methods=["POST"]),
        Route("/sdapi/v1/img2img", Img2ImgEndpoint(services), methods=["POST"]),
    ]


def router(services: Services) -> APIRouter:
    """Everything else. A route says which scope it needs, or that it is public; there is no default that lets
    anybody in.
    """
    handle = Handlers(services)
    webhooks = WebhookHandlers(services)
    routes = APIRouter()

    def holder_of(scope: Scope) -> Any:
        return Depends(caller_with(scope, services))

    models_reader = Annotated[Caller, holder_of(Scope.MODELS_READ)]
    images_reader = Annotated[Caller, holder_of(Scope.IMAGES_READ)]
    images_writer = Annotated[Caller, holder_of(Scope.IMAGES_WRITE)]
    usage_reader = Annotated[Caller, holder_of(Scope.USAGE_READ)]
    keys_manager = Annotated[Caller, holder_of(Scope.KEYS_MANAGE)]
    webhooks_manager = Annotated[Caller, holder_of(Scope.WEBHOOKS_MANAGE)]

    @routes.get("/v1/models", tags=["models"])
    async def list_models(caller: models_reader) -> Any:
        """The models this key may use, the default one first."""
        return await handle.list_models(caller)

    @routes.get("/v1/models/{model:path}", tags=["models"])
    async def get_model(caller: models_reader, model: str) -> Any:
        """One model: what it can do, as data and as a JSON schema of its request."""
        return await handle.get_model(caller, model)

    @routes.get("/v1/images", tags=["images"])
    async def list_images(request: Request, caller: images_reader) -> Any:
        """The account's stored pictures, newest first; `after` (an id) and `limit` (1 to 100) page."""
        return await handle.list_images(request, caller)

    @routes.get("/v1/images/{image_id:id}", tags=["images"])
    async def get_image(request: Request, caller: images_reader, image_id: str) -> Any:
        """One stored picture and how it was made."""
        return await handle.get_image(request, caller, image_id)

    @routes.delete("/v1/images/{image_id:id}", tags=["images"])
    async def delete_image(caller: images_writer, image_id: str) -> Any:
        """Delete a stored picture for good; its address is 404 from then on."""
        return await handle.delete_image(caller, image_id)

    @routes.get("/v1/images/tasks/{generation_id:id}", tags=["generations"])
    async def get_task(request: Request, caller: images_reader, generation_id: str) -> Any:
        """One order as it stands, its pictures in `data` as well: for clients that poll for a task."""
        return await handle.get_task(request, caller, generation_id)

    @routes.get("/v1/generations", tags=["generations"])
    async def list_generations(request: Request, caller: images_reader) -> Any:
        """The account's orders, newest first, however they ended; `after` (an id) and `limit` (1 to 100) page."""
        return await handle.list_generations(request, caller)

    @routes.get("/v1/generations/{generation_id:id}", tags=["generations"])
    async def get_generation(request: Request, caller: images_reader, generation_id: str) -> Any:
        """One order as it stands; with `Accept: text/event-stream` again whenever that changes, until it has ended."""
        return await handle.get_generation(request, caller, generation_id)

    @routes.delete("/v1/generations/{generation_id:id}", tags=["generations"])
    async def cancel_generation(request: Request, caller: images_writer, generation_id: str) -> Any:
        """Give an order up between two steps; nothing is charged. One that has ended stays as it is."""
        return await handle.cancel_generation(request, caller, generation_id)

    @routes.get("/v1/usage", tags=["usage"])
    async def get_usage(request: Request, caller: usage_reader) -> Any:
        """The account's orders, pictures, errors and costs, added up; as CSV with `Accept: text/csv`."""
        return await handle.get_usage(request, caller)

    @routes.get("/v1/keys", tags=["keys"])
    async def list_keys(caller: keys_manager) -> Any:
        """The account's API keys, newest first, without their secrets."""
        return await handle.list_keys(caller)

    @routes.post("/v1/keys", status_code=201, tags=["keys"])
    async def create_key(request: Request, caller: keys_manager) -> Any:
        """A new API key; the key itself is in this answer only."""
        return await handle.create_key(request, caller)

    @routes.get("/v1/keys/{key_id:id}", tags=["keys"])
    async def get_key(caller: keys_manager, key_id: str) -> Any:
        """One API key without its secret."""
        return await handle.get_key(caller, key_id)

    @routes.patch("/v1/keys/{key_id:id}", tags=["keys"])
    async def change_key(request: Request, caller: keys_manager, key_id: str) -> Any:
        """Change what a key may do."""
        return await handle.change_key(request, caller, key_id)

    @routes.delete("/v1/keys/{key_id:id}", tags=["keys"])
    async def revoke_key(caller: keys_manager, key_id: str) -> Any:
        """Revoke a key for good, everywhere within a second."""
        return await handle.revoke_key(caller, key_id)

    @routes.get("/v1/webhooks", tags=["webhooks"])
    async def list_webhooks(caller: webhooks_manager) -> Any:
        """The account's webhooks, newest first, without their secrets."""
        return await webhooks.list_webhooks(caller)

    @routes.post("/v1/webhooks", status_code=201, tags=["webhooks"])
    async def create_webhook(request: Request, caller: webhooks_manager) -> Any:
        """A new webhook; its signing secret is in this answer only."""
        return await webhooks.create_webhook(request, caller)

    @routes.get("/v1/webhooks/{webhook_id:id}", tags=["webhooks"])
    async def get_webhook(caller: webhooks_manager, webhook_id: str) -> Any:
        """One webhook without its secret."""
        return await webhooks.get_webhook(caller, webhook_id)

    @routes.patch("/v1/webhooks/{webhook_id:id}", tags=["webhooks"])
    async def change_webhook(request: Request, caller: webhooks_manager, webhook_id: str) -> Any:
        """Change a webhook; `rotate_secret` gives it a new secret, beside which the old one signs for another day."""
        return await webhooks.change_webhook(request, caller, webhook_id)

    @routes.delete("/v1/webhooks/{webhook_id:id}", tags=["webhooks"])
    async def delete_webhook(caller: webhooks_manager, webhook_id: str) -> Any:
        """Delete a webhook and its deliveries."""
        return await webhooks.delete_webhook(caller, webhook_id)

    @routes.get("/v1/webhooks/{webhook_id:id}/deliveries", tags=["webhooks"])
    async def list_webhook_deliveries(request: Request, caller: webhooks_manager, webhook_id: str) -> Any:
        """What was sent and what came of it, for 30 days, newest first; `status=dead` shows what was given up."""
        return await webhooks.list_webhook_deliveries(request, caller, webhook_id)

    @routes.post("/v1/webhooks/{webhook_id:id}/deliveries/{delivery_id:id}/replay", tags=["webhooks"])
    async def replay_webhook_delivery(caller: webhooks_manager, webhook_id: str, delivery_id: str) -> Any:
        """Send an event again, with the same id and body."""
        return await webhooks.replay_webhook_delivery(caller, webhook_id, delivery_id)

    @routes.post("/v1/webhooks/{webhook_id:id}/test", status_code=201, tags=["webhooks"])
    async def test_webhook(caller: webhooks_manager, webhook_id: str) -> Any:
        """Send a `ping` to try a webhook out; the deliveries say what came of it."""
        return await webhooks.test_webhook(caller, webhook_id)

    @routes.get("/health/live", tags=["health"])
    async def live() -> Any:
        """The process answers."""
        return await handle.live()

    @routes.get("/health/ready", tags=["health"])
    async def ready() -> Any:
        """Pictures can be painted; until then 503 with what is missing."""
        return await handle.ready()

    return routes
