"""The orders of the visitor's account, one by one. Prompts are on a page only when they were asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from starlette.responses import Response

from pinxit import errors
from pinxit.api.errors import status_and_type, type_of_class_name
from pinxit.api.usage_query import read_day
from pinxit.console.rendering import Pages
from pinxit.console.usage import key_name
from pinxit.console.visit import Visit
from pinxit.errors import InvalidValue, PinxitError
from pinxit.generations.generation import Generation, far_sentence
from pinxit.generations.search import Outcome, Search
from pinxit.library.search import WITHOUT_KEY, words_of

LOG = "/console/requests"
PAGE = 50
MAX_QUERY_CHARACTERS = 200
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
INTERNAL = "internal_error"
CLASS_NAMES: Mapping[str, tuple[str, ...]] = {
    type_: tuple(
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, PinxitError) and status_and_type(value)[1] == type_
    )
    for type_ in (
        "content_policy_violation",
        "invalid_value",
        "storage_unavailable",
        "upstream_error",
        "upstream_timeout",
        "upstream_unavailable",
        INTERNAL,
    )
}
"""What an order can end with, as the API names it → the names that its row may have for it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the visitor looks for, as the page's address says it; empty: all. `prompts`: whether they are shown."""

    model: str = ""
    key: str = ""
    status: str = ""
    error: str = ""
    first: date | None = None
    last: date | None = None
    q: str = ""
    prompts: bool = False

    @property
    def search(self) -> Search:
        """Raises InvalidValue."""
        is_other = self.error == INTERNAL
        return Search(
            model=self.model or None,
            key_id=self.key or None,
            outcome=_outcome(self.status),
            error_classes=_class_names(self.error),
            is_other_error=is_other,
            since=None if self.first is None else _start(self.first),
            before=None if self.last is None else _start(self.last + timedelta(days=1)),
            words=words_of(self.q) if self.prompts else (),
        )

    @property
    def is_anything(self) -> bool:
        return replace(self, prompts=False) == Asked()

    def path(self, **others: str) -> str:
        """The address of the page that shows this; without what is not asked."""
        fields = {
            "model": self.model,
            "key": self.key,
            "status": self.status,
            "error": self.error,
            "from": str(self.first or ""),
            "to": str(self.last or ""),
            "q": self.q,
            "prompts": "shown" if self.prompts else "",
            **others,
        }
        query = urlencode({name: value for name, value in fields.items() if value})
        return f"{LOG}?{query}" if query else LOG


class Requests:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        """A page of the log, newest first. Raises NotFound if `after` is no order of this account."""
        services, error = visit.services, None
        after = visit.request.query_params.get("after") or None
        try:
            asked = _asked(visit)
            wanted = asked.search
        except InvalidValue as refused:
            asked, wanted, error = Asked(), Search(), refused
        found = await services.generations.search(visit.caller, wanted, after=after, limit=PAGE)
        models = [entry.id for entry in services.catalog.list()]
        return self._pages.response(
            "requests",
            visit,
            status=200 if error is None else status_and_type(type(error))[0],
            error=error,
            asked=asked,
            path=asked.path,
            hidden_path=replace(asked, prompts=False, q="").path,
            shown_path=replace(asked, prompts=True).path,
            orders=found.orders,
            more_after=found.after,
            reached=found.reached,
            is_first=after is None,
            after=after or "",
            models=models if asked.model in ("", *models) else [*models, asked.model],
            outcomes=list(Outcome),
            error_types=list(CLASS_NAMES),
            without_key=WITHOUT_KEY,
            max_query=MAX_QUERY_CHARACTERS,
            keys=await visit.key_names(),
            key_name=key_name,
            seconds_of=seconds_of,
            error_of=error_of,
            now=services.now(),
        )

    async def show_one(self, visit: Visit) -> Response:
        services = visit.services
        order = await services.generations.get(visit.caller, visit.request.path_params["order_id"])
        shows_prompt = visit.request.query_params.get("prompt") == "shown"
        return self._pages.response(
            "request",
            visit,
            order=order,
            facts=[(label, order.parameters.get(name)) for name, label in FACTS.items()],
            pictures=[(services.library.urls.path(image), image) for image in order.images],
            shows_prompt=shows_prompt,
            key=key_name(await visit.key_names(), order.api_key_id),
            seconds_of=seconds_of,
            error_of=error_of,
            far=_far(order, shows_prompt),
            now=services.now(),
        )


def _far(order: Generation, shows_prompt: bool) -> str:
    """What to say of a prompt that its model does not know: what is nearest would tell of one that is hidden."""
    if order.far is None:
        return ""
    return far_sentence(order.model, order.far) if shows_prompt else f"{order.model} does not know this well."


def _asked(visit: Visit) -> Asked:
    """From the address. Raises InvalidValue."""
    query: Mapping[str, Any] = visit.request.query_params
    first, last = (_day(query.get(name), param=name) for name in ("from", "to"))
    if first is not None and last is not None and first > last:
        raise InvalidValue("from must not be after to.", param="from")
    return Asked(
        model=query.get("model", ""),
        key=query.get("key", ""),
        status=query.get("status", ""),
        error=query.get("error", ""),
        first=first,
        last=last,
        q=query.get("q", "").strip()[:MAX_QUERY_CHARACTERS] if query.get("prompts") == "shown" else "",
        prompts=query.get("prompts") == "shown",
    )


def _day(text: str | None, *, param: str) -> date | None:
    """Raises InvalidValue."""
    found = read_day(text or None, param=param)
    if found is not None and not 1970 <= found.year <= 9000:
        raise InvalidValue(f"{param} must be a day from 1970 to 9000.", param=param)
    return found


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _outcome(text: str) -> Outcome | None:
    """Raises InvalidValue."""
    try:
        return Outcome(text) if text else None
    except ValueError as error:
        raise InvalidValue("There is no such status.", param="status", allowed=list(Outcome)) from error


def _class_names(type_: str) -> tuple[str, ...] | None:
    """Of the errors of this type; of all others, for the type of those that nobody knows. Raises InvalidValue."""
    if not type_:
        return None
    if type_ not in CLASS_NAMES:
        raise InvalidValue("No order ends with an error of this type.", param="error", allowed=list(CLASS_NAMES))
    if type_ == INTERNAL:
        return _NOT_INTERNAL
    return CLASS_NAMES[type_]


_NOT_INTERNAL = tuple(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, PinxitError) and status_and_type(value)[1] != INTERNAL
)


def seconds_of(order: Generation) -> float | None:
    """From asked to kept; None while it is under way."""
    return None if order.finished_at is None else (order.finished_at - order.created_at).total_seconds()


def error_of(order: Generation) -> str | None:
    """Its type, as the API names it."""
    return None if order.error_class is None else type_of_class_name(order.error_class)
