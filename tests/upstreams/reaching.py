"""A provider of ours, connected to the simulated server of its kind."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from simulated import Simulated

from pinxit.backends.interface import Asked, PaintedFile, PaintEvent, PaintOrder
from pinxit.backends.upstream import load_kind
from pinxit.backends.upstream._base import Limits, UpstreamBackend
from pinxit.backends.upstream._provider import Access
from pinxit.runners.checked import paint_checked


@asynccontextmanager
async def reaching(
    server: Simulated, options: Mapping[str, Any] | None = None, *, timeout_seconds: float = 20
) -> AsyncIterator[UpstreamBackend]:
    """The backend over the provider, whose `options` are those."""
    kind = load_kind(server.name)
    async with server.serving():
        url = server.url + server.base_path(urlsplit(kind.base_url).path)
        provider = kind(Access(url, server.credential, server.options() if options is None else options))
        if models := server.configured_models():
            provider.offer(models)
        limits = Limits(timeout_seconds=timeout_seconds, poll_seconds=0)
        networks = (ip_network("127.0.0.0/8"),)
        backend = UpstreamBackend(server.name, provider, limits=limits, allowed_networks=networks)
        await backend.open()
        try:
            yield backend
        finally:
            await backend.close()


def order_of(backend: UpstreamBackend, model: str, **more: Any) -> PaintOrder:
    """An order with the model's defaults; `more` are fields of `PaintOrder`, or of its `asked`."""
    can = next(spec for spec in backend.models() if spec.id == model).capabilities
    asked = {name: more.pop(name) for name in list(more) if name in Asked.__dataclass_fields__ and name != "images"}
    if "files" in more:
        asked["images"] = more.pop("files")
    return PaintOrder(
        model=model,
        prompt=more.pop("prompt", "a red fox"),
        size=more.pop("size", can.default_size),
        seeds=more.pop("seeds", (7,)),
        num_inference_steps=int(can.num_inference_steps.default) if can.num_inference_steps else 1,
        guidance_scale=can.guidance_scale.default if can.guidance_scale else None,
        asked=Asked(**{"encoding": can.encodings[0]} | asked),
        **more,
    )


async def paint(backend: UpstreamBackend, order: PaintOrder) -> list[PaintEvent]:
    async with aclosing(paint_checked(backend, order)) as events:
        return [event async for event in events]


def files(events: list[PaintEvent]) -> list[PaintedFile]:
    return [event for event in events if isinstance(event, PaintedFile)]
