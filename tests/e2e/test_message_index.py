"""A plugin that indexes messages, as the page on plugins describes it: tables, a consumer of ``stored``, a command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from attrs import define
from chat_common import wire
from chat_common.errors import NotFound
from chat_common.hookspecs import hookimpl
from chat_common.ports.broker import BrokerRecord
from chat_common.ports.database import Database
from chat_common.records import Caller, Command, Consumer, ContentKind, Context, Tables
from chat_server.im.kinds import Kinds
from chat_server.store import rights
from chat_server.store.schema import message
from chat_server.store.topics import STORED, Stored
from sqlalchemy import BigInteger, Column, Connection, MetaData, Table, Text, delete, select

from tests.support.serving import in_process
from tests.support.waiting import until

REVISION = '''"""What messages say."""

import sqlalchemy as sa
from alembic import op

revision = "words_0001"
down_revision = branch_labels = depends_on = None


def upgrade() -> None:
    columns = [sa.Column("conversation", sa.Text()), sa.Column("seq", sa.BigInteger()), sa.Column("said", sa.Text())]
    op.create_table("chat_words", *columns, sa.PrimaryKeyConstraint("conversation", "seq"))
'''
metadata = MetaData()
words = Table(
    "chat_words",
    metadata,
    Column("conversation", Text, primary_key=True),
    Column("seq", BigInteger, primary_key=True),
    Column("said", Text),
)


@define(kw_only=True)
class Find:
    conversation: wire.Id
    words: str


@define(kw_only=True)
class Found:
    seqs: list[int]


@define(kw_only=True)
class Poll:
    question: str


def take_in(connection: Connection, kinds: Kinds, new: Stored) -> None:
    """Each message that was stamped, in its newest state: said, edited or recalled. Repeated, it does no harm."""
    stamped = message.c.conversation == new.conversation, message.c.rev.between(new.first, new.last)
    for row in connection.execute(select(message).where(*stamped)).all():
        here = words.c.conversation == row.conversation, words.c.seq == row.seq
        connection.execute(delete(words).where(*here))
        said = None if row.recalled else kinds.searchable(row.kind, msgspec.json.decode(row.body))
        if said:
            connection.execute(words.insert(), {"conversation": row.conversation, "seq": row.seq, "said": said})


@define(eq=False)
class Index:
    revisions: Path

    @hookimpl
    def chat_kinds(self) -> Sequence[ContentKind]:
        return [ContentKind("poll", Poll, lambda body: body.question, searchable=lambda body: body.question)]

    @hookimpl
    def chat_tables(self) -> Sequence[Tables]:
        return [Tables("words", metadata, str(self.revisions))]

    @hookimpl
    def chat_consumers(self, context: Context) -> Sequence[Consumer]:
        async def stored(records: Sequence[BrokerRecord]) -> None:
            kinds, database = await context.get(Kinds), await context.get(Database)  # type: ignore[type-abstract]
            new = [msgspec.json.decode(record.payload, type=Stored) for record in records]
            await database.change(lambda connection: [take_in(connection, kinds, each) for each in new])

        return [Consumer(STORED, "words", stored)]

    @hookimpl
    def chat_commands(self, context: Context) -> Sequence[Command]:
        async def find(caller: Caller, request: Find) -> Found:
            def look(connection: Connection) -> list[int]:
                here = rights.standing(connection, caller.user or "", request.conversation, active=False)
                fits = words.c.said.contains(request.words, autoescape=True)
                rows = connection.execute(
                    select(words.c.seq).where(words.c.conversation == request.conversation, fits).order_by(words.c.seq)
                )
                return [seq for seq in rows.scalars() if rights.sees(here, seq)]

            return Found(seqs=await (await context.get(Database)).read(look))  # type: ignore[type-abstract]

        return [Command("words.find", Find, Found, find, cost=5, summary="Which messages say this.")]


async def test_what_was_said_is_found_by_members_alone_until_it_is_recalled(tmp_path: Path) -> None:
    revisions = tmp_path / "revisions"
    revisions.mkdir()
    (revisions / "words_0001.py").write_text(REVISION)
    async with in_process(tmp_path / "data", plugins=[Index(revisions)]) as (server, _):
        ada, bob = await server.ensure_user("ada"), await server.ensure_user("bob")
        room = (await server.call("group.create", {"name": "g", "members": []}, user=ada.user)).conversation

        async def say(kind: str, **body: Any) -> int:
            said = {"conversation": room, "kind": kind, "body": body}
            return int((await server.call("submit", said, user=ada.user)).seq)

        async def found(wanted: str) -> list[int]:
            return list((await server.call("words.find", {"conversation": room, "words": wanted}, user=ada.user)).seqs)

        async def comes_to(wanted: str, seqs: list[int]) -> None:
            async def there() -> bool:
                return await found(wanted) == seqs

            await until(there)

        first = await say("text", text="a **blue** door", format="markup")
        poll = await say("poll", question="a blue wall?")
        await comes_to("a blue ", [first, poll])
        with pytest.raises(NotFound):
            await server.call("words.find", {"conversation": room, "words": "blue"}, user=bob.user)
        await server.call("message.edit", {"conversation": room, "seq": first, "body": {"text": "red"}}, user=ada.user)
        await comes_to("red", [first])
        await server.call("message.recall", {"conversation": room, "seq": poll}, user=ada.user)
        await comes_to("blue", [])
