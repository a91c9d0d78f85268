"""An API key and its verified holder."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from pinxit.errors import PermissionDenied
from pinxit.images.request import Delivery


class Scope(StrEnum):
    """What a key may do."""

    IMAGES_WRITE = "images:write"
    IMAGES_READ = "images:read"
    MODELS_READ = "models:read"
    USAGE_READ = "usage:read"
    KEYS_MANAGE = "keys:manage"
    WEBHOOKS_MANAGE = "webhooks:manage"
    ADMIN = "admin"


DEFAULT_SCOPES = (Scope.IMAGES_WRITE, Scope.IMAGES_READ, Scope.MODELS_READ, Scope.USAGE_READ)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be asked for, and how many orders may be open at once. None: as much as there is."""

    requests_per_minute: int | None = None
    images_per_minute: int | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True)
class Budgets:
    """What may be spent: in all, on a day and in a month of UTC, in micro-dollars. None: as much as there is."""

    total_micros: int | None = None
    per_day_micros: int | None = None
    per_month_micros: int | None = None

    @property
    def by_period(self) -> dict[str, int]:
        """Those that are set, by the names that the ledger has for periods."""
        named = {"total": self.total_micros, "day": self.per_day_micros, "month": self.per_month_micros}
        return {period: micros for period, micros in named.items() if micros is not None}


@dataclass(frozen=True, slots=True)
class KeyOptions:
    """What the maker of a key decides.

    `models` None: every model; `default_delivery`, `url_ttl_seconds` None: the server's.
    """

    name: str = ""
    scopes: tuple[Scope, ...] = DEFAULT_SCOPES
    models: tuple[str, ...] | None = None
    default_delivery: Delivery | None = None
    strict: bool = False
    url_ttl_seconds: int | None = None
    expires_at: datetime | None = None
    limits: Limits = Limits()
    budgets: Budgets = Budgets()
    disabled: bool = False
    """Whether it is switched off, until it is switched on again."""

    @property
    def is_rationed(self) -> bool:
        return self.limits != Limits() or self.budgets != Budgets()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: never the secret itself."""

    id: str
    account_id: str
    prefix: str
    last4: str
    options: KeyOptions
    created_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        if self.options.disabled or self.revoked_at is not None:
            return False
        return self.options.expires_at is None or now < self.options.expires_at


@dataclass(frozen=True, slots=True)
class Caller:
    """The verified holder of a key, or a user of the console. Both None: the command line on the machine itself, which
    may do anything.
    """

    account_id: str
    key: ApiKey | None = None
    scopes: frozenset[Scope] = field(default_factory=frozenset)
    user_id: str | None = None

    @property
    def key_id(self) -> str | None:
        return self.key.id if self.key else None

    @property
    def is_admin(self) -> bool:
        return Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises PermissionDenied, naming the scope. `admin` includes every scope."""
        if scope not in self.scopes and Scope.ADMIN not in self.scopes:
            raise PermissionDenied(f"This API key lacks the scope {scope.value!r}.")

    def may_use_model(self, *names: str) -> bool:
        """Whether the key may use the model, by any of its names."""
        allowed = self.key.options.models if self.key else None
        return allowed is None or bool(set(names) & set(allowed))

    def require_model(self, *names: str) -> None:
        """Raises PermissionDenied unless the key may use the model, by the name asked for or by its own."""
        if not self.may_use_model(*names):
            raise PermissionDenied(f"This API key may not use the model {names[0]!r}.", param="model")
