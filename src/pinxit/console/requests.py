"""The orders of the visitor's account, one by one. Prompts are on a page only when they were asked for."""

from starlette.responses import Response

from pinxit.api.errors import type_of_class_name
from pinxit.console.rendering import Pages
from pinxit.console.usage import key_name
from pinxit.console.visit import Visit
from pinxit.generations.generation import Generation

PAGE = 50
FACTS = {
    "n": "Pictures",
    "size": "Size",
    "quality": "Quality",
    "style": "Style",
    "background": "Ground",
    "output_format": "Format",
    "num_inference_steps": "Steps",
    "guidance_scale": "Guidance",
    "credential": "Credential",
}
"""Of an order's parameters, what a reader of the log may want to know; not what was asked for in words."""


class Requests:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        """A page of the log, newest first. Raises NotFound if `after` is no order of this account."""
        asked, services = visit.request.query_params, visit.services
        after = asked.get("after") or None
        found = await services.generations.list_newest(visit.caller, after=after, limit=PAGE + 1)
        return self._pages.response(
            "requests",
            visit,
            orders=found[:PAGE],
            more_after=found[PAGE - 1].id if len(found) > PAGE else None,
            is_first=after is None,
            after=after,
            shows_prompts=asked.get("prompts") == "shown",
            keys=await _key_names(visit),
            key_name=key_name,
            seconds_of=seconds_of,
            error_of=error_of,
            now=services.now(),
        )

    async def show_one(self, visit: Visit) -> Response:
        services = visit.services
        order = await services.generations.get(visit.caller, visit.request.path_params["order_id"])
        return self._pages.response(
            "request",
            visit,
            order=order,
            facts=[(label, order.parameters.get(name)) for name, label in FACTS.items()],
            pictures=[(services.library.urls.path(image), image) for image in order.images],
            shows_prompt=visit.request.query_params.get("prompt") == "shown",
            key=key_name(await _key_names(visit), order.api_key_id),
            seconds_of=seconds_of,
            error_of=error_of,
            now=services.now(),
        )


async def _key_names(visit: Visit) -> dict[str, str]:
    return {key.id: key.options.name or key.prefix for key in await visit.services.keys.list(visit.caller)}


def seconds_of(order: Generation) -> float | None:
    """From asked to kept; None while it is under way."""
    return None if order.finished_at is None else (order.finished_at - order.created_at).total_seconds()


def error_of(order: Generation) -> str | None:
    """Its type, as the API names it."""
    return None if order.error_class is None else type_of_class_name(order.error_class)
