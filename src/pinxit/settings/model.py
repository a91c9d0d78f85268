"""The settings themselves: names, types, bounds, defaults and what each is for.

Validators here say what a value must be, never what it was: that may be a secret, and `loading` knows how to show it.
"""

import types
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo

from pinxit.images.request import Delivery
from pinxit.settings.entries import ModelEntry, ProviderEntry
from pinxit.settings.sign_in import OidcEntry
from pinxit.settings.values import (
    ALIAS_NAME,
    MIB,
    MODEL_NAME,
    DatabaseUrl,
    HomePath,
    ModelName,
    Network,
    Number,
    ProviderName,
    Text,
    Whole,
    check_allowed_host,
    check_listen_host,
    check_origin,
    check_public_url,
    problem,
)

ENVIRONMENT_PREFIX = "PINXIT_"
FILE_ONLY = ("providers", "model_list", "aliases", "oidc")
"""What is too rich for an environment variable."""

DEFAULT_URL_TTL_SECONDS = 3600


class SettingDescription(NamedTuple):
    """One row of docs/configuration.md and of `pinxit config`."""

    name: str
    environment_name: str
    type_text: str
    default_text: str
    description: str


class Settings(BaseModel):
    """Everything an operator can set. Build it with `load_settings`, which names file and line of whatever is wrong."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    data_dir: HomePath = Field(Path("data"), description="Directory of the database and the pictures.")
    database_url: DatabaseUrl | None = Field(
        None, description="PostgreSQL database to use; without it SQLite in `data_dir`."
    )
    host: Annotated[str, AfterValidator(check_listen_host)] = Field(
        "127.0.0.1", description="Address to listen on; `0.0.0.0` and `::` mean every network."
    )
    port: Whole = Field(8000, ge=0, le=65535, description="TCP port to listen on; 0 picks a free one.")
    workers: Whole = Field(
        1, ge=1, le=64, description="API processes of `pinxit serve`; more than one only with `database_url`."
    )
    public_url: Annotated[str, AfterValidator(check_public_url)] | None = Field(
        None, description="Where clients reach this server, for the URLs of pictures; without a slash at the end."
    )
    allowed_hosts: tuple[Annotated[str, AfterValidator(check_allowed_host)], ...] = Field(
        ("127.0.0.1", "localhost", "[::1]"),
        description="Host names that may appear in the URLs of pictures when `public_url` is not set.",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Addresses and networks of reverse proxies whose `X-Forwarded-…` headers are believed."
    )
    cors_origins: tuple[Annotated[str, AfterValidator(check_origin)], ...] = Field(
        (), description="Origins of web pages that may call the API from a browser; `*` alone means any."
    )
    console: bool = Field(True, description="Whether there are web pages under `/console`.")
    audit_addresses: bool = Field(
        True, description="Whether the audit log keeps the addresses of clients that change something."
    )
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
    credentials_key: SecretStr | None = Field(
        None, description="Key that stored credentials of providers are sealed with; else one in `data_dir`."
    )
    credentials_key_file: HomePath | None = Field(None, description="File with such keys, one a line, instead.")
    byok_fee_percent: Number = Field(
        0.0,
        ge=0,
        le=100,
        description="Share of the price that is charged for pictures painted with an account's own credential.",
    )
    enable_responses: bool = Field(True, description="Whether there is `/v1/responses`, OpenAI's Responses API.")
    enable_chat_completions: bool = Field(
        True, description="Whether there is `/v1/chat/completions`, chat that is answered with pictures."
    )
    enable_sdapi: bool = Field(True, description="Whether there is `/sdapi/v1/…`, the API of AUTOMATIC1111's web UI.")
    providers: dict[ProviderName, ProviderEntry] = Field({}, description="Upstream providers, by names of your own.")
    model_list: tuple[ModelEntry, ...] = Field((), description="Models under names of your own.")
    aliases: dict[str, str] = Field({}, description="Further names of models; a name may end in `*`.")
    oidc: OidcEntry | None = Field(None, description="An OpenID Connect provider that people may sign in by.")

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

    @field_validator("credentials_key_file")
    @classmethod
    def _one_source_of_keys(cls, credentials_key_file: Path | None, info: ValidationInfo) -> Path | None:
        if credentials_key_file is not None and info.data.get("credentials_key") is not None:
            raise problem("must not be set beside credentials_key", shows_value=False)
        return credentials_key_file

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
    if not alias or ALIAS_NAME.fullmatch(alias) is None:
        raise problem("must be named like a model; only the last character may be *", at=(alias,), shows_value=False)
    if alias in names:
        raise problem("is also a model_name of model_list", at=(alias,), shows_value=False)
    if target in aliases:
        raise problem("must lead to a model, not to another alias", at=(alias,))
    if MODEL_NAME.fullmatch(target) is None:
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
