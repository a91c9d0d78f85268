"""The API keys of the visitor's account."""

from dataclasses import dataclass, replace
from datetime import datetime

from starlette.responses import RedirectResponse, Response

from pinxit.api.errors import status_and_type
from pinxit.console import examples, key_form
from pinxit.console.key_form import KeyForm
from pinxit.console.rendering import Pages
from pinxit.console.visit import Visit
from pinxit.errors import InvalidRequest, InvalidValue, ModelNotFound, NotFound, PermissionDenied, PinxitError
from pinxit.images.request import Delivery
from pinxit.keys.model import ApiKey, KeyOptions, Scope

KEYS = "/console/keys"
REFUSALS = (InvalidValue, ModelNotFound, PermissionDenied)
ACTIONS = ("enable", "disable", "revoke")


@dataclass(frozen=True, slots=True)
class Created:
    """A new key's secret, shown this once, and how to use it."""

    secret: str
    calls: list[tuple[str, str]]


class Keys:
    """One method a route."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def show(self, visit: Visit) -> Response:
        return await self._page(visit)

    async def create(self, visit: Visit) -> Response:
        """The secret is in this answer only."""
        services, form = visit.services, key_form.sent(visit.form)
        try:
            options = key_form.change(KeyOptions(), form, services.catalog, services.now())
            key, secret = await services.keys.create(visit.caller, options)
        except REFUSALS as error:
            return await self._page(visit, form=form, error=error)
        model = (key.options.models or (services.catalog.default.id,))[0]
        order = {"model": model, "prompt": "A cute baby sea otter"}
        return await self._page(visit, created=Created(secret, examples.calls(visit.base, order, secret)))

    async def show_one(self, visit: Visit) -> Response:
        key = await self._key(visit)
        return self._edit_page(visit, key, key_form.of_options(key.options))

    async def change(self, visit: Visit) -> Response:
        services, key, form = visit.services, await self._key(visit), key_form.sent(visit.form)
        now = services.now()
        try:
            await services.keys.change(
                visit.caller, key.id, lambda options: key_form.change(options, form, services.catalog, now)
            )
        except REFUSALS as error:
            return self._edit_page(visit, key, form, error)
        return RedirectResponse(f"{KEYS}?done=changed", 303)

    async def act(self, visit: Visit) -> Response:
        key, action, keys = await self._key(visit), visit.request.path_params["action"], visit.services.keys
        if action not in ACTIONS:
            raise NotFound("There is no such button.")
        if action == "revoke":
            await keys.revoke(visit.caller, key.id)
        else:
            await keys.change(visit.caller, key.id, lambda options: replace(options, disabled=action == "disable"))
        return RedirectResponse(f"{KEYS}?done={action}d", 303)

    async def _key(self, visit: Visit) -> ApiKey:
        """One that can still be used, or be usable again. Raises NotFound, InvalidRequest."""
        key = await visit.services.keys.get(visit.caller, visit.request.path_params["key_id"])
        if key.revoked_at is not None:
            raise InvalidRequest("This key is revoked for good.")
        return key

    async def _page(
        self,
        visit: Visit,
        *,
        form: KeyForm | None = None,
        error: PinxitError | None = None,
        created: Created | None = None,
    ) -> Response:
        services = visit.services
        keys = await services.keys.list(visit.caller)
        return self._pages.response(
            "keys",
            visit,
            status=200 if error is None else status_and_type(type(error))[0],
            keys=[key for key in keys if key.revoked_at is None],
            revoked=[key for key in keys if key.revoked_at is not None],
            spent=await services.usage.spent_by_key(visit.caller.account_id),
            now=services.now(),
            state=state,
            error=error,
            created=created,
            done=visit.request.query_params.get("done", ""),
            **_choices(visit, form or key_form.of_options(KeyOptions())),
        )

    def _edit_page(self, visit: Visit, key: ApiKey, form: KeyForm, error: PinxitError | None = None) -> Response:
        return self._pages.response(
            "key",
            visit,
            status=200 if error is None else status_and_type(type(error))[0],
            key=key,
            error=error,
            **_choices(visit, form),
        )


def state(key: ApiKey, now: datetime) -> str:
    """In one word."""
    if key.is_valid(now):
        return "active"
    if key.revoked_at is not None:
        return "revoked"
    return "off" if key.options.disabled else "expired"


def _choices(visit: Visit, form: KeyForm) -> dict[str, object]:
    """What the form of a key offers. A model that was chosen and is not there any more stays to be seen."""
    models = [entry.id for entry in visit.services.catalog.list()]
    return {
        "form": form,
        "scopes": [scope.value for scope in Scope if scope in visit.caller.scopes],
        "models": [*models, *(name for name in form.models if name not in models)],
        "deliveries": [delivery.value for delivery in Delivery],
        "default_delivery": visit.services.settings.default_delivery.value,
    }
