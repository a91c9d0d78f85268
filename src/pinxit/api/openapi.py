"""The OpenAPI document: FastAPI's list of routes, our schemas, and the two hot routes that FastAPI does not run."""

import json
from copy import deepcopy
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from pinxit.api import adapters
from pinxit.api.errors import STATUS_AND_TYPE
from pinxit.api.schemas import SCHEMAS, Schema

ANSWERS = {
    "list_models": "ModelList",
    "get_model": "ModelWithSchema",
    "list_images": "ImageList",
    "list_generations": "GenerationList",
    "get_task": "Task",
    "get_image": "Image",
    "delete_image": "DeletedImage",
    "get_generation": "Generation",
    "cancel_generation": "Generation",
    "get_usage": "UsageList",
    "list_keys": "ApiKeyList",
    "create_key": "NewApiKey",
    "get_key": "ApiKey",
    "change_key": "ApiKey",
    "revoke_key": "ApiKey",
    "list_webhooks": "WebhookList",
    "create_webhook": "NewWebhook",
    "get_webhook": "Webhook",
    "change_webhook": "Webhook",
    "delete_webhook": "DeletedWebhook",
    "list_webhook_deliveries": "WebhookDeliveryList",
    "replay_webhook_delivery": "WebhookDelivery",
    "test_webhook": "WebhookDelivery",
    "live": "Health",
    "ready": "Health",
}
"""Handler → schema of its answer."""
BODIES = {
    "create_key": "ApiKeyOptions",
    "change_key": "ApiKeyOptions",
    "create_webhook": "WebhookOptions",
    "change_webhook": "WebhookChange",
}
PUBLIC = frozenset({"live", "ready", "get_picture"})
"""Operations that need no API key."""

_PAGING: list[Schema] = [
    {"name": "after", "in": "query", "schema": {"type": "string"}, "description": "The last id of the page before."},
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}},
]
_GROUP = "(day|model|key)"
_USAGE: list[Schema] = [
    {
        "name": name,
        "in": "query",
        "schema": {"type": "string", "format": "date"},
        "description": description,
    }
    for name, description in (
        ("from", "The first day, of UTC; 30 days up to `to` if it is missing."),
        ("to", "The last day; today if it is missing. At most 366 days."),
    )
] + [
    {
        "name": "group_by",
        "in": "query",
        "schema": {"type": "string", "default": "day", "pattern": f"^{_GROUP}(,{_GROUP})*$"},
        "description": "Some of `day`, `model` and `key`, with commas.",
    },
    {"name": "format", "in": "query", "schema": {"type": "string", "enum": ["json", "csv"]}},
]


def openapi_document(app: FastAPI) -> bytes:
    """The document as JSON, sorted, so that two runs give the same bytes."""
    document = _from_fastapi(app)
    document["paths"]["/v1/images/generations"] = {"post": _generations()}
    document["paths"]["/v1/images/edits"] = {"post": _edits()}
    document["paths"]["/v1/images/variations"] = {"post": _variations()}
    document["paths"]["/image/{key}"] = {"get": _picture("get_picture"), "head": _picture("head_picture")}
    document["paths"].update(
        adapters.paths({route.path for route in app.routes if isinstance(route, Route)}, _errors())
    )
    document["webhooks"] = {"event": {"post": _webhook()}}
    document["components"] = {
        "schemas": {**SCHEMAS, **adapters.SCHEMAS},
        "securitySchemes": {
            "basic": {"type": "http", "scheme": "basic", "description": "The password, or the name, is the API key."},
            "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer sk-…`"},
            "raw": {"type": "apiKey", "in": "header", "name": "Authorization", "description": "`Authorization: sk-…`"},
        },
    }
    return json.dumps(document, ensure_ascii=False, indent=1, sort_keys=True).encode()


def _from_fastapi(app: FastAPI) -> dict[str, Any]:
    document = deepcopy(app.openapi())  # FastAPI keeps what it gives
    for operations in document["paths"].values():
        for operation in operations.values():
            _describe(operation, name=_handler_name(operation))
    return document


def _handler_name(operation: dict[str, Any]) -> str:
    """FastAPI titles an operation after its handler: `List Models`."""
    return str(operation["summary"]).lower().replace(" ", "_")


def _describe(operation: dict[str, Any], *, name: str) -> None:
    operation["operationId"] = name
    success = "201" if "201" in operation["responses"] else "200"
    operation["responses"] = {success: _json("The answer.", ANSWERS[name]), **_errors()}
    if name == "ready":
        operation["responses"]["503"] = _json("Not yet; `backends` says why.", "Health")
    if name in BODIES:
        operation["requestBody"] = _body(BODIES[name])
    if name in ("list_images", "list_generations", "list_webhook_deliveries"):
        operation["parameters"] = [*operation.get("parameters", []), *_PAGING]
    if name == "get_generation":
        operation["responses"]["200"] = _or_events(operation["responses"]["200"], "Generation")
    if name == "get_usage":
        operation["parameters"] = [*operation.get("parameters", []), *_USAGE]
        operation["responses"]["200"]["content"]["text/csv"] = {"schema": {"type": "string"}}
    operation["security"] = [] if name in PUBLIC else [{"bearer": []}, {"raw": []}]


def _generations() -> Schema:
    return {
        "operationId": "create_image",
        "summary": "Create Image",
        "description": "Paint pictures from a text. Takes the requests of OpenAI's Images API and of the Infron API.",
        "tags": ["images"],
        "parameters": [
            {
                "name": "x-pinxit-generation",
                "in": "header",
                "description": "An id of your own for the order, so that its progress can be asked for meanwhile.",
                "schema": {"type": "string", "pattern": "^gen_[0-9a-f]{32}$"},
            }
        ],
        "requestBody": _body("ImageRequest"),
        "responses": {
            "200": _or_events(
                _json("The pictures; of a dry run what they would cost.", "ImagesResponse", "Estimate"),
                "PartialImageEvent",
                "CompletedImageEvent",
                "Error",
            ),
            "202": _json("The order is being painted.", "Accepted"),
            **_errors(),
        },
        "security": [{"bearer": []}, {"raw": []}],
    }


def _edits() -> Schema:
    changed = {
        "operationId": "edit_image",
        "summary": "Edit Image",
        "description": "Paint pictures from pictures: a form with files, or JSON with data URLs or addresses.",
        "requestBody": _json_or_form("EditRequest", "EditForm"),
    }
    return {**_generations(), **changed}


def _variations() -> Schema:
    changed = {
        "operationId": "vary_image",
        "summary": "Vary Image",
        "description": "Paint pictures like a picture: an edit without a prompt.",
        "requestBody": _json_or_form("VariationRequest", "VariationForm"),
    }
    return {**_generations(), **changed}


def _json_or_form(schema: str, form: str) -> Schema:
    bodies = {"application/json": schema, "multipart/form-data": form}
    content: Schema = {kind: {"schema": {"$ref": f"#/components/schemas/{name}"}} for kind, name in bodies.items()}
    kinds = {"contentType": "image/png, image/jpeg, image/webp"}
    content["multipart/form-data"]["encoding"] = dict.fromkeys(("image", "mask"), kinds)
    return {"required": True, "content": content}


def _webhook() -> Schema:
    names = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "operationId": "receive_event",
        "summary": "What a webhook receives",
        "description": "Signed by Standard Webhooks. At least once: the same event again has the same `webhook-id`.",
        "tags": ["webhooks"],
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in names
        ],
        "requestBody": _body("WebhookEvent"),
        "responses": {
            "2XX": {"description": "It has arrived."},
            "410": {"description": "Send no more: the webhook becomes inactive."},
            "default": {"description": "It is sent again, for about 24 hours."},
        },
        "security": [],
    }


def _picture(name: str) -> Schema:
    raster = {f"image/{kind}": {"schema": {"type": "string", "format": "binary"}} for kind in ("png", "jpeg", "webp")}
    return {
        "operationId": name,
        "summary": "Picture",
        "description": "The bytes of a stored picture. Needs no key. One Range, ETag.",
        "tags": ["pictures"],
        "parameters": [
            {"name": "key", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "expires", "in": "query", "schema": {"type": "string"}},
            {"name": "signature", "in": "query", "schema": {"type": "string"}},
        ],
        "responses": {
            "200": {"description": "The picture.", "content": raster},
            "206": {"description": "A part of it.", "content": raster},
            "304": {"description": "It has not changed."},
            "416": {"description": "There is no such part."},
            **_errors(),
        },
        "security": [],
    }


def _body(schema: str) -> Schema:
    return {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def _json(description: str, *schemas: str) -> Schema:
    references = [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]
    schema = references[0] if len(references) == 1 else {"oneOf": references}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _or_events(response: Schema, *schemas: str) -> Schema:
    """The response, or a stream of server-sent events, each as the schema has it, whose `data` is one of `schemas`."""
    data = {"anyOf": [{"$ref": f"#/components/schemas/{schema}"} for schema in schemas]}
    event = {
        "type": "object",
        "required": ["event", "data"],
        "properties": {
            "event": {"type": "string"},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
    }
    return {**response, "content": {**response["content"], "text/event-stream": {"schema": event}}}


def _errors() -> dict[str, Schema]:
    by_status: dict[int, set[str]] = {}
    for status, type_ in STATUS_AND_TYPE.values():
        by_status.setdefault(status, set()).add(type_)
    return {str(status): _json(", ".join(sorted(types)), "Error") for status, types in sorted(by_status.items())}
