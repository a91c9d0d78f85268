"""POST /v1/images/edits and /v1/images/variations: pictures from pictures.

Three shapes come to the same: a multipart form with files (`image`, `image[]`, repeated; `mask`), OpenAI's JSON
(`images: [{"image_url": …}]`), and the Infron API's (`image_urls: […]`). In JSON a picture is a data URL (RFC 2397) or
an address, which is fetched through the guard of everything that goes out.
"""

import asyncio
import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from starlette.types import Receive, Scope, Send

from pinxit.api.body import is_form, parse_json_object, read_body
from pinxit.api.context import header, headers
from pinxit.api.images import GenerationsEndpoint, ParsedRequest, parse
from pinxit.api.multipart import Form, parse_form
from pinxit.api.request_schema import MAX_PICTURES
from pinxit.errors import InvalidRequest, InvalidValue
from pinxit.images.decoding import InputPixels, decode, decode_mask, decoding_bytes, read_header
from pinxit.images.pixels import Pixels
from pinxit.images.request import InputPicture
from pinxit.images.size import Size
from pinxit.keys.model import Caller
from pinxit.limits.byte_budget import ByteLease
from pinxit.network.http import RequestFailed
from pinxit.network.target import UrlRefused

INTEGERS = frozenset(["n", "output_compression", "partial_images", "seed", "num_inference_steps", "steps"])
NUMBERS = frozenset(["guidance_scale", "strength", "deadline_seconds"])
BOOLEANS = frozenset(["stream", "store", "dry_run", "async"])
STRUCTURES = frozenset(["usage", "provider", "fallback_models", "loras"])
"""Fields of a form whose text is not what is meant, but writes it down."""

_IMAGE_FIELD = re.compile(r"image(\[[0-9]{0,2}\])?", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,19}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,19}(\.[0-9]{1,19})?", re.ASCII)
_DATA_URL = re.compile(r"data:image/[a-z+.-]{1,20};base64,", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """A picture as it was sent: its bytes, or a URL. `param` names it."""

    param: str
    sent: bytes | str


@dataclass(slots=True)
class Sent:
    """A request read apart: the fields that every order has, and the pictures."""

    fields: dict[str, Any]
    images: list[Source] = field(default_factory=list)
    mask: Source | None = None


class EditsEndpoint(GenerationsEndpoint):
    """The plain ASGI callable behind POST /v1/images/edits."""

    kind = "image_edit"
    has_prompt = True
    takes_forms = True

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = await self._admit(scope)
        lease = self._services.byte_budget.reserve()
        try:
            parsed, pictures = await self._read(scope, receive, caller, lease)
            await self._carry_out(scope, receive, send, caller, parsed, pictures, lease.release)
        except BaseException:
            lease.release()
            raise

    async def _read(
        self, scope: Scope, receive: Receive, caller: Caller, lease: ByteLease
    ) -> tuple[ParsedRequest, InputPixels | None]:
        """The order and its decoded pictures, whose memory `lease` holds."""
        services = self._services
        async with read_body(
            scope,
            receive,
            max_bytes=services.settings.max_upload_bytes,
            budget=services.byte_budget,
            or_form=self.takes_forms,
        ) as body:
            sent = await asyncio.to_thread(self._read_apart, body, header(scope, b"content-type") or "")
            parsed = self._parse(sent, scope, caller)
            return await self._with_pictures(parsed, sent, caller, lease)

    def _read_apart(self, body: bytes, content_type: str) -> Sent:
        """In a thread."""
        return _read_apart(body, content_type)

    def _parse(self, sent: Sent, scope: Scope, caller: Caller) -> ParsedRequest:
        return parse(
            sent.fields,
            self._services.settings,
            caller.key,
            headers(scope, b"prefer"),
            default_model=self._services.catalog.default_name,
            has_prompt=self.has_prompt,
        )

    async def _with_pictures(
        self, parsed: ParsedRequest, sent: Sent, caller: Caller, lease: ByteLease
    ) -> tuple[ParsedRequest, InputPixels | None]:
        images = tuple([await self._open(source, lease) for source in sent.images])
        mask = None if sent.mask is None else await self._open(sent.mask, lease)
        request = replace(parsed.request, images=images, mask=mask)
        generations = self._services.generations
        offers = generations.offers(caller, request)
        if not images:
            return parsed, None
        to_decode = images if mask is None else (*images, mask)
        with self._services.byte_budget.reserve(max(map(decoding_bytes, to_decode))):
            pictures = await asyncio.to_thread(_decode, images, mask, offers[0].paint.size)
        if any(generations.is_remote(offer) for offer in offers):
            pictures = replace(pictures, files=images, mask_file=mask)
        lease.grow(pictures.bytes)
        remembered = replace(
            request, images=tuple(image.without_data() for image in images), mask=mask and mask.without_data()
        )
        return replace(parsed, request=remembered), pictures

    async def _open(self, source: Source, lease: ByteLease) -> InputPicture:
        data = source.sent if isinstance(source.sent, bytes) else await self._load(source, source.sent, lease)
        try:
            return await asyncio.to_thread(read_header, data)
        except ValueError as error:
            raise InvalidValue(f"{source.param}: {error}.", param=source.param) from error

    async def _load(self, source: Source, url: str, lease: ByteLease) -> bytes:
        """What a data URL says, or what lies at an address."""
        if url[:5].lower() == "data:":
            return await asyncio.to_thread(_read_data_url, url, source.param)
        settings = self._services.settings
        if not settings.fetch_image_urls:
            raise InvalidValue(f"{source.param}: this server fetches no pictures; send a data URL.", param=source.param)
        try:
            answer = await self._services.picture_http.send(
                "GET", url, headers={}, max_answer_bytes=settings.max_upload_bytes
            )
        except UrlRefused as error:
            raise InvalidValue(f"{source.param}: {error.message}", param=source.param) from error
        except RequestFailed as error:
            raise InvalidValue(f"{source.param} could not be fetched: {error.message}", param=source.param) from error
        if answer.status != 200:
            raise InvalidValue(f"{source.param} was answered with {answer.status}.", param=source.param)
        lease.grow(len(answer.body))
        return answer.body


class VariationsEndpoint(EditsEndpoint):
    """The plain ASGI callable behind POST /v1/images/variations: an edit that says nothing."""

    has_prompt = False

    async def _read(
        self, scope: Scope, receive: Receive, caller: Caller, lease: ByteLease
    ) -> tuple[ParsedRequest, InputPixels | None]:
        parsed, pictures = await super()._read(scope, receive, caller, lease)
        if parsed.request.mask is not None:
            raise InvalidRequest("A variation has no mask.", param="mask")
        return parsed, pictures


def _decode(images: tuple[InputPicture, ...], mask: InputPicture | None, size: Size) -> InputPixels:
    """In one hop to a thread. Raises InvalidValue."""
    if mask is not None and mask.size != images[0].size:
        raise InvalidValue(f"The mask has {mask.size} pixels, and its picture {images[0].size}.", param="mask")
    pixels = tuple(_decoded("image", decode, image, size) for image in images)
    return InputPixels(pixels, None if mask is None else _decoded("mask", decode_mask, mask, size))


def _decoded(param: str, work: Callable[[InputPicture, Size], Pixels], picture: InputPicture, size: Size) -> Pixels:
    try:
        return work(picture, size)
    except ValueError as error:
        raise InvalidValue(f"{param}: {error}.", param=param) from error


def _read_apart(body: bytes, content_type: str) -> Sent:
    """Raises InvalidRequest, InvalidValue."""
    sent = _of_form(parse_form(body, content_type)) if is_form(content_type) else _of_json(parse_json_object(body))
    if not sent.images:
        raise InvalidRequest("image is missing: send the picture to begin from.", param="image")
    if len(sent.images) > MAX_PICTURES:
        raise InvalidValue(f"At most {MAX_PICTURES} pictures can be sent.", param="image")
    return sent


# --- forms ----------------------------------------------------------------------------------------------------------


def _of_form(form: Form) -> Sent:
    sent = Sent({})
    for file in form.files:
        if _IMAGE_FIELD.fullmatch(file.field):
            sent.images.append(Source("image", file.data))
        elif file.field == "mask" and sent.mask is None:
            sent.mask = Source("mask", file.data)
        else:
            raise InvalidRequest("Files are sent as image, image[] and one mask.", param=_shown(file.field))
    for name, texts in form.texts.items():
        if _IMAGE_FIELD.fullmatch(name):
            sent.images += [Source("image", text) for text in texts]
        elif len(texts) > 1:
            raise InvalidRequest("This field was sent twice.", param=_shown(name))
        elif name == "mask":
            sent.mask = sent.mask or Source("mask", texts[0])
        else:
            sent.fields[name] = _meant(name, texts[0])
    return sent


def _meant(name: str, text: str) -> Any:
    """What the text of a form's field stands for, in JSON's terms. Raises InvalidRequest."""
    if name in BOOLEANS and text.lower() in ("true", "false", "1", "0"):
        return text.lower() in ("true", "1")
    if name in INTEGERS and _WHOLE.fullmatch(text):
        return int(text)
    if name in NUMBERS and _NUMBER.fullmatch(text):
        return float(text)
    if name in STRUCTURES:
        return parse_json_object(b'{"value":%s}' % text.encode())["value"]
    return text


# --- JSON -----------------------------------------------------------------------------------------------------------


def _of_json(body: Mapping[str, Any]) -> Sent:
    sent = Sent({name: value for name, value in body.items() if name not in ("image", "images", "image_urls", "mask")})
    for name in ("image", "images", "image_urls"):
        value = body.get(name)
        if value is None or value == []:
            continue
        if sent.images:
            raise InvalidRequest("image, images and image_urls mean the same: send one of them.", param=name)
        values = value if isinstance(value, list) else [value]
        sent.images += [source_of(f"{name}[{place}]", each) for place, each in enumerate(values)]
    if body.get("mask") is not None:
        sent.mask = source_of("mask", body["mask"])
    return sent


def source_of(param: str, value: Any) -> Source:
    """A picture named in JSON: a URL, or an object with `image_url`. Raises InvalidRequest, InvalidValue."""
    if isinstance(value, dict):
        if value.get("file_id") is not None:
            raise InvalidValue("There is no files API here: send image_url.", param=f"{param}.file_id")
        value, param = value.get("image_url"), f"{param}.image_url"
        if isinstance(value, dict):
            value = value.get("url")
    if not isinstance(value, str):
        raise InvalidRequest(f"{param} must be a data URL or the URL of a picture.", param=param)
    return Source(param, value)


def _read_data_url(url: str, param: str) -> bytes:
    head = _DATA_URL.match(url)
    if head is None:
        raise InvalidValue(f"{param} must be data:image/…;base64, and the picture.", param=param)
    try:
        return base64.b64decode(url[head.end() :], validate=True)
    except ValueError as error:  # also of text that is not ASCII
        raise InvalidValue(f"{param} is not valid base64.", param=param) from error


def _shown(name: str) -> str:
    return name.encode("ascii", "replace").decode()[:64]
