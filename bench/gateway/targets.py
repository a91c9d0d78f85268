"""Medians of the measurements as tables in Markdown: every cell, and every target beside what was reached."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def report(rows: Sequence[Row], servers: Mapping[str, Any], disk: Sequence[Mapping[str, float]]) -> str:
    medians = _Medians(rows)
    parts = [_starts(servers), _disk(disk)]
    parts += [_cell(cell, rows, medians) for cell in dict.fromkeys(row["cell"] for row in rows)]
    parts.append(_targets(medians, servers))
    return "\n\n".join(parts)


class _Medians:
    """Of one measure of one way at one cell; None if it was not measured."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._rows = rows

    def __call__(self, way: str, cell: str, measure: str) -> float | None:
        values = [
            row[measure] for row in self._rows if (row["way"], row["cell"]) == (way, cell) and row[measure] is not None
        ]
        return statistics.median(values) if values else None

    def ratio(self, way: str, other: str, cell: str, measure: str) -> float | None:
        mine, its = self(way, cell, measure), self(other, cell, measure)
        return mine / its if mine is not None and its else None

    def added(self, way: str, cell: str) -> float | None:
        """Median latency over the bare upstream's, in milliseconds."""
        mine, its = self(way, cell, "p50"), self("direct", cell, "p50")
        return mine - its if mine is not None and its is not None else None


def _starts(servers: Mapping[str, Any]) -> str:
    lines = ["| server | start to first 200, s | idle RSS, MiB |", "| --- | --- | --- |"]
    for name, facts in servers.items():
        memory = ", ".join(f"{part} {value:.0f}" for part, value in facts["idle_mebibytes"].items())
        lines.append(f"| {name} | {facts['start_seconds']:.2f} | {memory} |")
    return "\n".join(lines)


def _disk(disk: Sequence[Mapping[str, float]]) -> str:
    syncs, pictures = ([looked[name] for looked in disk] for name in ("sync_ms", "picture_ms"))
    return (
        f"A durable write of 4 KiB took {statistics.median(syncs):.2f} ms ({min(syncs):.2f} to {max(syncs):.2f}), "
        f"one of 1.6 MB {statistics.median(pictures):.2f} ms ({min(pictures):.2f} to {max(pictures):.2f})."
    )


def _cell(cell: str, rows: Sequence[Row], medians: _Medians) -> str:
    lines = [
        f"**{cell}**\n",
        "| way | req/s | × nginx | × LiteLLM | p50 ms | added p50 ms | CPU ms/req | × nginx | peak RSS MiB | failed "
        "| req/s of the rounds | foreign cores |",
        "| --- " * 12 + "|",
    ]
    for way in dict.fromkeys(row["way"] for row in rows if row["cell"] == cell):
        here = [row for row in rows if (row["way"], row["cell"]) == (way, cell)]
        rates = [row["rate"] for row in here]
        values = [
            _number(medians(way, cell, "rate")),
            _number(medians.ratio(way, "nginx", cell, "rate")),
            _number(medians.ratio(way, "litellm-2w", cell, "rate")),
            _number(medians(way, cell, "p50")),
            _number(medians.added(way, cell)),
            _number(medians(way, cell, "cpu_ms")),
            _number(medians.ratio(way, "nginx", cell, "cpu_ms")),
            _number(medians(way, cell, "peak_mebibytes")),
            f"{sum(row['failed'] for row in here):.0f}",
            f"{_number(min(rates))} to {_number(max(rates))}",
            _number(medians(way, cell, "foreign_cores")),
        ]
        lines.append(f"| {way} | {' | '.join(values)} |")
    return "\n".join(lines)


def _targets(medians: _Medians, servers: Mapping[str, Any]) -> str:
    pinxit = servers.get("pinxit", {"start_seconds": None, "idle_mebibytes": {"api": None, "painter": None}})
    rate_of, cpu_of = "rate", "cpu_ms"
    direct_share = medians.ratio("pinxit", "direct", "small-d50:16", rate_of)
    rows = [
        ("large:16, base64, stored", "× LiteLLM", medians.ratio("pinxit", "litellm-2w", "large:16", rate_of), "≥ 5"),
        ("", "CPU ms/req", medians("pinxit", "large:16", cpu_of), "≤ 4"),
        ("large:16, URL, stored", "CPU ms/req", medians("pinxit-url", "large:16", cpu_of), "≤ 4"),
        ("large:16, not stored", "× nginx", medians.ratio("pinxit-no-store", "nginx", "large:16", rate_of), "≥ 0.45"),
        ("", "CPU × nginx", medians.ratio("pinxit-no-store", "nginx", "large:16", cpu_of), "≤ 2.5"),
        ("small:64, stored", "× LiteLLM", medians.ratio("pinxit", "litellm-2w", "small:64", rate_of), "≥ 10"),
        ("small:1", "added p50, ms", medians.added("pinxit", "small:1"), "≤ 1.5 and the syncs"),
        ("large:1", "added p50, ms", medians.added("pinxit", "large:1"), "≤ 4 and the syncs"),
        ("small-d50:16", "share of direct", direct_share, "≥ 0.92"),
        ("large:64", "peak RSS, MiB", medians("pinxit", "large:64", "peak_mebibytes"), "≤ 200"),
        ("idle", "RSS of the API, MiB", pinxit["idle_mebibytes"]["api"], "≤ 110"),
        ("", "RSS of the painter, MiB", pinxit["idle_mebibytes"]["painter"], "stated"),
        ("start", "to the first 200, s", pinxit["start_seconds"], "≤ 1.2"),
    ]
    lines = ["| cell | measure | reached | target |", "| --- | --- | --- | --- |"]
    lines += [f"| {cell} | {measure} | {_number(value)} | {target} |" for cell, measure, value, target in rows]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
