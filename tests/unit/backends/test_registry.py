"""Finding backends by their entry points, over real metadata on the path."""

import sys
from pathlib import Path

import pytest

from pinxit.backends import registry
from pinxit.errors import StartupError
from pinxit.testing.fake_backend import FakeBackend


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Puts a package with one entry point on the path."""

    def make(name: str, target: str) -> None:
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[pinxit.backends]\n{name} = {target}\n")

    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return make


def test_a_backend_is_found_by_its_entry_point(install):
    install("acme", "pinxit.testing.fake_backend:FakeBackend")
    assert "acme" in registry.list_names()
    assert isinstance(registry.load("acme"), FakeBackend)


def test_the_painter_in_the_box_is_installed():
    assert "otter" in registry.list_names()


def test_names_are_sorted(install):
    for name in ("zebra", "acme"):
        install(name, "pinxit.testing.fake_backend:FakeBackend")
    assert registry.list_names() == sorted(registry.list_names())


def test_one_that_is_not_installed_is_said_with_those_that_are():
    with pytest.raises(StartupError, match=r"no backend called 'acme'; installed: .*otter"):
        registry.load("acme")


def test_one_that_cannot_be_imported_is_said(install):
    install("acme", "no_such_module:Backend")
    with pytest.raises(StartupError, match=r"'acme' \(no_such_module:Backend\) cannot be imported"):
        registry.load("acme")


@pytest.mark.parametrize("target", ["pinxit.errors:PinxitError", "pinxit.errors:__doc__"])
def test_one_that_is_none_is_said(install, target: str):
    install("acme", target)
    with pytest.raises(StartupError, match="not a subclass"):
        registry.load("acme")


def test_one_without_its_class_is_said(install):
    install("acme", "pinxit.errors:NoSuchThing")
    with pytest.raises(StartupError, match=r"'acme' .* cannot be imported"):
        registry.load("acme")
