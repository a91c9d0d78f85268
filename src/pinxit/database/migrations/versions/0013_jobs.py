"""Jobs far away: how to ask for them, so that the next process can."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("jobs", sa.Text))
