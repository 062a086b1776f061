"""Which registration a user is: counted up in the registration's own transaction, so that no two are the tenth.

The outbox carries the number to whoever gives items for it: at least once, which a grant's key makes once.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from attrs import frozen
from chat_common import wire
from chat_common.ports.outbox import OutboxEntry
from sqlalchemy import BigInteger, Connection, Text, cast, func, select, update

from chat_server.store.schema import meta, user
from chat_server.store.statements import upsert
from chat_server.store.topics import announce
from chat_server.store.tx import Tx

TOPIC = "registered"
KEY = "registrations"
_NUMBER = cast(meta.c.value, BigInteger)
Create = Callable[[Tx, str, str | None], wire.User]


@frozen
class Registered:
    """Payload of the topic ``registered``. ``number``: which registration of this server it was, from 1 on."""

    user: str
    number: int


def counted(create: Create) -> Create:
    """The same, and the new user is counted and announced."""

    def create_and_count(tx: Tx, name: str, handle: str | None = None) -> wire.User:
        made = create(tx, name, handle)
        number = _next(tx.connection)
        entry = OutboxEntry(TOPIC, made.user, msgspec.json.encode(Registered(made.user, number)))
        announce(tx.connection, tx.outbox, [entry])
        return made

    return create_and_count


def begin_counting(connection: Connection) -> None:
    """Users from before the counting, and from times without it, count as registered. For every start."""
    connection.execute(upsert(connection, meta).values(key=KEY, value="0").on_conflict_do_nothing())
    there = connection.execute(select(func.count()).select_from(user)).scalar_one()
    connection.execute(update(meta).where(meta.c.key == KEY, there > _NUMBER).values(value=str(there)))


def _next(connection: Connection) -> int:
    step = update(meta).where(meta.c.key == KEY).values(value=cast(_NUMBER + 1, Text)).returning(meta.c.value)
    return int(connection.execute(step).scalar_one())
