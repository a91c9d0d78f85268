"""POST /v1/responses with the tool `image_generation`, as OpenAI's Responses API has it.

A thin door to the same order: https://platform.openai.com/docs/api-reference/responses (read on 2026-11-22), and the
types of openai-python 3.54 (`openai/types/responses`), against which it is tested.
"""

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from itertools import count
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
from pinxit.api.conversation import Kept, Turn, answer_id, call_id, find_kept, read_wish
from pinxit.api.edits import Source, source_of
from pinxit.api.errors import render as render_error
from pinxit.api.fields import Fields
from pinxit.api.images import ParsedRequest
from pinxit.api.request_schema import ENCODINGS, MAX_NAME_CHARACTERS
from pinxit.api.streaming import OrderStream, Previews, event
from pinxit.catalog.catalog import Catalog
from pinxit.errors import ContentPolicyViolation, InvalidRequest, InvalidValue, ModelNotFound, PinxitError, RateLimited
from pinxit.generations.generation import Generation
from pinxit.generations.live import Preview
from pinxit.generations.service import Order
from pinxit.library.image import Image

TOOL = "image_generation"
CHAT_MODEL = re.compile(r"gpt-[0-9].*|chatgpt-.*|o[0-9].*|codex-.*", re.ASCII)
"""Names of OpenAI's chat models: who asks one of them for a picture means the default model here."""

_KNOWN = frozenset(
    [
        "background",
        "conversation",
        "input",
        "metadata",
        "model",
        "previous_response_id",
        "prompt",
        "safety_identifier",
        "store",
        "stream",
        "tool_choice",
        "tools",
        "user",
    ]
)
IGNORED = frozenset(
    [
        "include",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "moderation",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "service_tier",
        "stream_options",
        "temperature",
        "text",
        "top_logprobs",
        "top_p",
        "truncation",
        "verbosity",
    ]
)
"""What speaks to a chat model, of which there is none."""
_TOOL_PASSED = (
    "size",
    "quality",
    "background",
    "moderation",
    "output_format",
    "output_compression",
    "partial_images",
    "n",
    "seed",
    "negative_prompt",
    "num_inference_steps",
    "guidance_scale",
    "strength",
    "style",
)
"""Fields of the tool that mean what they mean in POST /v1/images/generations; those from `n` on are our own."""
_TOOL_KNOWN = frozenset(["type", "action", "model", "input_image_mask", *_TOOL_PASSED])
_TOOL_IGNORED = frozenset(["complexity", "input_fidelity"])
_TOOL_REFUSED = ("frame_count", "frame_duration_ms", "svg")
MAX_METADATA = 16
MAX_CHOICE_BYTES = 4096
"""What is repeated in the answer is not to be as large as a body can be."""
_ACTIONS = ("auto", "generate", "edit")
_ROLES = ("user", "assistant", "system", "developer")
_SILENT_ITEMS = re.compile(r"[a-z_]*(call|output|reasoning|compaction|list_tools|approval_request|approval_response)")
"""Types of items that a chat model would remember and that say nothing about a picture."""


class ResponsesEndpoint(AdapterEndpoint):
    """The plain ASGI callable behind POST /v1/responses."""

    def translate(self, body: dict[str, Any]) -> Translated:
        ignored = split_fields(body, known=_KNOWN, ignored=IGNORED)
        fields = Fields(body)
        _refuse_what_needs_a_memory(fields)
        place, tool = _tool(fields, ignored)
        wish = read_wish(_turns(body, fields), param="input")
        action = tool.choice("action", _ACTIONS) or "auto"
        pictures = () if action == "generate" else wish.pictures
        if action == "edit" and not pictures:
            raise InvalidRequest("action is edit, and input has no picture to begin from.", param="input")
        is_stream = bool(fields.boolean("stream"))
        order, named = _order(body, tool, place, self._services.catalog)
        if "partial_images" in order and not is_stream:
            del order["partial_images"]
            ignored.append(f"tools[{place}].partial_images")
        mask = tool.object("input_image_mask")
        if mask is not None and not pictures:
            raise InvalidRequest("A mask needs a picture.", param=f"tools[{place}].input_image_mask")
        return Translated(
            {**order, "prompt": wish.prompt, "response_format": "b64_json", "stream": is_stream},
            mask=None if mask is None else source_of(f"tools[{place}].input_image_mask", mask),
            earlier=tuple(pictures),
            names={**named, "prompt": "input", "image": wish.param, "mask": f"tools[{place}].input_image_mask"},
            ignored=(*ignored, *wish.ignored),
            facts={**_echo(fields, tool), "action": "edit" if pictures else "generate"},
        )

    def _render(self, generation: Generation, parsed: ParsedRequest, scope: Scope) -> list[bytes]:
        assert isinstance(parsed, ParsedAdapted)
        answer = _Answer(generation, parsed)
        return answer.completed({image.position: image.data or b"" for image in generation.images}, generation)

    def _stream_of(
        self, order: Order, opened: Generation, parsed: ParsedRequest, previews: Previews, scope: Scope
    ) -> OrderStream:
        assert isinstance(parsed, ParsedAdapted)
        return ResponseStream(self._services, order, opened, parsed, previews, request_id=scope[REQUEST_ID])


# --- reading --------------------------------------------------------------------------------------------------------


def _refuse_what_needs_a_memory(fields: Fields) -> None:
    if fields.boolean("background"):
        raise InvalidValue(
            "There are no background responses here: POST /v1/images/generations with async: true is for later.",
            param="background",
        )
    for name, reason in (
        ("conversation", "There are no conversations here: send previous_response_id or the whole input."),
        ("prompt", "There are no prompt templates here: send input."),
    ):
        if fields.is_set(name):
            raise InvalidValue(reason, param=name)


def _tool(fields: Fields, ignored: list[str]) -> tuple[int, Fields]:
    """The image tool and its place among the tools; the others are put into `ignored`."""
    tools = list_of_objects(fields, "tools")
    places = [place for place, tool in enumerate(tools) if tool.get("type") == TOOL]
    if not places:
        raise InvalidRequest('This server only paints: tools must have {"type": "image_generation"}.', param="tools")
    if len(places) > 1:
        raise InvalidRequest("tools has image_generation twice.", param=f"tools[{places[1]}]")
    _check_tool_choice(fields)
    ignored += [f"tools[{place}]" for place in range(len(tools)) if place != places[0]]
    prefix = f"tools[{places[0]}]."
    tool = tools[places[0]]
    for name in _TOOL_REFUSED:
        if tool.get(name) is not None:
            raise InvalidValue("No model here paints GIF or SVG.", param=prefix + name)
    ignored += split_fields(tool, known=_TOOL_KNOWN, ignored=_TOOL_IGNORED, prefix=prefix)
    read = Fields(tool, prefix=prefix)
    if tool.get("output_format") is not None and tool["output_format"] not in ENCODINGS:
        raise InvalidValue("No model here paints that.", param=f"{prefix}output_format", allowed=ENCODINGS)
    return places[0], read


def _check_tool_choice(fields: Fields) -> None:
    """Raises InvalidValue if another tool, or none, has to be used."""
    if not fields.is_set("tool_choice"):
        return
    choice = fields.value("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        allowed = choice.get("tools")
        is_ours = isinstance(allowed, list) and {"type": TOOL} in allowed
    elif isinstance(choice, dict):
        is_ours = choice.get("type") == TOOL
    else:
        is_ours = choice in ("auto", "required")
    if not is_ours or len(compact(choice)) > MAX_CHOICE_BYTES:
        raise InvalidValue("This server only paints: tool_choice must allow image_generation.", param="tool_choice")


def _order(
    body: Mapping[str, Any], tool: Fields, place: int, catalog: Catalog
) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields of an image order, and what they are called here."""
    order = {name: tool.value(name) for name in _TOOL_PASSED if tool.is_set(name)}
    names = {name: f"tools[{place}].{name}" for name in _TOOL_PASSED}
    for name in ("store", "user", "safety_identifier"):
        if body.get(name) is not None:
            order[name] = body[name]
    if tool.is_set("model"):
        return {**order, "model": tool.value("model")}, {**names, "model": f"tools[{place}].model"}
    named = Fields(body).text("model", max_characters=MAX_NAME_CHARACTERS)
    return {**order, "model": _painter(named, catalog)}, names


def _painter(named: str | None, catalog: Catalog) -> str:
    """The model that paints for the chat model that was named."""
    if named is None:
        return catalog.default_name
    try:
        catalog.resolve(named)
    except ModelNotFound:
        if CHAT_MODEL.fullmatch(named) is None:
            raise ModelNotFound(param="model") from None
        return catalog.default_name
    return named


def _echo(fields: Fields, tool: Fields) -> dict[str, Any]:
    """What the answer repeats of the request."""
    shown = {name: tool.value(name) for name in sorted(_TOOL_KNOWN - {"input_image_mask"}) if tool.is_set(name)}
    return {
        "model": fields.text("model", max_characters=MAX_NAME_CHARACTERS),
        "metadata": _metadata(fields),
        "previous_response_id": fields.text("previous_response_id", max_characters=MAX_NAME_CHARACTERS),
        "tool_choice": fields.value("tool_choice") if fields.is_set("tool_choice") else "auto",
        "tools": [shown],
    }


def _metadata(fields: Fields) -> dict[str, str]:
    """Within OpenAI's limits. Raises InvalidValue."""
    metadata = fields.object("metadata") or {}
    if len(metadata) > MAX_METADATA:
        raise InvalidValue(f"metadata has more than {MAX_METADATA} entries.", param="metadata")
    for name, value in metadata.items():
        if not isinstance(value, str) or len(name) > 64 or len(value) > 512:
            raise InvalidValue("metadata is texts of up to 512 characters under names of up to 64.", param="metadata")
    return metadata


def _turns(body: Mapping[str, Any], fields: Fields) -> list[Turn]:
    turns = []
    previous = fields.text("previous_response_id", max_characters=MAX_NAME_CHARACTERS)
    if previous is not None:
        kept = find_kept(previous, "previous_response_id")
        if kept is None:
            raise InvalidRequest("previous_response_id is no id of ours.", param="previous_response_id")
        turns.append(Turn("previous_response_id", "assistant", pictures=[kept]))
    if isinstance(body.get("input"), str):
        return [*turns, Turn("input", "user", [body["input"]])]
    if not fields.is_set("input"):
        raise InvalidRequest("input is missing: say what to paint.", param="input")
    return [*turns, *(_turn(item, f"input[{place}]") for place, item in enumerate(list_of_objects(fields, "input")))]


def _turn(item: Mapping[str, Any], param: str) -> Turn:
    type_ = "message" if item.get("type") is None else item["type"]
    if type_ == "message":
        return _message(item, param)
    if type_ in ("image_generation_call", "item_reference"):
        return Turn(param, "assistant", pictures=_painted(item, param))
    if isinstance(type_, str) and _SILENT_ITEMS.fullmatch(type_):
        return Turn(param, "assistant", ["…"])
    raise InvalidValue(f"{param} is of a type that cannot be painted from.", param=f"{param}.type")


def _painted(item: Mapping[str, Any], param: str) -> list[Source | Kept]:
    """The picture of an earlier call: itself, or by its id."""
    if isinstance(item.get("result"), str) and item["result"]:
        return [Source(f"{param}.result", f"data:image/png;base64,{item['result']}")]
    id_ = Fields(item, prefix=f"{param}.").text("id", max_characters=MAX_NAME_CHARACTERS) or ""
    kept = find_kept(id_, f"{param}.id")
    if kept is None and item.get("type") == "image_generation_call":
        raise InvalidRequest(f"{param} has neither a result nor an id of ours.", param=f"{param}.id")
    return [] if kept is None else [kept]


def _message(item: Mapping[str, Any], param: str) -> Turn:
    fields = Fields(item, prefix=f"{param}.")
    role = fields.choice("role", _ROLES)
    if role is None:
        raise InvalidRequest(f"{param}.role is missing.", param=f"{param}.role")
    turn = Turn(param, role)
    if isinstance(item.get("content"), str):
        turn.texts.append(item["content"])
        return turn
    for place, part in enumerate(list_of_objects(fields, "content", prefix=f"{param}.")):
        _read_part(turn, part, f"{param}.content[{place}]")
    return turn


def _read_part(turn: Turn, part: Mapping[str, Any], param: str) -> None:
    match part.get("type"):
        case "input_text" | "output_text" | "text" | "refusal":
            text = part.get("text", part.get("refusal"))
            if not isinstance(text, str):
                raise InvalidRequest(f"{param}.text must be a string.", param=f"{param}.text")
            turn.texts += [text] if text else []
        case "input_image":
            turn.pictures.append(source_of(param, dict(part)))
        case _:
            raise InvalidValue(
                f"{param} is of a type that cannot be painted from.",
                param=f"{param}.type",
                allowed=["input_text", "input_image"],
            )


# --- answering ------------------------------------------------------------------------------------------------------


class _Answer:
    """The response object of one order, at its begin and at its end."""

    def __init__(self, opened: Generation, parsed: ParsedAdapted) -> None:
        self._parsed = parsed
        self._opened = opened
        self.id = answer_id("resp", opened.id)
        self.message_id = answer_id("msg", opened.id)
        self.count = int(opened.parameters["n"])
        """How many pictures were asked for; those that could not be painted have their place too."""
        kept = opened.parameters
        self.settings = {name: kept[name] for name in ("size", "quality", "background", "output_format")}

    def call_id(self, position: int) -> str:
        return call_id(self._opened.id, position)

    def item(self, position: int, status: str, data: bytes | None = None) -> list[bytes]:
        """One call of the image tool."""
        facts = {"id": self.call_id(position), "type": "image_generation_call", "status": status}
        if status == "completed":
            facts |= {"action": self._parsed.facts["action"], **self.settings, "revised_prompt": self._opened.prompt}
        return with_member(facts, "result", [b"null"] if data is None else base64_text(data))

    def message(self, *, is_begun: bool = False) -> dict[str, Any]:
        """The words beside the pictures, of which there are none."""
        status, content = ("in_progress", []) if is_begun else ("completed", [EMPTY_TEXT])
        return {
            "id": self.message_id,
            "type": "message",
            "status": status,
            "role": "assistant",
            "content": content,
        }

    def begun(self) -> list[bytes]:
        return with_member({**self._frame("in_progress"), "usage": None}, "output", [b"[]"])

    def failed(self, error: Mapping[str, Any]) -> list[bytes]:
        return with_member({**self._frame("failed", error), "usage": None}, "output", [b"[]"])

    def completed(self, data: Mapping[int, bytes], generation: Generation) -> list[bytes]:
        """`data`: position → picture."""
        items = [
            self.item(position, "completed" if position in data else "failed", data.get(position))
            for position in range(self.count)
        ]
        frame = self._frame("completed") | {"completed_at": _unix(generation), "usage": _usage(generation)}
        return with_member(frame, "output", joined([*items, [compact(self.message())]]))

    def _frame(self, status: str, error: Mapping[str, Any] | None = None) -> dict[str, Any]:
        facts = self._parsed.facts
        return {
            "id": self.id,
            "object": "response",
            "created_at": int(self._opened.created_at.timestamp()),
            "completed_at": None,
            "status": status,
            "background": False,
            "error": error,
            "incomplete_details": None,
            "instructions": None,
            "max_output_tokens": None,
            "max_tool_calls": None,
            "metadata": facts["metadata"],
            "model": facts["model"] or self._opened.model,
            "parallel_tool_calls": False,
            "previous_response_id": facts["previous_response_id"],
            "reasoning": {"effort": None, "summary": None},
            "service_tier": "default",
            "store": self._parsed.request.store,
            "temperature": None,
            "text": {"format": {"type": "text"}},
            "tool_choice": facts["tool_choice"],
            "tools": facts["tools"],
            "top_p": None,
            "truncation": "disabled",
        }


EMPTY_TEXT = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}


def _unix(generation: Generation) -> int:
    return int((generation.finished_at or generation.created_at).timestamp())


def _usage(generation: Generation) -> dict[str, Any]:
    return {
        "input_tokens": generation.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": generation.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": generation.input_tokens + generation.output_tokens,
    }


class ResponseStream(OrderStream):
    """The events of a response (https://platform.openai.com/docs/api-reference/responses-streaming)."""

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
        self._answer = _Answer(opened, parsed)
        self._numbers = count()

    def _begun(self) -> Sequence[bytes]:
        answer = self._answer
        events = [
            self._event(f"response.{what}", {}, "response", answer.begun()) for what in ("created", "in_progress")
        ]
        for position in range(answer.count):
            events += [
                self._event(
                    "response.output_item.added",
                    {"output_index": position},
                    "item",
                    answer.item(position, "in_progress"),
                ),
                self._call_event("in_progress", position),
                self._call_event("generating", position),
            ]
        return events

    async def _partial(self, preview: Preview) -> bytes:
        place = {"output_index": preview.index, "item_id": self._answer.call_id(preview.index)}
        return self._event(
            "response.image_generation_call.partial_image",
            {**place, "partial_image_index": preview.number, **self._common},
            "partial_image_b64",
            base64_text(await self._encoded(preview)),
        )

    async def _ended(self, generation: Generation) -> AsyncGenerator[bytes, None]:
        answer = self._answer
        images = {image.position: image for image in generation.images}
        pictures: dict[int, bytes] = {}
        for position in range(answer.count):
            yield await self._done(position, images.get(position), pictures)
        for said in self._message_events():
            yield said
        yield self._event("response.completed", {}, "response", answer.completed(pictures, generation))

    async def _done(self, position: int, image: Image | None, pictures: dict[int, bytes]) -> bytes:
        place = {"output_index": position}
        if image is None:
            return self._event("response.output_item.done", place, "item", self._answer.item(position, "failed"))
        pictures[position] = await self._data(image)
        item = self._answer.item(position, "completed", pictures[position])
        completed = self._call_event("completed", position)
        return completed + self._event("response.output_item.done", place, "item", item)

    def _message_events(self) -> list[bytes]:
        answer = self._answer
        item = {"output_index": answer.count}
        part = {**item, "item_id": answer.message_id, "content_index": 0}
        return [
            self._event("response.output_item.added", item, "item", [compact(answer.message(is_begun=True))]),
            self._event("response.content_part.added", part, "part", [compact(EMPTY_TEXT)]),
            self._event("response.output_text.done", {**part, "logprobs": []}, "text", [b'""']),
            self._event("response.content_part.done", part, "part", [compact(EMPTY_TEXT)]),
            self._event("response.output_item.done", item, "item", [compact(answer.message())]),
        ]

    def _failed(self, error: PinxitError) -> Sequence[bytes]:
        """Two events, as OpenAI sends them: `error`, which its clients raise, and the response as it ended."""
        said = error_object(render_error(error, request_id=self._request_id).body)
        flat = {"code": _code(error), "message": said["message"], "param": said["param"] or None}
        told = {"code": _code(error), "message": said["message"]}
        return [
            self._event("error", flat, "error", [compact(said)]),
            self._event("response.failed", {}, "response", self._answer.failed(told)),
        ]

    def _call_event(self, what: str, position: int) -> bytes:
        facts = {"output_index": position, "item_id": self._answer.call_id(position)}
        return self._event(f"response.image_generation_call.{what}", facts)

    def _event(self, name: str, facts: Mapping[str, Any], member: str = "", parts: Sequence[bytes] = ()) -> bytes:
        """`member`: the one whose value is written already."""
        data = {"type": name, "sequence_number": next(self._numbers), **facts}
        return event(name, b"".join(with_member(data, member, parts)) if member else compact(data))


def _code(error: PinxitError) -> str:
    """One of the codes that openai's `ResponseError` has."""
    if isinstance(error, ContentPolicyViolation):
        return "image_content_policy_violation"
    return "rate_limit_exceeded" if isinstance(error, RateLimited) else "server_error"
