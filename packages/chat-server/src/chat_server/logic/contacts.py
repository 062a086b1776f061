"""Contacts: asked, friends, blocked. What one side does shows on the other as its own row, with its own version."""

from __future__ import annotations

from typing import Any, Literal

from attrs import define
from chat_common import wire
from chat_common.errors import Conflict, Invalid
from chat_common.ports.database import Database
from chat_common.records import Caller
from chat_common.validation import named
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, or_, select, update

from chat_server.store import pages, views
from chat_server.store.executor import caller_user
from chat_server.store.schema import contact, conversation, member
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx, require_users


@define(kw_only=True)
class RequestContact:
    user: wire.Id
    text: named(200) | None = None  # type: ignore[valid-type]


@define(kw_only=True)
class OneUser:
    user: wire.Id


@define(kw_only=True)
class Block:
    user: wire.Id
    on: bool


@define(kw_only=True)
class ContactState:
    state: Literal["none", "asked", "friends"]


@define(kw_only=True)
class ListContacts:
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class ContactsPage:
    contacts: list[wire.Contact]
    cursor: str | UnsetType = UNSET


def _row(tx: Tx, who: str, other: str) -> Any:
    return tx.connection.execute(
        select(contact).where(contact.c.user == who, contact.c.other == other).with_for_update()
    ).one_or_none()


def _state(row: Any) -> str:
    return "none" if row is None else str(row.state)


def _put(tx: Tx, who: str, other: str, **values: Any) -> None:
    number = tx.versions([who])[who]
    tx.connection.execute(
        upsert(tx.connection, contact)
        .values(**{"user": who, "other": other, "state": "none", "version": number, **values})
        .on_conflict_do_update(index_elements=["user", "other"], set_={**values, "version": number})
    )


def _both(tx: Tx, first: str, second: str, **values: Any) -> None:
    for who, other in sorted([(first, second), (second, first)]):
        _put(tx, who, other, **values)


def request(tx: Tx, me: str, wanted: RequestContact) -> ContactState:
    """Ask somebody; crossing requests make friends. Who has blocked one is not told, and one is not told of it."""
    if wanted.user == me:
        raise Invalid("user: This is yourself: name another user.", field="user")
    require_users(tx.connection, [wanted.user])
    mine, theirs = _row(tx, me, wanted.user), _row(tx, wanted.user, me)
    if _state(mine) == "friends":
        return ContactState(state="friends")
    # The other one's request is on one's own side, or on the other's alone if one had blocked it then.
    theirs_asked = _state(theirs) == "asked" and theirs.asked_by == wanted.user
    if theirs_asked or (_state(mine) == "asked" and mine.asked_by != me):
        _both(tx, me, wanted.user, state="friends", asked_by=None, text=None)
        return ContactState(state="friends")
    if _state(mine) == "asked" and mine.text == wanted.text:
        return ContactState(state="asked")
    values = {"state": "asked", "asked_by": me, "text": wanted.text}
    if theirs is not None and theirs.blocked:
        _put(tx, me, wanted.user, **values)
    else:
        _both(tx, me, wanted.user, **values)
    return ContactState(state="asked")


def accept(tx: Tx, me: str, wanted: OneUser) -> ContactState:
    """Become friends with one who has asked; `Conflict` when nobody has."""
    mine = _row(tx, me, wanted.user)
    if _state(mine) == "friends":
        return ContactState(state="friends")
    if _state(mine) != "asked" or mine.asked_by != wanted.user:
        raise Conflict("user: This user has not asked to be your contact.", field="user")
    _both(tx, me, wanted.user, state="friends", asked_by=None, text=None)
    return ContactState(state="friends")


def reject(tx: Tx, me: str, wanted: OneUser) -> ContactState:
    """Refuse one who has asked, or take one's own request back; `Conflict` when there is none."""
    mine = _row(tx, me, wanted.user)
    if _state(mine) == "none":
        return ContactState(state="none")
    if _state(mine) == "friends":
        raise Conflict("user: You are friends already: remove the contact instead.", field="user")
    if _state(_row(tx, wanted.user, me)) == "none":  # one who has blocked never heard of it
        _put(tx, me, wanted.user, state="none", asked_by=None, text=None)
    else:
        _both(tx, me, wanted.user, state="none", asked_by=None, text=None)
    return ContactState(state="none")


def remove(tx: Tx, me: str, wanted: OneUser) -> ContactState:
    """End a friendship for both; nothing to do when there is none."""
    if _state(_row(tx, me, wanted.user)) == "friends":
        _both(tx, me, wanted.user, state="none", asked_by=None, text=None)
    return ContactState(state="none")


def block(tx: Tx, me: str, wanted: Block) -> ContactState:
    """Take no messages of the direct chat and no requests from this user, or again do. The other one is not told."""
    if wanted.user == me:
        raise Invalid("user: This is yourself: name another user.", field="user")
    require_users(tx.connection, [wanted.user])
    mine = _row(tx, me, wanted.user)
    if (mine is not None and mine.blocked) != wanted.on:
        _put(tx, me, wanted.user, blocked=wanted.on)
        chats = select(conversation.c.conversation).where(conversation.c.direct_key == direct_key(me, wanted.user))
        tx.connection.execute(
            update(member)
            .where(member.c.conversation.in_(chats), member.c.user == wanted.user)
            .values(silenced=wanted.on)
        )
    return ContactState(state=_state(mine))  # type: ignore[arg-type]


def direct_key(first: str, second: str) -> str:
    """The key of two people's direct chat: the same for both, for ever."""
    return ":".join(sorted((first, second)))


async def list_contacts(database: Database, caller: Caller, wanted: ListContacts) -> ContactsPage:
    """Friends, open requests and blocked people, in order of user id."""
    me = caller_user(caller)
    after = "" if wanted.cursor is None else pages.read_cursor("contact.list", wanted.cursor, tuple[str])[0]
    limit = wanted.limit or pages.DEFAULT

    def page(connection: Connection) -> ContactsPage:
        rows = connection.execute(
            select(contact)
            .where(
                contact.c.user == me,
                contact.c.other > after,
                or_(contact.c.state != "none", contact.c.blocked),
            )
            .order_by(contact.c.other)
            .limit(limit + 1)
        ).all()
        more = len(rows) > limit
        rows = rows[:limit]
        return ContactsPage(
            contacts=views.contact_records(connection, rows),
            cursor=pages.write_cursor("contact.list", rows[-1].other) if more else UNSET,
        )

    return await database.read(page)
