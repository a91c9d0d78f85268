"""The catalogue: every model by its id, its aliases, and the names that clients of other services send."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pinxit.backends.interface import ModelSpec
from pinxit.catalog.changes import Changes, Laid, lay_over
from pinxit.catalog.entry import Entry
from pinxit.errors import ConfigurationError, ModelNotFound
from pinxit.images.price import FREE, PriceList

SHIPPED_ALIASES = ("gpt-image-1", "gpt-image-*", "dall-e-*", "chatgpt-image-latest")
"""Ids that existing clients send; they mean the default model, unless a configured id or alias says otherwise."""

_MAX_ECHO = 64


@dataclass(frozen=True, slots=True)
class ConfiguredBackend:
    """One of the backends of a configured model."""

    backend: str
    model: str
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """A model of the operator's own making: another name and defaults for what one backend paints, or several."""

    id: str
    backends: Sequence[ConfiguredBackend]
    description: str | None = None
    prices: PriceList = FREE
    """FREE: what each backend says."""
    sort: str = "order"
    fallback_models: tuple[str, ...] = ()


class Catalog:
    """Looks models up. A configured id beats a backend's own, an id beats an alias, a configured alias beats a
    shipped one.
    """

    def __init__(
        self,
        specs: Mapping[str, Sequence[ModelSpec]],
        *,
        default_model: str,
        remote: Collection[str] = (),
        configured: Sequence[ConfiguredModel] = (),
        aliases: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`specs`: backend name → its models; those of `remote` ones are called `<backend>/<model>`; `aliases`: name
        (`*` at its end is any ending) → model id.

        Raises ConfigurationError if something named is not there.
        """
        self._off: Mapping[str, Entry] = {}
        self._entries = {entry.id: entry for entry in _shipped_entries(specs, remote)}
        for model in configured:
            self._entries[model.id] = _configured_entry(model, specs)
        for model in configured:
            for name in model.fallback_models:
                if name not in self._entries:
                    raise ConfigurationError(
                        f"model_list: {model.id!r} falls back to {name!r}; there are: {self._ids()}."
                    )
        self._aliases = dict(aliases)
        for alias, target in self._aliases.items():
            if target not in self._entries:
                raise ConfigurationError(f"aliases.{alias}: there is no model {target!r}. There are: {self._ids()}.")
        try:
            self.default = self.resolve(default_model, shipped=False)
        except ModelNotFound as error:
            raise ConfigurationError(
                f"default_model: there is no model {default_model!r}. There are: {self._ids()}."
            ) from error
        self.default_name = default_model
        """What an order asks for that names no model."""
        self._note_aliases()
        self._configured: Mapping[str, Entry] = self._entries

    def changed(self, changes: Changes) -> "Catalog":
        """The same with changes over it; this one stays as it is."""
        laid, fresh = self.lay(changes), Catalog.__new__(Catalog)
        fresh._entries, fresh._off, fresh._aliases = dict(laid.entries), dict(laid.off), dict(laid.aliases)
        fresh.default = {**laid.entries, **laid.off}[laid.default]
        fresh._configured = self._configured
        fresh._note_aliases()
        named = fresh._lead(self.default_name, shipped=False)
        fresh.default_name = self.default_name if named == fresh.default else fresh.default.id
        return fresh

    def lay(self, changes: Changes) -> Laid:
        """What `changes` make of this catalogue, as data."""
        return lay_over(self._entries, self._aliases, self.default.id, changes)

    def resolve(self, name: str, *, shipped: bool = True, tells_why: bool = False) -> Entry:
        """The model called `name`. Raises ModelNotFound. `shipped`: whether other services' names count; `tells_why`:
        whether to say that a model is switched off, which is for admins.
        """
        if name in self._entries:
            return self._entries[name]
        entry = self._lead(name, shipped)
        if entry is not None and entry.id not in self._off:
            return entry
        if entry is not None and tells_why:
            raise ModelNotFound(f"{entry.id} is switched off. Admins switch it on in the console.", param="model")
        raise _missing(name)

    def get(self, name: str) -> Entry:
        """The model called `name`, whether it is on or off. Raises ModelNotFound."""
        entry = self._lead(name, shipped=True)
        if entry is None:
            raise _missing(name)
        return entry

    def restore(self, name: str) -> Entry:
        """The model of an order that was taken on before, as it is configured: what admins have changed since then does
        not touch it. Raises ModelNotFound.
        """
        return self._configured.get(name) or self.resolve(name, shipped=False)

    def _lead(self, name: str, shipped: bool) -> Entry | None:
        entry = self._entries.get(name) or self._off.get(name)
        if entry is not None:
            return entry
        target = _match(name, self._aliases)
        if target is not None:
            return self._entries.get(target) or self._off[target]
        if shipped and _match(name, dict.fromkeys(SHIPPED_ALIASES, "")) is not None:
            return self.default
        return None

    def become(self, other: "Catalog") -> None:
        """Have what `other` has, from one moment to the next."""
        self._entries, self._off, self._aliases = other._entries, other._off, other._aliases
        self.default, self.default_name, self._configured = other.default, other.default_name, other._configured

    def aliases_of(self, model: str) -> tuple[str, ...]:
        """Those that the configuration and its changes give the model, without the names of other services."""
        return tuple(name for name, id_ in self._aliases.items() if id_ == model)

    def list_all(self) -> "list[Entry]":
        """As `list`, with the models that are switched off."""
        return sorted([*self._entries.values(), *self._off.values()], key=self._place)

    def list(self) -> "list[Entry]":
        """All models that are on, the default first, then by id."""
        return sorted(self._entries.values(), key=self._place)

    def _place(self, entry: Entry) -> tuple[bool, str]:
        return entry.id != self.default.id, entry.id

    def _ids(self) -> str:
        return ", ".join(sorted(self._entries)) or "none"

    def _note_aliases(self) -> None:
        self._entries = {id_: self._with_aliases(entry) for id_, entry in self._entries.items()}
        self._off = {id_: self._with_aliases(entry) for id_, entry in self._off.items()}
        self.default = self._entries.get(self.default.id) or self._off[self.default.id]

    def _with_aliases(self, entry: Entry) -> Entry:
        names = self.aliases_of(entry.id)
        if entry.id == self.default.id:
            taken = {*self._aliases, *self._entries, *self._off}
            names += tuple(alias for alias in SHIPPED_ALIASES if alias not in taken)
        return replace(entry, aliases=names)


def _missing(name: str) -> ModelNotFound:
    message = f"There is no model {name[:_MAX_ECHO]!r}. GET /v1/models lists what there is."
    return ModelNotFound(message, param="model")


def _match(name: str, aliases: Mapping[str, str]) -> str | None:
    """Exact names first, then the longest `prefix*`."""
    if name in aliases:
        return aliases[name]
    wildcards = [alias for alias in aliases if alias.endswith("*") and name.startswith(alias[:-1])]
    return aliases[max(wildcards, key=len)] if wildcards else None


def _shipped_entries(specs: Mapping[str, Sequence[ModelSpec]], remote: Collection[str]) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for backend, models in specs.items():
        for spec in models:
            id_ = f"{backend}/{spec.id}" if backend in remote else spec.id
            if id_ in entries:
                raise ConfigurationError(
                    f"The backends {entries[id_].backend!r} and {backend!r} both have {id_!r}: uninstall one."
                )
            entries[id_] = Entry(id_, backend, spec, spec.description, prices=spec.prices)
    return list(entries.values())


def _configured_entry(model: ConfiguredModel, specs: Mapping[str, Sequence[ModelSpec]]) -> Entry:
    first, *others = [_painted_by(painter, model, specs) for painter in model.backends]
    return replace(first, others=tuple(others), sort=model.sort, fallback_models=model.fallback_models)


def _painted_by(painter: ConfiguredBackend, model: ConfiguredModel, specs: Mapping[str, Sequence[ModelSpec]]) -> Entry:
    for spec in specs.get(painter.backend, ()):
        if spec.id == painter.model:
            return Entry(
                model.id,
                painter.backend,
                spec,
                model.description or spec.description,
                painter.defaults,
                prices=model.prices if model.prices.rules else spec.prices,
                weight=painter.weight,
            )
    there = ", ".join(f"{backend}/{spec.id}" for backend, models in sorted(specs.items()) for spec in models) or "none"
    raise ConfigurationError(
        f"model_list: {model.id!r} wants {painter.backend}/{painter.model}, which is not there. There are: {there}."
    )
