"""Orders that outlive their process: when they must have ended, and who else wants them to end."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("generations", sa.Column("deadline_at", sa.BigInteger))
    op.add_column("generations", sa.Column("cancel_requested_at", sa.BigInteger))
    wanted = sa.text("cancel_requested_at IS NOT NULL AND lease_owner IS NOT NULL")
    op.create_index(
        "ix_generations_to_cancel", "generations", ["lease_owner"], sqlite_where=wanted, postgresql_where=wanted
    )
