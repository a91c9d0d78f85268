"""What admins change of models while the server runs."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    table = op.create_table(
        "model_changes",
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("change", sa.Text, nullable=False),
        sa.Column("changed_at", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("model", name="pk_model_changes"),
    )
    whole = {"model": "", "version": 0, "change": "{}", "changed_at": 0, "changed_by": ""}
    op.bulk_insert(table, [whole])
