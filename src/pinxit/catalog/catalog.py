"""The catalogue: every model by its id, its aliases, and the names that clients of other services send."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pinxit.backends.interface import ModelSpec
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
        self._note_aliases()

    def resolve(self, name: str, *, shipped: bool = True) -> Entry:
        """The model called `name`. Raises ModelNotFound. `shipped`: whether other services' names count."""
        if name in self._entries:
            return self._entries[name]
        target = _match(name, self._aliases)
        if target is not None:
            return self._entries[target]
        if shipped and _match(name, dict.fromkeys(SHIPPED_ALIASES, "")) is not None:
            return self.default
        raise ModelNotFound(
            f"There is no model {name[:_MAX_ECHO]!r}. GET /v1/models lists what there is.", param="model"
        )

    def become(self, other: "Catalog") -> None:
        """Have what `other` has, from one moment to the next."""
        self._entries, self._aliases, self.default = other._entries, other._aliases, other.default

    def list(self) -> list[Entry]:
        """All models, the default first, then by id."""
        return sorted(self._entries.values(), key=lambda entry: (entry.id != self.default.id, entry.id))

    def _ids(self) -> str:
        return ", ".join(sorted(self._entries)) or "none"

    def _note_aliases(self) -> None:
        for id_, entry in self._entries.items():
            names = [alias for alias, target in self._aliases.items() if target == id_]
            if id_ == self.default.id:
                names += [
                    alias for alias in SHIPPED_ALIASES if alias not in self._aliases and alias not in self._entries
                ]
            self._entries[id_] = replace(entry, aliases=tuple(names))
        self.default = self._entries[self.default.id]


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
