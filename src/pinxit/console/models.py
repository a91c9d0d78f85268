"""The models and what is known of each; for admins also how they are set."""

from dataclasses import dataclass

from starlette.responses import RedirectResponse, Response

from pinxit.api.errors import status_and_type
from pinxit.catalog.entry import Entry
from pinxit.catalog.service import Managed
from pinxit.console import examples, model_form
from pinxit.console.model_facts import ABILITIES, PriceTable, abilities, is_like, parameters, price_table
from pinxit.console.model_form import ModelForm, Painter
from pinxit.console.rendering import Pages, Static
from pinxit.console.visit import Visit
from pinxit.errors import Conflict, InvalidValue, NotFound, PinxitError
from pinxit.library.library import StoredImage
from pinxit.usage.usage import Recent

__all__ = ["Models", "PriceTable", "price_table"]

MODELS = "/console/models"
EXAMPLE_PROMPT = "A cute baby sea otter"
LATEST = 50
"""So many of the account's latest pictures are looked through for examples."""
FEW = 6
"""So many models are seen at a glance; more can be searched."""
MAX_QUERY_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Example:
    """A picture that the model has painted, and of what."""

    url: str
    caption: str


@dataclass(frozen=True, slots=True)
class Card:
    """A model in the list."""

    entry: Entry
    is_off: bool
    is_changed: bool
    abilities: list[str]
    prices: PriceTable
    recent: Recent | None
    example: Example | None


class Models:
    """One method a route."""

    def __init__(self, pages: Pages, static: Static) -> None:
        self._pages = pages
        self._static = static

    async def show(self, visit: Visit) -> Response:
        asked = visit.request.query_params
        query, ability = asked.get("q", "")[:MAX_QUERY_CHARACTERS], asked.get("can", "")
        services, is_admin = visit.services, visit.member.is_admin
        models = [model for model in services.models.list() if is_admin or not model.is_off]
        found = [model for model in models if is_like(model.entry, query.lower().split(), ability)]
        recent = await services.usage.recent_by_model(visit.member.account_id)
        latest = await services.library.list(visit.member.account_id, after=None, limit=LATEST)
        return self._pages.response(
            "models",
            visit,
            cards=[self._card(visit, model, recent.get(model.entry.id), latest) for model in found],
            default=services.catalog.default.id,
            total=len(models),
            can_search=len(models) > FEW or bool(query or ability),
            query=query,
            ability=ability,
            all_abilities=ABILITIES,
        )

    async def show_one(self, visit: Visit) -> Response:
        return await self._page(visit, _asked_for(visit, visit.request.query_params.get("model", "")))

    async def act(self, visit: Visit) -> Response:
        """The buttons and the form of a model's settings."""
        model = visit.services.models.get(visit.form.text("model"))
        action, form = visit.form.text("action"), model_form.sent(visit.form)
        try:
            await self._carry_out(visit, action, model.entry.id, form)
        except Conflict as error:  # what was typed was about something that is not so any more
            return await self._page(visit, visit.services.models.get(model.entry.id), error=error)
        except InvalidValue as error:
            return await self._page(visit, model, form=form if action == "save" else None, error=error)
        return RedirectResponse(f"{MODELS}/about?{model_form.address(model.entry.id)}&done={action}", 303)

    async def _carry_out(self, visit: Visit, action: str, model: str, form: ModelForm) -> None:
        """Raises InvalidValue, Conflict, NotFound."""
        models, by = visit.services.models, visit.member.name
        match action:
            case "save":
                await models.change(model, model_form.wish(form), seen=form.seen, by=by)
            case "off" | "on":
                await models.switch(model, is_off=action == "off", seen=form.seen, by=by)
            case "reset":
                await models.reset(model, seen=form.seen, by=by)
            case "default":
                await models.make_default(model, by=by)
            case _:
                raise NotFound("There is no such button.")

    async def _page(
        self, visit: Visit, model: Managed, *, form: ModelForm | None = None, error: PinxitError | None = None
    ) -> Response:
        services, entry = visit.services, model.entry
        form = model_form.shown(form or model_form.of(model), model)
        recent = await services.usage.recent_by_model(visit.member.account_id)
        latest = await services.library.list(visit.member.account_id, after=None, limit=LATEST)
        return self._pages.response(
            "model",
            visit,
            status=200 if error is None else status_and_type(type(error))[0],
            card=self._card(visit, model, recent.get(entry.id), latest),
            parameters=parameters(entry, services.settings.max_prompt_characters),
            calls=examples.calls(visit.base, {"model": entry.id, "prompt": EXAMPLE_PROMPT}),
            words_of=ABILITIES,
            is_default=model.is_default,
            managed=model if visit.member.is_admin else None,
            form=form,
            sorts=model_form.SORTS,
            painters=_painters(visit, form, model),
            workers=services.settings.workers,
            error=error,
            done=visit.request.query_params.get("done", ""),
            now=services.now(),
        )

    def _card(self, visit: Visit, model: Managed, recent: Recent | None, latest: list[StoredImage]) -> Card:
        entry = model.entry
        return Card(
            entry=entry,
            is_off=model.is_off,
            is_changed=model.is_changed,
            abilities=abilities(entry),
            prices=price_table(entry),
            recent=recent,
            example=self._example(visit, entry, latest),
        )

    def _example(self, visit: Visit, entry: Entry, latest: list[StoredImage]) -> Example | None:
        """The picture that ships with the console for this model; else the latest one of the visitor's account."""
        file = f"{entry.spec.id}.webp"
        if self._static.has(file):
            return Example(self._static.url(file), f"Painted by {entry.spec.id}")
        for stored in latest:
            if stored.generation.model == entry.id:
                return Example(visit.services.library.urls.path(stored.image), stored.generation.prompt)
        return None


def _painters(visit: Visit, form: ModelForm, model: Managed) -> list[Painter]:
    router, runners = visit.services.router, visit.services.runners
    standings = {each.key: each for each in router.standings() if router.is_remote(each.key.partition("/")[0])}
    states = {name: (runner.state.status.value, runner.state.reason) for name, runner in runners.items()}
    return model_form.painters(form, model, standings, states)


def _asked_for(visit: Visit, name: str) -> Managed:
    """Raises ModelNotFound, for who is no admin also of one that is off."""
    model = visit.services.models.get(name)
    if model.is_off and not visit.member.is_admin:
        visit.services.catalog.resolve(name)
    return model
