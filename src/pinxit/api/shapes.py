"""Rows and entries as they look on the wire."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from pinxit.api.errors import type_of_class_name
from pinxit.api.request_schema import Terms, edit_schema, model_names, order_schema
from pinxit.backends.interface import Range
from pinxit.catalog.catalog import Catalog
from pinxit.catalog.entry import Entry
from pinxit.generations.generation import Generation
from pinxit.keys.model import ApiKey, KeyOptions
from pinxit.ledger.dollars import MICROS
from pinxit.library.image import Image
from pinxit.library.urls import ImageUrls
from pinxit.usage.usage import Group, Query, Usage, add_up
from pinxit.webhooks.model import ORDER_EVENTS, Delivery, Endpoint

_APART = ("delivery", "end_user", "url_ttl_seconds", "familiarity")
"""Parameters of an order that are kept for its painting only, or shown beside the others."""


def unix(moment: datetime | None) -> int | None:
    """Whole Unix seconds."""
    return None if moment is None else int(moment.timestamp())


def model(entry: Entry) -> dict[str, Any]:
    """OpenAI's model object and what it says about the model beyond."""
    return {
        "id": entry.id,
        "object": "model",
        "created": entry.spec.created,
        "owned_by": entry.spec.owned_by,
        "description": entry.description,
        "licence": entry.spec.licence,
        "aliases": list(entry.aliases),
        "price": price(entry),
        "capabilities": capabilities(entry),
    }


def price(entry: Entry) -> dict[str, Any]:
    """What a picture costs: of the default size and quality, and by every rule there is."""
    can = entry.capabilities
    usual = next((name for name, steps in can.qualities.items() if _is_default(entry, steps)), "auto")
    return {
        "currency": "USD",
        "micros_per_image": entry.prices.micros(can.default_size, usual),
        "rules": [
            {
                "size": rule.size,
                "quality": rule.quality,
                "micros_per_image": rule.micros,
                "micros_per_further_megapixel": rule.further_micros,
            }
            for rule in entry.prices.rules
        ],
    }


def _is_default(entry: Entry, steps: int) -> bool:
    usual = entry.capabilities.num_inference_steps
    return usual is not None and steps == usual.default


def capabilities(entry: Entry) -> dict[str, Any]:
    """What the model can do, as data."""
    can = entry.capabilities
    return {
        "sizes": [str(size) for size in can.sizes],
        "default_size": str(can.default_size),
        "native_size": str(can.native_size),
        "aspect_ratios": {ratio: str(size) for ratio, size in can.aspect_ratios.items()},
        "size_range": None if can.size_range is None else asdict(can.size_range),
        "n": {"minimum": 1, "maximum": can.max_n, "default": 1},
        "qualities": dict(can.qualities),
        "num_inference_steps": _range(can.num_inference_steps),
        "guidance_scale": _range(can.guidance_scale),
        "seed": can.seed,
        "negative_prompt": can.negative_prompt,
        "styles": list(can.styles),
        "output_formats": [encoding.value for encoding in can.encodings],
        "transparent": can.transparent,
        "streaming": can.streaming,
        "edits": can.edits,
        "mask": can.mask,
        "max_images": can.max_images,
        "strength": _range(can.strength),
    }


def request_schemas(entry: Entry, terms: Terms, catalog: Catalog) -> dict[str, Any]:
    """JSON schemas of the orders that this model takes: from texts, and from pictures (null if it cannot).

    `terms`: without a model.
    """
    others = [other for other in catalog.list() if other.id != entry.id]
    names = model_names([entry.id, *entry.aliases], [name for other in others for name in (other.id, *other.aliases)])
    own = replace(terms, can=entry.capabilities, model=names, is_default_model=entry.id == catalog.default.id)
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return {
        "request_schema": {**draft, **order_schema(own)},
        "edit_schema": {**draft, **edit_schema(own)} if entry.capabilities.edits else None,
    }


def _range(allowed: Range | None) -> dict[str, float] | None:
    if allowed is None:
        return None
    return {"minimum": allowed.minimum, "maximum": allowed.maximum, "default": allowed.default}


def key(api_key: ApiKey) -> dict[str, Any]:
    """An API key without its secret."""
    options = api_key.options
    return {
        "id": api_key.id,
        "object": "api_key",
        "name": options.name,
        "prefix": api_key.prefix,
        "last4": api_key.last4,
        "scopes": [scope.value for scope in options.scopes],
        "models": None if options.models is None else list(options.models),
        "limits": {name: value for name, value in asdict(options.limits).items() if value is not None},
        "budgets": {f"{name.removesuffix('_micros')}_usd": value / MICROS for name, value in _budgets(options)},
        "default_delivery": options.default_delivery and options.default_delivery.value,
        "strict": options.strict,
        "disabled": options.disabled,
        "url_ttl_seconds": options.url_ttl_seconds,
        "created_at": unix(api_key.created_at),
        "expires_at": unix(options.expires_at),
        "revoked_at": unix(api_key.revoked_at),
        "last_used_at": unix(api_key.last_used_at),
    }


def _budgets(options: KeyOptions) -> list[tuple[str, int]]:
    return [(name, value) for name, value in asdict(options.budgets).items() if value is not None]


def image(
    stored: Image, prompt: str, model_id: str, parameters: dict[str, Any], urls: ImageUrls, base: str
) -> dict[str, Any]:
    """A stored picture with how it was made."""
    return {
        "id": stored.id,
        "object": "image",
        "created": unix(stored.created_at),
        "generation": stored.generation_id,
        "model": model_id,
        "prompt": prompt,
        "negative_prompt": parameters.get("negative_prompt"),
        "seed": stored.seed,
        "size": str(stored.size),
        "quality": parameters.get("quality"),
        "num_inference_steps": parameters.get("num_inference_steps"),
        "guidance_scale": parameters.get("guidance_scale"),
        "output_format": stored.encoding.value,
        "bytes": stored.size_bytes,
        "sha256": stored.sha256,
        "cost_micros": parameters.get("price_micros_per_image", 0),
        "url": base + urls.path(stored),
    }


def generation(order: Generation, urls: ImageUrls, base: str) -> dict[str, Any]:
    """An order as it stands."""
    shown = {name: value for name, value in order.parameters.items() if name not in _APART}
    progress = order.progress
    return {
        "id": order.id,
        "object": "generation",
        "status": order.status.value,
        "created": unix(order.created_at),
        "finished": unix(order.finished_at),
        "model": order.model,
        "requested_model": order.requested_model,
        "prompt": order.prompt,
        "parameters": shown,
        "familiarity": familiarity(order),
        "progress": None
        if progress is None
        else {"step": progress.step, "steps": progress.steps, "queue_position": progress.position},
        "images": [
            {"id": kept.id, "url": base + urls.path(kept), "seed": kept.seed, "size": str(kept.size)}
            for kept in order.images
        ],
        "usage": {"input_tokens": order.input_tokens, "output_tokens": order.output_tokens},
        "cost_micros": order.cost_micros,
        "error": None
        if order.error_class is None
        else {"type": type_of_class_name(order.error_class), "message": order.error_message},
        "request_id": order.request_id,
    }


def familiarity(order: Generation) -> dict[str, Any] | None:
    """How near the prompt is to what the model knows, if that said so."""
    said = order.familiarity
    return None if said is None else asdict(said)


def task(order: Generation, urls: ImageUrls, base: str) -> dict[str, Any]:
    """An order for clients that poll for a task and read its pictures where an image answer has them."""
    shown = generation(order, urls, base)
    return {**shown, "task_id": order.id, "data": [{"url": kept["url"], "b64_json": ""} for kept in shown["images"]]}


def page(shown: Sequence[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """A part of a list, newest first; the next one comes `after` its last id."""
    return {
        "object": "list",
        "data": list(shown),
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": has_more,
    }


def usage(wanted: Query, sums: Sequence[Usage]) -> dict[str, Any]:
    """Sums and what they are of; the total is of all of them."""
    return {
        "object": "list",
        "from": wanted.first.isoformat(),
        "to": wanted.last.isoformat(),
        "group_by": [group.value for group in wanted.groups],
        "data": [{"object": "usage", **_groups(each, wanted.groups), **_amounts(each)} for each in sums],
        "total": _amounts(add_up(sums)),
    }


def _groups(each: Usage, groups: Sequence[Group]) -> dict[str, Any]:
    facts: dict[Group, dict[str, Any]] = {
        Group.DAY: {"day": each.day and each.day.isoformat()},
        Group.MODEL: {"model": each.model},
        Group.KEY: {"key": each.key_id, "key_name": each.key_name},
    }
    return {name: value for group in groups for name, value in facts[group].items()}


def _amounts(each: Usage) -> dict[str, int]:
    return {"orders": each.orders, "images": each.images, "errors": each.errors, "cost_micros": each.cost_micros}


def webhook(endpoint: Endpoint) -> dict[str, Any]:
    """A webhook without its secret."""
    options = endpoint.options
    return {
        "id": endpoint.id,
        "object": "webhook",
        "url": options.url,
        "events": [type_.value for type_ in options.events or ORDER_EVENTS],
        "description": options.description,
        "active": options.is_active,
        "disabled_reason": endpoint.disabled_reason,
        "created_at": unix(endpoint.created_at),
        "previous_secret_until": unix(endpoint.previous_until),
    }


def webhook_delivery(delivery: Delivery) -> dict[str, Any]:
    """An event on its way to a webhook, and what came of it so far."""
    return {
        "id": delivery.id,
        "object": "webhook_delivery",
        "webhook": delivery.endpoint_id,
        "event": {
            "id": delivery.event_id,
            "type": delivery.type.value,
            "subject": delivery.subject_id,
            "sequence": delivery.sequence,
        },
        "status": delivery.status.value,
        "attempts": delivery.attempts,
        "answered_status": delivery.answered_status,
        "error": delivery.error,
        "created_at": unix(delivery.created_at),
        "attempted_at": unix(delivery.attempted_at),
        "delivered_at": unix(delivery.delivered_at),
        "next_attempt_at": unix(delivery.due_at),
    }
