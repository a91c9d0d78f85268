"""What the OpenAPI document says of the doors that speak other APIs' words.

Requests are described as far as they have an effect; what else those APIs know is ignored by name or refused.
"""

from collections.abc import Collection
from typing import Any

from pinxit.api.schemas import BOOLEAN, INTEGER, STRING, Schema

ANY: Schema = {}
OBJECT: Schema = {"type": "object"}


def _closed(properties: dict[str, Schema], *, required: Collection[str] | None = None) -> Schema:
    """A closed object; all its properties are required unless told otherwise."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties if required is None else required),
        "additionalProperties": False,
    }


def _open(properties: dict[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": True}


def _array(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_SIZE: Schema = {"type": "string", "pattern": "^[1-9][0-9]*x[1-9][0-9]*$"}
_PICTURE_SETTINGS: dict[str, Schema] = {
    "size": _SIZE,
    "quality": STRING,
    "background": {"enum": ["transparent", "opaque"]},
    "output_format": {"enum": ["png", "jpeg", "webp"]},
}
_TOOL = _open(
    {
        "type": {"const": "image_generation"},
        "action": {"enum": ["auto", "generate", "edit"]},
        "model": STRING,
        "size": STRING,
        "quality": STRING,
        "background": {"enum": ["auto", "transparent", "opaque"]},
        "moderation": {"enum": ["auto", "low"]},
        "output_format": {"enum": ["png", "jpeg", "webp"]},
        "output_compression": {"type": "integer", "minimum": 0, "maximum": 100},
        "partial_images": {"type": "integer", "minimum": 0, "maximum": 3},
        "input_image_mask": _open({"image_url": STRING}),
    },
    "type",
)
_EMPTY_TEXT = _closed(
    {"type": {"const": "output_text"}, "text": STRING, "annotations": _array(ANY), "logprobs": _array(ANY)}
)
_MESSAGE = _closed(
    {
        "id": STRING,
        "type": {"const": "message"},
        "status": {"enum": ["in_progress", "completed"]},
        "role": {"const": "assistant"},
        "content": _array(_EMPTY_TEXT),
    }
)
_CALL = _closed(
    {
        "id": STRING,
        "type": {"const": "image_generation_call"},
        "status": {"enum": ["in_progress", "completed", "failed"]},
        "action": {"enum": ["generate", "edit"]},
        **_PICTURE_SETTINGS,
        "revised_prompt": STRING,
        "result": {**_nullable(STRING), "description": "The picture in base64."},
    },
    required=("id", "type", "status", "result"),
)
_RESPONSE = _closed(
    {
        "id": STRING,
        "object": {"const": "response"},
        "created_at": INTEGER,
        "completed_at": _nullable(INTEGER),
        "status": {"enum": ["in_progress", "completed", "failed"]},
        "background": {"const": False},
        "error": _nullable(_closed({"code": STRING, "message": STRING})),
        "incomplete_details": {"type": "null"},
        "instructions": {"type": "null"},
        "max_output_tokens": {"type": "null"},
        "max_tool_calls": {"type": "null"},
        "metadata": OBJECT,
        "model": STRING,
        "parallel_tool_calls": BOOLEAN,
        "previous_response_id": _nullable(STRING),
        "reasoning": OBJECT,
        "service_tier": STRING,
        "store": BOOLEAN,
        "temperature": {"type": "null"},
        "text": OBJECT,
        "tool_choice": ANY,
        "tools": _array(OBJECT),
        "top_p": {"type": "null"},
        "truncation": STRING,
        "usage": _nullable(_ref("ResponseUsage")),
        "output": _array({"oneOf": [_CALL, _MESSAGE]}),
    }
)
_RESPONSE_EVENT = _open({"type": STRING, "sequence_number": INTEGER}, "type", "sequence_number")

_CHAT_IMAGE = _closed(
    {"type": {"const": "image_url"}, "index": INTEGER, "image_url": _closed({"url": {**STRING, "format": "uri"}})}
)
_CHAT_USAGE = _closed(
    {
        "prompt_tokens": INTEGER,
        "completion_tokens": INTEGER,
        "total_tokens": INTEGER,
        "cost": {"type": "number", "description": "US dollars."},
    },
    required=("prompt_tokens", "completion_tokens", "total_tokens"),
)
_CHAT: dict[str, Schema] = {"id": STRING, "created": INTEGER, "model": STRING}
_CHAT_REASON: dict[str, Schema] = {
    "logprobs": {"type": "null"},
    "finish_reason": {"enum": ["stop", "error", None]},
    "index": INTEGER,
}

_BASE64: Schema = {**STRING, "description": "Base64, a data URL, or an http or https URL."}
_WEBUI_REQUEST: dict[str, Schema] = {
    "prompt": {"type": "string", "minLength": 1},
    "negative_prompt": STRING,
    "width": INTEGER,
    "height": INTEGER,
    "steps": INTEGER,
    "cfg_scale": {"type": "number"},
    "seed": {"type": "integer", "minimum": -1, "maximum": 2**32 - 1},
    "batch_size": {"type": "integer", "minimum": 1, "maximum": 10},
    "n_iter": {"type": "integer", "minimum": 1, "maximum": 10},
    "override_settings": _open({"sd_model_checkpoint": STRING}),
    "save_images": BOOLEAN,
    "send_images": BOOLEAN,
}
_WEBUI_STATE: dict[str, Schema] = {
    **dict.fromkeys(("skipped", "interrupted", "stopping_generation"), BOOLEAN),
    **dict.fromkeys(("job", "job_timestamp"), STRING),
    **dict.fromkeys(("job_count", "job_no", "sampling_step", "sampling_steps"), INTEGER),
}

SCHEMAS: dict[str, Schema] = {
    "WebuiTextRequest": _open(_WEBUI_REQUEST, "prompt"),
    "WebuiPictureRequest": _open(
        {
            **_WEBUI_REQUEST,
            "init_images": {**_array(_BASE64), "minItems": 1, "maxItems": 1},
            "denoising_strength": {"type": "number"},
            "mask": _BASE64,
            "inpainting_mask_invert": {"enum": [0, 1]},
        },
        "prompt",
        "init_images",
    ),
    "WebuiPictures": _closed(
        {
            "images": _array({**STRING, "contentEncoding": "base64"}),
            "parameters": OBJECT,
            "info": {"type": "string", "contentMediaType": "application/json"},
        }
    ),
    "WebuiOptions": _open({"sd_model_checkpoint": _nullable(STRING)}),
    "WebuiModels": _array(_open({"title": STRING, "model_name": STRING}, "title", "model_name")),
    "WebuiNames": _array(_open({"name": STRING}, "name")),
    "WebuiProgress": _closed(
        {
            "progress": {"type": "number", "minimum": 0, "maximum": 1},
            "eta_relative": {"type": "number", "minimum": 0},
            "state": _closed(_WEBUI_STATE),
            "current_image": {"type": "null"},
            "textinfo": {"type": "null"},
        }
    ),
    "WebuiNothing": {"oneOf": [{"type": "null"}, _closed({})]},
    "ChatRequest": _open(
        {
            "model": STRING,
            "messages": {**_array(_open({"role": STRING})), "minItems": 1},
            "modalities": {**_array({"enum": ["image", "text"]}), "contains": {"const": "image"}},
            "image_config": _open({"aspect_ratio": STRING, "image_size": STRING}),
            "n": {"type": "integer", "minimum": 1, "maximum": 10},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
            "stream": BOOLEAN,
            "stream_options": _open({"include_usage": BOOLEAN}),
            "store": BOOLEAN,
            "user": STRING,
            "usage": _open({"include": BOOLEAN}),
        },
        "messages",
        "modalities",
    ),
    "ChatCompletion": _closed(
        {
            **_CHAT,
            "object": {"const": "chat.completion"},
            "choices": _array(
                _closed(
                    {
                        **_CHAT_REASON,
                        "message": _closed(
                            {
                                "role": {"const": "assistant"},
                                "content": STRING,
                                "refusal": {"type": "null"},
                                "images": _array(_CHAT_IMAGE),
                            }
                        ),
                    }
                )
            ),
            "usage": _CHAT_USAGE,
        }
    ),
    "ChatCompletionChunk": _closed(
        {
            **_CHAT,
            "object": {"const": "chat.completion.chunk"},
            "choices": _array(
                _closed(
                    {
                        **_CHAT_REASON,
                        "delta": _closed(
                            {"role": {"const": "assistant"}, "content": STRING, "images": _array(_CHAT_IMAGE)},
                            required=(),
                        ),
                    }
                )
            ),
            "usage": _CHAT_USAGE,
            "error": _open({"message": STRING, "type": STRING, "param": STRING, "code": INTEGER}, "message", "type"),
        },
        required=(*_CHAT, "object", "choices"),
    ),
    "ResponseRequest": _open(
        {
            "model": STRING,
            "input": {"oneOf": [STRING, _array(OBJECT)]},
            "tools": {**_array({"anyOf": [_TOOL, OBJECT]}), "minItems": 1},
            "tool_choice": ANY,
            "stream": BOOLEAN,
            "store": BOOLEAN,
            "previous_response_id": STRING,
            "metadata": OBJECT,
            "user": STRING,
            "safety_identifier": STRING,
        },
        "input",
        "tools",
    ),
    "ResponseUsage": _closed(
        {
            "input_tokens": INTEGER,
            "input_tokens_details": _closed({"cached_tokens": INTEGER, "cache_write_tokens": INTEGER}),
            "output_tokens": INTEGER,
            "output_tokens_details": _closed({"reasoning_tokens": INTEGER}),
            "total_tokens": INTEGER,
        }
    ),
    "Response": _RESPONSE,
    "ResponseEvent": _RESPONSE_EVENT,
}


def paths(there: Collection[str], errors: dict[str, Schema]) -> dict[str, Any]:
    """Those of our paths that are there, with their operations. `errors`: the answers that every operation can have."""
    return {path: operations for path, operations in _all(errors).items() if path in there}


def _all(errors: dict[str, Schema]) -> dict[str, Any]:
    return {
        "/v1/responses": {
            "post": _operation(
                "create_response",
                "Create Response",
                "OpenAI's Responses API with the tool `image_generation`; without it nothing can be asked for.",
                errors,
                body="ResponseRequest",
                answer="Response",
                events="ResponseEvent",
            )
        },
        "/v1/chat/completions": {
            "post": _operation(
                "create_chat_completion",
                "Create Chat Completion",
                'Chat as OpenRouter has it with `modalities: ["image"]`: the last user message is painted. A stream'
                " ends with `[DONE]`.",
                errors,
                body="ChatRequest",
                answer="ChatCompletion",
                events="ChatCompletionChunk",
            )
        },
        **_webui(errors),
    }


def _webui(errors: dict[str, Schema]) -> dict[str, Any]:
    """The subset of the API of AUTOMATIC1111's web UI."""
    read = {
        "options": ("get_webui_options", "WebuiOptions", "What is set, above all the checkpoint that paints."),
        "sd-models": ("list_webui_models", "WebuiModels", "The models this key may use."),
        "samplers": ("list_webui_samplers", "WebuiNames", "One: the model's own."),
        "schedulers": ("list_webui_schedulers", "WebuiNames", "One: the model's own."),
        "upscalers": ("list_webui_upscalers", "WebuiNames", "None."),
        "latent-upscale-modes": ("list_webui_latent_upscale_modes", "WebuiNames", "None."),
        "sd-vae": ("list_webui_vaes", "WebuiModels", "None."),
        "progress": ("get_webui_progress", "WebuiProgress", "Of this key's order that is under way."),
    }
    write = {
        "options": ("set_webui_options", "WebuiNothing", "Nothing is remembered.", "WebuiOptions"),
        "interrupt": ("interrupt_webui", "WebuiNothing", "Give up the order that `progress` shows.", ""),
        "txt2img": ("webui_txt2img", "WebuiPictures", "Paint pictures from a text.", "WebuiTextRequest"),
        "img2img": ("webui_img2img", "WebuiPictures", "Paint pictures from a picture.", "WebuiPictureRequest"),
    }
    found: dict[str, Any] = {}
    for name, (id_, answer, description) in read.items():
        operation = _operation(id_, _titled(id_), description, errors, answer=answer)
        found.setdefault(f"/sdapi/v1/{name}", {})["get"] = {**operation, "security": _WEBUI_SECURITY}
    for name, (id_, answer, description, body) in write.items():
        operation = _operation(id_, _titled(id_), description, errors, answer=answer, body=body)
        found.setdefault(f"/sdapi/v1/{name}", {})["post"] = {**operation, "security": _WEBUI_SECURITY}
    return found


_WEBUI_SECURITY: list[dict[str, list[str]]] = [{"basic": []}, {"bearer": []}, {"raw": []}]


def _titled(id_: str) -> str:
    return id_.replace("_", " ").title()


def _operation(
    id_: str,
    summary: str,
    description: str,
    errors: dict[str, Schema],
    *,
    answer: str,
    body: str = "",
    events: str = "",
) -> Schema:
    success: Schema = {"description": "The answer.", "content": {"application/json": {"schema": _ref(answer)}}}
    if events:
        data = {"type": "string", "contentMediaType": "application/json", "contentSchema": _ref(events)}
        event = {"type": "object", "required": ["data"], "properties": {"event": {"type": "string"}, "data": data}}
        success["content"]["text/event-stream"] = {"schema": event}
    operation: Schema = {
        "operationId": id_,
        "summary": summary,
        "description": description,
        "tags": ["adapters"],
        "responses": {"200": success, **errors},
        "security": [{"bearer": []}, {"raw": []}],
    }
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return operation
