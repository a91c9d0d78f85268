"""Painting from the console: a page, and a route that takes an order as the API does, by session instead of key."""

from typing import Any

from starlette.responses import Response
from starlette.types import Scope

from pinxit.api.images import GenerationsEndpoint
from pinxit.catalog.entry import Entry
from pinxit.console.door import CALLER
from pinxit.console.gallery import settings_of
from pinxit.console.models import price_table
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import NotFound
from pinxit.keys.model import Caller
from pinxit.keys.model import Scope as KeyScope
from pinxit.usage.usage import Recent

LATEST = 12


class PlaygroundEndpoint(GenerationsEndpoint):
    """POST /v1/images/generations for the signed-in user: the same bodies, answers, streams and errors."""

    async def _admit(self, scope: Scope) -> Caller:
        caller: Caller = scope[CALLER]
        caller.require(KeyScope.IMAGES_WRITE)
        return caller


class Playground:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        services, account_id = visit.services, visit.member.account_id
        recent = await services.usage.recent_by_model(account_id)
        latest = await services.library.list(account_id, after=None, limit=LATEST)
        entries = services.catalog.list()
        asked = visit.request.query_params.get("model", "")
        return self._pages.response(
            "playground",
            visit,
            entries=entries,
            chosen=asked if asked in {entry.id for entry in entries} else services.catalog.default.id,
            prompt=visit.request.query_params.get("prompt", "")[: services.settings.max_prompt_characters],
            max_characters=services.settings.max_prompt_characters,
            facts={
                "base": visit.base,
                "again": await _again(visit),
                "models": {entry.id: facts(entry, recent.get(entry.id)) for entry in entries},
            },
            latest=[(services.library.urls.path(stored.image), stored) for stored in latest],
        )


async def _again(visit: Visit) -> dict[str, Any] | None:
    """The settings of the picture that the address names, if it is still there."""
    try:
        return settings_of(
            await visit.services.library.get(visit.member.account_id, visit.request.query_params.get("again", ""))
        )
    except NotFound:
        return None


def facts(entry: Entry, recent: Recent | None) -> dict[str, Any]:
    """What the form of a model is made from. Prices are micro-dollars by quality and size; `seconds` is what half of
    the last orders took.
    """
    can, table = entry.capabilities, price_table(entry)
    return {
        "sizes": [str(size) for size in can.sizes],
        "size": str(can.default_size),
        "qualities": list(can.qualities),
        "n": can.max_n,
        "seed": can.seed,
        "negative": can.negative_prompt,
        "transparent": can.transparent,
        "styles": list(can.styles),
        "streaming": can.streaming,
        "prices": {
            quality: {size: row[place] for size, row in table.rows} for place, quality in enumerate(table.qualities)
        },
        "usual": next(
            (name for name, steps in can.qualities.items() if _is_usual(entry, steps)),
            next(iter(can.qualities), "auto"),
        ),
        "seconds": recent.quantile(0.5) if recent else None,
    }


def _is_usual(entry: Entry, steps: int) -> bool:
    usual = entry.capabilities.num_inference_steps
    return bool(steps == entry.defaults.get("num_inference_steps", usual.default if usual else None))
