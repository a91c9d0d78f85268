"""Reports: usage added up in advance, notes on transfers, and both found quickly however much there is."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_table(
        "usage_days",
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("day", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("orders", sa.BigInteger, nullable=False),
        sa.Column("images", sa.BigInteger, nullable=False),
        sa.Column("errors", sa.BigInteger, nullable=False),
        sa.Column("cost_micros", sa.BigInteger, nullable=False),
        sa.Column("times", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "day", "model", "key_id", name="pk_usage_days"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_usage_days_account_id"),
    )
    op.create_table(
        "usage_marks",
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("added_until", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_usage_marks"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_usage_marks_account_id"),
    )
    op.add_column("transfers", sa.Column("note", sa.Text))
    op.drop_index("ix_transfers_debit_id", "transfers")
    op.drop_index("ix_transfers_credit_id", "transfers")
    op.create_index("ix_transfers_debit_newest", "transfers", ["debit_id", "created_at", "amount_micros"])
    op.create_index("ix_transfers_credit_newest", "transfers", ["credit_id", "created_at"])
