"""How the server is, and how it is set: for admins. Nothing secret is shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from starlette.responses import RedirectResponse, Response

from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import NotFound, StorageUnavailable
from pinxit.routing.breaker import FAILURES_IN_A_ROW, BreakerState, Reason
from pinxit.routing.router import Standing
from pinxit.settings import Settings
from pinxit.settings.model import describe_settings

COUNTED = frozenset(["moderation_words"])
"""Lists of which only the length is shown."""
PLAIN = (int, float, str, IPv4Network, IPv6Network)
LOW = 2
"""Room for pictures is low from so many times what the server keeps free."""


@dataclass(frozen=True, slots=True)
class Painter:
    """A backend's runner. `status`: starting, ready or failed."""

    name: str
    status: str
    reason: str
    orders: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Upstream:
    """A model at a provider far away. `standing` None: nobody has asked it since the start."""

    key: str
    standing: Standing | None

    @property
    def state(self) -> str:
        """A word for the tag."""
        if self.standing is None:
            return "not asked"
        return "left alone" if self.standing.seconds_left else _STATES[self.standing.state]

    @property
    def why(self) -> str:
        return _REASONS[self.standing.reason] if self.standing and self.standing.reason else ""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider far away. `painting` and `waiting`: orders in this process's lane for it."""

    name: str
    painting: int
    waiting: int
    upstreams: tuple[Upstream, ...]


_STATES = {
    BreakerState.CLOSED: "well",
    BreakerState.OPEN: "left alone",
    BreakerState.HALF_OPEN: "on trial",
}
_REASONS = {
    Reason.IN_A_ROW: f"{FAILURES_IN_A_ROW} orders in a row failed",
    Reason.TOO_OFTEN: "half of its orders of late failed",
    Reason.PROBE_FAILED: "it failed again when it was tried",
    Reason.BUSY: "it says that it is busy",
}
HEALTH = "/console/health"


class HealthPage:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        services = visit.services
        settings, health = services.settings, await services.health.look()
        open_orders = deliveries = None
        if health.database is not None:
            try:
                open_orders = await services.generations.count_open()
                deliveries = await services.webhooks.count_pending()
            except StorageUnavailable:
                health = await services.health.look()
        return self._pages.response(
            "health",
            visit,
            health=health,
            painters=_painters(visit),
            providers=_providers(visit),
            retries=services.router.retry_budget,
            done=visit.request.query_params.get("done", ""),
            load=services.generations.load,
            open_orders=open_orders,
            deliveries=deliveries,
            kept_free=settings.min_free_disk_bytes,
            is_low=health.free_bytes is not None and health.free_bytes < LOW * settings.min_free_disk_bytes,
            is_full=health.free_bytes is not None and health.free_bytes < settings.min_free_disk_bytes,
            data_dir=settings.data_dir,
            workers=settings.workers,
            settings=shown_settings(settings),
            now=services.now(),
        )

    async def try_again(self, visit: Visit) -> Response:
        """Let an order through to a painter that is left alone. Raises NotFound."""
        if not visit.services.router.try_again(visit.form.text("painter")):
            raise NotFound("No such painter was asked since this process started.")
        return RedirectResponse(f"{HEALTH}?done=try", 303)


def _providers(visit: Visit) -> list[Provider]:
    """Those far away that a model of the catalogue is painted by, and all that were asked."""
    services = visit.services
    known = {standing.key: standing for standing in services.router.standings()}
    keys = {painter.painter for entry in services.catalog.list() for painter in (entry, *entry.others)} | set(known)
    found: dict[str, list[Upstream]] = {}
    for key in sorted(keys):
        name = key.partition("/")[0]
        if services.router.is_remote(name):
            found.setdefault(name, []).append(Upstream(key, known.get(key)))
    lanes = services.generations.lanes
    return [Provider(name, *lanes.get(name, (0, 0)), tuple(upstreams)) for name, upstreams in found.items()]


def _painters(visit: Visit) -> list[Painter]:
    services, found = visit.services, []
    for name, runner in sorted(services.runners.items()):
        models = tuple(
            entry.id
            for entry in services.catalog.list()
            if name in (painter.backend for painter in (entry, *entry.others))
        )
        found.append(Painter(name, runner.state.status.value, runner.state.reason, runner.queue_depth, models))
    return found


def shown_settings(settings: Settings) -> list[tuple[str, str, bool, str]]:
    """Name, value, whether somebody has set it to something else than the default, and what it is for."""
    found = []
    for each in describe_settings():
        value = getattr(settings, each.name)
        default = type(settings).model_fields[each.name].get_default(call_default_factory=True)
        found.append((each.name, _text(each.name, value), value != default, each.description))
    return found


def _text(name: str, value: object) -> str:
    """Values of plain kinds as they are; of others, which may hold secrets, only that they are there."""
    if value is None or value in ((), {}, ""):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, int | float | str | Path):
        return str(value)
    if isinstance(value, tuple) and name not in COUNTED and all(isinstance(each, PLAIN) for each in value):
        return ", ".join(str(each) for each in value)
    return f"{len(value)} of them" if isinstance(value, tuple | Mapping) else "is set"
