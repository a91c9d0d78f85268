"""The page to paint from: a form for every model, the latest pictures, and what its script asks for."""

from typing import Any

from starlette.responses import JSONResponse, Response

from pinxit.backends.interface import Range
from pinxit.catalog.entry import Entry
from pinxit.console.gallery import facts_of, settings_of
from pinxit.console.models import price_table
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import NotFound
from pinxit.images.encoding import MAX_SIDE
from pinxit.keys.model import Scope
from pinxit.library.search import StoredImage
from pinxit.usage.usage import Recent

LATEST = 12


class Playground:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        services, account_id = visit.services, visit.member.account_id
        recent = await services.usage.recent_by_model(account_id)
        entries = services.catalog.list()
        asked = visit.request.query_params
        model = asked.get("model", "")
        again, edit = await _find(visit, asked.get("again", "")), await _find(visit, asked.get("edit", ""))
        return self._pages.response(
            "playground",
            visit,
            entries=entries,
            chosen=model if model in {entry.id for entry in entries} else services.catalog.default.id,
            prompt=asked.get("prompt", "")[: services.settings.max_prompt_characters],
            max_characters=services.settings.max_prompt_characters,
            facts={
                "base": visit.base,
                "again": again and settings_of(again),
                "edit": edit and facts_of(visit, edit, await visit.key_names()),
                "missing": ("again" in asked and again is None) or ("edit" in asked and edit is None),
                "models": {entry.id: facts(entry, recent.get(entry.id)) for entry in entries},
                "latest": await _latest(visit),
                "maxBytes": services.settings.max_upload_bytes,
                "maxSide": MAX_SIDE,
            },
        )

    async def latest(self, visit: Visit) -> Response:
        """The strip of pictures, for the page's script."""
        return JSONResponse({"pictures": await _latest(visit)})

    async def cancel(self, visit: Visit) -> Response:
        """Give an order up. One that has ended stays as it is, and the answer says how."""
        visit.caller.require(Scope.IMAGES_WRITE)
        order = await visit.services.generations.cancel(visit.caller, visit.request.path_params["generation_id"])
        return JSONResponse({"status": order.status.value, "cost_micros": order.cost_micros})


async def _latest(visit: Visit) -> list[dict[str, Any]]:
    """The account's latest pictures, the newest first, each with what is known of it and its settings."""
    visit.caller.require(Scope.IMAGES_READ)
    found = await visit.services.library.list(visit.member.account_id, after=None, limit=LATEST)
    keys = await visit.key_names()
    return [{**facts_of(visit, stored, keys), "settings": settings_of(stored)} for stored in found]


async def _find(visit: Visit, image_id: str) -> StoredImage | None:
    """The picture that the address names, if it is still there."""
    if not image_id:
        return None
    try:
        return await visit.services.library.get(visit.member.account_id, image_id)
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
        "edits": can.edits,
        "mask": can.mask,
        "strength": _range(can.strength, entry.defaults.get("strength")),
        "prices": {
            quality: {size: row[place] for size, row in table.rows} for place, quality in enumerate(table.qualities)
        },
        "usual": next(
            (name for name, steps in can.qualities.items() if _is_usual(entry, steps)),
            next(iter(can.qualities), "auto"),
        ),
        "seconds": recent.quantile(0.5) if recent else None,
    }


def _range(allowed: Range | None, usual: float | None) -> dict[str, float] | None:
    if allowed is None:
        return None
    return {"min": allowed.minimum, "max": allowed.maximum, "usual": allowed.default if usual is None else usual}


def _is_usual(entry: Entry, steps: int) -> bool:
    usual = entry.capabilities.num_inference_steps
    return bool(steps == entry.defaults.get("num_inference_steps", usual.default if usual else None))
