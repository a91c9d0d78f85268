"""Accounts, API keys, generations with their attempts, images."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False),
        sa.Column("last4", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("models", sa.Text),
        sa.Column("default_delivery", sa.Text),
        sa.Column("strict", sa.Boolean, nullable=False),
        sa.Column("url_ttl_seconds", sa.Integer),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger),
        sa.Column("revoked_at", sa.BigInteger),
        sa.Column("last_used_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_api_keys_account_id"),
        sa.UniqueConstraint("secret_sha256", name="uq_api_keys_secret_sha256"),
    )
    op.create_index("ix_api_keys_account_id", "api_keys", ["account_id"])
    op.create_table(
        "generations",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("api_key_id", sa.Text),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("requested_model", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("parameters", sa.Text, nullable=False),
        sa.Column("storage_keys", sa.Text, nullable=False),
        sa.Column("cost_micros", sa.BigInteger, nullable=False),
        sa.Column("input_tokens", sa.Integer, nullable=False),
        sa.Column("output_tokens", sa.Integer, nullable=False),
        sa.Column("error_class", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("lease_owner", sa.Text),
        sa.Column("lease_until", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_generations"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_generations_account_id"),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="fk_generations_api_key_id"),
    )
    op.create_index("ix_generations_account_newest", "generations", ["account_id", "created_at", "id"])
    still_open = sa.text("status IN ('queued', 'in_progress')")
    op.create_index(
        "ix_generations_open", "generations", ["lease_until"], sqlite_where=still_open, postgresql_where=still_open
    )
    unswept = sa.text("status IN ('failed', 'cancelled') AND storage_keys <> '[]'")
    op.create_index(
        "ix_generations_files_to_remove", "generations", ["id"], sqlite_where=unswept, postgresql_where=unswept
    )
    op.create_table(
        "attempts",
        sa.Column("generation_id", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("backend", sa.Text, nullable=False),
        sa.Column("image_indices", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("upstream_id", sa.Text),
        sa.Column("sent_at", sa.BigInteger),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("cost_micros", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("generation_id", "number", name="pk_attempts"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_attempts_generation_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_attempts_account_id"),
    )
    op.create_table(
        "images",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("generation_id", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("storage_key", sa.Text, nullable=False),
        sa.Column("encoding", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("url_expires_at", sa.BigInteger),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("purged_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_images"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_images_generation_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_images_account_id"),
        sa.UniqueConstraint("storage_key", name="uq_images_storage_key"),
    )
    op.create_index("ix_images_generation", "images", ["generation_id", "position"], unique=True)
    op.create_index("ix_images_account_newest", "images", ["account_id", "created_at", "id"])
    unpurged = sa.text("deleted_at IS NOT NULL AND purged_at IS NULL")
    op.create_index("ix_images_to_purge", "images", ["id"], sqlite_where=unpurged, postgresql_where=unpurged)
