"""Groups, as those see them who run the server. What is changed in a group is done in its owner's name, as the group is
told; the audit names who did it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen
from chat_common import wire
from chat_common.errors import Conflict
from chat_common.ports.database import Database
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, func, select

from chat_server.admin.neighbours import Neighbours
from chat_server.admin.records import Name
from chat_server.store import audit, pages
from chat_server.store.executor import CommandExecutor
from chat_server.store.retention import Days
from chat_server.store.schema import conversation, member
from chat_server.store.tx import Tx, missing
from chat_server.store.views import or_unset


@define(kw_only=True)
class GroupInfo:
    """``members``: how many are in it; ``messages``: how many were ever said, system messages too. ``owner``: absent
    once it is dissolved. ``kept_days``: after how many days messages are deleted, as an operator says of this group (0:
    never; absent: as for all); ``own_days``: sooner, as the group itself has chosen."""

    conversation: str
    name: str
    created_at: int
    members: int
    messages: int
    dissolved: bool
    owner: str | UnsetType = UNSET
    kept_days: int | UnsetType = UNSET
    own_days: int | UnsetType = UNSET
    admins: list[str] = field(factory=list)


@define(kw_only=True)
class ListGroups:
    """``query``: a part of the name. ``user``: those that this user is in."""

    query: Name | None = None
    user: wire.Id | None = None
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class GroupsPage:
    groups: list[GroupInfo]
    cursor: str | UnsetType = UNSET


@define(kw_only=True)
class OneGroup:
    conversation: wire.Id


@define(kw_only=True)
class SetOwner:
    """``user``: a member of the group."""

    conversation: wire.Id
    user: wire.Id


@define(kw_only=True)
class SetRetention:
    """``days``: 0: messages are kept for ever; absent: as in all groups."""

    conversation: wire.Id
    days: Days | None = None


@frozen
class Groups:
    """The use cases of ``admin.group.*``. ``by``: whom the audit names."""

    database: Database
    executor: CommandExecutor
    neighbours: Neighbours

    async def list(self, by: str, request: ListGroups) -> GroupsPage:
        """A page of groups, in order of their ids."""
        limit = request.limit or pages.DEFAULT
        wanted = select(conversation).where(conversation.c.kind == "group")
        if request.query is not None:
            part = str(request.query).lower()
            wanted = wanted.where(func.lower(conversation.c.name).contains(part, autoescape=True))
        if request.user is not None:
            mine = select(member.c.conversation).where(member.c.user == request.user, member.c.to_seq.is_(None))
            wanted = wanted.where(conversation.c.conversation.in_(mine))
        if request.cursor is not None:
            (after,) = pages.read_cursor("admin.group.list", request.cursor, tuple[str])
            wanted = wanted.where(conversation.c.conversation > after)

        def page(connection: Connection) -> GroupsPage:
            rows = connection.execute(wanted.order_by(conversation.c.conversation).limit(limit + 1)).all()
            shown = rows[:limit]
            more = len(rows) > limit
            return GroupsPage(
                groups=_infos(connection, shown),
                cursor=pages.write_cursor("admin.group.list", shown[-1].conversation) if more else UNSET,
            )

        return await self.database.read(page)

    async def show(self, by: str, request: OneGroup) -> GroupInfo:
        """One group; `NotFound`."""
        return await self.database.read(lambda connection: _info(connection, request.conversation))

    async def dissolve(self, by: str, request: OneGroup) -> GroupInfo:
        """End a group for all; what was said stays readable to who was in it. Nothing happens to one that has ended."""

        def work(tx: Tx) -> GroupInfo:
            info = _info(tx.connection, request.conversation)
            if info.dissolved:
                return info
            self.neighbours.dissolve(tx, _owner(info), request.conversation)
            audit.note(tx.connection, tx.now, by, "group.dissolve", request.conversation)
            tx.save()
            return _info(tx.connection, request.conversation)

        return await self.executor.apply(work)

    async def set_owner(self, by: str, request: SetOwner) -> GroupInfo:
        """Hand a group to another of its members; the former owner becomes an admin of it."""

        def work(tx: Tx) -> GroupInfo:
            info = _info(tx.connection, request.conversation)
            former = _owner(info)
            if former == request.user:
                return info
            self.neighbours.transfer(tx, former, request.conversation, request.user)
            audit.note(tx.connection, tx.now, by, "group.owner", request.conversation, owner=request.user)
            tx.save()
            return _info(tx.connection, request.conversation)

        return await self.executor.apply(work)

    async def set_retention(self, by: str, request: SetRetention) -> GroupInfo:
        """Say for how long the messages of a group are kept. What the group itself has chosen is void by that; it may
        choose anew."""

        def work(tx: Tx) -> GroupInfo:
            info = _info(tx.connection, request.conversation)
            room = tx.room(request.conversation)
            if (room.kept_days, room.own_days) == (request.days, None):
                return info
            room.kept_days, room.own_days = request.days, None
            room.announce()
            audit.note(tx.connection, tx.now, by, "group.retention", request.conversation, days=request.days)
            tx.save()
            return _info(tx.connection, request.conversation)

        return await self.executor.apply(work)


def _owner(info: GroupInfo) -> str:
    if info.dissolved or info.owner is UNSET:
        raise Conflict("This group was dissolved.")
    return str(info.owner)


def _info(connection: Connection, name: str) -> GroupInfo:
    row = connection.execute(
        select(conversation).where(conversation.c.conversation == name, conversation.c.kind == "group")
    ).one_or_none()
    if row is None:
        raise missing("group")
    return _infos(connection, [row])[0]


def _infos(connection: Connection, rows: Sequence[Any]) -> list[GroupInfo]:
    ranks: dict[str, dict[str, list[str]]] = {}
    for one in connection.execute(
        select(member.c.conversation, member.c.user, member.c.role)
        .where(
            member.c.conversation.in_([row.conversation for row in rows]),
            member.c.to_seq.is_(None),
            member.c.role.in_(["owner", "admin"]),
        )
        .order_by(member.c.user)
    ):
        ranks.setdefault(one.conversation, {}).setdefault(one.role, []).append(one.user)
    return [
        GroupInfo(
            conversation=row.conversation,
            name=row.name or "",
            created_at=row.created_at,
            members=row.members,
            messages=row.head_seq,
            dissolved=row.dissolved,
            owner=next(iter(ranks.get(row.conversation, {}).get("owner", [])), UNSET),
            kept_days=or_unset(row.kept_days),
            own_days=or_unset(row.own_days),
            admins=ranks.get(row.conversation, {}).get("admin", []),
        )
        for row in rows
    ]
