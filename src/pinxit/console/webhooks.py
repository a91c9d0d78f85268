"""Where the events of the visitor's account go, and how their deliveries went."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response

from pinxit.api.errors import status_and_type
from pinxit.api.webhooks import MAX_DESCRIPTION_CHARACTERS, MAX_URL_CHARACTERS
from pinxit.console.forms import Form
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import InvalidRequest, InvalidValue, NotFound, PinxitError
from pinxit.webhooks.model import ORDER_EVENTS, DeliveryStatus, Endpoint, EndpointOptions, EventType

WEBHOOKS = "/console/webhooks"
PAGE = 50
REFUSALS = (InvalidValue, InvalidRequest)
EVENTS: Mapping[EventType, str] = {
    EventType.COMPLETED: "an order is completed",
    EventType.FAILED: "an order has failed",
    EventType.CANCELLED: "an order was cancelled",
    EventType.PING: "a test",
}
"""What each event means, in words."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The form of an endpoint, as it was typed."""

    url: str = ""
    description: str = ""
    events: tuple[str, ...] = tuple(type_.value for type_ in ORDER_EVENTS)

    def change(self, options: EndpointOptions) -> EndpointOptions:
        """`options` as the form has them; what it has no field for stays. Raises InvalidValue."""
        if not self.url or len(self.url) > MAX_URL_CHARACTERS:
            raise InvalidValue(f"The address must have 1 to {MAX_URL_CHARACTERS} characters.", param="url")
        if len(self.description) > MAX_DESCRIPTION_CHARACTERS:
            raise InvalidValue(
                f"A description has at most {MAX_DESCRIPTION_CHARACTERS} characters.", param="description"
            )
        chosen = tuple(type_ for type_ in ORDER_EVENTS if type_.value in self.events)
        if not chosen or set(self.events) - set(ORDER_EVENTS):
            raise InvalidValue("Choose at least one event to hear of.", param="events")
        events = None if chosen == ORDER_EVENTS else chosen
        return replace(options, url=self.url, description=self.description, events=events)


def sent(form: Form) -> Fields:
    return Fields(form.text("url"), form.text("description"), tuple(form.all("events")))


def of_options(options: EndpointOptions) -> Fields:
    """The form that shows them."""
    return Fields(options.url, options.description, tuple(type_.value for type_ in options.events or ORDER_EVENTS))


class Webhooks:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        return await self._list_page(visit)

    async def create(self, visit: Visit) -> Response:
        """The secret is in this answer only."""
        fields = sent(visit.form)
        try:
            options = fields.change(EndpointOptions(""))
            _, secret = await visit.services.webhooks.create(visit.member.account_id, options)
        except REFUSALS as error:
            return await self._list_page(visit, fields=fields, error=error)
        return await self._list_page(visit, secret=secret)

    async def show_one(self, visit: Visit) -> Response:
        endpoint = await self._endpoint(visit)
        return await self._page(visit, endpoint, of_options(endpoint.options))

    async def change(self, visit: Visit) -> Response:
        endpoint, fields = await self._endpoint(visit), sent(visit.form)
        try:
            await visit.services.webhooks.change(visit.member.account_id, endpoint.id, fields.change)
        except REFUSALS as error:
            return await self._page(visit, endpoint, fields, error=error)
        return _to(endpoint.id, "changed")

    async def act(self, visit: Visit) -> Response:
        """The buttons of an endpoint."""
        webhooks, account_id = visit.services.webhooks, visit.member.account_id
        endpoint, action = await self._endpoint(visit), visit.request.path_params["action"]
        if action == "delete":
            await webhooks.delete(account_id, endpoint.id)
            return RedirectResponse(f"{WEBHOOKS}?done=deleted", 303)
        if action == "test":
            await webhooks.ping(account_id, endpoint.id)
            return _to(endpoint.id, "sent")
        if action in ("enable", "disable"):
            is_active = action == "enable"
            await webhooks.change(account_id, endpoint.id, lambda options: replace(options, is_active=is_active))
            return _to(endpoint.id, f"{action}d")
        if action == "new-secret":
            changed, secret = await webhooks.change(
                account_id, endpoint.id, lambda options: options, rotates_secret=True
            )
            return await self._page(visit, changed, of_options(changed.options), secret=secret)
        raise NotFound("There is no such button.")

    async def replay(self, visit: Visit) -> Response:
        params = visit.request.path_params
        delivery = await visit.services.webhooks.replay(
            visit.member.account_id, params["webhook_id"], params["delivery_id"]
        )
        return _to(delivery.endpoint_id, "again")

    async def _endpoint(self, visit: Visit) -> Endpoint:
        """Raises NotFound, also for another account's."""
        return await visit.services.webhooks.get(visit.member.account_id, visit.request.path_params["webhook_id"])

    async def _list_page(
        self, visit: Visit, *, fields: Fields | None = None, error: PinxitError | None = None, secret: str | None = None
    ) -> Response:
        return self._pages.response(
            "webhooks",
            visit,
            status=_status(error),
            endpoints=await visit.services.webhooks.list(visit.member.account_id),
            form=fields or Fields(),
            events=[(type_.value, EVENTS[type_]) for type_ in ORDER_EVENTS],
            error=error,
            secret=secret,
            done=visit.request.query_params.get("done", ""),
            now=visit.services.now(),
        )

    async def _page(
        self,
        visit: Visit,
        endpoint: Endpoint,
        fields: Fields,
        *,
        error: PinxitError | None = None,
        secret: str | None = None,
    ) -> Response:
        asked = visit.request.query_params
        status, after = _delivery_status(asked.get("status", "")), asked.get("after") or None
        found = await visit.services.webhooks.list_deliveries(
            endpoint.account_id, endpoint.id, status=status, after=after, limit=PAGE + 1
        )
        older = {"after": found[PAGE - 1].id} if len(found) > PAGE else None
        return self._pages.response(
            "webhook",
            visit,
            status=_status(error),
            endpoint=endpoint,
            deliveries=found[:PAGE],
            older=older and urlencode({**older, **({"status": status.value} if status else {})}),
            wanted=status.value if status else "",
            is_first=after is None,
            words_of=EVENTS,
            form=fields,
            events=[(type_.value, EVENTS[type_]) for type_ in ORDER_EVENTS],
            error=error,
            secret=secret,
            done=asked.get("done", ""),
            now=visit.services.now(),
        )


def _to(endpoint_id: str, done: str) -> Response:
    return RedirectResponse(f"{WEBHOOKS}/{endpoint_id}?done={done}", 303)


def _status(error: PinxitError | None) -> int:
    return 200 if error is None else status_and_type(type(error))[0]


def _delivery_status(text: str) -> DeliveryStatus | None:
    """Raises NotFound."""
    if not text:
        return None
    try:
        return DeliveryStatus(text)
    except ValueError as error:
        raise NotFound("There are no deliveries of this kind.") from error
