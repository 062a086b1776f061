"""Pieces of SQL that the modules of this package share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, BigInteger, any_, func, literal, select


def upsert(connection: Any, table: Any) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT. Only the dialect in use is imported: both would cost a start."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert

    return insert(table)


def among(connection: Any, column: Any, numbers: Iterable[int]) -> Any:
    """``column`` is one of these numbers: any number of them in one parameter, so that the statement stays the same
    one, which is compiled and planned once."""
    values = list(numbers)
    if connection.dialect.name == "postgresql":
        return column == any_(literal(values, ARRAY(BigInteger)))
    each = func.json_each(json.dumps(values)).table_valued("value")
    return column.in_(select(each.c.value))
