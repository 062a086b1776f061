"""What a deleted account leaves among others: its name, its contacts, its places in conversations.

`erase_profile` is a part of the transaction that deletes the account. The rest goes on afterwards, in portions: each
function takes where the last one came to (at first "") and returns where the next one goes on, or None when it is done.
A portion done twice does no harm.
"""

from __future__ import annotations

from typing import Any

from chat_common.ports.files import Attachments
from sqlalchemy import and_, case, delete, or_, select, update

from chat_server.logic.groups.invitations import PENDING, OneConversation, withdraw
from chat_server.logic.groups.membership import leave, rows_of
from chat_server.logic.groups.roles import dissolve
from chat_server.store import views
from chat_server.store.schema import contact, conversation, member, name_part, user
from chat_server.store.tx import Room, Tx

NAME = "Deleted account"
"""What stands where the name stood. Clients that translate go by `User.deleted`."""
CONTACTS, ROOMS = 200, 50
"""Rows and conversations of one portion."""
CANDIDATES = 10_000
"""Members among whom heirs of groups are looked for in one portion, about."""


def erase_profile(attachments: Attachments, tx: Tx, who: str) -> None:
    """Take name, picture and badge from an account, and its role. Uploads that stand in no message go as well."""
    tx.connection.execute(delete(name_part).where(name_part.c.user == who))
    attachments.wear(tx.connection, who, None)
    attachments.forget(tx.connection, who)
    version = tx.versions([who])[who]
    nothing = {"name": NAME, "folded": "", "avatar": None, "badge": None, "role": "user", "renames": 0}
    nothing |= {"handle": None, "skeleton": None}
    tx.connection.execute(update(user).where(user.c.user == who).values(deleted_at=tx.now, version=version, **nothing))


def leave_contacts(tx: Tx, who: str, after: str) -> str | None:
    """Take the account out of the lists of others, who see it go."""
    listed = or_(contact.c.state != "none", contact.c.blocked)
    others = list(
        tx.connection.execute(
            select(contact.c.user)
            .where(contact.c.other == who, contact.c.user > after, listed)
            .order_by(contact.c.user)
            .limit(CONTACTS)
        ).scalars()
    )
    nothing = {"state": "none", "asked_by": None, "text": None, "blocked": False}
    for other, number in sorted(tx.versions(others).items()):
        tx.connection.execute(
            update(contact).where(contact.c.user == other, contact.c.other == who).values(version=number, **nothing)
        )
    return others[-1] if len(others) == CONTACTS else None


def forget_contacts(tx: Tx, who: str, after: str) -> str | None:
    """Delete the account's own list: friends, requests, blocks."""
    others = list(tx.connection.execute(select(contact.c.other).where(contact.c.user == who).limit(CONTACTS)).scalars())
    tx.connection.execute(delete(contact).where(contact.c.user == who, contact.c.other.in_(others)))
    return after if len(others) == CONTACTS else None


def leave_rooms(tx: Tx, who: str, after: str) -> str | None:
    """Leave every conversation, and stamp the memberships that had ended before, so that everybody sees that the
    account is gone. A group that it owned goes to the admin, else to the member, who has been in it for longest; one
    without other members is dissolved. In direct chats the other one cannot write any more."""
    rows = tx.connection.execute(
        select(member.c.conversation, member.c.role, conversation.c.members)
        .join(conversation, conversation.c.conversation == member.c.conversation)
        .where(member.c.user == who, member.c.conversation > after)
        .order_by(member.c.conversation)
        .limit(ROOMS)
    ).all()
    candidates = 0
    for row in rows:
        _leave(tx, who, row.conversation)
        candidates += row.members if row.role == "owner" else 0
        if candidates >= CANDIDATES:
            return str(row.conversation)
    return rows[-1].conversation if len(rows) == ROOMS else None


def _leave(tx: Tx, who: str, name: str) -> None:
    room = tx.room(name)
    mine = rows_of(tx, name, [who]).get(who)
    if mine is None:
        return
    _withdraw_invitations(tx, who, name)
    if mine.role == PENDING or mine.rev == 0:  # invited only: nobody sees that
        tx.connection.execute(delete(member).where(member.c.conversation == name, member.c.user == who))
    elif mine.to_seq is not None:
        rev = room.stamp()
        tx.connection.execute(update(member).where(member.c.conversation == name, member.c.user == who).values(rev=rev))
        room.announce_members([who], rev)
    elif room.kind == "direct":
        leave(tx, room, [who])
        _silence_peer(tx, who, room)
    else:
        _leave_group(tx, who, room, mine)


def _leave_group(tx: Tx, who: str, room: Room, mine: Any) -> None:
    if mine.role == "owner":
        heir = _heir(tx, who, room.conversation)
        if heir is None:
            dissolve(tx, who, OneConversation(conversation=room.conversation))
            return
        rev = room.stamp()
        tx.touch(room.conversation, [heir], rev=rev, role="owner")
        room.announce_members([heir], rev)
        room.say(who, "group.transferred", [heir])
    leave(tx, room, [who])
    room.say(who, "group.left")


def _heir(tx: Tx, who: str, name: str) -> str | None:
    first_admins = case((member.c.role == "admin", 0), else_=1)
    return tx.connection.execute(
        select(member.c.user)
        .where(member.c.conversation == name, member.c.to_seq.is_(None), member.c.user != who)
        .order_by(first_admins, member.c.joined_at, member.c.user)
        .limit(1)
    ).scalar_one_or_none()


def _silence_peer(tx: Tx, who: str, room: Room) -> None:
    peer = views.peer_of(room.direct_key or "", who)
    if peer != who:
        tx.touch(room.conversation, [peer], silenced=True)


def _withdraw_invitations(tx: Tx, who: str, name: str) -> None:
    """Nobody is asked any more by somebody who is gone."""
    asked = and_(member.c.conversation == name, member.c.role == PENDING, member.c.invited_by == who)
    while users := list(tx.connection.execute(select(member.c.user).where(asked).limit(200)).scalars()):
        withdraw(tx, name, users)
