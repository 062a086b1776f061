"""Pieces of SQL that the modules of this package share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_PART = 500


def upsert(connection: Any, table: Any) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT. Only the dialect in use is imported: both would cost a start."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as insert_postgresql

        return insert_postgresql(table)
    from sqlalchemy.dialects.sqlite import insert

    return insert(table)


def parts(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    """As many numbers at once as a statement may name."""
    return (ids[start : start + _PART] for start in range(0, len(ids), _PART))
