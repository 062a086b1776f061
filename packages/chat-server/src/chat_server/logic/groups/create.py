"""Create a group, look at it, change its settings."""

from __future__ import annotations

from typing import Annotated, Literal

from attrs import define
from chat_common import wire
from chat_common.errors import Conflict, Invalid, NotPermitted
from chat_common.ports.database import Database
from chat_common.records import Caller
from chat_common.validation import named
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, select, update

from chat_server.logic.direct import InboxOf
from chat_server.logic.groups.invitations import OneConversation, ask, refuse_full, sort_invited
from chat_server.logic.groups.membership import join
from chat_server.logic.settings import GroupSettings
from chat_server.names import folded
from chat_server.names.handles import NameRules
from chat_server.store import pages, views
from chat_server.store.executor import caller_user
from chat_server.store.retention import Days, RetentionSettings, check_choice
from chat_server.store.rights import enter_group, may_manage, standing
from chat_server.store.schema import member, user
from chat_server.store.tx import Tx, new_id, require_users

UserIds = Annotated[list[wire.Id], Meta(max_length=200)]


@define(kw_only=True)
class CreateGroup:
    name: named(64)  # type: ignore[valid-type]
    members: UserIds


@define(kw_only=True)
class UpdateGroup:
    """What is absent stays as it is. ``invites``: who may invite. ``kept_days``: after how many days messages are
    deleted for everybody; 0: as the server does it anyway."""

    conversation: wire.Id
    name: named(64) | None = None  # type: ignore[valid-type]
    avatar: named(1024) | None = None  # type: ignore[valid-type]
    announcement: named(4096) | None = None  # type: ignore[valid-type]
    invites: Literal["members", "admins"] | None = None
    kept_days: Days | None = None


@define(kw_only=True)
class ListMembers:
    """``query``: a part of a name; absent, all members."""

    conversation: wire.Id
    query: named(64) | None = None  # type: ignore[valid-type]
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class MembersPage:
    members: list[wire.Member]
    cursor: str | UnsetType = UNSET


def create(
    settings: GroupSettings, rules: NameRules, inbox_of: InboxOf, tx: Tx, me: str, request: CreateGroup
) -> wire.Inbox:
    """A group of the caller, who owns it, and these users; strangers are asked first. An unknown user → `NotFound`, one
    who has blocked the caller → `NotPermitted`: nothing is done."""
    name = rules.group(request.name)
    others = [who for who in dict.fromkeys(request.members) if who != me]
    require_users(tx.connection, others)
    refuse_full(settings, tx, me, owner=True)
    found = sort_invited(settings, tx, me, others, {}, None, manages=True)
    if "not_permitted" in found.refused.values():
        raise NotPermitted("One of these users does not want to be invited by you.", field="members")
    if found.refused:
        raise Conflict("One of these users is in as many groups as allowed.", field="members", limit=settings.joined)
    room = tx.adopt(conversation=new_id(), kind="group", name=name)
    join(tx, room, [me, *found.coming])
    tx.connection.execute(
        update(member).where(member.c.conversation == room.conversation, member.c.user == me).values(role="owner")
    )
    room.refresh_members()
    if found.asked:
        ask(tx, room, me, found.asked)
    tx.save()
    return inbox_of(tx, me, room.conversation)


async def get(database: Database, caller: Caller, request: OneConversation) -> wire.Conversation:
    """What all members see of a conversation."""
    me = caller_user(caller)

    def look(connection: Connection) -> wire.Conversation:
        return views.conversation_record(standing(connection, me, request.conversation).room)

    return await database.read(look)


def change(rules: NameRules, retention: RetentionSettings, tx: Tx, me: str, request: UpdateGroup) -> wire.Conversation:
    """Change name, avatar, announcement, who may invite, or for how long messages are kept; owner and admins."""
    room, here = enter_group(tx, me, request.conversation)
    may_manage(here, "settings")
    wanted = {
        "name": None if request.name is None else rules.group(request.name),
        "avatar": request.avatar,
        "announcement": request.announcement,
        "invites": request.invites,
    }
    changed = {field: value for field, value in wanted.items() if value is not None and value != getattr(room, field)}
    if not changed and request.kept_days is None and all(value is None for value in wanted.values()):
        raise Invalid("Give at least one of name, avatar, announcement, invites and kept_days.", field="name")
    if request.kept_days is not None and request.kept_days != (room.own_days or 0):
        check_choice(retention, request.kept_days)
        room.own_days = request.kept_days or None
        changed["kept_days"] = request.kept_days
    if changed:
        for field, value in changed.items():
            if field != "kept_days":
                setattr(room, field, value)
        room.announce()
        room.say(me, "group.updated", args=changed)
    return views.conversation_record(room)


async def members(database: Database, caller: Caller, request: ListMembers) -> MembersPage:
    """Current members in order of user id, or those of them whose name has the query in it."""
    me = caller_user(caller)
    after = "" if request.cursor is None else pages.read_cursor("group.members", request.cursor, tuple[str])[0]
    limit = request.limit or pages.DEFAULT

    def page(connection: Connection) -> MembersPage:
        here = standing(connection, me, request.conversation)
        wanted = select(member).where(
            member.c.conversation == request.conversation, member.c.to_seq.is_(None), member.c.user > after
        )
        if request.query is not None:
            named_so = user.c.folded.contains(folded(request.query), autoescape=True)
            wanted = wanted.join(user, user.c.user == member.c.user).where(named_so)
        rows = connection.execute(wanted.order_by(member.c.user).limit(limit + 1)).all()
        more = len(rows) > limit
        rows = rows[:limit]
        return MembersPage(
            members=views.member_records(connection, rows, direct=here.room.kind == "direct"),
            cursor=pages.write_cursor("group.members", rows[-1].user) if more else UNSET,
        )

    return await database.read(page)
