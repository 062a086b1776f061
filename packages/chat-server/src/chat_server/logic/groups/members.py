"""Who comes and goes: invite, kick, leave, join by link."""

from __future__ import annotations

from attrs import define, field
from chat_common import wire
from chat_common.errors import Conflict, NotPermitted
from chat_common.validation import named
from msgspec import UNSET, UnsetType
from sqlalchemy import select

from chat_server.logic.direct import InboxOf
from chat_server.logic.groups.create import UserIds
from chat_server.logic.groups.invitations import (
    PENDING,
    Nothing,
    OneConversation,
    ask,
    refuse_full,
    sort_invited,
    withdraw,
)
from chat_server.logic.groups.membership import MOST_MEMBERS, join, leave, rows_of
from chat_server.logic.settings import GroupSettings
from chat_server.store import views
from chat_server.store.rights import enter_group, has, may_manage, outranks
from chat_server.store.schema import conversation
from chat_server.store.tx import Tx, missing, new_id


@define(kw_only=True)
class Users:
    conversation: wire.Id
    users: UserIds


@define(kw_only=True)
class Refused:
    user: str
    code: str


@define(kw_only=True)
class Outcome:
    """``done``: as asked, also where it was so already. ``refused``: each with an error code. ``pending``: strangers,
    who are asked first."""

    done: list[str]
    refused: list[Refused] = field(factory=list)
    pending: list[str] = field(factory=list)


@define(kw_only=True)
class JoinGroup:
    link: named(64)  # type: ignore[valid-type]


@define(kw_only=True)
class LinkSet:
    """``on`` false ends the link that is there."""

    conversation: wire.Id
    on: bool


@define(kw_only=True)
class Link:
    """Absent: there is none any more."""

    link: str | UnsetType = UNSET


def invite(settings: GroupSettings, tx: Tx, me: str, request: Users) -> Outcome:
    """Let users in; who may is a setting of the group. Strangers are asked first; unknown users, those who have blocked
    the caller and those who were put out (unless an owner or admin invites) are refused."""
    room, here = enter_group(tx, me, request.conversation)
    manages = has(here.member, "invite")
    if room.invites == "admins":
        may_manage(here, "invite")
    wanted = list(dict.fromkeys(request.users))
    known = rows_of(tx, request.conversation, wanted)
    found = sort_invited(settings, tx, me, wanted, known, room, manages=manages)
    if found.coming:
        join(tx, room, found.coming)
        room.say(me, "group.invited", found.coming)
    if found.asked:
        ask(tx, room, me, found.asked)
    asked = set(found.asked)
    return Outcome(
        done=[who for who in wanted if who not in found.refused and who not in asked],
        refused=[Refused(user=who, code=code) for who, code in found.refused.items()],
        pending=found.asked,
    )


def kick(tx: Tx, me: str, request: Users) -> Outcome:
    """Put members out: the owner anyone, an admin plain members. It ends the group's link, and they come back only by
    an invitation of the owner or an admin."""
    room, here = enter_group(tx, me, request.conversation)
    may_manage(here, "kick")
    known = rows_of(tx, request.conversation, request.users)
    outcome = Outcome(done=[])
    going: list[str] = []
    for who in dict.fromkeys(request.users):
        row = known.get(who)
        if row is None:
            outcome.refused.append(Refused(user=who, code="not_found"))
        elif row.to_seq is not None:
            if row.role == PENDING:
                withdraw(tx, request.conversation, [who])
            outcome.done.append(who)
        elif not outranks(here, row):
            outcome.refused.append(Refused(user=who, code="not_permitted"))
        else:
            going.append(who)
            outcome.done.append(who)
    if going:
        leave(tx, room, going, barred=True)
        room.link = None  # else they would come straight back by it
        room.say(me, "group.kicked", going)
    return outcome


def go(tx: Tx, me: str, request: OneConversation) -> Nothing:
    """Leave a group; the owner transfers or dissolves it first."""
    room, here = enter_group(tx, me, request.conversation)
    if here.member.role == "owner":
        raise Conflict("The owner must transfer or dissolve the group before leaving it.")
    leave(tx, room, [me])
    room.say(me, "group.left")
    return Nothing()


def join_by_link(settings: GroupSettings, inbox_of: InboxOf, tx: Tx, me: str, request: JoinGroup) -> wire.Inbox:
    """Come in by a group's link; who is in already stays in."""
    name = tx.connection.execute(
        select(conversation.c.conversation).where(conversation.c.link == request.link, ~conversation.c.dissolved)
    ).scalar_one_or_none()
    if name is None:
        raise missing("link")
    room = tx.room(name)
    if room.link != request.link:
        raise missing("link")
    mine = rows_of(tx, name, [me]).get(me)
    if mine is None or mine.to_seq is not None:
        if mine is not None and mine.barred:
            raise NotPermitted("You were put out of this group: its owner or an admin may invite you again.")
        refuse_full(settings, tx, me, owner=False)
        if room.members >= MOST_MEMBERS:
            raise Conflict(f"This group is full: it can have at most {MOST_MEMBERS} members.", limit=MOST_MEMBERS)
        join(tx, room, [me])
        room.say(me, "group.joined")
        tx.save()
    return inbox_of(tx, me, name)


def set_link(tx: Tx, me: str, request: LinkSet) -> Link:
    """Make a new link (an older one ends), or end it; owner and admins."""
    room, here = enter_group(tx, me, request.conversation)
    may_manage(here, "link")
    room.link = new_id() if request.on else None
    room.dirty = True
    return Link(link=views.or_unset(room.link))
