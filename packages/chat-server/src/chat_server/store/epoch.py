"""The epoch: random; changes when the store was restored or promoted with loss."""

from __future__ import annotations

from chat_common.errors import EpochChanged
from sqlalchemy import Connection, select, update

from chat_server.store.schema import meta
from chat_server.store.statements import CompiledStatement
from chat_server.store.tx import new_id

_CURRENT = select(meta.c.value).where(meta.c.key == "epoch")
_READ = CompiledStatement(_CURRENT)
_HOLD = CompiledStatement(_CURRENT.with_for_update(read=True))


def read(connection: Connection) -> str:
    """The store's epoch."""
    ((value,),) = _READ.all(connection)
    return str(value)


def require(connection: Connection, expected: str, *, hold: bool = False) -> None:
    """`EpochChanged` unless the store is of this epoch. Whoever writes a position that he read or counted earlier asks
    this in the same transaction. ``hold``: no new epoch begins before this transaction ends (PostgreSQL)."""
    ((value,),) = (_HOLD if hold else _READ).all(connection)
    if value != expected:
        raise changed()


def changed() -> EpochChanged:
    """What is raised where a position belongs to an earlier epoch."""
    return EpochChanged("This position belongs to an earlier epoch of the store.", field="epoch")


def ensure(connection: Connection) -> str:
    """The store's epoch, made at the first start."""
    value = connection.execute(select(meta.c.value).where(meta.c.key == "epoch")).scalar_one_or_none()
    if value is None:
        value = new_id()
        connection.execute(meta.insert().values(key="epoch", value=value))
    return str(value)


def renew(connection: Connection) -> str:
    """A new epoch: every client starts over."""
    value = new_id()
    if connection.execute(update(meta).where(meta.c.key == "epoch").values(value=value)).rowcount == 0:
        connection.execute(meta.insert().values(key="epoch", value=value))
    return value
