"""A changed name on its way to all rows in which it stands: in portions, so that others' writes come in between.

`begin_restamping` notes it in the transaction that changes the name. The node on which that was carries it out at once
(`Restamping.run`); what it leaves undone, because it ends, one of all nodes takes up (`Restamping.look`). A portion
done twice does no harm, and no node waits for another one's.
"""

from __future__ import annotations

import asyncio
from typing import Any

from chat_common.ports.database import Database
from sqlalchemy import Connection, delete, or_, select, update

from chat_server.store import views
from chat_server.store.executor import CommandExecutor
from chat_server.store.schema import contact, conversation, member, restamp
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx

CONTACTS, ROOMS = "contacts", "rooms"
MOST = 200
"""Rows of one portion."""
LOOK_EVERY = 5.0
"""Seconds until what another node left undone is seen."""


def known_by(who: str) -> Any:
    """Users whose list of contacts shows this one."""
    return select(contact.c.user).where(contact.c.other == who, or_(contact.c.state != "none", contact.c.blocked))


def begin_restamping(tx: Tx, who: str) -> None:
    """Note that this user's record has changed; what was under way for an older change begins anew."""
    values = {"step": CONTACTS, "after": ""}
    tx.connection.execute(
        upsert(tx.connection, restamp)
        .values(user=who, **values)
        .on_conflict_do_update(index_elements=["user"], set_=values)
    )


class Restamping:
    """The background work of a node, and of one for all."""

    def __init__(self, database: Database, executor: CommandExecutor) -> None:
        self._database = database
        self._executor = executor
        self._begun = asyncio.Event()

    def wake(self) -> None:
        """Something was noted."""
        self._begun.set()

    async def run(self) -> None:
        """What is begun here, for ever."""
        while True:
            await self._begun.wait()
            self._begun.clear()
            await self.finish()

    async def look(self) -> None:
        """What any node has left undone, for ever."""
        while True:
            await self.finish()
            await asyncio.sleep(LOOK_EVERY)

    async def finish(self) -> None:
        """Carry out what is noted, one portion of one user after the other; what another node is at is left to it."""
        after = ""

        def due(connection: Connection) -> list[str]:
            some = select(restamp.c.user).where(restamp.c.user > after).order_by(restamp.c.user).limit(MOST)
            return list(connection.execute(some).scalars())

        while users := await self._database.read(due):
            for who in users:
                while await self._executor.apply(lambda tx, who=who: portion(tx, who)):  # type: ignore[misc]
                    pass
            after = users[-1]


def portion(tx: Tx, who: str) -> bool:
    """Stamp the next rows in which this user's record stands, at most 200; whether there may be more. False as well
    while another node is at a portion of the same user: nobody's writes here wait for that."""
    row = select(restamp).where(restamp.c.user == who).with_for_update(skip_locked=True)
    noted = tx.connection.execute(row).one_or_none()
    if noted is None:
        return False
    step, after = (_contacts if noted.step == CONTACTS else _rooms)(tx, who, noted.after)
    if step is None:
        tx.connection.execute(delete(restamp).where(restamp.c.user == who))
        return False
    tx.connection.execute(update(restamp).where(restamp.c.user == who).values(step=step, after=after))
    return True


def _contacts(tx: Tx, who: str, after: str) -> tuple[str | None, str]:
    others = list(
        tx.connection.execute(
            known_by(who).where(contact.c.user > after).order_by(contact.c.user).limit(MOST)
        ).scalars()
    )
    for other, number in sorted(tx.versions(others).items()):
        tx.connection.execute(
            update(contact).where(contact.c.user == other, contact.c.other == who).values(version=number)
        )
    return (CONTACTS, others[-1]) if len(others) == MOST else (ROOMS, "")


def _rooms(tx: Tx, who: str, after: str) -> tuple[str | None, str]:
    """Half as many: in a direct chat the other one's row is stamped as well."""
    rooms = tx.connection.execute(
        select(member.c.conversation, conversation.c.kind, conversation.c.direct_key)
        .join(conversation, conversation.c.conversation == member.c.conversation)
        .where(member.c.user == who, member.c.to_seq.is_(None), member.c.conversation > after)
        .order_by(member.c.conversation)
        .limit(MOST // 2)
    ).all()
    for name, kind, direct_key in rooms:
        room = tx.room(name)
        rev = room.stamp()
        tx.connection.execute(update(member).where(member.c.conversation == name, member.c.user == who).values(rev=rev))
        room.announce_members([who], rev)
        if kind == "direct" and direct_key is not None:
            peer = views.peer_of(direct_key, who)
            if peer != who:
                tx.touch(name, [peer])
    return (ROOMS, rooms[-1].conversation) if len(rooms) == MOST // 2 else (None, "")
