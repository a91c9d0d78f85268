"""Usage as a table that spreadsheets read (RFC 4180)."""

import csv
import io
from collections.abc import Sequence

from pinxit.usage.usage import Group, Usage

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for the beginning of a formula
(https://owasp.org/www-community/attacks/CSV_Injection).
"""


def to_csv(sums: Sequence[Usage], groups: Sequence[Group]) -> str:
    """A line of names, then a line for each sum; money in whole micro-dollars."""
    by = {"day": Group.DAY, "model": Group.MODEL, "key": Group.KEY, "key_name": Group.KEY}
    names = [name for name, group in by.items() if group in groups]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*names, "orders", "images", "errors", "cost_micros"])
    for each in sums:
        facts = {"day": each.day, "model": each.model, "key": each.key_id, "key_name": each.key_name}
        told = [_harmless("" if facts[name] is None else str(facts[name])) for name in names]
        writer.writerow([*told, each.orders, each.images, each.errors, each.cost_micros])
    return out.getvalue()


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
