"""Statements that every order executes: written in SQLAlchemy's language, compiled once, and run by the driver itself.

What SQLAlchemy does around one execution (its context, its result and their metadata) takes several times as long as
SQLite takes for the statement. Statements that run once for each order are worth being spared that; all others are
executed as usual.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from sqlalchemy import ClauseElement, Connection
from sqlalchemy.engine import Dialect
from sqlalchemy.exc import DBAPIError

Processor = Callable[[Any], Any]


class Cursor(Protocol):
    """What is used of PEP 249's cursor. Values of rows are the driver's own: a Timestamp is a whole number."""

    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> tuple[Any, ...] | None: ...

    def fetchall(self) -> list[tuple[Any, ...]]: ...


class Prepared:
    """One statement, without IN. It is compiled when it first runs on a kind of database."""

    def __init__(self, statement: ClauseElement, *, sets: Iterable[str] = ()) -> None:
        """`sets`: the columns that an INSERT or UPDATE sets by parameters of their names, where it does not say so."""
        self._statement = statement
        self._sets = list(sets)
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: Connection, values: Mapping[str, Any]) -> Cursor:
        """Run it in the connection's transaction; `values`: of all its parameters.

        Raises the same subclass of DBAPIError as `connection.execute` does.
        """
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _Compiled(self._statement, self._sets, dialect)
        driver: Any = connection.connection.driver_connection
        try:
            cursor: Cursor = driver.execute(compiled.sql, compiled.parameters(values))
        except dialect.loaded_dbapi.Error as error:
            raise _wrapped(error, compiled.sql, connection) from error
        return cursor


class _Compiled:
    """A statement in the words of one kind of database."""

    def __init__(self, statement: ClauseElement, sets: list[str], dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect, column_keys=sets or None)
        self.sql: str = str(compiled)
        names: list[str] = compiled.positiontup if compiled.positional else list(compiled.binds)
        self._is_positional: bool = compiled.positional
        binds = [(name, compiled.binds[name]) for name in names]
        self._required = len({name for name, bind in binds if bind.required})
        self._parts = [(name, _processor(bind, dialect), bind.required, bind.effective_value) for name, bind in binds]

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """As the driver wants them. Raises KeyError unless each has a value, and each value one."""
        if len(values) != self._required:
            raise KeyError(f"Values for {sorted(values)} do not fit {self.sql}")
        found = []
        for name, process, is_required, usual in self._parts:
            value = values[name] if is_required else usual
            found.append(value if process is None else process(value))
        if self._is_positional:
            return found
        return {part[0]: value for part, value in zip(self._parts, found, strict=True)}


def _processor(bind: Any, dialect: Dialect) -> Processor | None:
    """What makes the driver's value of ours."""
    processor: Processor | None = bind.type.dialect_impl(dialect).bind_processor(dialect)
    return processor


def _wrapped(error: Any, sql: str, connection: Connection) -> BaseException:
    """The error as SQLAlchemy raises it, without the parameters: prompts have no business in the text of an error."""
    dialect = connection.dialect
    driver: Any = connection.connection.driver_connection
    kind, is_lost = dialect.loaded_dbapi.Error, dialect.is_disconnect(error, driver, None)
    found: BaseException = DBAPIError.instance(
        sql, {}, error, kind, hide_parameters=True, connection_invalidated=is_lost, dialect=dialect
    )
    if is_lost:
        connection.invalidate(found)
    return found
