"""Direct chats: one for each two people, the same for both, for ever."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from chat_common import wire
from sqlalchemy import select

from chat_server.logic.contacts import direct_key
from chat_server.store.rights import blocks
from chat_server.store.schema import conversation, member
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx, new_id, require_users

InboxOf = Callable[[Tx, str, str], wire.Inbox]


@define(kw_only=True)
class OpenDirect:
    user: wire.Id


def open_direct(inbox_of: InboxOf, tx: Tx, me: str, request: OpenDirect) -> wire.Inbox:
    """The direct chat with this user, made at the first time; it appears in lists with its first message."""
    require_users(tx.connection, [request.user])
    key = direct_key(me, request.user)
    people = sorted({me, request.user})
    made = new_id()
    created = tx.connection.execute(
        upsert(tx.connection, conversation)
        .values(
            conversation=made,
            kind="direct",
            direct_key=key,
            members=len(people),
            created_at=tx.now,
            head_time=tx.now,
            touched_at=tx.now,
        )
        .on_conflict_do_nothing(index_elements=["direct_key"])
    ).rowcount
    if not created:
        name = tx.connection.execute(
            select(conversation.c.conversation).where(conversation.c.direct_key == key)
        ).scalar_one()
        return inbox_of(tx, me, name)
    room = tx.room(made)
    rev = room.stamp()
    tx.connection.execute(
        member.insert(),
        [
            {
                "conversation": made,
                "user": person,
                "role": "member",
                "joined_at": tx.now,
                "rev": rev,
                "silenced": person != other and blocks(tx.connection, other, person),
            }
            for person, other in ((person, people[-1 - number]) for number, person in enumerate(people))
        ],
    )
    room.announce_members(people, rev)
    room.announce()
    tx.save()
    return inbox_of(tx, me, made)
