"""The JSON schemas of orders: what the server takes, no more and no less.

They are made from the same facts that `images.py`, `manner.py`, `edits.py` and `catalog/entry.py` decide by, for one
model and one key, or without a model for the OpenAPI document. What a schema cannot say is only what lies in pictures
and behind their addresses, and whether a policy refuses a prompt. JSON Schema 2020-12, as OpenAPI 3.1 has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pinxit.api.routing import MAX_BACKENDS, MAX_FALLBACK_MODELS, MAX_ROUTING_NAME_CHARACTERS, SORTS
from pinxit.backends.interface import MAX_SEED, Capabilities, Range, SizeRange
from pinxit.catalog.entry import OPENAI_STYLES
from pinxit.images.request import Delivery, Encoding
from pinxit.images.size import Size

Schema = dict[str, Any]

MAX_N = 10
MAX_STEPS = 1000
MAX_GUIDANCE = 100
MAX_PARTIAL_IMAGES = 3
MAX_DEADLINE_SECONDS = 86_400
MAX_NAME_CHARACTERS = 512
MAX_PROMPT_CHARACTERS = 32_000
MAX_PICTURES = 16
MAX_PATTERN_CHARACTERS = 16_384
DELIVERIES = ("url", "b64_json")
ENCODINGS = tuple(encoding.value for encoding in Encoding)

INVISIBLE = (
    "\t-\r\x1c-\x20\x85\xa0\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u1680\u180e\u2000-\u200f"
    "\u2028-\u202f\u205f-\u2064\u2066-\u206f\u3000\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
"""White space and characters of Unicode's category Cf, as a regular expression's class holds them."""
PROMPT_PATTERN = f"^[^\0]*[^\0{INVISIBLE}][^\0]*$"
"""At least one character that can be seen, and none that is no text."""
TEXT_PATTERN = "^[^\0]*$"
_SIDE = "[1-9][0-9]{0,4}"
SIZE_PATTERN = f"^(auto|{_SIDE}x{_SIDE}|[1-9][0-9]{{0,2}}:[1-9][0-9]{{0,2}})$"
_DATA_URL = "[dD][aA][tT][aA]:[iI][mM][aA][gG][eE]/[a-zA-Z+.-]{1,20};[bB][aA][sS][eE]64,"
_ADDRESS = "[hH][tT][tT][pP][sS]?://"


@dataclass(frozen=True, slots=True)
class Terms:
    """What decides about an order.

    `can` None: any model's order. `model`: the schema of its name. `default_delivery`: where a request says nothing;
    None: not known. `ignored`: names without effect here.
    """

    can: Capabilities | None = None
    model: Schema | None = None
    is_default_model: bool = True
    max_prompt_characters: int = MAX_PROMPT_CHARACTERS
    default_delivery: Delivery | None = None
    fetches_pictures: bool = True
    ignored: Sequence[str] = ()
    has_rules: bool = True
    """Whether to say what fields mean for each other, which generators of code and of tests understand badly."""


def order_schema(terms: Terms) -> Schema:
    """Of POST /v1/images/generations."""
    return _closed(_fields(terms), ["prompt"], terms)


def edit_schema(terms: Terms) -> Schema:
    """Of POST /v1/images/edits, in JSON."""
    properties = {**_fields(terms), **_sent_pictures(terms), "strength": _strength(terms.can)}
    return _closed(properties, ["prompt"], terms, _one_of_the_picture_fields())


def variation_schema(terms: Terms) -> Schema:
    """Of POST /v1/images/variations, in JSON."""
    properties = {**edit_schema(terms)["properties"], "prompt": _ABSENT, "mask": _ABSENT}
    return _closed(properties, [], terms, _one_of_the_picture_fields())


def form_of(schema: Schema) -> Schema:
    """The same as a multipart form: files instead of URLs, no null, and no rules between fields."""
    file = {"type": "string", "format": "binary"}
    left_out = ("images", "image_urls", *_UNWRITABLE)
    properties = {name: _without_null(field) for name, field in schema["properties"].items() if name not in left_out}
    properties = {name: field for name, field in properties.items() if field is not None}
    most = schema["properties"]["image"]["anyOf"][1]["maxItems"]
    properties["image"] = {
        "type": "array",
        "items": file,
        "minItems": 1,
        "maxItems": most,
        "description": "`image[]`, which some clients send, means the same.",
    }
    properties |= {name: {"type": "string"} for name, field in properties.items() if field == _WITHOUT_EFFECT}
    if "mask" in properties:
        properties["mask"] = file
    return {
        "type": "object",
        "required": [*schema["required"], "image"],
        "properties": properties,
        "additionalProperties": False,
    }


def model_names(names: Sequence[str], of_others: Sequence[str]) -> Schema:
    """A model by its own id and aliases (`*` at the end is any ending), which must not be another's."""
    exact = [name for name in names if not name.endswith("*")]
    beginnings = [name[:-1] for name in names if name.endswith("*")]
    options: list[Schema] = [{"enum": exact}]
    options += [{"type": "string", "pattern": f"^{_escaped(beginning)}"} for beginning in beginnings]
    schema = options[0] if len(options) == 1 else {"anyOf": options}
    others = [name for name in of_others if any(name.startswith(beginning) for beginning in beginnings)]
    return {**schema, "not": {"enum": others}} if others else schema


# --- fields ---------------------------------------------------------------------------------------------------------


_ABSENT: Schema = {"type": "null"}
_WITHOUT_EFFECT: Schema = {"description": "Without effect here."}
_NOTHING_YET: Schema = {"type": ["array", "null"], "maxItems": 0}
_UNWRITABLE = ("usage", "provider", "fallback_models", "loras")
"""Fields of a form that hold JSON: clients write it in many ways, so that they are left out of its schema."""


def _fields(terms: Terms) -> dict[str, Schema]:
    can = terms.can
    return {
        "model": _model(terms),
        "prompt": {
            "type": "string",
            "maxLength": terms.max_prompt_characters,
            "pattern": PROMPT_PATTERN,
        },
        "n": _integer(1, can.max_n if can else MAX_N, default=1),
        "output_format": {
            **_choice(*DELIVERIES, *(can.encodings if can else ENCODINGS)),
            "description": "How pictures come back (`url`, `b64_json`), or their encoding: the sets are disjoint.",
        },
        "response_format": {**_choice(*DELIVERIES), "description": "How pictures come back."},
        "size": _size(can),
        "quality": {**(_choice("auto", *can.qualities) if can else _text()), "default": "auto"},
        "background": {
            **_choice("auto", "opaque", *(["transparent"] if can is None or can.transparent else [])),
            "default": "auto",
        },
        "output_compression": {**_integer(0, 100), "description": "For jpeg and webp."},
        "moderation": {**_choice("auto", "low"), "default": "auto"},
        "style": _choice(*dict.fromkeys([*can.styles, *OPENAI_STYLES])) if can else _text(),
        "user": _text(),
        "safety_identifier": _text(),
        "seed": {
            **(_integer(0, MAX_SEED) if can is None or can.seed else _ABSENT),
            "description": "Picture i has the seed (seed + i) mod 2³²; a seed promises the same pixels.",
        },
        "negative_prompt": _text(terms.max_prompt_characters) if can is None or can.negative_prompt else _ABSENT,
        "num_inference_steps": _whole_range(can.num_inference_steps) if can else _integer(1, MAX_STEPS),
        "steps": _whole_range(can.num_inference_steps) if can else _integer(1, MAX_STEPS),
        "guidance_scale": _range(can.guidance_scale) if can else _number(0, MAX_GUIDANCE),
        "strength": _ABSENT,
        "loras": _NOTHING_YET,
        "provider": _routing(),
        "fallback_models": {
            **_names(MAX_FALLBACK_MODELS),
            "description": "Models to ask when this one cannot be painted now.",
        },
        "usage": {
            "type": ["object", "null"],
            "properties": {"include": _boolean()},
            "description": "`include`: add the cost to the answer.",
        },
        "store": {**_boolean(default=True), "description": "Keep the picture on the server."},
        "stream": {**_boolean(default=False), "description": "Answer as server-sent events."},
        "partial_images": {
            **_integer(0, MAX_PARTIAL_IMAGES if can is None or can.streaming else 0, default=0),
            "description": "How many of each picture a stream shows while it is painted.",
        },
        "async": {**_boolean(default=False), "description": "Answer 202 at once; ask for the order later."},
        "dry_run": {**_boolean(default=False), "description": "Say what it would cost; paint nothing."},
        "deadline_seconds": {
            "type": ["number", "null"],
            "exclusiveMinimum": 0,
            "maximum": MAX_DEADLINE_SECONDS,
            "description": "Give up after this long.",
        },
    }


def _names(most: int) -> Schema:
    item = {"type": "string", "minLength": 1, "maxLength": MAX_ROUTING_NAME_CHARACTERS}
    return {"type": ["array", "null"], "items": item, "maxItems": most}


def _routing() -> Schema:
    """Which backends there are is not said: what leaves none of the model's is refused."""
    properties: dict[str, Schema] = {name: _names(MAX_BACKENDS) for name in ("only", "order", "ignore")}
    properties |= {name: {"type": ["boolean", "null"]} for name in ("allow_fallbacks", "after_refusal")}
    properties["sort"] = _choice(*SORTS)
    return {
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
        "description": "Which backends may paint, and who is asked first.",
    }


def _model(terms: Terms) -> Schema:
    if terms.model is None:
        return {"type": ["string", "null"], "pattern": TEXT_PATTERN, "description": "A model's id or alias."}
    return _or_null(terms.model) if terms.is_default_model else terms.model


def _size(can: Capabilities | None) -> Schema:
    if can is None:
        return {"type": ["string", "null"], "pattern": SIZE_PATTERN, "default": "auto"}
    listed = _choice("auto", *map(str, can.sizes), *can.aspect_ratios)
    if can.size_range is None:
        return {**listed, "default": "auto"}
    return {"anyOf": [listed, {"type": "string", "pattern": size_pattern(can.size_range)}], "default": "auto"}


def size_pattern(allowed: SizeRange) -> str:
    """Exactly the sizes of the range; where that is too long, all sizes, and `size_range` says which are meant."""
    sides = [str(side) for side in allowed.sides]
    by_heights: dict[tuple[str, ...], list[str]] = {}
    characters = 0
    for width in sides:
        heights = tuple(height for height in sides if allowed.has(Size(int(width), int(height))))
        if heights:
            characters += len("|".join(heights)) if heights not in by_heights else 0
            by_heights.setdefault(heights, []).append(width)
        if characters > MAX_PATTERN_CHARACTERS:
            return f"^{_SIDE}x{_SIDE}$"
    pairs = [f"({'|'.join(widths)})x({'|'.join(heights)})" for heights, widths in by_heights.items()]
    return f"^({'|'.join(pairs)})$"


def _strength(can: Capabilities | None) -> Schema:
    field = _range(can.strength) if can else {**_number(0, 1)}
    return {**field, "description": "How far to go from the picture, above 0 to 1."}


def _sent_pictures(terms: Terms) -> dict[str, Schema]:
    can = terms.can
    addresses = f"|{_ADDRESS}" if terms.fetches_pictures else ""
    url: Schema = {
        "type": "string",
        "format": "picture-url",
        "pattern": f"^({_DATA_URL}{addresses})",
        "description": "Of a PNG, JPEG or WebP picture: a data URL, or an http or https URL.",
    }
    nested: Schema = {
        "type": "object",
        "required": ["image_url"],
        "properties": {
            "image_url": {"anyOf": [url, {"type": "object", "required": ["url"], "properties": {"url": url}}]},
            "file_id": {"type": "null", "description": "There is no files API."},
        },
    }
    picture: Schema = {"anyOf": [url, nested]}
    most = min(MAX_PICTURES, can.max_images) if can else MAX_PICTURES
    several = {"type": "array", "items": picture, "maxItems": most}
    fields = {key: {"anyOf": [picture, several, _ABSENT]} for key in ("image", "images", "image_urls")}
    return {**fields, "mask": {"anyOf": [picture, _ABSENT]} if can is None or can.mask else _ABSENT}


def _one_of_the_picture_fields() -> Schema:
    names = ("image", "images", "image_urls")
    empty: Schema = {"type": ["array", "null"], "maxItems": 0}
    return {
        "oneOf": [
            {
                "required": [name],
                "properties": {other: {"not": empty} if other == name else empty for other in names},
            }
            for name in names
        ]
    }


# --- rules between fields -------------------------------------------------------------------------------------------


def _closed(properties: dict[str, Schema], required: list[str], terms: Terms, *rules: Schema) -> Schema:
    ignored = {name: _WITHOUT_EFFECT for name in terms.ignored if name not in properties}
    schema = {
        "type": "object",
        "required": [*required, *([] if terms.is_default_model else ["model"])],
        "properties": {**properties, **ignored},
        "additionalProperties": False,
    }
    return {**schema, "allOf": [*_rules(terms, properties), *rules]} if terms.has_rules else schema


def _rules(terms: Terms, properties: dict[str, Schema]) -> list[Schema]:
    """What fields mean for each other."""
    kept: Schema = {"properties": {"store": {"enum": [True, None]}}}
    not_kept: list[Schema] = [_is("response_format", "b64_json"), _is("output_format", "b64_json")]
    if terms.default_delivery in (None, Delivery.B64_JSON):
        not_kept.append(
            {"properties": {"output_format": {"not": {"const": "url"}}, "response_format": {"not": {"const": "url"}}}}
        )
    rules: list[Schema] = [
        {"not": {"allOf": [_is("output_format", "url"), _is("response_format", "b64_json")]}},
        {"not": {"allOf": [_is("output_format", "b64_json"), _is("response_format", "url")]}},
        {"anyOf": [_empty("output_compression"), _is("output_format", "jpeg", "webp")]},
        {"anyOf": [kept, *not_kept]},
        {"anyOf": [_empty("num_inference_steps"), _empty("steps")]},
        {"anyOf": [{"properties": {"partial_images": {"enum": [0, None]}}}, _is("stream", True)]},
        {
            "anyOf": [
                {"properties": {"stream": {"enum": [False, None]}}},
                {"properties": {"async": {"enum": [False, None]}}},
            ]
        },
    ]
    if "transparent" in properties["background"]["enum"]:
        opaque = {"properties": {"background": {"not": {"const": "transparent"}}}}
        rules.append({"anyOf": [opaque, {"properties": {"output_format": {"not": {"const": "jpeg"}}}}]})
    return rules


def _is(name: str, *values: object) -> Schema:
    return {"required": [name], "properties": {name: {"enum": list(values)}}}


def _empty(name: str) -> Schema:
    return {"properties": {name: {"type": "null"}}}


# --- kinds of fields ------------------------------------------------------------------------------------------------


def _or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], None]}
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]} if "anyOf" in schema else schema


def _without_null(schema: Schema) -> Schema | None:
    """None: nothing but null is left."""
    schema = dict(schema)
    types = [type_ for type_ in _types(schema) if type_ != "null"]
    if "type" in schema:
        if not types:
            return None
        schema["type"] = types[0] if len(types) == 1 else types
    if "enum" in schema:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
    if "anyOf" in schema:
        options = [option for option in map(_without_null, schema["anyOf"]) if option is not None]
        schema = {**schema, "anyOf": options}
    return schema


def _types(schema: Schema) -> list[str]:
    found = schema.get("type", [])
    return [found] if isinstance(found, str) else list(found)


def _choice(*values: str) -> Schema:
    return {"type": ["string", "null"], "enum": [*map(str, values), None]}


def _text(max_characters: int = MAX_NAME_CHARACTERS) -> Schema:
    return {"type": ["string", "null"], "maxLength": max_characters, "pattern": TEXT_PATTERN}


def _boolean(**more: object) -> Schema:
    return {"type": ["boolean", "null"], **more}


def _integer(minimum: int, maximum: int, **more: object) -> Schema:
    return {"type": ["integer", "null"], "minimum": minimum, "maximum": maximum, **more}


def _number(minimum: float, maximum: float) -> Schema:
    return {"type": ["number", "null"], "minimum": minimum, "maximum": maximum}


def _range(allowed: Range | None) -> Schema:
    if allowed is None:
        return _ABSENT
    return {**_number(allowed.minimum, allowed.maximum), "default": allowed.default}


def _whole_range(allowed: Range | None) -> Schema:
    if allowed is None:
        return _ABSENT
    return _integer(int(allowed.minimum), int(allowed.maximum), default=int(allowed.default))


def _escaped(text: str) -> str:
    """As in a regular expression; `re.escape` escapes more than ECMA-262 allows."""
    return "".join(f"\\{character}" if character in r"\^$.*+?()[]{}|/" else character for character in text)
