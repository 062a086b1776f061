"""The room's table of contents: its commands, and what it offers its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from attrs import define, field, frozen
from chat_common import wire
from chat_common.memory.rates import Rates
from chat_common.ports.database import Database
from chat_common.ports.files import Attachments
from chat_common.records import Caller, Command, Consumer, Screens, Task
from chat_common.settings import setting
from sqlalchemy import Connection, bindparam, select, true

from chat_server.contributions import RoomContributions, every, screens_message, screens_texts
from chat_server.im import history, inbox, messages, reports, sync
from chat_server.im.fanout import Fanout
from chat_server.im.kinds import Kinds
from chat_server.im.log import page_between
from chat_server.im.own_changes import OwnChanges
from chat_server.im.retention import Retention
from chat_server.im.search.find import Hits, Search, SearchMessages
from chat_server.im.search.indexer import Indexer
from chat_server.im.submit import Submit
from chat_server.im.sweeper import Sweeper
from chat_server.services import (
    Arrival,
    Gap,
    Heads,
    HeadsAsked,
    LogPage,
    MembersAsked,
    Membership,
    Present,
    Speaker,
    UserVersion,
)
from chat_server.store import epoch, rights, views
from chat_server.store.batched_reads import BatchedReads
from chat_server.store.executor import CommandExecutor
from chat_server.store.reports import Reported, ReportSettings
from chat_server.store.schema import conversation, member, version
from chat_server.store.statements import CompiledStatement, any_of, texts
from chat_server.store.topics import CHANGED, STORED

SAVE_EVERY = 1.0
SWEEP_EVERY = 2.0
TYPING_EVERY = 3.0
"""Seconds between two typing notes of one user in one conversation; what comes sooner is dropped."""


@define(kw_only=True)
class ImSettings:
    recall_seconds: float = setting(600.0, help="How long users can recall their own messages, in seconds.")
    edit_seconds: float = setting(86_400.0, help="How long users can edit their own messages, in seconds.")


_VERSIONS = CompiledStatement(select(version.c.user, version.c.version).where(any_of(version.c.user, "users")), "users")
_ROOM_HEADS = CompiledStatement(
    select(conversation.c.conversation, conversation.c.head_rev, conversation.c.hot_at).where(
        any_of(conversation.c.conversation, "rooms")
    ),
    "rooms",
)


HOT_PAGE = 1_000


def _hot_since(at: Any) -> CompiledStatement:
    return CompiledStatement(
        select(conversation.c.conversation, conversation.c.head_rev, conversation.c.hot_at, at)
        .where(at > bindparam("since"), conversation.c.hot == true())
        .order_by(at)
        .limit(HOT_PAGE),
        "since",
    )


_HOT_SINCE = (_hot_since(conversation.c.touched_at), _hot_since(conversation.c.hot_at))
"""Something was stamped in it, or it turned hot: each by its own index."""
_HOT_ROOMS = CompiledStatement(
    select(
        member.c.user,
        conversation.c.conversation,
        conversation.c.head_rev,
        member.c.from_seq,
        member.c.to_seq,
        member.c.earlier,
    )
    .join(member, member.c.conversation == conversation.c.conversation)
    .where(conversation.c.hot == true(), any_of(member.c.user, "users"), member.c.to_seq.is_(None)),
    "users",
)
_PRESENT = CompiledStatement(
    select(member.c.user, member.c.from_seq, member.c.to_seq, member.c.earlier).where(
        member.c.conversation == bindparam("name"), any_of(member.c.user, "users"), member.c.to_seq.is_(None)
    ),
    "name",
    "users",
)


def _versions(connection: Connection, users: Sequence[str]) -> Sequence[UserVersion]:
    known: dict[str, int] = {user: number for user, number in _VERSIONS.all(connection, texts(connection, users))}
    now = epoch.read(connection)
    return [UserVersion(now, known.get(user, 0)) for user in users]


def _arrivals(connection: Connection, users: Sequence[str]) -> Sequence[Arrival]:
    """All of one moment: the read is one transaction, and a client of these numbers merges by them."""
    rooms: dict[str, dict[str, Membership]] = {user: {} for user in users}
    for row in _HOT_ROOMS.all(connection, texts(connection, users)):
        rooms[row.user][row.conversation] = Membership(row.head_rev, views.spans_of(row))
    return [
        Arrival(it.epoch, it.version, rooms[user]) for user, it in zip(users, _versions(connection, users), strict=True)
    ]


@frozen
class ImParts:
    """What the room is made of."""

    submit: Submit
    fanout: Fanout
    own_changes: OwnChanges
    sweeper: Sweeper
    attachments: Attachments
    search: Search
    indexer: Indexer
    retention: Retention
    reports: ReportSettings = field(factory=ReportSettings)


class Im:
    """What was said? Implements `ImService`."""

    def __init__(
        self,
        database: Database,
        executor: CommandExecutor,
        kinds: Kinds,
        parts: ImParts,
        settings: ImSettings,
    ) -> None:
        self._database = database
        self._executor = executor
        self._kinds = kinds
        self._parts = parts
        self._settings = settings
        self._typing = Rates(executor.clock)
        self._version = BatchedReads(database, _versions)
        self._arrival = BatchedReads(database, _arrivals)
        self._pages: BatchedReads[sync.Asked, sync.Page] = BatchedReads(database, partial(sync.pages_of, kinds.preview))

    def contributions(self) -> RoomContributions:
        """Its commands, the consumers of fan-out, and the work beside them."""
        fanout = self._parts.fanout
        return RoomContributions(
            room="im",
            commands=self.commands(),
            consumers=[
                Consumer(STORED, "fanout", fanout.stored, batch=200),
                Consumer(CHANGED, "own", self._parts.own_changes.changed, batch=200),
            ],
            tasks=[
                Task("fanout-cursors", every(SAVE_EVERY, fanout.save)),
                self._parts.sweeper.lease.task(every(SWEEP_EVERY, self._parts.sweeper.sweep)),
                *self._parts.indexer.tasks(),
                self._parts.retention.lease.task(self._parts.retention.run),
            ],
        )

    def commands(self) -> Sequence[Command]:
        """The client commands of this room."""
        reads, run = self._database, self._executor.run
        preview = self._kinds.preview

        def change(
            name: str,
            request: type[Any],
            reply: type[Any],
            work: Any,
            summary: str,
            *,
            keep: bool = True,
            cost: int = 1,
            screens: Screens | None = None,
        ) -> Command:
            async def handler(caller: Caller, params: Any) -> Any:
                return await run(caller, name, params, work, reply, keep=keep)

            return Command(name, request, reply, handler, "keeps", summary=summary, cost=cost, screens=screens)

        def read(name: str, request: type[Any], reply: Any, work: Any, summary: str, cost: int = 1) -> Command:
            return Command(name, request, reply, work, "reads", summary=summary, cost=cost)

        edit = partial(messages.edit, self._kinds, self._settings.edit_seconds)
        recall = partial(messages.recall, self._settings.recall_seconds, self._parts.attachments)
        return [
            Command(
                "submit",
                wire.SubmitMessage,
                wire.Receipt,
                self._parts.submit.submit,
                "keeps",
                summary="Send a message; the answer is its receipt.",
                screens=screens_message,
            ),
            read(
                "sync",
                sync.Sync,
                sync.VersionPage | sync.ConversationPage,
                partial(sync.sync, self._pages),
                "What changed since a version or a rev.",
                cost=2,
            ),
            read(
                "history",
                history.History,
                history.HistoryPage,
                partial(history.history, reads, preview),
                "A page of messages.",
                cost=2,
            ),
            read(
                "inbox.list",
                inbox.InboxList,
                inbox.InboxPage,
                partial(inbox.inbox_list, reads, preview),
                "The caller's conversations, latest activity first.",
                cost=2,
            ),
            change(
                "inbox.set",
                inbox.InboxSet,
                wire.Inbox,
                inbox.set_inbox,
                "Mute, pin or hide a conversation, or mark it as unread.",
                keep=False,
            ),
            change("read", inbox.Read, inbox.ReadState, inbox.read, "Move the read pointer forward.", keep=False),
            change(
                "message.edit",
                messages.Edit,
                wire.Message,
                edit,
                "Replace the body of the caller's own message.",
                screens=partial(messages.screens_edit, reads),
            ),
            change("message.recall", messages.Recall, wire.Message, recall, "Take back the caller's own message."),
            change(
                "message.react",
                messages.React,
                wire.Message,
                messages.react,
                "Set or take away a reaction.",
                screens=screens_texts(emoji="message.react"),
            ),
            read(
                "message.reactions",
                messages.Reactions,
                messages.ReactionList,
                partial(messages.reactions, reads),
                "Who reacted how.",
            ),
            read(
                "message.readers",
                messages.Readers,
                messages.ReadersPage,
                partial(messages.readers, reads),
                "Who has read a message.",
                cost=5,
            ),
            read(
                "message.search",
                SearchMessages,
                Hits,
                self._parts.search.search,
                "Messages by their words, sender, kind and time, newest first.",
                cost=10,
            ),
            change(
                "message.report",
                reports.ReportMessage,
                Reported,
                partial(reports.report_message, self._parts.reports),
                "Ask those who run the server to look at a message.",
                keep=False,
                cost=5,
            ),
        ]

    async def erase_words(self) -> None:
        """Part of tidying: what of deleted messages stands in the index's files."""
        await self._parts.indexer.erase()

    # --- ImService ------------------------------------------------------------------------------------------------

    async def version(self, user: str) -> UserVersion:
        return await self._version.read(user)

    async def arrival(self, user: str) -> Arrival:
        return await self._arrival.read(user)

    async def heads(self, asked: HeadsAsked) -> Heads:
        hot_since = asked.hot_since

        def all_of_them(connection: Connection) -> Heads:
            versions = _VERSIONS.all(connection, texts(connection, asked.users))
            heads = _ROOM_HEADS.all(connection, texts(connection, asked.rooms))
            found = [statement.all(connection, hot_since) for statement in _HOT_SINCE]
            full = [rows[-1][3] for rows in found if len(rows) == HOT_PAGE]
            until = min(full) if full else max((row[3] for rows in found for row in rows), default=hot_since)
            return Heads(
                {user: number for user, number in versions},
                {name: rev for name, rev, _ in heads},
                epoch.read(connection),
                {name: (rev, hot_at) for rows in found for name, rev, hot_at, at in rows if at <= until},
                until,
                bool(full) and until > hot_since,
            )

        return await self._database.read(all_of_them)

    async def present(self, asked: MembersAsked) -> Present:
        def members(connection: Connection) -> Present:
            heads = _ROOM_HEADS.all(connection, texts(connection, [asked.conversation]))
            rows = _PRESENT.all(connection, asked.conversation, texts(connection, asked.users))
            rev, hot_at = (heads[0][1], heads[0][2]) if heads else (0, 0)
            return Present(rev, {row.user: views.spans_of(row) for row in rows}, hot_at)

        return await self._database.read(members)

    async def gap(self, gap: Gap) -> LogPage:
        preview = self._kinds.preview
        return await self._database.read(
            lambda connection: page_between(connection, preview, gap.conversation, gap.after, gap.upto)
        )

    async def audience(self, speaker: Speaker) -> Sequence[str]:
        user, name = speaker.user, speaker.conversation
        if self._typing.allow(f"{user} {name}", 1, TYPING_EVERY):
            return []
        now = self._executor.clock.wall_ms()

        def others(connection: Connection) -> list[str]:
            here = rights.standing(connection, user, name)
            rights.speaks(connection, here, now)
            if here.room.hot:
                return []
            return list(
                connection.execute(
                    select(member.c.user)
                    .where(member.c.conversation == name, member.c.to_seq.is_(None), member.c.user != user)
                    .limit(1000)
                ).scalars()
            )

        return await self._database.read(others)

    async def acquainted(self, asked: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
        return await self._database.read(lambda connection: rights.acquainted(connection, asked))
