"""Every question of "may this user", asked here and nowhere else.

Where a user stands in a conversation (`standing`, `enter`), what of it the user sees (`visible`), whether the user may
put words or files into it (`may_speak`, `may_send`), what a role lets one do (`POWERS`, `may_manage`, `outranks`), who
is banned, which logins live, who has blocked whom, and whose presence is shown to whom. A use case asks in the
transaction in which it acts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from attrs import frozen
from chat_common.errors import Conflict, NotAMember, NotPermitted
from sqlalchemy import Connection, Text, and_, bindparam, or_, select

from chat_server.store import views
from chat_server.store.account_schema import ban, login
from chat_server.store.schema import contact, conversation, member
from chat_server.store.schema import user as user_table
from chat_server.store.statements import CompiledStatement, any_of, texts
from chat_server.store.tx import Room, Tx, missing

# --- bans ---------------------------------------------------------------------------------------------------------

_BANS = CompiledStatement(
    select(ban.c.user, ban.c.until).where(
        any_of(ban.c.user, "users_"), or_(ban.c.until.is_(None), ban.c.until > bindparam("now_"))
    ),
    "users_",
    "now_",
)


def banned(connection: Connection, users: Iterable[str], now: int) -> dict[str, int | None]:
    """Those of ``users`` who are banned at ``now`` (ms), with the time at which the ban ends (None: never)."""
    return {row.user: row.until for row in _BANS.all(connection, texts(connection, users), now)}


# --- logins -------------------------------------------------------------------------------------------------------


def lives(now: int) -> Any:
    """Condition: the login is a client's, was not ended, and is not over."""
    return and_(login.c.ended_at.is_(None), login.c.expires_at > now, login.c.audience.is_(None))


# --- roles --------------------------------------------------------------------------------------------------------


def role_of(connection: Connection, who: str) -> str:
    """The user's role on this server, ``user`` or ``admin``; ``user`` for somebody who does not exist."""
    return connection.execute(select(user_table.c.role).where(user_table.c.user == who)).scalar_one_or_none() or "user"


# --- conversations ------------------------------------------------------------------------------------------------


@frozen
class Standing:
    """Where a caller stands in a conversation: the locked room (or its plain row) and the caller's membership."""

    room: Any
    member: Any
    spans: list[list[int]]

    @property
    def left(self) -> bool:
        return self.member.to_seq is not None


_NAME = bindparam("name", type_=Text())
_MEMBERSHIP = select(member).where(member.c.conversation == _NAME, member.c.user == bindparam("me", type_=Text()))
_CONVERSATION = select(conversation).where(conversation.c.conversation == _NAME)
"""Built once: nearly everything that is asked begins with these two."""


def standing(connection: Connection, user: str, name: str, *, room: Any = None, active: bool = True) -> Standing:
    """Where ``user`` stands: nothing about a conversation is read or changed but through this.

    `NotFound`: it does not exist, is foreign, or the user was never in it: the same text always. `NotAMember`: the
    user has left, and ``active`` membership is needed.
    """
    mine = connection.execute(_MEMBERSHIP, {"name": name, "me": user}).one_or_none()
    if mine is None or _never_in(mine):
        raise missing("conversation")
    if active and mine.to_seq is not None:
        raise NotAMember("You have left this conversation.")
    if room is None:
        room = connection.execute(_CONVERSATION, {"name": name}).one_or_none()
        if room is None:
            raise missing("conversation")
    return Standing(room, mine, views.spans_of(mine))


def standings(connection: Connection, user: str, names: Iterable[str]) -> dict[str, Standing]:
    """Where ``user`` stands in each of these conversations, those left out in which `standing` finds nobody: for
    whoever looks through several of them at once."""
    wanted = texts(connection, names)
    rooms = {room.conversation: room for room in _CONVERSATIONS.all(connection, wanted)}
    return {
        mine.conversation: Standing(rooms[mine.conversation], mine, views.spans_of(mine))
        for mine in _MEMBERSHIPS.all(connection, user, wanted)
        if mine.conversation in rooms and not _never_in(mine)
    }


def conversations_of(connection: Connection, user: str, most: int) -> list[str]:
    """Conversations that the user is or was in, at most ``most``."""
    was_in = or_(member.c.to_seq.is_(None), member.c.rev > 0)
    return list(
        connection.execute(select(member.c.conversation).where(member.c.user == user, was_in).limit(most)).scalars()
    )


_MEMBERSHIPS = CompiledStatement(
    select(member).where(member.c.user == bindparam("me"), any_of(member.c.conversation, "names")), "me", "names"
)
_CONVERSATIONS = CompiledStatement(select(conversation).where(any_of(conversation.c.conversation, "names")), "names")


def _never_in(mine: Any) -> bool:
    """Invited only, or has refused: a membership that was never stamped shows nothing."""
    return bool(mine.to_seq is not None and mine.rev == 0)


def enter(tx: Tx, user: str, name: str) -> tuple[Room, Standing]:
    """For a change: the room, locked, and the caller's active membership read under that lock."""
    room = tx.room(name)
    return room, standing(tx.connection, user, name, room=room)


def enter_group(tx: Tx, user: str, name: str) -> tuple[Room, Standing]:
    """The same for a group; `Conflict` for a direct chat."""
    room, here = enter(tx, user, name)
    if room.kind != "group":
        raise Conflict("This is a direct chat, not a group.", field="conversation")
    return room, here


def end_rev(here: Standing) -> int | None:
    """The rev at which the caller left; None: still there. Nothing that changed later is shown."""
    return int(here.member.rev) if here.left else None


def visible(spans: Sequence[Sequence[int]], seq: int) -> bool:
    """Whether one of the intervals of a membership holds this message."""
    return any(span[0] <= seq and (len(span) == 1 or seq <= span[1]) for span in spans)


def sees(here: Standing, seq: int) -> bool:
    """Whether the message is kept and lies within an interval of the caller's membership."""
    return bool(visible(here.spans, seq) and here.room.first_kept <= seq <= here.room.head_seq)


# --- speaking -----------------------------------------------------------------------------------------------------


def may_speak(room: Any, mine: Any, is_banned: bool, now: int) -> None:
    """Whether a member may put words into a room at ``now`` (ms); else `NotAMember` or `NotPermitted` tells why not, or
    `NotFound` where the user was invited only."""
    if _never_in(mine):
        raise missing("conversation")
    if mine.to_seq is not None:
        raise NotAMember("You have left this conversation.")
    if is_banned:
        raise NotPermitted("You are banned.", reason="banned")
    if mine.silenced:
        raise NotPermitted("This person does not take messages from you.")
    if mine.muted_until is not None and mine.muted_until > now:
        raise NotPermitted("You are muted in this conversation.", retry_after=(mine.muted_until - now) / 1000)
    if room.muted_until is not None and room.muted_until > now and not has(mine, "speak_in_mute"):
        raise NotPermitted("This conversation is muted.", retry_after=(room.muted_until - now) / 1000)


def speaks(connection: Connection, here: Standing, now: int) -> None:
    """`may_speak` for one caller, the ban looked up: messages, edits, reactions, typing and uploads alike."""
    user = here.member.user
    may_speak(here.room, here.member, user in banned(connection, [user], now), now)


def may_send(connection: Connection, user: str, name: str, now: int) -> None:
    """Whether ``user`` may send a file into this conversation: as `standing` and `may_speak` say."""
    speaks(connection, standing(connection, user, name), now)


# --- managing -----------------------------------------------------------------------------------------------------


Power = Literal[
    "invite", "settings", "link", "mute", "kick", "mention_all", "speak_in_mute", "roles", "transfer", "dissolve"
]
"""What a role may give. ``invite``: where the group keeps that from plain members, and of those who were put out;
``speak_in_mute``: while the whole group is muted."""

_ADMIN: frozenset[Power] = frozenset(
    {"invite", "settings", "link", "mute", "kick", "mention_all", "speak_in_mute"},
)
POWERS: Mapping[str, frozenset[Power]] = {
    "owner": _ADMIN | {"roles", "transfer", "dissolve"},
    "admin": _ADMIN,
    "member": frozenset(),
}
"""Each role of a group, the higher before the lower: whoever may mute or put out does so to the roles below."""
_RANK = {role: -place for place, role in enumerate(POWERS)}


def has(mine: Any, power: Power) -> bool:
    """Whether the role of a membership gives this power. Somebody who is only invited has none."""
    return power in POWERS.get(mine.role, ())


def may_manage(here: Standing, power: Power) -> None:
    """`NotPermitted` unless the caller's role gives this power; names the roles that do."""
    if not has(here.member, power):
        roles = [role for role, powers in POWERS.items() if power in powers]
        raise NotPermitted(f"This needs the role {' or '.join(roles)}.")


def outranks(here: Standing, target: Any) -> bool:
    """Whether this member's role is below the caller's."""
    lowest = min(_RANK.values())
    return bool(_RANK.get(target.role, lowest) < _RANK.get(here.member.role, lowest))


# --- people -------------------------------------------------------------------------------------------------------


def blocks(connection: Connection, who: str, other: str) -> bool:
    """Whether ``who`` has blocked ``other``."""
    return who in blockers(connection, [who], other)


def blockers(connection: Connection, users: Iterable[str], other: str) -> set[str]:
    """Those of ``users`` who have blocked ``other``."""
    return set(
        connection.execute(
            select(contact.c.user).where(
                contact.c.user.in_(sorted(set(users))), contact.c.other == other, contact.c.blocked
            )
        ).scalars()
    )


def known(connection: Connection, user: str, others: Sequence[str]) -> list[str]:
    """Those of ``others`` who are no strangers to ``user``: friends, and who is in a group with the user, or has
    written in their direct chat (to open one asks nobody)."""
    found = _known(connection, [user], others)
    return [other for other in others if other == user or (user, other) in found]


def acquainted(connection: Connection, asked: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Of the others given for each user those whose presence is shown to that user: as `known`, but nobody across a
    block, whichever of the two has blocked."""
    users, others = sorted(asked), sorted({other for wanted in asked.values() for other in wanted})
    blocked = select(contact.c.user, contact.c.other).where(contact.c.blocked)
    apart = {
        pair
        for some, rest in ((users, others), (others, users))
        for who, whom in connection.execute(blocked.where(contact.c.user.in_(some), contact.c.other.in_(rest)))
        for pair in ((who, whom), (whom, who))
    }
    shown = _known(connection, users, others) - apart
    return {
        user: [other for other in wanted if other == user or (user, other) in shown] for user, wanted in asked.items()
    }


def _known(connection: Connection, users: Sequence[str], others: Sequence[str]) -> set[tuple[str, str]]:
    """The pairs of one of ``users`` and one of ``others`` of which the second is no stranger to the first."""
    wanted = sorted(set(others))
    friends = connection.execute(
        select(contact.c.user, contact.c.other).where(
            contact.c.user.in_(users), contact.c.state == "friends", contact.c.other.in_(wanted)
        )
    )
    theirs = (
        select(member.c.conversation, member.c.user.label("me"), conversation.c.kind)
        .join(conversation, conversation.c.conversation == member.c.conversation)
        .where(member.c.user.in_(users), member.c.to_seq.is_(None))
        .subquery()
    )
    common = connection.execute(
        select(theirs.c.me, member.c.user)
        .join(theirs, theirs.c.conversation == member.c.conversation)
        .where(
            member.c.user.in_(wanted),
            member.c.to_seq.is_(None),
            or_(theirs.c.kind == "group", member.c.own_seq > 0),
        )
        .distinct()
    )
    return {(who, whom) for rows in (friends, common) for who, whom in rows}
