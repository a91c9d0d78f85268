"""Usage as a table that spreadsheets read (RFC 4180)."""

import csv
import io
from collections.abc import Sequence

from pinxit.usage.usage import Group, Usage

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for the beginning of a formula
(https://owasp.org/www-community/attacks/CSV_Injection).
"""


def to_csv(sums: Sequence[Usage], groups: Sequence[Group], *, with_times: bool = False) -> str:
    """A line of names, then a line for each sum; money in whole micro-dollars, times in seconds."""
    by = {"day": Group.DAY, "model": Group.MODEL, "key": Group.KEY, "key_name": Group.KEY}
    names = [name for name, group in by.items() if group in groups]
    out = io.StringIO()
    writer = csv.writer(out)
    times = {"median_seconds": 0.5, "p95_seconds": 0.95} if with_times else {}
    writer.writerow([*names, "orders", "images", "errors", "cost_micros", *times])
    for each in sums:
        facts = {"day": each.day, "model": each.model, "key": each.key_id, "key_name": each.key_name}
        told = [_harmless("" if facts[name] is None else str(facts[name])) for name in names]
        lasted = [_seconds(each.times.quantile(share)) for share in times.values()]
        writer.writerow([*told, each.orders, each.images, each.errors, each.cost_micros, *lasted])
    return out.getvalue()


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text
