"""How the server is, and how it is set: for admins. Nothing secret is shown."""

from collections.abc import Sized
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from starlette.responses import Response

from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import StorageUnavailable
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


def _painters(visit: Visit) -> list[Painter]:
    services, found = visit.services, []
    for name, runner in sorted(services.runners.items()):
        models = tuple(entry.id for entry in services.catalog.list() if entry.backend == name)
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
    return f"{len(value)} of them" if isinstance(value, Sized) else "is set"
