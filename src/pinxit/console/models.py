"""The models and what is known of each."""

from dataclasses import dataclass

from starlette.responses import Response

from pinxit.catalog.entry import Entry
from pinxit.console import examples
from pinxit.console.rendering import Pages, Static
from pinxit.console.visit import Visit
from pinxit.library.library import StoredImage
from pinxit.usage.usage import Recent

EXAMPLE_PROMPT = "A cute baby sea otter"
LATEST = 50
"""So many of the account's latest pictures are looked through for examples."""


@dataclass(frozen=True, slots=True)
class Example:
    """A picture that the model has painted, and of what."""

    url: str
    caption: str


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Micro-dollars a picture, by size and quality; or one price for all."""

    qualities: tuple[str, ...]
    rows: tuple[tuple[str, tuple[int, ...]], ...]

    @property
    def least(self) -> int:
        return min(price for _, row in self.rows for price in row)

    @property
    def most(self) -> int:
        return max(price for _, row in self.rows for price in row)


class Models:
    """One method a route."""

    def __init__(self, pages: Pages, static: Static) -> None:
        self._pages = pages
        self._static = static

    async def show(self, visit: Visit) -> Response:
        services = visit.services
        recent = await services.usage.recent_by_model(visit.member.account_id)
        latest = await services.library.list(visit.member.account_id, after=None, limit=LATEST)
        cards = [self._card(visit, entry, recent.get(entry.id), latest) for entry in services.catalog.list()]
        return self._pages.response("models", visit, cards=cards, default=services.catalog.default.id)

    def _card(self, visit: Visit, entry: Entry, recent: Recent | None, latest: list[StoredImage]) -> dict[str, object]:
        return {
            "entry": entry,
            "prices": price_table(entry),
            "recent": recent,
            "example": self._example(visit, entry, latest),
            "calls": examples.calls(visit.base, {"model": entry.id, "prompt": EXAMPLE_PROMPT}),
        }

    def _example(self, visit: Visit, entry: Entry, latest: list[StoredImage]) -> Example | None:
        """The picture that ships with the console for this model; else the latest one of the visitor's account."""
        file = f"{entry.spec.id}.webp"
        if self._static.has(file):
            return Example(self._static.url(file), f"Painted by {entry.spec.id}")
        for stored in latest:
            if stored.generation.model == entry.id:
                return Example(visit.services.library.urls.path(stored.image), stored.generation.prompt)
        return None


def price_table(entry: Entry) -> PriceTable:
    """By every size and quality the model has."""
    can = entry.capabilities
    qualities = tuple(can.qualities) or ("auto",)
    rows = [(str(size), tuple(entry.prices.micros(size, quality) for quality in qualities)) for size in can.sizes]
    return PriceTable(qualities, tuple(rows))
