"""What the room admin is given: what its neighbours auth and logic do for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from attrs import frozen
from chat_common import wire
from chat_common.ports.files import Files
from chat_common.records import Caller

from chat_server.names.handles import NameRules
from chat_server.store.tx import Tx


class Accounts(Protocol):
    """Passwords, bans and logins. What ends logins returns them, for `announce` after the commit."""

    async def hashed(self, password: str) -> str:
        """What is kept of a password; `Conflict`: this server has no passwords."""
        ...

    def login_name(self, name: str) -> str:
        """A name as login names are compared."""
        ...

    def set_password(self, tx: Tx, user: str, secret: str) -> str:
        """Write a password that `hashed` has made; the name to log in by."""
        ...

    def ban(self, tx: Tx, user: str, until: int | None, reason: str | None, by: str) -> Sequence[Any]: ...

    def unban(self, tx: Tx, user: str, by: str) -> None: ...

    def log_out(self, tx: Tx, user: str) -> Sequence[Any]: ...

    def erase(self, tx: Tx, user: str) -> Sequence[Any]:
        """Take from a user every way in."""
        ...

    async def announce(self, ended: Sequence[Any]) -> None: ...


Portion = Callable[[Tx, str, str], str | None]
"""``portion(tx, user, after)``: a portion of what goes on after an account was deleted; where the next one goes on, or
None when it is done."""


@frozen
class Leaving:
    """What logic and im do when an account is deleted: ``profile(tx, user)`` at once, the rest in portions."""

    profile: Callable[[Tx, str], None]
    contacts: Portion
    own_contacts: Portion
    rooms: Portion
    messages: Portion
    unread: Portion


FilesOf = Callable[[], Awaitable[Files | None]]
"""What takes files in, opened when it is first asked for; None where no package does."""


async def no_files() -> Files | None:
    """Where nobody keeps files."""
    return None


@frozen
class Neighbours:
    """``rules``: what names are judged by. ``create_user(tx, name, handle)`` and ``rename(tx, user, name)``: of the
    room logic. ``renamed(user)``: tell those who see the user, after the commit. ``dissolve(tx, owner, group)``,
    ``transfer(tx, owner, group, user)``: what a group's owner may do, done in the owner's name.
    ``take_down(tx, conversation, seq)``: recall a message, of the room im. ``open_direct(tx, user, other)``: the id of
    their direct chat, made at the first time. ``files()``: of the room files.
    ``prove_again(caller, password)``: returns when the caller is the person whom the session names, of auth."""

    accounts: Accounts
    rules: NameRules
    create_user: Callable[[Tx, str, str | None], wire.User]
    rename: Callable[[Tx, str, str], Any]
    renamed: Callable[[str], Awaitable[None]]
    dissolve: Callable[[Tx, str, str], Any]
    transfer: Callable[[Tx, str, str, str], Any]
    take_down: Callable[[Tx, str, int], wire.Message]
    open_direct: Callable[[Tx, str, str], str]
    leaving: Leaving
    files: FilesOf
    prove_again: Callable[[Caller, str | None], Awaitable[None]]
