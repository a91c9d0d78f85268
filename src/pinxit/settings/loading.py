"""Gathers settings from file, environment and command line, and says everything that is wrong with them at once."""

import difflib
import os
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from pinxit.errors import ConfigurationError
from pinxit.settings.document import UNREADABLE, Location, Place, Unreadable, path_text, read_document, shown
from pinxit.settings.entries import BackendParams, ModelEntry, ModelParams, ProviderEntry
from pinxit.settings.model import (
    ENVIRONMENT_PREFIX,
    FILE_ONLY,
    Settings,
    environment_name,
    is_list,
    is_optional,
    is_path,
    range_text,
    setting_names,
)
from pinxit.settings.sign_in import AllowEntry, OidcEntry, PeopleEntry

CONFIG_VARIABLE = "PINXIT_CONFIG"
DEFAULT_CONFIG_FILE = Path("pinxit.yaml")
TOP_LEVEL_KEYS = (*FILE_ONLY, "settings")

NOT_SETTINGS = (CONFIG_VARIABLE, "PINXIT_REQUIRE_ALL", "PINXIT_WRITE_SNAPSHOTS", "PINXIT_URL", "PINXIT_API_KEY")
_NOT_SETTINGS_PREFIX = "PINXIT_TEST_"

_KINDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text; put it in quotes",
    "path_type": "a path",
    "tuple_type": "a list",
    "dict_type": "a mapping of names to values",
    "model_type": "a mapping of names to values",
}
_RANGE_ERRORS = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")


def load_settings(
    config_file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, object] = MappingProxyType({}),
) -> Settings:
    """The settings: defaults, then the file, then `PINXIT_…` variables, then `overrides`; what comes later wins.

    Args:
        config_file: the file to read; else the one that PINXIT_CONFIG names, else `pinxit.yaml` here if it exists.
        environ: the environment, also for `${NAME}` in the file.
        overrides: settings by name, from the command line; None means not given.

    Raises:
        ConfigurationError: one problem per line, each with its file and line, variable or flag.
    """
    gathered = _Gathered()
    path = _config_path(config_file, environ)
    if path is not None:
        _gather_file(gathered, path, environ)
    _gather_environment(gathered, environ)
    _gather_overrides(gathered, overrides)
    settings = _validate(gathered)
    if gathered.problems or settings is None:
        raise ConfigurationError("\n".join(gathered.problems))
    return settings


class _Gathered:
    """Values of all sources laid over each other, each with its place; and the problems found so far."""

    def __init__(self) -> None:
        self.values: dict[str, object] = {}
        self.places: dict[Location, Place] = {}
        self.problems: list[str] = []

    def put(self, name: str, value: object, places: Mapping[Location, Place]) -> None:
        """Replace what was known about `name`. `places` are by location below `name`."""
        self.values[name] = value
        self.places = {location: place for location, place in self.places.items() if location[0] != name}
        self.places |= {(name, *location): place for location, place in places.items()}


def _config_path(config_file: Path | None, environ: Mapping[str, str]) -> Path | None:
    if config_file is not None:
        return config_file
    named = environ.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_CONFIG_FILE if DEFAULT_CONFIG_FILE.exists() else None


def _gather_file(gathered: _Gathered, path: Path, environ: Mapping[str, str]) -> None:
    document = read_document(path, environ)
    gathered.problems += document.problems
    sections = document.value
    if sections is None or isinstance(sections, Unreadable):
        return
    if not isinstance(sections, dict):
        gathered.problems.append(f"{document.places[()].where}: must be a mapping of {_listing(TOP_LEVEL_KEYS)}")
        return
    for key, value in sections.items():
        where = document.places[(key,)].where
        if key == "settings":
            _gather_section(gathered, value, document.places, path.parent)
        elif key not in FILE_ONLY:
            gathered.problems.append(f"{where}: {path_text((key,))}: {_unknown_top_level_key(key)}")
        elif value is not None:
            gathered.put(key, _with_whole_paths(value, path.parent), _below((key,), document.places))


def _with_whole_paths(value: object, directory: Path) -> object:
    """`client_secret_file` of `oidc` is relative to the file that names it, as every path is."""
    named = value.get("client_secret_file") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(named, str) or not named or named.startswith("~"):
        return value
    return {**value, "client_secret_file": directory / named}


def _gather_section(gathered: _Gathered, section: object, places: Mapping[Location, Place], directory: Path) -> None:
    """The part `settings:` of a file. An empty value leaves the default."""
    if section is None or isinstance(section, Unreadable):
        return
    if not isinstance(section, dict):
        gathered.problems.append(f"{places[('settings',)].where}: settings: must be a mapping of names to values")
        return
    for name, value in section.items():
        location = ("settings", name)
        if name not in setting_names():
            hint = "belongs at the top of the file" if name in FILE_ONLY else _unknown("setting", name, setting_names())
            gathered.problems.append(f"{places[location].where}: {path_text(location)}: {hint}")
        elif value is not None:
            _put(gathered, name, value, _below(location, places), directory)


def _gather_environment(gathered: _Gathered, environ: Mapping[str, str]) -> None:
    by_variable = {environment_name(name): name for name in setting_names()}
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or variable.startswith(_NOT_SETTINGS_PREFIX):
            continue
        if variable in by_variable:
            text = environ[variable]
            _put(
                gathered,
                by_variable[variable],
                text,
                {(): Place(variable, shown(repr(text)), is_text=True, names_setting=True)},
                Path(),
            )
        elif variable.removeprefix(ENVIRONMENT_PREFIX).lower() in FILE_ONLY:
            gathered.problems.append(f"{variable}: can only be set in a configuration file")
        elif variable not in NOT_SETTINGS:
            gathered.problems.append(f"{variable}: {_unknown('setting', variable, [*by_variable, CONFIG_VARIABLE])}")


def _gather_overrides(gathered: _Gathered, overrides: Mapping[str, object]) -> None:
    for name, value in overrides.items():
        flag = f"--{name.replace('_', '-')}"
        if name not in Settings.model_fields:
            gathered.problems.append(f"{flag}: {_unknown('setting', name, setting_names())}")
        elif value is not None:
            place = Place(flag, shown(repr(value)), is_text=isinstance(value, str), names_setting=True)
            _put(gathered, name, value, {(): place}, Path())


def _put(gathered: _Gathered, name: str, value: object, places: Mapping[Location, Place], directory: Path) -> None:
    """Put a value as its source writes it: lists with commas, empty for none, paths relative to `directory`."""
    place = places.get((), Place("", ""))
    if place.is_text and value == "" and is_optional(name):
        value = None
    elif place.is_text and isinstance(value, str) and is_list(name):
        value = [part.strip() for part in value.split(",") if part.strip()]
        if place.names_setting:
            places = {(): place} | {
                (index,): replace(place, shown=shown(repr(part))) for index, part in enumerate(value)
            }
    elif isinstance(value, str) and value and is_path(name) and not value.startswith("~"):
        value = directory / value
    gathered.put(name, value, places)


def _below(prefix: Location, places: Mapping[Location, Place]) -> dict[Location, Place]:
    depth = len(prefix)
    return {location[depth:]: place for location, place in places.items() if location[:depth] == prefix}


def _validate(gathered: _Gathered) -> Settings | None:
    try:
        return Settings.model_validate(gathered.values)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            line = _problem_line(details, gathered)
            if line is not None and line not in gathered.problems:
                gathered.problems.append(line)
        return None


def _problem_line(details: ErrorDetails, gathered: _Gathered) -> str | None:
    """One line about what pydantic found, or None where the value's own problem is listed already."""
    context: Mapping[str, Any] = details.get("ctx", {})
    location: Location = (*details["loc"], *context.get("at", ()))
    value = _value_at(location, gathered.values)
    if value is UNREADABLE:
        return None
    place = _place_of(location, gathered.places)
    message = _message(details, context, location)
    if place is None:
        return f"settings.{path_text(location)}: {message}"
    shows_value = context.get("shows_value", details["type"] not in ("missing", "extra_forbidden"))
    tail = f", not {place.shown}" if shows_value and place.shown else ""
    if place.names_setting:
        return f"{place.where}: {message}{tail}"
    prefix = "" if location[0] in FILE_ONLY else "settings."
    return f"{place.where}: {prefix}{path_text(location)}: {message}{tail}"


def _value_at(location: Location, values: object) -> object:
    """What was gathered at `location`: UNREADABLE if that is so of anything on the way, None if there is nothing."""
    for step in location:
        if isinstance(values, Unreadable):
            break
        if isinstance(values, dict):
            values = values.get(step)
        elif isinstance(values, list) and isinstance(step, int) and step < len(values):
            values = values[step]
        else:
            return None
    return values


def _place_of(location: Location, places: Mapping[Location, Place]) -> Place | None:
    """The place of the value at `location` or of what it is in."""
    return next((places[location[:end]] for end in range(len(location), 0, -1) if location[:end] in places), None)


def _message(details: ErrorDetails, context: Mapping[str, Any], location: Location) -> str:
    kind = details["type"]
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}"
    if kind in ("enum", "literal_error"):
        return f"must be {context['expected']}"
    if kind == "missing":
        return "is required"
    if kind == "extra_forbidden":
        return _unknown_param(location)
    field = _field_at(location)
    if kind in _RANGE_ERRORS and field is not None:
        return f"must be {range_text(field)}"
    if kind == "string_too_long":
        return f"must be at most {context['max_length']} characters"
    return str(context["message"]) if kind == "pinxit" else details["msg"]


def _field_at(location: Location) -> FieldInfo | None:
    model = _model_around(location)
    return model.model_fields.get(str(location[-1])) if model is not None else None


def _model_around(location: Location) -> type[BaseModel] | None:
    """The model that the last step of `location` names a field of."""
    match location[0], len(location):
        case "model_list", 3:
            return ModelEntry
        case "model_list", 4 if location[2] == "params":
            return ModelParams
        case "model_list", 5 if location[2] == "backends":
            return BackendParams
        case "providers", 3:
            return ProviderEntry
        case "oidc", 2:
            return OidcEntry
        case "oidc", 3 if location[1] == "allow":
            return AllowEntry
        case "oidc", 3 if location[1] == "admin":
            return PeopleEntry
    return Settings if len(location) == 1 else None


def _unknown_param(location: Location) -> str:
    name = str(location[-1])
    model = _model_around(location)
    if name == "seed" and model in (ModelParams, BackendParams):
        return "cannot have a default: every order has a seed of its own"
    return _unknown("key", name, list(model.model_fields) if model is not None else [])


def _unknown_top_level_key(key: str) -> str:
    if key in setting_names():
        return "belongs under settings:"
    return f"{_unknown('key', key, TOP_LEVEL_KEYS)}; at the top of the file may be {_listing(TOP_LEVEL_KEYS)}"


def _unknown(kind: str, name: str, known: Collection[str]) -> str:
    """`unknown setting; did you mean port?`"""
    close = difflib.get_close_matches(name, known, n=1)
    return f"unknown {kind}; did you mean {close[0]}?" if close else f"unknown {kind}"


def _listing(names: Collection[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last}"
