"""Statements of the commit path, compiled once a dialect: SQLAlchemy writes the SQL, the driver takes the rows.

Building and compiling a statement, and binding its parameters row by row, costs several times what the database needs
for it; here both happen once. Values must be what the driver itself takes (text, numbers, bytes, None).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from sqlalchemy import ARRAY, Boolean, Connection, Text, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class _Condition(FunctionElement[bool]):
    """Stands in WHERE as it is. SQLAlchemy would compare it with 1 on SQLite, which then uses no index for it."""

    def self_group(self, against: Any = None) -> Any:
        return self


class _AnyOf(_Condition):
    """``column`` is one of a list given as one parameter, however long: the statement's text never changes."""

    inherit_cache = True
    name = "any_of"
    type = Boolean()


class _AnyPair(_Condition):
    """(``first``, ``second``) is one of a list of pairs given as one parameter."""

    inherit_cache = True
    name = "any_pair"
    type = Boolean()


class _AnyNumber(_Condition):
    """``column`` is one of a list of numbers given as one parameter."""

    inherit_cache = True
    name = "any_number"
    type = Boolean()


class _AnyPlace(_Condition):
    """(``text``, ``number``) is one of a list of such pairs given as one parameter."""

    inherit_cache = True
    name = "any_place"
    type = Boolean()


@compiles(_AnyOf, "sqlite")
@compiles(_AnyNumber, "sqlite")
def _any_of_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"


@compiles(_AnyOf, "postgresql")
def _any_of_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY({values})"


@compiles(_AnyNumber, "postgresql")
def _any_number_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT CAST(one AS bigint) FROM json_array_elements_text(CAST({values} AS json)) one)"


@compiles(_AnyPair, "sqlite")
@compiles(_AnyPlace, "sqlite")
def _any_pair_sqlite(element: Any, compiler: Any, **options: Any) -> str:
    first, second, values = (compiler.process(part, **options) for part in element.clauses)
    return (
        f"({first}, {second}) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') "
        f"FROM json_each({values}))"
    )


@compiles(_AnyPair, "postgresql")
def _any_pair_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    first, second, values = (compiler.process(part, **options) for part in element.clauses)
    return (
        f"({first}, {second}) IN (SELECT pair ->> 0, pair ->> 1 FROM json_array_elements(CAST({values} AS json)) pair)"
    )


@compiles(_AnyPlace, "postgresql")
def _any_place_postgresql(element: Any, compiler: Any, **options: Any) -> str:
    first, second, values = (compiler.process(part, **options) for part in element.clauses)
    return (
        f"({first}, {second}) IN (SELECT pair ->> 0, CAST(pair ->> 1 AS bigint) "
        f"FROM json_array_elements(CAST({values} AS json)) pair)"
    )


def any_of(column: Any, name: str) -> Any:
    """Condition: ``column`` is one of the texts in the parameter ``name`` (see `texts`)."""
    return _AnyOf(column, bindparam(name, type_=Text().with_variant(ARRAY(Text), "postgresql")))


def any_pair(first: Any, second: Any, name: str) -> Any:
    """Condition: the two columns are one of the pairs in the parameter ``name`` (see `pairs`)."""
    return _AnyPair(first, second, bindparam(name, type_=Text()))


def any_number(column: Any, name: str) -> Any:
    """Condition: ``column`` is one of the numbers in the parameter ``name`` (see `listed`)."""
    return _AnyNumber(column, bindparam(name, type_=Text()))


def any_place(text: Any, number: Any, name: str) -> Any:
    """Condition: the two columns are one of the (text, number) pairs in the parameter ``name`` (see `listed`)."""
    return _AnyPlace(text, number, bindparam(name, type_=Text()))


def listed(values: Iterable[int] | Iterable[tuple[str, int]]) -> str:
    """The parameter of `any_number` or `any_place`."""
    return msgspec.json.encode(list(values)).decode()


def texts(connection: Connection, values: Iterable[str]) -> Any:
    """A list of texts as the parameter of `any_of`, in order and without doubles."""
    found = sorted(set(values))
    return found if connection.dialect.name == "postgresql" else msgspec.json.encode(found).decode()


def pairs(values: Iterable[tuple[str, str]]) -> str:
    """A list of pairs as the parameter of `any_pair`."""
    return msgspec.json.encode(sorted(set(values))).decode()


class CompiledStatement:
    """A statement with named parameters, compiled once for each dialect it meets.

    ``keys``: the parameters in the order in which rows give them. What the statement binds by itself, such as a limit,
    keeps its value.
    """

    def __init__(self, statement: Any, *keys: str) -> None:
        self._statement = statement
        self._keys = keys
        self._compiled: dict[str, tuple[str, Sequence[int] | None, tuple[Any, ...]]] = {}

    def _of(self, connection: Connection) -> tuple[str, Sequence[int] | None, tuple[Any, ...]]:
        known = self._compiled.get(connection.dialect.name)
        if known is None:
            insert = getattr(self._statement, "is_insert", False)
            compiled = self._statement.compile(
                dialect=connection.dialect, column_keys=list(self._keys) if insert else None
            )
            own = [key for key in compiled.positiontup if key not in self._keys]
            names = [*self._keys, *own]
            order = [names.index(key) for key in compiled.positiontup]
            fixed = tuple([compiled.params[key] for key in own])
            known = (str(compiled), None if order == list(range(len(self._keys))) else order, fixed)
            self._compiled[connection.dialect.name] = known
        return known

    def all(self, connection: Connection, *values: Any) -> Sequence[Any]:
        """The rows that the statement gives for these values (in the order of ``keys``)."""
        text, order, fixed = self._of(connection)
        chosen = values if order is None else tuple([(*values, *fixed)[place] for place in order])
        return connection.exec_driver_sql(text, chosen).all()

    def many(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Run it for each row, in one call of the driver."""
        if not rows:
            return
        text, order, fixed = self._of(connection)
        if order is not None:
            rows = [tuple([(*row, *fixed)[place] for place in order]) for row in rows]
        connection.exec_driver_sql(text, list(rows))


def upsert(connection: Connection, table: Any) -> Any:
    """The dialect's INSERT with ON CONFLICT. Only the dialect in use is imported: all of them cost a start 50 ms."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert

    return insert(table)
