"""docs/providers.md is made from the providers' files: `PINXIT_WRITE_SNAPSHOTS=1` writes it anew."""

import os
import re
from pathlib import Path

from pinxit.cli.providers import ProviderRow, provider_rows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "providers.md"
RECORDINGS = ROOT / "tests" / "upstreams" / "recordings"
HEAD = """# Upstream providers

Who can be rented from. Each is one file in `src/pinxit/backends/upstream`, written from the provider's public
documentation and run against a server that others wrote from the same documentation; whether it was run against the
live service too, the table says.
How one is configured is in [configuration.md](configuration.md#providers); why they are built so, in
[decision 30](decisions/0030-provider-files.md). This page is made from the files.

Pictures that a provider *streams* are shown on their way to clients who want `partial_images`. *Jobs* are work that
goes on there without this server: one that is killed or stopped leaves them to the next
([decision 37](decisions/0037-jobs-far-away.md)).

| kind | provider | credential | models | streams | jobs | live |
| --- | --- | --- | --- | --- | --- | --- |
"""


def page() -> str:
    rows = provider_rows()
    return HEAD + "".join(map(_line, rows)) + "".join(map(_section, rows))


def _line(row: ProviderRow) -> str:
    models = f"[{len(row.models)}](#{row.kind})" if row.models else "as configured"
    credential = f"`{row.credential_variable}`" if row.credential_variable else "none"
    live = "recorded" if (RECORDINGS / f"{row.kind}.json").exists() else "not yet run against the live service"
    streams, jobs = "yes" if row.streams else "no", "resumed" if row.has_jobs else "none"
    return f"| `{row.kind}` | {row.title} | {credential} | {models} | {streams} | {jobs} | {live} |\n"


def _section(row: ProviderRow) -> str:
    edits = set(row.edits)
    models = ", ".join(f"`{name}`" + (" (edits)" if name in edits else "") for name in row.models)
    lines = [
        f"\n## {row.kind}\n",
        f"{row.title}, at `{row.base_url}`." if row.base_url else f"{row.title}; `base_url` says where.",
    ]
    lines.append(f"\n{row.notes}\n")
    if row.options:
        lines.append(f"Options: {', '.join(f'`{name}`' for name in row.options)}.")
    lines.append(f"Models: {models}." if models else "Models: those that the configuration names.")
    lines.append("Written from:\n")
    lines += [f"- {_link(source)}" for source in row.documentation]
    return "\n".join(lines) + "\n"


def _link(source: str) -> str:
    return re.sub(r"(https?://[^\s),]+)", r"<\1>", source)


def test_the_page_is_what_the_files_say():
    if os.environ.get("PINXIT_WRITE_SNAPSHOTS"):
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page()
