"""JSON schemas of everything on the wire, for the OpenAPI document and for the tests that hold answers against them."""

from typing import Any

from pinxit.api.errors import TYPES
from pinxit.api.images import FOREIGN
from pinxit.api.request_schema import TEXT_PATTERN, Terms, edit_schema, form_of, order_schema, variation_schema
from pinxit.keys.model import Scope
from pinxit.webhooks.model import ORDER_EVENTS, DeliveryStatus, EventType

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
BOOLEAN: Schema = {"type": "boolean"}


def _object(properties: dict[str, Schema], *, required: list[str] | None = None) -> Schema:
    """A closed object; all its properties are required unless told otherwise."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _page(name: str) -> Schema:
    return _object(
        {
            "object": {"const": "list"},
            "data": _array(_ref(name)),
            "first_id": _nullable(STRING),
            "last_id": _nullable(STRING),
            "has_more": BOOLEAN,
        }
    )


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _enum(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


_RANGE = _object({"minimum": {"type": "number"}, "maximum": {"type": "number"}, "default": {"type": "number"}})
_SIZE: Schema = {"type": "string", "pattern": "^[1-9][0-9]*x[1-9][0-9]*$"}
_DELIVERY = _enum("url", "b64_json", "both")
_LIMITS = _object(
    {
        name: {"type": "integer", "minimum": 1, "maximum": 1_000_000}
        for name in ("requests_per_minute", "images_per_minute", "concurrency")
    },
    required=[],
)
_BUDGETS = _object(
    {
        name: {"type": "number", "exclusiveMinimum": 0, "description": "US dollars, in whole millionths."}
        for name in ("total_usd", "per_day_usd", "per_month_usd")
    },
    required=[],
)
_KEY_OPTIONS: dict[str, Schema] = {
    "name": {"type": "string", "maxLength": 200, "pattern": TEXT_PATTERN},
    "scopes": {"type": "array", "items": _enum(*Scope), "minItems": 1},
    "models": _nullable(_array(STRING)),
    "limits": _LIMITS,
    "budgets": _BUDGETS,
    "default_delivery": _nullable(_DELIVERY),
    "strict": BOOLEAN,
    "disabled": BOOLEAN,
    "url_ttl_seconds": _nullable({"type": "integer", "minimum": 1, "maximum": 604800}),
    "expires_at": _nullable({"type": "integer", "minimum": 0, "maximum": 253402300799}),
}
_AMOUNT: Schema = {
    "description": "US dollars, in whole millionths.",
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 9007199254.740992},
        {"type": "string", "pattern": "^[0-9]{1,10}([.][0-9]{1,6})?$"},
        {"type": "null"},
    ],
}
_KEY_CHANGES: dict[str, Schema] = {
    **{name: schema if name == "scopes" else _nullable(schema) for name, schema in _KEY_OPTIONS.items()},
    "limits": _nullable(
        _object({name: _nullable(limit) for name, limit in _LIMITS["properties"].items()}, required=[])
    ),
    "budgets": _nullable(_object(dict.fromkeys(_BUDGETS["properties"], _AMOUNT), required=[])),
}
_KEY: dict[str, Schema] = {
    "id": STRING,
    "object": {"const": "api_key"},
    "prefix": STRING,
    "last4": STRING,
    **_KEY_OPTIONS,
    "created_at": INTEGER,
    "revoked_at": _nullable(INTEGER),
    "last_used_at": _nullable(INTEGER),
}
_WEBHOOK_OPTIONS: dict[str, Schema] = {
    "url": {
        "type": "string",
        "format": "uri",
        "minLength": 1,
        "maxLength": 2048,
        "description": "Where to; https, and a public address.",
    },
    "events": {"type": "array", "items": _enum(*ORDER_EVENTS), "minItems": 1},
    "description": {"type": "string", "maxLength": 500, "pattern": TEXT_PATTERN},
    "active": {"type": "boolean", "default": True},
}
_WEBHOOK_CHANGES = {name: _nullable(schema) for name, schema in _WEBHOOK_OPTIONS.items()}
_WEBHOOK: dict[str, Schema] = {
    "id": STRING,
    "object": {"const": "webhook"},
    **_WEBHOOK_OPTIONS,
    "disabled_reason": _nullable(STRING),
    "created_at": INTEGER,
    "previous_secret_until": _nullable(INTEGER),
}
_WEBHOOK_SECRET: Schema = {
    "type": "string",
    "pattern": "^whsec_",
    "description": "The signing secret, only in the answer that makes it (Standard Webhooks).",
}
_MODEL: dict[str, Schema] = {
    "id": STRING,
    "object": {"const": "model"},
    "created": INTEGER,
    "owned_by": STRING,
    "description": STRING,
    "licence": STRING,
    "aliases": _array(STRING),
    "price": _object(
        {
            "currency": {"const": "USD"},
            "micros_per_image": INTEGER,
            "rules": _array(
                _object(
                    {
                        "size": _nullable(STRING),
                        "quality": _nullable(STRING),
                        "micros_per_image": INTEGER,
                        "micros_per_further_megapixel": {
                            **INTEGER,
                            "description": "Added for each megapixel (1024 x 1024 pixels) begun after the first.",
                        },
                    }
                )
            ),
        }
    ),
    "capabilities": _ref("Capabilities"),
}
_CREDENTIAL: dict[str, Schema] = {
    "credential": {
        **_enum("own", "missing"),
        "description": "Whose credential its provider is shown, where that is not simply the server's affair.",
    }
}

_FAMILIARITY: Schema = {
    **_object({"nearest": STRING, "similarity": {"type": "number", "minimum": -1, "maximum": 1}, "known": BOOLEAN}),
    "description": "How near the prompt is to what the model knows, by its own measure: what is nearest, from -1 to 1.",
}
_GENERATION: dict[str, Schema] = {
    "id": STRING,
    "object": {"const": "generation"},
    "status": _enum("queued", "in_progress", "completed", "failed", "cancelled", "unknown"),
    "created": INTEGER,
    "finished": _nullable(INTEGER),
    "model": STRING,
    "requested_model": STRING,
    "prompt": STRING,
    "parameters": {"type": "object"},
    "familiarity": _nullable(_FAMILIARITY),
    "progress": _nullable(_object({"step": INTEGER, "steps": INTEGER, "queue_position": INTEGER})),
    "images": _array(_object({"id": STRING, "url": STRING, "seed": _nullable(INTEGER), "size": _SIZE})),
    "usage": _object({"input_tokens": INTEGER, "output_tokens": INTEGER}),
    "cost_micros": INTEGER,
    "error": _nullable(_object({"type": _enum(*TYPES), "message": STRING})),
    "request_id": STRING,
}
_STREAMED: dict[str, Schema] = {
    "type": _enum(
        *(f"image_{kind}.{what}" for kind in ("generation", "edit") for what in ("partial_image", "completed"))
    ),
    "b64_json": STRING,
    "created_at": INTEGER,
    "size": _SIZE,
    "quality": STRING,
    "background": _enum("transparent", "opaque"),
    "output_format": _enum("png", "jpeg", "webp"),
    "image_index": {**INTEGER, "description": "Which picture, where there are several."},
}
_STREAMED_ALWAYS = [name for name in _STREAMED if name != "image_index"]

_AMOUNTS: dict[str, Schema] = {
    "orders": {**INTEGER, "description": "All that were begun."},
    "images": {**INTEGER, "description": "Pictures that were painted, kept or not."},
    "errors": {**INTEGER, "description": "Orders that failed; one that was cancelled is none."},
    "cost_micros": {**INTEGER, "description": "Millionths of a US dollar."},
}

_ANY = Terms(ignored=sorted(FOREIGN), has_rules=False)

SCHEMAS: dict[str, Schema] = {
    "EditRequest": edit_schema(_ANY),
    "EditForm": form_of(edit_schema(_ANY)),
    "VariationRequest": variation_schema(_ANY),
    "VariationForm": form_of(variation_schema(_ANY)),
    "Error": _object(
        {
            "error": _object(
                {
                    "message": STRING,
                    "type": _enum(*TYPES),
                    "param": {"type": "string", "description": 'The parameter to blame, "" if there is none.'},
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "moderation_details": _object(
                        {"moderation_stage": _enum("input", "output"), "categories": _array(STRING)}
                    ),
                },
                required=["message", "type", "param", "code"],
            )
        }
    ),
    "ImageRequest": order_schema(_ANY),
    "ImageUsage": _object(
        {
            "input_tokens": INTEGER,
            "output_tokens": INTEGER,
            "total_tokens": INTEGER,
            "input_tokens_details": _object({"text_tokens": INTEGER, "image_tokens": INTEGER}),
            "cost": {"type": "number", "description": "US dollars."},
            "cost_details": _object({"cost_micros": INTEGER, "images": INTEGER}),
        },
        required=["input_tokens", "output_tokens", "total_tokens", "input_tokens_details"],
    ),
    "ImagesResponse": _object(
        {
            "created": INTEGER,
            "data": _array(
                _object(
                    {
                        "url": STRING,
                        "b64_json": STRING,
                        "revised_prompt": STRING,
                        "id": STRING,
                        "seed": _nullable(INTEGER),
                    }
                )
            ),
            "background": _enum("transparent", "opaque"),
            "output_format": _enum("png", "jpeg", "webp"),
            "quality": STRING,
            "size": _SIZE,
            "usage": _ref("ImageUsage"),
        }
    ),
    "Accepted": _object(
        {
            "id": STRING,
            "object": {"const": "generation"},
            "status": _enum("queued", "in_progress", "completed", "failed", "cancelled", "unknown"),
            "created": INTEGER,
            "urls": _object({"get": STRING, "cancel": STRING, "events": STRING}),
        }
    ),
    "Estimate": _object(
        {
            "object": {"const": "generation.estimate"},
            "model": STRING,
            "backend": STRING,
            "n": INTEGER,
            "size": _SIZE,
            "quality": STRING,
            "cost": {"type": "number", "description": "US dollars."},
            "cost_details": _object({"cost_micros": INTEGER, "images": INTEGER}),
            "route": _array(_object({"backend": STRING, "model": STRING, "cost": {"type": "number"}})),
        }
    ),
    "Capabilities": _object(
        {
            "sizes": _array(_SIZE),
            "default_size": _SIZE,
            "native_size": _SIZE,
            "aspect_ratios": _map(_SIZE),
            "size_range": _nullable(
                _object(
                    dict.fromkeys(("min_side", "max_side", "multiple_of"), INTEGER) | {"max_pixels": _nullable(INTEGER)}
                )
            ),
            "n": _RANGE,
            "qualities": _map(INTEGER),
            "num_inference_steps": _nullable(_RANGE),
            "guidance_scale": _nullable(_RANGE),
            "seed": BOOLEAN,
            "negative_prompt": BOOLEAN,
            "styles": _array(STRING),
            "output_formats": _array(STRING),
            "transparent": BOOLEAN,
            "streaming": BOOLEAN,
            "edits": BOOLEAN,
            "mask": BOOLEAN,
            "max_images": INTEGER,
            "strength": _nullable(_RANGE),
        }
    ),
    "Model": _object({**_MODEL, **_CREDENTIAL}, required=list(_MODEL)),
    "ModelWithSchema": _object(
        {**_MODEL, "request_schema": {"type": "object"}, "edit_schema": _nullable({"type": "object"}), **_CREDENTIAL},
        required=[*_MODEL, "request_schema", "edit_schema"],
    ),
    "ModelList": _object({"object": {"const": "list"}, "data": _array(_ref("Model"))}),
    "Image": _object(
        {
            "id": STRING,
            "object": {"const": "image"},
            "created": INTEGER,
            "generation": STRING,
            "model": STRING,
            "prompt": STRING,
            "negative_prompt": _nullable(STRING),
            "seed": _nullable(INTEGER),
            "size": _SIZE,
            "quality": STRING,
            "num_inference_steps": INTEGER,
            "guidance_scale": _nullable({"type": "number"}),
            "output_format": _enum("png", "jpeg", "webp"),
            "bytes": INTEGER,
            "sha256": STRING,
            "cost_micros": INTEGER,
            "url": STRING,
        }
    ),
    "ImageList": _page("Image"),
    "DeletedImage": _object({"id": STRING, "object": {"const": "image"}, "deleted": {"const": True}}),
    "Generation": _object(_GENERATION),
    "GenerationList": _page("Generation"),
    "Task": _object(
        {
            **_GENERATION,
            "task_id": STRING,
            "data": _array(_object({"url": STRING, "b64_json": {"const": ""}})),
        }
    ),
    "PartialImageEvent": _object(
        {**_STREAMED, "partial_image_index": INTEGER}, required=[*_STREAMED_ALWAYS, "partial_image_index"]
    ),
    "CompletedImageEvent": _object(
        {
            **_STREAMED,
            "usage": _ref("ImageUsage"),
            "id": STRING,
            "seed": _nullable(INTEGER),
            "url": STRING,
            "familiarity": {**_FAMILIARITY, "description": "Only if the prompt is far from what the model knows."},
        },
        required=[*_STREAMED_ALWAYS, "usage", "id", "seed", "url"],
    ),
    "ApiKeyOptions": _object(_KEY_CHANGES, required=[]),
    "ApiKey": _object(_KEY),
    "NewApiKey": _object(
        {**_KEY, "key": {"type": "string", "description": "The key itself; it is never shown again."}}
    ),
    "ApiKeyList": _object({"object": {"const": "list"}, "data": _array(_ref("ApiKey"))}),
    "UsageList": _object(
        {
            "object": {"const": "list"},
            "from": {"type": "string", "format": "date"},
            "to": {"type": "string", "format": "date", "description": "This day is included."},
            "group_by": _array(_enum("day", "model", "key")),
            "data": _array(
                _object(
                    {
                        "object": {"const": "usage"},
                        "day": {
                            "type": "string",
                            "format": "date",
                            "description": "In UTC, on which orders were begun.",
                        },
                        "model": STRING,
                        "key": {**_nullable(STRING), "description": "An API key's id; null for the command line."},
                        "key_name": _nullable(STRING),
                        **_AMOUNTS,
                    },
                    required=["object", *_AMOUNTS],
                )
            ),
            "total": _object(_AMOUNTS),
        }
    ),
    "WebhookOptions": _object(_WEBHOOK_CHANGES | {"url": _WEBHOOK_OPTIONS["url"]}, required=["url"]),
    "WebhookChange": _object(
        {
            **_WEBHOOK_CHANGES,
            "rotate_secret": {
                "type": ["boolean", "null"],
                "description": "Make a new secret; the old one signs for 24 hours.",
            },
        },
        required=[],
    ),
    "Webhook": _object({**_WEBHOOK, "secret": _WEBHOOK_SECRET}, required=list(_WEBHOOK)),
    "NewWebhook": _object({**_WEBHOOK, "secret": _WEBHOOK_SECRET}),
    "WebhookList": _object({"object": {"const": "list"}, "data": _array(_ref("Webhook"))}),
    "DeletedWebhook": _object({"id": STRING, "object": {"const": "webhook"}, "deleted": {"const": True}}),
    "WebhookDelivery": _object(
        {
            "id": STRING,
            "object": {"const": "webhook_delivery"},
            "webhook": STRING,
            "event": _object(
                {
                    "id": {"type": "string", "description": "What the receiver sees as `webhook-id`."},
                    "type": _enum(*EventType),
                    "subject": {"type": "string", "description": "The generation it is about."},
                    "sequence": {"type": "integer", "description": "From 1, of this subject."},
                }
            ),
            "status": _enum(*DeliveryStatus),
            "attempts": INTEGER,
            "answered_status": _nullable(INTEGER),
            "error": _nullable(STRING),
            "created_at": INTEGER,
            "attempted_at": _nullable(INTEGER),
            "delivered_at": _nullable(INTEGER),
            "next_attempt_at": _nullable(INTEGER),
        }
    ),
    "WebhookDeliveryList": _object(
        {
            "object": {"const": "list"},
            "data": _array(_ref("WebhookDelivery")),
            "first_id": _nullable(STRING),
            "last_id": _nullable(STRING),
            "has_more": BOOLEAN,
        }
    ),
    "WebhookEvent": _object(
        {
            "type": _enum(*EventType),
            "timestamp": {"type": "string", "format": "date-time"},
            "sequence": {"type": "integer", "description": "From 1, of this generation."},
            "data": {"anyOf": [_ref("Generation"), _object({"webhook": STRING})]},
        }
    ),
    "Health": _object(
        {"status": _enum("live", "ready", "starting"), "version": STRING, "backends": {"type": "object"}},
        required=["status", "version"],
    ),
}
