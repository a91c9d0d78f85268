"""Reads a YAML file so that every value still knows its line, and fills in what refers to the environment.

Scalars follow YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema): `no` is text and `16:9` is not
969, as they would be in the YAML 1.1 of PyYAML's own rules.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from yaml.composer import ComposerError
from yaml.error import Mark
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

MAX_FILE_BYTES = 1024 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 20
MAX_SHOWN_CHARACTERS = 80

Location = tuple[str | int, ...]
"""Where a value is: `("settings", "port")`, `("model_list", 0, "params")`."""

_STR, _INT, _FLOAT, _BOOL, _NULL = (f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null"))
_WHOLE_VALUE = re.compile(r"os\.environ/(.*)", re.DOTALL)
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_REFERENCE = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")


class Unreadable:
    """Stands where a value could not be read, so that nothing further is said about it."""


UNREADABLE = Unreadable()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value comes from and how to show it: itself, or its reference, as it may be a secret."""

    where: str
    shown: str
    is_text: bool = False
    """Whether it came from the environment or the command line, where a list is written with commas."""
    names_setting: bool = False
    """Whether `where` is the setting's own variable or flag rather than a line of a file."""


@dataclass(slots=True)
class Document:
    """What a file says. `problems` are complete lines."""

    value: object = None
    places: dict[Location, Place] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2 and bounds on depth and number of nodes."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (the base class has it so)

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: Node | None, index: object) -> Node | None:
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH:
            raise ComposerError(None, None, "is nested too deeply", self._mark())
        if self._nodes > MAX_NODES:
            raise ComposerError(None, None, f"has more than {MAX_NODES} values", self._mark())
        node: Node | None = super().compose_node(parent, index)  # type: ignore[arg-type]
        self._depth -= 1
        return node

    def _mark(self) -> Mark:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]
        assert isinstance(event.start_mark, Mark)
        return event.start_mark


for _tag, _pattern, _first_characters in (
    (_NULL, r"(null|Null|NULL|~|)\Z", "nN~"),
    (_BOOL, r"(true|True|TRUE|false|False|FALSE)\Z", "tTfF"),
    (_INT, r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", "-+0123456789"),
    (
        _FLOAT,
        r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))\Z",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern, re.ASCII), list(_first_characters))
_Loader.add_implicit_resolver(_NULL, re.compile(r"\Z"), [""])


def read_document(path: Path, environ: Mapping[str, str]) -> Document:
    """What the file at `path` says; everything wrong with it is among the `problems`."""
    document = Document()
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        document.problems.append(f"{path}: cannot be read: {(error.strerror or 'unknown reason').lower()}")
        return document
    if len(data) > MAX_FILE_BYTES:
        document.problems.append(f"{path}: is larger than {MAX_FILE_BYTES} bytes")
        return document
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        document.problems.append(f"{path}:{line}: is not UTF-8 text")
        return document
    _read_text(text, str(path), environ, document)
    return document


def _read_text(text: str, name: str, environ: Mapping[str, str], document: Document) -> None:
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except ReaderError as error:
        line = text.count("\n", 0, int(error.position)) + 1
        document.problems.append(f"{name}:{line}: contains a control character")
        return
    except yaml.MarkedYAMLError as error:
        document.problems.append(_syntax_problem(name, error))
        return
    if root is not None:
        walk = _Walk(name, environ, document)
        document.value = walk.value(root, (), root.start_mark)


def _syntax_problem(name: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    said = error.problem or error.context or "cannot be understood"
    if "'\\t'" in said:
        return f"{where}: is not valid YAML: a tab where only spaces may be"
    if "expected a single document" in (error.context or ""):
        return f"{where}: holds more than one YAML document"
    context = f" {error.context}" if error.context and error.problem else ""
    hint = "; between { } and [ ], ${…} must be in quotes" if "flow" in context and "'{'" in said else ""
    return f"{where}: is not valid YAML: {said}{context}{hint}"


class _Walk:
    """Turns YAML nodes into values. An anchor used twice is two values: the count here bounds an alias bomb."""

    def __init__(self, name: str, environ: Mapping[str, str], document: Document) -> None:
        self._name = name
        self._environ = environ
        self._document = document
        self._values = 0

    def value(self, node: Node, location: Location, mark: Mark) -> object:
        """The value of `node`; `mark` is where its key stands, or the node itself."""
        self._values += 1
        if len(location) > MAX_DEPTH:
            return self._unreadable(location, mark, "is nested too deeply")
        if self._values > MAX_NODES:
            self._document.places[location] = Place(self._where(mark), "")
            if self._values == MAX_NODES + 1:
                self._problem(location, mark, f"is the {self._values}th value, and {MAX_NODES} are enough")
            return UNREADABLE
        if isinstance(node, MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, location, mark)
        if isinstance(node, SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            self._document.places[location] = Place(self._where(mark), "a list")
            return [self.value(item, (*location, index), item.start_mark) for index, item in enumerate(node.value)]
        if isinstance(node, ScalarNode):
            return self._scalar(node, location, mark)
        return self._unreadable(location, mark, "has a tag that is not allowed here")

    def _mapping(self, node: MappingNode, location: Location, mark: Mark) -> object:
        self._document.places[location] = Place(self._where(mark), "a mapping")
        values: dict[str, object] = {}
        for key, child in node.value:
            if not isinstance(key, ScalarNode):
                self._problem(location, key.start_mark, "has a key that is not a name")
            elif key.value in values:
                self._problem((*location, key.value), key.start_mark, "is there twice")
            else:
                values[key.value] = self.value(child, (*location, key.value), key.start_mark)
        return values

    def _scalar(self, node: ScalarNode, location: Location, mark: Mark) -> object:
        text: str = node.value
        if node.tag == _STR:
            return self._text(text, location, mark)
        self._document.places[location] = Place(self._where(mark), shown(text) if text else "null")
        try:
            return _construct(node.tag, text)
        except ValueError:
            return self._unreadable(location, mark, "has a tag that is not allowed here or does not fit the value")

    def _text(self, text: str, location: Location, mark: Mark) -> object:
        try:
            filled, is_reference = fill_in(text, self._environ)
        except LookupError as error:
            return self._unreadable(location, mark, str(error.args[0]))
        self._document.places[location] = Place(
            self._where(mark), shown(text) if is_reference else shown(repr(text)), is_text=is_reference
        )
        return filled

    def _unreadable(self, location: Location, mark: Mark, message: str) -> Unreadable:
        self._document.places[location] = Place(self._where(mark), "")
        self._problem(location, mark, message)
        return UNREADABLE

    def _problem(self, location: Location, mark: Mark, message: str) -> None:
        path = path_text(location)
        self._document.problems.append(f"{self._where(mark)}: {path + ': ' if path else ''}{message}")

    def _where(self, mark: Mark) -> str:
        return f"{self._name}:{mark.line + 1}"


def _construct(tag: str, text: str) -> object:
    """The value of a scalar that is not text. Raises ValueError."""
    if tag == _NULL:
        return None
    if tag == _BOOL and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if tag == _INT:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    if tag == _FLOAT:
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    raise ValueError(tag)


def fill_in(text: str, environ: Mapping[str, str]) -> tuple[str, bool]:
    """`text` with `os.environ/NAME` (all of it), `${NAME}` and `${NAME:-default}` replaced, and whether there were any.

    `$${` stands for `${`; as in a shell, the default also replaces an empty variable.
    Raises LookupError with a message that names the variable.
    """
    whole = _WHOLE_VALUE.fullmatch(text)
    if whole is not None:
        return _variable(whole[1], None, environ), True
    is_reference = False

    def replace(match: re.Match[str]) -> str:
        nonlocal is_reference
        if match[0] == "$${":
            return "${"
        if match[1] is None:
            raise LookupError("has a ${ that is not closed by }; write $${ for a plain ${")
        is_reference = True
        name, colon, default = match[1].partition(":-")
        return _variable(name, default if colon else None, environ)

    return _REFERENCE.sub(replace, text), is_reference


def _variable(name: str, default: str | None, environ: Mapping[str, str]) -> str:
    if _VARIABLE_NAME.fullmatch(name) is None:
        raise LookupError("refers to something that cannot be the name of an environment variable")
    value = environ.get(name)
    if default is not None:
        return value or default
    if value is None:
        raise LookupError(f"the environment variable {name} is not set")
    return value


def path_text(location: Location) -> str:
    """`("model_list", 0, "params")` → `model_list[0].params`."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{shown(step)}" if text else shown(step)
    return text


def shown(text: str) -> str:
    """`text` for one line of an error message."""
    plain = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return plain if len(plain) <= MAX_SHOWN_CHARACTERS else f"{plain[: MAX_SHOWN_CHARACTERS - 1]}…"
