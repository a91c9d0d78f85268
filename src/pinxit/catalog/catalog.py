"""The catalogue: every model by its id, its aliases, and the names that clients of other services send."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from pinxit.backends.interface import ModelSpec
from pinxit.catalog.entry import Entry
from pinxit.catalog.price import FREE, PriceList
from pinxit.errors import ConfigurationError, ModelNotFound

SHIPPED_ALIASES = ("gpt-image-1", "gpt-image-*", "dall-e-*", "chatgpt-image-latest")
"""Ids that existing clients send; they mean the default model, unless a configured id or alias says otherwise."""

_MAX_ECHO = 64


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """A model of the operator's own making: another name and defaults for a backend's model."""

    id: str
    backend: str
    backend_model: str
    description: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    prices: PriceList = FREE


class Catalog:
    """Looks models up. A configured id beats a backend's own, an id beats an alias, a configured alias beats a
    shipped one.
    """

    def __init__(
        self,
        specs: Mapping[str, Sequence[ModelSpec]],
        *,
        default_model: str,
        configured: Sequence[ConfiguredModel] = (),
        aliases: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`specs`: backend name → its models; `aliases`: name (`*` at its end is any ending) → model id.

        Raises ConfigurationError if something named is not there.
        """
        self._entries = {entry.id: entry for entry in _shipped_entries(specs)}
        for model in configured:
            self._entries[model.id] = _configured_entry(model, specs)
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


def _shipped_entries(specs: Mapping[str, Sequence[ModelSpec]]) -> list[Entry]:
    entries: dict[str, Entry] = {}
    for backend, models in specs.items():
        for spec in models:
            if spec.id in entries:
                raise ConfigurationError(
                    f"The backends {entries[spec.id].backend!r} and {backend!r} both have {spec.id!r}: uninstall one."
                )
            entries[spec.id] = Entry(spec.id, backend, spec, spec.description)
    return list(entries.values())


def _configured_entry(model: ConfiguredModel, specs: Mapping[str, Sequence[ModelSpec]]) -> Entry:
    for spec in specs.get(model.backend, ()):
        if spec.id == model.backend_model:
            return Entry(
                model.id,
                model.backend,
                spec,
                model.description or spec.description,
                model.defaults,
                prices=model.prices,
            )
    there = ", ".join(f"{backend}/{spec.id}" for backend, models in sorted(specs.items()) for spec in models) or "none"
    raise ConfigurationError(
        f"model_list: {model.id!r} wants {model.backend}/{model.backend_model}, which is not there. There are: {there}."
    )
