"""`pinxit providers`: who can be rented from."""

import inspect
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from pinxit.cli.common import AsJson, print_json


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """What people want to know of one kind of provider."""

    kind: str
    title: str
    notes: str
    """What its file says of it."""
    credential_variable: str
    base_url: str
    options: tuple[str, ...]
    models: tuple[str, ...]
    edits: tuple[str, ...]
    streams: bool
    """Whether its models can show a picture on its way."""
    has_jobs: bool
    """Whether it takes jobs, which outlive this server's process."""
    documentation: tuple[str, ...]


def provider_rows() -> list[ProviderRow]:
    """All kinds there are a file for, sorted."""
    from pinxit.backends.upstream import list_kinds, load_kind
    from pinxit.backends.upstream._provider import Provider

    found = []
    for kind in map(load_kind, list_kinds()):
        specs = [model.spec for model in kind.models]
        found.append(
            ProviderRow(
                kind.name,
                kind.title,
                inspect.getdoc(sys.modules[kind.__module__]) or "",
                kind.credential_variable,
                kind.base_url,
                tuple(sorted(kind.option_names)),
                tuple(spec.id for spec in specs),
                tuple(spec.id for spec in specs if spec.capabilities.edits),
                kind.read_event is not Provider.read_event,
                kind.has_jobs,
                tuple(kind.documentation),
            )
        )
    return found


def providers(
    kind: Annotated[str | None, typer.Argument(help="Show this one in full.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List the kinds of upstream providers, or show one with its models."""
    from pinxit.backends.upstream import load_kind

    rows = provider_rows()
    if kind is not None:
        load_kind(kind)
        rows = [row for row in rows if row.kind == kind]
    if as_json or kind is not None:
        shown = [{name: getattr(row, name) for name in ProviderRow.__dataclass_fields__} for row in rows]
        print_json(shown[0] if kind is not None else shown)
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("kind", "provider", "credential", "models", box=None, header_style="bold")
    for row in rows:
        models = str(len(row.models)) if row.models else "as configured"
        table.add_row(row.kind, row.title, row.credential_variable or "none", models)
    Console().print(table)
