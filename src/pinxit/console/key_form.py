"""The options of an API key as a form: what its fields hold, and what they mean."""

from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from pinxit.catalog.catalog import Catalog
from pinxit.console.forms import Form
from pinxit.errors import InvalidValue
from pinxit.images.request import Delivery
from pinxit.keys.model import Budgets, KeyOptions, Limits, Scope
from pinxit.ledger.dollars import to_micros, to_text

MAX_NAME_CHARACTERS = 200
MAX_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class KeyForm:
    """What stands in the fields, as text, however wrong it may be."""

    name: str = ""
    scopes: tuple[str, ...] = ()
    which_models: str = "all"
    models: tuple[str, ...] = ()
    requests_per_minute: str = ""
    images_per_minute: str = ""
    concurrency: str = ""
    total: str = ""
    per_day: str = ""
    per_month: str = ""
    default_delivery: str = ""
    expires_on: str = ""
    strict: str = ""


_SEVERAL = ("scopes", "models")


def sent(form: Form) -> KeyForm:
    values: dict[str, Any] = {
        field.name: tuple(form.all(field.name)) if field.name in _SEVERAL else form.text(field.name)
        for field in fields(KeyForm)
    }
    return KeyForm(**values)


def of_options(options: KeyOptions) -> KeyForm:
    """The fields as they are for a key that is there, or for a new one."""
    limits, budgets = options.limits, options.budgets
    return KeyForm(
        name=options.name,
        scopes=tuple(scope.value for scope in options.scopes),
        which_models="all" if options.models is None else "some",
        models=options.models or (),
        requests_per_minute=_number(limits.requests_per_minute),
        images_per_minute=_number(limits.images_per_minute),
        concurrency=_number(limits.concurrency),
        total=_dollars(budgets.total_micros),
        per_day=_dollars(budgets.per_day_micros),
        per_month=_dollars(budgets.per_month_micros),
        default_delivery=options.default_delivery.value if options.default_delivery else "",
        expires_on="" if options.expires_at is None else _last_day(options.expires_at),
        strict="on" if options.strict else "",
    )


def change(options: KeyOptions, form: KeyForm, catalog: Catalog, now: datetime) -> KeyOptions:
    """`options` with what the form says; what it has no field for stays. Raises InvalidValue, ModelNotFound."""
    if len(form.name) > MAX_NAME_CHARACTERS:
        raise InvalidValue(f"A name has at most {MAX_NAME_CHARACTERS} characters.", param="name")
    return replace(
        options,
        name=form.name,
        scopes=_scopes(form.scopes),
        models=_models(form, catalog),
        limits=Limits(
            _limit(form.requests_per_minute, "Orders a minute"),
            _limit(form.images_per_minute, "Pictures a minute"),
            _limit(form.concurrency, "Orders at once"),
        ),
        budgets=Budgets(
            _micros(form.total, "The budget in all"),
            _micros(form.per_day, "The budget a day"),
            _micros(form.per_month, "The budget a month"),
        ),
        default_delivery=_delivery(form.default_delivery),
        expires_at=_expiry(form.expires_on, options.expires_at, now),
        strict=bool(form.strict),
    )


def _scopes(names: tuple[str, ...]) -> tuple[Scope, ...]:
    if not names:
        raise InvalidValue("A key that may do nothing is of no use: choose what it may do.", param="scopes")
    try:
        return tuple(scope for scope in Scope if scope in {Scope(name) for name in names})
    except ValueError as error:
        raise InvalidValue("There is no such scope.", param="scopes", allowed=list(Scope)) from error


def _models(form: KeyForm, catalog: Catalog) -> tuple[str, ...] | None:
    if form.which_models != "some":
        return None
    if not form.models:
        raise InvalidValue("Choose the models that this key may use, or all of them.", param="models")
    return tuple(dict.fromkeys(_known(name, catalog) for name in form.models))


def _known(name: str, catalog: Catalog) -> str:
    catalog.get(name)
    return name


def _limit(text: str, label: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 7 and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidValue(f"{label}: a whole number from 1 to {MAX_LIMIT:,}.", param=label)
    return int(text)


def _micros(text: str, label: str) -> int | None:
    return to_micros(text, param=label) if text else None


def _delivery(text: str) -> Delivery | None:
    try:
        return Delivery(text) if text else None
    except ValueError as error:
        raise InvalidValue("There is no such delivery.", param="default_delivery", allowed=list(Delivery)) from error


def _expiry(text: str, current: datetime | None, now: datetime) -> datetime | None:
    """The end of that day of UTC; the same day again is no change of the hour."""
    if not text:
        return None
    if current is not None and text == _last_day(current):
        return current
    try:
        moment = datetime.combine(date.fromisoformat(text), time(), UTC) + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise InvalidValue("The last day is a date like 2030-01-31.", param="expires_on") from error
    if not now < moment or moment.year > 9000:
        raise InvalidValue("The last day must not be over.", param="expires_on")
    return moment


def _last_day(expires_at: datetime) -> str:
    return (expires_at - timedelta(microseconds=1)).astimezone(UTC).date().isoformat()


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _dollars(micros: int | None) -> str:
    return "" if micros is None else to_text(micros)
