"""The settings themselves: names, types, bounds, defaults and what each is for.

Validators here say what a value must be, never what it was: that may be a secret, and `loading` knows how to show it.
"""

import re
import types
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from enum import Enum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from pinxit.images.request import Delivery
from pinxit.images.size import Size, is_aspect_ratio

ENVIRONMENT_PREFIX = "PINXIT_"
FILE_ONLY = ("model_list", "aliases")
"""What is too rich for an environment variable."""

MIB = 1024 * 1024
MAX_PRICE_MICROS = 1_000_000_000
DEFAULT_URL_TTL_SECONDS = 3600

_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}", re.ASCII)
_ALIAS_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127})?\*?", re.ASCII)
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


class SettingDescription(NamedTuple):
    """One row of docs/configuration.md and of `pinxit config`."""

    name: str
    environment_name: str
    type_text: str
    default_text: str
    description: str


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


def _check_listen_host(host: str) -> str:
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


def _check_public_url(url: str) -> str:
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


def _is_host(text: str) -> bool:
    if text.startswith("[") and text.endswith("]"):
        try:
            IPv6Address(text[1:-1])
        except ValueError:
            return False
        return True
    return _HOST_NAME.fullmatch(text) is not None


def _check_allowed_host(host: str) -> str:
    lowered = host.lower()
    if lowered == "*":
        raise problem(
            "must not be *: whoever sends a request could choose where its picture URLs point", shows_value=False
        )
    if not _is_host(lowered):
        raise problem("must be a host name without scheme and port, like pictures.example.com or [::1]")
    return lowered


def _check_origin(origin: str) -> str:
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


def _check_model_name(name: str) -> str:
    if _MODEL_NAME.fullmatch(name) is None:
        raise problem("must be a name of 1 to 128 letters, digits and . _ : / @ + -, beginning with a letter or digit")
    return name


def _check_backend_model(text: str) -> str:
    if _BACKEND_MODEL.fullmatch(text) is None:
        raise problem("must be <backend>/<model id>, like otter/otter-1")
    return text


def _check_size(text: str) -> str:
    if text == "auto" or is_aspect_ratio(text):
        return text
    try:
        Size.parse(text)
    except ValueError as error:
        raise problem("must be auto, a size like 1024x1024 or an aspect ratio like 16:9") from error
    return text


def _check_not_blank(text: str) -> str:
    if not text.strip():
        raise problem("must not be empty")
    return text


Whole = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool), Field(allow_inf_nan=False)]
Text = Annotated[str, AfterValidator(_check_not_blank)]
HomePath = Annotated[Path, AfterValidator(_expand_home)]
ModelName = Annotated[str, AfterValidator(_check_model_name)]
DatabaseUrl = Annotated[
    SecretStr,
    BeforeValidator(_check_database_url),
    PlainSerializer(lambda url: hide_password(url.get_secret_value()), return_type=str),
]
"""Of PostgreSQL, as libpq reads it (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING)."""
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_parse_network)]


class ModelParams(BaseModel):
    """Which painter, and the values it gets where a request leaves them open. None: the model's own default."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: Annotated[str, AfterValidator(_check_backend_model)]
    quality: Text | None = None
    size: Annotated[str, AfterValidator(_check_size)] | None = None
    num_inference_steps: Whole | None = Field(default=None, ge=1, le=1000)
    guidance_scale: Number | None = Field(default=None, ge=0, le=100)
    negative_prompt: str | None = Field(default=None, max_length=32_000)
    style: Text | None = None

    @property
    def backend_name(self) -> str:
        """The part of `model` before the first slash."""
        return self.model.partition("/")[0]

    @property
    def model_id(self) -> str:
        """The part of `model` behind the first slash."""
        return self.model.partition("/")[2]

    @property
    def defaults(self) -> dict[str, object]:
        """The values to use where a request leaves them open; only those that are set."""
        return self.model_dump(exclude={"model"}, exclude_none=True)


def _usd_to_micros(value: object) -> object:
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


class PriceEntry(BaseModel):
    """The price of one picture: for a size, a quality, both or any. Of those that fit, the most precise counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: Annotated[int, BeforeValidator(_usd_to_micros)]
    """In micro-dollars once it is read."""
    size: Annotated[str, AfterValidator(_check_size)] | None = None
    quality: Text | None = None


class ModelEntry(BaseModel):
    """A model under a name of the operator's own, as LiteLLM's `model_list` writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: ModelName
    params: ModelParams
    description: str = Field(default="", max_length=2000)
    prices: tuple[PriceEntry, ...] = ()


class Settings(BaseModel):
    """Everything an operator can set. Build it with `load_settings`, which names file and line of whatever is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    data_dir: HomePath = Field(Path("data"), description="Directory of the database and the pictures.")
    database_url: DatabaseUrl | None = Field(
        None, description="PostgreSQL database to use; without it SQLite in `data_dir`."
    )
    host: Annotated[str, AfterValidator(_check_listen_host)] = Field(
        "127.0.0.1", description="Address to listen on; `0.0.0.0` and `::` mean every network."
    )
    port: Whole = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 picks a free one.")
    workers: Whole = Field(
        1, ge=1, le=64, description="API processes of `pinxit serve`; more than one only with `database_url`."
    )
    public_url: Annotated[str, AfterValidator(_check_public_url)] | None = Field(
        None, description="Where clients reach this server, for the URLs of pictures; without a slash at the end."
    )
    allowed_hosts: tuple[Annotated[str, AfterValidator(_check_allowed_host)], ...] = Field(
        ("127.0.0.1", "localhost", "[::1]"),
        description="Host names that may appear in the URLs of pictures when `public_url` is not set.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Addresses and networks of reverse proxies whose `X-Forwarded-…` headers are believed."
    )
    cors_origins: tuple[Annotated[str, AfterValidator(_check_origin)], ...] = Field(
        (), description="Origins of web pages that may call the API from a browser; `*` alone means any."
    )
    console: bool = Field(True, description="Whether there are web pages under `/console`.")
    billing: Literal["off", "credits"] = Field(
        "off", description="Whether orders are paid from an account's credits; `off` only counts what is used."
    )
    default_model: ModelName = Field("otter-1", description="Model that paints when a request names none.")
    default_delivery: Delivery = Field(
        Delivery.URL, description="How pictures come back when a request does not say: as a URL, as base64, or both."
    )
    max_body_bytes: Whole = Field(1 * MIB, ge=1024, le=1024 * MIB, description="Largest request body.")
    max_upload_bytes: Whole = Field(
        50 * MIB, ge=1024, le=1024 * MIB, description="Largest request body with pictures, and largest picture fetched."
    )
    fetch_image_urls: bool = Field(
        True,
        description="Whether pictures to begin from may be named by http and https URLs, which the server fetches.",
    )
    image_allowed_networks: tuple[Network, ...] = Field(
        (), description="Networks that are not public and that pictures may be fetched from all the same."
    )
    request_memory_bytes: Whole = Field(
        256 * MIB,
        ge=1024,
        le=1024 * 1024 * MIB,
        validate_default=True,
        description="Memory for all requests under way together; at least `max_body_bytes`.",
    )
    header_timeout_seconds: Number = Field(10.0, gt=0, le=3600, description="Time for a client to send its headers.")
    body_timeout_seconds: Number = Field(30.0, gt=0, le=3600, description="Time for a client to send its body.")
    min_body_bytes_per_second: Whole = Field(
        8192, ge=0, le=1024 * MIB, description="Slowest rate at which a body may arrive; 0 allows any."
    )
    keep_alive_seconds: Whole = Field(15, ge=0, le=3600, description="Time an idle connection is kept open.")
    max_connections: Whole = Field(4096, ge=1, le=1_000_000, description="Connections open at once.")
    max_connections_per_ip: Whole = Field(
        1024, ge=1, le=1_000_000, description="Connections open at once from one address."
    )
    max_queued_generations: Whole = Field(
        64, ge=1, le=1_000_000, description="Orders waiting and painting at once; more are answered with 503."
    )
    max_painting_generations: Whole = Field(
        16, ge=1, le=1_000_000, description="Orders painting at once; the rest wait, and API keys take turns."
    )
    requests_per_minute: Whole | None = Field(
        None, ge=1, le=1_000_000, description="Orders that an account may send a minute; more are answered with 429."
    )
    images_per_minute: Whole | None = Field(
        None, ge=1, le=1_000_000, description="Pictures that an account may ask for a minute."
    )
    concurrency: Whole | None = Field(
        None, ge=1, le=1_000_000, description="Orders that an account may have open at once."
    )
    max_prompt_characters: Whole = Field(32_000, ge=1, le=32_000, description="Longest prompt.")
    shutdown_grace_seconds: Whole = Field(
        30, ge=0, le=86_400, description="Time for orders under way to finish when the server stops."
    )
    painter_ready_timeout_seconds: Number = Field(
        60.0, gt=0, le=3600, description="Time for the painter process to load its model."
    )
    signed_urls: bool = Field(False, description="Whether the URLs of pictures are signed and expire.")
    url_ttl_seconds: Whole | None = Field(
        None,
        ge=1,
        le=604_800,
        validate_default=True,
        description="Time a signed URL works; only with `signed_urls`, and then 3600 unless set.",
    )
    moderation_words: tuple[Text, ...] = Field((), description="Words and phrases that no prompt may contain.")
    moderation_words_file: HomePath | None = Field(
        None, description="File of such words: one a line, `# comment`, `[category]` headings."
    )
    webhook_allowed_networks: tuple[Network, ...] = Field(
        (), description="Networks that are not public and that webhooks may go to all the same, by plain HTTP too."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level that is logged.")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="How log lines look; `auto` is `console` on a terminal and `json` elsewhere."
    )
    min_free_disk_bytes: Whole = Field(
        64 * MIB, ge=0, description="Free space in `data_dir` below which orders are refused with 503."
    )
    model_list: tuple[ModelEntry, ...] = Field((), description="Models under names of your own.")
    aliases: dict[str, str] = Field({}, description="Further names of models; a name may end in `*`.")

    @field_validator("workers")
    @classmethod
    def _several_need_postgresql(cls, workers: int, info: ValidationInfo) -> int:
        if workers > 1 and info.data.get("database_url", "") is None:
            raise problem("must be 1 unless database_url names a PostgreSQL database: SQLite serves one process")
        return workers

    @field_validator("cors_origins")
    @classmethod
    def _star_stands_alone(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        if "*" in origins and len(origins) > 1:
            raise problem("must not name other origins beside *", shows_value=False)
        return origins

    @field_validator("request_memory_bytes")
    @classmethod
    def _one_body_fits(cls, request_memory_bytes: int, info: ValidationInfo) -> int:
        body: int = info.data.get("max_body_bytes", 0)
        if request_memory_bytes < body:
            raise problem(f"must be at least max_body_bytes, which is {body}")
        return request_memory_bytes

    @field_validator("url_ttl_seconds")
    @classmethod
    def _only_signed_urls_expire(cls, url_ttl_seconds: int | None, info: ValidationInfo) -> int | None:
        is_signed = info.data.get("signed_urls")
        if url_ttl_seconds is not None and is_signed is False:
            raise problem("needs signed_urls: true, for only signed URLs expire", shows_value=False)
        return DEFAULT_URL_TTL_SECONDS if is_signed and url_ttl_seconds is None else url_ttl_seconds

    @field_validator("model_list")
    @classmethod
    def _model_names_are_unique(cls, model_list: tuple[ModelEntry, ...]) -> tuple[ModelEntry, ...]:
        seen: set[str] = set()
        for index, entry in enumerate(model_list):
            if entry.model_name in seen:
                raise problem("is already in model_list; choose another name", at=(index, "model_name"))
            seen.add(entry.model_name)
        return model_list

    @field_validator("aliases")
    @classmethod
    def _aliases_lead_to_models(cls, aliases: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        names = {entry.model_name for entry in info.data.get("model_list", ())}
        for alias, target in aliases.items():
            _check_alias(alias, target, aliases, names)
        return aliases


def _check_alias(alias: str, target: str, aliases: Mapping[str, str], names: set[str]) -> None:
    if not alias or _ALIAS_NAME.fullmatch(alias) is None:
        raise problem("must be named like a model; only the last character may be *", at=(alias,), shows_value=False)
    if alias in names:
        raise problem("is also a model_name of model_list", at=(alias,), shows_value=False)
    if target in aliases:
        raise problem("must lead to a model, not to another alias", at=(alias,))
    if _MODEL_NAME.fullmatch(target) is None:
        raise problem("must lead to the name of a model", at=(alias,))


def setting_names() -> tuple[str, ...]:
    """The settings that files, environment and command line can all set."""
    return tuple(name for name in Settings.model_fields if name not in FILE_ONLY)


def environment_name(name: str) -> str:
    """`max_body_bytes` → `PINXIT_MAX_BODY_BYTES`."""
    return ENVIRONMENT_PREFIX + name.upper()


def is_list(name: str) -> bool:
    """Whether a setting holds several values (in the environment: comma-separated)."""
    field = Settings.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is tuple


def is_path(name: str) -> bool:
    """Whether a setting is a path (in a file: relative to that file)."""
    field = Settings.model_fields.get(name)
    return field is not None and Path in _members(field.annotation)


def is_optional(name: str) -> bool:
    """Whether a setting may be None (in the environment: empty)."""
    field = Settings.model_fields.get(name)
    return field is not None and type(None) in _members(field.annotation)


def describe_settings() -> list[SettingDescription]:
    """Every setting that has an environment variable, in the order of the documentation."""
    return [
        SettingDescription(
            name,
            environment_name(name),
            _type_text(Settings.model_fields[name]),
            _default_text(Settings.model_fields[name].default),
            Settings.model_fields[name].description or "",
        )
        for name in setting_names()
    ]


def range_text(field: FieldInfo) -> str:
    """`between 0 and 65535`, `at least 0`, `more than 0 and at most 3600` or nothing."""
    at_least = next((item.ge for item in field.metadata if isinstance(item, Ge)), None)
    more_than = next((item.gt for item in field.metadata if isinstance(item, Gt)), None)
    at_most = next((item.le for item in field.metadata if isinstance(item, Le)), None)
    if at_least is not None and at_most is not None:
        return f"between {at_least} and {at_most}"
    parts = [
        f"at least {at_least}" if at_least is not None else "",
        f"more than {more_than}" if more_than is not None else "",
        f"at most {at_most}" if at_most is not None else "",
    ]
    return " and ".join(part for part in parts if part)


def _members(annotation: Any) -> tuple[Any, ...]:
    """The types a value may have: of `Path | None` both, without what annotates them."""
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(member for argument in get_args(annotation) for member in _members(argument))
    return (annotation,)


_TYPE_TEXTS: Mapping[Any, str] = {
    int: "whole number",
    float: "number",
    bool: "true or false",
    str: "text",
    SecretStr: "text",
    Path: "path",
}


def _type_text(field: FieldInfo) -> str:
    annotation = next(member for member in _members(field.annotation) if member is not type(None))
    if get_origin(annotation) is tuple:
        return "list"
    if get_origin(annotation) is Literal:
        return _either(get_args(annotation))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _either([member.value for member in annotation])
    text = _TYPE_TEXTS[annotation]
    bounds = range_text(field)
    return f"{text}, {bounds}" if bounds else text


def _either(values: Any) -> str:
    *rest, last = [f"`{value}`" for value in values]
    return f"{', '.join(rest)} or {last}"


def _default_text(default: object) -> str:
    """The default as it is written in the environment."""
    if default is None or default == ():
        return "none"
    if isinstance(default, tuple):
        return ",".join(str(item) for item in default)
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, Path):
        return f"./{default}"
    if isinstance(default, float):
        return f"{default:g}"
    return str(default.value) if isinstance(default, Enum) else str(default)
