"""Assembly: builds everything once and hands it on. The only module that knows every room."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from time import monotonic
from types import MappingProxyType
from typing import Any

import structlog
from fastapi import FastAPI
from sqlalchemy import Connection
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pinxit import __version__, accounts
from pinxit.accounts.directory import Directory
from pinxit.accounts.oidc.service import OidcService
from pinxit.accounts.service import UserService
from pinxit.api import shapes
from pinxit.api.context import Services, base_url_without_request
from pinxit.api.openapi import openapi_document
from pinxit.api.rations import RATE_HEADERS
from pinxit.api.routes import hot_routes, router
from pinxit.api.shell import Shell
from pinxit.audit.service import AuditService
from pinxit.backends import registry
from pinxit.backends.interface import Backend, CredentialUse
from pinxit.backends.upstream._configured import build_providers, price_list
from pinxit.catalog.catalog import Catalog, ConfiguredBackend, ConfiguredModel
from pinxit.catalog.service import CatalogService
from pinxit.console.routes import console_routes
from pinxit.credentials.seal import KEY_FILE, Keys
from pinxit.credentials.service import CredentialService
from pinxit.database.interface import Database
from pinxit.database.opening import open_database
from pinxit.errors import ConfigurationError, PinxitError
from pinxit.generations import repository as orders
from pinxit.generations.access import Accesses
from pinxit.generations.announcing import Announcer, Record
from pinxit.generations.generation import Generation, Status
from pinxit.generations.leases import COMMAND, SERVER, Tenure
from pinxit.generations.service import GenerationService
from pinxit.health.health import HealthService
from pinxit.ids import new_id
from pinxit.keys.model import Limits
from pinxit.keys.service import KeyService
from pinxit.ledger.credits import CreditService
from pinxit.ledger.invariants import check as check_ledger
from pinxit.library.library import Library
from pinxit.library.thumbnails import Thumbnails
from pinxit.library.urls import ImageUrls, load_secret
from pinxit.limits.byte_budget import ByteBudget
from pinxit.limits.gate import Gate
from pinxit.limits.memory import MemoryLimiter
from pinxit.limits.shared import SharedLimiter
from pinxit.moderation import Moderator
from pinxit.moderation.word_list import load_word_list
from pinxit.network.http import GuardedHttp
from pinxit.routing.router import Router
from pinxit.runners.inline import InlineRunner
from pinxit.runners.interface import Runner
from pinxit.runners.process import ProcessRunner
from pinxit.settings import ModelEntry, Settings
from pinxit.storage.cache import FileCache
from pinxit.storage.folder import PICTURES_FOLDER, prepare_data_folder
from pinxit.storage.local import LocalStorage
from pinxit.usage.usage import UsageService
from pinxit.webhooks import outbox
from pinxit.webhooks.deliverer import Deliverer
from pinxit.webhooks.model import EventType
from pinxit.webhooks.secret import WebhookSecrets
from pinxit.webhooks.service import WebhookService

log = structlog.get_logger(__name__)

SIGNING_FILE = "signing.key"
INSTANCE_FILE = "instance.id"
"""Names this data folder, so that its servers know the orders of those before them."""
THUMBNAILS_FOLDER = "thumbnails"
"""What is in it can be made again, and is."""

EVENTS = {
    Status.COMPLETED: EventType.COMPLETED,
    Status.FAILED: EventType.FAILED,
    Status.CANCELLED: EventType.CANCELLED,
    Status.UNKNOWN: EventType.FAILED,
}
"""How webhooks tell the end of an order; its own status is in the data."""


IDLE_LOOK_SECONDS = 0.5
WEBHOOK_GRACE_SECONDS = 2.0
"""How long a stopping server waits for receivers; who has not answered by then hears it again from the next one."""


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class House:
    """Everything that has to be started and closed, and what the doors use."""

    services: Services
    database: Database
    storage: LocalStorage
    moderator: Moderator
    deliverer: Deliverer
    installed: tuple[Backend, ...]
    """The backends that stay whatever the configuration says."""
    traits: "Traits"
    is_server: bool
    is_first: bool
    """Whether its server has no other process yet."""
    is_alone: bool
    """Whether no other process can be using the database, so that what an earlier one left there is dead."""
    _proving: "asyncio.Task[None] | None" = None
    _bookkeeping: "asyncio.Task[None] | None" = None
    _leaving: "set[asyncio.Task[None]]" = field(default_factory=set)

    async def start(self) -> None:
        """Look after what an earlier process left, and let the painters load behind us."""
        now = utc_now()
        await self.database.write(lambda connection: accounts.ensure_default(connection, now))
        await self.services.credentials.start()
        await self.services.models.start(watches=self.is_server)
        await self.services.generations.start()
        if self.is_server:
            await self.deliverer.start(is_alone=self.is_alone)
        if self.is_first:
            self._proving = asyncio.create_task(self._prove_ledger())
            self._bookkeeping = asyncio.create_task(self.services.usage.keep_books())
        for runner in self.services.runners.values():
            await runner.start()

    async def _prove_ledger(self) -> None:
        """Prove the books while pictures are painted already; it reads one snapshot and holds nobody up."""
        for problem in await self.database.read(check_ledger):
            log.critical("ledger_broken", problem=problem)

    async def reload(self, fresh: Settings) -> None:
        """Have the providers, models and aliases of `fresh` from now on; orders under way end where they are. All other
        settings stay as they were at the start.

        Raises StartupError, saying what is wrong; then nothing has changed.
        """
        providers = build_providers(fresh.providers, os.environ)
        backends = [*self.installed, *providers]
        catalog = build_catalog(fresh, backends)
        runners = self.services.runners
        gone = [runners.pop(name) for name in self.traits.remote & set(runners)]
        for backend in providers:
            runners[backend.name] = _runner(backend, fresh)
            await runners[backend.name].start()
        self.traits.become(backends)
        self.services.credentials.become(credential_uses(backends))
        self.services.models.configure(catalog)
        for runner in gone:
            leaving = asyncio.create_task(_close_when_idle(runner))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
        log.info("configuration_reloaded", providers=sorted(fresh.providers), models=len(catalog.list()))

    async def close(self, grace_seconds: float) -> None:
        """Finish the orders under way, then let go of everything, the latest first."""
        await self.services.generations.close(grace_seconds)
        await self.services.models.close()
        await self.deliverer.close(WEBHOOK_GRACE_SECONDS)
        if self._leaving:
            await asyncio.wait(self._leaving)
        for runner in self.services.runners.values():
            await runner.close()
        await self.services.keys.close()
        if self._bookkeeping is not None:
            self._bookkeeping.cancel()
            await asyncio.wait([self._bookkeeping])
        await self.services.credentials.close()
        if self._proving is not None:
            await self._proving
        self.services.library.close()
        await self.database.close()
        self.storage.close()


class Traits:
    """What the story must know of backends, by their names; it changes with the configuration."""

    def __init__(self, backends: Sequence[Backend]) -> None:
        self.remote: set[str] = set()
        self.once_only: set[str] = set()
        """Those whose work is not repeatable."""
        self.become(backends)

    def become(self, backends: Sequence[Backend]) -> None:
        """What has been `once_only` stays so: it may have orders under way."""
        self.remote.clear()
        self.remote.update(backend.name for backend in backends if backend.is_remote)
        self.once_only.update(backend.name for backend in backends if not backend.is_repeatable)


async def _close_when_idle(runner: Runner) -> None:
    """Close it once the orders that it has under way have ended, each of which has a deadline of its own."""
    while runner.queue_depth:  # noqa: ASYNC110 - a runner has no event for this, and nobody waits for it
        await asyncio.sleep(IDLE_LOOK_SECONDS)
    await runner.close()


@dataclass(frozen=True, slots=True)
class Workplace:
    """Which one of a server's several API processes this is."""

    slot: int
    """From 1; no two that live have the same."""
    is_first: bool
    """Whether it begins before all others of this data folder."""
    shared_runners: Mapping[str, Runner]
    """Backend → the runner of the painter that all of them share."""


def build(
    settings: Settings,
    *,
    owns_folder: bool,
    backends: Sequence[Backend] | None = None,
    workplace: Workplace | None = None,
) -> House:
    """Build the house over `settings.data_dir`. `backends`: those to use instead of all that are installed;
    `workplace`: None for the only process of its server.

    Raises StartupError, saying in one sentence what is wrong and what to do.
    """
    prepare_data_folder(settings.data_dir)
    is_alone = owns_folder and settings.database_url is None
    painters = list(backends) if backends is not None else all_backends(settings)
    catalog = build_catalog(settings, painters)
    for backend in painters:
        backend.check()
    moderator = load_word_list(settings.moderation_words, settings.moderation_words_file)
    database = open_database(settings)
    storage = LocalStorage(settings.data_dir / PICTURES_FOLDER)
    signing_secret = load_secret(settings.data_dir / SIGNING_FILE)
    library = Library(
        database,
        storage,
        ImageUrls(signing_secret),
        min_free_bytes=settings.min_free_disk_bytes,
        now=utc_now,
        thumbnails=Thumbnails(FileCache(settings.data_dir / THUMBNAILS_FOLDER)),
    )
    http = GuardedHttp(allowed_networks=settings.webhook_allowed_networks)
    webhook_secrets = WebhookSecrets(signing_secret)
    deliverer = Deliverer(database, http, webhook_secrets, now=utc_now)
    shared = workplace.shared_runners if workplace else {}
    runners = {backend.name: shared.get(backend.name) or _runner(backend, settings) for backend in painters}
    traits = Traits(painters)
    router = Router(monotonic, remote=traits.remote.__contains__)
    credentials = CredentialService(database, credential_keys(settings), now=utc_now)
    credentials.become(credential_uses(painters))
    generations = GenerationService(
        database=database,
        catalog=catalog,
        runners=runners,
        moderator=moderator,
        library=library,
        gate=Gate(settings.max_queued_generations, settings.max_painting_generations),
        limiter=MemoryLimiter() if settings.database_url is None else SharedLimiter(database),
        account_limits=Limits(settings.requests_per_minute, settings.images_per_minute, settings.concurrency),
        now=utc_now,
        tenure=_tenure(settings, workplace) if owns_folder else Tenure(new_id(COMMAND)),
        is_billed=settings.billing == "credits",
        url_ttl=None if settings.url_ttl_seconds is None else timedelta(seconds=settings.url_ttl_seconds),
        router=router,
        once_only=traits.once_only,
        accesses=Accesses(credentials, fee_percent=settings.byok_fee_percent),
        announcer=Announcer(_recorder(settings, library.urls), deliverer.wake),
    )
    oidc = settings.oidc
    users = UserService(
        database, now=utc_now, secret=signing_secret, takes_passwords=oidc is None or oidc.password_sign_in
    )
    services = Services(
        settings=settings,
        catalog=catalog,
        models=CatalogService(database, catalog, now=utc_now),
        router=router,
        keys=KeyService(database, now=utc_now),
        generations=generations,
        library=library,
        webhooks=WebhookService(database, http, webhook_secrets, now=utc_now, wake=deliverer.wake),
        runners=runners,
        byte_budget=ByteBudget(settings.request_memory_bytes),
        picture_http=GuardedHttp(allowed_networks=settings.image_allowed_networks),
        usage=UsageService(database, now=utc_now),
        users=users,
        oidc=None if oidc is None else OidcService(oidc, users, now=utc_now, secret=signing_secret),
        health=HealthService(database, storage, now=utc_now),
        credits=CreditService(database, now=utc_now),
        accounts=Directory(database),
        credentials=credentials,
        audit=AuditService(database),
        now=utc_now,
    )
    return House(
        services,
        database,
        storage,
        moderator,
        deliverer,
        installed=tuple(backend for backend in painters if not backend.is_remote),
        traits=traits,
        is_server=owns_folder,
        is_first=_is_first(workplace),
        is_alone=is_alone,
    )


def _tenure(settings: Settings, workplace: Workplace | None) -> Tenure:
    """A new name for this server or worker.

    There is one server of a data folder at a time, so those before it are dead, with all their workers; and whoever
    had a worker's slot before it.
    """
    servers = f"{SERVER}_{_instance(settings.data_dir / INSTANCE_FILE)}"
    owner = f"{servers}_{workplace.slot}" if workplace else servers
    return Tenure(new_id(owner), predecessors=f"{servers if _is_first(workplace) else owner}_")


def _is_first(workplace: Workplace | None) -> bool:
    return workplace is None or workplace.is_first


def _instance(file: Path) -> str:
    """What the file says, or a new random name that is written there for good: after a power cut, too, the next server
    must know the orders of this one for those of its predecessor. It would wait for the end of their leases else.
    """
    found = file.read_text("ascii").strip() if file.exists() else ""
    if found:
        return found
    name, part = secrets.token_hex(8), file.with_suffix(".part")
    with part.open("w", encoding="ascii") as opened:
        opened.write(name)
        opened.flush()
        os.fsync(opened.fileno())
    part.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return name


def _recorder(settings: Settings, urls: ImageUrls) -> Record:
    """Writes an order's end into the outbox, as GET shows it from then on."""
    base = base_url_without_request(settings)

    def record(connection: Connection, ended: Generation) -> bool:
        def data() -> dict[str, Any]:
            shown = orders.find(connection, ended.account_id, ended.id)
            assert shown is not None
            return shapes.generation(shown, urls, base)

        return outbox.append(
            connection,
            account_id=ended.account_id,
            subject_id=ended.id,
            type_=EVENTS[ended.status],
            data=data,
            now=ended.finished_at or ended.created_at,
        )

    return record


def installed_backends() -> list[Backend]:
    """A new instance of every backend that is installed. Raises StartupError."""
    return [registry.load(name) for name in registry.list_names()]


def all_backends(settings: Settings) -> list[Backend]:
    """Those that are installed, and the providers that are configured. Raises StartupError, ConfigurationError."""
    installed = installed_backends()
    taken = {backend.name for backend in installed} & set(settings.providers)
    if taken:
        raise ConfigurationError(f"providers.{min(taken)}: an installed backend has this name; choose another.")
    return [*installed, *build_providers(settings.providers, os.environ)]


def credential_keys(settings: Settings) -> Keys:
    """What stored credentials are sealed with. Raises ConfigurationError, StartupError."""
    text = settings.credentials_key
    return Keys(
        settings.data_dir / KEY_FILE,
        text=None if text is None else text.get_secret_value(),
        file=settings.credentials_key_file,
    )


def credential_uses(backends: Sequence[Backend]) -> dict[str, CredentialUse | None]:
    """By the backends' names."""
    return {backend.name: backend.credential_use for backend in backends}


def build_catalog(settings: Settings, backends: Sequence[Backend]) -> Catalog:
    """What can be asked for with these settings. Raises ConfigurationError."""
    return Catalog(
        {backend.name: backend.models() for backend in backends},
        default_model=settings.default_model,
        remote={backend.name for backend in backends if backend.is_remote},
        configured=[_configured(entry) for entry in settings.model_list],
        aliases=settings.aliases,
    )


def create_app(house: House) -> FastAPI:
    """The ASGI application. Its lifespan starts and closes the house."""
    settings = house.services.settings
    hot, rest = hot_routes(house.services), router(house.services)
    pages = console_routes(house.services) if settings.console else []

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await house.start()
        try:
            yield
        finally:
            await house.close(settings.shutdown_grace_seconds)

    app = _Application(
        title="Pinxit",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        middleware=[*_cors(settings), Middleware(Shell, routes=[*hot, *rest.routes, *pages])],
        exception_handlers={PinxitError: _reraise, HTTPException: _reraise},
    )
    # `include_router` would build every route a second time, and look at a request twice.
    app.router.routes.extend([*hot, *pages, *rest.routes])
    if not settings.cors_origins:
        app.shortcuts = {
            (method, route.path): Shell(route.app)
            for route in hot
            if isinstance(route, Route) and not route.param_convertors
            for method in route.methods or ()
        }

    document = cache(lambda: openapi_document(app))

    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return Response(document(), media_type="application/json")

    return app


class _Application(FastAPI):
    """FastAPI, whose layers the hot routes are spared: they cost a twentieth of a small order."""

    shortcuts: Mapping[tuple[str, str], ASGIApp] = MappingProxyType({})
    """Method and path → what answers there, within a Shell of its own."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope.get("root_path"):
            shortcut = self.shortcuts.get((scope["method"], scope["path"]))
            if shortcut is not None:
                await shortcut(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


async def _reraise(_: Request, error: Exception) -> Response:
    """Errors are answered by the Shell, the same for every kind of route."""
    raise error


def _configured(entry: ModelEntry) -> ConfiguredModel:
    backends = [
        ConfiguredBackend(painter.backend_name, painter.model_id, painter.defaults, painter.weight)
        for painter in entry.painters
    ]
    return ConfiguredModel(
        entry.model_name, backends, entry.description, price_list(entry.prices), entry.sort, entry.fallback_models
    )


def _runner(backend: Backend, settings: Settings) -> Runner:
    if backend.runs_in == "inline":
        return InlineRunner(backend, ready_timeout_seconds=settings.painter_ready_timeout_seconds)
    return ProcessRunner(backend.name, ready_timeout_seconds=settings.painter_ready_timeout_seconds)


def _cors(settings: Settings) -> list[Middleware]:
    if not settings.cors_origins:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["authorization", "content-type", "idempotency-key", "x-request-id"],
            expose_headers=[
                "x-request-id",
                "x-pinxit-generation",
                "x-pinxit-model",
                "x-pinxit-backend",
                "x-pinxit-familiarity",
                "x-pinxit-ignored",
                "retry-after",
                "retry-after-ms",
                *RATE_HEADERS,
            ],
        )
    ]
