"""How long orders took, as counts of about equal times: small, and added up like any other sum."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_STEP = 1.1
"""Each bucket's times are up to a tenth longer than those of the one before it."""
_SHORTEST_MICROS = 10_000
_BUCKETS = 135
"""The last one is for all times from about an hour on."""
_EDGES = tuple(int(_SHORTEST_MICROS * _STEP**number) for number in range(_BUCKETS - 1))


@dataclass(frozen=True, slots=True)
class Times:
    """`counts`: bucket → how many orders. What it says of them is right to within a twentieth."""

    counts: Mapping[int, int] = field(default_factory=dict)

    def quantile(self, share: float) -> float | None:
        """The seconds that this share of the orders did not exceed, by the nearest rank; None if there are none."""
        rank = max(1, math.ceil(share * sum(self.counts.values())))
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return _middle_seconds(bucket)
        return None


NO_TIMES = Times()


def add_up_times(several: Iterable[Times]) -> Times:
    """All of them together."""
    counts: dict[int, int] = {}
    for each in several:
        for bucket, count in each.counts.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return Times(counts)


def bucket_in_sql(micros: str) -> str:
    """An SQL expression for the bucket of `micros`, an expression too: plain comparisons, by halves, since not every
    database has logarithms.
    """
    return _choice(micros, 0, len(_EDGES))


def _choice(micros: str, low: int, high: int) -> str:
    if low == high:
        return str(low)
    middle = (low + high) // 2
    shorter, longer = _choice(micros, low, middle), _choice(micros, middle + 1, high)
    return f"CASE WHEN {micros} < {_EDGES[middle]} THEN {shorter} ELSE {longer} END"


def _middle_seconds(bucket: int) -> float:
    return float(_SHORTEST_MICROS * _STEP ** (bucket - 0.5) / 1_000_000)
