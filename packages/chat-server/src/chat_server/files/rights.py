"""What files ask of the chat: who may send one, and who may read the message that it stands in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from chat_common.errors import NotPermitted
from sqlalchemy import Connection, select

from chat_server.store import rights, views
from chat_server.store.schema import conversation, member
from chat_server.store.schema import user as account


class SqlFileRights:
    """`chat_common.ports.files.FileRights` over the tables of the chat."""

    def may_send(self, connection: Connection, user: str, conversation: str, now: int) -> None:
        if conversation:
            rights.may_send(connection, user, conversation, now)
        elif rights.banned(connection, [user], now):
            raise NotPermitted("You are banned.", reason="banned")

    def joined_at(self, connection: Connection, user: str) -> int:
        made = select(account.c.created_at).where(account.c.user == user)
        return int(connection.execute(made).scalar_one_or_none() or 0)

    def visible(
        self, connection: Connection, user: str, messages: Collection[tuple[str, int]]
    ) -> Collection[tuple[str, int]]:
        wanted: defaultdict[str, set[int]] = defaultdict(set)
        for name, seq in messages:
            wanted[name].add(seq)
        rows = connection.execute(
            select(member, conversation.c.first_kept)
            .join(conversation, conversation.c.conversation == member.c.conversation)
            .where(member.c.user == user, member.c.conversation.in_(sorted(wanted)))
        ).all()
        return {
            (row.conversation, seq)
            for row in rows
            for seq in wanted[row.conversation]
            if seq >= row.first_kept and rights.visible(views.spans_of(row), seq)
        }
