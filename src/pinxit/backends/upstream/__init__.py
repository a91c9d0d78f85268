"""Upstream providers, one file each: its presence is all it takes.

A file `<name>.py` beside this one, with one subclass of `Provider` whose `name` is the file's, can be named as a `kind`
under `providers` in the configuration, is run through the contract suite, and has its row in docs/providers.md.
"""

import pkgutil
from functools import cache
from importlib import import_module

from pinxit.backends.upstream._provider import Provider
from pinxit.errors import ConfigurationError


@cache
def list_kinds() -> tuple[str, ...]:
    """The names of all providers there are a file for, sorted."""
    return tuple(sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_")))


def load_kind(name: str) -> type[Provider]:
    """The provider's class. Raises ConfigurationError if there is no file for it."""
    if name not in list_kinds():
        raise ConfigurationError(f"There is no provider {name!r}. There are: {', '.join(list_kinds())}.")
    module = import_module(f"{__name__}.{name}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Provider) and value.__module__ == module.__name__
    ]
    if len(found) != 1 or found[0].name != name:
        raise ConfigurationError(f"The file of the provider {name!r} must have one Provider called {name!r}.")
    return found[0]
