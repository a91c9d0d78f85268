"""Credentials of upstream providers, sealed: the house's own and those of accounts."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.create_table(
        "provider_credentials",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("sealed", sa.Text),
        sa.Column("hint", sa.Text, nullable=False),
        sa.Column("may_fall_back", sa.Boolean, nullable=False),
        sa.Column("created_by", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_provider_credentials"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_provider_credentials_account_id"),
    )
    op.create_index("ix_provider_credentials_own", "provider_credentials", ["account_id", "provider"], unique=True)
    op.create_index(
        "ix_provider_credentials_house",
        "provider_credentials",
        ["provider"],
        unique=True,
        sqlite_where=sa.text("account_id IS NULL"),
        postgresql_where=sa.text("account_id IS NULL"),
    )
    op.create_index("ix_provider_credentials_changed_at", "provider_credentials", ["changed_at"])
