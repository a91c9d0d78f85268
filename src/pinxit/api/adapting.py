"""What the doors of other APIs have in common: their words are translated into those of an image order, which is
then taken, painted and answered as any other.
"""

import base64
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any

from starlette.types import Receive, Scope, Send

from pinxit.api.body import parse_json_object
from pinxit.api.conversation import Kept
from pinxit.api.edits import EditsEndpoint, Sent, Source
from pinxit.api.fields import Fields
from pinxit.api.images import DANGEROUS, ParsedRequest, parse
from pinxit.api.request_schema import MAX_PICTURES
from pinxit.errors import InvalidRequest, InvalidValue, ModelNotFound, NotFound, PermissionDenied
from pinxit.images.decoding import InputPixels
from pinxit.keys.model import Caller
from pinxit.keys.model import Scope as KeyScope
from pinxit.limits.byte_budget import ByteLease

NAMES = "pinxit.parameter_names"
"""Key of the scope for how this door calls the parameters of an image order."""
_NAMING = (InvalidRequest, InvalidValue, ModelNotFound, PermissionDenied)

_UNSHOWABLE = re.compile(r"[^A-Za-z0-9_.\[\]-]", re.ASCII)
MAX_SHOWN_CHARACTERS = 64
MAX_IGNORED = 50
"""How many names `x-pinxit-ignored` has at most: a body can have more than a header can hold."""


@dataclass(slots=True)
class Translated(Sent):
    """An order in our own words. `names`: our name of a parameter → theirs; `ignored`: what has no effect, by their
    names; `facts`: what the answer needs to know of the request.
    """

    earlier: tuple[Source | Kept, ...] = ()
    """The pictures to begin from, some of them painted here."""
    names: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ParsedAdapted(ParsedRequest):
    """As ParsedRequest. `facts`: what the answer needs to know of the request."""

    facts: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


class AdapterEndpoint(EditsEndpoint, ABC):
    """A door for another API's words. It speaks JSON; a subclass translates and renders."""

    takes_forms = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        except _NAMING as error:
            error.param = scope.get(NAMES, {}).get(error.param, error.param)
            raise

    @abstractmethod
    def translate(self, body: dict[str, Any]) -> Translated:
        """Raises InvalidRequest, InvalidValue, naming the parameters as this door does."""

    def _read_apart(self, body: bytes, content_type: str) -> Sent:
        translated = self.translate(parse_json_object(body))
        if len(translated.earlier) > MAX_PICTURES:
            raise InvalidValue(f"At most {MAX_PICTURES} pictures can be sent.", param=translated.names.get("image", ""))
        return translated

    def _parse(self, sent: Sent, scope: Scope, caller: Caller) -> ParsedRequest:
        assert isinstance(sent, Translated)
        if sent.ignored and caller.key is not None and caller.key.options.strict:
            raise InvalidRequest(f"{sent.ignored[0]} has no effect here.", param=sent.ignored[0])
        scope[NAMES] = sent.names
        default = self._services.catalog.default_name
        parsed = parse(sent.fields, self._services.settings, caller.key, default_model=default)
        plain = {each.name: getattr(parsed, each.name) for each in fields(ParsedRequest)}
        ignored = (*parsed.ignored, *sent.ignored)[:MAX_IGNORED]
        return ParsedAdapted(**{**plain, "ignored": ignored}, facts=sent.facts)

    async def _with_pictures(
        self, parsed: ParsedRequest, sent: Sent, caller: Caller, lease: ByteLease
    ) -> tuple[ParsedRequest, InputPixels | None]:
        assert isinstance(sent, Translated)
        images = [await self._recall(source, caller, lease) for source in sent.earlier]
        return await super()._with_pictures(parsed, replace(sent, images=images), caller, lease)

    async def _recall(self, source: Source | Kept, caller: Caller, lease: ByteLease) -> Source:
        """A picture painted here before as if it had been sent.

        Raises NotFound, also for another account's, and PermissionDenied, for an edit can show what it begins from.
        """
        if isinstance(source, Source):
            return source
        caller.require(KeyScope.IMAGES_READ)
        try:
            order = await self._services.generations.get(caller, source.generation_id)
        except NotFound:
            raise NotFound("There is no such picture of yours.", param=source.param) from None
        found = [image for image in order.images if source.position in (None, image.position)]
        if not found or not found[-1].storage_key:
            raise NotFound("That picture is not kept any more.", param=source.param)
        data = await self._services.library.read(found[-1])
        lease.grow(len(data))
        return Source(source.param, data)


# --- reading --------------------------------------------------------------------------------------------------------


def split_fields(
    body: Mapping[str, Any], *, known: Iterable[str], ignored: Iterable[str], prefix: str = ""
) -> list[str]:
    """The names of what was sent and has no effect. Raises InvalidRequest for a name that is neither."""
    found = []
    known, ignored = frozenset(known), frozenset(ignored)
    for name, value in body.items():
        if name in known or value is None:
            continue
        if name in DANGEROUS - ignored:
            raise InvalidRequest("This field is not accepted from a request.", param=prefix + name)
        if name not in ignored:
            shown = showable(name)
            raise InvalidRequest(f"There is no parameter {prefix + shown!r}.", param=prefix + shown)
        found.append(prefix + name)
    return found


def showable(name: str) -> str:
    """A name that a client made up, harmless in a header."""
    return _UNSHOWABLE.sub("?", name[:MAX_SHOWN_CHARACTERS])


def list_of_objects(fields_: Fields, name: str, *, prefix: str = "") -> list[dict[str, Any]]:
    """Raises InvalidRequest if it is not an array of objects; a missing one is empty."""
    values = fields_.array(name) or []
    for place, value in enumerate(values):
        if not isinstance(value, dict):
            raise InvalidRequest(f"{prefix}{name}[{place}] must be an object.", param=f"{prefix}{name}[{place}]")
    return values


# --- rendering ------------------------------------------------------------------------------------------------------


def compact(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def with_member(content: Mapping[str, Any], name: str, parts: Iterable[bytes]) -> list[bytes]:
    """The object with one more member at its end, whose value is written already. `content` may not be empty."""
    return [compact(content)[:-1], b',"%s":' % name.encode(), *parts, b"}"]


def base64_text(data: bytes, *, before: str = "") -> list[bytes]:
    """A string of JSON: `before` and the bytes in base64, which are never run through a serializer."""
    return [b'"%s' % before.encode(), base64.b64encode(data), b'"']


def joined(items: Iterable[Iterable[bytes]]) -> list[bytes]:
    """An array of values that are written already."""
    parts: list[bytes] = []
    for item in items:
        parts += [b"," if parts else b"[", *item]
    return [*parts, b"]"] if parts else [b"[]"]


def error_object(body: bytes) -> Any:
    """What an error answer says, without its envelope."""
    return json.loads(body)["error"]
