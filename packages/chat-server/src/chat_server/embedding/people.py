"""The people of the application around the server: its ids and names for them, and what is said to a wrong one."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from attrs import frozen
from chat_common import wire
from chat_common.errors import Invalid, NotFound
from chat_common.ports.database import Database
from chat_common.ports.identity import Proof
from sqlalchemy import Connection

from chat_server.names import cleaned, display_name
from chat_server.store import rights
from chat_server.store.executor import CommandExecutor
from chat_server.store.tx import Tx, existing

SUBJECT_MOST = 255
"""Characters of an application's id for a person, as OpenID Connect has it."""
AVATAR_MOST = 1024
"""Characters of the address of a picture."""
SHOWN = 64
"""Characters of an unknown user that an error repeats."""
_PROVIDER = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ADDRESS = re.compile(r"(?:https?:/)?/[^\s\"<>\\]+")

ProfileOf = Literal["new", "always"]
"""Whose name and picture are taken from the application: those of new users, or of all at each call."""


def no_such_user(user: str) -> NotFound:
    """Return what everybody is told who acts as a user that does not exist."""
    return NotFound(f'There is no user "{user[:SHOWN]}" here; ensure_user makes one.', field="user")


def proof_of(subject: str, name: str | None, avatar: str | None, provider: str) -> Proof:
    """Return what the application vouches for, checked; `Invalid` names the field and its limit.

    Without a name the nearest to the id that can be one.
    """
    _text(subject, "subject", SUBJECT_MOST)
    if name is not None:
        _is_text(name, "name")
        name = display_name(name)
    if avatar is not None:
        _text(avatar, "avatar", AVATAR_MOST)
        if not _ADDRESS.fullmatch(avatar):
            raise Invalid("avatar: an address that begins with https://, http:// or / is needed", field="avatar")
    _is_text(provider, "provider")
    if not _PROVIDER.fullmatch(provider):
        message = "provider: a lower-case letter, then letters, digits or _, at most 32"
        raise Invalid(message, field="provider", limit=32)
    return Proof(provider, subject, cleaned(subject) if name is None else name, avatar)


def _text(value: Any, field: str, most: int) -> None:
    _is_text(value, field)
    if not value.strip():
        raise Invalid(f"{field} is empty or blank: 1 to {most} characters", field=field, limit=most)
    if len(value) > most:
        raise Invalid(f"{field}: at most {most} characters", field=field, limit=most)
    if not value.isprintable() or value != value.strip():
        message = f"{field}: no control or invisible characters, and no spaces around it (at most {most} characters)"
        raise Invalid(message, field=field, limit=most)


def _is_text(value: Any, field: str) -> None:
    if not isinstance(value, str):
        raise Invalid(f"{field}: text is needed, not {type(value).__name__}", field=field)


@frozen
class Standing:
    """A user of the application's, and whether the user is banned at this moment."""

    user: str
    banned: bool


@frozen
class People:
    """Finds and makes users for the application.

    ``find`` and ``ensure``: the user of a proof, None or made where there is none. ``describe``: gives a user another
    name or picture (None: as it is). ``tell``: shows others that a profile has changed.
    """

    database: Database
    executor: CommandExecutor
    find: Callable[[Connection, Proof], str | None]
    ensure: Callable[[Tx, Proof], wire.User]
    describe: Callable[[Tx, str, str | None, str | None], wire.User]
    tell: Callable[[str], Awaitable[None]]

    async def user_of(
        self, subject: str, name: str | None, avatar: str | None, profile: ProfileOf, provider: str
    ) -> wire.User:
        """See `chat_server.server.Server.ensure_user`."""
        if profile not in ("new", "always"):
            raise Invalid('profile: "new" or "always"', field="profile")
        proof = proof_of(subject, name, avatar, provider)

        def work(tx: Tx) -> tuple[wire.User, bool]:
            is_new = self.find(tx.connection, proof) is None
            user = self.ensure(tx, proof)
            follows = profile == "always" and not is_new
            called = proof.name if follows and name is not None and proof.name != user.name else None
            worn = avatar if (is_new or follows) and avatar is not None and avatar != user.avatar else None
            if called is None and worn is None:
                return user, False
            return self.describe(tx, user.user, called, worn), not is_new

        user, changed = await self.executor.apply(work)
        if changed:
            await self.tell(user.user)
        return user

    async def standing(self, subject: str) -> Standing | None:
        """How the application's person stands here; None: there is no user yet. `Invalid`: no id of a person."""
        proof = proof_of(subject, None, None, "app")
        now = self.executor.clock.wall_ms()

        def look(connection: Connection) -> Standing | None:
            user = self.find(connection, proof)
            return None if user is None else Standing(user, user in rights.banned(connection, [user], now))

        return await self.database.read(look)

    async def require(self, user: str) -> None:
        """`NotFound` unless there is this user, whose account was not deleted."""
        if not isinstance(user, str) or not await self.database.read(lambda connection: existing(connection, [user])):
            raise no_such_user(str(user))
