"""The values that settings can have, each with its bounds.

Validators here say what a value must be, never what it was: that may be a secret, and `loading` knows how to show it.
"""

import re
from decimal import Decimal, InvalidOperation
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr
from pydantic_core import PydanticCustomError

from pinxit.images.size import Size, is_aspect_ratio

MIB = 1024 * 1024
MAX_PRICE_MICROS = 1_000_000_000

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}", re.ASCII)
ALIAS_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127})?\*?", re.ASCII)
_PROVIDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_BACKEND_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}/[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}", re.ASCII)
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9](?:[a-z0-9_-]{0,62}))*", re.ASCII)
_LISTEN_HOST = re.compile(r"[A-Za-z0-9._:%-]{1,253}", re.ASCII)
_HOST_AND_PORT = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(?::[0-9]{1,5})?"
_DATABASE_URL = re.compile(
    r"postgres(?:ql)?://(?:[^\s:/?#@\[\]]+(?::[^\s:/?#@\[\]]*)?@)?"  # user and password
    rf"(?:{_HOST_AND_PORT}(?:,{_HOST_AND_PORT})*)?"
    r"/[^\s/?#@]+"  # the database
    r"(?:\?[^\s#]+)?",
    re.ASCII,
)
_PASSWORD = re.compile(r"(://[^:/@]*:|[?&](?:ssl)?password=)[^@/&]*")


def problem(message: str, *, at: tuple[str | int, ...] = (), shows_value: bool = True) -> PydanticCustomError:
    """What a validator raises. `at` is the place below the field; the value is shown behind the message if wanted."""
    return PydanticCustomError("pinxit", "{message}", {"message": message, "at": at, "shows_value": shows_value})


def _refuse_bool(value: object) -> object:
    if isinstance(value, bool):
        raise problem("must be a number")
    return value


def _expand_home(path: Path) -> Path:
    if not path.name and not path.is_absolute() and path.parts == ():
        raise problem("must be a path")
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise problem("begins with ~, and there is no such home directory") from error


def check_listen_host(host: str) -> str:
    if _LISTEN_HOST.fullmatch(host) is None:
        raise problem("must be an address or host name to listen on, like 127.0.0.1, 0.0.0.0 or ::")
    return host


def _check_database_url(value: object) -> object:
    if isinstance(value, str) and _DATABASE_URL.fullmatch(value) is None:
        raise problem(
            "must be a URL like postgresql://user:password@host:5432/name, with odd characters of a password as %XX",
            shows_value=False,
        )
    if not isinstance(value, str | SecretStr):
        raise problem("must be a URL like postgresql://user:password@host:5432/name", shows_value=False)
    return value


def hide_password(database_url: str) -> str:
    """The URL as it may be shown."""
    return _PASSWORD.sub(r"\1***", database_url)


def _split_http_url(text: str) -> SplitResult | None:
    """The parts of an http or https URL with a host, or None."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        return None
    has_odd_characters = any(character <= " " or character in '\\"<>^`{|}' or character > "~" for character in text)
    return None if has_odd_characters or not usable else parts


def check_public_url(url: str) -> str:
    parts = _split_http_url(url)
    if parts is None:
        raise problem("must be a URL like https://pictures.example.com", shows_value="@" not in url)
    if parts.username is not None or parts.password is not None:
        raise problem("must not contain a user name or password", shows_value=False)
    if "?" in url or "#" in url:
        raise problem("must not have a query or fragment", shows_value=False)
    if url.endswith("/"):
        raise problem("must not end with a slash")
    return url


def check_base_url(url: str) -> str:
    """Of an API: paths are put behind it."""
    parts = _split_http_url(url)
    if parts is None or parts.username is not None or parts.password is not None or "?" in url or "#" in url:
        raise problem(
            "must be a URL like https://api.example.com/v1, without user, query and fragment", shows_value=False
        )
    return url.rstrip("/")


def _is_host(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        try:
            IPv6Address(text[1:-1])
        except ValueError:
            return False
        return True
    return _HOST_NAME.fullmatch(text) is not None


def check_allowed_host(host: str) -> str:
    lowered = host.lower()
    if lowered == "*":
        raise problem(
            "must not be *: whoever sends a request could choose where its picture URLs point", shows_value=False
        )
    if not _is_host(lowered):
        raise problem("must be a host name without scheme and port, like pictures.example.com or [::1]")
    return lowered


def check_origin(origin: str) -> str:
    if origin == "*":
        return origin
    parts = _split_http_url(origin)
    if parts is None or f"{parts.scheme}://{parts.netloc}" != origin or "@" in origin or not _is_host(_host_of(parts)):
        raise problem(
            "must be an origin like https://app.example.com (lower case, no path), or *", shows_value="@" not in origin
        )
    return origin


def _host_of(parts: SplitResult) -> str:
    netloc = parts.netloc
    return netloc.rpartition(":")[0] if parts.port is not None else netloc


def _parse_network(value: object) -> object:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    try:
        return ip_network(value if isinstance(value, str) else "")
    except ValueError as error:
        raise problem("must be an IP address or network, like 10.0.0.7 or 10.0.0.0/8") from error


def check_model_name(name: str) -> str:
    if MODEL_NAME.fullmatch(name) is None:
        raise problem("must be a name of 1 to 128 letters, digits and . _ : / @ + -, beginning with a letter or digit")
    return name


def check_backend_model(text: str) -> str:
    if _BACKEND_MODEL.fullmatch(text) is None:
        raise problem("must be <backend>/<model id>, like otter/otter-1")
    return text


def check_size(text: str) -> str:
    if text == "auto" or is_aspect_ratio(text):
        return text
    try:
        Size.parse(text)
    except ValueError as error:
        raise problem("must be auto, a size like 1024x1024 or an aspect ratio like 16:9") from error
    return text


def _check_plain_size(text: str) -> str:
    try:
        Size.parse(text)
    except ValueError as error:
        raise problem("must be a size like 1024x1024") from error
    return text


def _check_provider_name(name: str) -> str:
    if _PROVIDER_NAME.fullmatch(name) is None:
        raise problem("must be a name of 1 to 64 letters, digits and . _ -, beginning with a letter or digit")
    return name


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise problem("must not be empty")
    return text


Whole = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool), Field(allow_inf_nan=False)]
Text = Annotated[str, AfterValidator(_check_not_blank)]
HomePath = Annotated[Path, AfterValidator(_expand_home)]
ModelName = Annotated[str, AfterValidator(check_model_name)]
PlainSize = Annotated[str, AfterValidator(_check_plain_size)]
ProviderName = Annotated[str, AfterValidator(_check_provider_name)]
DatabaseUrl = Annotated[
    SecretStr,
    BeforeValidator(_check_database_url),
    PlainSerializer(lambda url: hide_password(url.get_secret_value()), return_type=str),
]
"""Of PostgreSQL, as libpq reads it (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING)."""
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_parse_network)]


def usd_to_micros(value: object) -> object:
    """Dollars as written, to whole micro-dollars, by decimal arithmetic: 0.1 is a tenth."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise problem("must be an amount in US dollars, like 0.04")
    try:
        micros = Decimal(str(value)) * 1_000_000
    except InvalidOperation as error:
        raise problem("must be an amount in US dollars, like 0.04") from error
    if not micros.is_finite() or micros != micros.to_integral_value() or not 0 <= micros <= MAX_PRICE_MICROS:
        raise problem("must be from 0 to 1000 US dollars, in whole millionths")
    return int(micros)
