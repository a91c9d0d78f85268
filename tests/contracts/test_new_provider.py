"""A new provider is one file: what `make new-provider` writes paints as it is, once it lies where providers lie."""

import importlib
import sys
from pathlib import Path

import new_provider
import pytest
from test_providers import files, order_for, paint, painting

import pinxit.backends.upstream as upstream
from pinxit.cli.providers import provider_rows


async def test_one_file_is_all_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    providers, simulations = tmp_path / "providers", tmp_path / "simulations"
    providers.mkdir()
    simulations.mkdir()
    new_provider.write("acme", providers, simulations)
    monkeypatch.setattr(upstream, "__path__", [*upstream.__path__, str(providers)])
    monkeypatch.syspath_prepend(simulations)
    upstream.list_kinds.cache_clear()
    importlib.invalidate_caches()
    try:
        assert "acme" in upstream.list_kinds()
        assert "acme-image-1" in next(row for row in provider_rows() if row.kind == "acme").models
        async with painting("acme") as (server, backend):
            [file] = files(await paint(backend, order_for(backend, "acme-image-1")))
            assert (str(file.size), server.painted) == ("1024x1024", 1)
    finally:
        upstream.list_kinds.cache_clear()
        for name in ("pinxit.backends.upstream.acme", "simulated_acme"):
            sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["Acme", "_acme", "a-b", "class", "", "openai"])
def test_names_that_are_none_or_taken(name: str):
    with pytest.raises(SystemExit):
        new_provider.write(name)
