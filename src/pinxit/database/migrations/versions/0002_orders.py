"""The ledger (accounts, transfers that nobody can change, holds) and orders that are sent again.

Orders from before it get a hold of nothing.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "ledger_accounts",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("account_id", sa.Text),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("balance_micros", sa.BigInteger, nullable=False),
        sa.Column("held_micros", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_accounts"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_ledger_accounts_account_id"),
        sa.CheckConstraint("held_micros >= 0", name="ck_ledger_accounts_held"),
        sa.CheckConstraint("kind <> 'credits' OR balance_micros >= held_micros", name="ck_ledger_accounts_credits"),
    )
    op.create_table(
        "transfers",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("debit_id", sa.Text, nullable=False),
        sa.Column("credit_id", sa.Text, nullable=False),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("generation_id", sa.Text),
        sa.Column("reference", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_transfers"),
        sa.ForeignKeyConstraint(["debit_id"], ["ledger_accounts.id"], name="fk_transfers_debit_id"),
        sa.ForeignKeyConstraint(["credit_id"], ["ledger_accounts.id"], name="fk_transfers_credit_id"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_transfers_generation_id"),
        sa.UniqueConstraint("reference", name="uq_transfers_reference"),
        sa.CheckConstraint("amount_micros > 0", name="ck_transfers_amount"),
    )
    for column in ("debit_id", "credit_id", "generation_id"):
        op.create_index(f"ix_transfers_{column}", "transfers", [column])
    op.create_table(
        "holds",
        sa.Column("generation_id", sa.Text, nullable=False),
        sa.Column("ledger_account_id", sa.Text, nullable=False),
        sa.Column("amount_micros", sa.BigInteger, nullable=False),
        sa.Column("posted_micros", sa.BigInteger),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("resolved_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("generation_id", name="pk_holds"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_holds_generation_id"),
        sa.ForeignKeyConstraint(["ledger_account_id"], ["ledger_accounts.id"], name="fk_holds_ledger_account_id"),
        sa.CheckConstraint("amount_micros >= 0", name="ck_holds_amount"),
    )
    still_held = sa.text("status = 'held'")
    op.create_index(
        "ix_holds_open", "holds", ["ledger_account_id"], sqlite_where=still_held, postgresql_where=still_held
    )
    op.add_column("generations", sa.Column("fingerprint", sa.Text))
    op.add_column("generations", sa.Column("abandoned_at", sa.BigInteger))
    left = sa.text("abandoned_at IS NOT NULL")
    op.create_index(
        "ix_generations_abandoned",
        "generations",
        ["api_key_id", "fingerprint"],
        sqlite_where=left,
        postgresql_where=left,
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("generation_id", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name="pk_idempotency_keys"),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_idempotency_keys_account_id"),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name="fk_idempotency_keys_generation_id"),
    )
    op.create_index("ix_idempotency_keys_generation_id", "idempotency_keys", ["generation_id"])
    op.create_index("ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"])
    _forbid_changes()
    _hold_nothing_for_old_orders()


def _forbid_changes() -> None:
    """Transfers are immutable: the database itself refuses to change or remove one."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION refuse_to_change_a_transfer() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'a transfer is never changed'; END $$"
        )
        op.execute(
            "CREATE TRIGGER transfers_never_change BEFORE UPDATE OR DELETE OR TRUNCATE ON transfers "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_change_a_transfer()"
        )
        return
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER transfers_no_{verb.lower()} BEFORE {verb} ON transfers "
            "BEGIN SELECT RAISE(ABORT, 'a transfer is never changed'); END"
        )


def _hold_nothing_for_old_orders() -> None:
    op.execute(
        "INSERT INTO ledger_accounts (id, account_id, kind, balance_micros, held_micros) "
        "SELECT 'unbilled:' || id, id, 'unbilled', 0, 0 FROM accounts"
    )
    op.execute(
        "INSERT INTO holds "
        "(generation_id, ledger_account_id, amount_micros, posted_micros, status, created_at, resolved_at) "
        "SELECT id, 'unbilled:' || account_id, 0, CASE WHEN status = 'completed' THEN 0 END, "
        "CASE WHEN status = 'completed' THEN 'posted' "
        "WHEN status IN ('queued', 'in_progress') THEN 'held' ELSE 'voided' END, "
        "created_at, finished_at FROM generations"
    )
