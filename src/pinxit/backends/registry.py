"""Finds the backends that are installed: entry points of the group `pinxit.backends`."""

from importlib.metadata import EntryPoint, entry_points

from pinxit.backends.interface import Backend
from pinxit.errors import StartupError

GROUP = "pinxit.backends"


def list_names() -> list[str]:
    """The names of all installed backends, sorted."""
    return sorted({entry.name for entry in entry_points(group=GROUP)})


def load(name: str) -> Backend:
    """A new instance of the backend called `name`. Raises StartupError if it is not installed or cannot be imported."""
    entry = _find(name)
    try:
        backend_class = entry.load()
    except (ImportError, AttributeError) as error:
        raise StartupError(f"The backend {name!r} ({entry.value}) cannot be imported: {error}.") from error
    if not (isinstance(backend_class, type) and issubclass(backend_class, Backend)):
        raise StartupError(
            f"The backend {name!r} ({entry.value}) is not a subclass of pinxit.backends.interface.Backend."
        )
    return backend_class()


def _find(name: str) -> EntryPoint:
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry
    installed = ", ".join(list_names()) or "none"
    raise StartupError(f"There is no backend called {name!r}; installed: {installed}.")
