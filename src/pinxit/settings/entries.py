"""What the configuration file says of models and of the providers behind them."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from pinxit.settings.values import (
    MIB,
    HomePath,
    ModelName,
    Network,
    Number,
    PlainSize,
    Text,
    Whole,
    check_backend_model,
    check_base_url,
    check_size,
    problem,
    usd_to_micros,
)


class ModelParams(BaseModel):
    """Which painter, and the values it gets where a request leaves them open. None: the model's own default."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model: Annotated[str, AfterValidator(check_backend_model)]
    quality: Text | None = None
    size: Annotated[str, AfterValidator(check_size)] | None = None
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


class BackendParams(ModelParams):
    """One of several painters of a model. `weight`: how often it is taken, beside the others."""

    weight: Number = Field(default=1.0, gt=0, le=1000)

    @property
    def defaults(self) -> dict[str, object]:
        return self.model_dump(exclude={"model", "weight"}, exclude_none=True)


class PriceEntry(BaseModel):
    """The price of one picture: for a size, a quality, both or any. Of those that fit, the most precise counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: Annotated[int, BeforeValidator(usd_to_micros)]
    """In micro-dollars once it is read."""
    size: Annotated[str, AfterValidator(check_size)] | None = None
    quality: Text | None = None


class ModelEntry(BaseModel):
    """A model under a name of the operator's own, as LiteLLM's `model_list` writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    model_name: ModelName
    params: ModelParams | None = None
    backends: tuple[BackendParams, ...] = ()
    """Several painters of one model, instead of `params`."""
    sort: Literal["order", "weight", "price", "latency", "sticky"] = "order"
    """Which of them paints: the first that can; by chance, by `weight`; the cheapest; the fastest of late; always the
    same for the same API key.
    """
    fallback_models: tuple[ModelName, ...] = ()
    """Models to ask when none of them can paint."""
    description: str = Field(default="", max_length=2000)
    prices: tuple[PriceEntry, ...] = ()
    """None: what the painter charges us."""

    @model_validator(mode="after")
    def _has_painters(self) -> Self:
        if (self.params is None) == (not self.backends):
            raise problem("must have either params or backends", shows_value=False)
        painters = [painter.model for painter in self.backends]
        for place, painter in enumerate(painters):
            if painter in painters[:place]:
                raise problem("is already among the backends", at=("backends", place, "model"))
        return self

    @property
    def painters(self) -> tuple[BackendParams, ...]:
        """All painters, however they are written."""
        if self.params is None:
            return self.backends
        return (BackendParams(**self.params.model_dump(exclude_none=True)),)


class RangeEntry(BaseModel):
    """What a number may be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum: Number
    maximum: Number
    default: Number

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.minimum <= self.default <= self.maximum:
            raise problem("must have its default between minimum and maximum", shows_value=False)
        return self


class ProviderModel(BaseModel):
    """A model of a provider that its file does not know, and what it can do."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: ModelName
    description: str = Field(default="", max_length=2000)
    sizes: tuple[PlainSize, ...] = Field(default=("1024x1024",), min_length=1)
    """The first is the default."""
    qualities: tuple[Text, ...] = ()
    max_n: Whole = Field(default=10, ge=1, le=10)
    per_call: Whole = Field(default=1, ge=1, le=10)
    """How many pictures one request may ask for."""
    seed: bool = False
    negative_prompt: bool = False
    num_inference_steps: RangeEntry | None = None
    guidance_scale: RangeEntry | None = None
    strength: RangeEntry | None = None
    transparent: bool = False
    streaming: bool = False
    """Whether it shows a picture on its way as OpenAI does: `stream` and `partial_images`."""
    edits: bool = False
    mask: bool = False
    max_images: Whole = Field(default=1, ge=1, le=16)
    output_formats: tuple[Literal["png", "jpeg", "webp"], ...] = ("png", "jpeg", "webp")
    prices: tuple[PriceEntry, ...] = ()
    owned_by: Text = "upstream"
    licence: Text = "unknown"


class ProviderEntry(BaseModel):
    """An upstream provider. `kind`: the file it is read by; without one, the provider's own name."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    kind: Text | None = None
    base_url: Annotated[str, AfterValidator(check_base_url)] | None = None
    credential: SecretStr | None = None
    """Without one, what the provider's usual environment variable holds."""
    credential_file: HomePath | None = None
    own_credentials: bool | None = None
    """Whether accounts may give credentials of their own; None: where the provider lets nobody in without one."""
    models: tuple[ModelName | ProviderModel, ...] = ()
    """Those to offer; none: all that its file knows."""
    options: dict[str, Any] = {}
    timeout_seconds: Number = Field(default=180.0, gt=0, le=3600)
    connect_seconds: Number = Field(default=5.0, gt=0, le=60)
    max_concurrency: Whole = Field(default=32, ge=1, le=10_000)
    max_answer_bytes: Whole = Field(default=64 * MIB, ge=1024, le=1024 * MIB)
    poll_seconds: Number | None = Field(default=None, ge=0, le=60)
    repeatable: bool = False
    """Whether its work costs nothing but time, so that an order whose answer was lost may be sent again."""
    allowed_networks: tuple[Network, ...] = ()
    """Networks that are not public and that its pictures may be fetched from all the same."""

    @model_validator(mode="after")
    def _has_one_credential(self) -> Self:
        if self.credential is not None and self.credential_file is not None:
            raise problem("must have either credential or credential_file", shows_value=False)
        return self
