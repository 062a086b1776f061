"""Who may what: roles, muting, handing over, dissolving."""

from __future__ import annotations

from typing import Any

from attrs import define
from chat_common import wire
from chat_common.errors import Conflict, Invalid, NotPermitted
from sqlalchemy import select, update

from chat_server.logic.groups.invitations import Nothing, OneConversation, forget_invitations, owns
from chat_server.logic.groups.membership import leave, rows_of
from chat_server.logic.settings import GroupSettings
from chat_server.store import views
from chat_server.store.rights import enter_group, may_manage, outranks
from chat_server.store.schema import member
from chat_server.store.tx import Room, Tx, missing


@define(kw_only=True)
class SetRole:
    conversation: wire.Id
    user: wire.Id
    role: wire.GivenRole


@define(kw_only=True)
class Mute:
    """``until`` in ms since 1970, 0 ends it; without ``user`` the whole group (owner and admins may go on)."""

    conversation: wire.Id
    until: wire.Count
    user: wire.Id | None = None


@define(kw_only=True)
class Transfer:
    conversation: wire.Id
    user: wire.Id


def _target(tx: Tx, room: Room, who: str) -> Any:
    row = rows_of(tx, room.conversation, [who]).get(who)
    if row is None or row.to_seq is not None:
        raise missing("user")
    return row


def _restamp(tx: Tx, room: Room, who: str, **values: Any) -> wire.Member:
    rev = room.stamp()
    tx.touch(room.conversation, [who], rev=rev, **values)
    room.announce_members([who], rev)
    record: wire.Member = room.pushes[-1].data.members[0]
    return record


def role(tx: Tx, me: str, request: SetRole) -> wire.Member:
    """Make somebody an admin, or a plain member again; the owner alone."""
    room, here = enter_group(tx, me, request.conversation)
    may_manage(here, "roles")
    row = _target(tx, room, request.user)
    if row.role == "owner":
        raise Invalid("user: The role of the owner changes only by a transfer.", field="user")
    if row.role == request.role:
        return views.member_records(tx.connection, [row], direct=False)[0]
    record = _restamp(tx, room, request.user, role=request.role)
    room.say(me, "group.role", [request.user], {"role": request.role})
    return record


def mute(tx: Tx, me: str, request: Mute) -> wire.Member | wire.Conversation:
    """Keep one member, or all but owner and admins, from sending until a time; owner and admins."""
    room, here = enter_group(tx, me, request.conversation)
    may_manage(here, "mute")
    until = request.until if request.until > tx.now else None
    if request.user is None:
        room.muted_until = until
        room.announce()
        room.say(me, "group.muted", args={"until": until or 0})
        return views.conversation_record(room)
    row = _target(tx, room, request.user)
    if not outranks(here, row):
        raise NotPermitted("user: You may not mute this member.", field="user")
    record = _restamp(tx, room, request.user, muted_until=until)
    room.say(me, "group.muted", [request.user], {"until": until or 0})
    return record


def transfer(settings: GroupSettings, tx: Tx, me: str, request: Transfer) -> wire.Conversation:
    """Hand the group over; the former owner becomes an admin."""
    room, here = enter_group(tx, me, request.conversation)
    may_manage(here, "transfer")
    if request.user != me:
        _target(tx, room, request.user)
        if owns(tx, request.user) >= settings.owned:
            raise Conflict("This user owns as many groups as allowed.", field="user", limit=settings.owned)
        rev = room.stamp()
        tx.touch(room.conversation, [me], rev=rev, role="admin")
        tx.touch(room.conversation, [request.user], rev=rev, role="owner")
        room.announce_members([me, request.user], rev)
        room.say(me, "group.transferred", [request.user])
    return views.conversation_record(room)


def dissolve(tx: Tx, me: str, request: OneConversation) -> Nothing:
    """End the group for all; what was said stays readable to who was in it."""
    room, here = enter_group(tx, me, request.conversation)
    may_manage(here, "dissolve")
    room.say(me, "group.dissolved")
    room.dissolved = True
    users = list(
        tx.connection.execute(
            select(member.c.user).where(member.c.conversation == room.conversation, member.c.to_seq.is_(None))
        ).scalars()
    )
    room.link = None
    leave(tx, room, users)
    forget_invitations(tx, room)
    tx.connection.execute(update(member).where(member.c.conversation == room.conversation).values(muted_until=None))
    return Nothing()
