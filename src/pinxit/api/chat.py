"""POST /v1/chat/completions with `modalities: ["image"]`, as OpenRouter has it.

A thin door to the same order, for chat clients that show pictures: the answer's message has them in `images`
(https://openrouter.ai/docs/guides/overview/multimodal/image-generation, read on 2026-11-22).
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from starlette.types import Scope

from pinxit.api.adapting import (
    AdapterEndpoint,
    ParsedAdapted,
    Translated,
    base64_text,
    compact,
    error_object,
    joined,
    list_of_objects,
    split_fields,
    with_member,
)
from pinxit.api.context import REQUEST_ID
from pinxit.api.conversation import Turn, answer_id, read_wish
from pinxit.api.edits import Source, source_of
from pinxit.api.errors import render as render_error
from pinxit.api.fields import Fields
from pinxit.api.images import ParsedRequest
from pinxit.api.request_schema import ENCODINGS
from pinxit.api.streaming import OrderStream, Previews
from pinxit.backends.interface import Capabilities
from pinxit.errors import InvalidRequest, InvalidValue, PinxitError
from pinxit.generations.generation import Generation
from pinxit.generations.live import Preview
from pinxit.generations.service import Order
from pinxit.images.request import Encoding
from pinxit.images.size import Size

_PASSED = (
    "model",
    "n",
    "seed",
    "store",
    "user",
    "safety_identifier",
    "usage",
    "provider",
    "fallback_models",
)
"""Fields that mean what they mean in POST /v1/images/generations."""
_KNOWN = frozenset(
    [
        *_PASSED,
        "image_config",
        "messages",
        "modalities",
        "models",
        "stream",
        "stream_options",
        "tool_choice",
    ]
)
IGNORED = frozenset(
    [
        "frequency_penalty",
        "include_reasoning",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "min_p",
        "moderation",
        "parallel_tool_calls",
        "plugins",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "route",
        "service_tier",
        "session_id",
        "stop",
        "structured_outputs",
        "temperature",
        "tools",
        "top_a",
        "top_k",
        "top_logprobs",
        "top_p",
        "trace",
        "transforms",
        "verbosity",
        "web_search_options",
    ]
)
"""What speaks to a chat model, of which there is none."""
_CONFIG_PASSED = (
    "quality",
    "background",
    "moderation",
    "output_format",
    "output_compression",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "strength",
    "style",
)
_CONFIG_KNOWN = frozenset([*_CONFIG_PASSED, "aspect_ratio", "image_size"])
MODALITIES = ("image", "text")
MEGAPIXELS = {"0.5K": 512**2, "1K": 1024**2, "2K": 2048**2, "4K": 4096**2}
"""How many pixels the classes of `image_size` stand for, in a square."""
_ROLES = ("user", "assistant", "system", "developer", "tool", "function")


class ChatEndpoint(AdapterEndpoint):
    """The plain ASGI callable behind POST /v1/chat/completions."""

    def translate(self, body: dict[str, Any]) -> Translated:
        ignored = split_fields(body, known=_KNOWN, ignored=IGNORED)
        fields = Fields(body)
        _check_modalities(fields)
        _check_tool_choice(fields)
        wish = read_wish(
            [_turn(each, place) for place, each in enumerate(list_of_objects(fields, "messages"))], param="messages"
        )
        config = fields.object("image_config") or {}
        ignored += split_fields(config, known=_CONFIG_KNOWN, ignored=(), prefix="image_config.")
        order = {name: body[name] for name in _PASSED if body.get(name) is not None}
        order |= {name: config[name] for name in _CONFIG_PASSED if config.get(name) is not None}
        if fields.is_set("models"):
            order["fallback_models"] = fields.array("models")
        read = Fields(config, prefix="image_config.")
        if config.get("output_format") is not None:
            read.choice("output_format", ENCODINGS)
        size, size_name = self._size(fields, read, is_edit=bool(wish.pictures), ignored=ignored)
        names = {name: f"image_config.{name}" for name in _CONFIG_PASSED}
        return Translated(
            {
                **order,
                "prompt": wish.prompt,
                "size": size,
                "response_format": "b64_json",
                "stream": bool(fields.boolean("stream")),
            },
            earlier=wish.pictures,
            names={
                **names,
                "size": size_name,
                "fallback_models": "models" if fields.is_set("models") else "fallback_models",
                "prompt": "messages",
                "image": wish.param,
            },
            ignored=(*ignored, *wish.ignored),
            facts={"has_usage": _wants_usage(fields), "model": body.get("model")},
        )

    def _size(self, fields: Fields, config: Fields, *, is_edit: bool, ignored: list[str]) -> tuple[str, str]:
        """The size, and which field says it."""
        ratio = config.text("aspect_ratio", max_characters=16)
        named = config.text("image_size", max_characters=16)
        if named is None or named == "auto":
            return ratio or "auto", "image_config.aspect_ratio"
        if named not in MEGAPIXELS:
            if ratio is not None:
                raise InvalidValue("Send aspect_ratio or a size in pixels.", param="image_config.image_size")
            return named, "image_config.image_size"
        if ratio is None and is_edit:  # the picture that it begins from says its shape, and with it its size
            ignored.append("image_config.image_size")
            return "auto", "image_config.image_size"
        model = fields.text("model", max_characters=2**20) or self._services.catalog.default_name
        return _size_of_class(named, ratio, self._services.catalog.resolve(model).capabilities)

    def _render(self, generation: Generation, parsed: ParsedRequest, scope: Scope) -> list[bytes]:
        assert isinstance(parsed, ParsedAdapted)
        choices = [
            with_member(
                {"index": image.position, "logprobs": None, "finish_reason": "stop"},
                "message",
                with_member(
                    {"role": "assistant", "content": "", "refusal": None},
                    "images",
                    _images(parsed.request.encoding, image.data or b""),
                ),
            )
            for image in generation.images
        ]
        frame = {**_frame("chat.completion", generation, parsed), "usage": usage(generation, parsed)}
        return with_member(frame, "choices", joined(choices))

    def _stream_of(
        self, order: Order, opened: Generation, parsed: ParsedRequest, previews: Previews, scope: Scope
    ) -> OrderStream:
        assert isinstance(parsed, ParsedAdapted)
        return ChatStream(self._services, order, opened, parsed, previews, request_id=scope[REQUEST_ID])


# --- reading --------------------------------------------------------------------------------------------------------


def _check_modalities(fields: Fields) -> None:
    modalities = fields.array("modalities") or []
    if "image" not in modalities:
        raise InvalidRequest('This server only paints: modalities must have "image".', param="modalities")
    for modality in modalities:
        if modality not in MODALITIES:
            raise InvalidValue("This server only paints.", param="modalities", allowed=MODALITIES)


def _check_tool_choice(fields: Fields) -> None:
    """Raises InvalidValue if a tool has to be called."""
    if fields.is_set("tool_choice") and fields.value("tool_choice") not in ("auto", "none"):
        raise InvalidValue("This server only paints: it calls no tools.", param="tool_choice", allowed=["auto", "none"])


def _wants_usage(fields: Fields) -> bool:
    options = Fields(fields.object("stream_options") or {}, prefix="stream_options.")
    return bool(options.boolean("include_usage")) or bool((fields.object("usage") or {}).get("include"))


def _turn(message: Mapping[str, Any], place: int) -> Turn:
    param = f"messages[{place}]"
    fields = Fields(message, prefix=f"{param}.")
    role = fields.choice("role", _ROLES)
    if role is None:
        raise InvalidRequest(f"{param}.role is missing.", param=f"{param}.role")
    turn = Turn(param, role)
    content = message.get("content")
    if isinstance(content, str):
        turn.texts += [content] if content else []
    else:
        for number, part in enumerate(list_of_objects(fields, "content", prefix=f"{param}.")):
            _read_part(turn, part, f"{param}.content[{number}]")
    for number, image in enumerate(list_of_objects(fields, "images", prefix=f"{param}.")):
        turn.pictures.append(source_of(f"{param}.images[{number}]", dict(image)))
    return turn


def _read_part(turn: Turn, part: Mapping[str, Any], param: str) -> None:
    match part.get("type"):
        case "text" | "refusal":
            text = part.get("text", part.get("refusal"))
            if not isinstance(text, str):
                raise InvalidRequest(f"{param}.text must be a string.", param=f"{param}.text")
            turn.texts += [text] if text else []
        case "image_url":
            picture: Source = source_of(param, dict(part))
            turn.pictures.append(picture)
        case _:
            raise InvalidValue(
                f"{param} is of a type that cannot be painted from.",
                param=f"{param}.type",
                allowed=["text", "image_url"],
            )


def _size_of_class(named: str, ratio: str | None, can: Capabilities) -> tuple[str, str]:
    """The model's size of that shape whose pixels are nearest to the class's. Raises InvalidValue."""
    shape = can.aspect_ratios.get(ratio) if ratio is not None else can.default_size
    if shape is None:
        return str(ratio), "image_config.aspect_ratio"  # which the model's own check refuses, naming those it has
    sizes = [size for size in can.sizes if size.width * shape.height == size.height * shape.width]
    classes = {class_: size for class_ in MEGAPIXELS if (size := _nearest(class_, sizes)) is not None}
    if named not in classes:
        raise InvalidValue(
            f"The model has no size of {named} in that shape.", param="image_config.image_size", allowed=list(classes)
        )
    return str(classes[named]), "image_config.image_size"


def _nearest(class_: str, sizes: Sequence[Size]) -> Size | None:
    """None if there is none between half and twice of it."""
    wanted = MEGAPIXELS[class_]
    near = [size for size in sizes if wanted <= 2 * size.width * size.height <= 4 * wanted]
    return min(near, key=lambda size: abs(size.width * size.height - wanted), default=None)


# --- answering ------------------------------------------------------------------------------------------------------


def _frame(kind: str, generation: Generation, parsed: ParsedAdapted) -> dict[str, Any]:
    return {
        "id": answer_id("chatcmpl", generation.id),
        "object": kind,
        "created": int(generation.created_at.timestamp()),
        "model": parsed.facts["model"] or generation.model,
    }


def _images(encoding: Encoding, data: bytes) -> list[bytes]:
    """`[{"type":"image_url","index":0,"image_url":{"url":"data:…"}}]`."""
    url = base64_text(data, before=f"data:{encoding.media_type};base64,")
    return [b'[{"type":"image_url","index":0,"image_url":{"url":', *url, b"}}]"]


def usage(generation: Generation, parsed: ParsedRequest) -> dict[str, Any]:
    """As OpenAI counts it; `cost` as OpenRouter does."""
    counted: dict[str, Any] = {
        "prompt_tokens": generation.input_tokens,
        "completion_tokens": generation.output_tokens,
        "total_tokens": generation.input_tokens + generation.output_tokens,
    }
    if parsed.request.include_cost:
        counted["cost"] = generation.cost_micros / 1_000_000
    return counted


class ChatStream(OrderStream):
    """Chunks of a chat. Chat has no word for a picture that is not finished, so partial ones are not sent."""

    def __init__(
        self,
        services: Any,
        order: Order,
        opened: Generation,
        parsed: ParsedAdapted,
        previews: Previews,
        *,
        request_id: str,
    ) -> None:
        super().__init__(services, order, opened, parsed.request, previews, request_id=request_id)
        self._parsed = parsed
        self._frame = _frame("chat.completion.chunk", opened, parsed)

    def _begun(self) -> Sequence[bytes]:
        delta = {"role": "assistant", "content": ""}
        return [self._chunk(place, [compact(delta)]) for place in range(self._request.n)]

    async def _partial(self, preview: Preview) -> bytes:
        raise AssertionError("no previews are ordered")

    async def _ended(self, generation: Generation) -> AsyncGenerator[bytes, None]:
        for image in generation.images:
            images = _images(self._request.encoding, await self._data(image))
            yield self._chunk(image.position, [b'{"images":', *images, b"}"])
            yield self._chunk(image.position, [b"{}"], finish_reason="stop")
        painted = {image.position for image in generation.images}
        for place in range(self._request.n):
            if place not in painted:
                yield self._chunk(place, [b"{}"], finish_reason="error")
        if self._parsed.facts["has_usage"]:
            yield _data([compact({**self._frame, "choices": [], "usage": usage(generation, self._parsed)})])
        yield DONE

    def _failed(self, error: PinxitError) -> Sequence[bytes]:
        said = error_object(render_error(error, request_id=self._request_id).body)
        choice = {"index": 0, "delta": {"content": ""}, "logprobs": None, "finish_reason": "error"}
        return [_data([compact({**self._frame, "error": said, "choices": [choice]})]), DONE]

    def _chunk(self, place: int, delta: Sequence[bytes], finish_reason: str | None = None) -> bytes:
        choice = {"index": place, "logprobs": None, "finish_reason": finish_reason}
        return _data(with_member(self._frame, "choices", joined([with_member(choice, "delta", delta)])))


DONE = b"data: [DONE]\n\n"


def _data(parts: Sequence[bytes]) -> bytes:
    return b"".join((b"data: ", *parts, b"\n\n"))
