"""A model's settings as a form: what its fields hold, what they mean, and how its backends are doing beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from pinxit.catalog.changes import BackendChoice, Wish, alone
from pinxit.catalog.service import Managed
from pinxit.console.forms import Form
from pinxit.console.model_facts import PriceTable, price_table
from pinxit.errors import InvalidValue
from pinxit.routing.breaker import BreakerState
from pinxit.routing.router import Standing

SORTS = {
    "order": "as they stand",
    "weight": "by chance, by weight",
    "price": "the cheapest first",
    "latency": "the fastest of late first",
    "sticky": "the same one for each end user",
}
_STATES = {
    BreakerState.CLOSED: "ready",
    BreakerState.OPEN: "left alone",
    BreakerState.HALF_OPEN: "being tried",
}


@dataclass(frozen=True, slots=True)
class Row:
    """A backend in the form, as it was typed."""

    painter: str
    weight: str
    is_in: bool


@dataclass(frozen=True, slots=True)
class ModelForm:
    """The form as it was typed. `seen`: the version that its page showed."""

    sort: str
    rows: tuple[Row, ...]
    aliases: str
    seen: int


@dataclass(frozen=True, slots=True)
class Painter:
    """A row of the form, what is known of its backend, and what the configuration says. `seconds`: mean time of an
    order of late.
    """

    row: Row
    state: str
    reason: str
    seconds: float | None
    orders: int
    failures: int
    prices: PriceTable
    configured_weight: str


def of(model: Managed) -> ModelForm:
    """The form that shows the model's settings."""
    wish = model.wish
    rows = tuple(Row(choice.painter, f"{choice.weight:g}", not choice.is_left_out) for choice in wish.backends)
    return ModelForm(wish.sort, rows, "\n".join(wish.aliases), model.version)


def sent(form: Form) -> ModelForm:
    included = set(form.all("in"))
    return ModelForm(
        sort=form.text("sort"),
        rows=tuple(
            Row(painter, form.text(f"weight:{painter}"), painter in included) for painter in form.all("painter")
        ),
        aliases=form.text("aliases"),
        seen=_version(form.text("version")),
    )


def shown(form: ModelForm, model: Managed) -> ModelForm:
    """The form with the backends that the model has, should it have others than those that were sent."""
    usual = of(model)
    is_whole = sorted(row.painter for row in form.rows) == sorted(row.painter for row in usual.rows)
    return form if is_whole else replace(form, rows=usual.rows)


def wish(form: ModelForm) -> Wish:
    """What the form wants. Raises InvalidValue."""
    backends = tuple(BackendChoice(row.painter, _weight(row), is_left_out=not row.is_in) for row in form.rows)
    aliases = form.aliases.replace(",", "\n").split("\n")
    return Wish(form.sort, backends, tuple(dict.fromkeys(name.strip() for name in aliases if name.strip())))


def address(model: str) -> str:
    """The query of the model's page."""
    return urlencode({"model": model})


def painters(
    form: ModelForm, model: Managed, standings: Mapping[str, Standing], states: Mapping[str, tuple[str, str]]
) -> list[Painter]:
    """The backends in the order of the form, which has those of the model.

    `standings`: of those far away, by painter; `states`: of each backend's runner, with the reason.
    """
    there = {entry.painter: entry for entry in alone(model.configured)}
    found = []
    for row in form.rows:
        entry = there[row.painter]
        standing = standings.get(row.painter)
        state, reason = states.get(entry.backend, ("not there", ""))
        if standing is not None and state == "ready":
            state = _STATES[standing.state]
        found.append(
            Painter(
                row=row,
                state=state,
                reason=reason,
                seconds=standing.seconds if standing else None,
                orders=standing.successes + standing.failures if standing else 0,
                failures=standing.failures if standing else 0,
                prices=price_table(entry),
                configured_weight=f"{entry.weight:g}",
            )
        )
    return found


def _weight(row: Row) -> float:
    try:
        return float(row.weight.replace(",", "."))
    except ValueError as error:
        raise InvalidValue(f"The weight of {row.painter} must be a number.", param="weight") from error


def _version(text: str) -> int:
    """None that there is, if it is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
