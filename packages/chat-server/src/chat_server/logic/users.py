"""Users: profiles, search, renaming."""

from __future__ import annotations

import unicodedata
from typing import Annotated, Any

from attrs import define
from chat_common import wire
from chat_common.errors import NotAuthenticated
from chat_common.events import UserChanged
from chat_common.ports.database import Database
from chat_common.ports.files import Attachments
from chat_common.records import Caller, Push
from chat_common.validation import named
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, and_, or_, select, update

from chat_server.services import Deliver, Delivery
from chat_server.store import pages, views
from chat_server.store.executor import caller_user
from chat_server.store.schema import contact, conversation, member, user, version
from chat_server.store.tx import Tx, new_id

Name = named(64)


def folded(name: str) -> str:
    """A name as search compares it."""
    return unicodedata.normalize("NFKC", name).casefold().strip()


def create(tx: Tx, name: str) -> wire.User:
    """A new user; the id is random."""
    who = new_id()
    tx.connection.execute(user.insert(), {"user": who, "name": name, "folded": folded(name), "created_at": tx.now})
    tx.connection.execute(version.insert(), {"user": who})
    return wire.User(user=who, name=name)


@define(kw_only=True)
class Nothing:
    """No parameters."""


@define(kw_only=True)
class GetUsers:
    users: Annotated[list[wire.Id], Meta(max_length=50)]


@define(kw_only=True)
class Users:
    users: list[wire.User]


@define(kw_only=True)
class SearchUsers:
    """``query``: the beginning of a name, or a whole user id."""

    query: Name  # type: ignore[valid-type]
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class UsersPage:
    users: list[wire.User]
    cursor: str | UnsetType = UNSET


@define(kw_only=True)
class Rename:
    name: Name  # type: ignore[valid-type]


@define(kw_only=True)
class Renamed:
    """``cards`` is absent as long as renaming costs no card."""

    user: wire.User
    cards: int | UnsetType = UNSET


@define(kw_only=True)
class Wear:
    """``file``: a finished picture whose upload was begun without a conversation; null: no picture."""

    file: wire.Id | None


@define(kw_only=True)
class Worn:
    """``user.avatar``: an address relative to the server's; with ``?size=large`` the large picture."""

    user: wire.User


async def me(database: Database, caller: Caller, request: Nothing) -> wire.User:
    """One's own profile."""
    who = caller_user(caller)
    found = await database.read(lambda connection: views.users_by_id(connection, [who]))
    if who not in found:
        raise NotAuthenticated("this user does not exist any more")
    return found[who]


async def get(database: Database, caller: Caller, request: GetUsers) -> Users:
    """Profiles by id; unknown ids are left out."""
    caller_user(caller)
    found = await database.read(lambda connection: views.users_by_id(connection, request.users))
    return Users(users=[found[who] for who in dict.fromkeys(request.users) if who in found])


async def search(database: Database, caller: Caller, request: SearchUsers) -> UsersPage:
    """Users whose name begins so, in order of name."""
    caller_user(caller)
    after = None if request.cursor is None else pages.read_cursor("user.search", request.cursor, tuple[str, str])
    limit = request.limit or pages.DEFAULT
    query = folded(request.query)

    def page(connection: Connection) -> UsersPage:
        begins = and_(user.c.folded >= query, user.c.folded < query + "\U0010ffff")
        wanted = select(user).where(or_(begins, user.c.user == request.query))
        if after is not None:
            wanted = wanted.where(
                or_(user.c.folded > after[0], and_(user.c.folded == after[0], user.c.user > after[1]))
            )
        rows = connection.execute(wanted.order_by(user.c.folded, user.c.user).limit(limit + 1)).all()
        more = len(rows) > limit
        rows = rows[:limit]
        return UsersPage(
            users=[views.user_record(row) for row in rows],
            cursor=pages.write_cursor("user.search", rows[-1].folded, rows[-1].user) if more else UNSET,
        )

    return await database.read(page)


def rename(tx: Tx, who: str, request: Rename) -> Renamed:
    """A new name, seen by everybody who sees this user: friends, and members of common conversations."""
    tx.connection.execute(update(user).where(user.c.user == who).values(name=request.name, folded=folded(request.name)))
    profile_changed(tx, who)
    return Renamed(user=views.users_by_id(tx.connection, [who])[who])


def wear(attachments: Attachments, tx: Tx, who: str, request: Wear) -> Worn:
    """Another picture, or none, seen by everybody who sees this user. Its address changes with it."""
    attachments.wear(tx.connection, who, request.file)
    address = None if request.file is None else f"avatars/{request.file}"
    tx.connection.execute(update(user).where(user.c.user == who).values(avatar=address))
    profile_changed(tx, who)
    return Worn(user=views.users_by_id(tx.connection, [who])[who])


def profile_changed(tx: Tx, who: str) -> None:
    """Stamp every row in which this user's record stands."""
    mine = tx.versions([who])
    tx.connection.execute(update(user).where(user.c.user == who).values(version=mine[who]))
    others = list(tx.connection.execute(_known_by(who)).scalars())
    for other, number in sorted(tx.versions(others).items()):
        tx.connection.execute(
            update(contact).where(contact.c.user == other, contact.c.other == who).values(version=number)
        )
    rooms = tx.connection.execute(
        select(member.c.conversation, conversation.c.kind, conversation.c.direct_key)
        .join(conversation, conversation.c.conversation == member.c.conversation)
        .where(member.c.user == who, member.c.to_seq.is_(None))
        .order_by(member.c.conversation)
    ).all()
    for name, kind, direct_key in rooms:
        room = tx.room(name)
        rev = room.stamp()
        tx.connection.execute(update(member).where(member.c.conversation == name, member.c.user == who).values(rev=rev))
        room.announce_members([who], rev)
        if kind == "direct" and direct_key is not None:
            peer = views.peer_of(direct_key, who)
            if peer != who:
                tx.touch(name, [peer])


async def tell(database: Database, deliver: Deliver, who: str) -> None:
    """Push the profile to those who see this user: contacts, and members of common conversations that are not hot.

    It has no version and may be lost: the rows that `profile_changed` has stamped hold it too.
    """

    def seen_by(connection: Connection) -> tuple[wire.User, set[str]]:
        mine = select(member.c.conversation).where(member.c.user == who, member.c.to_seq.is_(None))
        together = (
            select(member.c.user)
            .join(conversation, conversation.c.conversation == member.c.conversation)
            .where(member.c.conversation.in_(mine), member.c.to_seq.is_(None), ~conversation.c.hot)
            .distinct()
        )
        others = {*connection.execute(together).scalars(), *connection.execute(_known_by(who)).scalars()}
        return views.users_by_id(connection, [who])[who], others - {who}

    profile, others = await database.read(seen_by)
    if others:
        await deliver([Delivery([Push("user", UserChanged(user=profile))], dict.fromkeys(sorted(others), 0))])


def _known_by(who: str) -> Any:
    return select(contact.c.user).where(contact.c.other == who, or_(contact.c.state != "none", contact.c.blocked))
