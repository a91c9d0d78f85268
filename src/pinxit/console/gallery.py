"""The pictures of the visitor's account: looked through, looked at, taken away."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from starlette.responses import JSONResponse, RedirectResponse, Response

from pinxit.console.rendering import Pages, moment
from pinxit.console.visit import Visit
from pinxit.images.size import Size
from pinxit.keys.model import Scope
from pinxit.ledger.dollars import to_text
from pinxit.library.search import WITHOUT_KEY, Found, Search, StoredImage, words_of

GALLERY = "/console/gallery"
PAGE = 48
"""So many pictures come at a time: rows of two, three, four and six are full."""
ROWS_A_COLUMN = 12
"""The grid's rows are as high as a column is wide, divided by this."""
MAX_QUERY_CHARACTERS = 200
_FOR_EVER = "private, max-age=31536000, immutable"
"""What an id shows never changes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the visitor looks for, as the page's address says it."""

    q: str
    model: str
    key: str

    @property
    def search(self) -> Search:
        return Search(words_of(self.q), self.model or None, self.key or None)

    @property
    def query(self) -> str:
        """For an address, without what is not asked."""
        fields = {"q": self.q, "model": self.model, "key": self.key}
        return urlencode({name: value for name, value in fields.items() if value})


class Gallery:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        services, asked = visit.services, _asked(visit)
        keys = await visit.key_names()
        found = await self._find(visit, asked)
        models = [entry.id for entry in services.catalog.list()]
        return self._pages.response(
            "gallery",
            visit,
            asked=asked,
            pictures=[facts_of(visit, stored, keys) for stored in found.images],
            onward=_onward(asked, found),
            reached=found.reached,
            models=models if asked.model in ("", *models) else [*models, asked.model],
            keys=keys,
            without_key=WITHOUT_KEY,
            done=visit.request.query_params.get("done", ""),
        )

    async def more(self, visit: Visit) -> Response:
        """The next pictures, for the page's script."""
        asked, keys = _asked(visit), await visit.key_names()
        found = await self._find(visit, asked)
        return JSONResponse(
            {
                "pictures": [facts_of(visit, stored, keys) for stored in found.images],
                "onward": _onward(asked, found),
                "reached": moment(found.reached),
            }
        )

    async def show_one(self, visit: Visit) -> Response:
        stored, keys = await self._stored(visit), await visit.key_names()
        return self._pages.response("picture", visit, picture=facts_of(visit, stored, keys))

    async def file(self, visit: Visit) -> Response:
        """The picture as it was painted, also where its public address is over."""
        stored = await self._stored(visit)
        data = await visit.services.library.read(stored.image)
        headers = {"cache-control": _FOR_EVER}
        return Response(data, media_type=stored.image.encoding.media_type, headers=headers)

    async def thumbnail(self, visit: Visit) -> Response:
        stored = await self._stored(visit)
        data = await visit.services.library.thumbnail(stored.image)
        return Response(data, media_type="image/webp", headers={"cache-control": _FOR_EVER})

    async def delete(self, visit: Visit) -> Response:
        visit.caller.require(Scope.IMAGES_WRITE)
        await visit.services.library.delete(visit.caller.account_id, visit.request.path_params["image_id"])
        if "application/json" in visit.request.headers.get("accept", ""):
            return Response(status_code=204)
        return RedirectResponse(f"{GALLERY}?done=deleted", 303)

    async def _stored(self, visit: Visit) -> StoredImage:
        visit.caller.require(Scope.IMAGES_READ)
        return await visit.services.library.get(visit.caller.account_id, visit.request.path_params["image_id"])

    async def _find(self, visit: Visit, asked: Asked) -> Found:
        visit.caller.require(Scope.IMAGES_READ)
        after = visit.request.query_params.get("after") or None
        return await visit.services.library.search(visit.caller.account_id, asked.search, after=after, limit=PAGE)


def settings_of(stored: StoredImage) -> dict[str, Any]:
    """What the playground's form is filled with to paint this picture again; the usual is left out."""
    kept: Mapping[str, Any] = stored.generation.parameters
    wanted = {
        "model": stored.generation.model,
        "prompt": stored.generation.prompt,
        "seed": stored.image.seed,
        "size": kept.get("size"),
        "quality": kept.get("quality"),
        "negative_prompt": kept.get("negative_prompt"),
        "style": kept.get("style"),
        "output_format": stored.image.encoding.value if stored.image.encoding.value != "png" else None,
        "background": "transparent" if kept.get("background") == "transparent" else None,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _asked(visit: Visit) -> Asked:
    given = visit.request.query_params
    fields = [given.get(name, "").replace("\0", "").strip()[:MAX_QUERY_CHARACTERS] for name in ("q", "model", "key")]
    return Asked(*fields)


def _onward(asked: Asked, found: Found) -> str:
    """What to ask for the pictures after these, empty at the end."""
    if found.after is None:
        return ""
    return "&".join(part for part in (asked.query, urlencode({"after": found.after})) if part)


def facts_of(visit: Visit, stored: StoredImage, keys: Mapping[str, str]) -> dict[str, Any]:
    """A picture as templates and scripts show it: texts but for numbers."""
    image, order, kept = stored.image, stored.generation, stored.generation.parameters
    library, here = visit.services.library, f"{GALLERY}/{image.id}"
    price = kept.get("price_micros_per_image")
    is_over = image.url_expires_at is not None and image.url_expires_at <= visit.services.now()
    return {
        "id": image.id,
        "page": here,
        "file": f"{here}/file",
        "thumbnail": f"{here}/thumbnail",
        "again": f"/console/playground?again={image.id}",
        "edit": f"/console/playground?edit={image.id}" if _can_edit(visit) else "",
        "url": "" if is_over else f"{visit.base}{library.urls.path(image)}",
        "name": f"{_file_name(order.prompt)}-{image.seed}.{image.encoding.value}",
        "width": image.size.width,
        "height": image.size.height,
        "rows": rows_of(image.size),
        "prompt": order.prompt,
        "when": moment(image.created_at),
        "said": f"{image.created_at:%d %B %Y, %H:%M} UTC",
        "facts": [
            ("Model", order.model),
            ("Size", f"{image.size.width} × {image.size.height}"),
            ("Seed", str(image.seed)),
            ("Quality", str(kept.get("quality") or "")),
            ("Steps", str(kept.get("num_inference_steps") or "")),
            ("Guidance", str(kept.get("guidance_scale") or "")),
            ("Style", kept.get("style") or ""),
            ("Without", kept.get("negative_prompt") or ""),
            ("Ground", "transparent" if kept.get("background") == "transparent" else ""),
            ("Made from", "other pictures" if "input_sha256" in kept else ""),
            ("File", f"{image.encoding.value.upper()}, {_amount(image.size_bytes)}"),
            ("Painted in", f"{image.seconds:.1f} s"),
            ("Price", "" if price is None else f"${to_text(price)}" if price else "free"),
            ("Key", keys.get(order.api_key_id, "another") if order.api_key_id else "none: console or command line"),
            ("Order", order.id),
            ("SHA-256", image.sha256),
        ],
    }


def _can_edit(visit: Visit) -> bool:
    return any(entry.capabilities.edits for entry in visit.services.catalog.list())


def rows_of(size: Size) -> int:
    """How many of the grid's rows a picture takes, from very wide to very tall."""
    return min(3 * ROWS_A_COLUMN, max(ROWS_A_COLUMN // 3, round(ROWS_A_COLUMN * size.height / size.width)))


def _file_name(prompt: str) -> str:
    letters = "".join(letter if letter.isascii() and letter.isalnum() else " " for letter in prompt.lower())
    return "-".join(letters.split())[:40].strip("-") or "picture"


def _amount(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 1_000_000 else f"{max(1, round(size_bytes / 1000))} kB"
