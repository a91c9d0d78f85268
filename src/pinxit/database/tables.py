"""Every table, as the newest migration leaves it. `tests/unit/database` compares the two.

Every row belongs to an account. Money is integer micro-dollars. Identifiers are made by `pinxit.ids`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from pinxit.database.types import Json, Timestamp

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

accounts = Table(
    "accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("last4", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False, unique=True),
    Column("scopes", Json, nullable=False),
    Column("models", Json),  # NULL: every model
    Column("default_delivery", Text),  # NULL: the server's
    Column("strict", Boolean, nullable=False),
    Column("url_ttl_seconds", Integer),  # NULL: the server's
    Column("limits", Json, nullable=False, server_default="{}"),  # only those that are set, as are budgets
    Column("budgets", Json, nullable=False, server_default="{}"),  # in micro-dollars
    Column("disabled", Boolean, nullable=False, server_default=false()),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    Column("revoked_at", Timestamp),
    Column("last_used_at", Timestamp),
)

generations = Table(
    "generations",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("api_key_id", Text, ForeignKey("api_keys.id")),  # NULL: painted from the command line
    Column("request_id", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("requested_model", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("parameters", Json, nullable=False),  # the order as it is painted; see generations/record.py
    Column("storage_keys", Json, nullable=False),  # the names its pictures will have, so that nothing can be orphaned
    Column("cost_micros", BigInteger, nullable=False),
    Column("input_tokens", Integer, nullable=False),
    Column("output_tokens", Integer, nullable=False),
    Column("error_class", Text),
    Column("error_message", Text),
    Column("lease_owner", Text),  # the process that paints it; NULL once it has ended
    Column("lease_until", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Column("started_at", Timestamp),
    Column("finished_at", Timestamp),
    Column("fingerprint", Text),  # of the order as asked; see generations/repeat.py
    Column("abandoned_at", Timestamp),  # when its client left without its answer; NULL once a retry has taken it over
    Column("image_count", Integer, nullable=False, server_default="0"),  # pictures it gave, kept or not
    Column("deadline_at", Timestamp),  # when it is given up; NULL: never
    Column("cancel_requested_at", Timestamp),  # by a process that does not paint it itself
)
Index("ix_generations_account_newest", generations.c.account_id, generations.c.created_at, generations.c.id)
Index(
    "ix_generations_open",
    generations.c.lease_until,
    sqlite_where=text("status IN ('queued', 'in_progress')"),
    postgresql_where=text("status IN ('queued', 'in_progress')"),
)
Index(
    "ix_generations_files_to_remove",
    generations.c.id,
    sqlite_where=text("status IN ('failed', 'cancelled') AND storage_keys <> '[]'"),
    postgresql_where=text("status IN ('failed', 'cancelled') AND storage_keys <> '[]'"),
)
Index(
    "ix_generations_abandoned",
    generations.c.api_key_id,
    generations.c.fingerprint,
    sqlite_where=text("abandoned_at IS NOT NULL"),
    postgresql_where=text("abandoned_at IS NOT NULL"),
)

Index(
    "ix_generations_to_cancel",
    generations.c.lease_owner,
    sqlite_where=text("cancel_requested_at IS NOT NULL AND lease_owner IS NOT NULL"),
    postgresql_where=text("cancel_requested_at IS NOT NULL AND lease_owner IS NOT NULL"),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("generation_id", Text, ForeignKey("generations.id"), nullable=False, index=True),
    Column("created_at", Timestamp, nullable=False, index=True),
)

attempts = Table(
    "attempts",
    metadata,
    Column("generation_id", Text, ForeignKey("generations.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("backend", Text, nullable=False),
    Column("image_indices", Json, nullable=False),
    Column("status", Text, nullable=False),
    Column("upstream_id", Text),
    Column("sent_at", Timestamp),
    Column("finished_at", Timestamp),
    Column("cost_micros", BigInteger, nullable=False),
    Column("jobs", Json),  # under way far away, and how to ask for them; see generations/record.py; NULL: none
)

images = Table(
    "images",
    metadata,
    Column("id", Text, primary_key=True),
    Column("generation_id", Text, ForeignKey("generations.id"), nullable=False),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("position", Integer, nullable=False),
    Column("storage_key", Text, nullable=False, unique=True),
    Column("encoding", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("url_expires_at", Timestamp),  # NULL: the name alone opens it; else the URL must be signed
    Column("created_at", Timestamp, nullable=False),
    Column("deleted_at", Timestamp),
    Column("purged_at", Timestamp),  # the file is gone too
)
Index("ix_images_generation", images.c.generation_id, images.c.position, unique=True)
Index("ix_images_account_newest", images.c.account_id, images.c.created_at, images.c.id)
Index(
    "ix_images_to_purge",
    images.c.id,
    sqlite_where=text("deleted_at IS NOT NULL AND purged_at IS NULL"),
    postgresql_where=text("deleted_at IS NOT NULL AND purged_at IS NULL"),
)

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id")),  # NULL: the house's own
    Column("kind", Text, nullable=False),
    Column("balance_micros", BigInteger, nullable=False),
    Column("held_micros", BigInteger, nullable=False),
    CheckConstraint("held_micros >= 0", name="ck_ledger_accounts_held"),
    CheckConstraint("kind <> 'credits' OR balance_micros >= held_micros", name="ck_ledger_accounts_credits"),
)

transfers = Table(
    "transfers",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("debit_id", Text, ForeignKey("ledger_accounts.id"), nullable=False),
    Column("credit_id", Text, ForeignKey("ledger_accounts.id"), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("generation_id", Text, ForeignKey("generations.id"), index=True),
    Column("reference", Text, unique=True),  # names what came from outside, so that it counts once
    Column("created_at", Timestamp, nullable=False),
    Column("note", Text),  # what who paid in says of it
    CheckConstraint("amount_micros > 0", name="ck_transfers_amount"),
    Index("ix_transfers_debit_newest", "debit_id", "created_at", "amount_micros"),
    Index("ix_transfers_credit_newest", "credit_id", "created_at"),
)

holds = Table(
    "holds",
    metadata,
    Column("generation_id", Text, ForeignKey("generations.id"), primary_key=True),
    Column("ledger_account_id", Text, ForeignKey("ledger_accounts.id"), nullable=False),
    Column("amount_micros", BigInteger, nullable=False),
    Column("posted_micros", BigInteger),  # NULL while it is held
    Column("status", Text, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("resolved_at", Timestamp),
    Column("api_key_id", Text),  # whose budgets it counts against; NULL: painted from the command line
    CheckConstraint("amount_micros >= 0", name="ck_holds_amount"),
)
Index("ix_holds_api_key", holds.c.api_key_id, holds.c.created_at)
Index(
    "ix_holds_open",
    holds.c.ledger_account_id,
    sqlite_where=text("status = 'held'"),
    postgresql_where=text("status = 'held'"),
)

key_spend = Table(
    "key_spend",
    metadata,
    Column("api_key_id", Text, ForeignKey("api_keys.id"), primary_key=True),
    Column("period", Text, primary_key=True),  # total, day or month, in UTC
    Column("period_start", BigInteger, primary_key=True),  # in microseconds since 1970, as Timestamp keeps them
    Column("period_end", BigInteger, nullable=False),  # the first microsecond after it
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("spent_micros", BigInteger, nullable=False),
    Column("held_micros", BigInteger, nullable=False),
    CheckConstraint("spent_micros >= 0 AND held_micros >= 0", name="ck_key_spend_amounts"),
)

usage_days = Table(
    "usage_days",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("day", Integer, primary_key=True),  # since 1970, of UTC
    Column("model", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),  # empty: painted without a key
    Column("orders", BigInteger, nullable=False),
    Column("images", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("cost_micros", BigInteger, nullable=False),
    Column("times", Json, nullable=False),  # how many took about how long; see usage/times.py
)

usage_marks = Table(
    "usage_marks",
    metadata,
    Column("account_id", Text, ForeignKey("accounts.id"), primary_key=True),
    Column("added_until", Timestamp, nullable=False),  # orders begun before it are in usage_days, later ones are not
)

webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("events", Json),  # NULL: all of them
    Column("description", Text, nullable=False),
    Column("is_active", Boolean, nullable=False),
    Column("disabled_reason", Text),  # why we, not its owner, made it inactive
    Column("secret_salt", Text, nullable=False),  # what its secret is derived with; see webhooks/secret.py
    Column("secret_check", Text, nullable=False),
    Column("previous_salt", Text),
    Column("previous_until", Timestamp),
    Column("created_at", Timestamp, nullable=False),
)

webhook_events = Table(
    "webhook_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("type", Text, nullable=False),
    Column("subject_id", Text, nullable=False),  # the order it is about
    Column("sequence", Integer, nullable=False),
    Column("body", Text, nullable=False),  # exactly what is sent and signed, in every try
    Column("created_at", Timestamp, nullable=False, index=True),
    UniqueConstraint("subject_id", "sequence"),
)

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("endpoint_id", Text, ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("event_id", Text, ForeignKey("webhook_events.id"), nullable=False, index=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("subject_id", Text, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Timestamp, nullable=False),
    Column("lease", Text),  # of the one try that is under way
    Column("lease_until", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Column("attempted_at", Timestamp),
    Column("delivered_at", Timestamp),
    Column("answered_status", Integer),
    Column("error", Text),
    UniqueConstraint("endpoint_id", "subject_id", "sequence"),
    Index("ix_webhook_deliveries_newest", "endpoint_id", "created_at"),
)
Index(
    "ix_webhook_deliveries_due",
    webhook_deliveries.c.endpoint_id,
    webhook_deliveries.c.due_at,
    sqlite_where=text("status = 'pending'"),
    postgresql_where=text("status = 'pending'"),
)

rate_buckets = Table(
    "rate_buckets",
    metadata,
    Column("party_id", Text, primary_key=True),  # an account or an API key
    Column("kind", Text, primary_key=True),  # of limit; see limits/shared.py
    Column("full_at", BigInteger, nullable=False),  # nanoseconds since 1970: when all tokens will be there again
)

users = Table(
    "users",
    metadata,
    Column("id", Text, primary_key=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False, index=True),
    Column("name", Text, nullable=False, unique=True),  # as it is compared: see accounts/user.py
    Column("role", Text, nullable=False),
    Column("password_hash", Text),  # NULL: signs in by other means
    Column("created_at", Timestamp, nullable=False),
    Column("signed_in_at", Timestamp),
)

identities = Table(
    "identities",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column(
        "subject", Text, primary_key=True
    ),  # the issuer's name for a person: never given to another, unlike addresses
    Column("user_id", Text, ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    UniqueConstraint("user_id", "issuer"),
)

user_sessions = Table(
    "user_sessions",
    metadata,
    Column("token_sha256", Text, primary_key=True),
    Column("user_id", Text, ForeignKey("users.id"), nullable=False, index=True),
    Column("account_id", Text, ForeignKey("accounts.id"), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("seen_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False, index=True),
)

join_links = Table(
    "join_links",
    metadata,
    Column("id", Text, primary_key=True),
    Column("token_sha256", Text, nullable=False, unique=True),
    Column("account_id", Text, ForeignKey("accounts.id")),  # NULL: one of their own, made when they join
    Column("role", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("is_first", Boolean, nullable=False),  # for the very first user; opens nothing once there is one
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
)

failed_sign_ins = Table(
    "failed_sign_ins",
    metadata,
    Column("party", Text, primary_key=True),  # a hash of who tried what; see accounts/backoff.py
    Column("failures", Integer, nullable=False),
    Column("failed_at", Timestamp, nullable=False, index=True),
    Column("wait_until", Timestamp, nullable=False),
)

provider_credentials = Table(
    "provider_credentials",
    metadata,
    Column("id", Text, primary_key=True),
    Column("provider", Text, nullable=False),  # its name in the configuration
    Column("account_id", Text, ForeignKey("accounts.id")),  # NULL: the house's own
    Column("sealed", Text),  # see credentials/seal.py; NULL: it was removed
    Column("hint", Text, nullable=False),  # its last characters
    Column("may_fall_back", Boolean, nullable=False),  # to the house's, when this one is not accepted
    Column("created_by", Text),
    Column("created_at", Timestamp, nullable=False),  # when this value was set
    Column("changed_at", Timestamp, nullable=False, index=True),  # also by its removal and by a new seal
    Column("used_at", Timestamp),
)
Index("ix_provider_credentials_own", provider_credentials.c.account_id, provider_credentials.c.provider, unique=True)
Index(
    "ix_provider_credentials_house",
    provider_credentials.c.provider,
    unique=True,
    sqlite_where=text("account_id IS NULL"),
    postgresql_where=text("account_id IS NULL"),
)

model_changes = Table(
    "model_changes",
    metadata,
    Column("model", Text, primary_key=True),  # its id; empty: the catalogue as a whole
    Column("version", BigInteger, nullable=False),  # of the catalogue, as this was changed; see catalog/repository.py
    Column("change", Json, nullable=False),  # only what is different from the configuration
    Column("changed_at", Timestamp, nullable=False),
    Column("changed_by", Text, nullable=False),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("id", Text, primary_key=True),
    Column("at", Timestamp, nullable=False),
    Column("actor_kind", Text, nullable=False),
    Column("actor_id", Text),
    Column("actor_name", Text, nullable=False),
    Column("account_id", Text),  # whose things changed; no key of a table: events outlive what they tell of
    Column("action", Text, nullable=False),
    Column("object_kind", Text, nullable=False),
    Column("object_id", Text, nullable=False),
    Column("object_label", Text, nullable=False),
    Column("changes", Json, nullable=False),
    Column("request_id", Text),
    Column("address", Text),
)
Index("ix_audit_events_newest", audit_events.c.at, audit_events.c.id)
Index("ix_audit_events_account_newest", audit_events.c.account_id, audit_events.c.at, audit_events.c.id)
