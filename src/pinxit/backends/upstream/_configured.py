"""Providers as the configuration names them, made into backends."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pinxit.backends.interface import Capabilities, CredentialUse, ModelSpec, Range
from pinxit.backends.upstream import load_kind
from pinxit.backends.upstream._base import Limits, UpstreamBackend
from pinxit.backends.upstream._provider import Access, Provider, UpstreamModel
from pinxit.errors import ConfigurationError
from pinxit.images.price import PriceList, PriceRule
from pinxit.images.request import Encoding
from pinxit.images.size import Size
from pinxit.settings.entries import PriceEntry, ProviderEntry, ProviderModel, RangeEntry


def build_providers(entries: Mapping[str, ProviderEntry], environ: Mapping[str, str]) -> list[UpstreamBackend]:
    """A backend for each provider. Raises ConfigurationError, naming the provider and what is wrong."""
    return [_backend(name, entry, environ) for name, entry in entries.items()]


def _backend(name: str, entry: ProviderEntry, environ: Mapping[str, str]) -> UpstreamBackend:
    try:
        provider = _provider(load_kind(entry.kind or name), entry, environ)
    except ConfigurationError as error:
        raise ConfigurationError(f"providers.{name}: {error.message}") from error
    limits = Limits(
        timeout_seconds=entry.timeout_seconds,
        connect_seconds=entry.connect_seconds,
        max_concurrency=entry.max_concurrency,
        max_answer_bytes=entry.max_answer_bytes,
        poll_seconds=entry.poll_seconds,
    )
    return UpstreamBackend(
        name,
        provider,
        limits=limits,
        is_repeatable=entry.repeatable,
        allowed_networks=entry.allowed_networks,
        credential_use=_credential_use(provider, entry),
    )


def _credential_use(provider: Provider, entry: ProviderEntry) -> CredentialUse:
    is_needed = bool(provider.credential_variable)
    return CredentialUse(
        is_needed=is_needed,
        is_there=bool(provider.access.credential),
        is_fixed=entry.credential is not None or entry.credential_file is not None,
        may_be_own=is_needed if entry.own_credentials is None else entry.own_credentials,
        variable=provider.credential_variable,
    )


def _provider(kind: type[Provider], entry: ProviderEntry, environ: Mapping[str, str]) -> Provider:
    """Raises ConfigurationError."""
    base_url = entry.base_url or kind.base_url
    if not base_url:
        raise ConfigurationError("base_url is required.")
    provider = kind(Access(base_url, _credential(kind, entry, environ), entry.options))
    if entry.models:
        provider.offer([_model(wanted, provider) for wanted in entry.models])
    if not provider.list_models():
        raise ConfigurationError(f"models is required: {kind.title} does not say what it has.")
    return provider


def _credential(kind: type[Provider], entry: ProviderEntry, environ: Mapping[str, str]) -> str:
    """Without white space around it, as files and variables often have. Raises ConfigurationError."""
    if entry.credential is not None:
        return entry.credential.get_secret_value().strip()
    if entry.credential_file is not None:
        return _read(entry.credential_file)
    return environ.get(kind.credential_variable, "").strip() if kind.credential_variable else ""


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"credential_file cannot be read ({type(error).__name__}).") from error


def _model(wanted: str | ProviderModel, provider: Provider) -> UpstreamModel:
    """Raises ConfigurationError if it is a mere id that the provider's file does not know."""
    if isinstance(wanted, ProviderModel):
        return UpstreamModel(_spec(wanted), per_call=wanted.per_call)
    for model in provider.list_models():
        if model.spec.id == wanted:
            return model
    there = ", ".join(model.spec.id for model in provider.list_models()) or "none"
    raise ConfigurationError(
        f"models: {wanted!r} is not known here ({there}); write it as a mapping that says what it can do."
    )


def _spec(model: ProviderModel) -> ModelSpec:
    sizes = tuple(Size.parse(size) for size in model.sizes)
    can = Capabilities(
        sizes=sizes,
        default_size=sizes[0],
        native_size=sizes[0],
        max_n=model.max_n,
        qualities=dict.fromkeys(model.qualities, 1),
        num_inference_steps=_range(model.num_inference_steps),
        guidance_scale=_range(model.guidance_scale),
        seed=model.seed,
        negative_prompt=model.negative_prompt,
        encodings=tuple(Encoding(name) for name in model.output_formats),
        transparent=model.transparent,
        streaming=model.streaming,
        edits=model.edits,
        mask=model.mask,
        max_images=model.max_images if model.edits else 0,
        strength=_range(model.strength),
    )
    description = model.description or f"{model.id} of {model.owned_by}."
    return ModelSpec(model.id, description, can, model.owned_by, model.licence, 0, price_list(model.prices))


def _range(entry: RangeEntry | None) -> Range | None:
    return None if entry is None else Range(entry.minimum, entry.maximum, entry.default)


def price_list(entries: Sequence[PriceEntry]) -> PriceList:
    """The prices as they are written in the configuration."""
    return PriceList(tuple(PriceRule(price.usd, price.size, price.quality) for price in entries))
