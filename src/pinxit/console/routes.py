"""The console's route table and nothing else: path → handler, and who may use it."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pinxit.api.context import Services
from pinxit.console.audit import AuditPage
from pinxit.console.credentials import Credentials
from pinxit.console.credits import CreditPages
from pinxit.console.door import Door, For, Handler
from pinxit.console.entrance import Entrance
from pinxit.console.gallery import Gallery
from pinxit.console.health import HealthPage
from pinxit.console.keys import Keys
from pinxit.console.models import Models
from pinxit.console.oidc import Oidc
from pinxit.console.painting import PlaygroundEditsEndpoint, PlaygroundEndpoint
from pinxit.console.people import People
from pinxit.console.playground import Playground
from pinxit.console.rendering import Pages, Static
from pinxit.console.requests import Requests
from pinxit.console.usage import UsagePages
from pinxit.console.visit import Visit
from pinxit.console.webhooks import Webhooks
from pinxit.errors import NotFound


def console_routes(services: Services) -> list[BaseRoute]:
    """Every route under `/console`, and `/` for browsers."""
    static = Static()
    pages = Pages(static)
    door = Door(services, pages)
    playground, gallery = Playground(pages), Gallery(pages)
    usage, requests, webhooks, health = UsagePages(pages), Requests(pages), Webhooks(pages), HealthPage(pages)
    credit_pages = CreditPages(pages)
    credentials = Credentials(pages)
    audit = AuditPage(pages)
    entrance, people, keys, models = Entrance(pages), People(pages), Keys(pages), Models(pages, static)
    oidc = Oidc(pages)

    async def static_file(request: Request) -> Response:
        name, version = request.path_params["name"], request.query_params.get("v")
        response = static.response(name, version, request.headers.get("if-none-match"))
        if response is None:
            raise NotFound("There is nothing at this path.")
        return response

    async def nothing(visit: Visit) -> Response:
        if visit.request.path_params["path"] == "":
            return RedirectResponse("/console", 303)
        raise NotFound("The console has no page at this address.")

    def get(path: str, handler: Handler, who: For) -> Route:
        return _route("GET", path, door.endpoint(handler, who))

    def post(path: str, handler: Handler, who: For) -> Route:
        return _route("POST", path, door.endpoint(handler, who))

    return [
        Route("/", _root, methods=["GET"], name="root"),
        Route("/console/static/{name}", static_file, methods=["GET"], name="static"),
        get("/console", entrance.home, For.USERS),
        get("/console/sign-in", entrance.show_sign_in, For.ANYBODY),
        post("/console/sign-in", entrance.sign_in, For.ANYBODY),
        get("/console/oidc/start", oidc.start, For.ANYBODY),
        get("/console/oidc/callback", oidc.callback, For.ANYBODY),
        get("/console/oidc/landing", oidc.landing, For.ANYBODY),
        get("/console/join", entrance.show_join, For.ANYBODY),
        post("/console/join", entrance.join, For.ANYBODY),
        post("/console/sign-out", entrance.sign_out, For.USERS),
        get("/console/profile", entrance.show_profile, For.USERS),
        post("/console/profile/password", entrance.change_password, For.USERS),
        post("/console/profile/sign-out-everywhere", entrance.sign_out_everywhere, For.USERS),
        get("/console/playground", playground.show, For.USERS),
        get("/console/playground/latest", playground.latest, For.USERS),
        _route("POST", "/console/playground/generations", door.for_scripts(PlaygroundEndpoint(services))),
        post("/console/playground/generations/{generation_id:id}/cancel", playground.cancel, For.USERS),
        _route("POST", "/console/playground/edits", door.for_scripts(PlaygroundEditsEndpoint(services))),
        get("/console/gallery", gallery.show, For.USERS),
        get("/console/gallery/pictures", gallery.more, For.USERS),
        get("/console/gallery/{image_id:id}", gallery.show_one, For.USERS),
        get("/console/gallery/{image_id:id}/file", gallery.file, For.USERS),
        get("/console/gallery/{image_id:id}/thumbnail", gallery.thumbnail, For.USERS),
        post("/console/gallery/{image_id:id}/delete", gallery.delete, For.USERS),
        get("/console/keys", keys.show, For.USERS),
        post("/console/keys", keys.create, For.USERS),
        get("/console/keys/{key_id:id}", keys.show_one, For.USERS),
        post("/console/keys/{key_id:id}", keys.change, For.USERS),
        post("/console/keys/{key_id:id}/{action}", keys.act, For.USERS),
        get("/console/models", models.show, For.USERS),
        get("/console/models/about", models.show_one, For.USERS),
        post("/console/models/about", models.act, For.ADMINS),
        get("/console/usage", usage.show, For.USERS),
        get("/console/usage.csv", usage.table, For.USERS),
        get("/console/requests", requests.show, For.USERS),
        get("/console/requests/{order_id:id}", requests.show_one, For.USERS),
        get("/console/credits", credit_pages.show, For.USERS),
        post("/console/credits/review", credit_pages.review, For.ADMINS),
        post("/console/credits/top-up", credit_pages.top_up, For.ADMINS),
        get("/console/webhooks", webhooks.show, For.USERS),
        post("/console/webhooks", webhooks.create, For.USERS),
        get("/console/webhooks/{webhook_id:id}", webhooks.show_one, For.USERS),
        post("/console/webhooks/{webhook_id:id}", webhooks.change, For.USERS),
        post("/console/webhooks/{webhook_id:id}/{action}", webhooks.act, For.USERS),
        post("/console/webhooks/{webhook_id:id}/deliveries/{delivery_id:id}/replay", webhooks.replay, For.USERS),
        get("/console/credentials", credentials.show, For.USERS),
        post("/console/credentials/own/{provider}", credentials.set_own, For.USERS),
        post("/console/credentials/own/{provider}/remove", credentials.remove_own, For.USERS),
        post("/console/credentials/server/{provider}", credentials.set_house, For.ADMINS),
        post("/console/credentials/server/{provider}/remove", credentials.remove_house, For.ADMINS),
        get("/console/audit", audit.show, For.USERS),
        get("/console/audit.csv", audit.table, For.USERS),
        get("/console/health", health.show, For.ADMINS),
        post("/console/health/try", health.try_again, For.ADMINS),
        get("/console/people", people.show, For.ADMINS),
        post("/console/people/invite", people.invite, For.ADMINS),
        post("/console/people/links/{link_id:id}/withdraw", people.withdraw, For.ADMINS),
        post("/console/people/{user_id:id}/role", people.set_role, For.ADMINS),
        post("/console/people/{user_id:id}/remove", people.remove, For.ADMINS),
        get("/console/{path:path}", nothing, For.USERS),
    ]


async def _root(request: Request) -> Response:
    """A browser is led to the console; a client of the API has nothing to look for here."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse("/console", 303)
    raise NotFound("There is nothing at this path.")


def _route(method: str, path: str, endpoint: ASGIApp) -> Route:
    """Starlette takes a function for a handler of requests, and anything else for an ASGI application."""
    return Route(path, _Endpoint(endpoint), methods=[method], name=f"{method} {path}")


class _Endpoint:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)
