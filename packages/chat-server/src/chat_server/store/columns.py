"""What every table of this package is made of: its metadata and its kinds of columns.

Texts compare byte for byte on every database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text, false, text
from sqlalchemy.schema import SchemaItem

metadata = MetaData()

Bytewise = Text().with_variant(Text(collation="C"), "postgresql")
Number = BigInteger().with_variant(Integer(), "sqlite")


def table(name: str, *columns: SchemaItem) -> Table[Any]:
    return Table(name, metadata, *columns, sqlite_with_rowid=False)


def identifier(name: str, **options: object) -> Column[str]:
    return Column(name, Bytewise, nullable=bool(options.pop("nullable", False)), **options)  # type: ignore[arg-type]


def number(name: str, default: int | None = 0) -> Column[int]:
    if default is None:
        return Column(name, Number, nullable=True)
    return Column(name, Number, nullable=False, server_default=text(str(default)))


def flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=false())
