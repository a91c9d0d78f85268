"""POST /v1/images/generations: both wire dialects become one ImageRequest, and one Generation becomes the answer.

A plain ASGI callable: this is the hot route, and pictures in base64 are joined as bytes, never through a JSON
serializer.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import pybase64
from starlette.types import Receive, Scope, Send

from pinxit.api.auth import authenticate
from pinxit.api.body import read_json_object
from pinxit.api.context import ANSWER_HEADERS, REQUEST_ID, Services, base_url, header, headers
from pinxit.api.familiarity import NAME as FAMILIARITY
from pinxit.api.familiarity import header_value
from pinxit.api.fields import Fields
from pinxit.api.guard import LOST_ANSWER
from pinxit.api.manner import Manner
from pinxit.api.manner import parse as parse_manner
from pinxit.api.rations import rate_headers
from pinxit.api.request_schema import (
    DELIVERIES,
    ENCODINGS,
    INVISIBLE,
    MAX_GUIDANCE,
    MAX_N,
    MAX_NAME_CHARACTERS,
    MAX_STEPS,
    Terms,
)
from pinxit.api.routing import fallback_models_of, routing_of
from pinxit.api.streaming import ImageStream, OrderStream, Previews
from pinxit.backends.interface import MAX_SEED
from pinxit.catalog.entry import CheckedOrder
from pinxit.errors import InvalidRequest, InvalidValue
from pinxit.generations.generation import Generation
from pinxit.generations.repeat import Repeat, check_key
from pinxit.generations.service import Order
from pinxit.ids import GENERATION_ID
from pinxit.images.decoding import InputPixels
from pinxit.images.request import Delivery, Encoding, ImageRequest
from pinxit.keys.model import ApiKey, Caller
from pinxit.keys.model import Scope as KeyScope
from pinxit.library.image import Image
from pinxit.settings import Settings

T = TypeVar("T")
Buffer = bytes | memoryview

KNOWN = frozenset(
    [
        "model",
        "prompt",
        "n",
        "output_format",
        "response_format",
        "size",
        "quality",
        "background",
        "output_compression",
        "moderation",
        "stream",
        "partial_images",
        "store",
        "dry_run",
        "async",
        "deadline_seconds",
        "style",
        "user",
        "safety_identifier",
        "seed",
        "negative_prompt",
        "num_inference_steps",
        "steps",
        "guidance_scale",
        "strength",
        "loras",
        "provider",
        "fallback_models",
        "usage",
    ]
)
DANGEROUS = frozenset(
    [
        "api_base",
        "base_url",
        "api_key",
        "api_version",
        "api_type",
        "headers",
        "extra_headers",
        "extra_body",
        "extra_query",
        "organization",
        "custom_llm_provider",
        "url_idx",
        "proxy",
        "proxies",
        "credentials",
    ]
)
"""Names that could redirect a request or reveal a credential: refused, never passed on."""
FOREIGN = frozenset(
    [
        "aspect_ratio",
        "batch_size",
        "cfg_scale",
        "clip_skip",
        "enable_hr",
        "enable_safety_checker",
        "extra",
        "height",
        "image_size",
        "input_fidelity",
        "logprobs",
        "metadata",
        "num_images",
        "num_outputs",
        "output_quality",
        "project",
        "prompt_extend",
        "prompt_upsampling",
        "resolution",
        "safety_tolerance",
        "sampler",
        "sampler_index",
        "sampler_name",
        "scheduler",
        "sequential_image_generation",
        "session_id",
        "style_preset",
        "sync_mode",
        "tags",
        "timeout",
        "watermark",
        "width",
    ]
)
"""Well-known names of other image APIs: without effect here, and listed in `x-pinxit-ignored`."""

JSON = (b"content-type", b"application/json")
FEW_BYTES = 128 * 1024
_VISIBLE = re.compile(f"[^{INVISIBLE}]")


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A body understood. `ignored`: what was sent and has no effect here."""

    request: ImageRequest
    manner: Manner
    ignored: tuple[str, ...]


def parse(
    body: Mapping[str, Any],
    settings: Settings,
    key: ApiKey | None,
    prefer: Sequence[str] = (),
    *,
    default_model: str,
    has_prompt: bool = True,
) -> ParsedRequest:
    """`default_model`: what is asked for if none is named; `has_prompt`: whether there must be one.

    Raises InvalidRequest or InvalidValue, naming the parameter.
    """
    ignored = _unknown_fields(body, strict=key is not None and key.options.strict)
    fields = Fields(body)
    delivery, encoding = _delivery_and_encoding(fields, settings, key)
    style = fields.text("style", max_characters=MAX_NAME_CHARACTERS)
    request = ImageRequest(
        model=_or(fields.text("model", max_characters=2**20), default_model),
        prompt=_prompt(fields, settings) if has_prompt else _no_prompt(fields),
        n=_or(fields.integer("n", 1, MAX_N, outside=InvalidRequest), 1),
        delivery=delivery,
        encoding=encoding,
        compression=_compression(fields, encoding),
        size=_or(fields.text("size", max_characters=MAX_NAME_CHARACTERS), "auto"),
        quality=_or(fields.text("quality", max_characters=MAX_NAME_CHARACTERS), "auto"),
        background=_or(fields.choice("background", ("auto", "transparent", "opaque")), "auto"),
        moderation=_or(fields.choice("moderation", ("auto", "low")), "auto"),
        style=style,
        seed=fields.integer("seed", 0, MAX_SEED),
        negative_prompt=fields.text("negative_prompt", max_characters=settings.max_prompt_characters),
        num_inference_steps=_steps(fields),
        guidance_scale=fields.number("guidance_scale", 0, MAX_GUIDANCE),
        strength=fields.number("strength", 0, 1),
        loras=tuple(str(lora) for lora in fields.array("loras") or ()),
        store=_or(fields.boolean("store"), True),
        include_cost=_include_cost(fields),
        end_user=_end_user(fields),
        routing=routing_of(fields),
        fallback_models=fallback_models_of(fields),
    )
    if not request.store and request.delivery.has_url:
        raise InvalidValue("A picture that is not stored has no URL: ask for b64_json.", param="store")
    return ParsedRequest(request, parse_manner(fields, prefer), tuple(ignored))


def terms(settings: Settings, key: ApiKey | None) -> Terms:
    """What `parse` decides by, as the schemas of requests want it."""
    return Terms(
        max_prompt_characters=settings.max_prompt_characters,
        default_delivery=(key and key.options.default_delivery) or settings.default_delivery,
        fetches_pictures=settings.fetch_image_urls,
        ignored=() if key is not None and key.options.strict else sorted(FOREIGN),
    )


def _or(value: T | None, default: T) -> T:
    return default if value is None else value


def _unknown_fields(body: Mapping[str, Any], *, strict: bool) -> list[str]:
    ignored = []
    for name in body:
        if name in KNOWN:
            continue
        if name in DANGEROUS:
            raise InvalidRequest("This field is not accepted from a request.", param=name)
        if strict or name not in FOREIGN:
            shown = name.encode("ascii", "replace").decode()[:64]
            raise InvalidRequest(f"There is no parameter {shown!r}.", param=shown)
        ignored.append(name)
    return ignored


def _prompt(fields: Fields, settings: Settings) -> str:
    if not fields.is_set("prompt"):
        raise InvalidRequest("prompt is missing: say what to paint.", param="prompt")
    prompt = fields.text("prompt", max_characters=settings.max_prompt_characters, outside=InvalidRequest)
    assert prompt is not None
    if _VISIBLE.search(prompt) is None:
        raise InvalidRequest("prompt is empty: say what to paint.", param="prompt")
    return prompt


def _no_prompt(fields: Fields) -> str:
    if fields.is_set("prompt"):
        raise InvalidRequest("There is no prompt here; /v1/images/edits takes one.", param="prompt")
    return ""


def _delivery_and_encoding(fields: Fields, settings: Settings, key: ApiKey | None) -> tuple[Delivery, Encoding]:
    """`output_format` serves both dialects: its two sets of values are disjoint."""
    output_format = fields.choice("output_format", DELIVERIES + ENCODINGS)
    asked = fields.choice("response_format", DELIVERIES)
    encoding = Encoding(output_format) if output_format in ENCODINGS else Encoding.PNG
    if output_format in DELIVERIES:
        if asked is not None and asked != output_format:
            raise InvalidValue(
                f"response_format={asked} contradicts output_format={output_format}: send one of them.",
                param="response_format",
            )
        asked = output_format
    if asked is not None:
        return Delivery(asked), encoding
    own = key.options.default_delivery if key else None
    return own or settings.default_delivery, encoding


def _compression(fields: Fields, encoding: Encoding) -> int | None:
    compression = fields.integer("output_compression", 0, 100)
    if compression is not None and encoding is Encoding.PNG:
        raise InvalidValue("output_compression needs output_format jpeg or webp.", param="output_compression")
    return compression


def _steps(fields: Fields) -> int | None:
    steps = fields.integer("num_inference_steps", 1, MAX_STEPS)
    alias = fields.integer("steps", 1, MAX_STEPS)
    if steps is not None and alias is not None:
        raise InvalidValue("steps and num_inference_steps mean the same: send one of them.", param="steps")
    return alias if steps is None else steps


def _end_user(fields: Fields) -> str | None:
    """OpenAI's `safety_identifier`, before it `user`: only its hash is kept."""
    user = fields.text("user", max_characters=MAX_NAME_CHARACTERS)
    identifier = fields.text("safety_identifier", max_characters=MAX_NAME_CHARACTERS) or user
    return hashlib.sha256(identifier.encode()).hexdigest() if identifier else None


def _include_cost(fields: Fields) -> bool:
    include = (fields.object("usage") or {}).get("include")
    if include is not None and not isinstance(include, bool):
        raise InvalidRequest("usage.include must be true or false.", param="usage.include")
    return bool(include)


class GenerationsEndpoint:
    """The plain ASGI callable behind POST /v1/images/generations."""

    kind = "image_generation"
    """How the events of a stream begin."""
    takes_basic = False
    """Whether the API key may come as a password."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = await self._admit(scope)
        settings = self._services.settings
        body = await read_json_object(
            scope, receive, max_bytes=settings.max_body_bytes, budget=self._services.byte_budget
        )
        parsed = parse(
            body,
            settings,
            caller.key,
            headers(scope, b"prefer"),
            default_model=self._services.catalog.default_name,
        )
        await self._carry_out(scope, receive, send, caller, parsed)

    async def _admit(self, scope: Scope) -> Caller:
        """The caller, who may order pictures. Raises AuthenticationFailed, PermissionDenied."""
        services = self._services
        caller = await authenticate(scope, services.keys, takes_basic=self.takes_basic)
        caller.require(KeyScope.IMAGES_WRITE)
        scope[ANSWER_HEADERS] = lambda: rate_headers(services.generations.standings(caller))
        return caller

    async def _carry_out(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        caller: Caller,
        parsed: ParsedRequest,
        pictures: InputPixels | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Answer the order, in the manner that was asked for. `on_end` is called once nothing more is done for it."""
        services = self._services
        generation_id = _proposed_generation_id(scope)
        if parsed.manner.is_dry_run:
            on_end()
            offers = services.generations.offers(caller, parsed.request, parsed.manner.partial_images)
            await send_parts(send, [_estimate(offers)], [JSON])
            return
        previews: Previews = asyncio.Queue()
        order = await services.generations.begin(
            caller,
            parsed.request,
            request_id=scope[REQUEST_ID],
            generation_id=generation_id,
            repeat=_repeat(scope),
            deadline_seconds=parsed.manner.deadline_seconds,
            previews=parsed.manner.partial_images,
            pictures=pictures,
            on_preview=previews.put_nowait,
        )
        order.when_ended(on_end)
        if parsed.manner.is_stream:
            await self._stream(scope, receive, send, order, parsed, previews)
            return
        try:
            generation = await _answer_unless_gone(order, receive, parsed.manner.wait_seconds)
        except _NotYet:
            await self._send_accepted(scope, send, order, parsed)
            return
        if generation is None:
            return
        scope.get(LOST_ANSWER, []).append(order.lost)
        if _is_large(generation, parsed.request):
            parts = await asyncio.to_thread(self._render, generation, parsed, scope)
        else:
            parts = self._render(generation, parsed, scope)
        found = [*_answer_headers(generation, _ignored(parsed, generation)), *_familiarity_headers(generation)]
        await send_parts(send, parts, found)

    def _render(self, generation: Generation, parsed: ParsedRequest, scope: Scope) -> Sequence[Buffer]:
        """The body of the answer in parts to be joined."""
        return render(generation, parsed.request, self._services, base_url(scope, self._services.settings))

    def _stream_of(
        self, order: Order, opened: Generation, parsed: ParsedRequest, previews: Previews, scope: Scope
    ) -> OrderStream:
        return ImageStream(
            self._services,
            order,
            opened,
            parsed.request,
            previews,
            request_id=scope[REQUEST_ID],
            base=base_url(scope, self._services.settings),
            kind=self.kind,
        )

    async def _stream(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        order: Order,
        parsed: ParsedRequest,
        previews: Previews,
    ) -> None:
        """Events until the order ends. A client that hangs up wants no more."""
        opened = await order.seen()
        stream = self._stream_of(order, opened, parsed, previews, scope)
        headers = [found for found in _answer_headers(opened, _ignored(parsed, opened)) if found != JSON]
        sending = asyncio.ensure_future(stream.send(send, headers))
        gone = asyncio.ensure_future(_until_disconnected(receive))
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        finally:
            is_cut = not sending.done()
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)
            if is_cut:
                await order.leave()

    async def _send_accepted(self, scope: Scope, send: Send, order: Order, parsed: ParsedRequest) -> None:
        """202: the order is in the database and is painted meanwhile."""
        generation = await order.seen()
        url = f"{base_url(scope, self._services.settings)}/v1/generations/{generation.id}"
        content = {
            "id": generation.id,
            "object": "generation",
            "status": generation.status.value,
            "created": int(generation.created_at.timestamp()),
            "urls": {"get": url, "cancel": url, "events": url},
        }
        found = [*_answer_headers(generation, _ignored(parsed, generation)), (b"location", url.encode())]
        if parsed.manner.applied:
            found.append((b"preference-applied", parsed.manner.applied.encode()))
        await send_parts(send, [json.dumps(content, separators=(",", ":")).encode()], found, status=202)


def _estimate(offers: Sequence[CheckedOrder]) -> bytes:
    """The answer to a dry run: what would be painted, by whom, and for how much; and who would be asked after that."""
    order = offers[0]
    content = {
        "object": "generation.estimate",
        "model": order.entry.id,
        "backend": order.entry.backend,
        "n": order.request.n,
        "size": str(order.paint.size),
        "quality": order.quality,
        "cost": order.price_micros / 1_000_000,
        "cost_details": {"cost_micros": order.price_micros, "images": order.request.n},
        "route": [
            {"backend": offer.entry.painter, "model": offer.entry.id, "cost": offer.price_micros / 1_000_000}
            for offer in offers
        ],
    }
    return json.dumps(content, separators=(",", ":")).encode()


def _proposed_generation_id(scope: Scope) -> str | None:
    """A client that wants to follow its order names it beforehand: `x-pinxit-generation: gen_<32 hex digits>`."""
    proposed = header(scope, b"x-pinxit-generation")
    if proposed is not None and GENERATION_ID.fullmatch(proposed) is None:
        raise InvalidRequest(
            "x-pinxit-generation must be gen_ and 32 lower-case hex digits.", param="x-pinxit-generation"
        )
    return proposed


def _repeat(scope: Scope) -> Repeat:
    """The Idempotency-Key, or what OpenAI's clients say of their retries: `x-stainless-retry-count`."""
    keys = set(headers(scope, b"idempotency-key"))
    if len(keys) > 1:
        raise InvalidRequest("Two different Idempotency-Keys were sent.", param="Idempotency-Key")
    count = header(scope, b"x-stainless-retry-count") or ""
    is_retry = count.isascii() and count.isdigit() and int(count[:9]) > 0
    return Repeat(check_key(keys.pop()) if keys else None, is_retry)


class _NotYet(Exception):
    """The order has not ended in the time that its client waits."""


async def _answer_unless_gone(order: Order, receive: Receive, wait_seconds: float | None) -> Generation | None:
    """The answer, or None when the client hung up before it; then the order is left for its retry. Raises _NotYet."""
    gone = asyncio.ensure_future(_until_disconnected(receive))
    try:
        if wait_seconds is not None:
            await order.opened()
        has_ended = await order.wait(gone, wait_seconds)
        if gone.done():
            await order.abandon()
            return None
        if not has_ended:
            raise _NotYet
        return await order.answer()
    except asyncio.CancelledError:  # the server hangs up on the client
        await order.abandon()
        raise
    finally:
        gone.cancel()


async def _until_disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _ignored(parsed: ParsedRequest, generation: Generation) -> list[str]:
    ignored = list(parsed.ignored)
    if parsed.request.style is not None and generation.parameters["style"] is None:
        ignored.append("style")
    return ignored


def render(generation: Generation, request: ImageRequest, services: Services, base: str) -> list[Buffer]:
    """The body of the answer in parts to be joined: the seed's keys, OpenAI's further ones, base64 as bytes."""
    parts: list[Buffer] = [b'{"created":%d,"data":[' % int(generation.created_at.timestamp())]
    for number, image in enumerate(generation.images):
        revised = generation.parameters.get("revised_prompts", {}).get(str(image.position), "")
        parts += _datum(image, revised, request.delivery, services, base, first=number == 0)
    tail = {
        "background": generation.parameters["background"],
        "output_format": generation.parameters["output_format"],
        "quality": generation.parameters["quality"],
        "size": generation.parameters["size"],
        "usage": _usage(generation, request),
    }
    parts.append(b"]," + json.dumps(tail, separators=(",", ":")).encode()[1:])
    return parts


def base64_of(image: Image) -> Buffer:
    """The bytes of a new picture in base64; none of one whose bytes are not at hand."""
    if image.base64 is not None:
        return image.base64
    return b"" if image.data is None else pybase64.b64encode(image.data)


def _is_large(generation: Generation, request: ImageRequest) -> bool:
    """Whether the base64 of its pictures takes longer than another thread does to wake up."""
    to_encode = sum(image.size_bytes for image in generation.images if image.base64 is None)
    return request.delivery.has_b64 and to_encode > FEW_BYTES


def _datum(
    image: Image, revised_prompt: str, delivery: Delivery, services: Services, base: str, *, first: bool
) -> list[Buffer]:
    url = base + services.library.urls.path(image) if delivery.has_url else ""
    rest = {"revised_prompt": revised_prompt, "id": image.id, "seed": image.seed}
    return [
        b"" if first else b",",
        b'{"url":%s,"b64_json":"' % json.dumps(url).encode(),
        base64_of(image) if delivery.has_b64 else b"",
        b'",' + json.dumps(rest, separators=(",", ":")).encode()[1:],
    ]


def _usage(generation: Generation, request: ImageRequest) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "input_tokens": generation.input_tokens,
        "output_tokens": generation.output_tokens,
        "total_tokens": generation.input_tokens + generation.output_tokens,
        "input_tokens_details": {"text_tokens": generation.input_tokens, "image_tokens": 0},
    }
    if request.include_cost:
        usage["cost"] = generation.cost_micros / 1_000_000
        usage["cost_details"] = {"cost_micros": generation.cost_micros, "images": len(generation.images)}
    return usage


def _answer_headers(generation: Generation, ignored: list[str]) -> list[tuple[bytes, bytes]]:
    found = [
        JSON,
        (b"x-pinxit-generation", generation.id.encode()),
        (b"x-pinxit-model", generation.model.encode()),
    ]
    if "backend" in generation.parameters:
        found.append((b"x-pinxit-backend", str(generation.parameters["backend"]).encode()))
    if generation.is_replay:
        found.append((b"idempotent-replayed", b"true"))
    if ignored:
        found.append((b"x-pinxit-ignored", ", ".join(ignored).encode()))
    return found


def _familiarity_headers(generation: Generation) -> list[tuple[bytes, bytes]]:
    """Of an order that has ended; only if its prompt is far from what its model knows."""
    return [] if generation.far is None else [(FAMILIARITY.encode(), header_value(generation.far))]


async def send_parts(
    send: Send, parts: Sequence[Buffer], headers: list[tuple[bytes, bytes]], *, status: int = 200
) -> None:
    length = str(sum(len(part) for part in parts)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", length)]})
    *first, last = _joined(parts)
    for part in first:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": last, "more_body": False})


def _joined(parts: Sequence[Buffer]) -> list[Buffer]:
    """The parts with small neighbours joined, at least one: each one sent costs more than it does to copy few bytes."""
    found: list[Buffer] = []
    few: list[Buffer] = []
    for part in parts:
        if len(part) <= FEW_BYTES:
            few.append(part)
        else:
            found += [b"".join(few), part] if few else [part]
            few = []
    return [*found, b"".join(few)] if few or not found else found
