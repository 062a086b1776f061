"""``user.search``: users by login name, and by name from any word on or any Chinese, Japanese or Korean character."""

from __future__ import annotations

from typing import Any

from attrs import define
from chat_common import wire
from chat_common.errors import Invalid
from chat_common.ports.database import Database
from chat_common.records import Caller
from chat_common.validation import named
from msgspec import UNSET, UnsetType
from sqlalchemy import Connection, and_, delete, exists, or_, select, update

from chat_server.logic.settings import UserSettings
from chat_server.names import folded, long_enough, parts
from chat_server.names.handles import typed
from chat_server.store import pages, views
from chat_server.store.executor import caller_user
from chat_server.store.schema import contact, name_part, user

PAGE = 20
PORTION = 200


@define(kw_only=True)
class SearchUsers:
    """``query``: the beginning of a word of the name, any part of a Chinese, Japanese or Korean one, the beginning of a
    login name (with an @ or without), or a whole user id; at least two letters or one such character. Absent:
    everybody, where the server lists everybody."""

    query: named(64) | None = None  # type: ignore[valid-type]
    cursor: pages.Cursor | None = None
    limit: pages.Limit | None = None


@define(kw_only=True)
class UsersPage:
    users: list[wire.User]
    cursor: str | UnsetType = UNSET


async def search(settings: UserSettings, database: Database, caller: Caller, request: SearchUsers) -> UsersPage:
    """At most 20 users a page, in order of name. Whom it finds is a setting: ``[users] directory``."""
    me = caller_user(caller)
    after = None if request.cursor is None else pages.read_cursor("user.search", request.cursor, tuple[str, str])
    limit = min(request.limit or PAGE, PAGE)
    wanted = select(user).where(_found(settings, me, request.query), user.c.deleted_at.is_(None))
    if after is not None:
        wanted = wanted.where(or_(user.c.folded > after[0], and_(user.c.folded == after[0], user.c.user > after[1])))

    def page(connection: Connection) -> UsersPage:
        rows = connection.execute(wanted.order_by(user.c.folded, user.c.user).limit(limit + 1)).all()
        more = len(rows) > limit
        rows = rows[:limit]
        return UsersPage(
            users=[views.user_record(row) for row in rows],
            cursor=pages.write_cursor("user.search", rows[-1].folded, rows[-1].user) if more else UNSET,
        )

    return await database.read(page)


def _found(settings: UserSettings, me: str, query: str | None) -> Any:
    """The condition on a row of the users."""
    if query is None:
        if settings.directory != "open":
            raise Invalid("query: This server does not list all users. Say whom you are looking for.", field="query")
        return user.c.user.is_not(None)
    text = folded(query)
    if not text or not (long_enough(text) or settings.directory == "open"):
        raise Invalid("query: Give at least two letters, or one Chinese, Japanese or Korean character.", field="query")
    begins = select(name_part.c.user).where(name_part.c.part >= text, name_part.c.part < text + "\U0010ffff")
    handle = typed(query)
    by_name = user.c.user.in_(begins)
    if handle:
        by_name = or_(by_name, and_(user.c.handle >= handle, user.c.handle < handle + "\U0010ffff"))
    if settings.directory == "contacts":
        mine = select(contact.c.other).where(contact.c.user == me, contact.c.state == "friends")
        by_name = or_(and_(by_name, user.c.user.in_(mine)), user.c.handle == handle)
    return or_(by_name, user.c.user == query)


def write_parts(connection: Connection, who: str, name: str) -> None:
    """Where search may begin in this user's name, from now on."""
    connection.execute(delete(name_part).where(name_part.c.user == who))
    connection.execute(name_part.insert(), [{"part": part, "user": who} for part in parts(name)])


def index_names(connection: Connection) -> int:
    """Index names that were given before names were indexed, at most 200; how many were left to do."""
    rows = connection.execute(
        select(user.c.user, user.c.name)
        .where(user.c.deleted_at.is_(None), ~exists().where(name_part.c.user == user.c.user))
        .limit(PORTION)
    ).all()
    for row in rows:
        connection.execute(update(user).where(user.c.user == row.user).values(folded=folded(row.name)))
        write_parts(connection, row.user, row.name)
    return len(rows)
