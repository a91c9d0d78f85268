"""Limits and budgets of API keys, what each key has spent by period, and how many pictures an order gave.

What keys spent before it is counted from the holds that are there.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOR_EVER = 2**62


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("limits", sa.Text, nullable=False, server_default="{}"))
    op.add_column("api_keys", sa.Column("budgets", sa.Text, nullable=False, server_default="{}"))
    op.add_column("generations", sa.Column("image_count", sa.Integer, nullable=False, server_default="0"))
    op.add_column("holds", sa.Column("api_key_id", sa.Text))
    op.create_index("ix_holds_api_key", "holds", ["api_key_id", "created_at"])
    op.create_table(
        "key_spend",
        sa.Column("api_key_id", sa.Text, nullable=False),
        sa.Column("period", sa.Text, nullable=False),
        sa.Column("period_start", sa.BigInteger, nullable=False),
        sa.Column("period_end", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("spent_micros", sa.BigInteger, nullable=False),
        sa.Column("held_micros", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("api_key_id", "period", "period_start", name="pk_key_spend"),
        sa.ForeignKeyConstraint(["api_key_id"], ["api_keys.id"], name="fk_key_spend_api_key_id"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_key_spend_account_id"),
        sa.CheckConstraint("spent_micros >= 0 AND held_micros >= 0", name="ck_key_spend_amounts"),
    )
    _count_pictures()
    _count_spending()


def _count_pictures() -> None:
    """Pictures that were not to be kept have no row: of orders before this migration they are not counted."""
    op.execute(
        "UPDATE generations SET image_count = "
        "(SELECT COUNT(*) FROM images WHERE images.generation_id = generations.id) WHERE status = 'completed'"
    )


def _count_spending() -> None:
    op.execute(
        "UPDATE holds SET api_key_id = (SELECT g.api_key_id FROM generations g WHERE g.id = holds.generation_id)"
    )
    connection = op.get_bind()
    rows = connection.execute(
        sa.text(
            "SELECT h.api_key_id, g.account_id, h.created_at, h.amount_micros, h.posted_micros, h.status "
            "FROM holds h JOIN generations g ON g.id = h.generation_id "
            "WHERE h.api_key_id IS NOT NULL AND h.amount_micros > 0"
        )
    )
    spending: dict[tuple[Any, ...], list[int]] = {}
    for row in rows:
        for period, start, end in _periods(row.created_at):
            amounts = spending.setdefault((row.api_key_id, period, start, end, row.account_id), [0, 0])
            amounts[0] += row.posted_micros or 0
            amounts[1] += row.amount_micros if row.status == "held" else 0
    for (key, period, start, end, account), (spent, held) in spending.items():
        connection.execute(
            sa.text("INSERT INTO key_spend VALUES (:key, :period, :start, :end, :account, :spent, :held)"),
            {
                "key": key,
                "period": period,
                "start": start,
                "end": end,
                "account": account,
                "spent": spent,
                "held": held,
            },
        )


def _periods(created_at: int) -> Iterator[tuple[str, int, int]]:
    """The periods of a moment in microseconds since 1970: name, first microsecond, first one after."""
    moment = _EPOCH + timedelta(microseconds=created_at)
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    month = day.replace(day=1)
    yield "total", 0, _FOR_EVER
    yield "day", _micros(day), _micros(day + timedelta(days=1))
    yield "month", _micros(month), _micros((month + timedelta(days=32)).replace(day=1))


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
