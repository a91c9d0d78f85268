"""Which backends a client wants to paint, and which models otherwise: `provider` and `fallback_models`."""

from pinxit.api.fields import Fields, texts
from pinxit.errors import InvalidRequest, InvalidValue
from pinxit.images.request import Routing

ROUTING_FIELDS = ("only", "order", "ignore", "allow_fallbacks", "sort", "after_refusal")
SORTS = ("price", "latency")
MAX_FALLBACK_MODELS = 5
MAX_BACKENDS = 32
MAX_ROUTING_NAME_CHARACTERS = 256


def routing_of(fields: Fields) -> Routing:
    """The Infron API's and OpenRouter's `provider`. Raises InvalidRequest, InvalidValue."""
    sent = fields.object("provider") or {}
    for name in sent:
        if name not in ROUTING_FIELDS:
            shown = name.encode("ascii", "replace").decode()[:64]
            raise InvalidRequest(f"There is no parameter 'provider.{shown}'.", param=f"provider.{shown}")
    wish = Fields(sent, prefix="provider.")
    allow_fallbacks = wish.boolean("allow_fallbacks")
    return Routing(
        only=_names(wish, "only", MAX_BACKENDS),
        order=_names(wish, "order", MAX_BACKENDS),
        ignore=_names(wish, "ignore", MAX_BACKENDS),
        allow_fallbacks=True if allow_fallbacks is None else allow_fallbacks,
        sort=wish.choice("sort", SORTS) or "",
        after_refusal=bool(wish.boolean("after_refusal")),
    )


def fallback_models_of(fields: Fields) -> tuple[str, ...]:
    """The Infron API's `fallback_models`. Raises InvalidRequest, InvalidValue."""
    return _names(fields, "fallback_models", MAX_FALLBACK_MODELS)


def _names(fields: Fields, name: str, most: int) -> tuple[str, ...]:
    found = texts(fields, name) or ()
    if len(found) > most or any(not 1 <= len(text) <= MAX_ROUTING_NAME_CHARACTERS for text in found):
        full = fields.full(name)
        raise InvalidValue(
            f"{full} has at most {most} names of 1 to {MAX_ROUTING_NAME_CHARACTERS} characters.", param=full
        )
    return found
