"""Reading what a browser's form sends: `application/x-www-form-urlencoded`, counted while it arrives."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from pinxit.api.body import ClientDisconnected
from pinxit.errors import InvalidRequest, RequestTooLarge, UnsupportedMediaType
from pinxit.limits.byte_budget import ByteBudget

MAX_FORM_BYTES = 64 * 1024
MAX_FIELDS = 200
FORM_TYPE = "application/x-www-form-urlencoded"

Receive = Callable[[], Awaitable[Mapping[str, Any]]]


class Form:
    """The fields of one form. A field that is not there is empty."""

    def __init__(self, fields: Mapping[str, list[str]] | None = None) -> None:
        self._fields = dict(fields or {})

    def text(self, name: str) -> str:
        """The first value, without the white space around it."""
        return self.exactly(name).strip()

    def exactly(self, name: str) -> str:
        """The first value as it was typed: for passwords."""
        values = self._fields.get(name) or [""]
        return values[0]

    def all(self, name: str) -> list[str]:
        return list(self._fields.get(name, ()))

    def has(self, name: str) -> bool:
        return bool(self._fields.get(name))


async def read_form(content_type: str, receive: Receive, budget: ByteBudget) -> Form:
    """Raises UnsupportedMediaType, RequestTooLarge, InvalidRequest, Overloaded."""
    if content_type.partition(";")[0].strip().lower() != FORM_TYPE:
        raise UnsupportedMediaType("A form of the console is expected here.")
    with budget.reserve() as lease:
        body = b""
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected
            chunk = message.get("body", b"")
            if len(body) + len(chunk) > MAX_FORM_BYTES:
                raise RequestTooLarge("This form holds more than the console takes.")
            lease.grow(len(chunk))
            body += chunk
            more = message.get("more_body", False)
        return parse_form(body)


def parse_form(body: bytes) -> Form:
    """Raises InvalidRequest."""
    try:
        fields = parse_qs(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS, separator="&"
        )
    except ValueError as error:
        raise InvalidRequest("This form cannot be read.") from error
    if any("\0" in value for values in fields.values() for value in values):
        raise InvalidRequest("This form contains a character that is not text.")
    return Form(fields)
