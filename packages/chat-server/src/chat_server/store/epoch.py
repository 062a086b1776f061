"""The epoch: random; changes when the store was restored or promoted with loss."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from chat_server.store.schema import meta
from chat_server.store.tx import new_id


def read(connection: Connection) -> str:
    """The store's epoch."""
    return str(connection.execute(select(meta.c.value).where(meta.c.key == "epoch")).scalar_one())


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
