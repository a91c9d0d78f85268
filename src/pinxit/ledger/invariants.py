"""What is true of the money in every committed state, as SQL. An empty list means that all of it holds."""

from sqlalchemy import Connection, text

INVARIANTS = {
    "the balances of all ledger accounts add up to zero": """
        SELECT 'sum ' || SUM(balance_micros) FROM ledger_accounts HAVING SUM(balance_micros) <> 0
    """,
    "no credits are below zero, and no more are held than there are": """
        SELECT id FROM ledger_accounts
        WHERE held_micros < 0 OR (kind = 'credits' AND (balance_micros < 0 OR balance_micros < held_micros))
    """,
    "a balance is the sum of its transfers": """
        SELECT a.id FROM ledger_accounts a
        WHERE a.balance_micros <> COALESCE((SELECT SUM(t.amount_micros) FROM transfers t WHERE t.credit_id = a.id), 0)
                                - COALESCE((SELECT SUM(t.amount_micros) FROM transfers t WHERE t.debit_id = a.id), 0)
    """,
    "what is held is the sum of the open holds": """
        SELECT a.id FROM ledger_accounts a
        WHERE a.held_micros <> COALESCE((SELECT SUM(h.amount_micros) FROM holds h
                                         WHERE h.ledger_account_id = a.id AND h.status = 'held'), 0)
    """,
    "every order has exactly one hold": """
        SELECT g.id FROM generations g LEFT JOIN holds h ON h.generation_id = g.id WHERE h.generation_id IS NULL
    """,
    "an open order's money is held, an ended order's is not": """
        SELECT g.id FROM generations g JOIN holds h ON h.generation_id = g.id
        WHERE (g.status IN ('queued', 'in_progress')) <> (h.status = 'held')
    """,
    "only a completed order is charged, and never more than was held": """
        SELECT g.id FROM generations g JOIN holds h ON h.generation_id = g.id
        WHERE (h.status = 'posted' AND (g.status <> 'completed' OR h.posted_micros > h.amount_micros))
           OR (h.status = 'voided' AND g.status = 'completed')
    """,
    "an order's transfers add up to what was posted": """
        SELECT h.generation_id FROM holds h
        WHERE COALESCE(h.posted_micros, 0)
              <> COALESCE((SELECT SUM(t.amount_micros) FROM transfers t WHERE t.generation_id = h.generation_id), 0)
    """,
    "an order costs what was posted": """
        SELECT g.id FROM generations g JOIN holds h ON h.generation_id = g.id
        WHERE g.status = 'completed' AND g.cost_micros <> COALESCE(h.posted_micros, 0)
    """,
    "what a key has spent in a period is the sum of what its orders of that period were charged": """
        SELECT s.api_key_id || ' ' || s.period || ' ' || s.period_start FROM key_spend s
        WHERE s.spent_micros <> COALESCE((SELECT SUM(h.posted_micros) FROM holds h
                                          WHERE h.api_key_id = s.api_key_id AND h.created_at >= s.period_start
                                            AND h.created_at < s.period_end), 0)
    """,
    "what a key holds in a period is the sum of its open orders of that period": """
        SELECT s.api_key_id || ' ' || s.period || ' ' || s.period_start FROM key_spend s
        WHERE s.held_micros <> COALESCE((SELECT SUM(h.amount_micros) FROM holds h
                                         WHERE h.api_key_id = s.api_key_id AND h.created_at >= s.period_start
                                           AND h.created_at < s.period_end AND h.status = 'held'), 0)
    """,
    "every order of a key that costs something counts in all, for its day and for its month": """
        SELECT h.generation_id FROM holds h WHERE h.api_key_id IS NOT NULL AND h.amount_micros > 0
        AND 3 <> (SELECT COUNT(*) FROM key_spend s WHERE s.api_key_id = h.api_key_id
                  AND h.created_at >= s.period_start AND h.created_at < s.period_end)
    """,
    "an order counts for the key that it was sent with": """
        SELECT g.id FROM generations g JOIN holds h ON h.generation_id = g.id
        WHERE COALESCE(g.api_key_id, '') <> COALESCE(h.api_key_id, '')
    """,
}
"""Name → a query for what breaks it."""


def check(connection: Connection) -> list[str]:
    """What is wrong, a sentence each with at most one example; empty if everything holds."""
    problems = []
    for name, query in INVARIANTS.items():
        example = connection.execute(text(query)).first()
        if example is not None:
            problems.append(f"It does not hold that {name}: {example[0]}.")
    return problems
