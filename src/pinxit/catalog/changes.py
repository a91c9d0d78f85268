"""What admins change of models while the server runs, and how it lies over what the configuration says.

All of it is pure: the configuration is never changed, only looked at through a change.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pinxit.catalog.entry import Entry
from pinxit.errors import InvalidValue
from pinxit.settings.values import ALIAS_NAME

SORTS = ("order", "weight", "price", "latency", "sticky")
"""As `model_list` has them."""
MAX_ALIASES = 100
MAX_WEIGHT = 1000.0


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """One of a model's backends as admins want it. `painter`: `<backend>/<the backend's model>`."""

    painter: str
    weight: float = 1.0
    is_left_out: bool = False


@dataclass(frozen=True, slots=True)
class ModelChange:
    """What is different from the configuration; None and nothing: as it says. `backends`: all of them, in order."""

    is_off: bool = False
    sort: str | None = None
    backends: tuple[BackendChoice, ...] | None = None
    aliases_added: tuple[str, ...] = ()
    aliases_removed: tuple[str, ...] = ()


UNCHANGED = ModelChange()


@dataclass(frozen=True, slots=True)
class Changes:
    """All changes: by model, and another default model than the configured one."""

    models: Mapping[str, ModelChange] = field(default_factory=lambda: MappingProxyType({}))
    default_model: str | None = None

    def of(self, model: str) -> ModelChange:
        return self.models.get(model, UNCHANGED)

    def with_model(self, model: str, change: ModelChange) -> "Changes":
        return replace(self, models={**self.models, model: change})


@dataclass(frozen=True, slots=True)
class Laid:
    """The configuration with changes over it: models that are on and off, by id; alias → id; the default's id."""

    entries: Mapping[str, Entry]
    off: Mapping[str, Entry]
    aliases: Mapping[str, str]
    default: str


def lay_over(entries: Mapping[str, Entry], aliases: Mapping[str, str], default: str, changes: Changes) -> Laid:
    """A change that does not fit the configuration any more, as its model or backend is gone, counts no more than that
    part of it that does.
    """
    on: dict[str, Entry] = {}
    off: dict[str, Entry] = {}
    for id_, entry in entries.items():
        changed = _changed(entry, changes.of(id_))
        (off if changes.of(id_).is_off else on)[id_] = changed
    for id_, entry in on.items():
        on[id_] = replace(entry, fallback_models=tuple(name for name in entry.fallback_models if name not in off))
    wanted = changes.default_model or default
    return Laid(on, off, _aliases(entries, aliases, changes), wanted if wanted in entries else default)


def _changed(entry: Entry, change: ModelChange) -> Entry:
    first, *others = _chosen(alone(entry), change.backends or ())
    return replace(first, others=tuple(others), sort=change.sort or entry.sort, fallback_models=entry.fallback_models)


def _chosen(painters: Sequence[Entry], choices: Iterable[BackendChoice]) -> list[Entry]:
    """Those that are not left out, in the order of the choices; such as nobody has chosen about come last."""
    left, found = {entry.painter: entry for entry in painters}, []
    for choice in choices:
        entry = left.pop(choice.painter, None)
        if entry is not None and not choice.is_left_out:
            found.append(replace(entry, weight=choice.weight))
    return [*found, *left.values()] or list(painters)


def alone(entry: Entry) -> list[Entry]:
    """The model at each of its backends, as an entry without others."""
    return [replace(entry, others=()), *entry.others]


def _aliases(entries: Collection[str], aliases: Mapping[str, str], changes: Changes) -> dict[str, str]:
    laid = {name: id_ for name, id_ in aliases.items() if name not in changes.of(id_).aliases_removed}
    for id_ in sorted(changes.models):
        if id_ in entries:
            laid |= dict.fromkeys(changes.models[id_].aliases_added, id_)
    return laid


# --- what an admin may want ---


@dataclass(frozen=True, slots=True)
class Wish:
    """How a model's settings are to be, in full."""

    sort: str
    backends: tuple[BackendChoice, ...]
    aliases: tuple[str, ...]


def change_to(wish: Wish, configured: Entry, configured_aliases: Collection[str], *, is_off: bool) -> ModelChange:
    """What is different in `wish` from the configuration. Raises InvalidValue, naming the field."""
    if wish.sort not in SORTS:
        raise InvalidValue("There is no such way to choose a backend.", param="sort", allowed=SORTS)
    _check_backends(wish.backends, configured)
    for name in wish.aliases:
        if not name or ALIAS_NAME.fullmatch(name) is None:
            raise InvalidValue(
                f"{name[:64]!r} cannot be an alias: letters, digits and . _ : / @ + -, beginning with a letter or "
                "digit, and * at the end for any ending.",
                param="aliases",
            )
    if len(wish.aliases) > MAX_ALIASES:
        raise InvalidValue(f"A model has at most {MAX_ALIASES} aliases.", param="aliases")
    as_configured = tuple(BackendChoice(entry.painter, entry.weight) for entry in alone(configured))
    return ModelChange(
        is_off=is_off,
        sort=None if wish.sort == configured.sort else wish.sort,
        backends=None if wish.backends == as_configured else wish.backends,
        aliases_added=tuple(name for name in dict.fromkeys(wish.aliases) if name not in configured_aliases),
        aliases_removed=tuple(name for name in configured_aliases if name not in wish.aliases),
    )


def _check_backends(choices: Sequence[BackendChoice], configured: Entry) -> None:
    there = [entry.painter for entry in alone(configured)]
    if sorted(choice.painter for choice in choices) != sorted(there):
        raise InvalidValue("These are not the backends that the model has.", param="backends", allowed=there)
    if all(choice.is_left_out for choice in choices):
        raise InvalidValue("At least one backend must be left. To have none, switch the model off.", param="backends")
    for choice in choices:
        if not (math.isfinite(choice.weight) and 0 < choice.weight <= MAX_WEIGHT):
            raise InvalidValue(
                f"The weight of {choice.painter} must be more than 0 and at most {MAX_WEIGHT:g}.", param="weight"
            )


def check_fit(model: str, change: ModelChange, aliases: Iterable[str], laid: Laid) -> None:
    """Whether the change of `model` goes together with everything else. `aliases`: those that it shall have; `laid`:
    the configuration with all other changes over it.

    Raises InvalidValue, naming the field.
    """
    if change.is_off and laid.default == model:
        raise InvalidValue(f"{model} is the default model. Make another one the default first.", param="enabled")
    for name in aliases:
        if name in laid.entries or name in laid.off:
            raise InvalidValue(f"{name} is a model of its own, so it cannot be an alias.", param="aliases")
        if laid.aliases.get(name, model) != model:
            raise InvalidValue(f"{name} is an alias of {laid.aliases[name]}. Remove it there first.", param="aliases")


# --- as rows keep it ---


def to_json(change: ModelChange) -> dict[str, Any]:
    """Only what is different."""
    backends = change.backends
    kept = {
        "off": change.is_off,
        "sort": change.sort,
        "backends": backends and [[each.painter, each.weight, each.is_left_out] for each in backends],
        "aliases_added": list(change.aliases_added),
        "aliases_removed": list(change.aliases_removed),
    }
    return {name: value for name, value in kept.items() if value}


def from_json(kept: Mapping[str, Any]) -> ModelChange:
    backends = kept.get("backends")
    sort = kept.get("sort")
    return ModelChange(
        is_off=bool(kept.get("off")),
        sort=sort if sort in SORTS else None,
        backends=backends and tuple(BackendChoice(painter, weight, out) for painter, weight, out in backends),
        aliases_added=tuple(kept.get("aliases_added", ())),
        aliases_removed=tuple(kept.get("aliases_removed", ())),
    )
