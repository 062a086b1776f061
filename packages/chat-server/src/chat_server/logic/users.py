"""Users: profiles, search, renaming."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

from attrs import define, frozen
from chat_common import wire
from chat_common.errors import Conflict, NotAuthenticated, RateLimited
from chat_common.events import UserChanged
from chat_common.ports.database import Database
from chat_common.ports.files import Attachments
from chat_common.records import Caller, Push
from chat_common.validation import named
from msgspec import UNSET, Meta, UnsetType
from sqlalchemy import Connection, select, update

from chat_server.logic.restamping import begin_restamping, known_by
from chat_server.logic.search import write_parts
from chat_server.logic.settings import UserSettings
from chat_server.names import cleaned, folded
from chat_server.names.confusables import look, skeleton
from chat_server.names.handles import NameRules
from chat_server.services import Deliver, Delivery
from chat_server.store import views
from chat_server.store.executor import caller_user
from chat_server.store.schema import conversation, member, user, version
from chat_server.store.statements import upsert
from chat_server.store.tx import Tx, new_id

DAY_MS = 86_400_000
Name = named(64)


def create(rules: NameRules, tx: Tx, name: str, handle: str | None = None) -> wire.User:
    """A new user; the id is random. What may not stand in a name is left out of it.

    ``handle``: the login name, as `NameRules.checked` gives it; `Conflict`: it is another's, or looks like another's.
    Without one the nearest to the name that is free.
    """
    who, name = new_id(), cleaned(name)
    row = {"user": who, "name": name, "folded": folded(name), "created_at": tx.now}
    for candidate in rules.candidates(name) if handle is None else [handle]:
        # Of two nodes that take one handle at once, the later one waits here for the earlier one, and goes on.
        taken = upsert(tx.connection, user).on_conflict_do_nothing()
        made = tx.connection.execute(taken, {**row, "handle": candidate, "skeleton": skeleton(candidate)})
        if made.rowcount:
            break
    else:
        message = "name: Somebody else logs in by this name, or by one that looks like it."
        raise Conflict(message, field="name", reason="taken")
    tx.connection.execute(version.insert(), {"user": who})
    write_parts(tx.connection, who, name)
    return wire.User(user=who, name=name, handle=candidate, skeleton=views.or_unset(look(name)))


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
class Rename:
    name: Name  # type: ignore[valid-type]


@define(kw_only=True)
class Renamed:
    """``cards``: how many are left; absent where renaming costs no card."""

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
        raise NotAuthenticated("This user no longer exists.")
    return found[who]


async def get(database: Database, caller: Caller, request: GetUsers) -> Users:
    """Profiles by id; unknown ids are left out."""
    caller_user(caller)
    found = await database.read(lambda connection: views.users_by_id(connection, request.users))
    return Users(users=[found[who] for who in dict.fromkeys(request.users) if who in found])


class RenameCost(Protocol):
    """What a rename takes of the one who asks; asked within its transaction."""

    def pay(self, tx: Tx, who: str, ref: str) -> int:
        """Use one card up for the request ``ref``; how many are left. `Conflict`: there is none."""
        ...

    def left(self, tx: Tx, who: str) -> int:
        """How many cards there are."""
        ...


@frozen
class Renaming:
    """What a rename must keep to. ``cost`` None: it costs nothing, and no answer counts cards."""

    settings: UserSettings
    cost: RenameCost | None = None


def rename(renaming: Renaming, ref: str, tx: Tx, who: str, request: Rename) -> Renamed:
    """A new name, seen by everybody who sees this user: friends, and members of common conversations. Their rows are
    stamped afterwards, in portions (`Restamping`). `RateLimited`: as often as allowed within this day. `Conflict`: it
    costs a card, and there is none."""
    name = renaming.settings.rules.display(request.name)
    before = tx.connection.execute(select(user).where(user.c.user == who).with_for_update()).one()
    cost, settings = renaming.cost, renaming.settings
    if name == before.name:
        return Renamed(user=views.user_record(before), cards=UNSET if cost is None else cost.left(tx, who))
    today = tx.now // DAY_MS
    renames = before.renames if before.rename_day == today else 0
    if renames >= settings.renames:
        again = (DAY_MS - tx.now % DAY_MS) / 1000
        raise RateLimited(
            f"A name can be changed {settings.renames} times a day.", limit=settings.renames, retry_after=again
        )
    cards: int | UnsetType = UNSET if cost is None else cost.pay(tx, who, ref)
    write_parts(tx.connection, who, name)
    changed = _changed(tx, who, name=name, folded=folded(name), rename_day=today, renames=renames + 1)
    return Renamed(user=changed, cards=cards)


def call(tx: Tx, who: str, name: str) -> wire.User:
    """Give a user a name that `chat_server.names` has passed, as often as an admin likes."""
    return _changed(tx, who, **_called(tx, who, name))


def wear(attachments: Attachments, tx: Tx, who: str, request: Wear) -> Worn:
    """Another picture, or none, seen by everybody who sees this user. Its address changes with it."""
    attachments.wear(tx.connection, who, request.file)
    address = None if request.file is None else f"avatars/{request.file}"
    return Worn(user=_changed(tx, who, avatar=address))


def describe(attachments: Attachments, tx: Tx, who: str, name: str | None, avatar: str | None) -> wire.User:
    """Give a user the name and the picture that the application around the server keeps; None: as it is. ``avatar`` is
    an address of the application's own."""
    values: dict[str, Any] = {}
    if name is not None:
        values |= _called(tx, who, name)
    if avatar is not None:
        attachments.wear(tx.connection, who, None)  # the former one is kept nowhere else
        values["avatar"] = avatar
    return _changed(tx, who, **values)


def _called(tx: Tx, who: str, name: str) -> dict[str, Any]:
    write_parts(tx.connection, who, name)
    return {"name": name, "folded": folded(name)}


def pin(tx: Tx, who: str, badge: wire.Badge | None) -> wire.User:
    """Another badge beside the name, or none, seen by everybody who sees this user."""
    return _changed(tx, who, badge=None if badge is None else views.as_json(badge))


def _changed(tx: Tx, who: str, **values: Any) -> wire.User:
    """Change one's record; the rows of others in which it stands are stamped afterwards."""
    mine = tx.versions([who])
    tx.connection.execute(update(user).where(user.c.user == who).values(version=mine[who], **values))
    begin_restamping(tx, who)
    return views.users_by_id(tx.connection, [who])[who]


async def tell(database: Database, deliver: Deliver, who: str) -> None:
    """Push the profile to those who see this user: contacts, and members of common conversations that are not hot.

    It has no version and may be lost: the rows that `Restamping` stamps hold it too.
    """

    def seen_by(connection: Connection) -> tuple[wire.User, set[str]]:
        mine = select(member.c.conversation).where(member.c.user == who, member.c.to_seq.is_(None))
        together = (
            select(member.c.user)
            .join(conversation, conversation.c.conversation == member.c.conversation)
            .where(member.c.conversation.in_(mine), member.c.to_seq.is_(None), ~conversation.c.hot)
            .distinct()
        )
        others = {*connection.execute(together).scalars(), *connection.execute(known_by(who)).scalars()}
        return views.users_by_id(connection, [who])[who], others - {who}

    profile, others = await database.read(seen_by)
    if others:
        await deliver([Delivery([Push("user", UserChanged(user=profile))], dict.fromkeys(sorted(others), 0))])
