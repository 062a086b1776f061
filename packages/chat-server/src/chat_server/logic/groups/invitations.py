"""Who comes in at once, who is asked first, who is refused; and the answers of those who were asked.

A user who was asked has a membership without an interval and the role ``pending``: it stands in the own list, and
nothing of the group is seen through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from chat_common import wire
from chat_common.errors import Conflict
from sqlalchemy import func, select

from chat_server.logic.direct import InboxOf
from chat_server.logic.groups.membership import MOST_MEMBERS, join, rows_of
from chat_server.logic.settings import GroupSettings
from chat_server.store import rights
from chat_server.store.schema import member
from chat_server.store.statements import upsert
from chat_server.store.tx import Room, Tx, existing, missing

PENDING = "pending"


@define(kw_only=True)
class OneConversation:
    conversation: wire.Id


@define(kw_only=True)
class Nothing:
    """An empty answer."""


@define
class Sorted:
    """``present`` are in already; ``refused``: each with an error code."""

    coming: list[str] = field(factory=list)
    asked: list[str] = field(factory=list)
    present: list[str] = field(factory=list)
    refused: dict[str, str] = field(factory=dict)


def sort_invited(
    settings: GroupSettings, tx: Tx, me: str, wanted: Sequence[str], known: dict[str, Any], room: Any, *, manages: bool
) -> Sorted:
    """What an invitation by ``me`` does with each of these users. ``known``: their memberships, open or closed."""
    outcome = Sorted()
    connection = tx.connection
    here = existing(connection, wanted)
    refusing = rights.blockers(connection, wanted, me)
    friendly = set(rights.known(connection, me, wanted)) if settings.strangers == "ask" else set(wanted)
    full = _full(settings, tx, wanted)
    places = MOST_MEMBERS - (room.members if room is not None else 1)
    for who in wanted:
        row = known.get(who)
        if who not in here:
            outcome.refused[who] = "not_found"
        elif row is not None and row.to_seq is None:
            outcome.present.append(who)
        elif who in refusing or (row is not None and row.barred and not manages):
            outcome.refused[who] = "not_permitted"
        elif who in full or len(outcome.coming) >= places:
            outcome.refused[who] = "conflict"
        else:
            (outcome.coming if who in friendly else outcome.asked).append(who)
    return outcome


def _full(settings: GroupSettings, tx: Tx, users: Sequence[str]) -> set[str]:
    """Those who are in as many groups as one may be in."""
    rows = tx.connection.execute(
        select(member.c.user, func.count())
        .where(member.c.user.in_(users), member.c.to_seq.is_(None))
        .group_by(member.c.user)
        .having(func.count() >= settings.joined)
    )
    return {user for user, _ in rows}


def refuse_full(settings: GroupSettings, tx: Tx, me: str, *, owner: bool) -> None:
    """`Conflict` when ``me`` can be in no further group, or own none."""
    if _full(settings, tx, [me]):
        raise Conflict(f"You are in {settings.joined} groups, as many as allowed.", limit=settings.joined)
    if owner and owns(tx, me) >= settings.owned:
        raise Conflict(f"You own {settings.owned} groups, as many as allowed.", limit=settings.owned)


def owns(tx: Tx, user: str) -> int:
    """How many groups this user owns."""
    mine = select(func.count()).where(member.c.user == user, member.c.role == "owner", member.c.to_seq.is_(None))
    return int(tx.connection.execute(mine).scalar_one())


def ask(tx: Tx, room: Room, me: str, users: Sequence[str]) -> None:
    """Invite these users, who are not in: the group appears in their lists as a question, and shows its name alone."""
    numbers = tx.versions(users)
    for who in sorted(users):
        values = {
            "role": PENDING,
            "invited_by": me,
            "end_name": room.name,
            "end_avatar": room.avatar,
            "hidden": False,
            "version": numbers[who],
            "activity": tx.now,
        }
        tx.connection.execute(
            upsert(tx.connection, member)
            .values(conversation=room.conversation, user=who, from_seq=1, to_seq=0, joined_at=tx.now, **values)
            .on_conflict_do_update(index_elements=["conversation", "user"], set_=values)
        )


def _pending(tx: Tx, me: str, name: str) -> tuple[Room, Any]:
    room = tx.room(name)
    row = rows_of(tx, name, [me]).get(me)
    if row is None or row.role != PENDING or room.dissolved:
        raise missing("conversation")
    return room, row


def accept(settings: GroupSettings, inbox_of: InboxOf, tx: Tx, me: str, request: OneConversation) -> wire.Inbox:
    """Come into a group that one was invited to; `NotFound` without an invitation. A repetition changes nothing."""
    open_already = select(member.c.user).where(
        member.c.conversation == request.conversation, member.c.user == me, member.c.to_seq.is_(None)
    )
    if tx.connection.execute(open_already).first() is None:
        room, _ = _pending(tx, me, request.conversation)
        refuse_full(settings, tx, me, owner=False)
        if room.members >= MOST_MEMBERS:
            raise Conflict(f"This group is full: it has {MOST_MEMBERS} members.", limit=MOST_MEMBERS)
        join(tx, room, [me])
        room.say(me, "group.joined")
        tx.save()
    return inbox_of(tx, me, request.conversation)


def reject(tx: Tx, me: str, request: OneConversation) -> Nothing:
    """Refuse an invitation; it goes from the list. Who invited is not told."""
    _pending(tx, me, request.conversation)
    withdraw(tx, request.conversation, [me])
    return Nothing()


def withdraw(tx: Tx, name: str, users: Sequence[str]) -> None:
    """These users are not asked any more: the question goes from their lists."""
    tx.touch(name, users, role="member", invited_by=None, hidden=True)


def forget_invitations(tx: Tx, room: Room) -> None:
    """The group has ended: nobody is asked any more."""
    asked = member.c.conversation == room.conversation, member.c.role == PENDING
    users = list(tx.connection.execute(select(member.c.user).where(*asked)).scalars())
    for start in range(0, len(users), 200):
        withdraw(tx, room.conversation, users[start : start + 200])
